//! R41 to R43 and R53: who writes to a tree, and over what.

use crate::scene::{ACCESSED, DIRTY_MANAGED, IPA, Machine, PAGE, Page, Scene, VALID, WRITE};

fn one_page() -> (Scene, Page) {
    Scene::with_page(Machine::TWO)
}

#[test]
fn r41_two_cpus_alternate_under_the_lock() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    for number in 0..6 {
        s.on(number as usize % 2).map(vm, IPA + number * PAGE, 3);
    }
    s.passes();
}

#[test]
fn r41_two_cpus_alternate_without_a_lock() {
    let (mut s, page) = one_page();
    let pa = s.frames(page.vm, 2);
    s.on(0).w(page.slot + 8, page.word_to(pa)).dsb("ishst");
    s.on(1).w(page.slot + 16, page.word_to(pa + PAGE)).dsb("ishst");
    s.fails(&["R41"]);
}

#[test]
fn r41_one_of_two_cpus_takes_the_lock() {
    let (mut s, page) = one_page();
    let pa = s.frames(page.vm, 2);
    s.on(0).lock(1).w(page.slot + 8, page.word_to(pa)).dsb("ishst");
    s.on(1).w(page.slot + 16, page.word_to(pa + PAGE)).dsb("ishst").on(0).unlock(1);
    s.fails(&["R41"]);
}

#[test]
fn r41_two_locks_are_none() {
    let (mut s, page) = one_page();
    let pa = s.frames(page.vm, 2);
    s.on(0).lock(7).w(page.slot + 8, page.word_to(pa)).dsb("ishst").unlock(7);
    s.on(1).lock(8).w(page.slot + 16, page.word_to(pa + PAGE)).dsb("ishst").unlock(8);
    s.fails(&["R41"]);
}

#[test]
fn r41_any_lock_that_both_take_will_do() {
    let (mut s, page) = one_page();
    let pa = s.frames(page.vm, 2);
    s.on(0).lock(7).lock(1).w(page.slot + 8, page.word_to(pa)).dsb("ishst").unlock(1).unlock(7);
    s.on(1).lock(1).w(page.slot + 16, page.word_to(pa + PAGE)).dsb("ishst").unlock(1);
    s.passes();
}

#[test]
fn r41_the_lock_is_handed_over_by_a_third() {
    let (mut s, page) = Scene::with_page(Machine { cpus: 3, ..Machine::TWO });
    let pa = s.frames(page.vm, 2);
    s.on(0).lock(1).w(page.slot + 8, page.word_to(pa)).unlock(1).on(2).lock(1).lock(5).unlock(5).unlock(1);
    s.on(1).lock(5).w(page.slot + 16, page.word_to(pa + PAGE)).dsb("ish").unlock(5);
    s.passes();
}

#[test]
fn r41_two_trees_have_two_locks() {
    let (mut s, page) = one_page();
    let other = s.vm(2);
    let second = s.map(other, IPA, 3);
    let pa = s.frames(page.vm, 1);
    let other_pa = s.frames(other, 1);
    s.on(0).lock(1).w(page.slot + 8, page.word_to(pa)).on(1).lock(2).w(second.slot + 8, second.word_to(other_pa));
    s.dsb("ishst").unlock(2).on(0).dsb("ishst").unlock(1);
    s.passes();
}

#[test]
fn r41_the_lock_that_was_named_for_the_tree() {
    let (mut s, page) = one_page();
    let pa = s.frames(page.vm, 1);
    s.say(format!("LOCK id=0x1 root={:#x}", page.vm.root)).w(page.slot + 8, page.word_to(pa)).dsb("ishst").unlock(1);
    s.passes();
}

#[test]
fn r41_without_the_lock_that_was_named_for_the_tree() {
    let (mut s, page) = one_page();
    let pa = s.frames(page.vm, 1);
    s.say(format!("LOCK id=0x1 root={:#x}", page.vm.root)).unlock(1);
    s.w(page.slot + 8, page.word_to(pa)).dsb("ishst");
    s.fails(&["R41"]);
}

#[test]
fn r41_one_cpu_needs_no_lock() {
    let (mut s, page) = Scene::with_page(Machine::ONE);
    let pa = s.frames(page.vm, 1);
    s.w(page.slot + 8, page.word_to(pa)).dsb("ishst").resume(page.vm);
    s.passes();
}

