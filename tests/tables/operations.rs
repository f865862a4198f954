//! What each operation does, on machines with every kind of root.

use stage2::Touched;
use vmsa::{Entry, Features, Ipa, IpaRange, Level, Perms};

use crate::bench::{Bench, READ, READ_WRITE, adjacent_frame_of, frame_of, live, machine, pages, plain, ranged};

/// Every shape of root: at level 2, 1 and 0, single and concatenated.
const WIDTHS: [u32; 6] = [32, 34, 39, 40, 43, 48];

fn on_every_machine(test: impl Fn(&mut Bench<'_>)) {
    for ipa_bits in WIDTHS {
        for (features, ipa_bits) in [plain(ipa_bits), ranged(ipa_bits)] {
            let sim = machine(features);
            test(&mut Bench::new(&sim, ipa_bits));
        }
    }
}

#[test]
fn mapped_pages_are_seen_and_their_neighbours_are_not() {
    on_every_machine(|bench| {
        bench.map(pages(0x8000_2000, 3), READ_WRITE).unwrap();
        bench.assert_right(pages(0x8000_0000, 8));
    });
}

#[test]
fn the_last_page_of_the_space_can_be_mapped() {
    on_every_machine(|bench| {
        let last = pages(bench.tree.geometry().limit().0 - 0x1000, 1);
        bench.map(last, READ).unwrap();
        bench.assert_right(last);
        assert_eq!(bench.tree.walk(bench.sim, last.end), None);
    });
}

#[test]
fn unmapping_the_middle_keeps_both_ends() {
    on_every_machine(|bench| {
        let all = pages(0x801f_c000, 8);
        bench.map(all, READ_WRITE).unwrap();
        bench.unmap(pages(0x801f_e000, 4));
        bench.assert_right(all);
    });
}

#[test]
fn mapping_leaves_what_is_mapped_alone() {
    on_every_machine(|bench| {
        bench.map(pages(0x8000_1000, 1), READ).unwrap();
        bench.map(pages(0x8000_0000, 3), READ_WRITE).unwrap();
        assert_eq!(bench.model[&Ipa(0x8000_1000)].1, READ);
        bench.assert_right(pages(0x8000_0000, 3));
    });
}

#[test]
fn another_page_at_the_same_place_goes_through_a_break() {
    on_every_machine(|bench| {
        let ipa = Ipa(0x8000_0000);
        bench.map(IpaRange::page(ipa), READ).unwrap();
        bench.map_page(ipa, frame_of(ipa).add(0x5000), READ_WRITE);
        bench.assert_right(IpaRange::page(ipa));
    });
}

#[test]
fn tightening_is_complete_when_the_operation_returns() {
    on_every_machine(|bench| {
        let all = pages(0x8000_0000, 6);
        bench.map(all, READ_WRITE).unwrap();
        bench.protect(pages(0x8000_1000, 3), READ);
        bench.assert_right(all);
    });
}

#[test]
fn relaxing_needs_no_break_and_no_invalidation() {
    on_every_machine(|bench| {
        let all = pages(0x8000_0000, 2);
        bench.map(all, READ).unwrap();
        let cost = bench.cost(|bench| bench.protect(all, READ_WRITE));
        assert_eq!((cost.stores, cost.tlbi_ipa + cost.tlbi_range + cost.tlbi_vmid, cost.dsb), (2, 0, 1));
        assert_eq!(bench.tree.touch(bench.sim, Ipa(0x8000_0000), READ_WRITE), Touched::Already);
        // A CPU may still hold the old right, and faults once; what it then does makes it see the new one.
        for cpu in 0..2 {
            tests::Sim::run_on(cpu);
            bench.sim.set_vttbr_now(bench.tree.vttbr());
            bench.tree.refresh(bench.sim, Ipa(0x8000_0000));
            bench.tree.refresh(bench.sim, Ipa(0x8000_1000));
        }
        tests::Sim::run_on(0);
        bench.assert_right(all);
    });
}

#[test]
fn a_page_that_is_touched_is_entered_where_its_table_has_nothing() {
    on_every_machine(|bench| {
        let (ipa, around) = (Ipa(0x8000_3000), pages(0x8000_0000, 8));
        let frame = frame_of(ipa);
        // There is no table for it yet, and none is made.
        assert_eq!(bench.touch_or_map(ipa, READ_WRITE, frame), Touched::No);
        bench.assert_right(around);
        bench.map(pages(0x8000_2000, 1), READ).unwrap();
        let table = bench.tree.walk(bench.sim, ipa).unwrap().table;
        let cost = bench.cost(|bench| assert_eq!(bench.touch_or_map(ipa, READ_WRITE, frame), Touched::Mapped));
        assert_eq!((cost.stores, cost.dsb, cost.tlbi_ipa + cost.tlbi_range + cost.tlbi_vmid), (1, 1, 0));
        assert_eq!(live(&bench.tables, table), 2);
        // What is there stays: it is looked at as any access is.
        let other = frame_of(Ipa(0x8000_7000));
        assert_eq!(bench.touch_or_map(ipa, READ_WRITE, other), Touched::Already);
        assert_eq!(bench.touch_or_map(ipa, Perms::EXECUTE, other), Touched::No);
        bench.assert_right(around);
        bench.unmap(around);
        assert_eq!(bench.tables.in_use(), 0);
    });
}

#[test]
fn nothing_is_touched_behind_the_end_of_the_space() {
    on_every_machine(|bench| {
        let end = bench.tree.geometry().limit();
        bench.map(IpaRange { start: Ipa(end.0 - 0x2000), end }, READ).unwrap();
        assert_eq!(bench.touch_or_map(end, READ, frame_of(Ipa(0))), Touched::No);
        assert_eq!(bench.tree.touch(bench.sim, end, READ), Touched::No);
        assert_eq!(bench.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn tables_go_back_when_their_last_entry_goes() {
    on_every_machine(|bench| {
        assert_eq!(bench.tables.in_use(), 0);
        bench.map(pages(0x8000_0000, 1), READ).unwrap();
        bench.map(pages(0x8040_0000, 600), READ).unwrap();
        assert!(bench.tables.in_use() > 0);
        bench.unmap(pages(0x8000_0000, 1));
        bench.unmap(pages(0x8040_0000, 599));
        bench.unmap(pages(0x8065_7000, 1));
        assert_eq!(bench.tables.in_use(), 0);
        assert_eq!(bench.tree.stats().tables, bench.tree.geometry().root_tables() as u64);
        bench.assert_right(pages(0x8000_0000, 4));
    });
}

#[test]
fn a_table_knows_how_many_entries_are_live() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(0x8000_0000, 7), READ).unwrap();
    bench.unmap(pages(0x8000_2000, 2));
    let walk = bench.tree.walk(&sim, Ipa(0x8000_0000)).unwrap();
    assert_eq!(walk.level, Level::L3);
    assert_eq!(live(&bench.tables, walk.table), 5);
}

#[test]
fn a_whole_subtree_is_detached_by_one_store() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(0x8000_0000, 1024), READ).unwrap();
    bench.map(pages(0xc000_0000, 1), READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(IpaRange::new(Ipa(0x8000_0000), 1 << 30)));
    assert_eq!(cost.stores, 1);
    bench.assert_right(pages(0x8000_0000, 1024));
    bench.assert_right(pages(0xc000_0000, 1));
    assert_eq!(bench.tables.in_use(), 2);
}

#[test]
fn a_walk_ends_where_the_hardware_would() {
    let sim = machine(plain(40).0);
    let mut bench = Bench::new(&sim, 40);
    let nothing = bench.tree.walk(&sim, Ipa(0xff_c000_0000)).unwrap();
    assert_eq!((nothing.descriptor, nothing.level, nothing.entry), (0, Level::L1, Entry::Invalid));
    assert_eq!(nothing.table, bench.tree.root().add(4096), "the second of two concatenated roots");
    bench.map(pages(0xff_c000_0000, 1), READ).unwrap();
    assert_eq!(bench.tree.walk(&sim, Ipa(0xff_c000_0000)).unwrap().level, Level::L3);
    assert_eq!(bench.tree.walk(&sim, Ipa(0xff_c020_0000)).unwrap().level, Level::L2);
}

#[test]
fn running_out_of_tables_leaves_nothing_half_done() {
    for limit in 0..4 {
        let sim = machine(plain(48).0);
        let mut bench = Bench::new(&sim, 48);
        bench.map(pages(0x8000_0000, 2), READ).unwrap();
        let in_use = bench.tables.in_use();
        bench.tables.limit = limit;
        let result = bench.map(pages(0x7f_ffff_f000, 2), READ);
        assert!(result.is_err(), "{limit}");
        bench.unmap(pages(0x7f_ffff_f000, 2));
        assert_eq!(bench.tables.in_use(), in_use, "{limit}");
        bench.assert_right(pages(0x8000_0000, 4));
        bench.assert_right(pages(0x7f_ffff_e000, 4));
    }
}

#[test]
fn a_refused_map_counts_its_tables_out_again() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(0x8000_0000, 1), READ).unwrap();
    // Two tables of the last level and the one that leads to them are missing, and there are two.
    bench.tables.limit = 2;
    assert!(bench.map(pages(0xc01f_f000, 2), READ).is_err());
    assert_eq!((bench.tables.in_use(), bench.tree.stats().tables), (2, 3));
}

