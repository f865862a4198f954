//! The virtual counter, CNTVCT_EL0 (DDI 0487, "The virtual counter").

use crate::arch;

/// Returns what the counter says once all that comes before it in the program is done. It counts from the machine's start. Where
/// QEMU counts instructions (`-icount shift=0`) and the counter runs at 1 GHz, a tick is an instruction.
pub fn read() -> u64 {
    arch::counter::read()
}
