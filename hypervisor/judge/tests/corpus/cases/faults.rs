//! R39 and R40: a fault is a hint, and where it says that it happened is not always true.

use crate::scene::{ACCESSED, IPA, Machine, PAGE, Page, Scene, WRITE};

const TRANSLATION: u64 = 0x07;
const PERMISSION: u64 = 0x0f;
const STORE: u64 = 1 << 6;

/// The guest takes an abort on a page, and the hypervisor ends its handling with a status.
fn handled(s: &mut Scene, page: Page, fault_status: u64, status: u64) {
    s.resume(page.vm).abort(1, 0, fault_status, page.ipa);
    s.begin("fault", 1, page.ipa, 1).lock(1).unlock(1).end(status).eret(1, 0);
}

#[test]
fn r39_retried_because_it_is_mapped() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    handled(&mut s, page, TRANSLATION, 0);
    s.passes();
}

#[test]
fn r39_reported_although_it_is_mapped() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    handled(&mut s, page, TRANSLATION, 1);
    s.fails(&["R39"]);
}

#[test]
fn r39_a_store_is_reported_although_it_is_permitted() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    handled(&mut s, page, PERMISSION | STORE, 1);
    s.reports(&["R39", "R14"]);
}

#[test]
fn r39_reported_because_it_is_not_mapped() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    handled(&mut s, Page { ipa: page.ipa + PAGE, ..page }, TRANSLATION, 1);
    s.passes();
}

#[test]
fn r39_reported_because_it_is_not_mapped_any_more() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page);
    handled(&mut s, page, TRANSLATION, 1);
    s.passes();
}

#[test]
fn r39_a_store_to_what_is_read_only_is_reported() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE);
    handled(&mut s, page, PERMISSION | STORE, 1);
    s.passes();
}

#[test]
fn r39_a_load_from_what_is_read_only_is_not() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE);
    handled(&mut s, page, TRANSLATION, 1);
    s.fails(&["R39"]);
}

#[test]
fn r39_a_fetch_from_what_is_never_executed_is_reported() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let esr = 0x20 << 26 | 1 << 25 | PERMISSION;
    let hpfar = page.ipa >> 12 << 4;
    s.resume(page.vm).say(format!("EXC vm=0x1 vcpu=0x0 esr={esr:#x} far={:#x} hpfar={hpfar:#x}", page.ipa));
    s.begin("fault", 1, page.ipa, 1).lock(1).unlock(1).end(1).eret(1, 0);
    s.passes();
}

#[test]
fn r39_a_neighbour_of_a_block_that_is_being_split() {
    // The fault comes while the block is broken. When it is looked at, the table is there.
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 2);
    s.on(1).resume(block.vm).on(0).begin("protect", 1, block.ipa, 1).lock(1);
    let child = s.child_of(block);
    s.break_(block).on(1).abort(1, 1, 0x06, block.ipa + 7 * PAGE).on(0).flush_ipa(block.ipa);
    s.release(block.slot, 0b11 | child).dsb("ishst").close(block.vm);
    let mut wrong = s.clone();
    s.on(1).begin("fault", 1, block.ipa + 7 * PAGE, 1).lock(1).unlock(1).end(0).eret(1, 1);
    s.passes();
    wrong.on(1).begin("fault", 1, block.ipa + 7 * PAGE, 1).lock(1).unlock(1).end(1).eret(1, 1);
    wrong.fails(&["R39"]);
}

#[test]
fn r39_another_cpu_has_mapped_it_already() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map(vm, IPA + PAGE, 3);
    s.on(1).resume(vm).abort(1, 1, TRANSLATION, IPA);
    s.on(0).map(vm, IPA, 3);
    s.on(1).begin("fault", 1, IPA, 1).lock(1).unlock(1).end(0).eret(1, 1);
    s.passes();
}

#[test]
fn r39_an_access_flag_fault_is_handled() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !ACCESSED);
    s.resume(vm).abort(1, 0, 0x0b, IPA);
    s.change("fault", page, page.word | ACCESSED, |s| s.dsb("ishst")).eret(1, 0);
    s.passes();
}

#[test]
fn r39_a_page_is_entered_by_the_fault() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.resume(vm).abort(1, 0, TRANSLATION, IPA);
    s.begin("fault", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).dsb("ishst").isb().close(vm).eret(1, 0);
    s.passes();
}

/// The guest takes an abort whose registers are as given, and the hypervisor serves it at the address.
fn served_at(esr: u64, far: u64, hpfar: u64, ipa: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map(vm, IPA + PAGE, 3);
    s.resume(vm).say(format!("EXC vm=0x1 vcpu=0x0 esr={esr:#x} far={far:#x} hpfar={hpfar:#x}"));
    s.begin("fault", 1, ipa, 1).lock(1);
    if ipa == IPA {
        let pa = s.frames(vm, 1);
        let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
        s.w(slot, word).dsb("ishst").isb();
    }
    s.close(vm).eret(1, 0);
    s
}

