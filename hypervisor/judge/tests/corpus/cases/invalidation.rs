//! R8 to R12: what it takes until a broken leaf is gone from every TLB.

use crate::scene::{IPA, Machine, PAGE, Page, Scene};

fn one_page() -> (Scene, Page) {
    Scene::with_page(Machine::TWO)
}

/// Breaks a page, does the steps, and has the slot lead to another page.
fn remap_after(machine: Machine, steps: impl FnOnce(&mut Scene, Page)) -> Scene {
    let (mut s, page) = Scene::with_page(machine);
    s.remap(page, |s| {
        steps(s, page);
        s
    });
    s
}

/// Breaks a page, and does the steps of one barrier or TLBI each, by their names: `ipa` is the by-IPA TLBI.
fn remap_by(names: &str) -> Scene {
    remap_after(Machine::ALL_TLBIS, |s, page| {
        for name in names.split_whitespace() {
            step(s, page, name);
        }
    })
}

fn step(s: &mut Scene, page: Page, name: &str) {
    match name.split_once(':') {
        Some(("dsb", barrier)) => s.dsb(barrier),
        Some(("dmb", barrier)) => s.dmb(barrier),
        Some(("ipa", op)) => s.tlbi_ipa(op, page.ipa),
        Some(("tlbi", op)) => s.tlbi(op),
        _ => s.isb(),
    };
}

#[test]
fn r8_by_address_and_then_stage_1() {
    remap_by("dsb:ishst ipa:ipas2e1is dsb:ish tlbi:vmalle1is dsb:ish isb").passes();
}

#[test]
fn r8_leaves_only() {
    remap_by("dsb:ishst ipa:ipas2le1is dsb:ish tlbi:vmalle1is dsb:ish isb").passes();
}

#[test]
fn r8_the_vmid() {
    remap_by("dsb:ishst tlbi:vmalls12e1is dsb:ish isb").passes();
}

#[test]
fn r8_everything() {
    remap_by("dsb:ishst tlbi:alle1is dsb:ish isb").passes();
}

#[test]
fn r8_no_isb_is_needed_for_another_translation_regime() {
    remap_by("dsb:ishst ipa:ipas2e1is dsb:ish tlbi:vmalle1is dsb:ish").passes();
}

#[test]
fn r8_full_system_barriers_are_stronger() {
    remap_by("dsb:sy ipa:ipas2e1is dsb:sy tlbi:vmalle1is dsb:sy").passes();
}

#[test]
fn r8_outer_barriers_are_stronger() {
    remap_by("dsb:oshst ipa:ipas2e1is dsb:osh tlbi:vmalle1is dsb:osh").passes();
}

#[test]
fn r8_outer_forms_with_outer_barriers() {
    remap_by("dsb:osh ipa:ipas2e1os dsb:osh tlbi:vmalle1os dsb:osh").passes();
    remap_by("dsb:osh tlbi:vmalls12e1os dsb:osh").passes();
    remap_by("dsb:osh tlbi:alle1os dsb:sy").passes();
}

#[test]
fn r8_more_than_is_needed() {
    remap_by("dsb:ish ipa:ipas2e1is dsb:ish tlbi:vmalls12e1is dsb:ish tlbi:vmalle1is dsb:ish isb").passes();
    remap_by("dsb:ishst dsb:ish ipa:ipas2e1is ipa:ipas2e1is dsb:ish tlbi:vmalle1is dsb:ish dsb:ish isb isb").passes();
}

#[test]
fn r8_no_invalidation() {
    remap_by("dsb:ish isb").fails(&["R8"]);
}

#[test]
fn r8_the_address_is_not_shifted() {
    let steps = |s: &mut Scene, page: Page| {
        s.dsb("ishst").tlbi_xt("ipas2e1is", page.ipa).dsb("ish").tlbi("vmalle1is").dsb("ish");
    };
    remap_after(Machine::TWO, steps).fails(&["R8"]);
}

#[test]
fn r8_the_neighbour_is_invalidated() {
    let steps = |s: &mut Scene, page: Page| {
        s.flush_ipa(page.ipa + PAGE);
    };
    remap_after(Machine::TWO, steps).fails(&["R8"]);
}

#[test]
fn r8_any_address_in_a_block_invalidates_it() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    s.remap(block, |s| s.flush_ipa(block.ipa + 17 * PAGE));
    s.passes();
}

#[test]
fn r8_the_last_page_of_a_range_is_left_out() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, 0x1_0000, 3, 4, |word| word);
    s.begin("unmap", 1, 0x1_0000, 4).lock(1).break_all(&pages);
    s.flush_each(&pages[..3]).close(vm);
    s.fails(&["R8"]);
}

