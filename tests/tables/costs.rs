//! What operations cost, counted. The bounds for a machine with range invalidation are two TLBIs an operation, without 34.

use stage2::Stats;

use crate::bench::{Bench, READ, READ_WRITE, machine, pages, plain, ranged};

const BASE: u64 = 0x8000_0000;

fn tlbis(cost: Stats) -> u64 {
    cost.tlbi_ipa + cost.tlbi_range + cost.tlbi_vmid + cost.tlbi_stage1
}

#[test]
fn a_gap_costs_nothing() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(BASE, 1), READ).unwrap();
    let cost = bench.cost(|bench| bench.unmap(pages(BASE + 0x1000, 511)));
    assert_eq!((cost.stores, tlbis(cost), cost.dsb), (0, 0, 0));
}

#[test]
fn an_unchanged_protection_costs_nothing() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(BASE, 16), READ).unwrap();
    let cost = bench.cost(|bench| bench.protect(pages(BASE, 16), READ));
    assert_eq!((cost.stores, tlbis(cost), cost.dsb), (0, 0, 0));
}

#[test]
fn unmap_stays_within_its_bounds_at_every_size() {
    for (machine_kind, most) in [(plain(39), 34), (ranged(39), 2)] {
        for count in [1, 16, 512, 4096, 65_536] {
            let sim = tests::Sim::new(machine_kind.0, 16 << 20);
            let mut bench = Bench::new(&sim, machine_kind.1);
            sim.set_vttbr_now(bench.tree.vttbr());
            bench.map(pages(BASE, count), READ).unwrap();
            let cost = bench.cost(|bench| bench.unmap(pages(BASE, count)));
            assert!(tlbis(cost) <= most, "{count} pages: {cost:?}");
            assert!(cost.stores <= count.div_ceil(512) + 17, "{count} pages: {cost:?}");
            assert!(cost.dsb <= 3 && cost.isb == 0 && cost.tlbi_stage1 <= 1, "{count} pages: {cost:?}");
        }
    }
}

#[test]
fn protect_stays_within_its_bounds_at_every_size() {
    for (machine_kind, most) in [(plain(39), 34), (ranged(39), 2)] {
        for count in [1, 16, 512, 4096] {
            let sim = machine(machine_kind.0);
            let mut bench = Bench::new(&sim, machine_kind.1);
            bench.map(pages(BASE, count), READ_WRITE).unwrap();
            let cost = bench.cost(|bench| bench.protect(pages(BASE, count), READ));
            assert!(tlbis(cost) <= most && cost.stores == count && cost.dsb <= 3, "{count} pages: {cost:?}");
        }
    }
}

#[test]
fn mapping_costs_a_store_a_page_and_one_barrier() {
    for count in [1, 16, 512, 4096] {
        let sim = machine(plain(39).0);
        let mut bench = Bench::new(&sim, 39);
        let cost = bench.cost(|bench| bench.map(pages(BASE, count), READ).unwrap());
        let tables = count.div_ceil(512) + 1;
        assert_eq!((cost.stores, tlbis(cost), cost.dsb), (count + tables, 0, 1), "{count} pages");
    }
}

#[test]
fn a_gibibyte_of_pages_takes_its_513_tables() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    bench.map(pages(BASE, 1 << 18), READ).unwrap();
    assert_eq!(bench.tables.in_use(), 513);
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
