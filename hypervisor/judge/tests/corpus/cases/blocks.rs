//! R5, R5a, R5b and R51: a block becomes a table, and a table a block.

use crate::scene::{
    ACCESSED, CONTIGUOUS, DIRTY_MANAGED, EXECUTE_NEVER, GIB, IPA, MIB, Machine, NO_CACHING, OUTPUT, PAGE, Page,
    SOFTWARE, Scene, Vm, WRITE, table,
};

fn block_on(machine: Machine) -> (Scene, Page) {
    Scene::with_leaf(machine, 2)
}

/// Splits a block for a change of its page 7: `replace` has the table take the block's place.
fn split(machine: Machine, replace: impl FnOnce(&mut Scene, Page, u64)) -> Scene {
    let (mut s, block) = block_on(machine);
    s.begin("protect", 1, block.ipa + 7 * PAGE, 1).lock(1);
    let child = s.child_of(block);
    replace(&mut s, block, child);
    s.dsb("ishst").isb().close(block.vm);
    s
}

fn by_break(s: &mut Scene, block: Page, child: u64) {
    s.break_(block).flush_ipa(block.ipa).release(block.slot, table(child));
}

/// A VM with a table of 512 pages that are as good as a block.
struct Mergeable {
    vm: Vm,
    parent: u64,
    child: u64,
    block: u64,
}

fn mergeable(machine: Machine) -> (Scene, Mergeable) {
    let (mut s, vm) = Scene::with_vm(machine);
    let pages = s.map_run(vm, IPA, 3, 512, |word| word);
    let parent = s.slot(vm, IPA, 2);
    let child = s.read(parent) & OUTPUT;
    let block = s.leaf(pages[0].pa, 2);
    (s, Mergeable { vm, parent, child, block })
}

/// Puts the block in the table's place.
fn merge(machine: Machine, replace: impl FnOnce(&mut Scene, &Mergeable)) -> Scene {
    let (mut s, m) = mergeable(machine);
    s.begin("map", 1, IPA, 512).lock(1);
    replace(&mut s, &m);
    s.dsb("ishst").isb().unlock(1).end(0);
    s.free(m.child, 1);
    s
}

#[test]
fn r5_a_split_by_a_break() {
    split(Machine::TWO, by_break).passes();
}

#[test]
fn r5_a_split_by_a_break_of_the_whole_vmid() {
    split(Machine::TWO, |s, block, child| {
        s.break_(block).flush_vmid().release(block.slot, table(child));
    })
    .passes();
}

#[test]
fn r5_a_split_in_place() {
    split(Machine::TWO, |s, block, child| {
        s.release(block.slot, table(child)).flush_ipa(block.ipa);
    })
    .fails(&["R5"]);
}

#[test]
fn r5_a_split_whose_break_is_not_invalidated() {
    split(Machine::TWO, |s, block, child| {
        s.break_(block).dsb("ish").release(block.slot, table(child));
    })
    .fails(&["R5", "R8"]);
}

#[test]
fn r5_level_2_that_the_machine_does_not_have() {
    split(Machine::bbm(1), |s, block, child| {
        s.release(block.slot, table(child)).flush_ipa(block.ipa);
    })
    .fails(&["R5", "R5a"]);
}

#[test]
fn r5_level_2_that_the_policy_does_not_grant() {
    let mut s = split(Machine::bbm(2), |s, block, child| {
        s.release(block.slot, table(child)).flush_ipa(block.ipa);
    });
    s.policy("bbm=0x0").fails(&["R5"]);
}

#[test]
fn r5_level_2_that_the_vm_does_not_use() {
    let mut s = Scene::new(Machine::bbm(2));
    let vm = s.tree(1, 1, 39, 1);
    s.line(format!("VM vm=0x1 vttbr={:#x} bbm=0x0", vm.vttbr())).enter_everywhere(vm);
    let block = s.map(vm, IPA, 2);
    s.begin("protect", 1, IPA, 1).lock(1);
    let child = s.child_of(block);
    s.release(block.slot, table(child)).flush_ipa(IPA).close(vm);
    s.fails(&["R5"]);
}

