//! R28, R29 and R29a: what must be visible before an entry is.

use crate::scene::{IPA, Machine, PAGE, Scene, Vm, WRITE, table};

/// A VM whose new page is stored, with `after` before the operation ends and the guest runs again.
fn mapped_with(after: impl FnOnce(&mut Scene) -> &mut Scene) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map(vm, IPA + PAGE, 3);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    after(s.w(slot, word)).close(vm).resume(vm);
    s
}

#[test]
fn r28_published_by_a_barrier() {
    mapped_with(|s| s.dsb("ishst").isb()).passes();
    mapped_with(|s| s.dsb("ishst")).passes();
    mapped_with(|s| s.dsb("ish")).passes();
    mapped_with(|s| s.dsb("sy")).passes();
    mapped_with(|s| s.dsb("oshst")).passes();
}

#[test]
fn r28_not_published() {
    mapped_with(|s| s).fails(&["R28"]);
    mapped_with(|s| s.isb()).fails(&["R28"]);
    mapped_with(|s| s.dsb("ishld")).fails(&["R28"]);
    mapped_with(|s| s.dmb("ish")).fails(&["R28"]);
}

#[test]
fn r28_the_guest_runs_before_the_barrier() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).unlock(1).resume(vm);
    s.fails(&["R28"]);
}

#[test]
fn r28_another_cpu_is_in_the_guest_meanwhile() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map(vm, IPA + PAGE, 3);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).on(1).resume(vm).stop(vm).resume(vm).on(0).dsb("ishst").isb().close(vm);
    s.passes();
}

#[test]
fn r28_one_barrier_for_many_pages() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map_run(vm, IPA, 3, 40, |word| word);
    s.on(0).resume(vm).on(1).resume(vm);
    s.passes();
}

/// A VM, and the slot where it gets its first table of level 2.
fn empty() -> (Scene, Vm, u64) {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    (s, vm, vm.root + 16)
}

