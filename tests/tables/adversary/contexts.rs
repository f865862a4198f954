//! VMIDs: which tree is in effect, which TLB entries are whose, and when another tree may have the number.

use super::*;

/// Another tree's root, with pages of its own.
fn other_root(litmus: &Litmus, vmid: Vmid) -> u64 {
    let other = vttbr(litmus.frame(8), vmid);
    litmus.sim.root_made(1, other, litmus.geometry, BbmLevel::BreakFirst);
    other
}

#[test]
fn an_invalidation_is_for_the_vmid_in_effect() {
    for (is_synchronized, is_gone) in [(true, true), (false, false)] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.sim.set_vttbr_now(vttbr(litmus.frame(8), Vmid(2)));
        litmus.page(0, Entry::Invalid);
        litmus.sim.set_vttbr(litmus.vttbr());
        if is_synchronized {
            litmus.sim.isb();
        }
        litmus.tlbi(Tlbi::Vmid);
        litmus.sim.dsb(Dsb::Ish);
        assert_eq!(litmus.agreed(BASE).is_some(), is_gone);
    }
}

/// Without the ISB it is not certain either that the old VMID is meant.
#[test]
fn an_invalidation_before_the_isb_is_for_no_vmid_for_certain() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.sim.set_vttbr(vttbr(litmus.frame(8), Vmid(2)));
    litmus.tlbi(Tlbi::Vmid);
    litmus.sim.dsb(Dsb::Ish);
    assert_eq!(litmus.agreed(BASE), None);
    litmus.tlbi(Tlbi::All);
    litmus.sim.dsb(Dsb::Ish);
    assert_eq!(litmus.agreed(BASE), Some(None));
}

#[test]
fn another_tree_has_the_vmid_after_an_invalidation_of_it_all() {
    for (what, ops, rules) in [
        ("nothing", vec![], vec!["R27"]),
        ("by IPA", vec![(by_ipa(BASE), Scope::Broadcast)], vec!["R27"]),
        ("here", vec![(Tlbi::All, Scope::Local)], vec!["R27"]),
        ("everywhere", vec![(Tlbi::All, Scope::Broadcast)], vec![]),
    ] {
        let litmus = Litmus::new(plain());
        for cpu in [1, 0] {
            Sim::run_on(cpu);
            litmus.sim.set_vttbr_now(litmus.vttbr());
            litmus.sim.set_vttbr_now(0);
        }
        for (op, scope) in ops {
            litmus.sim.tlbi(op, scope);
            litmus.sim.dsb(Dsb::Ish);
        }
        litmus.sim.set_vttbr_now(other_root(&litmus, VMID));
        assert_eq!(litmus.rules(), rules, "{what}");
    }
}

#[test]
fn an_invalidation_of_the_vmid_does_it_too() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.sim.dsb(Dsb::Ishst);
    litmus.sim.set_vttbr_now(vttbr(Hpa(0), VMID));
    assert_eq!(litmus.rules(), ["R27"], "the root is another, if only for the invalidation");
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.sim.set_vttbr_now(vttbr(Hpa(0), Vmid(2)));
    litmus.sim.set_vttbr_now(litmus.vttbr());
    litmus.tlbi(Tlbi::Vmid);
    litmus.sim.dsb(Dsb::Ish);
    litmus.breaks(&[]);
}

#[test]
fn two_trees_do_not_have_one_vmid() {
    let litmus = Litmus::new(plain());
    let other = other_root(&litmus, VMID);
    Sim::run_on(1);
    litmus.sim.set_vttbr_now(other);
    Sim::run_on(0);
    litmus.breaks(&["R27"]);
}

#[test]
fn what_another_tree_left_under_the_vmid_is_seen() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.sim.set_vttbr_now(0);
    let other = other_root(&litmus, VMID);
    let seen = |cpu| litmus.sim.access(cpu, other, litmus.geometry, BASE);
    assert_eq!(seen(0), [Seen::Nothing, Seen::Page(A, RW)].into());
    assert_eq!(seen(1), [Seen::Nothing].into(), "it never was in effect there");
}

