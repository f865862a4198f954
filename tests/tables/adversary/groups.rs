//! Contiguous groups: one entry of a TLB may be all of one, and each member is its own.

use super::*;

use BbmLevel::{BreakFirst, Direct};

fn member(number: u64, perms: Perms) -> Entry {
    leaf_with(A.add(number * P), perms, |a| a.contiguous = true)
}

/// Writes the group, one member after the other.
fn group(bbm: BbmLevel) -> Litmus {
    let litmus = Litmus::new(resizing(bbm));
    (0..16).for_each(|number| litmus.page(number, member(number, RW)));
    litmus
}

fn break_all(litmus: &Litmus) {
    (0..16).for_each(|number| litmus.page(number, Entry::Invalid));
}

fn everywhere(litmus: &Litmus) -> Vec<Option<Option<(Hpa, Perms)>>> {
    (0..16).map(|number| litmus.agreed(nth(number))).collect()
}

fn pages(perms: Perms) -> Vec<Option<Option<(Hpa, Perms)>>> {
    (0..16).map(|number| Some(Some((A.add(number * P), perms)))).collect()
}

#[test]
fn a_group_is_written_member_by_member() {
    let litmus = Litmus::new(plain());
    litmus.page(0, member(0, RW));
    litmus.sees(nth(9), &[Seen::Nothing, Seen::Page(A.add(9 * P), RW)]);
    (1..16).for_each(|number| litmus.page(number, member(number, RW)));
    assert_eq!(everywhere(&litmus), pages(RW));
    litmus.sim.check_groups();
    litmus.breaks(&[]);
}

#[test]
fn a_member_that_is_unmapped_alone_is_still_seen() {
    let litmus = group(BreakFirst);
    litmus.page(3, Entry::Invalid);
    litmus.invalidate([Tlbi::Vmid]);
    litmus.sees(nth(3), &[Seen::Nothing, Seen::Page(A.add(3 * P), RW)]);
    litmus.breaks(&[]);
    litmus.sim.check_groups();
    litmus.breaks(&["R17"]);
}

#[test]
fn a_group_that_does_not_go_together_is_found_when_the_operation_ends() {
    let misplaced = leaf_with(A.add(P), RW, |a| a.contiguous = true);
    for (number, entry, rules) in [
        (5, leaf(A.add(5 * P), RW), vec!["R17"]),
        (5, member(5, READ), vec!["R17"]),
        (5, leaf_with(A.add(5 * P), RW, |a| (a.contiguous, a.accessed) = (true, false)), vec![]),
        (5, leaf_with(A.add(5 * P), RW, |a| (a.contiguous, a.shared) = (true, true)), vec![]),
        (5, leaf_with(A.add(5 * P), RW, |a| (a.contiguous, a.dirty) = (true, vmsa::Dirty::Dirty)), vec![]),
        (5, misplaced, vec!["R17"]),
    ] {
        let litmus = group(BreakFirst);
        break_all(&litmus);
        litmus.invalidate([Tlbi::Vmid]);
        (0..16).for_each(|at| litmus.page(at, if at == number { entry } else { member(at, RW) }));
        let before = litmus.rules().len();
        litmus.agreed(nth(12));
        assert_eq!(litmus.rules()[before..], rules, "{entry:?}");
    }
}

#[test]
fn a_group_begins_where_its_memory_is_aligned() {
    let litmus = Litmus::new(plain());
    (0..16).for_each(|number| litmus.page(number, member(number + 1, RW)));
    litmus.sim.check_groups();
    litmus.breaks(&["R17"]);
}

#[test]
fn the_first_member_does_not_name_the_others() {
    let litmus = group(BreakFirst);
    break_all(&litmus);
    litmus.invalidate([by_ipa(BASE)]);
    litmus.sees(BASE, &[Seen::Nothing, Seen::Page(A, RW)]);
    litmus.invalidate((1..16).map(|number| by_ipa(nth(number))));
    litmus.sees(BASE, &[Seen::Nothing]);
}

#[test]
fn a_range_names_the_members_that_it_covers() {
    for (pages, is_gone) in [(16, true), (14, false)] {
        let litmus = Litmus::new(Features { tlbi_range: true, ..plain() });
        (0..16).for_each(|number| litmus.page(number, member(number, RW)));
        break_all(&litmus);
        let operand = vmsa::range_operand(BASE, pages).unwrap();
        litmus.invalidate([Tlbi::Range { operand, level: None, leaf_only: true }]);
        assert_eq!(litmus.agreed(BASE).is_some(), is_gone, "{pages}");
    }
}

