//! An oracle with too little room: it has to say so.

use stage2::{Mmu, Run as Pages, Stage2};
use tests::{CheckedTables, Sim, put_in_use};
use vm::{Machine, Taken};
use vmsa::{Attributes, Features, Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms, Vmid};

use crate::run::{Gate, Run, Seen};

/// How many facts there is room for, and how many pages apart are unmapped at once.
const ROOM: usize = 4;
const PAGES: u64 = 10;
const BASE: Ipa = Ipa(0x8000_0000);
const OUTPUT: Hpa = Hpa(0x10_0000_0000);

/// Unmaps more than the oracle can remember. That is the oracle's own test, and the model has nothing to say of it.
pub(crate) fn run(run: &mut Run) -> Result<(), Seen> {
    let is_told = run.gate == Gate::Model
        || verdicts().iter().any(|verdict| verdict.starts_with("R53") && verdict.contains("no room to remember more)"));
    let silent = "R53: the oracle has no room, and does not say so".to_owned();
    run.after((!is_told).then_some(silent).into_iter().collect())
}

fn verdicts() -> Vec<String> {
    let features = Features { pa_bits: 48, ..Features::default() };
    let checked = Sim::new(features, 8 << 20).checked_in(ROOM);
    let geometry = Geometry::new(39, checked.features()).expect("a width that the machine has");
    let root = checked.inner().memory().range().start;
    checked.told_taken(root, 1, Taken::Table);
    checked.zero(root, 1);
    let mut tree = Stage2::new(geometry, checked.features(), root);
    tree.set_vmid(&checked, Some(Vmid(1)));
    put_in_use(&checked, geometry, tree.vttbr());
    let mut tables = CheckedTables::new(&checked, root.add(geometry.root_bytes()));
    let page = |ipa: Ipa| Pages {
        // No page leads behind the one before.
        output: OUTPUT.add(3 * (ipa.0 - BASE.0)),
        len: PAGE_SIZE,
        attributes: Attributes::normal(Perms::READ),
    };
    let all = IpaRange::new(BASE, PAGES * PAGE_SIZE);
    let _ = tree.map(&checked, &mut tables, all, |ipa| Some(page(ipa))).expect("tables enough");
    let _ = tree.unmap(&checked, &mut tables, [all]).expect("tables enough");
    checked.inner().verdicts()
}
