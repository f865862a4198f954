//! R17 to R19: groups of 16 leaves with the contiguous hint.

use crate::scene::{
    ACCESSED, CONTIGUOUS, EXECUTE_NEVER, IPA, Machine, PAGE, Page, Range, Scene, VALID, Vm, WRITE, judged, span, table,
};

const ALL: Machine = Machine::ALL_TLBIS;

/// A VM with a group of leaves of the level.
fn group_of(machine: Machine, level: u8) -> (Scene, Vm, Vec<Page>) {
    let (mut s, vm) = Scene::with_vm(machine);
    let group = s.map_run(vm, IPA, level, 16, |word| word | CONTIGUOUS);
    (s, vm, group)
}

/// A VM with a group of pages.
fn group(machine: Machine) -> (Scene, Vm, Vec<Page>) {
    group_of(machine, 3)
}

/// Sixteen pages whose descriptors are made from their number and the usual one, in an operation that maps them.
fn mapped(change: impl Fn(u64, u64) -> u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 16).lock(1);
    let pa = s.frames(vm, 32);
    for number in 0..16 {
        let (slot, word) = (s.slot(vm, IPA + number * PAGE, 3), s.leaf(pa + number * PAGE, 3));
        s.w(slot, change(number, word | CONTIGUOUS));
    }
    s.dsb("ishst").isb().close(vm);
    s
}

fn open(s: &mut Scene, work: &str, group: &[Page]) {
    s.begin(work, 1, group[0].ipa, 16 * group[0].pages()).lock(1);
}

#[test]
fn r17_a_group_made_entry_by_entry() {
    mapped(|_, word| word).passes();
}

#[test]
fn r17_groups_at_every_level() {
    for level in 2..=3 {
        group_of(Machine::TWO, level).0.passes();
    }
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map_run(vm, 16 << 30, 1, 16, |word| word | CONTIGUOUS);
    s.passes();
}

#[test]
fn r17_flags_and_notes_may_differ() {
    mapped(|number, word| if number == 5 { word & !ACCESSED } else { word }).passes();
    mapped(|number, word| word | (number & 0b111) << 55).passes();
}

#[test]
fn r17_a_hole() {
    mapped(|number, word| if number == 9 { 0 } else { word }).fails(&["R17"]);
}

#[test]
fn r17_a_member_without_the_hint() {
    mapped(|number, word| if number == 9 { word & !CONTIGUOUS } else { word }).fails(&["R17"]);
}

#[test]
fn r17_a_member_with_other_rights() {
    mapped(|number, word| if number == 9 { word & !WRITE } else { word }).fails(&["R17"]);
}

#[test]
fn r17_a_member_of_another_shareability() {
    mapped(|number, word| if number == 9 { word & !(1 << 8) } else { word }).fails(&["R17"]);
}

#[test]
fn r17_a_member_that_leads_elsewhere() {
    mapped(|number, word| if number == 9 { word + 16 * PAGE } else { word }).fails(&["R17"]);
}

#[test]
fn r17_memory_that_is_not_aligned_as_the_group_is() {
    mapped(|_, word| word + PAGE).fails(&["R17"]);
}

#[test]
fn r17_a_lonely_hint() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map_as(vm, IPA, 3, |word| word | CONTIGUOUS);
    s.fails(&["R17"]);
}

#[test]
fn r18_broken_as_a_whole() {
    let (mut s, vm, group) = group(Machine::TWO);
    let other = s.frames(vm, 16);
    open(&mut s, "map", &group);
    s.break_all(&group).flush_each(&group).make_all(&group, other).close(vm);
    s.passes();
}

#[test]
fn r18_unmapped_as_a_whole() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "unmap", &group);
    s.break_all(&group).flush_vmid().close(vm);
    s.passes();
}

#[test]
fn r18_a_member_is_unmapped() {
    let (mut s, _, group) = group(Machine::TWO);
    s.unmap(group[3]);
    s.fails(&["R18"]);
}

#[test]
fn r18_a_member_is_unmapped_and_the_hint_of_the_others_dropped() {
    let (mut s, vm, group) = group(Machine::TWO);
    s.open("unmap", group[3]).break_all(&group).flush_each(&group);
    for page in group.iter().filter(|page| page.ipa != group[3].ipa) {
        s.w(page.slot, page.word & !CONTIGUOUS);
    }
    s.dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r18_the_hint_is_dropped_without_a_break() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "protect", &group);
    for page in &group {
        s.w(page.slot, page.word & !CONTIGUOUS);
    }
    s.flush_each(&group).close(vm);
    s.fails(&["R18"]);
}

