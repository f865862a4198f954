//! Access flags and dirty states: kept by the hardware where it can, by faults where it cannot, and never lost.

use std::cell::{Cell, RefCell};

use stage2::{Run, Touched};
use tests::Seen;
use vmsa::{Attributes, BbmLevel, Dirty, DirtyLevel, Entry, Features, Ipa, IpaRange, Level, PAGE_SIZE};

use crate::bench::{Bench, READ, READ_WRITE, adjacent_frame_of, machine, pages, plain, ranged};
use crate::world::{Announced, Heard};

const BASE: u64 = 0x8000_0000;

fn on_every_machine(test: impl Fn(&mut Bench<'_>)) {
    for dirty in [DirtyLevel::None, DirtyLevel::AccessFlag, DirtyLevel::Dirty] {
        let sim = machine(Features { dirty, ..ranged(0).0 });
        test(&mut Bench::new(&sim, 39));
    }
}

/// Maps the range to adjacent memory of which stores are noted.
fn map_tracked(bench: &mut Bench<'_>, range: IpaRange) {
    let attributes = Attributes { dirty: Dirty::Clean, ..Attributes::normal(READ_WRITE) };
    let source = |ipa: Ipa| Some(Run { output: adjacent_frame_of(ipa), len: range.end.0 - ipa.0, attributes });
    let _ = bench.tree.map(bench.sim, &mut bench.tables, range, source).expect("tables enough");
}

/// Stores to a page as a CPU does, with the faults that this may take.
fn store(bench: &mut Bench<'_>, cpu: usize, ipa: Ipa) {
    let (vttbr, geometry) = (bench.tree.vttbr(), bench.tree.geometry());
    tests::Sim::run_on(cpu);
    bench.sim.set_vttbr_now(vttbr);
    let stored = |bench: &Bench<'_>| {
        let seen = bench.sim.touch(cpu, vttbr, geometry, ipa, READ_WRITE, |_| 0);
        matches!(seen, Seen::Page(_, perms) if perms.contains(READ_WRITE))
    };
    if !stored(bench) {
        assert_eq!(bench.tree.touch(bench.sim, ipa, READ_WRITE), Touched::Marked);
        bench.tree.refresh(bench.sim, ipa);
        assert!(stored(bench), "{ipa}");
    }
    tests::Sim::run_on(0);
}

fn harvested(bench: &mut Bench<'_>, range: IpaRange) -> Vec<IpaRange> {
    let found = RefCell::new(Vec::new());
    let _ = bench.tree.harvest(bench.sim, &mut bench.tables, range, |part| found.borrow_mut().push(part));
    assert_eq!(bench.sim.violations(), Vec::<String>::new());
    found.into_inner()
}

fn aged(bench: &mut Bench<'_>, range: IpaRange) -> Vec<IpaRange> {
    let found = RefCell::new(Vec::new());
    let _ = bench.tree.age(bench.sim, &mut bench.tables, range, |part| found.borrow_mut().push(part));
    assert_eq!(bench.sim.violations(), Vec::<String>::new());
    found.into_inner()
}

#[test]
fn a_store_is_harvested_once() {
    on_every_machine(|bench| {
        let all = pages(BASE, 8);
        map_tracked(bench, all);
        assert_eq!(harvested(bench, all), []);
        store(bench, 1, Ipa(BASE + 0x3000));
        assert_eq!(harvested(bench, all), [pages(BASE + 0x3000, 1)]);
        assert_eq!(harvested(bench, all), []);
        store(bench, 1, Ipa(BASE + 0x3000));
        assert_eq!(harvested(bench, all), [pages(BASE + 0x3000, 1)], "stores are noted again");
    });
}

#[test]
fn what_is_tracked_from_now_on_was_not_stored_to_unnoticed() {
    on_every_machine(|bench| {
        let ipa = Ipa(BASE);
        bench.map(IpaRange::page(ipa), READ_WRITE).unwrap();
        let frame = bench.model[&ipa].0;
        let tracked = Attributes { dirty: Dirty::Clean, ..Attributes::normal(READ_WRITE) };
        let _ = bench.tree.map_page(bench.sim, &mut bench.tables, ipa, (frame, tracked)).expect("tables enough");
        let seen = bench.sim.access(1, bench.tree.vttbr(), bench.tree.geometry(), ipa);
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Unnoted(..))), "{seen:?}");
        store(bench, 1, ipa);
        assert_eq!(harvested(bench, IpaRange::page(ipa)), [IpaRange::page(ipa)]);
    });
}

