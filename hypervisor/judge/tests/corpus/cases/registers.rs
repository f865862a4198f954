//! R26 and R48: the registers that walks obey.

use crate::scene::{FORCED_WRITE_BACK, FWB, HA, IPA, MEM_ATTR, Machine, Page, Scene, Vm, WRITE_BACK};

fn stopped(machine: Machine) -> (Scene, Page) {
    Scene::with_page(machine)
}

/// Every CPU gets another value of a register, and goes back to the guest after `flush` on CPU 0.
fn changed(machine: Machine, register: &str, value: u64, flush: impl FnOnce(&mut Scene) -> &mut Scene) -> Scene {
    let (mut s, page) = stopped(machine);
    for cpu in 0..machine.cpus {
        s.on(cpu).lock(9).dsb("ish").msr(register, value).isb().unlock(9);
    }
    flush(s.on(0).lock(9)).unlock(9);
    run_everywhere(&mut s, page.vm);
    s
}

fn run_everywhere(s: &mut Scene, vm: Vm) {
    (0..s.machine().cpus).for_each(|cpu| _ = s.on(cpu).lock(9).unlock(9).resume(vm));
}

const OLD: u64 = 0x800d_3559;

#[test]
fn r26_the_value_is_what_a_machine_of_48_bits_has() {
    assert_eq!(Machine::TWO.vtcr(39, 1), OLD);
}

#[test]
fn r26_the_same_value_again() {
    changed(Machine::TWO, "vtcr_el2", OLD, |s| s).passes();
    changed(Machine::TWO, "hcr_el2", Machine::TWO.hcr(), |s| s).passes();
}

#[test]
fn r26_another_width_with_an_invalidation() {
    changed(Machine::TWO, "vtcr_el2", OLD + 1, |s| s.dsb("ish").tlbi("alle1is").dsb("ish").isb()).passes();
}

#[test]
fn r26_another_width_without_an_invalidation() {
    changed(Machine::TWO, "vtcr_el2", OLD + 1, |s| s).fails(&["R26"]);
}

#[test]
fn r26_another_width_on_one_cpu() {
    changed(Machine::ONE, "vtcr_el2", OLD + 1, |s| s.dsb("ish").tlbi("alle1is").dsb("ish").isb()).passes();
    changed(Machine::ONE, "vtcr_el2", OLD + 1, |s| s.dsb("nsh").tlbi("alle1").dsb("nsh").isb()).passes();
}

#[test]
fn r26_only_the_vmid_is_invalidated() {
    // No other VMID has run: there is nothing else to invalidate.
    changed(Machine::TWO, "vtcr_el2", OLD + 1, |s| s.dsb("ish").tlbi("vmalls12e1is").dsb("ish").isb()).passes();
}

#[test]
fn r26_only_stage_1_is_invalidated() {
    changed(Machine::TWO, "vtcr_el2", OLD + 1, |s| s.dsb("ish").tlbi("vmalle1is").dsb("ish").isb()).fails(&["R26"]);
}

#[test]
fn r26_only_one_cpu_is_invalidated() {
    changed(Machine::TWO, "vtcr_el2", OLD + 1, |s| s.dsb("ish").tlbi("alle1").dsb("ish").isb()).fails(&["R26"]);
}

#[test]
fn r26_the_invalidation_is_not_complete() {
    changed(Machine::TWO, "vtcr_el2", OLD + 1, |s| s.dsb("ish").tlbi("alle1is").isb()).fails(&["R26"]);
}

#[test]
fn r26_the_invalidation_comes_before_the_change() {
    let (mut s, page) = stopped(Machine::TWO);
    s.flush_all();
    for cpu in 0..2 {
        s.on(cpu).lock(9).dsb("ish").msr("vtcr_el2", OLD + 1).isb().unlock(9);
    }
    run_everywhere(&mut s, page.vm);
    s.fails(&["R26"]);
}

#[test]
fn r26_walks_begin_to_set_the_access_flag() {
    let machine = Machine { hafdbs: 1, ..Machine::ONE };
    let mut s = Scene::new(machine);
    let vm = s.tree(1, 1, 39, 1);
    s.msr("vtcr_el2", OLD).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", machine.hcr()).isb().eret(1, 0).exc(1, 0);
    s.map(vm, IPA, 3);
    let mut right = s.clone();
    s.dsb("ish").msr("vtcr_el2", OLD | HA).isb().eret(1, 0);
    s.fails(&["R26"]);
    right.dsb("ish").msr("vtcr_el2", OLD | HA).isb().flush_all().eret(1, 0);
    right.passes();
}

