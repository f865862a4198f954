//! What an invalidation removes, and when: the sequences of the architecture, and what each step is for.

use vmsa::range_operand;

use super::*;

enum Step {
    Tlbi(Tlbi, Scope),
    Dsb(Dsb),
}

use Scope::{Broadcast, Local};
use Step::{Dsb as D, Tlbi as T};

/// Replaces a page by another, with the steps in between.
fn replace(steps: &[Step]) -> Litmus {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.set(Level::L3, BASE, Entry::Invalid);
    for step in steps {
        match step {
            T(op, scope) => litmus.sim.tlbi(*op, *scope),
            D(kind) => litmus.sim.dsb(*kind),
        }
    }
    litmus.page(0, leaf(B, RW));
    litmus
}

#[test]
fn the_sequences_of_the_manual_are_enough() {
    let ipa = T(by_ipa(BASE), Broadcast);
    let stage1 = || T(Tlbi::Stage1, Broadcast);
    let whole = |op| replace(&[D(Dsb::Ishst), T(op, Broadcast), D(Dsb::Ish)]);
    let by_ipa = replace(&[D(Dsb::Ishst), ipa, D(Dsb::Ish), stage1(), D(Dsb::Ish)]);
    // Barriers that complete less in between do not matter.
    let late = replace(&[D(Dsb::Ishst), T(Tlbi::Vmid, Broadcast), D(Dsb::Ishst), D(Dsb::Nsh), D(Dsb::Ish)]);
    for litmus in [by_ipa, whole(Tlbi::Vmid), whole(Tlbi::All), late] {
        litmus.breaks(&[]);
        litmus.sees(BASE, &[Seen::Page(B, RW)]);
    }
}

#[test]
fn each_step_of_the_sequences_is_needed() {
    let ipa = || T(by_ipa(BASE), Broadcast);
    let stage1 = || T(Tlbi::Stage1, Broadcast);
    for (what, steps) in [
        ("no DSB before", vec![ipa(), D(Dsb::Ish), stage1(), D(Dsb::Ish)]),
        ("a DSB for this CPU before", vec![D(Dsb::Nsh), ipa(), D(Dsb::Ish), stage1(), D(Dsb::Ish)]),
        ("no DSB between", vec![D(Dsb::Ishst), ipa(), stage1(), D(Dsb::Ish)]),
        ("stage 1 first", vec![D(Dsb::Ishst), stage1(), D(Dsb::Ish), ipa(), D(Dsb::Ish)]),
        ("no stage 1", vec![D(Dsb::Ishst), ipa(), D(Dsb::Ish)]),
        ("a DSB of stores after", vec![D(Dsb::Ishst), T(Tlbi::Vmid, Broadcast), D(Dsb::Ishst)]),
        ("a DSB for this CPU after", vec![D(Dsb::Ishst), T(Tlbi::Vmid, Broadcast), D(Dsb::Nsh)]),
        ("no DSB after", vec![D(Dsb::Ishst), T(Tlbi::Vmid, Broadcast)]),
        ("on this CPU only", vec![D(Dsb::Ishst), T(Tlbi::Vmid, Local), D(Dsb::Ish)]),
        ("by IPA on this CPU only", vec![D(Dsb::Ishst), T(by_ipa(BASE), Local), D(Dsb::Ish), stage1(), D(Dsb::Ish)]),
        ("nothing", vec![D(Dsb::Ish)]),
    ] {
        let litmus = replace(&steps);
        assert_eq!(litmus.rules(), ["R1"], "{what}");
        assert!(litmus.seen_by(1, BASE).contains(&Seen::Page(A, RW)), "{what}");
    }
}

#[test]
fn a_local_invalidation_leaves_the_other_cpu() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.sim.tlbi(Tlbi::Vmid, Local);
    litmus.sim.dsb(Dsb::Nsh);
    assert_eq!(litmus.seen_by(0, BASE), [Seen::Nothing].into());
    assert_eq!(litmus.seen_by(1, BASE), [Seen::Nothing, Seen::Page(A, RW)].into());
}

#[test]
fn each_cpu_may_invalidate_for_itself() {
    let litmus = Litmus::of(Sim::with_cpus(plain(), 2 << 20, 8));
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    for cpu in 0..8 {
        assert!(litmus.seen_by(cpu, BASE).contains(&Seen::Page(A, RW)));
        Sim::run_on(cpu);
        litmus.sim.set_vttbr_now(litmus.vttbr());
        litmus.sim.tlbi(Tlbi::Vmid, Local);
        litmus.sim.dsb(Dsb::Nsh);
    }
    Sim::run_on(0);
    litmus.sees(BASE, &[Seen::Nothing]);
}

#[test]
fn another_cpu_may_invalidate_once_the_store_is_visible() {
    for (kind, expected) in [(Some(Dsb::Ishst), 1), (None, 2)] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.set(Level::L3, BASE, Entry::Invalid);
        kind.into_iter().for_each(|kind| litmus.sim.dsb(kind));
        Sim::run_on(1);
        litmus.sim.set_vttbr_now(litmus.vttbr());
        litmus.sim.dsb(Dsb::Ishst);
        litmus.tlbi(Tlbi::Vmid);
        litmus.sim.dsb(Dsb::Ish);
        Sim::run_on(0);
        assert_eq!(litmus.seen_by(0, BASE).len(), expected, "{kind:?}");
    }
}

