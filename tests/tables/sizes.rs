//! Leaves of every size: chosen, split, and put together again.

use stage2::Touched;
use vmsa::{Attributes, BbmLevel, DirtyLevel, Entry, Features, Ipa, IpaRange, Leaf, Level, Perms};

use crate::bench::{Bench, READ, READ_WRITE, adjacent_frame_of, machine, pages, ranged};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BASE: u64 = 4 * GIB;

/// Machines of every level of FEAT_BBM, with hardware updates and without.
fn machines() -> impl Iterator<Item = Features> {
    let levels = [BbmLevel::BreakFirst, BbmLevel::NoTranslationCaching, BbmLevel::Direct];
    let updates = [DirtyLevel::None, DirtyLevel::AccessFlag, DirtyLevel::Dirty];
    let plain = Features { pa_bits: 48, ..Features::default() };
    levels.into_iter().flat_map(move |bbm| {
        updates
            .into_iter()
            .flat_map(move |dirty| [Features { bbm, dirty, ..plain }, Features { bbm, dirty, ..ranged(0).0 }])
    })
}

fn on_every_machine(test: impl Fn(&mut Bench<'_>)) {
    for features in machines() {
        let sim = machine(features);
        test(&mut Bench::new(&sim, 39));
    }
}

fn leaf_at(bench: &Bench<'_>, ipa: u64) -> (Level, Option<Leaf>) {
    let walk = bench.tree.walk(bench.sim, Ipa(ipa)).expect("an address of the space");
    match walk.entry {
        Entry::Leaf(leaf) => (walk.level, Some(leaf)),
        _ => (walk.level, None),
    }
}

fn is_hinted(bench: &Bench<'_>, ipa: u64) -> bool {
    leaf_at(bench, ipa).1.is_some_and(|leaf| leaf.attributes.contiguous)
}

fn range(start: u64, len: u64) -> IpaRange {
    IpaRange::new(Ipa(start), len)
}

#[test]
fn leaves_are_as_large_as_alignment_allows() {
    on_every_machine(|bench| {
        // From a page below a group, over a block, to a GiB and a page.
        let start = BASE - 2 * MIB - 0x1_1000;
        bench.map_adjacent(range(start, GIB + 2 * MIB + 0x1_1000 + 0x1000), READ_WRITE).unwrap();
        assert_eq!(leaf_at(bench, start).0, Level::L3);
        assert!(!is_hinted(bench, start) && is_hinted(bench, start + 0x1000));
        assert_eq!(leaf_at(bench, BASE - 2 * MIB).0, Level::L2);
        assert_eq!(leaf_at(bench, BASE).0, Level::L1);
        assert_eq!(leaf_at(bench, BASE + GIB).0, Level::L3);
        bench.assert_right(pages(start, 40));
        bench.assert_right(pages(BASE + GIB - 0x1000, 3));
    });
}

#[test]
fn sixteen_blocks_are_a_group() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE + 30 * MIB, 36 * MIB), READ).unwrap();
        let hints: Vec<_> = (0..18).map(|number| is_hinted(bench, BASE + 30 * MIB + number * 2 * MIB)).collect();
        assert_eq!(hints, [&[false][..], &[true; 16], &[false]].concat());
    });
}

#[test]
fn a_gibibyte_of_blocks_takes_one_table_and_of_one_block_none() {
    let sim = machine(ranged(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map_adjacent(range(BASE, GIB), READ).unwrap();
    assert_eq!(bench.tables.in_use(), 0);
    bench.map_adjacent(range(BASE + GIB + 2 * MIB, GIB - 2 * MIB), READ).unwrap();
    assert_eq!(bench.tables.in_use(), 1);
}

#[test]
fn a_hole_splits_only_what_it_cuts() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, GIB), READ_WRITE).unwrap();
        let hole = range(BASE + 4 * MIB + 0x3000, 0x1000);
        bench.unmap(hole);
        assert_eq!((bench.tables.in_use(), bench.tree.stats().splits), (2, 2));
        assert_eq!(leaf_at(bench, hole.start.0), (Level::L3, None));
        assert_eq!(leaf_at(bench, hole.start.0 + 0x1000).0, Level::L3);
        assert_eq!(leaf_at(bench, BASE + 6 * MIB).0, Level::L2);
        // Its group has no hint any more; the next one has.
        assert!(!is_hinted(bench, hole.start.0 + 0x1000) && is_hinted(bench, BASE + 4 * MIB + 0x1_0000));
        assert!(!is_hinted(bench, BASE + 6 * MIB) && is_hinted(bench, BASE + 32 * MIB));
        bench.assert_right(pages(BASE + 4 * MIB, 40));
    });
}

