//! How many entries an operation reads, and how many of its stores are exchanges. A range goes in a loop that looks at each of
//! its entries once, behind one walk to the first; and only what walks may update meanwhile is exchanged. No CPU sees whether
//! it is so.

use std::cell::Cell;

use stage2::Run;
use tests::Sim;
use vmsa::{Attributes, DirtyLevel, Features, Ipa, IpaRange};

use crate::bench::{Bench, READ, READ_WRITE, adjacent_frame_of, machine, pages, plain};
use crate::world::{Announced, Heard};

const BASE: u64 = 0x8000_0000;
/// What a walk to a page reads, in a space of 39 bits.
const WALK: u64 = 3;
/// The pages of a table.
const TABLE: u64 = 512;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Steps {
    reads: u64,
    exchanges: u64,
}

/// Returns what a machine is asked for by `work`.
fn steps(sim: &Sim, work: impl FnOnce(&Announced<'_, &dyn Fn(Heard)>)) -> Steps {
    let (reads, exchanges) = (Cell::new(0), Cell::new(0));
    let hear = |heard| match heard {
        Heard::Read(_) => reads.set(reads.get() + 1),
        Heard::Change(_) => exchanges.set(exchanges.get() + 1),
        Heard::Got(_) | Heard::Hidden | Heard::Next => {}
    };
    work(&Announced { sim, hear: &hear });
    Steps { reads: reads.get(), exchanges: exchanges.get() }
}

/// Runs a test on a machine whose walks set no flags, and on one whose walks do.
fn on_both(test: impl Fn(&mut Bench<'_>, bool)) {
    for dirty in [DirtyLevel::None, DirtyLevel::Dirty] {
        let sim = machine(Features { dirty, ..plain(39).0 });
        let mut bench = Bench::new(&sim, 39);
        sim.set_vttbr_now(bench.tree.vttbr());
        test(&mut bench, dirty != DirtyLevel::None);
    }
}

/// Maps a range to adjacent memory in which no group begins where one begins in the addresses.
fn map_shifted(bench: &mut Bench<'_>, range: IpaRange) -> Steps {
    let source = |ipa: Ipa| {
        let output = adjacent_frame_of(ipa).add(0x1000);
        Some(Run { output, len: range.end.0 - ipa.0, attributes: Attributes::normal(READ_WRITE) })
    };
    steps(bench.sim, |mmu| drop(bench.tree.map(mmu, &mut bench.tables, range, source).unwrap()))
}

/// Maps a range to adjacent memory that is aligned as the addresses are.
fn map_aligned(bench: &mut Bench<'_>, range: IpaRange) {
    let source = |ipa: Ipa| {
        let output = adjacent_frame_of(ipa);
        Some(Run { output, len: range.end.0 - ipa.0, attributes: Attributes::normal(READ_WRITE) })
    };
    let _ = bench.tree.map(bench.sim, &mut bench.tables, range, source).unwrap();
}

/// Maps a range to memory of which no two pages lie side by side.
fn map_scattered(bench: &mut Bench<'_>, range: IpaRange) -> Steps {
    let source = |ipa: Ipa| {
        let output = adjacent_frame_of(Ipa(ipa.0 ^ 0x1000));
        Some(Run { output, len: 0x1000, attributes: Attributes::normal(READ_WRITE) })
    };
    steps(bench.sim, |mmu| drop(bench.tree.map(mmu, &mut bench.tables, range, source).unwrap()))
}

fn unmap(bench: &mut Bench<'_>, range: IpaRange) -> Steps {
    steps(bench.sim, |mmu| drop(bench.tree.unmap(mmu, &mut bench.tables, [range]).unwrap()))
}

/// Returns the numbers of pages behind the first of a table, from a page to most of it: where they begin, and how many.
fn parts() -> impl Iterator<Item = (u64, u64)> {
    [(1, 1), (5, 11), (17, 100), (1, 300), (500, 11)].into_iter()
}

const fn groups(first: u64, count: u64) -> u64 {
    (first + count - 1) / 16 - first / 16 + 1
}

#[test]
fn what_is_unmapped_beside_others_is_looked_at_once() {
    on_both(|bench, has_flags| {
        // And up to the table's end.
        for (first, count) in parts().chain([(500, 12)]) {
            map_shifted(bench, pages(BASE, TABLE));
            let steps = unmap(bench, pages(BASE + first * 0x1000, count));
            // Where walks set flags eight at a time are taken away whatever they are by then, before which this machine looks once
            // more; and where there are eight the first tells whether to try.
            let again = if count < 8 { 0 } else { 1 + count / 8 * 8 };
            let (again, exchanges) = if has_flags { (again, count) } else { (0, 0) };
            assert_eq!(steps, Steps { reads: WALK + count + again, exchanges }, "{count} from {first}");
        }
    });
}

#[test]
fn what_is_protected_beside_others_is_looked_at_once_and_a_group_of_it_once_more() {
    on_both(|bench, has_flags| {
        for (first, count) in parts() {
            let part = pages(BASE + first * 0x1000, count);
            // The last page is not there: the table is no block.
            map_shifted(bench, pages(BASE, TABLE - 1));
            for (perms, is_change) in [(READ, true), (READ, false)] {
                let steps =
                    steps(bench.sim, |mmu| drop(bench.tree.protect(mmu, &mut bench.tables, part, perms).unwrap()));
                // The first says what is looked for, and is then looked at as one of them. This machine flips bits by an exchange
                // for each, before which it looks once more.
                let flips = if is_change && has_flags { count } else { 0 };
                let looks = WALK + 1 + count + flips + if is_change { groups(first, count) } else { 0 };
                let expected = Steps { reads: looks, exchanges: flips };
                assert_eq!(steps, expected, "{count} from {first}: {perms:?}");
            }
            unmap(bench, pages(BASE, TABLE));
        }
    });
}

#[test]
fn what_is_mapped_beside_others_is_looked_at_once_and_a_group_of_it_once_more() {
    on_both(|bench, _| {
        for (first, count) in parts() {
            map_shifted(bench, pages(BASE, 1));
            let steps = map_shifted(bench, pages(BASE + first * 0x1000, count));
            // It is walked to once, as far as its first. That says then that something is to be mapped, and is looked at as one of
            // them. No table above its own is looked at behind that.
            let looks = WALK + 1 + count + groups(first, count);
            let expected = Steps { reads: looks, exchanges: 0 };
            assert_eq!(steps, expected, "{count} from {first}");
            unmap(bench, pages(BASE, TABLE));
        }
    });
}

#[test]
fn what_is_mapped_page_by_page_is_looked_at_twice() {
    on_both(|bench, _| {
        for (first, count) in parts() {
            map_shifted(bench, pages(BASE, 1));
            let adjacent = map_shifted(bench, pages(BASE + first * 0x1000, count));
            unmap(bench, pages(BASE + first * 0x1000, count));
            let scattered = map_scattered(bench, pages(BASE + first * 0x1000, count));
            // As above, but each of them is a first.
            assert_eq!(scattered.reads, adjacent.reads - 1 + count, "{count} from {first}");
            unmap(bench, pages(BASE, TABLE));
        }
    });
}

#[test]
fn a_block_that_both_ends_of_a_range_cut_is_looked_for_once() {
    on_both(|bench, _| {
        map_aligned(bench, pages(BASE, TABLE));
        let steps = unmap(bench, pages(BASE + 5 * 0x1000, 1));
        // The block is found; it is come to once more, and broken, by an exchange on any machine; the page in its table is looked
        // at; and a last walk puts the table in its place.
        let looks = (WALK - 1) + (WALK - 1) + 1 + (WALK - 1);
        assert_eq!(steps, Steps { reads: looks, exchanges: 1 });
    });
}

#[test]
fn ranges_of_one_operation_are_not_taken_for_each_other() {
    on_both(|bench, _| {
        map_shifted(bench, pages(BASE, TABLE));
        let parts = [pages(BASE + 0x3000, 2), pages(BASE + 0x20_000, 5)];
        let _ = bench.tree.unmap(bench.sim, &mut bench.tables, parts).unwrap();
        let is_there = |number: &u64| {
            let walk = bench.tree.walk(bench.sim, Ipa(BASE + number * 0x1000)).unwrap();
            walk.entry.is_live()
        };
        let gone: Vec<u64> = (0..TABLE).filter(|number| !is_there(number)).collect();
        assert_eq!(gone, [3, 4, 32, 33, 34, 35, 36]);
    });
}

#[test]
fn nothing_is_looked_for_behind_the_end_of_the_space() {
    const LIMIT: u64 = 1 << 39;
    on_both(|bench, has_flags| {
        // Another page keeps the table.
        map_shifted(bench, pages(LIMIT - 4 * TABLE * 0x1000, 1));
        let last = pages(LIMIT - 2 * TABLE * 0x1000, 2 * TABLE);
        map_aligned(bench, last);
        let steps = unmap(bench, last);
        // The block at the start is found; it is come to once more; and both are looked at.
        let expected = Steps { reads: (WALK - 1) + (WALK - 2) + 2, exchanges: if has_flags { 2 } else { 0 } };
        assert_eq!(steps, expected);
    });
}

#[test]
fn tables_that_go_are_not_looked_through() {
    on_both(|bench, has_flags| {
        let whole = pages(BASE, 8 * TABLE);
        // Another table keeps the one above.
        map_shifted(bench, pages(BASE + 9 * TABLE * 0x1000, 1));
        map_shifted(bench, whole);
        let steps = unmap(bench, whole);
        // Two walks look for blocks at the ends, of which the second comes to an entry without a table; a third comes to the
        // entries of the tables, of which the first is found to be no leaf. Walks never write to such entries. Where they write to
        // leaves, the first is looked at before for whether eight can go together.
        let more = u64::from(has_flags);
        assert_eq!(steps, Steps { reads: WALK + 2 + 1 + more + 1 + 8, exchanges: 0 });
    });
}

#[test]
fn a_table_with_little_in_it_is_not_looked_through_to_its_end() {
    on_both(|bench, _| {
        let few = pages(BASE, 2 * TABLE);
        map_shifted(bench, few);
        let steps = unmap(bench, IpaRange::new(Ipa(BASE), 1 << 30));
        // Of a table of 512 entries its two.
        assert!(steps.reads < 32 && steps.exchanges == 0, "{steps:?}");
    });
}

#[test]
fn the_fewest_looks_tell_whether_all_of_a_table_goes() {
    on_both(|bench, _| {
        // Another table keeps the one above.
        map_shifted(bench, pages(BASE + TABLE * 0x1000, 1));
        for (first, mapped, unmapped) in [(4, 3, 8), (0, 90, 100), (1, 500, 511), (0, 400, 500)] {
            map_shifted(bench, pages(BASE + first * 0x1000, mapped));
            let steps = unmap(bench, pages(BASE + first * 0x1000, unmapped));
            // Those that are in the range, or those that are not.
            let looks = unmapped.min(TABLE - unmapped);
            assert!(steps.reads <= looks + 16 && steps.exchanges <= 1, "{mapped} from {first}: {steps:?}");
        }
    });
}

#[test]
fn nothing_is_looked_for_in_a_full_table_that_is_mapped_again() {
    on_both(|bench, _| {
        map_shifted(bench, pages(BASE, TABLE));
        let steps = map_shifted(bench, pages(BASE, TABLE));
        assert!(steps.reads < 64 && steps.exchanges == 0, "{steps:?}");
    });
}

#[test]
fn what_was_changed_in_a_table_is_the_first_that_shows_it_to_be_no_block() {
    on_both(|bench, _| {
        bench.map_adjacent(pages(BASE, TABLE), READ_WRITE).unwrap();
        let page = |number: u64| pages(BASE + number * 0x1000, 1);
        bench.protect(page(300), READ);
        let steps = steps(bench.sim, |mmu| {
            drop(bench.tree.protect(mmu, &mut bench.tables, page(400), READ).unwrap());
        });
        // A group is taken apart, a few looks for each of its members. Nothing comes to the page that was unlike before.
        assert!(steps.reads < 300, "{steps:?}");
    });
}

#[test]
fn what_is_protected_in_two_tables_is_exchanged_only_where_walks_set_flags() {
    on_both(|bench, has_flags| {
        map_shifted(bench, pages(BASE, 2 * TABLE));
        let part = pages(BASE + 400 * 0x1000, 200);
        let steps = steps(bench.sim, |mmu| drop(bench.tree.protect(mmu, &mut bench.tables, part, READ).unwrap()));
        assert_eq!(steps.exchanges, if has_flags { 200 } else { 0 });
    });
}
