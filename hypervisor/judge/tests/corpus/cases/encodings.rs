//! R15, R16, R24 and R25: what a TLBI's name and operand reach.

use crate::scene::{DEVICE, FNXS, MEM_ATTR, MIB, Machine, NON_CACHEABLE, PAGE, Page, Range, Scene, hinted, span};

const ALL: Machine = Machine::ALL_TLBIS;

/// Breaks `pages` that start at `ipa`, invalidates by the range operands, and frees the frames.
fn free_after_ranges(machine: Machine, ipa: u64, pages: u64, operands: &[u64]) -> Scene {
    free_after(machine, ipa, pages, |s| operands.iter().fold(s, |s, operand| s.tlbi_xt("ripas2e1is", *operand)))
}

fn free_after(machine: Machine, ipa: u64, pages: u64, by_address: impl FnOnce(&mut Scene) -> &mut Scene) -> Scene {
    let (mut s, vm) = Scene::with_vm(machine);
    let leaves = s.map_run(vm, ipa, 3, pages, |word| word);
    s.begin("decommit", 1, ipa, pages).lock(1);
    s.break_all(&leaves);
    s.dsb("ishst");
    by_address(&mut s);
    s.dsb("ish").tlbi("vmalle1is").dsb("ish").isb();
    s.give_back(leaves[0].pa, pages).close(vm);
    s
}

fn remap_after(machine: Machine, level: u8, xt: impl Fn(Page) -> u64) -> Scene {
    let (mut s, leaf) = Scene::with_leaf(machine, level);
    s.remap(leaf, |s| s.dsb("ishst").tlbi_xt("ipas2e1is", xt(leaf)).dsb("ish").tlbi("vmalle1is").dsb("ish"));
    s
}

#[test]
fn r16_no_hint() {
    (1..=3).for_each(|level| remap_after(ALL, level, |leaf| leaf.ipa >> 12).passes());
}

#[test]
fn r16_the_true_level() {
    (1..=3).for_each(|level| remap_after(ALL, level, |leaf| hinted(leaf.ipa, level.into())).passes());
}

#[test]
fn r16_a_page_for_a_block() {
    remap_after(ALL, 2, |leaf| hinted(leaf.ipa, 3)).fails(&["R16"]);
}

#[test]
fn r16_a_block_for_a_page() {
    remap_after(ALL, 3, |leaf| hinted(leaf.ipa, 2)).fails(&["R16"]);
}

#[test]
fn r16_a_small_block_for_a_large_one() {
    remap_after(ALL, 1, |leaf| hinted(leaf.ipa, 2)).fails(&["R16"]);
}

#[test]
fn r16_another_granule() {
    remap_after(ALL, 3, |leaf| 0b1011 << 44 | leaf.ipa >> 12).fails(&["R16"]);
    remap_after(ALL, 3, |leaf| 0b1111 << 44 | leaf.ipa >> 12).fails(&["R16"]);
}

#[test]
fn r16_bits_that_mean_nothing() {
    remap_after(ALL, 3, |leaf| 1 << 50 | leaf.ipa >> 12).fails(&["R16"]);
    remap_after(ALL, 3, |leaf| 1 << 56 | hinted(leaf.ipa, 3)).fails(&["R16"]);
}

#[test]
fn r16_a_wrong_level_in_a_range() {
    let range = Range { ipa: 0x40_0000, times: 2, scale: 0, level: 2 };
    free_after_ranges(ALL, 0x40_0000, 4, &[range.operand()]).fails(&["R16"]);
}

#[test]
fn r16_the_true_level_in_a_range() {
    let range = Range { ipa: 0x40_0000, times: 2, scale: 0, level: 3 };
    free_after_ranges(ALL, 0x40_0000, 4, &[range.operand()]).passes();
}

#[test]
fn r16_a_level_for_the_vmid_is_no_operand() {
    let (mut s, page) = Scene::with_leaf(ALL, 2);
    s.remap(page, |s| s.flush_vmid());
    s.passes();
}

#[test]
fn r25_pairs_of_pages() {
    (1..=4).for_each(|pairs| {
        free_after_ranges(ALL, 0x40_0000, 2 * pairs, &[Range::pairs(0x40_0000, pairs).operand()]).passes();
    });
}

#[test]
fn r25_two_ranges() {
    let operands = [Range::pairs(0x40_0000, 3).operand(), Range::pairs(0x40_6000, 1).operand()];
    free_after_ranges(ALL, 0x40_0000, 8, &operands).passes();
}

