//! Whole sequences as other hypervisors do them, and legal shortcuts: none of this may alarm.

use crate::scene::{
    ACCESSED, DIRTY_MANAGED, EXECUTE_NEVER, IPA, Machine, OUTPUT, PAGE, Page, Range, SOFTWARE, Scene, VALID, WRITE,
    hinted, table,
};

/// Invalidates with level hints, the leaf or the table that is gone.
fn hinted_flush(s: &mut Scene, ipa: u64, level: u64) {
    s.dsb("ishst").tlbi_xt("ipas2e1is", hinted(ipa, level)).dsb("ish").tlbi("vmalle1is").dsb("ish").isb();
}

#[test]
fn legal_kvm_unmaps_leaf_by_leaf_and_then_the_table() {
    let (mut s, vm) = Scene::with_vm(Machine::ALL_TLBIS);
    let pages = s.map_run(vm, IPA, 3, 3, |word| word);
    let parent = s.slot(vm, IPA, 2);
    let child = s.read(parent) & OUTPUT;
    s.begin("unmap", 1, IPA, 512).lock(1);
    for page in &pages {
        s.w(page.slot, 0);
        hinted_flush(&mut s, page.ipa, 3);
    }
    s.w(parent, 0).flush_ipa(IPA).free(child, 1).close(vm);
    s.passes();
}

#[test]
fn legal_kvm_marks_what_is_being_replaced() {
    // A locked mark by compare-and-swap, the invalidation, and the new entry by a store-release.
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    s.begin("protect", 1, block.ipa, 1).lock(1);
    let child = s.child_of(block);
    s.rmw(block.slot, 1 << 10).flush_ipa(block.ipa).release(block.slot, table(child)).dsb("ishst").close(block.vm);
    s.passes();
}

#[test]
fn legal_kvm_relaxes_rights_with_a_local_invalidation() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE);
    s.change("fault", page, page.word | WRITE, |s| {
        s.dsb("nshst").tlbi_ipa("ipas2e1", IPA).dsb("nsh").tlbi("vmalle1").dsb("nsh").isb().dsb("ishst")
    });
    s.passes();
}

#[test]
fn legal_kvm_flushes_a_table_by_its_range() {
    let (mut s, vm) = Scene::with_vm(Machine::ALL_TLBIS);
    s.map_run(vm, IPA, 3, 5, |word| word);
    let parent = s.slot(vm, IPA, 2);
    s.begin("map", 1, IPA, 512).lock(1);
    let pa = s.frames(vm, 512);
    let word = s.leaf(pa, 2);
    let child = s.read(parent) & OUTPUT;
    s.rmw(parent, 1 << 10).flush_range(Range { ipa: IPA, times: 8, scale: 1, level: 0 }.operand());
    s.release(parent, word).dsb("ishst").isb().free(child, 1).close(vm);
    s.passes();
}

#[test]
fn legal_xen_flushes_the_domain_before_it_frees() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 8, |word| word);
    let parent = s.slot(vm, IPA, 2);
    let child = s.read(parent) & OUTPUT;
    s.begin("unmap", 1, IPA, 512).lock(1).break_all(&pages).w(parent, 0).flush_vmid();
    s.free(child, 1).give_back(pages[0].pa, 8).close(vm);
    s.passes();
}

#[test]
fn legal_xen_flushes_another_domain_by_borrowing_its_vmid() {
    let mut s = Scene::new(Machine::TWO);
    let (first, second) = (s.vm(1), s.vm(2));
    let page = s.map(second, IPA, 3);
    s.switch(first).resume(first).stop(first);
    s.open("unmap", page).break_(page).dsb("ish").msr("vttbr_el2", second.vttbr()).isb().flush_vmid();
    s.msr("vttbr_el2", first.vttbr()).isb().close(second).resume(first);
    s.passes();
}

#[test]
fn legal_hafnium_flushes_in_two_steps() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 8, |word| word);
    s.begin("unmap", 1, IPA, 8).lock(1).break_all(&pages).dsb("ishst");
    for page in &pages {
        s.tlbi_ipa("ipas2e1is", page.ipa);
    }
    s.dsb("ish").tlbi("vmalle1is").dsb("ish").isb().isb().close(vm);
    s.passes();
}

#[test]
fn legal_gunyah_splits_a_block_that_is_not_cached_meanwhile() {
    let (mut s, block) = Scene::with_leaf(Machine::bbm(1), 2);
    s.begin("protect", 1, block.ipa, 1).lock(1);
    let child = s.child_of(block);
    s.w(block.slot, block.word | 1 << 16).flush_ipa(block.ipa).release(block.slot, table(child));
    s.dsb("ishst").close(block.vm);
    let page = Page { level: 3, slot: child, word: block.word | 0b10, ..block };
    s.change("protect", page, page.word & !WRITE, |s| s.flush_ipa(page.ipa)).passes();
}

#[test]
fn legal_zircon_queues_pages_and_flushes_once() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 24, |word| word);
    s.begin("decommit", 1, IPA, 24).lock(1);
    for part in pages.chunks(7) {
        s.break_all(part).flush_each(part);
    }
    s.give_back(pages[0].pa, 24).close(vm);
    s.passes();
}

#[test]
fn legal_everything_for_one_page() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.remap(page, |s| s.flush_all()).passes();
}

