//! R13 and R14: rights that are taken and given.

use crate::scene::{EXECUTE_NEVER, Machine, PAGE, Page, READ, Scene, WRITE};

fn one_page() -> (Scene, Page) {
    Scene::with_page(Machine::TWO)
}

fn executable_page() -> (Scene, Page) {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0x9000, 3, |word| word & !EXECUTE_NEVER);
    (s, page)
}

/// An operation that takes rights and says what is left.
fn protect(s: &mut Scene, page: Page, word: u64, left: &str, flush: impl FnOnce(&mut Scene) -> &mut Scene) {
    s.say(format!("OP begin=protect vm=0x1 ipa={:#x} pages=0x1 perm={left}", page.ipa)).lock(1);
    flush(s.w(page.slot, word)).close(page.vm);
}

#[test]
fn r13_read_only_with_an_invalidation() {
    let (mut s, page) = one_page();
    s.change("protect", page, page.word & !WRITE, |s| s.flush_ipa(page.ipa));
    s.passes();
}

#[test]
fn r13_read_only_without_an_invalidation() {
    let (mut s, page) = one_page();
    s.change("protect", page, page.word & !WRITE, |s| s.dsb("ish"));
    s.fails(&["R13"]);
}

#[test]
fn r13_read_only_with_the_first_half_of_it() {
    let (mut s, page) = one_page();
    s.change("protect", page, page.word & !WRITE, |s| s.dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish"));
    s.fails(&["R13"]);
}

#[test]
fn r13_no_access_without_an_invalidation() {
    let (mut s, page) = one_page();
    s.change("protect", page, page.word & !(READ | WRITE), |s| s.dsb("ish"));
    s.fails(&["R13"]);
}

#[test]
fn r13_not_to_be_executed_without_an_invalidation() {
    let (mut s, page) = executable_page();
    s.change("protect", page, page.word | EXECUTE_NEVER, |s| s.dsb("ish"));
    s.fails(&["R13"]);
}

#[test]
fn r13_not_to_be_executed_with_an_invalidation() {
    let (mut s, page) = executable_page();
    s.change("protect", page, page.word | EXECUTE_NEVER, |s| s.flush_vmid());
    s.passes();
}

#[test]
fn r13_the_last_of_many_is_left_out() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, 0x4000, 3, 4, |word| word);
    s.begin("protect", 1, 0x4000, 4).lock(1);
    for page in &pages {
        s.w(page.slot, page.word & !WRITE);
    }
    s.flush_each(&pages[..3]).close(vm);
    s.fails(&["R13"]);
}

#[test]
fn r13_given_back_before_anyone_relies_on_it() {
    let (mut s, page) = one_page();
    s.open("protect", page).w(page.slot, page.word & !WRITE).w(page.slot, page.word).dsb("ish").close(page.vm);
    s.passes();
}

#[test]
fn r13_shared_with_another_vm_while_it_may_be_written() {
    let (mut s, page) = one_page();
    let other = s.vm(2);
    s.lock(1).w(page.slot, page.word & !WRITE).dsb("ish").unlock(1).share(page.pa, 1, 1);
    s.begin("map", 2, 0, 1).lock(2);
    let slot = s.slot(other, 0, 3);
    s.w(slot, page.word & !WRITE).dsb("ishst").close(other);
    s.reports(&["R13", "R33", "R35"]);
}

#[test]
fn r13_the_rights_that_are_left_are_there() {
    let (mut s, page) = one_page();
    protect(&mut s, page, page.word & !WRITE, "r", |s| s.flush_ipa(page.ipa));
    s.passes();
}

#[test]
fn r13_more_is_left_than_was_said() {
    let (mut s, page) = one_page();
    protect(&mut s, page, page.word, "r", |s| s.flush_ipa(page.ipa));
    s.fails(&["R13", "R50"]);
    let (mut s, page) = one_page();
    protect(&mut s, page, page.word & !WRITE, "none", |s| s.flush_ipa(page.ipa));
    s.fails(&["R13", "R50"]);
}

#[test]
fn r13_no_invalidation_where_nothing_is_taken() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0x9000, 3, |word| word & !WRITE);
    protect(&mut s, page, page.word, "r", |s| s);
    s.passes();
}

#[test]
fn r14_more_rights_without_an_invalidation() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0x9000, 3, |word| word & !WRITE);
    s.change("protect", page, page.word | WRITE, |s| s.dsb("ishst"));
    s.passes();
}

#[test]
fn r14_more_rights_and_a_fault_that_is_retried() {
    let mut s = relaxed_and_faulted();
    s.begin("fault", 1, 0x9000, 1).lock(1).dsb("ish").tlbi_ipa("ipas2e1", 0x9000).dsb("nsh");
    s.tlbi("vmalle1").dsb("nsh").isb().unlock(1).end(0).eret(1, 0);
    s.passes();
}

#[test]
fn r14_more_rights_and_a_fault_that_is_forwarded() {
    let mut s = relaxed_and_faulted();
    s.begin("fault", 1, 0x9000, 1).lock(1).unlock(1).end(1).eret(1, 0);
    s.reports(&["R14", "R39"]);
}

/// A page becomes writable, and the guest takes a permission fault on a store to it all the same.
fn relaxed_and_faulted() -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, 0x9000, 3, |word| word & !WRITE);
    s.change("protect", page, page.word | WRITE, |s| s.dsb("ishst"));
    s.resume(vm).abort(1, 0, 1 << 6 | 0x0f, 0x9000);
    s
}

#[test]
fn r14_rights_come_and_go() {
    let (mut s, page) = one_page();
    for _ in 0..3 {
        s.change("protect", page, page.word & !WRITE, |s| s.flush_ipa(page.ipa));
        s.change("protect", page, page.word, |s| s.dsb("ishst"));
    }
    s.passes();
}

#[test]
fn r14_the_neighbour_keeps_what_it_has() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, 0x4000, 3, 2, |word| word);
    s.change("protect", pages[0], pages[0].word & !WRITE, |s| s.flush_ipa(0x4000));
    s.remap(pages[1], |s| s.flush_ipa(0x4000 + PAGE)).passes();
}

#[test]
fn r13_shared_before_the_invalidation() {
    let (mut s, page) = one_page();
    s.lock(1).w(page.slot, page.word & !WRITE).dsb("ish").unlock(1).share(page.pa, 1, 1);
    s.fails(&["R13"]);
}

#[test]
fn r13_read_only_by_a_break_that_is_not_invalidated() {
    let (mut s, page) = one_page();
    s.open("protect", page).break_(page).dsb("ishst").w(page.slot, page.word & !WRITE).dsb("ishst").close(page.vm);
    s.fails(&["R13"]);
}
