//! What operations cost, counted, at every size and on machines with range invalidation and without: two TLBIs an operation
//! with it, 34 at most without, one of them for stage 1, three barriers; and a store for each entry that has to change.

use stage2::{Stats, Touched};
use vmsa::Ipa;

use crate::bench::{Bench, READ, READ_WRITE, adjacent_frame_of, machine, pages, plain, ranged};

const BASE: u64 = 0x8000_0000;
/// From a page to 256 MiB.
const SIZES: [u64; 5] = [1, 16, 512, 4096, 65_536];

fn tlbis(cost: Stats) -> u64 {
    cost.tlbi_ipa + cost.tlbi_range + cost.tlbi_vmid + cost.tlbi_stage1
}

fn invalidations(cost: Stats) -> (u64, u64) {
    (tlbis(cost), cost.dsb)
}

/// Runs a test on both machines at every size, in a tree that maps nothing, with the VM's VTTBR_EL2 in effect. The number is
/// the most TLBIs that an operation may take there.
fn at_every_size(test: impl Fn(&mut Bench<'_>, u64, u64)) {
    for ((features, ipa_bits), most) in [(plain(39), 34), (ranged(39), 2)] {
        for count in SIZES {
            let sim = machine(features);
            let mut bench = Bench::new(&sim, ipa_bits);
            sim.set_vttbr_now(bench.tree.vttbr());
            test(&mut bench, count, most);
        }
    }
}

fn assert_within(cost: Stats, count: u64, most_tlbis: u64, most_stores: u64) {
    let is_within = tlbis(cost) <= most_tlbis && cost.stores <= most_stores;
    assert!(is_within && cost.dsb <= 3 && cost.isb == 0 && cost.tlbi_stage1 <= 1, "{count} pages: {cost:?}");
}

#[test]
fn a_gap_costs_nothing() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(BASE, 1), READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(pages(BASE + 0x1000, 511)));
    assert_eq!((cost.stores, invalidations(cost)), (0, (0, 0)));
}

#[test]
fn an_unchanged_protection_costs_nothing() {
    at_every_size(|bench, count, _| {
        bench.map(pages(BASE, count), READ).unwrap();
        let cost = bench.cost(|bench| bench.protect(pages(BASE, count), READ));
        assert_eq!((cost.stores, invalidations(cost)), (0, (0, 0)));
    });
}

#[test]
fn mapping_what_is_mapped_costs_nothing() {
    at_every_size(|bench, count, _| {
        bench.map(pages(BASE, count), READ).unwrap();
        let cost = bench.cost(|bench| bench.map(pages(BASE, count), READ).unwrap());
        assert_eq!((cost.stores, invalidations(cost)), (0, (0, 0)));
    });
}

#[test]
fn unmapping_tables_costs_a_store_for_each_that_is_full_of_it() {
    at_every_size(|bench, count, most| {
        bench.map(pages(BASE, count), READ).unwrap();
        let cost = bench.cost(|bench| bench.unmap(pages(BASE, count)));
        // Less than a table: a store a page, and one for each table on the way that is empty then.
        assert_within(cost, count, most, if count < 512 { count + 2 } else { count / 512 + 1 });
    });
}

#[test]
fn unmapping_pages_between_others_costs_a_store_a_page() {
    at_every_size(|bench, count, most| {
        bench.map(pages(BASE, 1), READ).unwrap();
        bench.map(pages(BASE + 0x1000, count), READ).unwrap();
        bench.map(pages(BASE + 0x1000 + count * 0x1000, 1), READ).unwrap();
        let cost = bench.cost(|bench| bench.unmap(pages(BASE + 0x1000, count)));
        let in_the_ends = count.min(512 + 511);
        assert_within(cost, count, most, in_the_ends + count / 512);
    });
}

