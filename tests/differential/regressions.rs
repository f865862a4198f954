//! Programs on which the hypervisor and the model once differed.

use model::Dialect;

use crate::search::replay;

#[test]
fn a_program_of_text_runs() {
    replay(
        Dialect::Documented,
        None,
        "0 StartupHandle 0x1\n1 VmoCreate 0x8000 0x0\n2 VmarMap h0 0x13 0x80000000 h1 0x0 0x8000\n3 Store a2 0x7\n4 Load a2\n",
    );
}
