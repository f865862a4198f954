//! Where blocks and groups form and where they do not, and what CPUs see meanwhile.

use stage2::{Mmu, Run};
use vmsa::{Attributes, BbmLevel, DirtyLevel, Entry, Features, Hpa, Ipa, IpaRange, Level};

use crate::bench::{Bench, READ, READ_WRITE, machine, pages, plain, ranged};
use crate::world::entry_at;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BASE: u64 = 4 * GIB;

fn on_every_machine(test: impl Fn(&mut Bench<'_>)) {
    for bbm in [BbmLevel::BreakFirst, BbmLevel::NoTranslationCaching, BbmLevel::Direct] {
        for dirty in [DirtyLevel::None, DirtyLevel::AccessFlag, DirtyLevel::Dirty] {
            let sim = machine(Features { bbm, dirty, ..ranged(0).0 });
            test(&mut Bench::new(&sim, 39));
        }
    }
}

/// Returns the level at which the walk of an address ends, and whether it ends in a leaf that has the hint.
fn leaf_at(bench: &Bench<'_>, ipa: u64) -> (Level, bool) {
    let walk = bench.tree.walk(bench.sim, Ipa(ipa)).expect("an address of the space");
    (walk.level, matches!(walk.entry, Entry::Leaf(leaf) if leaf.attributes.contiguous))
}

fn range(start: u64, len: u64) -> IpaRange {
    IpaRange::new(Ipa(start), len)
}

#[test]
fn a_split_leaves_groups_on_both_sides_of_what_changes() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 2 * MIB), READ_WRITE).unwrap();
        bench.unmap(range(BASE + 0x4_5000, 0x1000));
        let hints = [0, 0x3_0000, 0x4_0000, 0x5_0000, 0x1f_0000].map(|offset| leaf_at(bench, BASE + offset));
        assert_eq!(hints, [true, true, false, true, true].map(|is_hinted| (Level::L3, is_hinted)));
    });
}

#[test]
fn the_last_pages_of_a_table_become_a_group() {
    on_every_machine(|bench| {
        for page in 496..512 {
            bench.map_adjacent(pages(BASE + page * 0x1000, 1), READ).unwrap();
        }
        assert_eq!(leaf_at(bench, BASE + 0x1f_0000), (Level::L3, true));
    });
}

#[test]
fn a_group_behind_a_table_that_a_range_cuts_gets_its_hint() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE + 48 * MIB, 16 * MIB), READ_WRITE).unwrap();
        bench.map_adjacent(range(BASE + 32 * MIB, 16 * MIB), READ).unwrap();
        bench.map_adjacent(range(BASE + 30 * MIB, 0x2000), READ_WRITE).unwrap();
        assert_eq!(leaf_at(bench, BASE + 32 * MIB), (Level::L2, false));
        bench.protect(range(BASE + 30 * MIB + 0x1000, 34 * MIB - 0x1000), READ);
        assert_eq!(leaf_at(bench, BASE + 32 * MIB), (Level::L2, true));
        bench.assert_right(pages(BASE + 30 * MIB, 4));
    });
}

#[test]
fn blocks_in_the_root_become_a_group() {
    for bits in [34, 40] {
        let sim = machine(ranged(0).0);
        let mut bench = Bench::new(&sim, bits);
        let block = bench.tree.geometry().start().entry_span();
        for number in 0..16 {
            bench.map_adjacent(range(number * block, block), READ).unwrap();
        }
        assert_eq!(leaf_at(&bench, 0), (bench.tree.geometry().start(), true), "{bits}");
    }
}

#[test]
fn no_block_is_made_where_the_architecture_has_none() {
    const SPAN: u64 = 1 << 39;
    let sim = machine(plain(48).0);
    let mut bench = Bench::new(&sim, 48);
    let all = range(SPAN, SPAN);
    let source = |ipa: Ipa| {
        let len = all.end.0 - ipa.0;
        Some(Run { output: Hpa(ipa.0), len, attributes: Attributes::normal(READ) })
    };
    // The second time there are the tables, full of what is alike.
    for _ in 0..2 {
        let _ = bench.tree.map(&sim, &mut bench.tables, all, source).expect("tables enough");
        for ipa in [all.start, Ipa(all.end.0 - 0x1000)] {
            let walk = bench.tree.walk(&sim, ipa).expect("an address of the space");
            assert_eq!((walk.level, walk.page(ipa).map(|page| page.0)), (Level::L1, Some(Hpa(ipa.0))));
        }
    }
    assert_eq!(sim.violations(), Vec::<String>::new());
}

#[test]
fn a_hole_below_a_full_table_is_filled() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 14 * MIB), READ).unwrap();
        bench.map_adjacent(range(BASE + 14 * MIB, 2 * MIB - 0x1000), READ).unwrap();
        bench.map_adjacent(range(BASE + 16 * MIB, GIB - 16 * MIB), READ).unwrap();
        assert_eq!(leaf_at(bench, BASE + 16 * MIB - 0x1000), (Level::L3, false));
        bench.map_adjacent(range(BASE, GIB), READ).unwrap();
        assert_eq!(leaf_at(bench, BASE).0, Level::L1);
        bench.assert_right(pages(BASE + 16 * MIB - 0x2000, 4));
    });
}

#[test]
fn every_part_that_waits_is_put_in_its_place() {
    on_every_machine(|bench| {
        // Each is a block that is cut: without FEAT_BBM its table waits, and nothing else.
        let far = |number: u64| pages(number << 32, 512);
        (0..8).for_each(|number| bench.map_adjacent(far(number), READ).unwrap());
        let ranges = (0..8).map(|number| pages((number << 32) + 0x3000, 1));
        let _ = bench.tree.share(bench.sim, &mut bench.tables, ranges).expect("tables enough");
        (0..8).for_each(|number| bench.assert_right(pages(number << 32, 8)));
    });
}

/// Tells whether the tables say nothing of a page before some event of what `work` does.
fn is_ever_gone(bench: &mut Bench<'_>, ipa: Ipa, work: impl FnOnce(&mut Bench<'_>)) -> bool {
    let shape = (bench.tree.root(), bench.tree.geometry());
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = gone.clone();
    bench.sim.on_event(move |sim, _| {
        if entry_at(sim, shape, ipa).2 == Entry::Invalid {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    work(bench);
    bench.sim.no_more_events();
    gone.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn neighbours_stay_while_a_size_changes_that_may_change_in_place() {
    on_every_machine(|bench| {
        let bbm = bench.sim.features().bbm;
        bench.map_adjacent(range(BASE, 2 * MIB), READ_WRITE).unwrap();
        let (page, neighbour) = (range(BASE + 0x4_5000, 0x1000), Ipa(BASE + 0x4_7000));
        let is_broken = bbm == BbmLevel::BreakFirst;
        assert_eq!(
            is_ever_gone(bench, neighbour, |bench| bench.protect(page, READ)),
            is_broken,
            "a split: {bbm:?}, {:?}",
            bench.sim.features().dirty
        );
        assert_eq!(leaf_at(bench, neighbour.0).0, Level::L3);
    });
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 0x1_0000), READ_WRITE).unwrap();
        let is_broken = bench.sim.features().bbm != BbmLevel::Direct;
        let (page, neighbour) = (range(BASE + 0x5000, 0x1000), Ipa(BASE + 0x7000));
        assert_eq!(is_ever_gone(bench, neighbour, |bench| bench.protect(page, READ)), is_broken, "a group");
    });
}