#[test]
fn r18_the_hint_is_set_without_a_break() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pages = s.map_run(vm, IPA, 3, 16, |word| word);
    open(&mut s, "map", &pages);
    for page in &pages {
        s.w(page.slot, page.word | CONTIGUOUS);
    }
    s.flush_each(&pages).close(vm);
    s.fails(&["R18"]);
}

#[test]
fn r18_the_hint_is_dropped_in_place_at_bbm_level_2() {
    let (mut s, vm, group) = group(Machine::bbm(2));
    open(&mut s, "protect", &group);
    for page in &group {
        s.w(page.slot, page.word & !CONTIGUOUS);
    }
    s.flush_each(&group).close(vm);
    s.passes();
}

#[test]
fn r18_the_hint_is_set_in_place_at_bbm_level_2() {
    let (mut s, vm) = Scene::with_vm(Machine::bbm(2));
    let pages = s.map_run(vm, IPA, 3, 16, |word| word);
    open(&mut s, "map", &pages);
    for page in &pages {
        s.w(page.slot, page.word | CONTIGUOUS);
    }
    s.flush_each(&pages).close(vm);
    s.passes();
}

#[test]
fn r18_bbm_level_1_is_not_enough_for_the_hint() {
    let (mut s, vm, group) = group(Machine::bbm(1));
    open(&mut s, "protect", &group);
    for page in &group {
        s.w(page.slot, page.word & !CONTIGUOUS);
    }
    s.flush_each(&group).close(vm);
    s.fails(&["R18"]);
}

#[test]
fn r18_a_right_of_all_members() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "protect", &group);
    for page in &group {
        s.w(page.slot, page.word & !WRITE);
    }
    s.flush_each(&group).close(vm);
    s.passes();
}

#[test]
fn r18_a_right_of_fifteen_members() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "protect", &group);
    for page in &group[..15] {
        s.w(page.slot, page.word & !WRITE);
    }
    s.flush_each(&group).close(vm);
    s.fails(&["R18"]);
}

#[test]
fn r18_one_member_becomes_executable() {
    let (mut s, vm, group) = group(Machine::TWO);
    let first = group[0];
    s.change("protect", first, first.word & !EXECUTE_NEVER, |s| s.flush_vmid());
    assert_eq!(first.vm.id, vm.id);
    s.fails(&["R18"]);
}

#[test]
fn r18_one_member_leads_elsewhere_by_a_break_of_its_own() {
    let (mut s, vm, group) = group(Machine::TWO);
    let other = s.frames(vm, 1);
    let page = group[2];
    s.open("map", page).break_(page).flush_ipa(page.ipa).make(page.slot, page.word_to(other)).close(vm);
    s.fails(&["R18"]);
}

#[test]
fn r18_made_again_while_a_member_may_still_be_cached() {
    let (mut s, vm, group) = group(Machine::TWO);
    let other = s.frames(vm, 16);
    open(&mut s, "map", &group);
    s.break_all(&group[..15]).flush_vmid().break_(group[15]).make_all(&group, other).close(vm);
    s.fails(&["R18", "R1", "R8"]);
}

#[test]
fn r19_every_member_by_its_address() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "decommit", &group);
    s.break_all(&group).flush_each(&group).give_back(group[0].pa, 16).close(vm);
    s.passes();
}

#[test]
fn r19_the_first_member_only() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "decommit", &group);
    s.break_all(&group).flush_ipa(IPA).give_back(group[0].pa, 16).close(vm);
    s.fails(&["R19"]);
}

#[test]
fn r19_fifteen_members() {
    let (mut s, vm, group) = group(Machine::TWO);
    let other = s.frames(vm, 16);
    open(&mut s, "map", &group);
    s.break_all(&group).flush_each(&group[1..]).make_all(&group, other).close(vm);
    s.fails(&["R19"]);
}

#[test]
fn r19_a_range() {
    let (mut s, vm, group) = group(ALL);
    open(&mut s, "decommit", &group);
    s.break_all(&group).flush_range(Range::pairs(IPA, 8).operand()).give_back(group[0].pa, 16).close(vm);
    s.passes();
}