#[test]
fn r25_every_scale_reaches_as_far_as_it_says() {
    for (scale, pages, level) in [(0, 2, 3), (1, 64, 3), (2, 2048, 2), (3, 65536, 2)] {
        for times in [1, 3] {
            ends_of_range(Range { ipa: 0, times, scale, level: 0 }, times * pages, level);
        }
    }
}

/// A range reaches a leaf that ends where it ends, and none that starts there.
fn ends_of_range(range: Range, pages: u64, level: u8) {
    let (start, end) = (8 << 30, (8 << 30) + pages * PAGE);
    let operand = Range { ipa: start, ..range }.operand();
    for (ipa, is_reached) in [(start, true), (end - span(level), true), (end, false), (start - span(level), false)] {
        let (mut s, vm) = Scene::with_vm(ALL);
        let leaf = s.map(vm, ipa, level);
        s.remap(leaf, |s| s.flush_range(operand));
        if is_reached { s.passes() } else { s.fails(&["R25", "R8", "R1"]) }
    }
}

#[test]
fn r25_a_range_touches_a_block_that_it_is_part_of() {
    let (mut s, block) = Scene::with_leaf(ALL, 2);
    s.remap(block, |s| s.flush_range(Range::pairs(block.ipa + 64 * PAGE, 2).operand()));
    s.passes();
}

#[test]
fn r25_more_than_is_needed() {
    let wide = Range { ipa: 0, times: 32, scale: 3, level: 0 };
    free_after_ranges(ALL, 0x40_0000, 3, &[wide.operand()]).passes();
}

#[test]
fn r25_an_odd_page_has_a_tlbi_of_its_own() {
    let range = Range::pairs(0x40_0000, 4).operand();
    free_after(ALL, 0x40_0000, 9, |s| s.tlbi_xt("ripas2e1is", range).tlbi_ipa("ipas2e1is", 0x40_8000)).passes();
}

#[test]
fn r25_the_odd_page_is_dropped() {
    free_after_ranges(ALL, 0x40_0000, 9, &[Range::pairs(0x40_0000, 4).operand()]).fails(&["R25"]);
}

#[test]
fn r25_one_pair_less_than_is_needed() {
    free_after_ranges(ALL, 0x40_0000, 8, &[Range::pairs(0x40_0000, 3).operand()]).fails(&["R25"]);
}

#[test]
fn r25_the_scale_below() {
    let low = Range { ipa: 0x40_0000, times: 1, scale: 0, level: 0 };
    free_after_ranges(ALL, 0x40_0000, 64, &[low.operand()]).fails(&["R25"]);
    let right = Range { scale: 1, ..low };
    free_after_ranges(ALL, 0x40_0000, 64, &[right.operand()]).passes();
}

#[test]
fn r25_a_granule_of_zero_does_nothing() {
    let operand = Range::pairs(0x40_0000, 1).operand_for_granule(0);
    free_after_ranges(ALL, 0x40_0000, 2, &[operand]).fails(&["R25"]);
}

#[test]
fn r25_another_granule_is_not_the_tables() {
    let operand = Range::pairs(0x40_0000, 1).operand_for_granule(0b11);
    free_after_ranges(ALL, 0x40_0000, 2, &[operand]).fails(&["R25"]);
}

#[test]
fn r25_the_cpu_has_no_range_tlbis() {
    free_after_ranges(Machine::TWO, 0x40_0000, 2, &[Range::pairs(0x40_0000, 1).operand()]).fails(&["R25"]);
}

#[test]
fn r25_the_cpu_has_no_outer_forms() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.remap(page, |s| s.dsb("osh").tlbi("vmalls12e1os").dsb("osh"));
    s.fails(&["R25"]);
}

#[test]
fn r25_an_outer_range() {
    let range = Range::pairs(0x40_0000, 2).operand();
    free_after(ALL, 0x40_0000, 4, |s| s.dsb("osh").tlbi_xt("ripas2e1os", range).dsb("osh")).passes();
}

#[test]
fn r25_a_range_of_blocks() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let blocks = s.map_run(vm, 0x4000_0000, 2, 4, |word| word);
    s.begin("decommit", 1, 0x4000_0000, 2048).lock(1);
    s.break_all(&blocks);
    s.flush_range(Range { ipa: 0x4000_0000, times: 1, scale: 2, level: 2 }.operand());
    s.give_back(blocks[0].pa, 2048).close(vm);
    s.passes();
}