#[test]
fn a_frame_is_unmapped_and_nothing_beside_it() {
    on_every_machine(|bench| {
        let (first, second) = (Ipa(0x8000_0000), Ipa(0x8000_1000));
        bench.map(pages(first.0, 2), READ).unwrap();
        bench.map_adjacent(pages(0x8020_0000, 512), READ).unwrap();
        let in_use = bench.tables.in_use();
        let blocks = adjacent_frame_of(Ipa(0x8020_0000));
        let unmap = |bench: &mut Bench<'_>, frame| {
            let ranges = [pages(first.0, 2), pages(0x8020_0000, 512)];
            let _ = bench.tree.unmap_frame(bench.sim, &mut bench.tables, ranges, frame);
            bench.model.retain(|ipa, page| ipa.0 >= 0x8020_0000 || page.0 != frame);
            bench.assert_right(pages(first.0, 2));
            bench.assert_right(pages(0x8020_0000, 2));
        };
        unmap(bench, blocks);
        assert_eq!((bench.model.len(), bench.tables.in_use()), (514, in_use));
        unmap(bench, frame_of(second));
        unmap(bench, frame_of(first));
        assert_eq!((bench.model.len(), bench.tables.in_use()), (512, in_use - 1), "the last table of pages is gone");
    });
}