#[test]
fn r42_the_lock_is_dropped_before_the_invalidation() {
    let (mut s, page) = one_page();
    s.open("unmap", page).break_(page).unlock(1).flush_ipa(page.ipa).end(0);
    s.passes();
}

#[test]
fn r43_what_was_expected_is_there() {
    let (mut s, page) = one_page();
    s.open("unmap", page).w_over(page.slot, page.word, 0).flush_ipa(page.ipa).close(page.vm);
    s.passes();
}

#[test]
fn r43_a_value_from_before_the_lock_was_dropped() {
    let (mut s, page) = one_page();
    s.on(1).change("protect", page, page.word & !WRITE, |s| s.flush_ipa(page.ipa));
    s.on(0).open("map", page).w_over(page.slot, page.word, page.word | 1 << 55).dsb("ishst").close(page.vm);
    s.fails(&["R43"]);
}

#[test]
fn r53_a_store_that_nobody_told_of() {
    let (mut s, page) = one_page();
    s.unmap(page);
    s.open("map", page).w_over(page.slot, page.word, 0).dsb("ishst").close(page.vm);
    s.fails(&["R53", "R43"]);
}

#[test]
fn r53_a_walk_sets_what_it_may() {
    let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE & !ACCESSED | DIRTY_MANAGED);
    s.hwupd(page.slot, page.word | ACCESSED).hwupd(page.slot, page.word | ACCESSED | WRITE);
    s.passes();
}

/// A walk changes a page's descriptor on a machine.
fn updated(machine: Machine, born: impl Fn(u64) -> u64, change: impl Fn(u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(machine);
    let page = s.map_as(vm, IPA, 3, born);
    s.hwupd(page.slot, change(page.word));
    s
}

#[test]
fn r53_a_walk_sets_what_it_may_not() {
    let rules = &["R53"];
    updated(Machine::TWO, |word| word & !ACCESSED, |word| word | ACCESSED).fails(rules);
    updated(Machine::DIRTY, |word| word & !WRITE, |word| word | WRITE).fails(rules);
    updated(Machine { hafdbs: 1, ..Machine::TWO }, |word| word & !WRITE | DIRTY_MANAGED, |word| word | WRITE)
        .fails(rules);
    updated(Machine::DIRTY, |word| word, |word| word & !ACCESSED).fails(rules);
    updated(Machine::DIRTY, |word| word, |word| word + PAGE).fails(rules);
    updated(Machine::DIRTY, |word| word, |_| 0).fails(rules);
}

#[test]
fn r53_a_walk_finds_what_nobody_stored() {
    let (mut s, page) = Scene::with_page(Machine::DIRTY);
    let other = page.word + 16 * PAGE;
    s.say(format!("HWUPD pa={:#x} old={:#x} new={other:#x}", page.slot, other & !ACCESSED));
    s.fails(&["R53"]);
}

#[test]
fn r53_a_walk_sets_nothing_where_nothing_is() {
    updated(Machine::DIRTY, |word| word & !VALID & !ACCESSED, |word| word | ACCESSED).fails(&["R53"]);
}

#[test]
fn r53_a_walk_sets_the_flag_and_not_the_dirty_state_of_what_is_read_only() {
    updated(Machine::DIRTY, |word| word & !WRITE & !ACCESSED, |word| word | ACCESSED).passes();
    updated(Machine::DIRTY, |word| word & !WRITE & !ACCESSED, |word| word | ACCESSED | WRITE).fails(&["R53"]);
}

#[test]
fn r41_one_lock_is_named_for_two_trees() {
    let (mut s, page) = one_page();
    let other = s.vm(2);
    let pa = s.frames(page.vm, 1);
    for vm in [page.vm, other] {
        s.say(format!("LOCK id=0x9 root={:#x}", vm.root)).unlock(9);
    }
    let mut right = s.clone();
    s.w(page.slot + 8, page.word_to(pa)).dsb("ishst");
    s.fails(&["R41"]);
    right.lock(9).w(page.slot + 8, page.word_to(pa)).dsb("ishst").unlock(9);
    right.passes();
}

#[test]
fn r41_the_lock_is_named_before_the_tree_is_known() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.say(format!("LOCK id=0x9 root={:#x}", vm.root)).unlock(9);
    s.enter_everywhere(vm);
    let mut right = s.clone();
    s.w(vm.root, 0x100).dsb("ishst");
    s.fails(&["R41"]);
    right.lock(9).w(vm.root, 0x100).dsb("ishst").unlock(9);
    right.passes();
}
