//! R45 to R47: the shape of a tree, and the root that it needs.

use crate::scene::{GIB, Machine, PAGE, Page, Scene, Vm, judged};

/// Has a tree of the shape run, and maps its first and its last page.
fn shaped(machine: Machine, bits: u32, start: u8) -> Scene {
    let mut s = Scene::new(machine);
    let vm = s.tree(1, 1, bits, start);
    s.enter_everywhere(vm);
    s.map(vm, 0, 3);
    let last = s.map(vm, (1 << bits) - PAGE, 3);
    s.unmap(last);
    s
}

/// Enters a VM by these values of VTCR_EL2 and VTTBR_EL2.
fn entered(machine: Machine, root_pages: u64, vtcr: u64, vttbr: u64) -> Scene {
    let mut s = Scene::new(machine);
    let root = 0x4020_0000;
    s.alloc(root, root_pages, "table").zero(root, root_pages).dsb("ishst");
    s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vttbr).msr("hcr_el2", machine.hcr()).isb().eret(1, 0).exc(1, 0);
    s
}

const ROOT: u64 = 0x4020_0000;
const VTTBR: u64 = 1 << 48 | ROOT;

fn vtcr(bits: u32, start: u8) -> u64 {
    Machine::TWO.vtcr(bits, start)
}

#[test]
fn r45_trees_that_start_at_level_0() {
    (44..=48).for_each(|bits| shaped(Machine::TWO, bits, 0).passes());
    shaped(Machine::TWO, 40, 0).passes();
}

#[test]
fn r45_trees_that_start_at_level_1() {
    (31..=43).for_each(|bits| shaped(Machine::TWO, bits, 1).passes());
}

#[test]
fn r45_trees_that_start_at_level_2() {
    (30..=34).for_each(|bits| shaped(Machine::TWO, bits, 2).passes());
    shaped(Machine::TWO, 25, 2).passes();
}

#[test]
fn r45_widths_that_their_level_cannot_have() {
    for (bits, start) in [(39, 0), (30, 1), (44, 1), (48, 1), (35, 2), (39, 2)] {
        entered(Machine::TWO, 16, vtcr(bits, start), VTTBR).fails(&["R45"]);
    }
}

#[test]
fn r45_level_0_on_a_machine_of_few_bits() {
    let small = Machine { parange: 42, ..Machine::TWO };
    entered(small, 1, small.vtcr(40, 0), VTTBR).fails(&["R45"]);
    entered(small, 2, small.vtcr(40, 1), VTTBR).passes();
}

#[test]
fn r45_level_3_without_small_translation_tables() {
    let vtcr = vtcr(21, 2) | 0b11 << 6;
    entered(Machine::TWO, 1, vtcr, VTTBR).fails(&["R45"]);
}

#[test]
fn r45_another_granule() {
    for granule in [0b01, 0b10] {
        entered(Machine::TWO, 1, vtcr(39, 1) | granule << 14, VTTBR).fails(&["R45"]);
    }
}

#[test]
fn r45_a_bit_that_must_be_one() {
    entered(Machine::TWO, 1, vtcr(39, 1) & !(1 << 31), VTTBR).fails(&["R45"]);
}

#[test]
fn r45_more_physical_bits_than_there_are() {
    let small = Machine { parange: 40, ..Machine::TWO };
    entered(small, 1, small.vtcr(39, 1), VTTBR).passes();
    entered(small, 1, vtcr(39, 1), VTTBR).fails(&["R45"]);
}

#[test]
fn r45_fewer_physical_bits_than_there_are() {
    entered(Machine::TWO, 1, vtcr(39, 1) & !(0b111 << 16) | 0b010 << 16, VTTBR).passes();
}

#[test]
fn r46_adjacent_roots() {
    for (bits, pages) in [(40, 2), (41, 4), (42, 8), (43, 16)] {
        entered(Machine::TWO, pages, vtcr(bits, 1), VTTBR).passes();
    }
    entered(Machine::TWO, 16, vtcr(34, 2), VTTBR).passes();
}

#[test]
fn r46_a_root_that_is_not_aligned_to_all_of_it() {
    entered(Machine::TWO, 4, vtcr(40, 1), VTTBR + PAGE).fails(&["R46"]);
    entered(Machine::TWO, 16, vtcr(42, 1), VTTBR + 4 * PAGE).fails(&["R46"]);
}

#[test]
fn r46_a_page_of_the_root_is_missing() {
    entered(Machine::TWO, 1, vtcr(40, 1), VTTBR).fails(&["R46"]);
    entered(Machine::TWO, 15, vtcr(43, 1), VTTBR).fails(&["R46"]);
}