#[test]
fn a_table_goes_by_one_store_where_all_that_it_says_is_in_the_range() {
    at_every_size(|bench, _, most| {
        // One page elsewhere, for the table above to stay. What is unmapped is most of a table, or a little of one.
        bench.map(pages(BASE, 1), READ).unwrap();
        let kept = bench.tables.in_use();
        for (mapped, unmapped) in [((1, 511), (1, 511)), ((5, 3), (4, 8)), ((0, 400), (0, 511))] {
            let in_next = |(first, count): (u64, u64)| pages(BASE + 0x20_0000 + first * 0x1000, count);
            bench.map(in_next(mapped), READ).unwrap();
            let cost = bench.cost(|bench| bench.unmap(in_next(unmapped)));
            assert_within(cost, unmapped.1, most, 1);
            assert_eq!((cost.stores, bench.tables.in_use()), (1, kept), "{mapped:?}");
        }
    });
}

#[test]
fn a_table_stays_that_says_something_beside_the_range() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(BASE, 512), READ).unwrap();
    for (first, count) in [(1_u64, 511), (0, 511), (0, 3)] {
        bench.unmap(pages(BASE + first * 0x1000, count));
        assert_eq!(bench.tables.in_use(), 2, "{first} {count}");
        bench.assert_right(pages(BASE, 512));
        bench.map(pages(BASE, 512), READ).unwrap();
    }
}

#[test]
fn protecting_costs_a_store_a_page() {
    at_every_size(|bench, count, most| {
        bench.map(pages(BASE, count), READ_WRITE).unwrap();
        let cost = bench.cost(|bench| bench.protect(pages(BASE, count), READ));
        assert_within(cost, count, most, count);
    });
}

#[test]
fn protecting_blocks_costs_a_store_a_block() {
    at_every_size(|bench, count, most| {
        // One block more, so that none of the tables is uniform.
        bench.map_adjacent(pages(BASE, 512 * (count.div_ceil(512) + 1)), READ_WRITE).unwrap();
        if count >= 512 {
            let cost = bench.cost(|bench| bench.protect(pages(BASE, count), READ));
            // Blocks in groups of 16 are broken, and made again once they are gone from the TLBs.
            assert!(tlbis(cost) <= most && cost.stores <= 2 * count / 512 + 32 && cost.dsb <= 4, "{count}: {cost:?}");
        }
    });
}

#[test]
fn mapping_costs_one_barrier_and_a_store_for_each_entry_that_was_there() {
    at_every_size(|bench, count, _| {
        // Nothing is there: what is made below one entry of the root is linked by two stores, one of which reserves it.
        let cost = bench.cost(|bench| bench.map(pages(BASE, count), READ).unwrap());
        assert_eq!((cost.stores, invalidations(cost)), (2, (0, 1)), "{count} pages");
    });
    at_every_size(|bench, count, _| {
        // The tables are there: a store a page.
        for table in 0..count.div_ceil(512) {
            bench.map(pages(BASE + table * 0x20_0000 + 0x1f_f000, 1), READ).unwrap();
        }
        let missing = count - count / 512;
        let cost = bench.cost(|bench| bench.map(pages(BASE, count), READ).unwrap());
        assert_eq!((cost.stores, invalidations(cost)), (missing, (0, 1)), "{count} pages");
    });
}

#[test]
fn a_gibibyte_of_pages_takes_its_513_tables() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(BASE, 1 << 18), READ).unwrap();
    assert_eq!(bench.tables.in_use(), 513);
}

#[test]
fn the_last_block_of_a_table_goes_by_its_own_invalidation() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map_adjacent(pages(BASE + 0x20_0000, 512), READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(pages(BASE + 0x20_0000, 512)));
    assert_eq!((cost.tlbi_ipa, cost.tlbi_vmid, bench.tables.in_use()), (1, 0, 0));
    bench.assert_right(pages(BASE + 0x20_0000, 4));
}

#[test]
fn the_last_page_of_two_tables_goes_by_its_own_invalidation() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    let page = pages(BASE + 0x20_5000, 1);
    bench.map(page, READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(page));
    assert_eq!((cost.tlbi_ipa, cost.tlbi_vmid, bench.tables.in_use()), (1, 0, 0));
    bench.assert_right(page);
}

