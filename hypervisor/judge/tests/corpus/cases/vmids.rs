//! R27 to R27b: which tables a VMID means.

use crate::scene::{IPA, Machine, PAGE, Scene, Vm};

/// A machine whose two VMs have both run on both CPUs, with pages of their own; VM 1 is in use on CPU 0, VM 2 on CPU 1.
fn two_vms() -> (Scene, [Vm; 2]) {
    let mut s = Scene::new(Machine::TWO);
    let vms = [s.vm(1), s.vm(2)];
    for (cpu, vm) in [(0, vms[0]), (1, vms[1])] {
        s.on(cpu).switch(vm).map_run(vm, IPA, 3, 3, |word| word);
    }
    s.on(0);
    (s, vms)
}

/// Has the CPU use tables that mean nothing, with the lock by which VMIDs are given out.
fn park(s: &mut Scene, cpu: usize, nobody: Vm) -> &mut Scene {
    s.on(cpu).lock(0x99).dsb("ish").msr("vttbr_el2", nobody.vttbr()).isb()
}

/// The VMIDs of the two VMs change places, with `flush` on each CPU when it uses nobody's tables.
fn rolled_over(flush: impl Fn(&mut Scene, usize)) -> Scene {
    let (mut s, vms) = two_vms();
    let nobody = s.tree(63, 63, 39, 1);
    for cpu in 0..2 {
        park(&mut s, cpu, nobody);
        flush(&mut s, cpu);
        s.dsb("ish").unlock(0x99);
    }
    for (cpu, vmid) in [(0, 2), (1, 1)] {
        let vm = vms[cpu].renumbered(vmid);
        s.on(cpu).lock(0x99).bind(vm).switch(vm).unlock(0x99).resume(vm);
    }
    s
}

#[test]
fn r27_rolled_over_with_an_invalidation_when_all_are_parked() {
    rolled_over(|s, cpu| {
        if cpu == 1 {
            s.flush_all();
        }
    })
    .passes();
}

#[test]
fn r27_rolled_over_with_a_local_invalidation_on_each_cpu() {
    rolled_over(|s, _| _ = s.dsb("nsh").tlbi("alle1").dsb("nsh").isb()).passes();
}

#[test]
fn r27_rolled_over_without_an_invalidation() {
    rolled_over(|_, _| {}).fails(&["R27"]);
}

#[test]
fn r27_rolled_over_with_one_cpu_invalidated() {
    let one = |s: &mut Scene, cpu: usize| {
        if cpu == 0 {
            s.dsb("nsh").tlbi("alle1").dsb("nsh").isb();
        }
    };
    rolled_over(one).fails(&["R27"]);
}

#[test]
fn r27_rolled_over_while_the_other_cpu_still_uses_a_vmid() {
    let early = |s: &mut Scene, cpu: usize| {
        if cpu == 0 {
            s.flush_all();
        }
    };
    rolled_over(early).fails(&["R27"]);
}

#[test]
fn r27_rolled_over_with_stage_1_invalidated() {
    rolled_over(|s, _| _ = s.dsb("ish").tlbi("vmalle1is").dsb("ish").isb()).fails(&["R27"]);
}

#[test]
fn r27_rolled_over_with_an_invalidation_that_is_not_complete() {
    let (mut s, vms) = two_vms();
    let nobody = s.tree(63, 63, 39, 1);
    park(&mut s, 1, nobody).unlock(0x99);
    park(&mut s, 0, nobody).tlbi("alle1is");
    s.msr("vttbr_el2", vms[0].renumbered(2).vttbr()).isb().unlock(0x99).eret(1, 0);
    s.fails(&["R27", "R10", "R27c"]);
}

#[test]
fn r27_a_vmid_that_stays_is_kept_while_others_are_given_anew() {
    // VM 2 runs on CPU 1 all the time, and keeps its VMID; VM 1 gets one that VM 3 had.
    let (mut s, [first, second]) = two_vms();
    let third = s.tree(3, 3, 39, 1);
    s.switch(third).resume(third).stop(third);
    s.map(third, IPA, 3);
    s.switch(first).on(1).resume(second).on(0).lock(0x99).flush_all().unlock(0x99);
    let first = first.renumbered(3);
    s.bind(first).switch(first).resume(first).stop(first).on(1).stop(second).resume(second);
    s.passes();
}

#[test]
fn r27_two_vms_with_one_vmid() {
    let mut s = Scene::new(Machine::TWO);
    let (first, second) = (s.tree(1, 7, 39, 1), s.tree(2, 7, 39, 1));
    s.on(0).enter(first).on(1).enter(second);
    s.fails(&["R27"]);
}

#[test]
fn r27_two_vms_with_one_vmid_on_one_cpu() {
    let mut s = Scene::new(Machine::ONE);
    let (first, second) = (s.tree(1, 7, 39, 1), s.tree(2, 7, 39, 1));
    s.enter(first).map(first, IPA, 3);
    s.enter(second);
    s.fails(&["R27"]);
}