#[test]
fn r19_a_range_that_ends_early() {
    let (mut s, vm, group) = group(ALL);
    let other = s.frames(vm, 16);
    open(&mut s, "map", &group);
    s.break_all(&group).flush_range(Range::pairs(IPA, 7).operand()).make_all(&group, other).close(vm);
    s.fails(&["R19"]);
}

#[test]
fn r19_a_range_of_blocks() {
    let (mut s, vm, group) = group_of(ALL, 2);
    let other = s.frames(vm, 16 * 512);
    open(&mut s, "map", &group);
    let whole = Range { ipa: IPA, times: 4, scale: 2, level: 2 }.operand();
    s.break_all(&group).flush_range(whole).make_all(&group, other).close(vm);
    s.passes();
}

#[test]
fn r19_the_first_of_a_group_of_blocks() {
    let (mut s, vm, group) = group_of(Machine::TWO, 2);
    let other = s.frames(vm, 16 * 512);
    open(&mut s, "map", &group);
    s.break_all(&group).flush_ipa(IPA + span(2) / 2).make_all(&group, other).close(vm);
    s.fails(&["R19"]);
}

#[test]
fn r19_a_note_in_each_broken_member() {
    let (mut s, vm, group) = group(Machine::TWO);
    open(&mut s, "unmap", &group);
    for page in &group {
        s.w(page.slot, page.word & !VALID);
    }
    s.flush_each(&group).close(vm);
    s.passes();
}

#[test]
fn r17_more_groups_in_one_operation_than_are_remembered() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.map_run(vm, IPA, 3, 32 * 16, |word| word | CONTIGUOUS);
    s.passes();
}

#[test]
fn r53_more_groups_half_written_than_are_remembered() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 512).lock(1);
    let pa = s.frames(vm, 512);
    for number in (0..17 * 16).step_by(16) {
        let (slot, word) = (s.slot(vm, IPA + number * PAGE, 3), s.leaf(pa + number * PAGE, 3));
        s.w(slot, word | CONTIGUOUS);
    }
    s.dsb("ishst").unlock(1).end(0);
    s.fails(&["R53"]);
}

/// A table is linked whose fourth group is as long as given, its second whole and the rest of it empty.
fn linked_with(members: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 512).lock(1);
    let pa = s.frames(vm, 512);
    let parent = s.slot(vm, IPA, 2);
    let child = s.new_table();
    for number in (16..32).chain(48..48 + members) {
        let word = s.leaf(pa + number * PAGE, 3);
        s.w(child + 8 * number, word | CONTIGUOUS);
    }
    s.release(parent, table(child)).dsb("ishst").close(vm);
    s
}

#[test]
fn r17_a_group_in_a_table_that_is_linked() {
    linked_with(16).passes();
    linked_with(0).passes();
    for members in [1, 15] {
        let s = linked_with(members);
        s.fails(&["R17"]);
        let told = &judged(&s.text()).violations[0].text;
        assert!(told.contains(&format!("IPA {:#x},", IPA + 48 * PAGE)), "{told}");
    }
}

#[test]
fn r18_made_and_then_broken_in_part() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 16).lock(1);
    let pa = s.frames(vm, 16);
    for number in 0..16 {
        let (slot, word) = (s.slot(vm, IPA + number * PAGE, 3), s.leaf(pa + number * PAGE, 3));
        s.w(slot, word | CONTIGUOUS);
    }
    let slot = s.slot(vm, IPA, 3);
    s.dsb("ishst").w(slot, 0).flush_vmid().close(vm);
    s.fails(&["R18"]);
}

#[test]
fn r17_a_group_that_another_cpu_is_about_to_finish() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 16).lock(1);
    let pa = s.frames(vm, 16);
    for number in 0..16 {
        let (slot, word) = (s.slot(vm, IPA + number * PAGE, 3), s.leaf(pa + number * PAGE, 3));
        s.on(0).w(slot, word | CONTIGUOUS);
        if number == 7 {
            s.on(1).resume(vm).stop(vm);
        }
    }
    s.dsb("ishst").close(vm);
    s.passes();
}

#[test]
fn r17_a_group_that_is_left_half_written() {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    let pa = s.frames(vm, 16);
    let slot = s.slot(vm, IPA, 3);
    s.lock(1);
    let word = s.leaf(pa, 3);
    s.w(slot, word | CONTIGUOUS).dsb("ishst").unlock(1);
    s.fails(&["R17"]);
}