#[test]
fn r8_each_page_of_a_range() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, 0x1_0000, 3, 4, |word| word);
    s.begin("unmap", 1, 0x1_0000, 4).lock(1).break_all(&pages);
    s.flush_each(&pages).close(vm);
    s.passes();
}

#[test]
fn r9_invalidated_before_the_store_is_visible() {
    for steps in [
        "ipa:ipas2e1is dsb:ish tlbi:vmalle1is dsb:ish",
        "tlbi:vmalls12e1is dsb:ish",
        "tlbi:alle1is dsb:sy isb",
        "dsb:ishld tlbi:vmalls12e1is dsb:ish",
        "dmb:ish tlbi:vmalls12e1is dsb:ish",
        "dmb:sy tlbi:vmalls12e1is dsb:ish",
        "isb tlbi:vmalls12e1is dsb:ish",
        "dsb:nshst tlbi:vmalls12e1is dsb:ish",
    ] {
        remap_by(steps).fails(&["R9"]);
    }
}

#[test]
fn r9_the_second_invalidation_counts() {
    remap_by("ipa:ipas2e1is dsb:ish ipa:ipas2e1is dsb:ish tlbi:vmalle1is dsb:ish").passes();
}

#[test]
fn r9_a_store_release_is_not_a_barrier() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.open("map", page).release(page.slot, 0).tlbi("vmalls12e1is").dsb("ish");
    s.make(page.slot, page.word_to(other)).close(page.vm);
    s.fails(&["R9"]);
}

#[test]
fn r9_an_atomic_is_not_a_barrier() {
    let (mut s, page) = one_page();
    s.open("unmap", page).rmw(page.slot, 0).tlbi("vmalls12e1is").dsb("ish").isb().close(page.vm);
    s.fails(&["R9"]);
}

#[test]
fn r9_another_cpus_barrier_is_not_this_ones() {
    let steps = |s: &mut Scene, _: Page| {
        s.on(1).dsb("ish").on(0).tlbi("vmalls12e1is").dsb("ish");
    };
    remap_after(Machine::TWO, steps).fails(&["R9"]);
}

#[test]
fn r9_invalidated_before_the_store() {
    let (mut s, page) = one_page();
    s.open("unmap", page).flush_ipa(page.ipa).break_(page).dsb("ish").close(page.vm);
    s.fails(&["R9"]);
}

#[test]
fn r10_not_completed() {
    for steps in [
        "dsb:ishst tlbi:vmalls12e1is",
        "dsb:ishst tlbi:vmalls12e1is isb",
        "dsb:ishst tlbi:vmalls12e1is dsb:ishst",
        "dsb:ishst tlbi:vmalls12e1is dsb:ishld",
        "dsb:ishst tlbi:vmalls12e1is dsb:nsh",
        "dsb:ishst tlbi:vmalls12e1is dmb:ish isb",
        "dsb:osh tlbi:vmalls12e1os dsb:ish",
        "dsb:osh tlbi:vmalls12e1os dsb:nsh",
        "dsb:ishst ipa:ipas2e1is dsb:ish tlbi:vmalle1is dsb:ishst",
        "dsb:ishst ipa:ipas2e1is dsb:ish tlbi:vmalle1is",
    ] {
        remap_by(steps).fails(&["R10"]);
    }
}

#[test]
fn r10_completed_late_is_completed() {
    remap_by("dsb:ishst tlbi:vmalls12e1is dsb:ishst isb dsb:ish").passes();
}

#[test]
fn r10_another_cpus_barrier_does_not_complete_it() {
    let steps = |s: &mut Scene, _: Page| {
        s.dsb("ishst").tlbi("vmalls12e1is").on(1).dsb("ish").on(0);
    };
    remap_after(Machine::TWO, steps).fails(&["R10"]);
}

#[test]
fn r10_local_forms_leave_the_other_cpu() {
    remap_by("dsb:ishst tlbi:vmalls12e1 dsb:ish").fails(&["R10"]);
    remap_by("dsb:ishst tlbi:alle1 dsb:sy").fails(&["R10"]);
    remap_by("dsb:ishst ipa:ipas2e1 dsb:ish tlbi:vmalle1 dsb:ish").fails(&["R10"]);
    remap_by("dsb:ishst ipa:ipas2e1is dsb:ish tlbi:vmalle1 dsb:ish").fails(&["R10"]);
}

