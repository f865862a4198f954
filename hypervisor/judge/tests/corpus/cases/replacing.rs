//! R1 to R4, R6 and R7: what may be stored over a live leaf.

use crate::scene::{
    ACCESSED, DEVICE, DEVICE_EARLY, FORCED_WRITE_BACK, INNER, MEM_ATTR, Machine, NON_CACHEABLE, OUTER, Page, READ,
    SHAREABILITY, SOFTWARE, Scene, VALID, WRITE,
};

fn one_page() -> (Scene, Page) {
    Scene::with_page(Machine::TWO)
}

/// Stores over the live leaf and invalidates afterwards, as if that were enough.
fn in_place(scene: &mut Scene, page: Page, word: u64) {
    scene.change("map", page, word, |s| s.flush_ipa(page.ipa));
}

/// Breaks the leaf, invalidates it, and stores another one.
fn by_break(scene: &mut Scene, page: Page, word: u64) {
    scene.open("map", page).break_(page).flush_ipa(page.ipa).make(page.slot, word).close(page.vm);
}

const fn with_memory(word: u64, memory: u64) -> u64 {
    word & !MEM_ATTR | memory
}

#[test]
fn r1_another_page_by_a_break() {
    let (mut s, page) = one_page();
    s.remap(page, |s| s.flush_ipa(page.ipa));
    s.passes();
}

#[test]
fn r1_another_page_in_place() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    in_place(&mut s, page, page.word_to(other));
    s.fails(&["R1"]);
}

#[test]
fn r1_another_block_in_place() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    let other = s.frames(block.vm, 512);
    in_place(&mut s, block, block.word_to(other));
    s.fails(&["R1"]);
}

#[test]
fn r1_bbm_level_2_is_no_leave_to_lead_elsewhere() {
    let (mut s, block) = Scene::with_leaf(Machine::bbm(2), 2);
    let other = s.frames(block.vm, 512);
    in_place(&mut s, block, block.word_to(other));
    s.fails(&["R1"]);
}

#[test]
fn r1_read_only_pages_are_no_exception() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0x5000, 3, |word| word & !WRITE);
    let other = s.frames(vm, 1);
    in_place(&mut s, page, page.word_to(other));
    s.fails(&["R1"]);
}

#[test]
fn r1_an_atomic_exchange_is_no_break() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).rmw(page.slot, page.word_to(other)).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R1"]);
}

#[test]
fn r1_the_break_is_undone_without_an_invalidation() {
    let (mut s, page) = one_page();
    s.open("map", page).break_(page).make(page.slot, page.word).close(page.vm);
    s.passes();
}

#[test]
fn r1_a_broken_page_comes_back_elsewhere_without_an_invalidation() {
    let (mut s, page) = one_page();
    s.remap(page, |s| s.dsb("ish"));
    s.fails(&["R1", "R8"]);
}

#[test]
fn r2_device_by_a_break() {
    let (mut s, page) = one_page();
    by_break(&mut s, page, with_memory(page.word, DEVICE));
    s.passes();
}

#[test]
fn r2_normal_to_device_in_place() {
    let (mut s, page) = one_page();
    in_place(&mut s, page, with_memory(page.word, DEVICE));
    s.fails(&["R2"]);
}

#[test]
fn r2_device_to_normal_in_place() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0, 3, |word| with_memory(word, DEVICE));
    in_place(&mut s, page, with_memory(page.word, FORCED_WRITE_BACK));
    s.fails(&["R2"]);
}

#[test]
fn r2_one_device_type_to_another_in_place() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0, 3, |word| with_memory(word, DEVICE));
    in_place(&mut s, page, with_memory(page.word, DEVICE_EARLY));
    s.fails(&["R2"]);
}

#[test]
fn r2_comes_back_as_device_without_an_invalidation() {
    let (mut s, page) = one_page();
    s.open("map", page).break_(page).dsb("ish").make(page.slot, with_memory(page.word, DEVICE)).close(page.vm);
    s.fails(&["R2", "R3", "R8"]);
}

#[test]
fn r3_write_back_to_non_cacheable_by_a_break() {
    let (mut s, page) = Scene::with_page(Machine::OLD_CACHES);
    by_break(&mut s, page, with_memory(page.word, NON_CACHEABLE));
    s.passes();
}

#[test]
fn r3_write_back_to_non_cacheable_in_place() {
    let (mut s, page) = Scene::with_page(Machine::OLD_CACHES);
    in_place(&mut s, page, with_memory(page.word, NON_CACHEABLE));
    s.fails(&["R3"]);
}

