//! R5, R8 and R32: what comes where a table, or a block, is on its way out.

use crate::scene::{CONTIGUOUS, IPA, Machine, NO_CACHING, OUTPUT, PAGE, Page, Scene, Vm, span, table};

/// A VM with a page, and the slot of the table that the page is in.
fn page_in_table(machine: Machine) -> (Scene, Page, u64) {
    let (mut s, page) = Scene::with_page(machine);
    let parent = s.slot(page.vm, page.ipa, 2);
    (s, page, parent)
}

/// A VM with a table of 512 pages that are as good as a block: the VM, the table's slot, the pages, and the block.
fn full_table(machine: Machine) -> (Scene, Vm, u64, Vec<Page>, u64) {
    let (mut s, vm) = Scene::with_vm(machine);
    let pages = s.map_run(vm, IPA, 3, 512, |word| word);
    let parent = s.slot(vm, IPA, 2);
    let block = s.leaf(pages[0].pa, 2);
    s.lock(1);
    (s, vm, parent, pages, block)
}

/// Breaks a block, does the steps, and puts a table of leaves in its place that were made of `block`.
fn split(machine: Machine, steps: impl FnOnce(&mut Scene, Page), of: impl FnOnce(&mut Scene, Page) -> Page) -> Scene {
    let (mut s, block) = Scene::with_leaf(machine, 2);
    let other = of(&mut s, block);
    s.lock(1);
    let child = s.child_of(other);
    s.break_(block).dsb("ishst");
    steps(&mut s, block);
    s.release(block.slot, table(child)).flush_vmid().unlock(1);
    s
}

#[test]
fn r5_a_table_without_entries_where_a_block_may_be_held() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    let empty = s.new_table();
    s.lock(1).break_(block).dsb("ishst").release(block.slot, table(empty)).flush_vmid().unlock(1);
    s.fails(&["R5", "R8"]);
}

#[test]
fn r5_a_block_where_a_table_without_entries_may_be_held() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    s.unmap(page);
    let pa = s.frames(page.vm, 512);
    let block = s.leaf(pa, 2);
    s.lock(1).w(parent, 0).dsb("ishst").w(parent, block).flush_vmid().unlock(1);
    s.fails(&["R5", "R8"]);
}

#[test]
fn r5_a_table_where_another_may_be_held() {
    let (mut s, _, parent) = page_in_table(Machine::TWO);
    let other = s.new_table();
    s.lock(1).w(parent, 0).dsb("ishst").release(parent, table(other)).flush_vmid().unlock(1);
    s.fails(&["R5", "R8"]);
}

#[test]
fn r5_a_larger_table_without_entries_where_a_smaller_one_may_be_held() {
    // Nothing of the new table is valid where the old one may still lead somewhere.
    let (mut s, page, _) = page_in_table(Machine::TWO);
    let root_slot = s.slot(page.vm, page.ipa, 1);
    let other = s.new_table();
    s.lock(1).w(root_slot, 0).flush_ipa(IPA + 3 * span(2)).release(root_slot, table(other)).flush_vmid().unlock(1);
    s.passes();
}

#[test]
fn r5a_pages_may_be_held_where_a_block_comes() {
    let (mut s, _, parent, _, block) = full_table(Machine::bbm(1));
    s.w(parent, 0).flush_ipa(IPA).w(parent, block).flush_vmid().unlock(1);
    s.fails(&["R5", "R5a", "R8", "R15"]);
}

#[test]
fn r5a_pages_may_be_held_where_a_block_comes_that_is_not() {
    let (mut s, _, parent, _, block) = full_table(Machine::bbm(1));
    s.w(parent, 0).flush_ipa(IPA).w(parent, block | NO_CACHING).flush_vmid().w(parent, block).dsb("ishst").unlock(1);
    s.passes();
}

#[test]
fn r5b_a_split_by_a_break_needs_no_invalidation_in_between() {
    split(Machine::bbm(2), |_, _| {}, |_, block| block).passes();
    split(Machine::bbm(1), |_, _| {}, |_, block| block).fails(&["R5", "R8"]);
}

#[test]
fn r5b_a_split_by_a_break_that_leads_elsewhere_needs_one() {
    let elsewhere = |s: &mut Scene, block: Page| {
        let pa = s.frames(block.vm, 512);
        Page { pa, word: block.word_to(pa), ..block }
    };
    split(Machine::bbm(2), |_, _| {}, elsewhere).fails(&["R1", "R5b", "R8"]);
    split(Machine::bbm(2), |s, block| _ = s.flush_ipa(block.ipa), elsewhere).passes();
}

#[test]
fn r5b_a_merge_by_a_break_needs_no_invalidation_in_between() {
    for (level, is_right) in [(2, true), (1, false)] {
        let (mut s, _, parent, _, block) = full_table(Machine::bbm(level));
        s.w(parent, 0).dsb("ishst").w(parent, block).flush_vmid().unlock(1);
        if is_right { s.passes() } else { s.fails(&["R5", "R8"]) }
    }
}

#[test]
fn r8_a_stale_page_under_a_new_table() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    let (child, other) = (s.new_table(), s.frames(page.vm, 1));
    s.lock(1).break_(page).w(parent, 0).flush_ipa(IPA + 99 * PAGE);
    s.w(child, page.word_to(other)).release(parent, table(child)).flush_vmid().unlock(1);
    s.fails(&["R1", "R8", "R15"]);
}

#[test]
fn r8_an_unlinked_table_is_invalidated_by_an_address_beside_it() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    s.lock(1).w(parent, 0).flush_ipa(IPA + span(2)).owner(page.pa, 1, 0);
    s.fails(&["R8"]);
}

