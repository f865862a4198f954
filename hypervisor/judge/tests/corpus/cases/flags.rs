//! R20 to R23: access flags, dirty state, and walks that set them.

use crate::scene::{ACCESSED, DIRTY_MANAGED, HA, HD, IPA, Machine, PAGE, Page, Scene, Vm, WRITE, judged};

fn one_page() -> (Scene, Page) {
    Scene::with_page(Machine::TWO)
}

/// A VM whose walks set flags, with a page that is clean and may become dirty.
fn clean_page() -> (Scene, Page) {
    let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE | DIRTY_MANAGED);
    (s, page)
}

/// The same, and the guest has written to the page.
fn dirty_page() -> (Scene, Page) {
    let (mut s, page) = clean_page();
    s.hwupd(page.slot, page.word | WRITE);
    (s, Page { word: page.word | WRITE, ..page })
}

#[test]
fn r20_aged_with_an_invalidation() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.flush_ipa(page.ipa));
    s.passes();
}

#[test]
fn r20_aged_lazily() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.warns(&["R20"]);
}

#[test]
fn r20_aged_lazily_and_reclaimed_with_an_invalidation() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.open("decommit", page).break_(page).flush_ipa(page.ipa).give_back(page.pa, 1).close(page.vm);
    s.warns(&["R20"]);
}

#[test]
fn r20_aged_lazily_and_reclaimed_as_if_nothing_were_cached() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.open("decommit", page).break_(page).dsb("ish").give_back(page.pa, 1).close(page.vm);
    s.fails(&["R20"]);
}

#[test]
fn r20_aged_lazily_and_led_elsewhere() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.remap(page, |s| s.dsb("ish"));
    s.fails(&["R20"]);
}

#[test]
fn r20_aged_and_used_again() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.flush_ipa(page.ipa));
    s.resume(page.vm).abort(1, 0, 0x0b, page.ipa);
    s.change("fault", page, page.word, |s| s.dsb("ishst"));
    s.resume(page.vm);
    s.passes();
}

#[test]
fn r21_the_access_flag_is_set_without_an_invalidation() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.change("fault", page, page.word | ACCESSED, |s| s.dsb("ishst"));
    s.resume(vm);
    s.passes();
}

#[test]
fn r21_the_access_flag_is_set_and_not_published() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.change("map", page, page.word | ACCESSED, |s| s);
    s.resume(vm);
    s.reports(&["R21", "R28", "R50"]);
}

#[test]
fn r21_what_was_never_accessed_is_replaced() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.remap(page, |s| s);
    s.passes();
}

#[test]
fn r21_what_was_never_accessed_is_given_back() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.open("decommit", page).break_(page).dsb("ishst").give_back(page.pa, 1).close(vm);
    s.passes();
}

#[test]
fn r21_walks_that_set_the_flag_may_cache_it_at_once() {
    let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    let other = s.frames(vm, 1);
    s.open("map", page).rmw(page.slot, 0).dsb("ish").make(page.slot, page.word_to(other)).close(vm);
    s.fails(&["R1", "R8"]);
}

#[test]
fn r22_an_atomic_change() {
    let (mut s, page) = dirty_page();
    s.open("protect", page).rmw(page.slot, page.word & !WRITE & !DIRTY_MANAGED).flush_ipa(page.ipa).close(page.vm);
    s.passes();
}

#[test]
fn r22_a_plain_change() {
    let (mut s, page) = dirty_page();
    s.open("protect", page).w(page.slot, page.word & !WRITE & !DIRTY_MANAGED).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R22"]);
}

#[test]
fn r22_an_atomic_break() {
    let (mut s, page) = dirty_page();
    s.open("unmap", page).rmw(page.slot, 0).flush_ipa(page.ipa).close(page.vm);
    s.passes();
}

#[test]
fn r22_a_plain_break() {
    let (mut s, page) = clean_page();
    s.open("unmap", page).w(page.slot, 0).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R22"]);
}

#[test]
fn r22_a_plain_clearing_of_the_access_flag() {
    let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.hwupd(page.slot, page.word | ACCESSED);
    s.open("age", page).rmw(page.slot, page.word).flush_ipa(IPA).close(vm);
    s.open("age", page).w(page.slot, page.word | 1 << 55).close(vm);
    s.fails(&["R22"]);
}

#[test]
fn r22_plain_changes_where_walks_set_nothing() {
    let (mut s, page) = one_page();
    s.open("unmap", page).w(page.slot, 0).flush_ipa(page.ipa).close(page.vm);
    s.passes();
}

#[test]
fn r22_a_plain_store_where_nothing_was() {
    let (mut s, page) = clean_page();
    s.open("unmap", page).rmw(page.slot, 0).flush_ipa(page.ipa).close(page.vm);
    s.open("map", page).w(page.slot, page.word).dsb("ishst").close(page.vm);
    s.passes();
}

