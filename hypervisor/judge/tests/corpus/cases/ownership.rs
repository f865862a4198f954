//! R34 and R35: whose frames are, and what is in them.

use crate::scene::{DEVICE, IPA, MEM_ATTR, Machine, PAGE, Page, Scene, WRITE, judged};

/// Maps 8 pages that were taken with `pages` of them zeroed from the first.
fn mapped_after_zeroing(pages: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 8).lock(1);
    let pa = s.raw_frames(8);
    if pages > 0 {
        s.zero(pa, pages);
    }
    s.owner(pa, 8, 1).dsb("ishst");
    for number in 0..8 {
        let (slot, word) = (s.slot(vm, IPA + number * PAGE, 3), s.leaf(pa + number * PAGE, 3));
        s.w(slot, word);
    }
    s.dsb("ishst").isb().close(vm);
    s
}

#[test]
fn r34_zeroed() {
    mapped_after_zeroing(8).passes();
}

#[test]
fn r34_not_zeroed() {
    mapped_after_zeroing(0).fails(&["R34"]);
}

#[test]
fn r34_half_zeroed() {
    mapped_after_zeroing(4).fails(&["R34"]);
    mapped_after_zeroing(7).fails(&["R34"]);
}

#[test]
fn r34_a_block_with_a_page_that_is_not_zeroed() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 512).lock(1);
    let pa = s.raw_frames(512);
    s.zero(pa, 200).zero(pa + 201 * PAGE, 311).owner(pa, 512, 1).dsb("ishst");
    let (slot, word) = (s.slot(vm, IPA, 2), s.leaf(pa, 2));
    s.w(slot, word).dsb("ishst").close(vm);
    s.fails(&["R34"]);
}

#[test]
fn r34_zeroed_in_parts_and_in_any_order() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 512).lock(1);
    let pa = s.raw_frames(512);
    s.owner(pa, 512, 1).zero(pa + 100 * PAGE, 412).zero(pa, 100).dsb("ishst");
    let (slot, word) = (s.slot(vm, IPA, 2), s.leaf(pa, 2));
    s.w(slot, word).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r34_zeroed_when_it_is_mapped_already() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(1);
    s.owner(pa, 1, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).zero(pa, 1).dsb("ishst").close(vm);
    s.fails(&["R34"]);
}

#[test]
fn r34_zeroed_before_it_was_given_back_is_not_enough() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.other_vm(page.vm);
    s.open("decommit", page).break_(page).flush_ipa(page.ipa).give_back(page.pa, 1).close(page.vm);
    s.load(other).begin("commit", 2, 0, 1).lock(2).alloc(page.pa, 1, "guest").owner(page.pa, 1, 2).dsb("ishst");
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s.fails(&["R34"]);
}

#[test]
fn r34_the_same_owner_again() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page);
    s.open("map", page).make(page.slot, page.word).close(page.vm);
    s.passes();
}

#[test]
fn r34_another_vm_without_the_allocator() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.other_vm(page.vm);
    s.unmap(page);
    s.load(other).begin("map", 2, 0, 1).lock(2).owner(page.pa, 1, 2).dsb("ishst");
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s.fails(&["R34"]);
}

#[test]
fn r34_another_vm_without_the_allocator_but_with_zeros() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.other_vm(page.vm);
    s.unmap(page);
    s.load(other).begin("map", 2, 0, 1).lock(2).owner(page.pa, 1, 2).zero(page.pa, 1).dsb("ishst");
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s.passes();
}

#[test]
fn r35_freed_while_it_is_mapped() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.lock(1).owner(page.pa, 1, 0).free(page.pa, 1).unlock(1);
    s.fails(&["R35"]);
}

#[test]
fn r35_a_page_of_a_mapped_block_is_freed() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    s.lock(1).free(block.pa + 511 * PAGE, 1).unlock(1);
    s.fails(&["R35"]);
}

#[test]
fn r35_taken_again_while_it_is_mapped() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.lock(1).alloc(page.pa, 1, "guest").unlock(1);
    s.fails(&["R35"]);
}

#[test]
fn r35_freed_when_one_of_two_views_is_gone() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.begin("map", 1, page.ipa + PAGE, 1).lock(1).w(page.slot + 8, page.word).dsb("ishst").close(page.vm);
    s.open("decommit", page).break_(page).flush_ipa(page.ipa).give_back(page.pa, 1).close(page.vm);
    s.fails(&["R35"]);
}

/// VM 2 maps the page that VM 1 has mapped, after `before`.
fn mapped_twice(before: impl FnOnce(&mut Scene, Page)) -> Scene {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.other_vm(page.vm);
    before(&mut s, page);
    s.load(other).begin("map", 2, 0, 1).lock(2);
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s
}