/// VM 1 is destroyed: its page unmapped, no CPU using it any more, its VMID invalidated by `flush`; VM 2 gets the VMID.
fn reused(flush: impl FnOnce(&mut Scene) -> &mut Scene) -> Scene {
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    s.map(first, IPA, 3);
    let nobody = s.tree(63, 63, 39, 1);
    park(&mut s, 1, nobody).unlock(0x99);
    flush(s.on(0).lock(0x99).dsb("ish"));
    s.switch(nobody).unlock(0x99);
    let second = s.tree(2, 1, 39, 1);
    s.switch(second).resume(second).stop(second);
    s
}

#[test]
fn r27_a_vmid_is_reused_after_the_invalidation() {
    // Between this invalidation and the switch a walk may have begun again, so it is done under nobody's tables.
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    s.map(first, IPA, 3);
    let nobody = s.tree(63, 63, 39, 1);
    park(&mut s, 1, nobody).unlock(0x99);
    park(&mut s, 0, nobody).flush_all().unlock(0x99);
    let second = s.tree(2, 1, 39, 1);
    s.switch(second).resume(second).stop(second).free(first.root, 1);
    s.passes();
}

#[test]
fn r27_a_vmid_is_reused_without_an_invalidation() {
    reused(|s| s).fails(&["R27"]);
}

#[test]
fn r27_a_vmid_is_reused_after_another_vmid_was_invalidated() {
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    s.map(first, IPA, 3);
    let nobody = s.tree(63, 63, 39, 1);
    park(&mut s, 1, nobody).unlock(0x99);
    park(&mut s, 0, nobody).flush_vmid().unlock(0x99);
    let second = s.tree(2, 1, 39, 1);
    s.switch(second).resume(second);
    s.fails(&["R27"]);
}

#[test]
fn r27_a_vm_gets_another_vmid() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map(vm, IPA, 3);
    let other = vm.renumbered(9);
    s.bind(other);
    for cpu in 0..2 {
        s.on(cpu).lock(0x99).switch(other).unlock(0x99);
    }
    s.on(0).flush_all().resume(other).stop(other);
    s.remap(page, |s| s.flush_ipa(IPA)).passes();
}

#[test]
fn r27_a_vm_gets_another_vmid_and_is_invalidated_under_the_old_one_only() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map(vm, IPA, 3);
    let other = vm.renumbered(9);
    s.bind(other);
    for cpu in 0..2 {
        s.on(cpu).lock(0x99).switch(other).unlock(0x99).resume(other).stop(other);
    }
    s.on(0).switch(vm);
    s.remap(page, |s| s.flush_ipa(IPA));
    s.fails(&["R27", "R27b", "R8", "R1"]);
}

#[test]
fn r27a_no_more_bits_than_there_are() {
    let narrow = Machine { vmid16: false, ..Machine::TWO };
    let mut s = Scene::new(narrow);
    let vm = s.tree(1, 0xff, 39, 1);
    s.enter_everywhere(vm);
    s.passes();
    let mut s = Scene::new(narrow);
    let vm = s.tree(1, 0x100, 39, 1);
    s.enter(vm);
    s.fails(&["R27a"]);
}

#[test]
fn r27a_wide_vmids() {
    let mut s = Scene::new(Machine::TWO);
    let vms = [s.tree(1, 0x101, 39, 1), s.tree(2, 0x001, 39, 1), s.tree(3, 0xffff, 39, 1)];
    vms.iter().for_each(|vm| s.enter_everywhere(*vm));
    s.passes();
}

#[test]
fn r27a_wide_vmids_that_are_not_turned_on() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 0x101, 39, 1);
    let vtcr = Machine::TWO.vtcr(39, 1) & !(1 << 19);
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", Machine::TWO.hcr()).isb().eret(1, 0);
    s.fails(&["R27a"]);
}

#[test]
fn r27a_wide_vmids_that_the_cpu_does_not_have() {
    let narrow = Machine { vmid16: false, ..Machine::TWO };
    let mut s = Scene::new(narrow);
    let vm = s.tree(1, 1, 39, 1);
    let vtcr = narrow.vtcr(39, 1) | 1 << 19;
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", narrow.hcr()).isb().eret(1, 0);
    s.fails(&["R27a"]);
}

#[test]
fn r27a_vmid_0_is_nobodys() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 0, 39, 1);
    s.enter(vm);
    s.reports(&["R27a"]);
}

/// CPU 0 runs VM 1, and unmaps a page of VM 2 with the registers that `borrow` puts in place.
fn flushed_for_another(borrow: impl FnOnce(&mut Scene, [Vm; 2])) -> (Scene, [Vm; 2]) {
    let (mut s, vms) = two_vms();
    let page = s.map(vms[1], IPA + 9 * PAGE, 3);
    s.open("unmap", page).break_(page);
    borrow(&mut s, vms);
    s.flush_ipa(page.ipa).close(vms[1]);
    (s, vms)
}

#[test]
fn r27b_the_other_vm_s_vmid_is_borrowed_and_given_back() {
    let (mut s, [first, second]) = flushed_for_another(|s, [_, second]| _ = s.switch(second));
    s.switch(first).resume(first).on(1).resume(second);
    s.passes();
}