#[test]
fn r10_local_forms_where_there_is_one_cpu() {
    let local = |s: &mut Scene, page: Page| {
        s.dsb("nshst").tlbi_ipa("ipas2e1", page.ipa).dsb("nsh").tlbi("vmalle1").dsb("nsh");
    };
    remap_after(Machine::ONE, local).passes();
    let vmid = |s: &mut Scene, _: Page| {
        s.dsb("nshst").tlbi("vmalls12e1").dsb("nsh");
    };
    remap_after(Machine::ONE, vmid).passes();
}

#[test]
fn r10_local_forms_where_one_cpu_ran_the_vm() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.enter(vm);
    let page = s.map(vm, 0x5000, 3);
    s.remap(page, |s| s.dsb("nshst").tlbi_ipa("ipas2e1", page.ipa).dsb("nsh").tlbi("vmalle1").dsb("nsh"));
    s.passes();
}

#[test]
fn r10_local_forms_after_the_other_cpu_ran_the_vm_too() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.enter(vm);
    let page = s.map(vm, 0x5000, 3);
    s.on(1).enter(vm).on(0);
    s.remap(page, |s| s.dsb("nshst").tlbi_ipa("ipas2e1", page.ipa).dsb("nsh").tlbi("vmalle1").dsb("nsh"));
    s.fails(&["R10"]);
}

#[test]
fn r11_stage_1_before_the_address_is_done() {
    for steps in [
        "dsb:ishst ipa:ipas2e1is dsb:ish",
        "dsb:ishst ipa:ipas2e1is tlbi:vmalle1is dsb:ish",
        "dsb:ishst ipa:ipas2e1is isb tlbi:vmalle1is dsb:ish",
        "dsb:ishst ipa:ipas2e1is dsb:ishst tlbi:vmalle1is dsb:ish",
        "dsb:ishst tlbi:vmalle1is dsb:ish ipa:ipas2e1is dsb:ish",
        "dsb:ishst tlbi:vmalle1is ipa:ipas2e1is dsb:ish",
        "dsb:ishst ipa:ipas2e1is dsb:nsh tlbi:vmalle1is dsb:ish",
        "dsb:osh ipa:ipas2e1os dsb:ish tlbi:vmalle1is dsb:ish",
    ] {
        remap_by(steps).fails(&["R11", "R10", "R8", "R1"]);
    }
}

#[test]
fn r11_stage_1_alone() {
    remap_by("dsb:ishst tlbi:vmalle1is dsb:ish").fails(&["R11", "R8", "R1"]);
}

#[test]
fn r11_stage_1_by_address_or_asid_is_not_all_of_it() {
    for op in ["vae1is", "vaae1is", "aside1is", "vaale1is"] {
        let steps = |s: &mut Scene, page: Page| {
            s.dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish").tlbi_xt(op, page.ipa >> 12).dsb("ish");
        };
        remap_after(Machine::TWO, steps).fails(&["R11"]);
    }
}

#[test]
fn r11_one_stage_1_invalidation_for_many_addresses() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, 0x20_0000, 3, 8, |word| word);
    let other = s.frames(vm, 8);
    s.begin("map", 1, 0x20_0000, 8).lock(1).break_all(&pages);
    s.flush_each(&pages).make_all(&pages, other).close(vm);
    s.passes();
}

#[test]
fn r11_a_page_that_was_broken_between_the_two() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, 0x20_0000, 3, 2, |word| word);
    s.begin("unmap", 1, 0x20_0000, 2).lock(1).break_(pages[0]);
    s.dsb("ishst").tlbi_ipa("ipas2e1is", pages[0].ipa).dsb("ish");
    s.break_(pages[1]).dsb("ishst").tlbi("vmalle1is").dsb("ish").close(vm);
    s.fails(&["R8", "R11", "R33a", "R50"]);
}

#[test]
fn r12_another_cpu_invalidates() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).dsb("ishst").unlock(1);
    s.on(1).lock(1).dsb("ish").flush_vmid();
    s.make(page.slot, page.word_to(other)).unlock(1);
    s.passes();
}

#[test]
fn r12_another_cpus_barrier_after_the_lock_is_enough() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).unlock(1);
    s.on(1).lock(1).flush_ipa(page.ipa).make(page.slot, page.word_to(other)).unlock(1);
    s.passes();
}

#[test]
fn r12_the_lock_without_a_barrier_is_not() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).unlock(1);
    s.on(1).lock(1).tlbi("vmalls12e1is").dsb("ish").make(page.slot, page.word_to(other)).unlock(1);
    s.fails(&["R12"]);
}