#[test]
fn a_shared_page_becomes_writable_only_when_it_is_owned() {
    on_every_machine(|bench| {
        let all = pages(0x8000_0000, 2);
        let (shared, other) = (Ipa(0x8000_0000), Ipa(0x8000_1000));
        bench.map(all, READ_WRITE).unwrap();
        let perms = |bench: &Bench<'_>, ipa| {
            let page = bench.tree.walk(bench.sim, ipa).and_then(|walk| walk.page(ipa));
            page.map(|(_, attributes)| (attributes.perms, attributes.shared))
        };
        let _ = bench.tree.share(bench.sim, &mut bench.tables, [IpaRange::page(shared)]).expect("tables enough");
        assert_eq!(perms(bench, shared), Some((READ, true)));
        let executable = READ | Perms::EXECUTE;
        bench.protect(all, executable | Perms::WRITE);
        assert_eq!(perms(bench, other), Some((executable | Perms::WRITE, false)));
        for (output, expected) in [(frame_of(other), (executable, true)), (frame_of(shared), (READ_WRITE, false))] {
            let range = IpaRange::page(shared);
            let owned = bench.tree.own(bench.sim, &mut bench.tables, range, output, READ_WRITE);
            let _ = owned.expect("tables enough");
            assert_eq!(perms(bench, shared), Some(expected));
        }
    });
}

#[test]
fn a_tree_has_the_number_of_its_roots_frame_until_it_gets_one() {
    let sim = machine(plain(39).0);
    let tree = Bench::new(&sim, 39).tree;
    assert_eq!(tree.number(), (tree.root().0 >> 12) as u32);
    assert_eq!(tree.numbered(7).number(), 7);
}

#[test]
fn another_vms_tlb_is_left_alone() {
    let (features, ipa_bits) = plain(39);
    let sim = machine(Features { ..features });
    let mut bench = Bench::new(&sim, ipa_bits);
    sim.set_vttbr_now(7 << 48);
    bench.map(pages(0x8000_0000, 2), READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(pages(0x8000_0000, 1)));
    assert_eq!(cost.isb, 2);
    bench.assert_right(pages(0x8000_0000, 2));
    assert_eq!(stage2::Mmu::vttbr(&sim), 7 << 48);
}
