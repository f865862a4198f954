//! R15, R30 and R32: tables that are unlinked, and what they may not be meanwhile.

use crate::scene::{IPA, Machine, OUTPUT, PAGE, Page, Range, Scene, VALID, Vm, WRITE, span, table};

/// A VM with four pages of a table of level 3, in the operation that unlinks it.
struct Unlinking {
    s: Scene,
    pages: Vec<Page>,
    parent: u64,
    child: u64,
}

fn unlinking() -> Unlinking {
    let (mut s, vm) = Scene::with_vm(Machine::ALL_TLBIS);
    let pages = s.map_run(vm, IPA, 3, 4, |word| word);
    let parent = s.slot(vm, IPA, 2);
    let child = s.read(parent) & OUTPUT;
    s.begin("unmap", 1, IPA, 512).lock(1);
    Unlinking { s, pages, parent, child }
}

/// Unlinks the table with its pages in it, invalidates, and frees it.
fn unlink_whole(flush: impl FnOnce(&mut Scene) -> &mut Scene) -> Scene {
    let Unlinking { mut s, parent, child, .. } = unlinking();
    s.w(parent, 0);
    flush(&mut s);
    s.free(child, 1).unlock(1).end(0);
    s
}

/// Unmaps the pages, then unlinks the empty table, invalidates, and frees it.
fn unlink_empty(flush: impl FnOnce(&mut Scene) -> &mut Scene) -> Scene {
    let Unlinking { mut s, pages, parent, child } = unlinking();
    s.break_all(&pages).flush_each(&pages).w(parent, 0);
    flush(&mut s);
    s.free(child, 1).unlock(1).end(0);
    s
}

#[test]
fn r15_an_empty_table_by_one_address() {
    unlink_empty(|s| s.flush_ipa(IPA)).passes();
}

#[test]
fn r15_an_empty_table_by_any_of_its_addresses() {
    unlink_empty(|s| s.flush_ipa(IPA + 99 * PAGE)).passes();
}

#[test]
fn r15_an_empty_table_by_the_leaf_form() {
    let s = unlink_empty(|s| s.dsb("ishst").tlbi_ipa("ipas2le1is", IPA).dsb("ish").tlbi("vmalle1is").dsb("ish"));
    s.fails(&["R15"]);
}

#[test]
fn r15_an_empty_table_by_the_leaf_form_of_a_range() {
    let whole = Range { ipa: IPA, times: 8, scale: 1, level: 0 }.operand();
    let s = unlink_empty(|s| s.dsb("ishst").tlbi_xt("ripas2le1is", whole).dsb("ish").tlbi("vmalle1is").dsb("ish"));
    s.fails(&["R15"]);
}

#[test]
fn r15_a_full_table_by_its_whole_range() {
    let whole = Range { ipa: IPA, times: 8, scale: 1, level: 0 }.operand();
    unlink_whole(|s| s.flush_range(whole)).passes();
}

#[test]
fn r15_a_full_table_by_the_vmid() {
    unlink_whole(|s| s.flush_vmid()).passes();
}

#[test]
fn r15_a_full_table_by_each_address() {
    let Unlinking { mut s, pages, parent, child } = unlinking();
    s.w(parent, 0).flush_each(&pages).free(child, 1).unlock(1).end(0);
    s.passes();
}

#[test]
fn r15_a_full_table_by_one_address() {
    unlink_whole(|s| s.flush_ipa(IPA)).fails(&["R15", "R32", "R8", "R50", "R33a"]);
}

#[test]
fn r15_a_full_table_by_a_part_of_its_range() {
    let half = Range { ipa: IPA, times: 1, scale: 0, level: 0 }.operand();
    unlink_whole(|s| s.flush_range(half)).fails(&["R15", "R32", "R8", "R25", "R50", "R33a"]);
}