#[test]
fn r46_the_last_page_of_the_root_is_no_child() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 40, 1);
    s.enter_everywhere(vm);
    s.begin("map", 1, 0, 1).lock(1).release(vm.root, 0b11 | (vm.root + PAGE)).dsb("ishst").close(vm);
    s.fails(&["R30"]);
}

#[test]
fn r46_a_page_of_the_root_is_freed() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 40, 1);
    s.enter_everywhere(vm);
    s.lock(1).free(vm.root + PAGE, 1).unlock(1);
    s.fails(&["R32", "R46", "R35"]);
}

#[test]
fn r47_a_root_below_a_page() {
    entered(Machine::TWO, 1, vtcr(39, 1), VTTBR | 1 << 5).fails(&["R47"]);
}

#[test]
fn r47_a_root_past_the_physical_addresses() {
    let small = Machine { parange: 40, ..Machine::TWO };
    entered(small, 1, small.vtcr(39, 1), VTTBR | 1 << 44).fails(&["R47"]);
}

#[test]
fn r47_a_small_root_is_in_a_page_all_the_same() {
    let vm = Vm { id: 1, vmid: 1, root: ROOT, bits: 31, start: 1 };
    entered(Machine::TWO, 1, vtcr(31, 1), vm.vttbr()).passes();
}

#[test]
fn r45_wider_addresses_than_the_machines() {
    for (parange, is_wrong) in [(40, true), (42, true), (44, false)] {
        let mut s = Scene::new(Machine { parange, ..Machine::TWO });
        let vm = s.tree(1, 1, 43, 1);
        s.enter(vm);
        if is_wrong { s.fails(&["R45"]) } else { s.passes() }
    }
}

#[test]
fn r45_level_0_on_a_machine_of_44_bits() {
    let mut s = Scene::new(Machine { parange: 44, ..Machine::TWO });
    let vm = s.tree(1, 1, 44, 0);
    s.enter(vm);
    s.passes();
}

#[test]
fn r31_every_width_of_output_addresses() {
    for (ps, bits) in [(0, 32), (1, 36), (2, 40), (3, 42), (4, 44)] {
        for (address, is_wrong) in [(1 << (bits - 1), false), (1 << bits, true)] {
            let mut s = Scene::new(Machine::TWO);
            let vm = s.tree(1, 1, 39, 1);
            let vtcr = Machine::TWO.vtcr(39, 1) & !(0b111 << 16) | ps << 16;
            s.msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr()).msr("hcr_el2", Machine::TWO.hcr()).isb();
            s.lock(1);
            let (slot, word) = (s.slot(vm, 0, 3), s.leaf(address, 3));
            s.w(slot, word).dsb("ishst").unlock(1);
            if is_wrong { s.fails(&["R31"]) } else { s.passes() }
        }
    }
}

#[test]
fn r50_what_is_beyond_the_root_is_nothing() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map(vm, 2 << 30, 3);
    s.begin("unmap", 1, 1 << 39, 1).end(0);
    s.passes();
}

#[test]
fn r47_a_root_of_one_table_is_not_one_of_several() {
    let judged = judged(&entered(Machine::TWO, 1, vtcr(39, 1), VTTBR | 1 << 5).text());
    let rules: Vec<_> = judged.violations.iter().map(|found| found.rule).collect();
    assert_eq!(rules, ["R47"]);
}

/// A VM of 40 bits, whose root is two tables, and a page whose entry is in the second of them.
fn page_in_the_second_root_table() -> (Scene, Page) {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 40, 1);
    s.enter_everywhere(vm);
    let page = s.map(vm, 600 * GIB, 3);
    (s, page)
}

#[test]
fn r46_a_page_in_the_second_root_table() {
    let (mut s, page) = page_in_the_second_root_table();
    s.remap(page, |s| s.flush_ipa(page.ipa)).passes();
}

#[test]
fn r50_a_page_in_the_second_root_table_is_left() {
    let (mut s, page) = page_in_the_second_root_table();
    s.open("unmap", page).close(page.vm);
    s.fails(&["R50"]);
}

#[test]
fn r50_what_lies_behind_the_root_is_no_part_of_it() {
    let mut s = Scene::new(Machine::TWO);
    let vm = s.tree(1, 1, 39, 1);
    s.enter_everywhere(vm);
    let block = s.map(vm, 0, 2);
    assert_eq!(block.slot, vm.root + PAGE, "the next table has an entry that would be a giant's");
    s.begin("unmap", 1, 1 << 39, 1).end(0);
    s.passes();
}