const DATA_ABORT: u64 = 0x24 << 26 | 1 << 25;
/// ESR_EL2.S1PTW: the fault is on a table of the guest's.
const ON_WALK: u64 = 1 << 7;

#[test]
fn r40_served_where_hpfar_says() {
    served_at(DATA_ABORT | TRANSLATION, 0xffff_0000_1234_5678, IPA >> 8, IPA).passes();
}

#[test]
fn r40_served_somewhere_else() {
    served_at(DATA_ABORT | TRANSLATION, 0xffff_0000_1234_5678, IPA >> 8, IPA << 4).fails(&["R40"]);
    served_at(DATA_ABORT | TRANSLATION, IPA + 2 * PAGE, IPA >> 8, IPA + 2 * PAGE).fails(&["R40"]);
}

#[test]
fn r40_a_fault_on_a_walk_is_served_at_the_table() {
    served_at(DATA_ABORT | ON_WALK | TRANSLATION, 0x1234_5678, IPA >> 8, IPA).passes();
    served_at(DATA_ABORT | ON_WALK | PERMISSION, 0x1234_5678, IPA >> 8, 0x1234_5000).fails(&["R40"]);
}

#[test]
fn r40_hpfar_says_nothing_of_a_permission_fault() {
    served_at(DATA_ABORT | STORE | PERMISSION, 0x1234_5678, 0xdead_0000, IPA).passes();
}

/// ESR_EL2.CM: the fault is that of a cache maintenance instruction.
const MAINTENANCE: u64 = 1 << 8;

fn read_only() -> (Scene, Page) {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE);
    (s, page)
}

#[test]
fn r39_a_walk_that_updates_the_guests_own_tables_is_a_store() {
    let (mut s, page) = read_only();
    handled(&mut s, page, ON_WALK | PERMISSION, 1);
    s.passes();
}

#[test]
fn r39_cache_maintenance_is_no_store() {
    let (mut s, page) = read_only();
    handled(&mut s, page, MAINTENANCE | STORE | TRANSLATION, 1);
    s.fails(&["R39"]);
}

#[test]
fn r40_served_at_the_page_after_the_one_that_hpfar_says() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.resume(vm).abort(1, 0, TRANSLATION, IPA + 4 * PAGE).begin("fault", 1, IPA, 4);
    s.fails(&["R40"]);
}

/// A fault whose exit was by the given ESR_EL2, on a page that is there, is told to the guest.
fn refused_after(change: impl Fn(u64) -> u64, esr: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map_as(vm, IPA, 3, change);
    s.resume(vm).say(format!("EXC vm=0x1 vcpu=0x0 esr={esr:#x} far=0x0 hpfar={:#x}", IPA >> 8));
    s.begin("fault", 1, IPA, 1).end(1);
    s
}

const FETCH_ABORT: u64 = 0x20 << 26 | 1 << 25;

#[test]
fn r39_faults_that_are_no_reason_to_try_again() {
    const SYNCHRONOUS_EXTERNAL: u64 = 0x10;
    const ALIGNMENT: u64 = 0x21;
    refused_after(|word| word, DATA_ABORT | SYNCHRONOUS_EXTERNAL).passes();
    refused_after(|word| word, DATA_ABORT | ALIGNMENT).passes();
    // HVC #7.
    refused_after(|word| word, 0x5a00_0007).passes();
}

#[test]
fn r39_a_load_from_what_may_be_read() {
    refused_after(|word| word & !WRITE, DATA_ABORT | PERMISSION).fails(&["R39"]);
}

#[test]
fn r39_the_walk_of_a_fetch_reads_what_is_not_to_be_executed() {
    refused_after(|word| word, FETCH_ABORT | ON_WALK | TRANSLATION).fails(&["R39"]);
    refused_after(|word| word, FETCH_ABORT | PERMISSION).passes();
}

#[test]
fn r39_what_is_refused_and_was_no_fault() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.resume(page.vm).abort(1, 0, TRANSLATION, page.ipa).open("unmap", page).unlock(1).end(1);
    s.passes();
}

#[test]
fn r40_a_call_leaves_no_address() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.resume(page.vm).say(format!("EXC vm=0x1 vcpu=0x0 esr=0x5a000007 far=0x0 hpfar={:#x}", IPA >> 8));
    s.begin("fault", 1, IPA + 9 * PAGE, 1).end(0);
    s.passes();
}