#[test]
fn r29_a_store_release_links() {
    let (mut s, vm, parent) = empty();
    let child = s.new_table();
    s.release(parent, table(child)).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r29_a_barrier_and_a_plain_store_link() {
    for barrier in ["ishst", "ish", "sy", "osh"] {
        let (mut s, vm, parent) = empty();
        let child = s.new_table();
        s.dmb(barrier).w(parent, table(child)).dsb("ishst").close(vm);
        s.passes();
        let (mut s, vm, parent) = empty();
        let child = s.new_table();
        s.dsb(barrier).w(parent, table(child)).dsb("ishst").close(vm);
        s.passes();
    }
}

#[test]
fn r29_a_plain_store_links() {
    let (mut s, vm, parent) = empty();
    let child = s.new_table();
    s.w(parent, table(child)).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_barriers_that_do_not_order_stores() {
    for barrier in ["ishld", "ld"] {
        let (mut s, vm, parent) = empty();
        let child = s.new_table();
        s.dmb(barrier).w(parent, table(child)).dsb("ishst").close(vm);
        s.fails(&["R29"]);
    }
    let (mut s, vm, parent) = empty();
    let child = s.new_table();
    s.isb().w(parent, table(child)).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_linked_and_then_initialised() {
    let (mut s, vm, parent) = empty();
    let child = s.raw_table();
    s.release(parent, table(child)).zero(child, 1).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_linked_and_then_one_slot_written() {
    let (mut s, vm, parent) = empty();
    let child = s.raw_table();
    s.release(parent, table(child)).w(child, 0).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_one_slot_is_left_as_it_was() {
    let (mut s, vm, parent) = empty();
    let child = s.raw_table();
    for number in (0..512).filter(|number| *number != 300) {
        s.w(child + 8 * number, 0);
    }
    s.release(parent, table(child)).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_every_slot_is_written() {
    let (mut s, vm, parent) = empty();
    let child = s.raw_table();
    for number in 0..512 {
        s.w(child + 8 * number, 0);
    }
    s.release(parent, table(child)).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r29_an_entry_of_the_child_after_the_barrier() {
    let (mut s, vm, parent) = empty();
    let last = s.new_table();
    let child = s.new_table();
    s.dsb("ishst").w(child, table(last)).w(parent, table(child)).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_a_chain_of_tables_from_the_bottom() {
    let (mut s, vm, parent) = empty();
    let [child, last] = [s.new_table(), s.new_table()];
    let pa = s.frames(vm, 1);
    let word = s.leaf(pa, 3);
    s.w(last, word).release(child, table(last)).release(parent, table(child)).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r29_zeroed_by_a_cpu_that_had_the_lock() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.on(1).lock(1);
    let child = s.new_table();
    s.unlock(1).on(0).begin("map", 1, IPA, 1).lock(1).w(vm.root + 16, table(child)).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r29_zeroed_by_a_cpu_that_nobody_waited_for() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.on(1);
    let child = s.new_table();
    s.on(0).begin("map", 1, IPA, 1).lock(1).release(vm.root + 16, table(child)).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_a_freed_table_is_not_initialised_when_it_comes_back() {
    let (mut s, vm, parent) = empty();
    let child = s.new_table();
    s.free(child, 1).alloc(child, 1, "table").release(parent, table(child)).dsb("ishst").close(vm);
    s.fails(&["R29"]);
}

#[test]
fn r29_a_root_that_is_not_initialised() {
    let mut s = Scene::new(Machine::TWO);
    let vm = Vm { id: 1, vmid: 1, root: 0x4020_0000, bits: 39, start: 1 };
    s.alloc(vm.root, 1, "table").enter(vm);
    s.fails(&["R29"]);
}

/// Maps a page that is zeroed, with `order` between the zeros and the entry.
fn zeroed_and(order: impl FnOnce(&mut Scene) -> &mut Scene, store: &str) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let slot = s.slot(vm, IPA, 3);
    let pa = s.raw_frames(1);
    s.zero(pa, 1).owner(pa, 1, 1);
    let word = s.leaf(pa, 3);
    order(&mut s).store(slot, word, store).dsb("ishst").isb().close(vm);
    s
}

#[test]
fn r29a_the_zeros_come_first() {
    zeroed_and(|s| s.dsb("ishst"), "plain").passes();
    zeroed_and(|s| s.dmb("ishst"), "plain").passes();
    zeroed_and(|s| s.dmb("ish"), "plain").passes();
    zeroed_and(|s| s, "release").passes();
}

#[test]
fn r29a_the_zeros_may_come_later() {
    zeroed_and(|s| s, "plain").fails(&["R29a"]);
    zeroed_and(|s| s.isb(), "plain").fails(&["R29a"]);
    zeroed_and(|s| s.dmb("ishld"), "plain").fails(&["R29a"]);
}

#[test]
fn r29a_zeroed_by_a_cpu_that_nobody_waited_for() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let slot = s.slot(vm, IPA, 3);
    let pa = s.raw_frames(1);
    s.on(1).zero(pa, 1).on(0).owner(pa, 1, 1);
    let word = s.leaf(pa, 3);
    s.dsb("ish").release(slot, word).dsb("ishst").close(vm);
    s.fails(&["R29a"]);
}

/// A page is written when its table is there already, and the table is linked by a store of the given order.
fn table_linked_after_its_page(order: &str) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let (pa, parent, child) = (s.raw_frames(1), s.slot(vm, IPA, 2), s.new_table());
    let word = s.leaf(pa, 3);
    s.owner(pa, 1, 1).w(child, word).dsb("ishst").zero(pa, 1).store(parent, table(child), order);
    s.dsb("ishst").close(vm);
    s
}

#[test]
fn r29a_the_contents_of_a_page_that_a_new_table_shows() {
    table_linked_after_its_page("release").passes();
    table_linked_after_its_page("plain").fails(&["R29a"]);
}

/// A page that the guest can only read is overwritten, and its entry written again, or another one made for it.
fn shown_again(slots_further: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let page = s.map_as(vm, IPA, 3, |word| word & !WRITE);
    s.lock(1).zero(page.pa, 1).w(page.slot + 8 * slots_further, page.word | 1 << 55).dsb("ishst").unlock(1);
    s
}

#[test]
fn r29a_a_page_that_is_shown_already() {
    shown_again(0).passes();
}

#[test]
fn r29a_a_page_that_is_shown_a_second_time() {
    shown_again(1).fails(&["R29a"]);
}
