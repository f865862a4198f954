//! The twenty shapes in which the rules are usually told, each on a page and nothing else around it.

use crate::scene::{CONTIGUOUS, HA, IPA, MIB, Machine, PAGE, Page, Range, Scene, WRITE, table};

/// Breaks a page, does `flush`, and has the slot lead elsewhere, outside of any operation.
fn broken_and_made(flush: impl FnOnce(&mut Scene, Page)) -> Scene {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page);
    flush(&mut s, page);
    s.make(page.slot, page.word_to(other)).unlock(1);
    s
}

#[test]
fn t1_the_sequence_by_address() {
    broken_and_made(|s, page| {
        s.dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish").tlbi("vmalle1is").dsb("ish");
    })
    .passes();
}

#[test]
fn t2_no_barrier_before_the_first_tlbi() {
    broken_and_made(|s, page| {
        s.tlbi_ipa("ipas2e1is", page.ipa).dsb("ish").tlbi("vmalle1is").dsb("ish");
    })
    .fails(&["R9", "R8", "R1"]);
}

#[test]
fn t3_no_barrier_between_the_tlbis() {
    broken_and_made(|s, page| {
        s.dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa).tlbi("vmalle1is").dsb("ish");
    })
    .fails(&["R11", "R8", "R1"]);
}

#[test]
fn t4_stage_1_first() {
    broken_and_made(|s, page| {
        s.dsb("ishst").tlbi("vmalle1is").dsb("ish").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish");
    })
    .fails(&["R11", "R8", "R1"]);
}

#[test]
fn t5_a_store_barrier_at_the_end() {
    broken_and_made(|s, _| {
        s.dsb("ishst").tlbi("vmalls12e1is").dsb("ishst");
    })
    .fails(&["R10", "R8", "R1"]);
}

#[test]
fn t6_a_local_tlbi() {
    broken_and_made(|s, _| {
        s.dsb("ishst").tlbi("vmalls12e1").dsb("nsh");
    })
    .fails(&["R10", "R8", "R1"]);
}

#[test]
fn t7_no_break() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.frames(page.vm, 1);
    s.lock(1).w(page.slot, page.word_to(other)).unlock(1);
    s.fails(&["R1"]);
}

#[test]
fn t8_read_only_and_done() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.change("protect", page, page.word & !WRITE, |s| s);
    s.fails(&["R13", "R50"]);
}

#[test]
fn t9_read_only_and_invalidated() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.change("protect", page, page.word & !WRITE, |s| s.flush_ipa(page.ipa));
    s.passes();
}

#[test]
fn t10_another_cpu_goes_on() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).dsb("ishst").unlock(1);
    s.on(1).lock(1).dsb("ish").tlbi("vmalls12e1is").dsb("ish").make(page.slot, page.word_to(other)).unlock(1);
    s.passes();
}

#[test]
fn t11_freed_first_and_invalidated_then() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.lock(1).break_(page).unlock(1).free(page.pa, 1).flush_vmid();
    s.fails(&["R33"]);
}

#[test]
fn t12_the_vmid_is_not_in_effect() {
    let mut s = Scene::new(Machine::TWO);
    let (first, second) = (s.vm(1), s.vm(2));
    let page = s.map(second, IPA, 3);
    s.switch(first).lock(2).break_(page).dsb("ish").msr("vttbr_el2", second.vttbr());
    s.tlbi("vmalls12e1is").dsb("ish").unlock(2).give_back(page.pa, 1);
    s.fails(&["R27b", "R33", "R8"]);
}

#[test]
fn t13_a_vmid_is_given_to_another_root() {
    let (mut s, first) = Scene::with_vm(Machine::ONE);
    s.map(first, IPA, 3);
    let second = s.tree(2, 1, 39, 1);
    s.free(first.root, 1).switch(second).resume(second);
    s.fails(&["R27", "R32"]);
}

#[test]
fn t14_the_child_after_the_parent() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.lock(1);
    let child = s.raw_table();
    s.w(vm.root, table(child)).w(child, 0).unlock(1);
    s.fails(&["R29"]);
}

#[test]
fn t15_a_member_of_a_group() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let group = s.map_run(vm, IPA, 3, 16, |word| word | CONTIGUOUS);
    s.unmap(group[3]);
    s.fails(&["R17", "R18"]);
}

#[test]
fn t16_leaves_only_for_a_table() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page);
    let parent = s.slot(page.vm, page.ipa, 2);
    let child = s.read(parent) & !0xfff;
    s.lock(1).w(parent, 0).dsb("ishst").tlbi_ipa("ipas2le1is", page.ipa).dsb("ish").tlbi("vmalle1is").dsb("ish");
    s.free(child, 1).unlock(1);
    s.fails(&["R15", "R32"]);
}

#[test]
fn t17_a_range_one_page_short() {
    let (mut s, vm) = Scene::with_vm(Machine::ALL_TLBIS);
    let pages = s.map_run(vm, IPA, 3, 3, |word| word);
    let other = s.frames(vm, 3);
    s.lock(1).break_all(&pages).flush_range(Range::pairs(IPA, 1).operand()).make_all(&pages, other).unlock(1);
    s.fails(&["R25", "R8", "R1"]);
}

#[test]
fn t18_a_plain_change_where_walks_set_flags() {
    let (mut s, vm) = Scene::with_vm(Machine { hafdbs: 1, ..Machine::TWO });
    assert!(s.machine().vtcr(39, 1) & HA != 0);
    let page = s.map_as(vm, IPA, 3, |word| word & !(1 << 10));
    s.lock(1).w(page.slot, page.word | 1 << 55).dsb("ish").unlock(1);
    s.fails(&["R22"]);
}

#[test]
fn t19_a_table_over_a_block() {
    for (level, is_right) in [(2, true), (0, false)] {
        let (mut s, block) = Scene::with_leaf(Machine::bbm(2), 2);
        s.lock(1);
        let child = s.child_of(block);
        s.release(block.slot, table(child)).flush_ipa(block.ipa + MIB).unlock(1).policy(&format!("bbm={level:#x}"));
        if is_right { s.passes() } else { s.fails(&["R5"]) }
    }
}

#[test]
fn t20_two_breaks_and_one_flush() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 2, |word| word);
    let other = s.frames(vm, 2);
    s.lock(1).break_all(&pages).flush_each(&pages).make_all(&pages, other).unlock(1);
    assert_eq!(pages[1].ipa, IPA + PAGE);
    s.passes();
}