#[test]
fn r3_write_back_to_write_through_in_place() {
    let (mut s, page) = Scene::with_page(Machine::OLD_CACHES);
    in_place(&mut s, page, with_memory(page.word, 0b1010 << 2));
    s.fails(&["R3"]);
}

#[test]
fn r3_only_the_outer_cacheability_in_place() {
    let (mut s, page) = Scene::with_page(Machine::OLD_CACHES);
    in_place(&mut s, page, with_memory(page.word, 0b0111 << 2));
    s.fails(&["R3"]);
}

#[test]
fn r3_forced_write_back_to_forced_non_cacheable_in_place() {
    let (mut s, page) = one_page();
    in_place(&mut s, page, with_memory(page.word, 0b0101 << 2));
    s.fails(&["R3"]);
}

#[test]
fn r4_shareability_by_a_break() {
    let (mut s, page) = one_page();
    by_break(&mut s, page, page.word & !SHAREABILITY | OUTER);
    s.passes();
}

#[test]
fn r4_inner_to_outer_in_place() {
    let (mut s, page) = one_page();
    in_place(&mut s, page, page.word & !SHAREABILITY | OUTER);
    s.fails(&["R4"]);
}

#[test]
fn r4_inner_to_none_in_place() {
    let (mut s, page) = one_page();
    in_place(&mut s, page, page.word & !SHAREABILITY);
    s.fails(&["R4"]);
}

#[test]
fn r4_none_to_inner_in_place() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0, 3, |word| word & !SHAREABILITY);
    in_place(&mut s, page, page.word | INNER);
    s.fails(&["R4"]);
}

#[test]
fn r6_the_same_value_again() {
    let (mut s, page) = one_page();
    s.change("map", page, page.word, |s| s);
    s.passes();
}

#[test]
fn r6_software_bits_in_place() {
    let (mut s, page) = one_page();
    s.change("map", page, page.word | SOFTWARE, |s| s.dsb("ishst"));
    s.passes();
}

#[test]
fn r6_rights_in_place_with_an_invalidation() {
    let (mut s, page) = one_page();
    in_place(&mut s, page, page.word & !WRITE);
    s.passes();
}

#[test]
fn r6_is_not_r5_a_right_is_no_size() {
    let (mut s, page) = Scene::with_leaf(Machine::TWO, 2);
    in_place(&mut s, page, page.word & !WRITE);
    s.passes();
}

#[test]
fn r6_what_changes_besides_a_right_counts() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    in_place(&mut s, page, page.word_to(other) & !WRITE);
    s.fails(&["R1"]);
}

#[test]
fn r6_notes_in_an_invalid_entry() {
    let (mut s, page) = one_page();
    s.unmap(page);
    s.open("map", page).w(page.slot, 0xabc0).w(page.slot, 0xdef0).w(page.slot, 0).close(page.vm);
    s.passes();
}

#[test]
fn r7_a_note_is_left_in_the_broken_entry() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).w(page.slot, page.word & !VALID).flush_ipa(page.ipa);
    s.make(page.slot, page.word_to(other)).close(page.vm);
    s.passes();
}

#[test]
fn r7_a_locked_mark_is_left_in_the_broken_entry() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).rmw(page.slot, 1 << 10).flush_ipa(page.ipa);
    s.release(page.slot, page.word_to(other)).dsb("ishst").close(page.vm);
    s.passes();
}

#[test]
fn r7_a_reserved_encoding_is_no_break() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).w(page.slot, page.word & !0b10).flush_ipa(page.ipa);
    s.make(page.slot, page.word_to(other)).close(page.vm);
    s.fails(&["R7", "R31"]);
}

#[test]
fn r7_no_access_is_no_break() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).w(page.slot, page.word & !(READ | WRITE)).flush_ipa(page.ipa);
    s.make(page.slot, page.word_to(other)).close(page.vm);
    s.fails(&["R7", "R1"]);
}

#[test]
fn r7_a_cleared_access_flag_is_as_good_as_a_break() {
    // Entries without the access flag are not cached where software keeps it, but they are valid: the strict reading of R1
    // has them broken too. What nothing can have cached since the invalidation, no CPU can confuse.
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).w(page.slot, page.word & !ACCESSED).flush_ipa(page.ipa);
    s.make(page.slot, page.word_to(other)).close(page.vm);
    s.passes();
}