#[test]
fn a_store_in_a_group_speaks_for_all_of_it() {
    on_every_machine(|bench| {
        let group = pages(BASE, 16);
        map_tracked(bench, group);
        store(bench, 1, Ipa(BASE + 0x3000));
        store(bench, 1, Ipa(BASE + 0x5000));
        let told = RefCell::new(Vec::new());
        let note = |range: IpaRange, leaf: vmsa::Leaf| {
            if leaf.attributes.dirty == Dirty::Dirty {
                told.borrow_mut().push(range.start.0 - BASE);
            }
        };
        let _ = bench.tree.unmap_and_tell(bench.sim, &mut bench.tables, [group], note).expect("tables enough");
        let told = told.into_inner();
        assert!(told.contains(&0x3000) && told.contains(&0x5000), "{told:x?}");
    });
}

#[test]
fn a_dirty_page_that_loses_its_right_to_be_stored_to_stays_dirty() {
    on_every_machine(|bench| {
        let all = pages(BASE, 32);
        map_tracked(bench, all);
        store(bench, 1, Ipa(BASE + 0x7000));
        let _ = bench.tree.protect(bench.sim, &mut bench.tables, pages(BASE, 20), READ).expect("tables enough");
        let found = harvested(bench, all);
        assert!(found.iter().any(|part| part.covers(pages(BASE + 0x7000, 1))), "{found:?}");
        assert_eq!(harvested(bench, all), []);
    });
}

#[test]
fn a_split_keeps_dirty_what_was_dirty() {
    on_every_machine(|bench| {
        let block = pages(BASE, 512);
        map_tracked(bench, block);
        store(bench, 1, Ipa(BASE + 0x7_7000));
        bench.unmap(pages(BASE + 0x2000, 1));
        let found = harvested(bench, block);
        assert!(found.iter().any(|part| part.covers(pages(BASE + 0x7_7000, 1))), "{found:?}");
    });
}

#[test]
fn what_was_not_accessed_since_is_not_told() {
    on_every_machine(|bench| {
        let all = pages(BASE, 4);
        bench.map(all, READ).unwrap();
        assert_eq!(aged(bench, all).len(), 4, "a page that is mapped counts as accessed");
        assert_eq!(aged(bench, all), []);
        let (vttbr, geometry, ipa) = (bench.tree.vttbr(), bench.tree.geometry(), Ipa(BASE + PAGE_SIZE));
        let seen = bench.sim.touch(1, vttbr, geometry, ipa, READ, |_| 0);
        if !matches!(seen, Seen::Page(_, perms) if perms.contains(READ)) {
            assert_eq!(bench.tree.touch(bench.sim, ipa, READ), Touched::Marked);
        }
        assert_eq!(aged(bench, all), [IpaRange::page(ipa)]);
    });
}

#[test]
fn a_block_that_the_range_cuts_is_told_of_and_keeps_its_flag() {
    on_every_machine(|bench| {
        bench.map_adjacent(pages(BASE, 512), READ).unwrap();
        let part = pages(BASE + 0x3000, 5);
        assert_eq!(aged(bench, part), [part]);
        assert_eq!(aged(bench, part), [part]);
        assert_eq!(aged(bench, pages(BASE, 512)), [pages(BASE, 512)]);
        assert_eq!(aged(bench, part), []);
    });
}

#[test]
fn tracked_pages_form_groups_only_where_the_hardware_marks_them() {
    on_every_machine(|bench| {
        map_tracked(bench, pages(BASE, 16));
        let walk = bench.tree.walk(bench.sim, Ipa(BASE)).expect("an address of the space");
        let Entry::Leaf(leaf) = walk.entry else { panic!("nothing is mapped") };
        let by_hardware = bench.sim.memory().holds(walk.table) && leaf.attributes.contiguous;
        assert_eq!((walk.level, by_hardware), (Level::L3, stage2::Mmu::features(bench.sim).dirty == DirtyLevel::Dirty));
    });
}

