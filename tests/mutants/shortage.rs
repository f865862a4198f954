//! Maps and splits that find no frame for a table: everything is as it was.

use stage2::{Run as Pages, Stage2};
use tests::{Sim, SimTables};
use vmsa::{Attributes, Features, Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms, Vmid};

use crate::run::{Gate, Run, Seen};

const NEAR: Ipa = Ipa(0x8000_0000);
const FAR: Ipa = Ipa(0x7f_ffff_f000);
const OUTPUT: Hpa = Hpa(0x10_0000_0000);

/// Maps where there are too few tables. The oracle has nothing to say of that.
pub(crate) fn run(run: &mut Run) -> Result<(), Seen> {
    match run.gate {
        Gate::Model => (0..4).try_for_each(|limit| run.after(faults_with(limit))),
        Gate::Oracle => Ok(()),
    }
}

/// Returns what is wrong after a map that had `limit` tables and needs more.
fn faults_with(limit: usize) -> Vec<String> {
    let sim = Sim::new(Features { pa_bits: 48, ..Features::default() }, 8 << 20);
    let geometry = Geometry::new(48, &Features { pa_bits: 48, ..Features::default() }).expect("a width that there is");
    let root = sim.memory().range().start;
    let mut tree = Stage2::new(geometry, &Features { pa_bits: 48, ..Features::default() }, root);
    tree.set_vmid(&sim, Some(Vmid(1)));
    let mut tables = SimTables::new(&sim, root.add(geometry.root_bytes()));
    let source = |_| Some(Pages { output: OUTPUT, len: PAGE_SIZE, attributes: Attributes::normal(Perms::READ) });
    let _ = tree.map(&sim, &mut tables, IpaRange::page(NEAR), source).expect("tables enough");
    let before = (tables.in_use(), tree.stats().tables);
    tables.limit = limit;
    let failed = tree.map(&sim, &mut tables, IpaRange::new(FAR, 2 * PAGE_SIZE), source).is_err();
    tables.limit = usize::MAX;
    let after = (tables.in_use(), tree.stats().tables);
    let is_right = failed && before == after;
    (!is_right).then(|| format!("{limit} tables: {before:?} were in use, and then {after:?}")).into_iter().collect()
}