#[test]
fn a_block_that_is_cut_goes_by_its_own_invalidation() {
    // On a machine that has to break it: what goes from the table that is to take its place was never reached.
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map_adjacent(pages(BASE, 512), READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(pages(BASE + 0x5000, 20)));
    assert_eq!((cost.tlbi_ipa, cost.tlbi_vmid), (1, 0));
    bench.assert_right(pages(BASE, 512));
}

#[test]
fn an_invalidation_takes_a_barrier_before_it_and_one_after_each_of_its_stages() {
    for (count, expected) in [(1, (1, 0, 1, 3)), (40, (0, 1, 0, 2))] {
        let sim = machine(plain(39).0);
        let mut bench = Bench::new(&sim, 39);
        sim.set_vttbr_now(bench.tree.vttbr());
        bench.map(pages(BASE, 50), READ).unwrap();
        let cost = bench.cost(|bench| bench.unmap(pages(BASE, count)));
        assert_eq!((cost.tlbi_ipa, cost.tlbi_vmid, cost.tlbi_stage1, cost.dsb), expected, "{count} pages");
    }
}

#[test]
fn a_group_that_comes_whole_costs_a_store_a_page() {
    at_every_size(|bench, _, _| {
        // The table is there.
        bench.map_adjacent(pages(BASE + 0x10_0000, 1), READ).unwrap();
        let cost = bench.cost(|bench| bench.map_adjacent(pages(BASE, 16), READ).unwrap());
        assert_eq!((cost.stores, invalidations(cost)), (16, (0, 1)));
        let (_, attributes) = bench.tree.walk(bench.sim, Ipa(BASE)).unwrap().page(Ipa(BASE)).unwrap();
        assert!(attributes.contiguous);
    });
}

#[test]
fn a_page_that_is_put_where_it_is_costs_nothing() {
    at_every_size(|bench, count, _| {
        bench.map_adjacent(pages(BASE, count), READ).unwrap();
        let ipa = Ipa(BASE + (count - 1) * 0x1000);
        let cost = bench.cost(|bench| bench.map_page(ipa, adjacent_frame_of(ipa), READ));
        assert_eq!((cost.stores, invalidations(cost)), (0, (0, 0)), "{count} pages");
    });
}

#[test]
fn a_mark_costs_a_store_and_a_barrier() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    let page = pages(BASE, 1);
    bench.map(page, READ).unwrap();
    let _ = bench.tree.age(&sim, &mut bench.tables, page, |_| {});
    let cost = bench.cost(|bench| assert_eq!(bench.tree.touch(bench.sim, Ipa(BASE), READ), Touched::Marked));
    assert_eq!((cost.stores, invalidations(cost)), (1, (0, 1)));
}

#[test]
fn parts_that_are_far_apart_share_one_invalidation_of_stage_1() {
    let far = |number: u64| pages(BASE + number * (1 << 32), 2);
    for (machine_kind, parts, expected) in
        [(plain(39), 3, (6, 0, 0)), (ranged(39), 3, (0, 3, 0)), (plain(39), 5, (0, 0, 1))]
    {
        let sim = machine(machine_kind.0);
        let mut bench = Bench::new(&sim, machine_kind.1);
        for part in 0..parts {
            bench.map(far(part), READ).unwrap();
        }
        let before = bench.tree.stats();
        let _ = bench.tree.unmap(&sim, &mut bench.tables, (0..parts).map(far));
        bench.model.clear();
        let after = bench.tree.stats();
        let issued = (
            after.tlbi_ipa - before.tlbi_ipa,
            after.tlbi_range - before.tlbi_range,
            after.tlbi_vmid - before.tlbi_vmid,
        );
        assert_eq!(issued, expected, "{parts} parts");
        (0..parts).for_each(|part| bench.assert_right(far(part)));
    }
}
