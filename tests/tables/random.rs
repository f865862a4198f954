//! Random programs of operations, from both CPUs, against the flat map.

use proptest::prelude::*;
use tests::Sim;
use vmsa::{Ipa, IpaRange};

use crate::bench::{Bench, READ, READ_WRITE, frame_of, machine, pages, plain, ranged};

#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u64, u64),
    Place(u64, bool),
    Unmap(u64, u64),
    Tighten(u64, u64),
}

/// Pages around a place where three tables of level 3 meet two of level 2.
const BASE: u64 = 0xbfdf_e000;
const SPAN: u64 = 520;

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let range = (0..SPAN, 1..SPAN / 2);
    let step = prop_oneof![
        range.clone().prop_map(|(at, len)| Step::Map(at, len)),
        (0..SPAN, any::<bool>()).prop_map(|(at, writable)| Step::Place(at, writable)),
        range.clone().prop_map(|(at, len)| Step::Unmap(at, len)),
        range.prop_map(|(at, len)| Step::Tighten(at, len)),
    ];
    prop::collection::vec((0..2usize, step), 1..12)
}

fn part(at: u64, len: u64) -> IpaRange {
    pages(BASE + at * 0x1000, len.min(SPAN - at))
}

fn carry_out(bench: &mut Bench<'_>, step: Step) {
    match step {
        Step::Map(at, len) => bench.map(part(at, len), READ_WRITE).unwrap(),
        Step::Place(at, writable) => {
            let ipa = Ipa(BASE + at * 0x1000);
            let frame = frame_of(ipa).add(if writable { 1 << 34 } else { 0 });
            bench.map_page(ipa, frame, if writable { READ_WRITE } else { READ });
        }
        Step::Unmap(at, len) => bench.unmap(part(at, len)),
        Step::Tighten(at, len) => bench.protect(part(at, len), READ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_cpu_ever_sees_anything_else_than_the_map(has_ranges: bool, concatenated: bool, program in steps()) {
        let (features, ipa_bits) = if has_ranges { ranged(39) } else { plain(39) };
        let ipa_bits = if concatenated { 40 } else { ipa_bits };
        let sim = machine(features);
        let mut bench = Bench::new(&sim, ipa_bits);
        for (cpu, step) in program {
            Sim::run_on(cpu);
            carry_out(&mut bench, step);
            Sim::run_on(0);
            // What was relaxed in place may fault once more; everything else is exact.
            let faults: Vec<_> = bench.faults_in(pages(BASE, SPAN));
            prop_assert!(faults.is_empty(), "{step:?}: {faults:?}");
        }
        bench.unmap(IpaRange::new(Ipa(0), 1 << ipa_bits));
        prop_assert_eq!(bench.tables.in_use(), 0);
    }
}
