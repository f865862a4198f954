//! Bugs that are planted under the tables' code, each of which the machine must show.

use tests::{Fault, Faulty};
use vmsa::Ipa;

use crate::bench::{Bench, READ, READ_WRITE, frame_of, machine, pages, plain, ranged};

/// Returns what the machine shows when everything is done with a fault: each operation, checked after each.
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