/// Breaks a page of the given descriptor, invalidates with or without the nXS forms, and remaps it.
fn remap_with_xs(change: fn(u64) -> u64, nxs: [bool; 2]) -> Scene {
    let (mut s, vm) = Scene::with_vm(ALL);
    let page = s.map_as(vm, 3 * MIB, 3, change);
    let (op, barrier) = (if nxs[0] { "nxs" } else { "" }, if nxs[1] { "nxs" } else { "" });
    s.remap(page, |s| {
        s.dsb("ishst").tlbi_ipa(&format!("ipas2e1is{op}"), page.ipa).dsb(&format!("ish{barrier}"));
        s.tlbi(&format!("vmalle1is{op}")).dsb(&format!("ish{barrier}"))
    });
    s
}

const fn quick(word: u64) -> u64 {
    word | FNXS
}

const fn device(word: u64) -> u64 {
    word & !MEM_ATTR | DEVICE
}

#[test]
fn r24_memory_whose_accesses_are_never_slow() {
    remap_with_xs(quick, [true, true]).passes();
    remap_with_xs(quick, [true, false]).passes();
    remap_with_xs(quick, [false, false]).passes();
}

#[test]
fn r24_a_device() {
    remap_with_xs(device, [true, true]).fails(&["R24", "R8", "R10", "R2", "R1"]);
    remap_with_xs(device, [true, false]).fails(&["R24", "R8", "R10", "R2", "R1"]);
    remap_with_xs(device, [false, true]).fails(&["R24", "R8", "R10", "R2", "R1", "R11"]);
    remap_with_xs(device, [false, false]).passes();
}

#[test]
fn r24_the_vmid_of_a_device() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let page = s.map_as(vm, 3 * MIB, 3, device);
    s.remap(page, |s| s.dsb("ishst").tlbi("vmalls12e1isnxs").dsb("ishnxs"));
    s.fails(&["R24"]);
}

#[test]
fn r24_the_cpu_has_no_such_forms() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.remap(page, |s| s.dsb("ishst").tlbi("vmalls12e1isnxs").dsb("ish"));
    s.fails(&["R24"]);
}

#[test]
fn r24_memory_that_is_cached() {
    remap_with_xs(|word| word, [true, true]).passes();
}

#[test]
fn r24_memory_that_is_not_cached() {
    remap_with_xs(|word| word & !MEM_ATTR | NON_CACHEABLE, [true, true]).fails(&["R24"]);
}

#[test]
fn r24_a_device_whose_accesses_are_never_slow() {
    remap_with_xs(|word| device(quick(word)), [true, true]).passes();
}

#[test]
fn r25_a_range_that_does_not_reach_the_next_page_that_was_taken() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let (near, far) = (s.map(vm, 0x40_0000, 3), s.map(vm, 0x40_8000, 3));
    s.begin("unmap", 1, near.ipa, 16).lock(1).break_(near).break_(far);
    s.flush_range(Range::pairs(near.ipa, 1).operand()).close(vm);
    s.fails(&["R25"]);
}

#[test]
fn r8_one_address_of_two_that_were_taken() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let (near, far) = (s.map(vm, 0x40_0000, 3), s.map(vm, 0x40_8000, 3));
    s.begin("unmap", 1, near.ipa, 16).lock(1).break_(near).break_(far).flush_ipa(near.ipa).close(vm);
    s.fails(&["R8"]);
}

#[test]
fn r8_a_range_says_nothing_of_another_cpus_page() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let (near, far) = (s.map(vm, 0x40_0000, 3), s.map(vm, 0x40_8000, 3));
    s.on(1).begin("unmap", 1, far.ipa, 1).lock(1).break_(far).dsb("ishst").unlock(1);
    s.on(0).begin("unmap", 1, near.ipa, 1).lock(1).break_(near).flush_range(Range::pairs(near.ipa, 1).operand());
    s.close(vm).on(1).end(0);
    s.fails(&["R8"]);
}

#[test]
fn r15_a_table_by_its_first_address_and_a_leaf_below_it_elsewhere() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let page = s.map(vm, 0x40_8000, 3);
    let parent = s.slot(vm, page.ipa, 2);
    s.begin("unmap", 1, 0x40_0000, 512).lock(1).w(parent, 0).flush_ipa(0x40_0000).close(vm);
    s.fails(&["R15"]);
}

#[test]
fn r8_a_leaf_below_another_table_than_the_one_that_was_invalidated() {
    let (mut s, vm) = Scene::with_vm(ALL);
    let (below, beside) = (s.map(vm, 0x40_8000, 3), s.map(vm, 0x60_8000, 3));
    let parent = s.slot(vm, below.ipa, 2);
    s.begin("unmap", 1, 0x40_0000, 1024).lock(1).break_(below).w(parent, 0).break_(beside);
    s.flush_each(&[Page { ipa: 0x40_0000, ..below }, below]).close(vm);
    s.fails(&["R8"]);
}