/// Returns the machine, on which CPU 1 stores to a page once, just before the first change of an entry that walks see.
fn with_a_store_to<'s>(bench: &Bench<'s>, ipa: Ipa) -> Announced<'s, impl Fn(Heard) + use<'s>> {
    let (sim, vttbr, geometry) = (bench.sim, bench.tree.vttbr(), bench.tree.geometry());
    let is_stored = Cell::new(false);
    let hear = move |heard| {
        if matches!(heard, Heard::Change(_)) && !is_stored.replace(true) {
            let _ = sim.touch(1, vttbr, geometry, ipa, READ_WRITE, |_| 0);
        }
    };
    Announced { sim, hear }
}

#[test]
fn a_store_just_before_a_page_goes_is_told() {
    let sim = machine(Features { dirty: DirtyLevel::Dirty, ..ranged(0).0 });
    let mut bench = Bench::new(&sim, 39);
    let page = pages(BASE, 1);
    map_tracked(&mut bench, page);
    let told = RefCell::new(Vec::new());
    let note = |_, leaf: vmsa::Leaf| told.borrow_mut().push(leaf.attributes.dirty);
    let stored = with_a_store_to(&bench, page.start);
    let _ = bench.tree.unmap_and_tell(&stored, &mut bench.tables, [page], note).expect("tables enough");
    assert_eq!(told.into_inner(), [Dirty::Dirty]);
}

#[test]
fn a_store_while_a_block_is_split_or_a_group_is_cut_is_told() {
    for bbm in [BbmLevel::BreakFirst, BbmLevel::NoTranslationCaching, BbmLevel::Direct] {
        for count in [16, 512] {
            let sim = machine(Features { dirty: DirtyLevel::Dirty, bbm, ..ranged(0).0 });
            let mut bench = Bench::new(&sim, 39);
            let all = pages(BASE, count);
            map_tracked(&mut bench, all);
            let ipa = Ipa(BASE + 0xf000);
            let stored = with_a_store_to(&bench, ipa);
            bench.unmap_on(&stored, pages(BASE + 0x2000, 1));
            let found = harvested(&mut bench, all);
            assert!(found.iter().any(|part| part.covers(IpaRange::page(ipa))), "{bbm:?}, {count} pages: {found:?}");
        }
    }
}

#[test]
fn a_group_tells_of_itself_once_and_as_far_as_it_is_asked_of() {
    let sim = machine(Features { dirty: DirtyLevel::Dirty, ..ranged(0).0 });
    let mut bench = Bench::new(&sim, 39);
    let group = pages(BASE, 16);
    map_tracked(&mut bench, group);
    store(&mut bench, 1, Ipa(BASE + 0x3000));
    for part in [pages(BASE + 0x5000, 1), pages(BASE, 8), pages(BASE + 0x8000, 8)] {
        assert_eq!(harvested(&mut bench, part), [part]);
    }
    assert_eq!(harvested(&mut bench, group), [group]);
    assert_eq!(harvested(&mut bench, group), []);
}

#[test]
fn a_group_that_is_cut_leaves_its_flags_to_every_member() {
    on_every_machine(|bench| {
        let group = pages(BASE, 16);
        map_tracked(bench, group);
        let is_group = stage2::Mmu::features(bench.sim).dirty == DirtyLevel::Dirty;
        store(bench, 1, Ipa(BASE + 0x3000));
        bench.unmap(pages(BASE + 0x5000, 1));
        let other = pages(BASE + 0x8000, 1);
        assert_eq!(harvested(bench, other), if is_group { vec![other] } else { vec![] });
    });
    on_every_machine(|bench| {
        let group = pages(BASE, 16);
        bench.map_adjacent(group, READ).unwrap();
        assert_eq!(aged(bench, group), [group]);
        assert_eq!(aged(bench, group), []);
        let ipa = Ipa(BASE + 0x3000);
        let _ = bench.sim.touch(1, bench.tree.vttbr(), bench.tree.geometry(), ipa, READ, |_| 0);
        let _ = bench.tree.touch(bench.sim, ipa, READ);
        bench.unmap(pages(BASE + 0x5000, 1));
        let other = pages(BASE + 0x8000, 1);
        assert_eq!(aged(bench, other), [other]);
    });
}

#[test]
fn a_load_makes_no_page_dirty() {
    let sim = machine(plain(39).0);
    let mut bench = Bench::new(&sim, 39);
    let page = pages(BASE, 1);
    map_tracked(&mut bench, page);
    assert_eq!(aged(&mut bench, page), [page]);
    assert_eq!(bench.tree.touch(&sim, Ipa(BASE), READ), Touched::Marked);
    assert_eq!(harvested(&mut bench, page), []);
}
