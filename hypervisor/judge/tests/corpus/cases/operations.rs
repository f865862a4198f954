//! R50 to R52: what an operation promises when it ends, what it may touch, and what it may not forget.

use crate::scene::{CONTIGUOUS, EXECUTE_NEVER, IPA, Machine, PAGE, Page, Scene, Vm, WRITE, XN_SPLIT, table};

fn pages(count: u64) -> (Scene, Vm, Vec<Page>) {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, count, |word| word);
    (s, vm, pages)
}

#[test]
fn r50_unmapped() {
    let (mut s, vm, pages) = pages(4);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages).flush_vmid().close(vm);
    s.passes();
}

#[test]
fn r50_a_page_is_left() {
    let (mut s, vm, pages) = pages(4);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages[..3]).flush_vmid().close(vm);
    s.fails(&["R50"]);
}

#[test]
fn r50_a_page_beyond_a_hole_is_left() {
    let (mut s, vm, pages) = pages(4);
    s.unmap(pages[1]);
    s.begin("unmap", 1, IPA, 4).lock(1).break_(pages[0]).flush_vmid().close(vm);
    s.fails(&["R50"]);
}

#[test]
fn r50_a_hole_is_no_error() {
    let (mut s, vm, pages) = pages(4);
    s.unmap(pages[1]);
    s.begin("unmap", 1, IPA, 4).lock(1).break_(pages[0]).break_all(&pages[2..]).flush_vmid().close(vm);
    s.begin("unmap", 1, IPA, 4).lock(1).close(vm);
    s.passes();
}

#[test]
fn r50_a_refused_unmap_leaves_what_there_is() {
    let (mut s, vm, _) = pages(4);
    s.begin("unmap", 1, IPA, 4).lock(1).unlock(1).end(0xffff_ffff_ffff_fff6);
    s.resume(vm);
    s.passes();
}

#[test]
fn r50_the_rights_that_are_said_to_be_left() {
    let (mut s, vm, pages) = pages(2);
    s.say(format!("OP begin=protect vm=0x1 ipa={IPA:#x} pages=0x2 perm=r")).lock(1);
    for page in &pages {
        s.w(page.slot, page.word & !WRITE);
    }
    s.flush_vmid().close(vm);
    s.passes();
}

#[test]
fn r50_more_rights_than_are_said_to_be_left() {
    let (mut s, vm, pages) = pages(2);
    s.say(format!("OP begin=protect vm=0x1 ipa={IPA:#x} pages=0x2 perm=r")).lock(1);
    s.w(pages[0].slot, pages[0].word & !WRITE).flush_vmid().close(vm);
    s.fails(&["R50"]);
}

#[test]
fn r50_a_map_that_is_not_published() {
    let (mut s, vm, pages) = pages(2);
    s.unmap(pages[1]);
    s.open("map", pages[1]).w(pages[1].slot, pages[1].word).close(vm);
    s.fails(&["R50", "R28"]);
}

#[test]
fn r50_two_operations_on_two_cpus() {
    let (mut s, vm, pages) = pages(8);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages[..4]).dsb("ishst").unlock(1);
    s.on(1).begin("unmap", 1, IPA + 4 * PAGE, 4).lock(1).break_all(&pages[4..]).dsb("ishst").unlock(1);
    s.on(0).flush_each(&pages[..4]).end(0).on(1).flush_each(&pages[4..]).end(0).resume(vm);
    s.passes();
}

#[test]
fn r50_one_of_two_operations_does_not_invalidate() {
    let (mut s, _, pages) = pages(8);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages[..4]).dsb("ishst").unlock(1);
    s.on(1).begin("unmap", 1, IPA + 4 * PAGE, 4).lock(1).break_all(&pages[4..]).dsb("ishst").unlock(1);
    s.on(0).flush_each(&pages[..4]).end(0).on(1).dsb("ish").end(0);
    s.fails(&["R50"]);
}

#[test]
fn r51_one_page_too_many() {
    let (mut s, vm, pages) = pages(4);
    s.begin("unmap", 1, IPA, 3).lock(1).break_all(&pages).flush_vmid().close(vm);
    s.fails(&["R51"]);
}

#[test]
fn r51_one_page_too_early() {
    let (mut s, vm, pages) = pages(4);
    s.begin("unmap", 1, IPA + PAGE, 3).lock(1).break_all(&pages).flush_vmid().close(vm);
    s.fails(&["R51"]);
}