#[test]
fn r15_the_leaf_form_is_enough_for_leaves() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").tlbi_ipa("ipas2le1is", page.ipa).dsb("ish");
    s.tlbi("vmalle1is").dsb("ish").close(page.vm);
    s.passes();
}

#[test]
fn r15_a_new_table_where_one_was_by_the_leaf_form() {
    let Unlinking { mut s, pages, parent, .. } = unlinking();
    s.break_all(&pages).flush_each(&pages).w(parent, 0);
    s.dsb("ishst").tlbi_ipa("ipas2le1is", IPA).dsb("ish").tlbi("vmalle1is").dsb("ish");
    let other = s.new_table();
    s.release(parent, table(other)).dsb("ishst").unlock(1).end(0);
    s.fails(&["R15"]);
}

#[test]
fn r32_freed_before_the_invalidation() {
    let Unlinking { mut s, parent, child, .. } = unlinking();
    s.w(parent, 0).dsb("ish").free(child, 1).flush_vmid().unlock(1).end(0);
    s.fails(&["R32"]);
}

#[test]
fn r32_freed_before_the_invalidation_is_complete() {
    let Unlinking { mut s, parent, child, .. } = unlinking();
    s.w(parent, 0).dsb("ishst").tlbi("vmalls12e1is").free(child, 1).dsb("ish").unlock(1).end(0);
    s.fails(&["R32"]);
}

#[test]
fn r32_freed_while_it_is_linked() {
    let Unlinking { mut s, child, .. } = unlinking();
    s.free(child, 1).unlock(1).end(0);
    s.fails(&["R32"]);
}

#[test]
fn r32_linked_elsewhere_before_the_invalidation() {
    let Unlinking { mut s, pages, parent, child } = unlinking();
    s.break_all(&pages).flush_each(&pages).w(parent, 0).dsb("ish");
    s.release(parent + 8, table(child)).dsb("ishst").unlock(1).end(0);
    s.fails(&["R32"]);
}

#[test]
fn r32_linked_elsewhere_after_the_invalidation() {
    let Unlinking { mut s, pages, parent, child } = unlinking();
    s.break_all(&pages).flush_each(&pages).w(parent, 0).flush_vmid();
    s.release(parent + 8, table(child)).dsb("ishst").unlock(1).end(0);
    s.passes();
}

#[test]
fn r32_given_to_a_vm_before_the_invalidation() {
    let Unlinking { mut s, parent, child, .. } = unlinking();
    s.w(parent, 0).dsb("ish").owner(child, 1, 2).flush_vmid().unlock(1).end(0);
    s.fails(&["R32"]);
}

#[test]
fn r32_overwritten_while_it_is_linked() {
    let Unlinking { mut s, child, .. } = unlinking();
    s.zero(child, 1).flush_vmid().unlock(1).end(0);
    s.fails(&["R32"]);
}

#[test]
fn r32_an_entry_is_written_that_walks_may_find_still() {
    let Unlinking { mut s, pages, parent, child } = unlinking();
    let pa = s.frames(pages[0].vm, 1);
    s.w(parent, 0).dsb("ish").w(child + 8 * 99, pages[0].word_to(pa)).flush_each(&pages).free(child, 1);
    s.unlock(1).end(0);
    s.fails(&["R32", "R8", "R50"]);
}

#[test]
fn r32_entries_are_cleared_that_walks_may_find_still() {
    let Unlinking { mut s, pages, parent, child } = unlinking();
    s.w(parent, 0).dsb("ish").break_all(&pages).flush_vmid().free(child, 1).unlock(1).end(0);
    s.passes();
}

#[test]
fn r32_linked_again_at_once() {
    let Unlinking { mut s, parent, child, .. } = unlinking();
    s.w(parent, 0).release(parent, table(child)).dsb("ishst").unlock(1).end(1);
    s.passes();
}