#[test]
fn a_range_that_crosses_split_blocks_is_unmapped_whole() {
    on_every_machine(|bench| {
        let all = range(BASE, 8 * MIB);
        bench.map_adjacent(all, READ_WRITE).unwrap();
        bench.unmap(range(BASE + MIB, 0x1000));
        bench.unmap(range(BASE + 5 * MIB, 0x1000));
        bench.unmap(range(BASE + MIB - 0x3000, 4 * MIB + 0x8000));
        bench.assert_right(pages(BASE + MIB - 0x8000, 16));
        bench.assert_right(pages(BASE + 5 * MIB - 0x8000, 32));
        bench.unmap(all);
        assert_eq!(bench.tables.in_use(), 0);
    });
}

#[test]
fn a_split_keeps_what_every_neighbour_says() {
    on_every_machine(|bench| {
        let perms = READ_WRITE | Perms::EXECUTE;
        bench.map_adjacent(range(BASE, 2 * MIB), perms).unwrap();
        let before = leaf_at(bench, BASE).1.unwrap().attributes;
        bench.protect(range(BASE + 0x5000, 0x2000), READ);
        for page in [0, 4, 7, 16, 511] {
            let (level, leaf) = leaf_at(bench, BASE + page * 0x1000);
            let mut attributes = leaf.unwrap().attributes;
            attributes.contiguous = false;
            assert_eq!((level, attributes), (Level::L3, before), "{page}");
        }
        bench.assert_right(pages(BASE, 512));
    });
}

#[test]
fn permissions_that_come_back_make_a_block_again() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, GIB), READ_WRITE).unwrap();
        let page = range(BASE + 77 * MIB, 0x1000);
        bench.protect(page, READ);
        assert_eq!(leaf_at(bench, page.start.0).0, Level::L3);
        bench.protect(page, READ_WRITE);
        assert_eq!((leaf_at(bench, page.start.0).0, bench.tables.in_use()), (Level::L1, 0));
        assert_eq!(bench.tree.stats().merges, 2);
        bench.assert_right(pages(BASE + 77 * MIB - 0x4000, 16));
        bench.assert_right(pages(BASE + GIB - 0x1000, 1));
    });
}

#[test]
fn pages_that_come_one_by_one_become_a_group_and_a_block() {
    on_every_machine(|bench| {
        for page in 0..512 {
            bench.map_adjacent(range(BASE + page * 0x1000, 0x1000), READ).unwrap();
            assert_eq!(is_hinted(bench, BASE), (15..511).contains(&page), "{page}");
        }
        assert_eq!((leaf_at(bench, BASE).0, bench.tables.in_use()), (Level::L2, 1));
        bench.assert_right(pages(BASE, 512));
    });
}

#[test]
fn pages_that_were_put_alone_become_a_block_when_the_range_is_mapped() {
    on_every_machine(|bench| {
        for page in 0..512 {
            let ipa = Ipa(BASE + page * 0x1000);
            bench.map_page(ipa, adjacent_frame_of(ipa), READ);
        }
        assert_eq!((leaf_at(bench, BASE).0, is_hinted(bench, BASE)), (Level::L3, false));
        bench.map_adjacent(range(BASE, 2 * MIB), READ).unwrap();
        assert_eq!(leaf_at(bench, BASE).0, Level::L2);
        bench.assert_right(pages(BASE, 512));
    });
}

#[test]
fn a_group_that_is_protected_whole_stays_one() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 0x2_0000), READ_WRITE).unwrap();
        bench.protect(range(BASE, 0x1_0000), READ);
        assert!(is_hinted(bench, BASE) && is_hinted(bench, BASE + 0x1_0000));
        bench.protect(range(BASE + 0x1_0000, 0xf000), READ);
        assert!(!is_hinted(bench, BASE + 0x1_0000));
        bench.protect(range(BASE + 0x1_f000, 0x1000), READ);
        assert!(is_hinted(bench, BASE + 0x1_0000));
        bench.assert_right(pages(BASE, 40));
    });
}

#[test]
fn a_group_that_waits_for_its_invalidation_is_not_merged_in_place() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 0x1_0000), READ_WRITE).unwrap();
        bench.map_adjacent(range(BASE + 0x1_0000, 2 * MIB - 0x1_0000), READ).unwrap();
        bench.protect(range(BASE, 2 * MIB), READ);
        assert_eq!(leaf_at(bench, BASE).0, Level::L2);
        bench.assert_right(pages(BASE, 512));
    });
}

#[test]
fn a_page_put_into_a_block_splits_it() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 2 * MIB), READ).unwrap();
        let ipa = Ipa(BASE + 0x9_9000);
        bench.map_page(ipa, adjacent_frame_of(ipa).add(1 << 37), READ_WRITE);
        bench.assert_right(pages(BASE, 512));
        bench.map_page(ipa, adjacent_frame_of(ipa), READ);
        bench.assert_right(pages(BASE, 512));
    });
}