#[test]
fn r27b_the_vmid_is_not_borrowed() {
    flushed_for_another(|_, _| {}).0.fails(&["R27b"]);
}

#[test]
fn r27b_the_borrowed_vmid_is_not_in_effect_yet() {
    let hasty = |s: &mut Scene, [_, second]: [Vm; 2]| _ = s.dsb("ish").msr("vttbr_el2", second.vttbr());
    flushed_for_another(hasty).0.fails(&["R27b"]);
}

#[test]
fn r27b_an_exception_is_as_good_as_an_isb() {
    let (mut s, [first, second]) = two_vms();
    let page = s.map(second, IPA + 9 * PAGE, 3);
    s.lock(2).break_(page).dsb("ish").unlock(2).msr("vttbr_el2", second.vttbr()).eret(2, 0).exc(2, 0);
    s.open("unmap", page).flush_ipa(page.ipa).close(second).switch(first).resume(first);
    s.passes();
}

#[test]
fn r27b_given_back_without_its_tables() {
    let (mut s, [first, _]) = flushed_for_another(|s, [_, second]| _ = s.switch(second));
    s.dsb("ish").msr("vttbr_el2", first.vmid << 48).isb().resume(first);
    s.fails(&["R27b"]);
}

#[test]
fn r27b_not_given_back() {
    let (mut s, [first, _]) = flushed_for_another(|s, [_, second]| _ = s.switch(second));
    s.resume(first);
    s.fails(&["R27b"]);
}

#[test]
fn r27b_every_vmid_needs_no_borrowing() {
    let (mut s, [_, second]) = two_vms();
    let page = s.map(second, IPA + 9 * PAGE, 3);
    s.open("unmap", page).break_(page).flush_all().close(second);
    s.passes();
}

#[test]
fn r27b_the_own_vmid_may_not_be_in_effect_any_more() {
    // Until the next context synchronization the TLBI is for either of the two.
    let (mut s, [first, second]) = two_vms();
    let page = s.map(first, IPA + 9 * PAGE, 3);
    s.open("unmap", page).break_(page).dsb("ish").msr("vttbr_el2", second.vttbr());
    s.tlbi("vmalls12e1is").dsb("ish").isb().close(first);
    s.fails(&["R27b"]);
}

#[test]
fn r27_a_barrier_that_is_not_wide_enough_and_then_one_that_is() {
    let (mut s, vms) = two_vms();
    let nobody = s.tree(63, 63, 39, 1);
    park(&mut s, 1, nobody).unlock(0x99);
    park(&mut s, 0, nobody).dsb("ishst").tlbi("alle1is").dsb("nsh").dsb("ish").isb().unlock(0x99);
    let vm = vms[0].renumbered(2);
    s.lock(0x99).bind(vm).switch(vm).unlock(0x99).resume(vm);
    s.passes();
}

#[test]
fn r27_rolled_over_by_a_form_that_does_not_wait_for_all() {
    let mut s = Scene::new(Machine { cpus: 1, ..Machine::ALL_TLBIS });
    let (first, second) = (s.vm(1), s.vm(2));
    s.map(second, IPA, 3);
    let nobody = s.tree(63, 63, 39, 1);
    s.switch(nobody).dsb("ish").tlbi("alle1isnxs").dsb("ish").isb();
    s.switch(first.renumbered(2)).eret(1, 0);
    s.fails(&["R27"]);
}

#[test]
fn r27_a_vmid_whose_tables_are_gone_but_not_invalidated() {
    let mut s = Scene::new(Machine::ONE);
    let first = s.vm(1);
    s.map(first, IPA, 3);
    s.lock(1).w(first.root + 8 * (IPA >> 30), 0).dsb("ishst").unlock(1);
    let second = s.tree(2, 1, 39, 1);
    s.switch(second).eret(2, 0);
    s.fails(&["R27"]);
}

#[test]
fn r27_the_page_of_a_root_is_another_vms_root() {
    let mut s = Scene::new(Machine::ONE);
    let first = s.vm(1);
    let page = s.map(first, IPA, 3);
    let nobody = s.tree(63, 63, 39, 1);
    s.unmap(page).switch(nobody).flush_all().free(first.root, 1).alloc(first.root, 1, "table").zero(first.root, 1);
    s.dsb("ishst");
    let second = Vm { id: 2, vmid: 2, ..first };
    s.bind(second).switch(second).eret(2, 0).exc(2, 0);
    s.map(second, IPA, 3);
    s.passes();
}

#[test]
fn r27_a_vmid_whose_root_was_given_back_but_not_invalidated() {
    let mut s = Scene::new(Machine::ONE);
    let first = s.vm(1);
    s.map(first, IPA, 3);
    let nobody = s.tree(63, 63, 39, 1);
    s.switch(nobody).free(first.root, 1);
    let second = s.tree(2, 1, 39, 1);
    s.switch(second).eret(2, 0);
    s.fails(&["R27"]);
}
