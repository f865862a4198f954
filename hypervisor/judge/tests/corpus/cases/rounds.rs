//! R9 to R12: whose invalidation counts for whom, where CPUs share the work.

use crate::scene::{IPA, Machine, Page, Scene};

/// Breaks a page of a machine on CPU 0, does the steps, and has its slot lead to another page.
fn remapped(machine: Machine, steps: impl FnOnce(&mut Scene, Page)) -> Scene {
    let (mut s, page) = Scene::with_page(machine);
    let other = s.frames(page.vm, 1);
    s.lock(1).break_(page);
    steps(&mut s, page);
    s.make(page.slot, page.word_to(other)).unlock(1);
    s
}

/// The other CPU goes on where this one is.
fn hand_over(s: &mut Scene, cpu: usize) -> &mut Scene {
    s.unlock(1).on(cpu).lock(1)
}

/// The CPU takes what it holds of stage 2 itself.
fn take_stage_2(s: &mut Scene, page: Page) -> &mut Scene {
    s.dsb("nsh").tlbi_ipa("ipas2e1", page.ipa).dsb("nsh")
}

#[test]
fn r9_another_cpus_barrier_where_one_cpu_ran_the_vm() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.enter(vm);
    let page = s.map(vm, IPA, 3);
    s.remap(page, |s| s.on(1).dsb("ish").on(0).tlbi("vmalls12e1is").dsb("ish"));
    s.fails(&["R9"]);
}

#[test]
fn r9_too_early_though_another_vmid_has_something_left_at_the_address() {
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    let second = s.vm(2);
    let [page, other] = [first, second].map(|vm| s.map(vm, IPA, 3));
    s.lock(2).break_(other).unlock(2).switch(first);
    s.open("unmap", page).tlbi_ipa("ipas2e1is", IPA).break_(page).dsb("ish").close(first);
    s.fails(&["R9"]);
}

#[test]
fn r10_a_local_form_and_no_barrier() {
    remapped(Machine::ONE, |s, _| _ = s.dsb("nshst").tlbi("vmalls12e1")).fails(&["R10"]);
    remapped(Machine::ONE, |s, _| _ = s.dsb("nshst").tlbi("vmalls12e1").tlbi("vmalls12e1is")).fails(&["R10"]);
}

#[test]
fn r10_an_inner_and_an_outer_form_under_one_barrier() {
    let both =
        |barrier| move |s: &mut Scene, _: Page| _ = s.dsb("ish").tlbi("vmalls12e1is").tlbi("vmalls12e1os").dsb(barrier);
    remapped(Machine::ALL_TLBIS, both("osh")).passes();
    remapped(Machine::ALL_TLBIS, both("ish")).passes();
    remapped(Machine::ALL_TLBIS, both("nsh")).fails(&["R10"]);
    // A CPU waits for its own part of what it has asked all for.
    remapped(Machine { cpus: 1, ..Machine::ALL_TLBIS }, both("nsh")).passes();
}

#[test]
fn r10_a_barrier_for_what_the_other_cpu_has_asked_for() {
    let steps = |s: &mut Scene, _: Page| {
        hand_over(s.dsb("ish"), 1).tlbi("vmalls12e1os");
        hand_over(s, 0).tlbi("vmalls12e1is");
        hand_over(s, 1).dsb("ish");
        hand_over(s, 0);
    };
    remapped(Machine::ALL_TLBIS, steps).fails(&["R10"]);
}

#[test]
fn r11_stage_1_is_left_on_the_only_cpu() {
    remapped(Machine::ONE, |s, page| _ = take_stage_2(s, page)).fails(&["R11"]);
    remapped(Machine::ONE, |s, page| _ = take_stage_2(s.dsb("nsh").tlbi("vmalle1"), page)).fails(&["R11"]);
}

#[test]
fn r11_is_what_is_left_when_the_second_attempt_has_taken_stage_2() {
    let steps = |s: &mut Scene, page: Page| {
        s.tlbi_ipa("ipas2e1is", page.ipa).dsb("ish").tlbi_ipa("ipas2e1is", page.ipa).dsb("ish");
    };
    remapped(Machine::TWO, steps).fails(&["R11"]);
}

#[test]
fn r11_all_of_stage_1_once_every_cpu_has_taken_its_stage_2() {
    let steps = |s: &mut Scene, page: Page| {
        take_stage_2(s.dsb("ish"), page).tlbi("vmalle1is");
        take_stage_2(hand_over(s, 1), page);
        hand_over(s, 0).tlbi("vmalle1is").dsb("ish");
    };
    remapped(Machine::TWO, steps).passes();
}

#[test]
fn r11_all_of_stage_1_before_the_other_cpu_has_taken_its_stage_2() {
    let steps = |s: &mut Scene, page: Page| {
        take_stage_2(s.dsb("ish"), page).tlbi("vmalle1is");
        take_stage_2(hand_over(s, 1), page);
        hand_over(s, 0).dsb("ish");
    };
    remapped(Machine::TWO, steps).fails(&["R11", "R10"]);
}

#[test]
fn r11_the_last_to_take_its_stage_2_takes_all_of_stage_1() {
    let steps = |s: &mut Scene, page: Page| {
        take_stage_2(s.dsb("ish"), page).tlbi("vmalle1is");
        take_stage_2(hand_over(s, 1), page).tlbi("vmalle1is").dsb("ish");
        hand_over(s, 0);
    };
    remapped(Machine::TWO, steps).passes();
}

#[test]
fn r12_two_cpus_invalidate_and_one_of_them_waits() {
    for waits in [0, 1] {
        let steps = |s: &mut Scene, _: Page| {
            s.dsb("ish").tlbi("vmalls12e1is");
            hand_over(s, 1).tlbi("vmalls12e1is");
            hand_over(s, waits).dsb("ish");
            hand_over(s, 0);
        };
        remapped(Machine::TWO, steps).passes();
    }
}

#[test]
fn r12_the_other_cpu_invalidates_what_only_the_writers_walks_know() {
    let steps = |s: &mut Scene, _: Page| {
        hand_over(s.dsb("nshst"), 1).tlbi("vmalls12e1is").dsb("ish");
        hand_over(s, 0).tlbi("vmalls12e1").dsb("nsh");
    };
    remapped(Machine::TWO, steps).fails(&["R12", "R10"]);
}

#[test]
fn r8_what_was_broken_together_comes_back() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 4, |word| word);
    s.begin("map", 1, IPA, 4).lock(1).break_all(&pages);
    // Each comes back where it was: nothing was relied on.
    pages.iter().rev().for_each(|page| _ = s.w(page.slot, page.word));
    s.dsb("ishst").close(vm);
    s.passes();
}
