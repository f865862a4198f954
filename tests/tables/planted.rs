//! Bugs that are planted under the tables' code, each of which the machine must show.

use stage2::{Mmu, Run, Stage2};
use tests::{CheckedTables, Fault, Faulty, Sim, put_in_use};
use vm::{Machine, Status, Taken, VmId, Work};
use vmsa::{Attributes, Geometry, Hpa, Ipa, IpaRange, Vmid, vttbr};

use crate::bench::{Bench, READ, READ_WRITE, frame_of, machine, pages, plain, ranged};

/// Returns what the machine shows, or the oracle on it says, when everything is done with a fault: each operation, checked
/// after each.
fn shown(fault: Fault) -> Vec<String> {
    let mut shown = Vec::new();
    for (features, ipa_bits) in [plain(39), ranged(40)] {
        let sim = machine(features);
        let faulty = Faulty::new(&sim, fault);
        let mut bench = Bench::new(&sim, ipa_bits);
        // Another VM's tables are in use, so that VTTBR_EL2 has to change.
        sim.set_vttbr_now(7 << 48);
        let all = pages(0x8000_0000, 40);
        bench.map_on(&faulty, all, READ_WRITE).unwrap();
        shown.extend(bench.faults_in(all));
        bench.unmap_on(&faulty, pages(0x8000_3000, 1));
        shown.extend(bench.faults_in(all));
        bench.protect_on(&faulty, pages(0x8000_4000, 3), READ);
        shown.extend(bench.faults_in(all));
        bench.map_page_on(&faulty, Ipa(0x8000_9000), frame_of(Ipa(0x9000_0000)), READ);
        shown.extend(bench.faults_in(all));
        bench.unmap_on(&faulty, all);
        bench.map_on(&faulty, pages(0x8020_0000, 2), READ).unwrap();
        shown.extend(bench.faults_in(all));
        shown.extend(sim.violations());
    }
    shown
}

#[test]
fn every_planted_bug_shows() {
    for fault in [
        Fault::NoTlbi,
        Fault::NoStage1Tlbi,
        Fault::NoStage2Tlbi,
        Fault::LocalTlbi,
        Fault::NoStoreBarrier,
        Fault::WeakCompletion,
        Fault::LocalBarrier,
        Fault::PlainLink,
        Fault::NoIsb,
        Fault::LeafOnly,
    ] {
        assert!(!shown(fault).is_empty(), "{fault:?} does not show");
    }
}

/// Returns the rules that the oracle says are broken when everything is done with a fault: from a CPU that has the tree in use,
/// and from one that has another.
fn judged(fault: Fault) -> Vec<String> {
    [true, false].into_iter().flat_map(|is_own| judged_under(fault, is_own)).collect()
}

/// The same with the tree's own VMID in effect, or another's.
fn judged_under(fault: Fault, is_own: bool) -> Vec<String> {
    let checked = machine(plain(39).0).checked();
    let faulty = Faulty::new(&checked, fault);
    let root = checked.inner().memory().range().start;
    let geometry = Geometry::new(39, checked.features()).unwrap();
    checked.told_taken(root, 1, Taken::Table);
    checked.zero(root, 1);
    let mut tree = Stage2::new(geometry, checked.features(), root).numbered(VmId::FIRST.number());
    tree.set_vmid(&checked, Some(Vmid(1)));
    let mut tables = CheckedTables::new(&checked, root.add(4096));
    // Another CPU may hold what the tables say.
    Sim::run_on(1);
    put_in_use(&checked, geometry, tree.vttbr());
    Sim::run_on(0);
    let other = Hpa(checked.inner().memory().range().end.0 - 4096);
    checked.told_taken(other, 1, Taken::Table);
    checked.zero(other, 1);
    put_in_use(&checked, geometry, if is_own { tree.vttbr() } else { vttbr(other, Vmid(7)) });
    let all = pages(0x8000_0000, 20);
    let source = |ipa| Some(Run { output: frame_of(ipa), len: 4096, attributes: Attributes::normal(READ_WRITE) });
    let _ = tree.map(&faulty, &mut tables, all, source);
    let unmap = |range: IpaRange, tree: &mut Stage2, tables: &mut CheckedTables<'_>| {
        checked.told_begun(Work::Unmap, VmId::FIRST, range, None);
        let _ = tree.unmap(&faulty, tables, [range]);
        checked.told_ended(Status::OK);
    };
    unmap(pages(0x8000_3000, 1), &mut tree, &mut tables);
    let _ = tree.map_page(&faulty, &mut tables, Ipa(0x8000_9000), (frame_of(Ipa(0)), Attributes::normal(READ)));
    unmap(all, &mut tree, &mut tables);
    let said = |violation: String| violation.split(':').next().unwrap_or_default().to_owned();
    let mut rules: Vec<_> = checked.inner().verdicts().into_iter().map(said).collect();
    rules.dedup();
    rules
}

#[test]
fn the_oracle_names_the_rule_that_a_planted_bug_breaks() {
    for (fault, rule) in [
        (Fault::NoTlbi, "R8"),
        (Fault::NoStage1Tlbi, "R11"),
        (Fault::NoStage2Tlbi, "R8"),
        (Fault::LocalTlbi, "R10"),
        (Fault::NoStoreBarrier, "R9"),
        (Fault::WeakCompletion, "R10"),
        (Fault::LocalBarrier, "R9"),
        (Fault::PlainLink, "R29"),
        (Fault::NoIsb, "R27b"),
        (Fault::LeafOnly, "R32"),
    ] {
        let rules = judged(fault);
        assert!(rules.iter().any(|broken| broken == rule), "{fault:?}: expected {rule}, the oracle says {rules:?}");
    }
}