#[test]
fn r12_the_barrier_without_the_lock_is_not() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page);
    s.on(1).flush_vmid();
    s.on(0).make(page.slot, page.word_to(other)).unlock(1);
    s.fails(&["R12"]);
}

#[test]
fn r12_the_other_cpu_is_not_done() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).dsb("ishst").unlock(1);
    s.on(1).lock(1).dsb("ish").tlbi("vmalls12e1is").unlock(1);
    s.on(0).lock(1).dsb("ish").make(page.slot, page.word_to(other)).unlock(1);
    s.fails(&["R12", "R10", "R8", "R1"]);
}

#[test]
fn r12_each_cpu_invalidates_for_itself() {
    let (mut s, page) = one_page();
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).dsb("ish").unlock(1);
    for cpu in [1, 0] {
        s.on(cpu).lock(2).dsb("nsh").tlbi("vmalls12e1").dsb("nsh").isb().unlock(2);
    }
    s.lock(1).make(page.slot, page.word_to(other)).unlock(1);
    s.passes();
}

#[test]
fn r12_a_cpu_is_left_out_of_the_round() {
    let (mut s, page) = Scene::with_page(Machine { cpus: 3, ..Machine::TWO });
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page).dsb("ish").unlock(1);
    for cpu in [2, 0] {
        s.on(cpu).lock(2).dsb("nsh").tlbi("vmalls12e1").dsb("nsh").isb().unlock(2);
    }
    s.lock(1).make(page.slot, page.word_to(other)).unlock(1);
    s.fails(&["R12", "R10", "R8", "R1"]);
}

#[test]
fn r8_an_invalidation_before_the_break_that_was_for_another_address() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).dsb("ishst").tlbi_ipa("ipas2e1is", page.ipa + PAGE).break_(page).dsb("ish").close(page.vm);
    s.fails(&["R8"]);
}

#[test]
fn r9_an_invalidation_before_the_break() {
    for op in ["ipas2e1is", "vmalls12e1is"] {
        let (mut s, page) = Scene::with_page(Machine::TWO);
        s.open("unmap", page).dsb("ishst");
        if op == "ipas2e1is" {
            s.tlbi_ipa(op, page.ipa)
        } else {
            s.tlbi(op)
        };
        s.break_(page).dsb("ish").close(page.vm);
        s.fails(&["R9"]);
    }
}

#[test]
fn r8_an_invalidation_before_the_break_that_was_for_another_vmid() {
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    let second = s.vm(2);
    let page = s.map(second, IPA, 3);
    s.switch(first).open("unmap", page).tlbi_ipa("ipas2e1is", page.ipa).break_(page).dsb("ish").close(second);
    s.fails(&["R8"]);
}

#[test]
fn r9_too_early_though_something_else_is_left_of_the_vmid() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let other = s.map(page.vm, page.ipa + 8 * PAGE, 3);
    s.begin("unmap", 1, page.ipa, 16).lock(1).break_(other).dsb("ishst");
    s.tlbi_ipa("ipas2e1is", page.ipa).break_(page).dsb("ish").tlbi_ipa("ipas2e1is", other.ipa).dsb("ish");
    s.tlbi("vmalle1is").dsb("ish").close(page.vm);
    s.fails(&["R9"]);
}

#[test]
fn r8_an_invalidation_that_was_for_what_was_there_before() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.remap(page, |s| s.flush_ipa(page.ipa));
    s.open("unmap", page).break_(page).dsb("ish").close(page.vm);
    s.fails(&["R8"]);
}

const OUTER: Machine = Machine::ALL_TLBIS;

#[test]
fn r10_an_inner_barrier_does_not_complete_an_outer_form() {
    remap_after(OUTER, |s, _| _ = s.dsb("ish").tlbi("vmalls12e1os").dsb("ish")).fails(&["R10"]);
    remap_after(OUTER, |s, _| _ = s.dsb("ish").tlbi("vmalls12e1os").dsb("ish").dsb("osh")).passes();
}

#[test]
fn r10_an_inner_form_beside_an_outer_one() {
    for order in [["vmalls12e1is", "vmalls12e1os"], ["vmalls12e1os", "vmalls12e1is"]] {
        remap_after(OUTER, |s, _| _ = s.dsb("ish").tlbi(order[0]).tlbi(order[1]).dsb("ish")).passes();
    }
    // Once it is complete the next one waits for its own barrier.
    let again = |s: &mut Scene, page: Page| {
        s.dsb("ish").tlbi("vmalle1os").dsb("osh").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish");
        s.tlbi("vmalle1is").dsb("ish");
    };
    remap_after(OUTER, again).passes();
}