#[test]
fn a_block_that_no_table_can_be_had_for_stays_or_goes_whole() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, GIB), READ).unwrap();
        let page = range(BASE + 5 * MIB, 0x1000);
        for limit in 0..2 {
            bench.tables.limit = limit;
            assert!(bench.tree.unmap(bench.sim, &mut bench.tables, [page]).is_err());
            bench.tables.limit = limit;
            assert!(bench.tree.protect(bench.sim, &mut bench.tables, page, READ_WRITE).is_err());
            bench.tables.limit = limit;
            let put = (adjacent_frame_of(page.start), Attributes::normal(READ_WRITE));
            assert!(bench.tree.map_page(bench.sim, &mut bench.tables, page.start, put).is_err());
            assert_eq!((leaf_at(bench, BASE).0, bench.tables.in_use()), (Level::L1, 0));
        }
        bench.assert_right(pages(BASE + 5 * MIB - 0x2000, 4));
        bench.tables.limit = 0;
        assert_eq!(bench.tree.protect(bench.sim, &mut bench.tables, page, READ).map(drop), Ok(()), "nothing to do");
        let _ = bench.tree.unmap_at_least(bench.sim, &mut bench.tables, page);
        bench.model.clear();
        bench.assert_right(pages(BASE + 5 * MIB - 0x2000, 4));
        assert_eq!(bench.tables.in_use(), 0);
    });
}

#[test]
fn groups_in_the_root_get_their_hint_back() {
    for bits in [34, 40] {
        let sim = machine(ranged(0).0);
        let mut bench = Bench::new(&sim, bits);
        let block = bench.tree.geometry().start().entry_span();
        let all = range(0, 16 * block);
        bench.map_adjacent(all, READ_WRITE).unwrap();
        bench.protect(range(block, block), READ);
        assert!(!is_hinted(&bench, 0), "{bits}");
        bench.protect(range(block, block), READ_WRITE);
        assert!(is_hinted(&bench, 0), "{bits}");
        assert_eq!(sim.violations(), Vec::<String>::new());
    }
}

#[test]
fn splits_and_merges_cost_one_invalidation_an_operation() {
    for features in machines() {
        let sim = machine(features);
        let mut bench = Bench::new(&sim, 39);
        sim.set_vttbr_now(bench.tree.vttbr());
        bench.map_adjacent(range(BASE, 2 * MIB), READ_WRITE).unwrap();
        // At level 1 one size is changed with an invalidation of its own.
        let most = if features.bbm == BbmLevel::NoTranslationCaching { 2 } else { 1 };
        let split = bench.cost(|bench| bench.protect(range(BASE + 0x4_5000, 0x1000), READ));
        assert!(split.tlbi_stage1 + split.tlbi_vmid <= most && split.stores <= 5, "{features:?}: {split:?}");
        let merge = bench.cost(|bench| bench.protect(range(BASE + 0x4_5000, 0x1000), READ_WRITE));
        assert!(merge.tlbi_stage1 + merge.tlbi_vmid <= most && merge.stores <= 4, "{features:?}: {merge:?}");
    }
}

#[test]
fn many_sizes_that_change_share_one_invalidation() {
    for features in machines() {
        let sim = machine(features);
        let mut bench = Bench::new(&sim, 39);
        sim.set_vttbr_now(bench.tree.vttbr());
        bench.map_adjacent(range(BASE, 64 * MIB), READ_WRITE).unwrap();
        for number in 0..32 {
            bench.protect(range(BASE + number * 2 * MIB, 0x1000), READ);
        }
        let cost = bench.cost(|bench| bench.protect(range(BASE, 64 * MIB), READ_WRITE));
        assert_eq!(cost.merges, 32);
        assert!(cost.tlbi_stage1 + cost.tlbi_vmid <= 2 && cost.dsb <= 8, "{features:?}: {cost:?}");
        bench.assert_right(pages(BASE + 2 * MIB - 0x2000, 4));
    }
}

#[test]
fn blocks_are_invalidated_one_by_one_or_by_range_and_never_page_by_page() {
    for (features, expected) in [(Features { pa_bits: 48, ..Features::default() }, (8, 0)), (ranged(0).0, (0, 1))] {
        let sim = machine(features);
        let mut bench = Bench::new(&sim, 39);
        // Eight blocks in a table that keeps a ninth.
        bench.map_adjacent(range(BASE + 2 * MIB, 18 * MIB), READ).unwrap();
        let cost = bench.cost(|bench| bench.unmap(range(BASE + 2 * MIB, 16 * MIB)));
        assert_eq!((cost.tlbi_ipa, cost.tlbi_range, cost.tlbi_vmid, cost.tlbi_stage1), (expected.0, expected.1, 0, 1));
    }
}

#[test]
fn an_access_in_a_block_needs_no_mark() {
    on_every_machine(|bench| {
        bench.map_adjacent(range(BASE, 2 * MIB), READ_WRITE).unwrap();
        assert_eq!(bench.tree.touch(bench.sim, Ipa(BASE + 0x1000), READ_WRITE), Touched::Already);
        assert_eq!(bench.tree.touch(bench.sim, Ipa(BASE + 0x1000), Perms::EXECUTE), Touched::No);
    });
}