#[test]
fn legal_the_invalidation_long_after_the_lock() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let [first, second] = [s.map(vm, IPA, 3), s.map(vm, IPA + 64 * PAGE, 3)];
    s.open("decommit", first).break_(first).dsb("ishst").unlock(1);
    s.on(1).change("protect", second, second.word & !WRITE, |s| s.flush_ipa(second.ipa));
    s.on(0).flush_ipa(first.ipa).lock(1).give_back(first.pa, 1).close(vm);
    s.passes();
}

#[test]
fn legal_a_broken_page_keeps_a_note_of_where_it_went() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("decommit", page).w(page.slot, 0x1234_5678 << 8).flush_ipa(page.ipa).give_back(page.pa, 1).close(page.vm);
    s.passes();
}

#[test]
fn legal_software_bits_come_and_go() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    for bits in [SOFTWARE, 0, 1 << 56] {
        s.change("protect", page, page.word | bits, |s| s.dsb("ishst"));
    }
    s.passes();
}

#[test]
fn legal_the_guest_of_another_cpu_runs_all_the_while() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.on(1).resume(page.vm).on(0);
    s.remap(page, |s| {
        s.dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa).on(1).stop(page.vm).resume(page.vm).on(0);
        s.dsb("ish").tlbi("vmalle1is").dsb("ish")
    });
    s.on(1).stop(page.vm).resume(page.vm);
    s.passes();
}

#[test]
fn legal_one_cpu_drops_all_that_it_holds_of_the_vmid() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.dsb("ish").tlbi("vmalls12e1").dsb("nsh").isb().resume(page.vm).passes();
}

#[test]
fn legal_two_vms_on_two_cpus_know_nothing_of_each_other() {
    let mut s = Scene::new(Machine::TWO);
    let vms = [s.vm(1), s.vm(2)];
    let pages = vms.map(|vm| s.map(vm, IPA, 3));
    for (cpu, vm) in [(0, vms[0]), (1, vms[1])] {
        s.on(cpu).switch(vm);
    }
    for cpu in [0, 1] {
        s.on(cpu).open("unmap", pages[cpu]).break_(pages[cpu]);
    }
    for cpu in [1, 0] {
        s.on(cpu).flush_ipa(IPA).close(vms[cpu]).resume(vms[cpu]);
    }
    s.passes();
}

#[test]
fn legal_clean_pages_become_dirty_and_are_harvested_again_and_again() {
    let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE | DIRTY_MANAGED);
    for _ in 0..3 {
        s.on(1).resume(vm).hwupd(page.slot, page.word | WRITE).stop(vm);
        s.on(0).open("harvest", page).rmw(page.slot, page.word).flush_ipa(IPA).close(vm);
    }
    s.passes();
}

#[test]
fn legal_a_walk_sets_the_flag_between_a_load_and_the_exchange() {
    let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.open("unmap", page).hwupd(page.slot, page.word | ACCESSED).rmw(page.slot, 0).flush_ipa(IPA).close(vm);
    s.passes();
}

#[test]
fn legal_code_is_loaded_and_made_executable() {
    let (mut s, page) = Scene::with_page(Machine::OLD_CACHES);
    s.open("protect", page).w(page.slot, page.word & !WRITE).flush_ipa(page.ipa);
    s.dc("cvau", page.pa, PAGE).dsb("ish").ic("ialluis").dsb("ish").isb();
    s.w(page.slot, page.word & !WRITE & !EXECUTE_NEVER).dsb("ishst").close(page.vm);
    s.passes();
}

#[test]
fn legal_a_vm_is_destroyed_and_its_memory_becomes_another_ones() {
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(first, IPA, 3, 8, |word| word);
    let [top, middle] = [1, 2].map(|level| s.slot(first, IPA, level));
    let tables = [s.read(top) & OUTPUT, s.read(middle) & OUTPUT];
    s.begin("unmap", 1, IPA, 8).lock(1).break_all(&pages).w(middle, 0).w(top, 0).flush_vmid();
    s.free(tables[0], 1).free(tables[1], 1).give_back(pages[0].pa, 8).close(first);
    let second = s.tree(2, 2, 39, 1);
    s.enter_everywhere(second);
    s.flush_all().free(first.root, 1);
    s.begin("commit", 2, 0, 8).lock(2).alloc(pages[0].pa, 8, "guest").zero(pages[0].pa, 8).owner(pages[0].pa, 8, 2);
    s.dsb("ishst");
    for page in &pages {
        let slot = s.slot(second, page.ipa - IPA, 3);
        s.w(slot, page.word);
    }
    s.dsb("ishst").isb().close(second).resume(second);
    s.passes();
}

#[test]
fn legal_comments_blank_lines_and_registers_of_no_rule() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.line("# a comment").line("").msr("sctlr_el1", 0x30d0_0800).msr("ttbr0_el1", VALID);
    s.unmap(page).line("# 44 events");
    s.passes();
}

#[test]
fn legal_a_trace_without_operations_and_locks() {
    let (mut s, page) = Scene::with_page(Machine::ONE);
    let other = s.frames(page.vm, 1);
    s.break_(page).flush_vmid().make(page.slot, page.word_to(other)).resume(page.vm);
    s.passes();
}