#[test]
fn r26_cpus_of_different_opinions() {
    let (mut s, page) = stopped(Machine::TWO);
    s.on(1).dsb("ish").msr("vtcr_el2", OLD + 1).isb().resume(page.vm).on(0).resume(page.vm);
    s.fails(&["R26"]);
}

#[test]
fn r26_cpus_of_different_opinions_from_the_start() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.on(0).enter(vm).on(1).lock(1).msr("vtcr_el2", OLD + 1).msr("vttbr_el2", vm.vttbr());
    s.msr("hcr_el2", Machine::TWO.hcr()).isb().unlock(1).eret(1, 1).exc(1, 1).map(vm, IPA, 3);
    s.fails(&["R26"]);
}

#[test]
fn r26_forced_write_back_comes_or_goes() {
    let hcr = Machine::TWO.hcr() & !FWB;
    changed(Machine::TWO, "hcr_el2", hcr, |s| s).fails(&["R26"]);
}

#[test]
fn r26_traps_are_nothing_to_walks() {
    // IMO, FMO and TWI.
    let hcr = Machine::TWO.hcr() | 1 << 3 | 1 << 4 | 1 << 13;
    changed(Machine::TWO, "hcr_el2", hcr, |s| s).passes();
}

#[test]
fn r26_protected_walks_begin() {
    let hcr = Machine::TWO.hcr() | 1 << 2;
    changed(Machine::TWO, "hcr_el2", hcr, |s| s).fails(&["R26"]);
    changed(Machine::TWO, "hcr_el2", hcr, |s| s.flush_all()).passes();
}

#[test]
fn r26_the_guests_default_memory_type_begins() {
    let hcr = Machine::TWO.hcr() | 1 << 12;
    changed(Machine::TWO, "hcr_el2", hcr, |s| s).fails(&["R26"]);
}

#[test]
fn r26_nothing_was_ever_cached() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.msr("vtcr_el2", OLD + 1).msr("vtcr_el2", OLD).isb().load(vm).resume(vm);
    s.passes();
}

/// Enters a VM with other bits in HCR_EL2 than are right.
fn entered_with(change: impl Fn(u64) -> u64) -> Scene {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    let hcr = change(Machine::TWO.hcr());
    s.msr("vtcr_el2", OLD).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", hcr).isb().eret(1, 0);
    s
}

#[test]
fn r48_what_a_guest_needs() {
    entered_with(|hcr| hcr).passes();
}

#[test]
fn r48_stage_2_is_off() {
    entered_with(|hcr| hcr & !1).fails(&["R48"]);
}

#[test]
fn r48_invalidation_by_set_and_way_only_discards() {
    entered_with(|hcr| hcr & !(1 << 1)).reports(&["R48"]);
}

#[test]
fn r48_a_guest_of_32_bits() {
    entered_with(|hcr| hcr & !(1 << 31)).reports(&["R48"]);
}

/// A vCPU moves from one CPU to another with the given HCR_EL2, after `flush` on the new one.
fn migrated(hcr: u64, flush: impl Fn(&mut Scene) -> &mut Scene) -> Scene {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    for cpu in 0..2 {
        s.on(cpu).lock(1).msr("vtcr_el2", OLD).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", hcr).isb().unlock(1);
    }
    s.on(0).eret(1, 0).exc(1, 0).lock(1).unlock(1);
    flush(s.on(1).lock(1).unlock(1)).eret(1, 0).exc(1, 0).lock(1).unlock(1);
    flush(s.on(0).lock(1).unlock(1)).eret(1, 0);
    s
}

#[test]
fn r48_a_vcpu_moves() {
    migrated(Machine::TWO.hcr(), |s| s).passes();
}

#[test]
fn r48_a_vcpu_moves_whose_invalidations_stay_behind() {
    let local = Machine::TWO.hcr() & !(1 << 9);
    migrated(local, |s| s).reports(&["R48", "R27e"]);
}

