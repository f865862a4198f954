//! Where blocks and groups form and where they do not, and what CPUs see meanwhile.

use stage2::{Mmu, Run};
use vmsa::{Attributes, BbmLevel, DirtyLevel, Entry, Features, Hpa, Ipa, IpaRange, Level, Perms};

use crate::bench::{Bench, READ, READ_WRITE, adjacent_frame_of, machine, pages, pages_of, plain, ranged};
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

/// Returns the pages of a range that walks find, with what they may be used for.
fn walked(bench: &Bench<'_>, range: IpaRange) -> Vec<(Hpa, Perms)> {
    let walk = |ipa| bench.tree.walk(bench.sim, ipa).and_then(|walk| walk.page(ipa));
    pages_of(range).filter_map(walk).map(|(frame, attributes)| (frame, attributes.perms)).collect()
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

#[test]
fn memory_that_is_adjacent_but_begins_elsewhere_makes_no_group() {
    on_every_machine(|bench| {
        // All of a block's pages, in two halves, from the second frame of a block on.
        for half in [range(BASE, MIB), range(BASE + MIB, MIB)] {
            let source = |ipa: Ipa| {
                let output = adjacent_frame_of(ipa).add(0x1000);
                Some(Run { output, len: half.end.0 - ipa.0, attributes: Attributes::normal(READ) })
            };
            let _ = bench.tree.map(bench.sim, &mut bench.tables, half, source).unwrap();
        }
        let leaves = [0, 0x1_0000, 0xf_0000, 0x1f_0000].map(|offset| leaf_at(bench, BASE + offset));
        assert_eq!(leaves, [(Level::L3, false); 4]);
    });
}

#[test]
fn what_changes_in_whole_blocks_takes_no_table() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 6 * MIB), READ_WRITE).unwrap();
        bench.tables.limit = 0;
        bench.protect(range(BASE, 2 * MIB), READ);
        bench.unmap(range(BASE + 2 * MIB, 2 * MIB));
        assert_eq!([0, 2, 4].map(|mib| leaf_at(bench, BASE + mib * MIB).0), [Level::L2; 3]);
        assert_eq!(walked(bench, range(BASE, 6 * MIB)).len(), 1024);
    });
}

#[test]
fn a_hint_that_a_source_gives_counts_for_nothing() {
    on_every_machine(|bench| {
        let source = |ipa: Ipa| {
            let attributes = Attributes { contiguous: true, ..Attributes::normal(READ) };
            Some(Run { output: adjacent_frame_of(ipa), len: 0x1000, attributes })
        };
        // In a table that is new, and in one that is there.
        for page in [range(BASE, 0x1000), range(BASE + 0x1_0000, 0x1000)] {
            let _ = bench.tree.map(bench.sim, &mut bench.tables, page, source).unwrap();
            assert_eq!(leaf_at(bench, page.start.0), (Level::L3, false));
        }
    });
}

#[test]
fn what_leads_to_the_frames_is_owned_and_nothing_else() {
    on_every_machine(|bench| {
        // A block, a group in a table, and pages.
        let shapes = [(2 * MIB, 0), (2 * MIB, 1), (0x2_0000, 1), (0x5000, 0)];
        for (mapped, first) in shapes.map(|(len, first)| (range(BASE, len), first)) {
            bench.map_adjacent(mapped, READ).unwrap();
            let elsewhere = Ipa(BASE + 0x3000);
            let frame = if first == 0 { adjacent_frame_of(elsewhere) } else { adjacent_frame_of(Ipa(BASE + 64 * MIB)) };
            bench.map_page(elsewhere, frame, READ);
            let owned = pages(BASE + first * 0x1000, 4);
            let output = adjacent_frame_of(owned.start);
            drop(bench.tree.own(bench.sim, &mut bench.tables, owned, output, READ_WRITE).unwrap());
            let expected: Vec<_> = pages_of(mapped)
                .map(|ipa| match ipa {
                    _ if ipa == elsewhere && first != 0 => (frame, READ),
                    _ if (owned.start..owned.end).contains(&ipa) => (adjacent_frame_of(ipa), READ_WRITE),
                    _ => (adjacent_frame_of(ipa), READ),
                })
                .collect();
            assert_eq!(walked(bench, mapped), expected);
            bench.unmap(mapped);
            assert_eq!(bench.sim.violations(), Vec::<String>::new());
        }
    });
}

#[test]
fn what_is_shared_does_not_become_writable_with_its_neighbours() {
    on_every_machine(|bench| {
        for (perms, len) in [READ, READ_WRITE].into_iter().flat_map(|perms| [(perms, 2 * MIB), (perms, 0x2_0000)]) {
            bench.map_adjacent(range(BASE, len), perms).unwrap();
            let shared = pages(BASE + 0x4000, 2);
            drop(bench.tree.share(bench.sim, &mut bench.tables, [shared]).unwrap());
            bench.protect(range(BASE, len), READ_WRITE);
            let expected: Vec<_> = pages_of(range(BASE, len))
                .map(|ipa| {
                    (adjacent_frame_of(ipa), if (shared.start..shared.end).contains(&ipa) { READ } else { READ_WRITE })
                })
                .collect();
            assert_eq!(walked(bench, range(BASE, len)), expected);
            assert_eq!(leaf_at(bench, shared.start.0), (Level::L3, false), "a group has one permission");
            bench.unmap(range(BASE, len));
            assert_eq!(bench.sim.violations(), Vec::<String>::new());
        }
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

#[test]
fn the_same_page_that_is_put_with_more_rights_is_never_gone() {
    on_every_machine(|bench| {
        let ipa = Ipa(BASE);
        bench.map(range(BASE, 0x1000), READ).unwrap();
        let frame = bench.model[&ipa].0;
        assert!(!is_ever_gone(bench, ipa, |bench| bench.map_page(ipa, frame, READ_WRITE)));
        assert_eq!(walked(bench, range(BASE, 0x1000)), [(frame, READ_WRITE)]);
    });
}