#[test]
fn r32_a_tree_of_two_levels_at_once() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map(vm, IPA, 3);
    let [root_slot, middle_slot] = [1, 2].map(|level| s.slot(vm, IPA, level));
    let [middle, last] = [root_slot, middle_slot].map(|slot| s.read(slot) & OUTPUT);
    s.begin("unmap", 1, IPA, span(1) / PAGE).lock(1).w(root_slot, 0).flush_vmid();
    s.free(last, 1).free(middle, 1).close(vm);
    s.passes();
}

#[test]
fn r32_a_root_that_a_cpu_has_loaded() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page).flush_all().free(page.vm.root, 1);
    s.fails(&["R32"]);
}

#[test]
fn r32_a_root_that_no_cpu_has_loaded() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map(vm, IPA, 3);
    s.unmap(page);
    let other = s.tree(2, 2, 39, 1);
    s.enter_everywhere(other);
    s.flush_all().free(vm.root, 1);
    s.passes();
}

#[test]
fn r30_a_table_at_two_places() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let parent = s.slot(page.vm, page.ipa, 2);
    let linked = s.read(parent);
    s.begin("map", 1, page.ipa, 1024).lock(1).release(parent + 8, linked).dsb("ishst").close(page.vm);
    s.fails(&["R30"]);
}

#[test]
fn r30_a_table_at_two_levels() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let parent = s.slot(page.vm, page.ipa, 2);
    let last = s.read(parent) & OUTPUT;
    let root_slot = s.slot(page.vm, page.ipa, 1);
    s.begin("map", 1, page.ipa + span(1), 512).lock(1).release(root_slot + 8, table(last));
    s.dsb("ishst").close(page.vm);
    s.fails(&["R30"]);
}

#[test]
fn r30_a_table_of_two_trees() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let root_slot = s.slot(page.vm, page.ipa, 1);
    let linked = s.read(root_slot);
    let other = s.vm(2);
    s.begin("map", 2, page.ipa, 1).lock(2).release(other.root + 16, linked).dsb("ishst").close(other);
    s.fails(&["R30"]);
}

#[test]
fn r30_a_table_that_leads_to_itself() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, 0, 1).lock(1).release(vm.root, table(vm.root)).dsb("ishst").close(vm);
    s.fails(&["R30"]);
}

#[test]
fn r30_the_guest_has_its_own_table() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let child = s.read(s.clone().slot(page.vm, page.ipa, 2)) & OUTPUT;
    let word = s.leaf(child, 3);
    s.begin("map", 1, page.ipa + PAGE, 1).lock(1).w(page.slot + 8, word).dsb("ishst").close(page.vm);
    s.fails(&["R30"]);
}

#[test]
fn r30_another_guest_has_the_root() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.vm(2);
    s.begin("map", 2, 0, 1).lock(2);
    let (slot, word) = (s.slot(other, 0, 3), s.leaf(page.vm.root, 3) & !WRITE);
    s.w(slot, word).dsb("ishst").close(other);
    s.fails(&["R30"]);
}

#[test]
fn r30_a_guest_frame_becomes_a_table() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.begin("map", 1, 0, 1).lock(1).dsb("ish").release(page.vm.root, table(page.pa)).dsb("ishst").close(page.vm);
    s.fails(&["R30"]);
}

#[test]
fn r30_a_table_that_is_given_back_becomes_a_guest_frame() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let spare = s.new_table();
    s.free(spare, 1).alloc(spare, 1, "guest").zero(spare, 1).owner(spare, 1, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(spare, 3));
    s.dsb("ishst").w(slot, word).dsb("ishst").close(vm);
    assert!(s.read(slot) & VALID != 0);
    s.passes();
}

#[test]
fn r30_a_root_is_a_table_of_another_tree() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let middle = s.slot(vm, IPA, 2) & OUTPUT;
    s.dsb("ishst").switch(Vm { id: 2, vmid: 2, root: middle, ..vm });
    s.fails(&["R30"]);
}