/// Of two CPUs that invalidate the same, the one that waits is done.
#[test]
fn an_invalidation_is_complete_for_the_cpu_that_waits() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.tlbi(Tlbi::Vmid);
    Sim::run_on(1);
    litmus.sim.set_vttbr_now(litmus.vttbr());
    litmus.sim.dsb(Dsb::Ish);
    assert_eq!(litmus.agreed(BASE), None, "the other CPU's");
    litmus.tlbi(Tlbi::Vmid);
    litmus.sim.dsb(Dsb::Ish);
    Sim::run_on(0);
    assert_eq!(litmus.agreed(BASE), Some(None));
}

/// Breaks `count` pages, and invalidates by the operations.
fn left_after(features: Features, count: u64, ops: impl IntoIterator<Item = Tlbi>) -> Vec<u64> {
    let litmus = Litmus::new(features);
    (0..count).for_each(|number| litmus.page(number, leaf(A.add(number * P), RW)));
    (0..count).for_each(|number| litmus.page(number, Entry::Invalid));
    litmus.invalidate(ops);
    (0..count).filter(|number| litmus.agreed(nth(*number)).is_none()).collect()
}

#[test]
fn an_address_names_its_own_page_only() {
    assert_eq!(left_after(plain(), 3, [by_ipa(nth(1))]), [0, 2]);
}

#[test]
fn a_range_names_what_its_operand_says() {
    let features = Features { tlbi_range: true, ..plain() };
    let range = |pages| Tlbi::Range { operand: range_operand(BASE, pages).unwrap(), level: None, leaf_only: true };
    assert_eq!(left_after(features, 8, [range(8)]), []);
    assert_eq!(left_after(features, 8, [range(6)]), [6, 7]);
    assert_eq!(left_after(features, 2, [range(1)]), [], "no range is smaller than 2 pages");
}

#[test]
fn a_hint_of_another_level_finds_nothing() {
    let hinted = |level| Tlbi::Ipa { ipa: BASE, level: Some(level), leaf_only: true };
    let features = Features { level_hint: true, tlbi_range: true, ..plain() };
    assert_eq!(left_after(features, 1, [hinted(Level::L3)]), []);
    assert_eq!(left_after(features, 1, [hinted(Level::L2)]), [0]);
    let operand = range_operand(BASE, 2).unwrap();
    let range = |level| Tlbi::Range { operand, level: Some(level), leaf_only: true };
    assert_eq!(left_after(features, 2, [range(Level::L3)]), []);
    assert_eq!(left_after(features, 2, [range(Level::L2)]), [0, 1]);
}

#[test]
fn what_the_machine_has_not_is_not_used() {
    let range = Tlbi::Range { operand: range_operand(BASE, 2).unwrap(), level: None, leaf_only: true };
    let hint = Tlbi::Ipa { ipa: BASE, level: Some(Level::L3), leaf_only: true };
    for (op, features, rule) in [
        (range, plain(), Some("R25")),
        (hint, plain(), Some("R16")),
        (range, Features { tlbi_range: true, ..plain() }, None),
        (hint, Features { level_hint: true, ..plain() }, None),
    ] {
        let litmus = Litmus::new(features);
        litmus.tlbi(op);
        assert_eq!(litmus.rules(), Vec::from_iter(rule), "{op:?}");
    }
}

/// Takes a table with a page out of its tree, and returns whether it may be used anew after the operations.
fn detached_after(ops: &[Tlbi]) -> Vec<String> {
    let litmus = Litmus::new(Features { level_hint: true, ..plain() });
    litmus.page(3, leaf(A, RW));
    litmus.make(Level::L2, BASE, Entry::Invalid);
    litmus.invalidate(ops.iter().copied());
    litmus.sim.handed_over(litmus.frame(2));
    litmus.sim.handed_over(A);
    litmus.rules()
}

#[test]
fn a_table_and_all_below_it_are_held_until_each_is_named() {
    let last_level = Tlbi::Ipa { ipa: nth(3), level: None, leaf_only: true };
    let with_hint = Tlbi::Ipa { ipa: nth(3), level: Some(Level::L3), leaf_only: false };
    assert_eq!(detached_after(&[by_ipa(nth(3))]), Vec::<String>::new());
    assert_eq!(detached_after(&[by_ipa(BASE), last_level]), Vec::<String>::new());
    assert_eq!(detached_after(&[Tlbi::Vmid]), Vec::<String>::new());
    assert_eq!(detached_after(&[by_ipa(BASE)]), ["R33"], "the page below has another address");
    assert_eq!(detached_after(&[last_level]), ["R32"], "the form for leaves leaves the table");
    assert_eq!(detached_after(&[with_hint]), ["R32"], "a hint is for leaves");
    assert_eq!(detached_after(&[]), ["R32", "R33"]);
}

#[test]
fn a_tree_in_use_does_not_lose_a_table_or_a_page() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.make(Level::L2, BASE.add(2 << 20), leaf(B, RW));
    litmus.sim.handed_over(A);
    litmus.sim.handed_over(B.add(0x5000));
    litmus.sim.handed_over(litmus.frame(2));
    litmus.breaks(&["R35", "R35", "R32"]);
}

/// An invalidation that is under way is for what was there before it.
#[test]
fn what_is_broken_again_during_an_invalidation_is_held() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.tlbi(Tlbi::Vmid);
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.sim.dsb(Dsb::Ish);
    litmus.sees(BASE, &[Seen::Nothing, Seen::Page(A, RW)]);
}

#[test]
fn a_table_that_is_out_of_its_tree_and_invalidated_can_be_written_at_will() {
    for (ops, rules) in [(vec![by_ipa(BASE)], vec![]), (vec![], vec!["R1"])] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        let slot = litmus.slot(Level::L3, BASE);
        litmus.make(Level::L2, BASE, Entry::Invalid);
        litmus.invalidate(ops);
        litmus.set_at(slot, Level::L3, leaf(B, RW));
        litmus.breaks(&rules);
    }
}
