//! R33 and R33a: frames that a stale entry may still lead to.

use crate::scene::{IPA, Machine, PAGE, Page, Scene, Vm, WRITE, table};

/// A page that is broken and not yet invalidated, its operation under way.
fn broken() -> (Scene, Page) {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("decommit", page).break_(page).dsb("ish");
    (s, page)
}

#[test]
fn r33_freed_after_the_invalidation() {
    let (mut s, page) = broken();
    s.flush_ipa(page.ipa).give_back(page.pa, 1).close(page.vm);
    s.passes();
}

#[test]
fn r33_freed_before_the_invalidation() {
    let (mut s, page) = broken();
    s.owner(page.pa, 1, 0).free(page.pa, 1).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_freed_without_a_change_of_owner_before_the_invalidation() {
    let (mut s, page) = broken();
    s.free(page.pa, 1).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_freed_between_the_two_invalidations() {
    let (mut s, page) = broken();
    s.tlbi_ipa("ipas2e1is", page.ipa).dsb("ish").owner(page.pa, 1, 0).free(page.pa, 1);
    s.tlbi("vmalle1is").dsb("ish").close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_freed_before_the_invalidation_is_complete() {
    let (mut s, page) = broken();
    s.tlbi("vmalls12e1is").owner(page.pa, 1, 0).free(page.pa, 1).dsb("ish").close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_freed_before_the_entry_is_broken() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("decommit", page).owner(page.pa, 1, 0).free(page.pa, 1).break_(page).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R33", "R35"]);
}

#[test]
fn r33_given_to_another_vm_before_the_invalidation() {
    let (mut s, page) = broken();
    s.owner(page.pa, 1, 2).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_mapped_by_another_vm_before_the_invalidation() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.vm(2);
    s.lock(1).break_(page).dsb("ish").unlock(1);
    s.begin("map", 2, 0, 1).lock(2);
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s.fails(&["R33", "R35"]);
}

#[test]
fn r33_a_part_of_a_block_is_freed() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    s.open("decommit", block).break_(block).dsb("ish").owner(block.pa + 9 * PAGE, 1, 0).free(block.pa + 9 * PAGE, 1);
    s.flush_ipa(block.ipa).close(block.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_a_table_made_of_it_before_the_invalidation() {
    let (mut s, page) = broken();
    s.zero(page.pa, 1).release(page.vm.root, table(page.pa)).dsb("ishst").flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_moved_within_the_vm_before_the_invalidation() {
    // Two addresses lead to one frame for a while, both of them the same VM's.
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.begin("map", 1, page.ipa, 2).lock(1).break_(page).dsb("ishst").w(page.slot + 8, page.word);
    s.flush_ipa(page.ipa).close(page.vm);
    s.passes();
}

#[test]
fn r33_zeroed_for_the_same_vm_while_it_is_mapped() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.lock(1).zero(page.pa, 1).dsb("ishst").unlock(1).resume(page.vm);
    s.passes();
}

#[test]
fn r33_freed_when_only_the_other_cpu_may_hold_it() {
    let (mut s, page) = broken();
    s.tlbi("vmalls12e1")
        .dsb("nsh")
        .owner(page.pa, 1, 0)
        .free(page.pa, 1)
        .tlbi("vmalls12e1is")
        .dsb("ish")
        .close(page.vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_sixteen_pages_and_the_invalidation_of_the_vmid() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 16, |word| word);
    s.begin("decommit", 1, IPA, 16).lock(1).break_all(&pages).dsb("ishst").unlock(1);
    s.flush_vmid().lock(1).give_back(pages[0].pa, 16).close(vm);
    s.passes();
}

#[test]
fn r33_the_seventeenth_page_is_forgotten() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 17, |word| word);
    s.begin("decommit", 1, IPA, 17).lock(1).break_all(&pages).flush_each(&pages[..16]);
    s.give_back(pages[0].pa, 17).close(vm);
    s.fails(&["R33"]);
}

#[test]
fn r33_reused_after_all() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.vm(2);
    s.switch(page.vm).unmap(page).lock(1).give_back(page.pa, 1).unlock(1);
    s.begin("map", 2, 0, 1).lock(2).alloc(page.pa, 1, "guest").zero(page.pa, 1).owner(page.pa, 1, 2).dsb("ishst");
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s.passes();
}

#[test]
fn r33a_the_invalidation_after_the_lock() {
    let (mut s, page) = broken();
    s.unlock(1).flush_ipa(page.ipa).end(0);
    s.passes();
}

#[test]
fn r33a_the_end_before_the_invalidation() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").close(page.vm);
    s.flush_ipa(page.ipa);
    s.fails(&["R33a", "R50", "R8"]);
}