#[test]
fn r5_a_large_block() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 1);
    s.begin("protect", 1, block.ipa, 512).lock(1);
    let child = s.child_of(block);
    by_break(&mut s, block, child);
    s.dsb("ishst").close(block.vm);
    s.passes();
}

#[test]
fn r5_a_merge_by_a_break() {
    merge(Machine::TWO, |s, m| {
        s.w(m.parent, 0).flush_vmid().w(m.parent, m.block);
    })
    .passes();
}

#[test]
fn r5_a_merge_in_place() {
    merge(Machine::TWO, |s, m| {
        s.w(m.parent, m.block).flush_vmid();
    })
    .fails(&["R5"]);
}

#[test]
fn r5_a_merge_that_invalidates_the_table_and_not_its_pages() {
    merge(Machine::TWO, |s, m| {
        s.w(m.parent, 0).flush_ipa(IPA).w(m.parent, m.block);
    })
    .fails(&["R5", "R15", "R8", "R1"]);
}

#[test]
fn r5_a_merge_whose_break_is_not_invalidated() {
    merge(Machine::TWO, |s, m| {
        s.w(m.parent, 0).dsb("ish").w(m.parent, m.block);
    })
    .fails(&["R5", "R8"]);
}

#[test]
fn r5_a_table_for_another_table() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let parent = s.slot(page.vm, page.ipa, 2);
    s.begin("map", 1, page.ipa, 512).lock(1);
    let other = s.new_table();
    s.release(parent, table(other)).flush_vmid().close(page.vm);
    s.fails(&["R5"]);
}

#[test]
fn r5_a_table_for_another_table_by_a_break() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    let parent = s.slot(page.vm, page.ipa, 2);
    s.begin("unmap", 1, page.ipa, 512).lock(1);
    let other = s.new_table();
    s.w(parent, 0).flush_vmid().release(parent, table(other)).dsb("ishst").close(page.vm);
    s.passes();
}

#[test]
fn r5a_a_split_by_way_of_an_uncached_block() {
    split(Machine::bbm(1), |s, block, child| {
        s.w(block.slot, block.word | NO_CACHING).flush_ipa(block.ipa).release(block.slot, table(child));
    })
    .passes();
}

#[test]
fn r5a_a_split_by_a_break_is_right_everywhere() {
    (0..=2).for_each(|level| split(Machine::bbm(level), by_break).passes());
}

#[test]
fn r5a_the_uncached_block_is_not_invalidated() {
    split(Machine::bbm(1), |s, block, child| {
        s.w(block.slot, block.word | NO_CACHING).dsb("ish").release(block.slot, table(child));
    })
    .fails(&["R5a"]);
}

#[test]
fn r5a_the_uncached_block_is_invalidated_by_half() {
    split(Machine::bbm(1), |s, block, child| {
        s.w(block.slot, block.word | NO_CACHING).dsb("ishst").tlbi_ipa("ipas2e1is", block.ipa).dsb("ish");
        s.release(block.slot, table(child));
    })
    .fails(&["R5a"]);
}

#[test]
fn r5a_the_mark_where_it_means_nothing() {
    split(Machine::TWO, |s, block, child| {
        s.w(block.slot, block.word | NO_CACHING).flush_ipa(block.ipa).release(block.slot, table(child));
    })
    .fails(&["R5", "R5a", "R31"]);
}

#[test]
fn r5a_a_merge_by_way_of_an_uncached_block() {
    merge(Machine::bbm(1), |s, m| {
        s.w(m.parent, m.block | NO_CACHING).flush_vmid().w(m.parent, m.block);
    })
    .passes();
}

#[test]
fn r5a_a_merge_by_a_block_that_is_cached() {
    merge(Machine::bbm(1), |s, m| _ = s.w(m.parent, m.block).flush_vmid()).fails(&["R5", "R5a"]);
}

#[test]
fn r5a_a_merge_that_invalidates_nothing() {
    merge(Machine::bbm(1), |s, m| {
        s.w(m.parent, m.block | NO_CACHING).dsb("ish").w(m.parent, m.block);
    })
    .fails(&["R5a"]);
}

