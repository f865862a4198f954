//! R36 to R38: data and instruction caches, where the machine does not keep them coherent by itself.

use crate::scene::{
    DEVICE, EXECUTE_NEVER, FORCED_WRITE_BACK, FWB, IPA, MEM_ATTR, Machine, PAGE, Page, Scene, Vm, WRITE, WRITE_BACK,
    table,
};

const OLD: Machine = Machine::OLD_CACHES;

/// Maps a new page, with `clean` between the zeros and the entry.
fn exposed_after(machine: Machine, clean: impl FnOnce(&mut Scene, u64)) -> Scene {
    let (mut s, vm) = Scene::with_vm(machine);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(1);
    s.zero(pa, 1).owner(pa, 1, 1);
    clean(&mut s, pa);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, word).dsb("ishst").close(vm);
    s
}

#[test]
fn r36_cleaned_before_it_is_exposed() {
    for op in ["cvac", "civac"] {
        exposed_after(OLD, |s, pa| _ = s.dc(op, pa, PAGE).dsb("ish")).passes();
        exposed_after(OLD, |s, pa| _ = s.dc(op, pa, PAGE).dsb("sy")).passes();
    }
}

#[test]
fn r36_not_cleaned() {
    exposed_after(OLD, |s, _| _ = s.dsb("ish")).fails(&["R36"]);
}

#[test]
fn r36_half_cleaned() {
    exposed_after(OLD, |s, pa| _ = s.dc("cvac", pa, PAGE / 2).dsb("ish")).fails(&["R36"]);
    exposed_after(OLD, |s, pa| _ = s.dc("cvac", pa, 64).dsb("ish")).fails(&["R36"]);
}

#[test]
fn r36_cleaned_in_two_halves() {
    let halves = |s: &mut Scene, pa: u64| _ = s.dc("cvac", pa, 0x800).dc("cvac", pa + 0x800, 0x800).dsb("ish");
    exposed_after(OLD, halves).passes();
}

#[test]
fn r36_cleaned_and_not_waited_for() {
    exposed_after(OLD, |s, pa| _ = s.dsb("ish").dc("cvac", pa, PAGE)).fails(&["R36", "R29a"]);
}

#[test]
fn r36_cleaned_no_further_than_to_where_instructions_come_from() {
    exposed_after(OLD, |s, pa| _ = s.dc("cvau", pa, PAGE).dsb("ish")).fails(&["R36"]);
}

#[test]
fn r36_invalidated_instead_of_cleaned() {
    exposed_after(OLD, |s, pa| _ = s.dc("ivac", pa, PAGE).dsb("ish")).fails(&["R36"]);
}

#[test]
fn r36_another_page_is_cleaned() {
    exposed_after(OLD, |s, pa| _ = s.dc("cvac", pa + PAGE, PAGE).dsb("ish")).fails(&["R36"]);
}

#[test]
fn r36_cleaned_before_it_is_zeroed() {
    exposed_after(OLD, |s, pa| _ = s.dc("cvac", pa, PAGE).dsb("ish").zero(pa, 1).dsb("ish")).fails(&["R36"]);
}

#[test]
fn r36_forced_write_back_needs_no_cleaning() {
    exposed_after(Machine::TWO, |s, _| _ = s.dsb("ishst")).passes();
}

#[test]
fn r36_forced_write_back_that_is_not_turned_on() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    let (vtcr, hcr) = (Machine::TWO.vtcr(39, 1), Machine::TWO.hcr() & !FWB);
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", hcr).isb().eret(1, 0).exc(1, 0);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3) & !MEM_ATTR | WRITE_BACK);
    s.w(slot, word).dsb("ishst").close(vm);
    s.fails(&["R36"]);
}

#[test]
fn r36_the_old_encoding_where_write_back_is_forced() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map_as(vm, IPA, 3, |word| word & !MEM_ATTR | WRITE_BACK);
    s.fails(&["R36", "R31"]);
}

#[test]
fn r36_the_new_encoding_where_write_back_is_not_forced() {
    // 0b0110 is outer non-cacheable and inner write-through there: legal, and not what was meant.
    let (mut s, vm) = Scene::with_vm(OLD);
    s.map_as(vm, IPA, 3, |word| word & !MEM_ATTR | FORCED_WRITE_BACK);
    s.passes();
}

