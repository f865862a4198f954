//! R27c to R27f, and R49: who runs where, and what a TLBI means there.

use crate::scene::{E2H, IPA, Machine, PAGE, Page, Scene, TGE, Vm};

/// CPU 0 runs VM 1; VM 2 has a page. Both have run on both CPUs.
fn two_vms() -> (Scene, Vm, Page) {
    let mut s = Scene::new(Machine::TWO);
    let (first, second) = (s.vm(1), s.vm(2));
    let page = s.map(second, IPA, 3);
    for cpu in 0..2 {
        s.on(cpu).switch(first).resume(first).stop(first);
    }
    s.on(0);
    (s, first, page)
}

#[test]
fn r27c_walks_are_done_before_the_vmid_is_borrowed() {
    let (mut s, first, page) = two_vms();
    s.open("unmap", page).break_(page).dsb("nsh").msr("vttbr_el2", page.vm.vttbr()).isb().flush_ipa(page.ipa);
    s.msr("vttbr_el2", first.vttbr()).isb().close(page.vm).resume(first);
    s.passes();
}

#[test]
fn r27c_walks_may_be_under_way_when_the_vmid_is_borrowed() {
    let (mut s, first, page) = two_vms();
    s.open("unmap", page).msr("vttbr_el2", page.vm.vttbr()).isb().break_(page).flush_ipa(page.ipa);
    s.msr("vttbr_el2", first.vttbr()).isb().close(page.vm).resume(first);
    s.reports(&["R27c"]);
}

/// VM 1 runs on each CPU with VTTBR_EL2.CnP as given.
fn with_common_bit(common: [u64; 2]) -> Scene {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    let (vtcr, hcr) = (Machine::TWO.vtcr(39, 1), Machine::TWO.hcr());
    for (cpu, common) in common.into_iter().enumerate() {
        s.on(cpu).lock(1).msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr() | common).msr("hcr_el2", hcr);
        s.isb().unlock(1).eret(1, cpu as u32).exc(1, cpu as u32);
    }
    s.on(0);
    s
}

#[test]
fn r27d_all_cpus_have_the_same_tables() {
    with_common_bit([0, 0]).passes();
    with_common_bit([1, 1]).passes();
}

#[test]
fn r27d_common_tables_that_are_not() {
    let mut s = Scene::new(Machine::TWO);
    let (first, second) = (s.tree(1, 7, 39, 1), s.tree(2, 7, 39, 1));
    let (vtcr, hcr) = (Machine::TWO.vtcr(39, 1), Machine::TWO.hcr());
    for (cpu, vm) in [(0, first), (1, second)] {
        s.on(cpu).lock(1).msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr() | 1).msr("hcr_el2", hcr);
        s.isb().unlock(1).eret(vm.id, cpu as u32);
    }
    s.fails(&["R27d"]);
}

#[test]
fn r27d_common_tables_by_another_vtcr() {
    let mut s = with_common_bit([1, 1]);
    s.map(Vm { id: 1, vmid: 1, root: 0x4010_0000, bits: 39, start: 1 }, IPA, 3);
    s.on(1).dsb("ish").msr("vtcr_el2", Machine::TWO.vtcr(38, 1)).isb().eret(1, 1).on(0).eret(1, 0);
    s.fails(&["R27d", "R26"]);
}

#[test]
fn r27d_the_bit_is_no_part_of_the_address() {
    let mut s = with_common_bit([1, 1]);
    let vm = Vm { id: 1, vmid: 1, root: 0x4010_0000, bits: 39, start: 1 };
    let page = s.map(vm, IPA, 3);
    s.remap(page, |s| s.flush_ipa(IPA)).passes();
}

/// Two vCPUs of VM 1 take turns on CPU 0, with `flush` between them.
fn alternating(flush: impl Fn(&mut Scene) -> &mut Scene) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::ONE);
    s.map(vm, IPA, 3);
    for vcpu in [0, 1, 0] {
        s.eret(1, vcpu).exc(1, vcpu);
        flush(&mut s);
    }
    s
}

#[test]
fn r27e_stage_1_is_invalidated_between_vcpus() {
    alternating(|s| s.tlbi("vmalle1").dsb("nsh").isb()).passes();
    alternating(|s| s.tlbi("vmalls12e1").dsb("nsh").isb()).passes();
    alternating(|s| s.dsb("ish").tlbi("vmalle1is").dsb("ish").isb()).passes();
}

#[test]
fn r27e_nothing_is_invalidated_between_vcpus() {
    alternating(|s| s).fails(&["R27e"]);
}

#[test]
fn r27e_the_invalidation_between_vcpus_is_not_complete() {
    alternating(|s| s.tlbi("vmalle1").isb()).fails(&["R27e"]);
}