#[test]
fn r5a_the_mark_is_left_in_the_block() {
    let mut s = split_unfinished();
    s.dsb("ishst").isb().unlock(1).end(0);
    s.fails(&["R5a"]);
}

/// A merge up to its last step: the block is there, and still not to be cached.
fn split_unfinished() -> Scene {
    let (mut s, m) = mergeable(Machine::bbm(1));
    s.begin("map", m.vm.id, IPA, 512).lock(1);
    s.w(m.parent, m.block | NO_CACHING).flush_vmid();
    s
}

#[test]
fn r5b_a_split_in_place() {
    split(Machine::bbm(2), |s, block, child| {
        s.release(block.slot, table(child)).flush_ipa(block.ipa);
    })
    .passes();
}

#[test]
fn r5b_a_merge_in_place() {
    merge(Machine::bbm(2), |s, m| {
        s.w(m.parent, m.block).flush_vmid();
    })
    .passes();
}

#[test]
fn r5b_the_split_block_is_never_invalidated() {
    let (mut s, block) = block_on(Machine::bbm(2));
    s.begin("unmap", 1, block.ipa + 7 * PAGE, 1).lock(1);
    let child = s.child_of(block);
    s.release(block.slot, table(child)).dsb("ish");
    s.w(child + 7 * 8, 0).dsb("ish").close(block.vm);
    s.fails(&["R5", "R5b", "R8", "R33a", "R50"]);
}

#[test]
fn r5b_one_invalidation_for_the_size_and_the_hole() {
    let (mut s, block) = block_on(Machine::bbm(2));
    s.begin("unmap", 1, block.ipa + 7 * PAGE, 1).lock(1);
    let child = s.child_of(block);
    s.release(block.slot, table(child)).w(child + 7 * 8, 0);
    s.dsb("ishst").tlbi_ipa("ipas2e1is", block.ipa + 7 * PAGE).tlbi_ipa("ipas2e1is", block.ipa);
    s.dsb("ish").tlbi("vmalle1is").dsb("ish").close(block.vm);
    s.passes();
}

#[test]
fn r5b_the_size_is_all_that_may_change() {
    let (mut s, block) = block_on(Machine::bbm(2));
    let other = s.frames(block.vm, 512);
    s.begin("map", 1, block.ipa, 512).lock(1);
    let child = s.child_of(Page { word: block.word_to(other), ..block });
    s.release(block.slot, table(child)).flush_ipa(block.ipa).close(block.vm);
    s.fails(&["R5b"]);
}

#[test]
fn r5b_a_merge_that_leads_elsewhere() {
    let (mut s, m) = mergeable(Machine::bbm(2));
    let other = s.frames(m.vm, 512);
    let block = s.leaf(other, 2);
    s.begin("map", 1, IPA, 512).lock(1).w(m.parent, block).flush_vmid().close(m.vm);
    s.fails(&["R5b"]);
}

#[test]
fn r51_a_split_keeps_the_neighbours() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let block = s.map_as(vm, GIB, 2, |word| word & !WRITE | 0b101 << 55);
    s.begin("unmap", 1, GIB + MIB, 1).lock(1);
    let child = s.child_of(block);
    s.w(child + 256 * 8, 0);
    by_break(&mut s, block, child);
    s.dsb("ishst").close(vm);
    s.passes();
}