#[test]
fn r51_a_neighbours_right() {
    let (mut s, vm, pages) = pages(2);
    s.begin("protect", 1, IPA, 1).lock(1).w(pages[0].slot, pages[0].word & !WRITE);
    s.w(pages[1].slot, pages[1].word & !WRITE).flush_vmid().close(vm);
    s.fails(&["R51"]);
}

#[test]
fn r51_a_page_is_mapped_beyond_the_range() {
    let (mut s, vm, pages) = pages(2);
    s.begin("map", 1, IPA + 2 * PAGE, 1).lock(1);
    let pa = s.frames(vm, 2);
    s.w(pages[1].slot + 8, pages[1].word_to(pa)).w(pages[1].slot + 16, pages[1].word_to(pa + PAGE));
    s.dsb("ishst").close(vm);
    s.fails(&["R51"]);
}

#[test]
fn r51_the_whole_table_for_a_part_of_it() {
    let (mut s, vm, _) = pages(4);
    let parent = s.slot(vm, IPA, 2);
    s.begin("unmap", 1, IPA, 2).lock(1).w(parent, 0).flush_vmid().close(vm);
    s.fails(&["R51"]);
}

#[test]
fn r51_a_table_with_tables_for_a_part_of_it() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let ipa = IPA + 512 * PAGE;
    s.map_run(vm, ipa, 3, 4, |word| word);
    let parent = s.slot(vm, ipa, 1);
    s.begin("unmap", 1, ipa, 2).lock(1).w(parent, 0).flush_vmid().close(vm);
    s.fails(&["R51"]);
}

/// Breaks the 16 entries from `first` on, and makes them again, with the hint.
fn hint(s: &mut Scene, first: u64, words: [u64; 16]) {
    for index in 0..16 {
        s.w(first + 8 * index, 0);
    }
    s.flush_vmid();
    for (index, word) in (0..).zip(words) {
        s.w(first + 8 * index, word | CONTIGUOUS);
    }
    s.dsb("ishst").isb();
}

#[test]
fn r51_a_page_makes_a_block_of_a_gib_whole_again() {
    const BROKEN: usize = 5;
    const HOLE: u64 = 77;
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let blocks = s.map_run(vm, IPA, 2, 512, |word| word);
    let (broken, child) = (blocks[BROKEN], s.child_of(blocks[BROKEN]));
    let at = broken.ipa + HOLE * PAGE;
    s.begin("unmap", 1, at, 1).lock(1).w(child + 8 * HOLE, 0).break_(broken);
    s.flush_ipa(broken.ipa).release(broken.slot, table(child)).dsb("ishst").isb().close(vm);
    let (top, gib) = (s.slot(vm, IPA, 1), s.leaf(blocks[0].pa, 1));
    let page = |s: &Scene, number: u64| s.leaf(broken.pa + number * PAGE, 3);
    // All groups have their hints but those of the hole, and the first: not all rows begin where a table does.
    for group in (1..32).filter(|group| *group != HOLE / 16) {
        let words = core::array::from_fn(|index| page(&s, 16 * group + index as u64));
        s.begin("map", 1, broken.ipa + 16 * group * PAGE, 16).lock(1);
        hint(&mut s, child + 128 * group, words);
        s.close(vm);
    }
    for group in 1..32 {
        let words = core::array::from_fn(|index| blocks[16 * group + index].word);
        s.begin("map", 1, blocks[16 * group].ipa, 16 * 512).lock(1);
        hint(&mut s, blocks[16 * group].slot, words);
        s.close(vm);
    }
    let whole = page(&s, HOLE);
    s.begin("map", 1, at, 1).lock(1).make(child + 8 * HOLE, whole);
    let words = core::array::from_fn(|index| page(&s, HOLE / 16 * 16 + index as u64));
    hint(&mut s, child + HOLE / 16 * 128, words);
    s.w(broken.slot, 0).flush_vmid().make(broken.slot, broken.word);
    hint(&mut s, blocks[0].slot, core::array::from_fn(|index| blocks[index].word));
    s.w(top, 0).flush_vmid().make(top, gib).close(vm);
    s.passes();
}

#[test]
fn r51_the_tables_above_may_be_touched() {
    let (mut s, vm, pages) = pages(4);
    let [top, middle] = [1, 2].map(|level| s.slot(vm, IPA, level));
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages).w(middle, 0).w(top, 0).flush_vmid().close(vm);
    s.passes();
}