#[test]
fn r35_another_vm_maps_it_too() {
    mapped_twice(|_, _| {}).fails(&["R35"]);
}

#[test]
fn r35_it_becomes_another_vms_while_it_is_mapped() {
    let owned = |s: &mut Scene, page: Page| {
        s.owner(page.pa, 1, 2).zero(page.pa, 1).dsb("ishst");
    };
    mapped_twice(owned).fails(&["R35"]);
}

#[test]
fn r35_shared_by_two_vms() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let other = s.other_vm(vm);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(1);
    s.zero(pa, 1).share(pa, 1, 1).dsb("ishst");
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3) & !WRITE);
    s.w(slot, word).dsb("ishst").close(vm);
    s.load(other).begin("map", 2, 0, 1).lock(2);
    let slot = s.slot(other, 0, 3);
    s.w(slot, word).dsb("ishst").close(other);
    s.passes();
}

#[test]
fn r35_shared_and_freed_when_one_of_the_two_is_gone() {
    let mut s = mapped_twice(|s, page| {
        s.share(page.pa, 1, 1);
    });
    s.lock(2).owner(0x4800_0000, 1, 0).free(0x4800_0000, 1).unlock(2);
    s.fails(&["R35"]);
}

#[test]
fn r35_the_hypervisors_own_memory() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(1);
    s.zero(pa, 1).owner(pa, 1, 0).dsb("ishst");
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).dsb("ishst").close(vm);
    s.fails(&["R35", "R34", "R30", "R33"]);
}

#[test]
fn r35_free_memory() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    s.give_back(pa, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).dsb("ishst").close(vm);
    s.fails(&["R35"]);
}

#[test]
fn r35_a_device_has_no_owner() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let other = s.other_vm(vm);
    let device = 0x900_0000 | DEVICE | s.leaf(0, 3) & !MEM_ATTR;
    s.begin("map", 1, IPA, 1).lock(1);
    let slot = s.slot(vm, IPA, 3);
    s.w(slot, device).dsb("ishst").close(vm);
    s.load(other).begin("map", 2, 0, 1).lock(2);
    let slot = s.slot(other, 0, 3);
    s.w(slot, device).dsb("ishst").close(other);
    s.passes();
}

#[test]
fn r35_the_same_owner_again_is_nobody_new() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.owner(page.pa, 1, 1).open("unmap", page).break_(page).dsb("ish").owner(page.pa, 1, 1);
    s.flush_ipa(page.ipa).close(page.vm);
    s.passes();
}

/// Returns on how many lines something is wrong.
fn wrong_lines(s: &Scene) -> usize {
    let mut lines: Vec<_> = judged(&s.text()).violations.iter().map(|found| found.line).collect();
    lines.dedup();
    lines.len()
}

#[test]
fn r35_what_is_mapped_stays_mapped_whatever_the_allocator_says() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.free(page.pa, 1);
    assert_eq!(wrong_lines(&s), 1);
    s.alloc(page.pa, 1, "guest");
    assert_eq!(wrong_lines(&s), 2);
    s.alloc(page.pa, 1, "guest").alloc(page.pa, 1, "guest");
    assert_eq!(wrong_lines(&s), 4);
    s.open("unmap", page).break_(page).flush_ipa(page.ipa).close(page.vm).free(page.pa, 1);
    assert_eq!(wrong_lines(&s), 4);
}

#[test]
fn r30_a_page_of_the_hypervisors_that_several_may_map() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(1);
    s.zero(pa, 1).share(pa, 1, 0).dsb("ishst");
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3) & !WRITE);
    s.w(slot, word).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r30_a_page_of_the_hypervisors() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(1);
    s.zero(pa, 1).owner(pa, 1, 0).dsb("ishst");
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).dsb("ishst").close(vm);
    s.fails(&["R30"]);
}

#[test]
fn r35_what_is_taken_again_is_mapped_all_the_same() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.alloc(page.pa, 1, "guest");
    assert_eq!(wrong_lines(&s), 1);
    s.free(page.pa, 1);
    assert_eq!(wrong_lines(&s), 2);
}

#[test]
fn r35_the_same_entry_twice_is_one_view() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.lock(1).w(page.slot, page.word).dsb("ishst").unlock(1);
    s.unmap(page).give_back(page.pa, 1).passes();
}

#[test]
fn r33_what_was_led_elsewhere_in_place_may_be_held() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.frames(page.vm, 1);
    s.lock(1).w(page.slot, page.word_to(other)).dsb("ishst").unlock(1);
    assert_eq!(wrong_lines(&s), 1);
    s.free(page.pa, 1);
    assert_eq!(wrong_lines(&s), 2);
}