#[test]
fn r48_a_vcpu_moves_and_what_it_left_is_invalidated() {
    migrated(Machine::TWO.hcr() & !(1 << 9), |s| s.tlbi("vmalle1").dsb("nsh").isb()).passes();
}

#[test]
fn r26_a_cpu_is_about_to_translate_otherwise() {
    for (register, value) in [("vtcr_el2", Machine::TWO.vtcr(38, 1)), ("hcr_el2", Machine::TWO.hcr() | 1 << 12)] {
        let (mut s, page) = Scene::with_page(Machine::TWO);
        s.on(1).msr(register, value).on(0).resume(page.vm);
        s.fails(&["R26"]);
    }
}

#[test]
fn r45_registers_of_a_cpu_whose_stage_2_is_off() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.msr("vtcr_el2", 0).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", Machine::TWO.hcr() & !1).isb();
    s.passes();
}

#[test]
fn r48_a_vcpu_that_stays_needs_no_broadcast() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.lock(1).msr("vtcr_el2", OLD).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", Machine::TWO.hcr() & !(1 << 9)).isb();
    s.unlock(1);
    (0..3).for_each(|_| _ = s.eret(1, 0).exc(1, 0));
    s.passes();
}

#[test]
fn r48_a_vcpu_of_another_vm_is_another_vcpu() {
    let mut s = Scene::new(Machine::TWO);
    let (first, second) = (s.tree(1, 1, 39, 1), s.tree(2, 2, 39, 1));
    for cpu in 0..2 {
        s.on(cpu).lock(1).msr("vtcr_el2", OLD).msr("vttbr_el2", first.vttbr());
        s.msr("hcr_el2", Machine::TWO.hcr() & !(1 << 9)).isb().unlock(1);
    }
    s.on(0).eret(1, 0).exc(1, 0);
    s.on(1).switch(second).eret(2, 0).exc(2, 0);
    s.on(0).eret(1, 0);
    s.passes();
}

#[test]
fn r26_what_was_mapped_is_gone_before_the_width_changes() {
    let (mut s, page) = Scene::with_page(Machine::ONE);
    s.lock(1).w(page.vm.root + 8 * (IPA >> 30), 0).flush_vmid().unlock(1);
    s.msr("vtcr_el2", OLD + 1).isb().resume(page.vm);
    s.passes();
}

#[test]
fn r26_every_bit_that_translations_depend_on() {
    let hcr = Machine::TWO.hcr();
    for bit in [2, 12, 31, 32, 33, 46] {
        changed(Machine::TWO, "hcr_el2", hcr ^ 1 << bit, |s| s).fails(&["R26"]);
    }
}

#[test]
fn r26_a_vm_that_has_nothing_gets_another_width() {
    let (mut s, first) = Scene::with_vm(Machine::TWO);
    let second = s.tree(2, 2, 39, 1);
    s.on(1).enter(second).on(0).map(first, IPA, 3);
    s.on(1).dsb("ish").msr("vtcr_el2", OLD + 1).isb().resume(second);
    s.passes();
}

/// A VM that has not run is given its tables, and then a page of a kind of memory.
fn bound_early(memory: u64) -> Scene {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.msr("vtcr_el2", OLD).msr("hcr_el2", Machine::TWO.hcr()).isb().bind(vm);
    s.lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word & !MEM_ATTR | memory).dsb("ishst").unlock(1);
    s
}

#[test]
fn r31_memory_that_a_vm_gets_before_it_runs() {
    bound_early(FORCED_WRITE_BACK).passes();
    bound_early(WRITE_BACK).fails(&["R31"]);
}

#[test]
fn r22_another_vms_registers_are_not_this_ones() {
    let machine = Machine { hafdbs: 1, ..Machine::TWO };
    let mut s = Scene::new(machine);
    let [first, second] = [1, 2].map(|id| s.tree(id, id.into(), 39, 1));
    s.msr("vtcr_el2", OLD).msr("vttbr_el2", first.vttbr()).msr("hcr_el2", machine.hcr()).isb().eret(1, 0).exc(1, 0);
    let page = s.on(1).enter(second).map(second, IPA, 3);
    s.bind(second).lock(2).w(page.slot, page.word | 1 << 55).dsb("ishst").unlock(2);
    s.fails(&["R22"]);
}
