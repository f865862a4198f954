//! R31: descriptors that mean something.

use crate::scene::{
    ACCESSED, EXECUTE_NEVER, FNXS, FWB, IPA, MEM_ATTR, MIB, Machine, NO_CACHING, PAGE, SHAREABILITY, Scene, WRITE_BACK,
    XN_SPLIT, span, table,
};

/// Maps a leaf of the level that is well-formed but for `change`.
fn mapped(machine: Machine, level: u8, change: impl Fn(u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(machine);
    s.map_as(vm, IPA, level, change);
    s
}

fn wrong(level: u8, change: impl Fn(u64) -> u64) {
    mapped(Machine::TWO, level, change).fails(&["R31"]);
}

#[test]
fn r31_leaves_of_every_level() {
    (1..=3).for_each(|level| mapped(Machine::TWO, level, |word| word).passes());
}

#[test]
fn r31_a_page_that_says_it_is_a_block() {
    wrong(3, |word| word & !0b10);
}

#[test]
fn r31_a_block_that_says_it_is_a_table() {
    mapped(Machine::TWO, 2, |word| word | 0b10).fails(&["R31", "R30", "R29"]);
    mapped(Machine::TWO, 1, |word| word | 0b10).fails(&["R31", "R30", "R29"]);
}

#[test]
fn r31_a_block_at_level_0() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 48, 0);
    s.enter_everywhere(vm);
    s.begin("map", 1, 0, span(0) / PAGE).lock(1);
    let word = s.leaf(0, 2);
    s.w(vm.root, word).dsb("ishst").close(vm);
    s.fails(&["R31"]);
}

#[test]
fn r31_memory_that_is_not_aligned_to_the_level() {
    wrong(2, |word| word + 17 * PAGE);
    wrong(1, |word| word + 2 * MIB);
}

#[test]
fn r31_addresses_past_the_physical_ones() {
    let small = Machine { parange: 40, ..Machine::TWO };
    mapped(small, 3, |word| word | 1 << 40).fails(&["R31"]);
    mapped(small, 3, |word| word | 1 << 47).fails(&["R31"]);
    mapped(Machine::TWO, 3, |word| word | 1 << 48).fails(&["R31"]);
    mapped(Machine::TWO, 3, |word| word | 1 << 50).fails(&["R31"]);
}

#[test]
fn r31_addresses_past_those_that_the_register_grants() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    let vtcr = Machine::TWO.vtcr(39, 1) & !(0b111 << 16) | 0b010 << 16;
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", Machine::TWO.hcr()).isb().eret(1, 0).exc(1, 0);
    s.map_as(vm, IPA, 3, |word| word | 1 << 40);
    s.fails(&["R31"]);
}

#[test]
fn r31_a_table_past_the_physical_addresses() {
    let (mut s, vm) = Scene::with_vm(Machine { parange: 40, ..Machine::TWO });
    s.begin("map", 1, 0, 1).lock(1).alloc(1 << 41, 1, "table").zero(1 << 41, 1);
    s.release(vm.root, table(1 << 41)).dsb("ishst").close(vm);
    s.fails(&["R31"]);
}

#[test]
fn r31_memory_types_that_are_reserved() {
    let with = |attributes: u64| move |word: u64| word & !MEM_ATTR | attributes << 2;
    for attributes in [0b0100, 0b1000, 0b1100] {
        mapped(Machine::OLD_CACHES, 3, with(attributes)).fails(&["R31"]);
    }
    wrong(3, with(0b0100));
}

#[test]
fn r31_the_old_encoding_where_write_back_is_forced() {
    mapped(Machine::TWO, 3, |word| word & !MEM_ATTR | WRITE_BACK).fails(&["R31"]);
}

#[test]
fn r31_the_guests_own_memory_types() {
    // With forced write-back 0b0111 takes stage 1's type, which may look past the caches.
    mapped(Machine::TWO, 3, |word| word & !MEM_ATTR | 0b0111 << 2).fails(&["R31", "R36"]);
}

#[test]
fn r31_memory_types_of_both_readings() {
    for memory in [0b0000, 0b0001, 0b0010, 0b0011, 0b0101, 0b0110] {
        mapped(Machine::TWO, 3, |word| word & !MEM_ATTR | memory << 2).passes();
    }
    for memory in [0b0000, 0b0001, 0b0010, 0b0011, 0b0101, 0b1010, 0b1111] {
        mapped(Machine::OLD_CACHES, 3, |word| word & !MEM_ATTR | memory << 2).passes();
    }
}

#[test]
fn r31_forced_write_back_is_hcrs_word_and_not_the_machines() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    let hcr = Machine::TWO.hcr() & !FWB;
    s.msr("vtcr_el2", Machine::TWO.vtcr(39, 1)).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", hcr).isb();
    s.eret(1, 0).exc(1, 0).begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 1);
    s.dc("cvac", pa, PAGE).dsb("ish");
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3) & !MEM_ATTR | WRITE_BACK);
    s.w(slot, word).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r31_execution_apart_for_el1_and_el0() {
    let apart = Machine { xnx: true, ..Machine::TWO };
    for bits in [0, XN_SPLIT, EXECUTE_NEVER, EXECUTE_NEVER | XN_SPLIT] {
        mapped(apart, 3, |word| word & !(EXECUTE_NEVER | XN_SPLIT) | bits).passes();
    }
    wrong(3, |word| word & !EXECUTE_NEVER | XN_SPLIT);
}

#[test]
fn r31_the_access_flag_where_the_owner_wants_it() {
    let strict = Machine { af: true, ..Machine::TWO };
    mapped(strict, 3, |word| word).passes();
    mapped(strict, 3, |word| word & !ACCESSED).fails(&["R31"]);
    mapped(Machine::TWO, 3, |word| word & !ACCESSED).passes();
}

#[test]
fn r31_the_owner_may_clear_the_access_flag_later() {
    let (mut s, page) = Scene::with_page(Machine { af: true, ..Machine::TWO });
    s.change("age", page, page.word & !ACCESSED, |s| s.flush_ipa(page.ipa));
    s.passes();
}

#[test]
fn r31_the_mark_of_a_block_that_is_not_cached() {
    wrong(2, |word| word | NO_CACHING);
}

#[test]
fn r31_what_is_not_valid_may_hold_anything() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page);
    s.open("map", page).w(page.slot, !1).w(page.slot, 0x5555_5555_5555_5554).close(page.vm);
    s.passes();
}

#[test]
fn r31_notes_of_software_in_a_table() {
    // Bits 58 to 55 and 63 are no business of the walk's in a stage-2 table descriptor.
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, 0, 1).lock(1);
    let child = s.new_table();
    s.release(vm.root, table(child) | 0b1010 << 55).dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r31_a_shareability_that_is_reserved() {
    wrong(3, |word| word & !SHAREABILITY | 0b01 << 8);
    for shareability in [0b00, 0b10, 0b11] {
        mapped(Machine::TWO, 3, |word| word & !SHAREABILITY | shareability << 8).passes();
    }
}

#[test]
fn r31_a_bit_of_accesses_that_are_never_slow() {
    wrong(3, |word| word | FNXS);
    mapped(Machine::ALL_TLBIS, 3, |word| word | FNXS).passes();
}

#[test]
fn r31_reserved_bits_of_a_table() {
    for bit in [59, 62, 63] {
        let (mut s, vm) = Scene::with_vm(Machine::TWO);
        s.begin("map", 1, 0, 1).lock(1);
        let child = s.new_table();
        s.release(vm.root, table(child) | 1 << bit).dsb("ishst").close(vm);
        s.fails(&["R31"]);
    }
}