#[test]
fn r27e_one_vcpu_comes_and_goes() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    (0..4).for_each(|_| _ = s.resume(vm).stop(vm));
    s.passes();
}

#[test]
fn r27e_vcpus_of_two_vms_take_turns() {
    let mut s = Scene::new(Machine::ONE);
    let (first, second) = (s.vm(1), s.vm(2));
    for vm in [first, second, first, second] {
        s.switch(vm).resume(vm).stop(vm);
    }
    s.passes();
}

#[test]
fn r27e_another_vm_between_two_vcpus_does_not_help() {
    let mut s = Scene::new(Machine::ONE);
    let (first, second) = (s.vm(1), s.vm(2));
    s.switch(first).eret(1, 0).exc(1, 0).switch(second).resume(second).stop(second);
    s.switch(first).eret(1, 1);
    s.fails(&["R27e"]);
}

#[test]
fn r27e_a_vcpu_comes_back_from_another_cpu() {
    // Nobody else ran where it was.
    let (mut s, _) = Scene::with_vm(Machine { cpus: 3, ..Machine::TWO });
    let vm = s.tree(2, 2, 39, 1);
    s.on(0).load(vm).eret(2, 0).exc(2, 0).lock(9).unlock(9);
    s.on(2).lock(9).load(vm).eret(2, 0).exc(2, 0).unlock(9);
    s.on(0).lock(9).unlock(9).eret(2, 0);
    s.passes();
}

/// A hypervisor with the Virtualization Host Extensions unmaps a page, with the bits in HCR_EL2 while it invalidates.
fn hosted(while_invalidating: u64) -> Scene {
    let hcr = Machine::TWO.hcr() | E2H;
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    for cpu in 0..2 {
        s.on(cpu).lock(1).msr("vtcr_el2", Machine::TWO.vtcr(39, 1)).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", hcr);
        s.isb().unlock(1).eret(1, cpu as u32).exc(1, cpu as u32);
    }
    s.on(0);
    let page = s.map(vm, IPA, 3);
    s.open("unmap", page).break_(page).msr("hcr_el2", hcr | while_invalidating).isb().flush_ipa(page.ipa);
    s.msr("hcr_el2", hcr).isb().close(vm);
    s
}

#[test]
fn r27f_the_guests_regime() {
    hosted(0).passes();
}

#[test]
fn r27f_the_hosts_regime() {
    hosted(TGE).fails(&["R27f"]);
}

#[test]
fn r27f_turned_off_and_not_in_effect_yet() {
    let hcr = Machine::TWO.hcr() | E2H;
    let mut s = hosted(0);
    let vm = Vm { id: 1, vmid: 1, root: 0x4010_0000, bits: 39, start: 1 };
    let page = s.map(vm, IPA + PAGE, 3);
    s.msr("hcr_el2", hcr | TGE).isb();
    s.open("unmap", page).break_(page).msr("hcr_el2", hcr).flush_ipa(page.ipa).isb().close(vm);
    s.fails(&["R27f"]);
}

#[test]
fn r49_el2s_own_tlbis_do_nothing_for_a_guest() {
    for flush in [["vae2is", "vmalle1is"], ["vale2is", "vmalle1is"]] {
        let (mut s, page) = Scene::with_page(Machine::TWO);
        s.open("unmap", page).break_(page).dsb("ishst").tlbi_ipa(flush[0], page.ipa).dsb("ish");
        s.tlbi(flush[1]).dsb("ish").isb().close(page.vm);
        s.fails(&["R49"]);
    }
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).dsb("ishst").tlbi("alle2is").dsb("ish").isb().close(page.vm);
    s.fails(&["R49"]);
}

#[test]
fn r49_el2s_own_tlbis_do_no_harm() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.dsb("ish").tlbi_ipa("vae2is", 0x4000_0000).tlbi("alle2is").dsb("ish").isb().unmap(page);
    s.passes();
}

#[test]
fn r27e_more_vms_than_a_cpu_is_remembered_for() {
    let mut s = Scene::new(Machine::ONE);
    for id in 1..=20 {
        let vm = s.tree(id, id.into(), 39, 1);
        s.enter(vm);
    }
    s.passes();
}

#[test]
fn r27b_a_vm_without_a_tree_runs_on_another_vms() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.switch(vm).eret(3, 7);
    s.fails(&["R27b"]);
}

#[test]
fn r27e_what_is_invalidated_for_another_vmid_does_not_help() {
    let mut s = Scene::new(Machine::ONE);
    let (first, second) = (s.vm(1), s.vm(2));
    s.switch(first).eret(1, 0).exc(1, 0).switch(second).resume(second).stop(second).tlbi("vmalle1").dsb("nsh").isb();
    s.switch(first).eret(1, 1);
    s.fails(&["R27e"]);
}