#[test]
fn all_are_broken_and_invalidated_before_one_is_changed() {
    let litmus = group(BreakFirst);
    break_all(&litmus);
    litmus.invalidate((0..16).map(|number| by_ipa(nth(number))));
    (0..16).for_each(|number| litmus.page(number, member(number, READ)));
    litmus.breaks(&[]);
    assert_eq!(everywhere(&litmus), pages(READ));
}

#[test]
fn a_member_keeps_its_rights_and_its_place_while_it_is_one() {
    for bbm in [BreakFirst, Direct] {
        for (entry, rule) in [(member(4, READ), "R18"), (member(20, RW), "R1")] {
            let litmus = group(bbm);
            litmus.page(4, entry);
            litmus.breaks(&[rule]);
        }
    }
    // 15 of 16 change: the rest of the group still says what they said.
    let litmus = group(BreakFirst);
    (0..15).for_each(|number| litmus.page(number, member(number, READ)));
    litmus.invalidate([Tlbi::Vmid]);
    litmus.sees(BASE, &[Seen::Page(A, READ), Seen::Page(A, RW)]);
}

#[test]
fn flags_of_a_member_change_in_place() {
    let litmus = group(BreakFirst);
    litmus.page(4, leaf_with(A.add(4 * P), RW, |a| (a.contiguous, a.accessed) = (true, false)));
    litmus.breaks(&[]);
}

#[test]
fn the_hint_comes_and_goes_in_place_at_level_2_only() {
    for (bbm, rules) in [(BreakFirst, vec!["R18"]), (BbmLevel::NoTranslationCaching, vec!["R18"]), (Direct, vec![])] {
        let litmus = group(bbm);
        litmus.page(0, leaf(A, RW));
        assert_eq!(litmus.rules(), rules, "off");
        let litmus = Litmus::new(resizing(bbm));
        litmus.page(0, leaf(A, RW));
        litmus.page(0, member(0, RW));
        assert_eq!(litmus.rules(), rules, "on");
    }
}

#[test]
fn a_group_without_its_hints_is_held_until_every_member_is_invalidated() {
    let litmus = group(Direct);
    (0..16).for_each(|number| litmus.page(number, leaf(A.add(number * P), RW)));
    litmus.page(3, Entry::Invalid);
    litmus.invalidate([by_ipa(nth(3))]);
    litmus.sees(nth(3), &[Seen::Nothing, Seen::Page(A.add(3 * P), RW)]);
    litmus.sees(nth(4), &[Seen::Page(A.add(4 * P), RW), Seen::Conflict]);
    litmus.invalidate((0..16).map(|number| by_ipa(nth(number))));
    assert_eq!(litmus.agreed(nth(3)), Some(None));
    litmus.breaks(&[]);
}

#[test]
fn a_page_is_not_made_over_what_is_left_of_a_group() {
    for (bbm, rules) in [(BreakFirst, vec!["R18"]), (Direct, vec![])] {
        let litmus = group(bbm);
        break_all(&litmus);
        litmus.page(2, leaf(A.add(2 * P), RW));
        litmus.breaks(&rules);
    }
    let litmus = group(Direct);
    break_all(&litmus);
    litmus.page(2, leaf(B, RW));
    litmus.breaks(&["R1"]);
}

/// A group's first member already translates for the others: what is left at their addresses has to be gone.
#[test]
fn a_group_is_not_made_over_what_is_left_of_a_page() {
    let litmus = Litmus::new(plain());
    litmus.page(7, leaf(B, RW));
    litmus.page(7, Entry::Invalid);
    litmus.page(0, member(0, RW));
    litmus.breaks(&["R1"]);
}

#[test]
fn blocks_form_groups_too() {
    let at = |number: u64| Ipa(0xa000_0000 + (number << 21));
    let litmus = Litmus::new(plain());
    for number in 0..16 {
        let block = leaf_with(A.add(number << 21), RW, |a| a.contiguous = true);
        litmus.make(Level::L2, Ipa(0x8200_0000 + (number << 21)), block);
    }
    assert_eq!(litmus.agreed(Ipa(0x8212_3000)), Some(Some((A.add(0x12_3000), RW))));
    litmus.make(Level::L2, Ipa(0x8200_0000), Entry::Invalid);
    litmus.invalidate([Tlbi::Vmid]);
    litmus.sees(Ipa(0x8212_3000), &[Seen::Nothing, Seen::Page(A.add(0x12_3000), RW)]);
    litmus.sees(at(0), &[Seen::Nothing]);
}