/// Takes a page back, with `clean` between the invalidation and the return to the allocator, and uses it for another VM.
fn taken_back_after(machine: Machine, clean: impl FnOnce(&mut Scene, Page)) -> Scene {
    let (mut s, page) = Scene::with_page(machine);
    let other = s.other_vm(page.vm);
    s.unmap(page);
    clean(&mut s, page);
    s.lock(1).owner(page.pa, 1, 0).free(page.pa, 1).unlock(1);
    s.load(other).begin("commit", 2, 0, 1).lock(2).alloc(page.pa, 1, "guest").fill(page.pa, 1).owner(page.pa, 1, 2);
    let slot = s.dsb("ishst").slot(other, 0, 3);
    s.w(slot, page.word).dsb("ishst").close(other);
    s
}

#[test]
fn r36_cleaned_when_it_is_taken_back() {
    taken_back_after(OLD, |s, page| _ = s.dc("civac", page.pa, PAGE).dsb("ish")).passes();
}

#[test]
fn r36_not_cleaned_when_it_is_taken_back() {
    taken_back_after(OLD, |_, _| {}).fails(&["R36"]);
}

#[test]
fn r36_cleaned_before_the_guest_is_done_with_it() {
    let (mut s, page) = Scene::with_page(OLD);
    s.dc("civac", page.pa, PAGE).dsb("ish").unmap(page).lock(1).owner(page.pa, 1, 0).free(page.pa, 1).unlock(1);
    s.fails(&["R36"]);
}

#[test]
fn r36_taken_back_where_write_back_is_forced() {
    taken_back_after(Machine::TWO, |_, _| {}).passes();
}

#[test]
fn r36_a_device_is_not_cached() {
    let (mut s, vm) = Scene::with_vm(OLD);
    s.begin("map", 1, IPA, 1).lock(1);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(0x900_0000, 3) & !MEM_ATTR | DEVICE);
    s.w(slot, word).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r36_a_whole_block() {
    let (mut s, block) = Scene::with_leaf(OLD, 2);
    s.open("decommit", block).break_(block).flush_ipa(block.ipa).give_back(block.pa, 512).close(block.vm);
    s.passes();
}

/// Maps an executable page on a machine whose caches need what `idc` and `dic` do not spare, with `sync` before the entry.
fn executable_after(machine: Machine, sync: impl FnOnce(&mut Scene, u64)) -> Scene {
    let (mut s, vm) = Scene::with_vm(machine);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    sync(&mut s, pa);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3) & !EXECUTE_NEVER);
    s.w(slot, word).dsb("ishst").close(vm);
    s
}

const fn coherent(idc: bool, dic: bool) -> Machine {
    Machine { idc, dic, ..Machine::TWO }
}

#[test]
fn r37_both_sides_are_kept_coherent() {
    let both = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish").ic("ialluis").dsb("ish").isb();
    executable_after(coherent(false, false), both).passes();
}

#[test]
fn r37_a_clean_to_where_memory_is_coherent_goes_further() {
    let both = |s: &mut Scene, pa: u64| _ = s.dc("civac", pa, PAGE).dsb("ish").ic("ialluis").dsb("ish").isb();
    executable_after(coherent(false, false), both).passes();
}

#[test]
fn r37_nothing_is_done() {
    executable_after(coherent(false, false), |_, _| {}).fails(&["R37"]);
}

#[test]
fn r37_no_instruction_invalidation() {
    let clean = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish");
    executable_after(coherent(false, false), clean).fails(&["R37"]);
    executable_after(coherent(true, false), clean).fails(&["R37"]);
    executable_after(coherent(false, true), clean).passes();
}

#[test]
fn r37_no_data_clean() {
    let invalidate = |s: &mut Scene, _: u64| _ = s.ic("ialluis").dsb("ish").isb();
    executable_after(coherent(false, false), invalidate).fails(&["R37"]);
    executable_after(coherent(false, true), invalidate).fails(&["R37"]);
    executable_after(coherent(true, false), invalidate).passes();
}

#[test]
fn r37_nothing_is_needed() {
    executable_after(coherent(true, true), |_, _| {}).passes();
}