#[test]
fn r27e_what_is_invalidated_on_another_cpu_does_not_help() {
    let (mut s, _) = Scene::with_vm(Machine::TWO);
    s.on(1).eret(1, 1).exc(1, 1).on(0).dsb("nsh").tlbi("vmalle1").dsb("nsh").isb().on(1).eret(1, 5);
    s.fails(&["R27e"]);
}

#[test]
fn r27f_the_host_has_both_bits_set() {
    let hcr = Machine::TWO.hcr() | TGE;
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.open("unmap", page).break_(page).msr("hcr_el2", hcr).isb().flush_ipa(page.ipa);
    s.msr("hcr_el2", Machine::TWO.hcr()).isb().close(page.vm);
    s.passes();
}

#[test]
fn r27f_what_is_not_stage_1_is_the_guests_all_the_same() {
    let hcr = Machine::TWO.hcr() | E2H;
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    for cpu in 0..2 {
        s.on(cpu).lock(1).msr("vtcr_el2", Machine::TWO.vtcr(39, 1)).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", hcr);
        s.isb().unlock(1).eret(1, cpu as u32).exc(1, cpu as u32);
    }
    s.on(0);
    let page = s.map(vm, IPA, 3);
    s.open("unmap", page).break_(page).msr("hcr_el2", hcr | TGE).isb().flush_vmid();
    s.msr("hcr_el2", hcr).isb().close(vm);
    s.passes();
}

/// A VM has had more VMIDs than are remembered one by one, with entries under each; then another VM gets one of them, after
/// `flush` under nobody's tables.
fn worn(vmid: u64, flush: impl Fn(&mut Scene, Vm)) -> Scene {
    let mut s = Scene::new(Machine::ONE);
    let vm = s.vm(1);
    s.map(vm, IPA, 3);
    for vmid in 100..180 {
        let vm = vm.renumbered(vmid);
        s.bind(vm).switch(vm).resume(vm).stop(vm);
    }
    flush(&mut s, vm);
    let other = s.tree(2, vmid, 39, 1);
    s.switch(other).eret(2, 9);
    s
}

#[test]
fn r27_vmids_that_are_forgotten_one_by_one_are_not_forgotten_at_all() {
    for vmid in 100..179 {
        worn(vmid, |_, _| {}).fails(&["R27"]);
    }
    worn(99, |_, _| {}).passes();
    worn(180, |_, _| {}).passes();
    worn(100 + 256, |_, _| {}).passes();
}

#[test]
fn r27_vmids_that_are_forgotten_are_invalidated() {
    for vmid in [101, 170] {
        worn(vmid, |s, _| _ = s.flush_all()).passes();
        worn(vmid, |s, vm| _ = s.switch(vm.renumbered(vmid)).flush_vmid()).fails(&["R27"]);
    }
    let elsewhere = |vmid| {
        move |s: &mut Scene, _| {
            let nobody = s.tree(63, vmid, 39, 1);
            s.switch(nobody).flush_vmid();
            let parked = s.tree(62, 62, 39, 1);
            s.switch(parked);
        }
    };
    for vmid in [101, 170] {
        worn(vmid, elsewhere(vmid)).passes();
        for other in [vmid - 1, vmid + 1, vmid - 64, vmid + 64, vmid + 256] {
            worn(vmid, elsewhere(other)).fails(&["R27"]);
        }
    }
}

#[test]
fn r27_more_vms_come_and_go_than_are_remembered_at_a_time() {
    let mut s = Scene::new(Machine::ONE);
    let nobody = s.tree(99, 99, 39, 1);
    for id in 1..=80 {
        let vm = s.tree(id, id.into(), 39, 1);
        s.enter(vm).switch(nobody).flush_all().free(vm.root, 1);
    }
    s.passes();
}

#[test]
fn r53_more_vms_than_are_remembered() {
    let mut s = Scene::new(Machine::ONE);
    for id in 1..=70 {
        let vm = s.tree(id, id.into(), 39, 1);
        s.enter(vm);
    }
    s.fails(&["R53"]);
}

#[test]
fn r27c_a_cpu_that_has_no_tables_yet() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.on(0).enter(vm);
    s.on(1).exc(1, 1).msr("vtcr_el2", Machine::TWO.vtcr(39, 1)).msr("vttbr_el2", vm.vttbr()).isb();
    s.passes();
}

#[test]
fn r27_what_is_known_of_vms_that_keep_their_vmids_stays_known() {
    let mut s = Scene::new(Machine::ONE);
    let vms = [1, 2, 3].map(|id| s.vm(id));
    for vm in vms {
        s.switch(vm).map(vm, IPA, 3);
    }
    for vmid in 100..180 {
        let worn = vms[2].renumbered(vmid);
        s.bind(worn).switch(worn).resume(worn).stop(worn);
    }
    for vm in &vms[..2] {
        s.switch(*vm).resume(*vm).stop(*vm);
    }
    s.passes();
}