#[test]
fn r51_another_vms_page() {
    let (mut s, vm, _) = pages(1);
    let other = s.vm(2);
    let page = s.map(other, IPA, 3);
    s.begin("unmap", 1, IPA + 9 * PAGE, 1).lock(1).lock(2).break_(page).flush_all().unlock(2).close(vm);
    s.reports(&["R51"]);
}

#[test]
fn r51_what_is_done_outside_of_operations_is_free() {
    let (mut s, vm, pages) = pages(2);
    s.lock(1).break_all(&pages).flush_vmid().unlock(1).resume(vm);
    s.passes();
}

/// An unmap that gives way to the guest after two of its four pages, with `before` and `after` that.
fn interrupted(before: impl FnOnce(&mut Scene), after: impl FnOnce(&mut Scene)) -> Scene {
    let (mut s, vm, pages) = pages(4);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages[..2]).dsb("ishst");
    before(&mut s);
    s.unlock(1).resume(vm).stop(vm).lock(1).break_all(&pages[2..]);
    after(&mut s);
    s.close(vm);
    s
}

#[test]
fn r52_what_is_owed_is_done_before_giving_way() {
    interrupted(|s| _ = s.flush_vmid(), |s| _ = s.flush_vmid()).passes();
}

#[test]
fn r52_what_is_owed_is_kept() {
    interrupted(|_| {}, |s| _ = s.flush_vmid()).passes();
}

#[test]
fn r52_what_is_owed_is_forgotten() {
    let later = |s: &mut Scene| {
        s.dsb("ishst").tlbi_ipa("ipas2e1is", IPA + 2 * PAGE).tlbi_ipa("ipas2e1is", IPA + 3 * PAGE);
        s.dsb("ish").tlbi("vmalle1is").dsb("ish");
    };
    interrupted(|_| {}, later).fails(&["R52"]);
}

#[test]
fn r50_a_right_to_execute_is_left() {
    for (left, is_wrong) in [("r", true), ("x", true), ("rx", false), ("rwx", false)] {
        let (mut s, vm) = Scene::with_vm(Machine::TWO);
        s.map_as(vm, IPA, 3, |word| word & !WRITE & !EXECUTE_NEVER);
        s.say(format!("OP begin=protect vm=0x1 ipa={IPA:#x} pages=0x1 perm={left}")).end(0);
        if is_wrong { s.fails(&["R50"]) } else { s.passes() }
    }
}

#[test]
fn r50_a_part_of_the_right_to_execute_is_as_good_as_all_of_it() {
    // The CPU cannot tell the two apart.
    let apart = Machine { xnx: true, ..Machine::TWO };
    let (mut s, vm) = Scene::with_vm(apart);
    s.map_as(vm, IPA, 3, |word| word & !WRITE & !EXECUTE_NEVER | XN_SPLIT);
    s.say(format!("OP begin=protect vm=0x1 ipa={IPA:#x} pages=0x1 perm=rx")).end(0);
    s.passes();
}

#[test]
fn r52_what_is_owed_elsewhere_is_no_business_of_an_interrupted_operation() {
    let (mut s, vm, pages) = pages(8);
    s.lock(1).break_(pages[6]).unlock(1);
    s.begin("unmap", 1, IPA, 4).lock(1).break_all(&pages[..4]).unlock(1).resume(vm).stop(vm).lock(1);
    s.flush_each(&pages[..4]).close(vm);
    s.passes();
}

#[test]
fn r51_a_table_that_stays_where_it_is_touches_nothing() {
    let (mut s, vm, pages) = pages(40);
    pages.iter().step_by(2).for_each(|page| _ = s.unmap(*page));
    let parent = s.slot(vm, IPA, 2);
    let linked = s.read(parent);
    s.open("map", pages[0]).w(parent, linked).make(pages[0].slot, pages[0].word).close(vm);
    s.passes();
}

#[test]
fn r51_a_table_is_unlinked_with_many_pages_of_the_range_and_none_beside_it() {
    let (mut s, vm, pages) = pages(40);
    pages.iter().step_by(2).for_each(|page| _ = s.unmap(*page));
    let parent = s.slot(vm, IPA, 2);
    s.begin("unmap", 1, IPA, 40).lock(1).w(parent, 0).flush_vmid().close(vm);
    s.passes();
}

#[test]
fn r51_a_neighbour_that_changes_many_times_and_is_as_it_was() {
    let (mut s, vm, pages) = pages(2);
    s.open("map", pages[0]);
    for note in (0..20).rev() {
        s.w(pages[1].slot, pages[1].word | (note & 1) << 55);
    }
    s.dsb("ishst").close(vm);
    s.passes();
}