/// Splits a block to unmap its page 256, with `change` done to the descriptor of another page.
fn split_with_neighbour(change: impl Fn(u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let block = s.map_as(vm, GIB, 2, |word| word | 0b101 << 55);
    s.begin("unmap", 1, GIB + MIB, 1).lock(1);
    let child = s.child_of(block);
    s.w(child + 256 * 8, 0);
    let (neighbour, word) = (child + 257 * 8, s.read(child + 257 * 8));
    s.w(neighbour, change(word));
    by_break(&mut s, block, child);
    s.dsb("ishst").close(vm);
    s
}

#[test]
fn r51_a_split_loses_a_neighbour() {
    split_with_neighbour(|_| 0).fails(&["R51"]);
}

#[test]
fn r51_a_split_loses_a_neighbours_right() {
    split_with_neighbour(|word| word & !WRITE).fails(&["R51"]);
}

#[test]
fn r51_a_split_makes_a_neighbour_executable() {
    split_with_neighbour(|word| word & !EXECUTE_NEVER).fails(&["R51"]);
}

#[test]
fn r51_a_split_loses_a_neighbours_access_flag() {
    split_with_neighbour(|word| word & !ACCESSED).fails(&["R51"]);
}

#[test]
fn r51_a_split_loses_a_neighbours_notes() {
    split_with_neighbour(|word| word & !SOFTWARE).fails(&["R51"]);
}

#[test]
fn r51_a_split_leads_a_neighbour_elsewhere() {
    split_with_neighbour(|word| word + PAGE).fails(&["R51"]);
}

#[test]
fn r51_a_gibibyte_split_straight_into_pages() {
    let (mut s, block) = Scene::with_leaf(Machine::TWO, 1);
    s.begin("unmap", 1, block.ipa + PAGE, 1).lock(1);
    // The table is right for a 2 MiB block: at this level its entries are no leaves but tables at guest frames.
    let child = s.child_of(Page { level: 2, word: block.word, ..block });
    by_break(&mut s, block, child);
    s.dsb("ishst").close(block.vm);
    s.fails(&["R31", "R51", "R30", "R29", "R32"]);
}

#[test]
fn r51_a_split_loses_that_a_neighbour_is_dirty() {
    for (change, is_wrong) in [(WRITE, true), (0, false)] {
        let (mut s, vm) = Scene::with_vm(Machine::DIRTY);
        let block = s.map_as(vm, GIB, 2, |word| word | DIRTY_MANAGED);
        s.begin("unmap", 1, GIB + MIB, 1).lock(1);
        let child = s.child_of(block);
        s.w(child + 256 * 8, 0);
        let word = s.read(child + 257 * 8);
        s.w(child + 257 * 8, word & !change);
        s.rmw(block.slot, 0).flush_ipa(block.ipa).release(block.slot, table(child)).dsb("ishst").close(vm);
        if is_wrong { s.fails(&["R51"]) } else { s.passes() }
    }
}

/// A page of a full table gets a right back that the others have, and all become a block; `other` is page 100.
fn merged_around(other: impl Fn(u64) -> u64, block: impl Fn(u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, GIB, 3, 512, |word| word);
    s.lock(1).w(pages[100].slot, other(pages[100].word)).flush_vmid().unlock(1);
    let parent = s.slot(vm, GIB, 2);
    s.begin("protect", 1, GIB + 9 * PAGE, 1).lock(1).w(parent, 0).flush_vmid();
    s.w(parent, block(s.leaf(pages[0].pa, 2))).dsb("ishst").close(vm);
    s
}

#[test]
fn r51_a_merge_keeps_the_neighbours() {
    merged_around(|word| word, |word| word).passes();
}

#[test]
fn r51_a_merge_gives_a_neighbour_a_right() {
    merged_around(|word| word & !WRITE, |word| word).fails(&["R51"]);
}

#[test]
fn r51_a_merge_takes_a_right_of_all_neighbours() {
    merged_around(|word| word, |word| word & !WRITE).fails(&["R51"]);
}

#[test]
fn r51_a_merge_enters_what_was_not_there() {
    merged_around(|_| 0, |word| word).fails(&["R51"]);
}

#[test]
fn r51_a_merge_of_groups_and_single_pages_keeps_the_neighbours() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let first_sixteen = |word: u64| if word / PAGE % 512 < 16 { word | CONTIGUOUS } else { word };
    let pages = s.map_run(vm, GIB, 3, 512, first_sixteen);
    let parent = s.slot(vm, GIB, 2);
    s.begin("protect", 1, GIB + 8 * PAGE, 1).lock(1).w(parent, 0).flush_vmid();
    s.w(parent, s.leaf(pages[0].pa, 2)).dsb("ishst").close(vm);
    s.passes();
}