#[test]
fn r23_harvested_with_an_invalidation() {
    let (mut s, page) = dirty_page();
    s.open("harvest", page).rmw(page.slot, page.word & !WRITE).flush_ipa(page.ipa).close(page.vm);
    s.hwupd(page.slot, page.word).open("harvest", page).rmw(page.slot, page.word & !WRITE).flush_vmid().close(page.vm);
    s.passes();
}

#[test]
fn r23_harvested_without_an_invalidation() {
    let (mut s, page) = dirty_page();
    s.open("harvest", page).rmw(page.slot, page.word & !WRITE).dsb("ish").close(page.vm);
    s.fails(&["R23"]);
}

#[test]
fn r23_harvested_with_a_plain_store() {
    let (mut s, page) = dirty_page();
    s.open("harvest", page).w(page.slot, page.word & !WRITE).flush_ipa(page.ipa).close(page.vm);
    s.fails(&["R22", "R23"]);
}

#[test]
fn r23_a_clean_page_has_nothing_to_invalidate() {
    let (mut s, page) = clean_page();
    s.open("harvest", page).close(page.vm);
    s.passes();
}

#[test]
fn r23_harvested_where_software_keeps_the_dirty_state() {
    let (mut s, page) = one_page();
    s.open("harvest", page).w(page.slot, page.word & !WRITE).flush_ipa(page.ipa).close(page.vm);
    s.passes();
    let (mut s, page) = one_page();
    s.open("harvest", page).w(page.slot, page.word & !WRITE).dsb("ish").close(page.vm);
    s.fails(&["R23"]);
}

/// Enters a VM with other bits in VTCR_EL2 than the machine would have.
fn entered_with(machine: Machine, change: impl Fn(u64) -> u64) -> Scene {
    let mut s = Scene::new(machine);
    let vm: Vm = s.tree(1, 1, 39, 1);
    let vtcr = change(machine.vtcr(39, 1));
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", machine.hcr()).isb().eret(1, 0);
    s
}

#[test]
fn r23_dirty_state_needs_the_access_flag() {
    entered_with(Machine::DIRTY, |vtcr| vtcr).passes();
    entered_with(Machine::DIRTY, |vtcr| vtcr & !HA).fails(&["R23"]);
}

#[test]
fn r23_the_cpu_sets_no_dirty_state() {
    let flags_only = Machine { hafdbs: 1, ..Machine::TWO };
    entered_with(flags_only, |vtcr| vtcr).passes();
    entered_with(flags_only, |vtcr| vtcr | HD).fails(&["R23"]);
}

#[test]
fn r23_the_cpu_sets_no_access_flag() {
    entered_with(Machine::TWO, |vtcr| vtcr).passes();
    entered_with(Machine::TWO, |vtcr| vtcr | HA).fails(&["R23"]);
}

/// A protect that leaves `r`, and does nothing about the page that is there.
fn left_by_a_protect(machine: Machine, change: impl Fn(u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(machine);
    s.map_as(vm, IPA, 3, change);
    s.say(format!("OP begin=protect vm=0x1 ipa={IPA:#x} pages=0x1 perm=r")).end(0);
    s
}

#[test]
fn r50_what_may_become_dirty_may_be_written() {
    left_by_a_protect(Machine::DIRTY, |word| word & !WRITE | DIRTY_MANAGED).fails(&["R50"]);
    left_by_a_protect(Machine::DIRTY, |word| word | DIRTY_MANAGED).fails(&["R50"]);
    left_by_a_protect(Machine::DIRTY, |word| word & !WRITE).passes();
    left_by_a_protect(Machine::TWO, |word| word & !WRITE | DIRTY_MANAGED).passes();
}

#[test]
fn r39_a_store_to_what_may_become_dirty_is_served() {
    const STORE: u64 = 1 << 6;
    for (change, is_wrong) in [(DIRTY_MANAGED, true), (0, false)] {
        let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
        s.map_as(vm, IPA, 3, |word| word & !WRITE | change);
        s.resume(vm).abort(1, 0, 0x0f | STORE, IPA).begin("fault", 1, IPA, 1).end(1);
        if is_wrong { s.fails(&["R39"]) } else { s.passes() }
    }
}

#[test]
fn r20_aged_lazily_elsewhere_is_told_of_once() {
    let (mut s, page) = one_page();
    let other = s.map(page.vm, page.ipa + 8 * PAGE, 3);
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.change("age", other, other.word & !ACCESSED, |s| s.flush_ipa(other.ipa));
    assert_eq!(judged(&s.text()).warnings.len(), 1);
    s.warns(&["R20"]);
}

#[test]
fn r20_aged_lazily_and_unmapped_as_if_nothing_were_cached() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.open("unmap", page).break_(page).dsb("ish").close(page.vm);
    s.fails(&["R20"]);
}

#[test]
fn r20_aged_lazily_and_then_looked_at() {
    let (mut s, page) = one_page();
    s.change("age", page, page.word & !ACCESSED, |s| s.dsb("ishst"));
    s.open("commit", page).close(page.vm);
    s.warns(&["R20"]);
}