/// Takes the leaf of a page of an unlinked table by the form that leaves the way to it, and gives the page back.
fn leaf_taken_below(s: &mut Scene, page: Page) {
    s.dsb("ishst").tlbi_ipa("ipas2le1is", page.ipa).dsb("ish").tlbi("vmalle1is").dsb("ish").give_back(page.pa, 1);
    s.flush_ipa(page.ipa + 99 * PAGE).free(page.slot & OUTPUT, 1).unlock(1);
}

#[test]
fn r15_walks_fetch_a_leaf_again_by_the_way_that_is_left() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    s.lock(1).w(parent, 0);
    leaf_taken_below(&mut s, page);
    s.fails(&["R15", "R33"]);
}

#[test]
fn r15_walks_find_nothing_by_the_way_that_is_left() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    s.lock(1).break_(page).w(parent, 0);
    leaf_taken_below(&mut s, page);
    s.passes();
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    s.lock(1).w(parent, 0).break_(page);
    leaf_taken_below(&mut s, page);
    s.passes();
}

#[test]
fn r15_walks_find_only_the_neighbour_by_the_way_that_is_left() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 2, |word| word);
    let parent = s.slot(vm, IPA, 2);
    s.lock(1).w(parent, 0).break_(pages[0]);
    leaf_taken_below(&mut s, pages[0]);
    s.flush_vmid().give_back(pages[1].pa, 1).passes();
}

#[test]
fn r15_the_way_to_a_leaf_is_taken_first() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    s.lock(1).w(parent, 0).flush_ipa(page.ipa + 99 * PAGE);
    leaf_taken_below(&mut s, page);
    s.passes();
}

#[test]
fn r15_the_way_to_a_leaf_may_be_held_under_another_vmid() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    let second = s.vm(2);
    let other = s.map(second, page.ipa, 3);
    let other_parent = s.slot(second, page.ipa, 2);
    s.lock(2).w(other_parent, 0).dsb("ishst").unlock(2).switch(page.vm);
    s.lock(1).w(parent, 0).flush_ipa(page.ipa + 99 * PAGE);
    leaf_taken_below(&mut s, page);
    s.passes();
    assert_eq!(other.ipa, page.ipa);
}

#[test]
fn r18_a_group_may_be_held_where_its_members_come_alone() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let group = s.map_run(vm, IPA, 3, 16, |word| word | CONTIGUOUS);
    s.lock(1).break_all(&group).dsb("ishst");
    group.iter().for_each(|page| _ = s.w(page.slot, page.word & !CONTIGUOUS));
    s.flush_each(&group).unlock(1);
    s.fails(&["R18", "R8"]);
}

#[test]
fn r32_other_tables_come_and_go_meanwhile() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    let [linked, spare] = [s.new_table(), s.raw_table()];
    let pa = s.frames(page.vm, 1);
    let word = s.leaf(pa, 3);
    s.lock(1).w(parent, 0).dsb("ishst").release(parent + 8, table(linked)).w(spare + 8, word);
    s.flush_ipa(IPA).free(spare, 1).give_back(pa, 1).unlock(1);
    s.passes();
}

#[test]
fn r32_the_same_entry_is_written_again_where_walks_may_find_it() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    let child = page.slot & OUTPUT;
    s.open("unmap", page).w(parent, 0).dsb("ishst").w(page.slot, page.word).tlbi("vmalls12e1is").dsb("ish");
    s.free(child, 1).close(page.vm);
    s.passes();
}

/// A block takes a table's place at once, but for one page that was not there; then the table gets that page, or another.
fn written_beside(is_same: bool) -> Scene {
    let (mut s, vm, parent, pages, block) = full_table(Machine::bbm(2));
    let other = s.frames(vm, 1);
    s.break_(pages[7]).flush_ipa(pages[7].ipa).w(parent, block);
    s.w(pages[7].slot, if is_same { pages[7].word } else { pages[7].word_to(other) }).flush_vmid().unlock(1);
    s
}

#[test]
fn r32_an_unlinked_table_leads_where_the_block_in_its_place_does() {
    written_beside(true).passes();
}

#[test]
fn r32_an_unlinked_table_leads_elsewhere_than_the_block_in_its_place() {
    written_beside(false).fails(&["R32"]);
}

#[test]
fn r32_linked_again_at_its_place_by_another_table() {
    let (mut s, page, parent) = page_in_table(Machine::TWO);
    let (root_slot, linked) = (s.slot(page.vm, page.ipa, 1), s.read(parent));
    s.lock(1).w(root_slot, 0).flush_ipa(IPA + 3 * span(2));
    let middle = s.new_table();
    s.w(middle + parent % PAGE, linked)
        .release(root_slot, table(middle))
        .flush_vmid()
        .free(parent & OUTPUT, 1)
        .unlock(1);
    s.passes();
}

#[test]
fn r32_a_table_that_was_given_back_is_linked() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let spare = s.new_table();
    s.lock(1).free(spare, 1).zero(spare, 1).dsb("ishst").release(vm.root, table(spare)).unlock(1);
    s.fails(&["R32", "R35"]);
}

#[test]
fn r30_memory_that_a_guest_has_and_nobody_has_allocated_becomes_a_table() {
    const NOBODYS: u64 = 0x900_0000;
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.lock(1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(NOBODYS, 3));
    s.w(slot, word).dsb("ishst").release(vm.root, table(NOBODYS)).unlock(1);
    s.fails(&["R30"]);
}