#[test]
fn r37_in_the_wrong_order() {
    let swapped = |s: &mut Scene, pa: u64| _ = s.ic("ialluis").dsb("ish").dc("cvau", pa, PAGE).dsb("ish").isb();
    executable_after(coherent(false, false), swapped).fails(&["R37"]);
}

#[test]
fn r37_only_this_cpus_instructions_are_invalidated() {
    let local = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish").ic("iallu").dsb("nsh").isb();
    executable_after(coherent(false, false), local).fails(&["R37"]);
}

#[test]
fn r37_not_waited_for() {
    let hasty = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish").ic("ialluis");
    executable_after(coherent(false, false), hasty).fails(&["R37"]);
}

#[test]
fn r37_what_is_never_executed_needs_nothing() {
    let (mut s, vm) = Scene::with_vm(coherent(false, false));
    s.map(vm, IPA, 3);
    s.passes();
}

/// Makes a page executable that was not, with `sync` before.
fn made_executable_after(sync: impl FnOnce(&mut Scene, Page)) -> Scene {
    let (mut s, page) = Scene::with_page(coherent(false, false));
    s.open("protect", page);
    sync(&mut s, page);
    s.w(page.slot, page.word & !EXECUTE_NEVER).dsb("ishst").close(page.vm);
    s
}

#[test]
fn r37_becomes_executable() {
    let both = |s: &mut Scene, page: Page| _ = s.dc("cvau", page.pa, PAGE).dsb("ish").ic("ialluis").dsb("ish").isb();
    made_executable_after(both).passes();
    made_executable_after(|_, _| {}).fails(&["R37"]);
}

/// An operation on the page at `ipa` breaks an executable page, whose contents were cleaned for nobody, and brings it back.
fn brought_back_by(ipa: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(coherent(false, false));
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    s.dc("cvau", pa, PAGE).dsb("ish").ic("ialluis").dsb("ish").isb();
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3) & !EXECUTE_NEVER);
    s.w(slot, word).dsb("ishst").close(vm);
    // The hypervisor writes to the page, and cleans a part of it.
    s.dc("civac", pa, 64).dsb("sy");
    s.begin("protect", 1, ipa, 1).lock(1).w(slot, 0).dsb("ish").flush_ipa(IPA);
    s.w(slot, word).dsb("ishst").close(vm);
    s
}

#[test]
fn r37_what_comes_back_was_executable_before() {
    brought_back_by(IPA + PAGE).passes();
    brought_back_by(IPA).fails(&["R37"]);
}

/// An operation splits an executable block, whose contents were cleaned for nobody since, for a change of its page 7.
fn block_split_with(change: impl FnOnce(u64) -> u64) -> Scene {
    let machine = coherent(false, false);
    let (mut s, vm) = Scene::with_vm(machine);
    s.begin("map", 1, IPA, 512).lock(1);
    let pa = s.frames(vm, 512);
    s.dc("cvau", pa, 512 * PAGE).dsb("ish").ic("ialluis").dsb("ish").isb();
    let (slot, word) = (s.slot(vm, IPA, 2), s.leaf(pa, 2) & !EXECUTE_NEVER);
    s.w(slot, word).dsb("ishst").close(vm);
    // The hypervisor writes to the page, and cleans a part of it.
    s.dc("civac", pa + 7 * PAGE, 64).dsb("sy");
    let block = Page { vm, ipa: IPA, level: 2, pa, slot, word };
    s.begin("protect", 1, IPA + 7 * PAGE, 1).lock(1);
    let child = s.child_of(block);
    let changed = change(s.read(child + 7 * 8));
    s.w(child + 7 * 8, changed);
    s.break_(block).flush_ipa(IPA).release(slot, table(child));
    s.dsb("ishst").isb().close(vm);
    s
}

#[test]
fn r37_a_block_that_is_split_was_executable_before() {
    block_split_with(|word| word).passes();
    block_split_with(|word| word & !WRITE).passes();
}

fn with_walk_attributes(change: impl Fn(u64) -> u64) -> Scene {
    let mut s = Scene::new(Machine::TWO);
    let vm: Vm = s.tree(1, 1, 39, 1);
    let vtcr = change(Machine::TWO.vtcr(39, 1));
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", Machine::TWO.hcr()).isb().eret(1, 0).exc(1, 0);
    s.map(vm, IPA, 3);
    s
}