#[test]
fn r33a_another_cpu_finds_the_range_empty_too_soon() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").unlock(1);
    s.on(1).open("unmap", page).close(page.vm);
    s.on(0).flush_ipa(page.ipa).end(0);
    s.fails(&["R33a"]);
}

#[test]
fn r33a_another_cpu_finds_the_range_empty_and_waits() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").unlock(1).flush_ipa(page.ipa).lock(9).unlock(9).end(0);
    s.on(1).lock(9).unlock(9).open("unmap", page).close(page.vm);
    s.passes();
}

#[test]
fn r33a_another_cpu_invalidates_for_itself() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").unlock(1);
    s.on(1).open("unmap", page).flush_ipa(page.ipa).close(page.vm);
    s.on(0).flush_ipa(page.ipa).end(0);
    s.passes();
}

#[test]
fn r33a_an_unmap_elsewhere_need_not_wait() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let far = s.map(page.vm, IPA + 64 * PAGE, 3);
    s.open("unmap", page).break_(page).dsb("ishst").unlock(1);
    s.on(1).open("unmap", far).break_(far).flush_ipa(far.ipa).close(far.vm);
    s.on(0).flush_ipa(page.ipa).end(0);
    s.passes();
}

#[test]
fn r33_a_read_only_view_is_a_view_too() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE);
    s.open("decommit", page).break_(page).dsb("ish").owner(page.pa, 1, 0).free(page.pa, 1).flush_vmid().close(vm);
    s.fails(&["R33"]);
}

#[test]
fn r33a_a_range_is_found_empty_without_the_lock() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").unlock(1);
    s.on(1).begin("unmap", 1, page.ipa, 1).end(0);
    s.on(0).flush_ipa(page.ipa).end(0);
    s.fails(&["R33a"]);
}

#[test]
fn r50_taken_by_oneself_after_the_lock() {
    let (mut s, page) = Scene::with_page(Machine::ONE);
    s.open("unmap", page).unlock(1).break_(page).dsb("ishst").end(0);
    s.fails(&["R50"]);
}

#[test]
fn r33a_what_another_cpu_takes_after_the_lock_is_that_ones() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page).on(1).open("unmap", page).unlock(1).on(0).lock(1);
    s.make(page.slot, page.word).break_(page).dsb("ishst").unlock(1).on(1).end(0).on(0).flush_ipa(page.ipa);
    s.passes();
}

#[test]
fn r33_the_neighbours_of_a_page_that_is_still_held() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 3, |word| word);
    for other in [pages[0], pages[2]] {
        s.unmap(other);
    }
    s.open("decommit", pages[1]).break_(pages[1]).dsb("ish").give_back(pages[0].pa, 1).give_back(pages[2].pa, 1);
    s.flush_ipa(pages[1].ipa).close(vm);
    s.passes();
}

/// CPUs whose VM, with a page, was made before it ran, use nobody's tables now.
fn made_before_it_ran() -> (Scene, Page, Vm) {
    let mut s = Scene::new(Machine::TWO);
    let [vm, nobody] = [1, 63].map(|id| s.tree(id, id.into(), 39, 1));
    s.lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).dsb("ishst").unlock(1);
    s.enter_everywhere(vm);
    (s, Page { vm, ipa: IPA, level: 3, slot, pa, word }, nobody)
}

#[test]
fn r33_tables_that_were_there_before_the_vm_ran() {
    let (mut s, page, _) = made_before_it_ran();
    s.lock(1).break_(page).dsb("ish").unlock(1).free(page.pa, 1);
    s.fails(&["R33"]);
}

#[test]
fn r32_a_root_that_was_there_before_the_vm_ran_is_given_back() {
    let (mut s, page, nobody) = made_before_it_ran();
    s.enter_everywhere(nobody);
    s.flush_all().free(page.vm.root, 1).passes();
}

#[test]
fn r33_a_vm_that_is_not_running_has_its_vmid_all_the_same() {
    let (mut s, page, nobody) = made_before_it_ran();
    s.enter_everywhere(nobody);
    s.bind(page.vm).lock(1).break_(page).dsb("ish").unlock(1).free(page.pa, 1);
    s.fails(&["R33"]);
}