/// The frame of a root is used for another tree, under the same VMID.
#[test]
fn a_new_tree_at_an_old_root_is_another_tree() {
    for (ops, rules) in [(vec![Tlbi::All], vec![]), (vec![], vec!["R27"])] {
        let litmus = Litmus::new(plain());
        litmus.sim.set_vttbr_now(0);
        litmus.invalidate(ops);
        let before = litmus.rules().len();
        litmus.sim.handed_over(litmus.root);
        litmus.sim.root_made(1, litmus.vttbr(), litmus.geometry, BbmLevel::BreakFirst);
        litmus.sim.set_vttbr_now(litmus.vttbr());
        let news = litmus.rules().split_off(before);
        assert_eq!(news.last().map(String::as_str), rules.last().copied());
    }
}

/// A tree that lost its VMID is changed without an invalidation: nobody holds anything of it.
#[test]
fn a_tree_without_a_vmid_leaves_nothing() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(1, leaf(A.add(P), RW));
    litmus.sim.set_vttbr_now(0);
    litmus.tlbi(Tlbi::All);
    litmus.sim.dsb(Dsb::Ish);
    litmus.page(0, leaf(B, RW));
    litmus.sim.handed_over(A);
    let again = vttbr(litmus.root, Vmid(7));
    litmus.sim.root_made(1, again, litmus.geometry, BbmLevel::BreakFirst);
    litmus.sim.set_vttbr_now(again);
    assert_eq!(litmus.sim.agreed(again, litmus.geometry, BASE), Some(Some((B, RW))));
    litmus.breaks(&[]);
    litmus.page(1, Entry::Invalid);
    assert_eq!(litmus.sim.agreed(again, litmus.geometry, nth(1)), None, "it is watched again");
}

#[test]
fn a_tree_that_is_in_use_keeps_its_vmid_over_an_invalidation_of_everything() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.tlbi(Tlbi::All);
    litmus.sim.dsb(Dsb::Ish);
    litmus.page(0, leaf(B, RW));
    litmus.breaks(&["R1"]);
}

#[test]
fn a_vmid_has_the_bits_that_the_machine_has() {
    for (vmid16, rules) in [(true, vec![]), (false, vec!["R27"])] {
        let litmus = Litmus::new(Features { vmid16, ..plain() });
        litmus.sim.set_vttbr(vttbr(litmus.root, Vmid(0x101)));
        litmus.breaks(&rules);
    }
}

/// Invalidated is what was left before, not what is left since.
#[test]
fn a_tree_that_comes_back_during_an_invalidation_is_not_gone() {
    for (comes_back, rules) in [(false, vec![]), (true, vec!["R27"])] {
        let litmus = Litmus::new(plain());
        litmus.sim.set_vttbr_now(0);
        litmus.tlbi(Tlbi::All);
        if comes_back {
            litmus.sim.set_vttbr_now(litmus.vttbr());
            litmus.sim.set_vttbr_now(0);
        }
        litmus.sim.dsb(Dsb::Ish);
        litmus.sim.set_vttbr_now(other_root(&litmus, VMID));
        litmus.breaks(&rules);
    }
}

#[test]
fn a_tree_keeps_its_vmid_until_the_invalidation_of_everything_is_complete() {
    for (kind, rules) in [(Dsb::Ish, vec![]), (Dsb::Ishst, vec!["R1"])] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.sim.set_vttbr_now(0);
        litmus.tlbi(Tlbi::All);
        litmus.sim.dsb(kind);
        litmus.page(0, leaf(B, RW));
        litmus.breaks(&rules);
    }
}

/// Any CPU may have walked a tree that was announced: what it lost without an invalidation is left under its VMID.
#[test]
fn what_a_tree_lost_is_left_for_the_next_under_its_vmid() {
    for (ops, rules) in [(vec![by_ipa(BASE)], vec![]), (vec![], vec!["R27"])] {
        let litmus = Litmus::new(plain());
        litmus.sim.set_vttbr_now(vttbr(Hpa(0), Vmid(2)));
        litmus.tlbi(Tlbi::All);
        litmus.sim.dsb(Dsb::Ish);
        litmus.sim.root_made(1, litmus.vttbr(), litmus.geometry, BbmLevel::BreakFirst);
        litmus.page(0, leaf(A, RW));
        litmus.page(0, Entry::Invalid);
        let other = other_root(&litmus, VMID);
        litmus.sim.set_vttbr_now(other);
        assert_eq!(litmus.rules(), ["R27"]);
        litmus.invalidate(ops);
        litmus.sim.set_vttbr_now(0);
        litmus.sim.set_vttbr_now(other);
        assert_eq!(litmus.rules()[1..], rules);
    }
}