#[test]
fn r38_walks_see_tables_as_they_are_written() {
    with_walk_attributes(|vtcr| vtcr).passes();
    // Read-allocate only is write-back all the same.
    with_walk_attributes(|vtcr| vtcr | 0b1010 << 8).passes();
}

#[test]
fn r38_walks_that_look_past_the_caches() {
    with_walk_attributes(|vtcr| vtcr & !(0b1111 << 8)).fails(&["R38"]);
    with_walk_attributes(|vtcr| vtcr & !(0b11 << 8)).fails(&["R38"]);
    with_walk_attributes(|vtcr| vtcr & !(0b11 << 10)).fails(&["R38"]);
}

#[test]
fn r38_walks_that_are_not_shared() {
    with_walk_attributes(|vtcr| vtcr & !(0b11 << 12)).fails(&["R38"]);
}

/// Maps four new pages, cleaned as given.
fn four_exposed_after(cleans: &[(u64, u64)]) -> Scene {
    let (mut s, vm) = Scene::with_vm(OLD);
    s.begin("map", 1, IPA, 4).lock(1);
    let pa = s.raw_frames(4);
    s.zero(pa, 4).owner(pa, 4, 1);
    cleans.iter().for_each(|(from, to)| _ = s.dc("cvac", pa + from, to - from));
    s.dsb("ish");
    for number in 0..4 {
        let (slot, word) = (s.slot(vm, IPA + number * PAGE, 3), s.leaf(pa + number * PAGE, 3));
        s.w(slot, word);
    }
    s.dsb("ishst").close(vm);
    s
}

#[test]
fn r36_cleaned_in_parts_that_are_no_pages() {
    let (end, half) = (4 * PAGE, PAGE / 2);
    four_exposed_after(&[(0, end)]).passes();
    four_exposed_after(&[(0, half), (half, PAGE + half), (PAGE + half, end)]).passes();
    four_exposed_after(&[(0, half), (half, 3 * PAGE + half), (3 * PAGE + half, end)]).passes();
    four_exposed_after(&[(0, half), (half, PAGE), (PAGE, 2 * PAGE), (2 * PAGE, end)]).passes();
    for gap in 0..8 {
        let (from, to) = (gap * half, (gap + 1) * half);
        four_exposed_after(&[(0, from), (to, end)]).fails(&["R36"]);
    }
}

#[test]
fn r29a_the_neighbour_of_what_is_cleaned_is_left_alone() {
    let (mut s, vm) = Scene::with_vm(OLD);
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.raw_frames(2);
    s.zero(pa, 2).owner(pa, 2, 1).dc("cvac", pa + PAGE, PAGE).dsb("ish").dc("cvac", pa, PAGE);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa + PAGE, 3));
    s.w(slot, word).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r37_overwritten_after_it_was_made_coherent() {
    let machine = Machine { idc: false, ..Machine::TWO };
    let coherent = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish");
    executable_after(machine, coherent).passes();
    let overwritten = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish").zero(pa, 1).dsb("ish");
    executable_after(machine, overwritten).fails(&["R37"]);
}

#[test]
fn r37_the_instructions_of_the_only_cpu_are_invalidated() {
    let one = Machine { idc: false, dic: false, ..Machine::ONE };
    let local = |s: &mut Scene, pa: u64| _ = s.dc("cvau", pa, PAGE).dsb("ish").ic("iallu").dsb("ish");
    executable_after(one, local).passes();
    executable_after(Machine { cpus: 2, ..one }, local).fails(&["R37"]);
}

/// An operation breaks a page beside its range and stores it again, changed.
fn neighbour_after(change: impl Fn(u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(OLD);
    let pages = s.map_run(vm, IPA, 3, 2, |word| word);
    s.open("map", pages[0]).break_(pages[1]).flush_ipa(pages[1].ipa).make(pages[1].slot, change(pages[1].word));
    s.close(vm);
    s
}

#[test]
fn r37_a_neighbour_that_is_brought_back_and_can_be_executed_now() {
    neighbour_after(|word| word).passes();
    neighbour_after(|word| word & !EXECUTE_NEVER).fails(&["R37"]);
}
