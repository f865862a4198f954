//! Pages that belong to somebody.

use super::*;

#[test]
fn a_stale_entry_that_reaches_anothers_page_is_found_by_an_access() {
    let litmus = Litmus::new(plain());
    litmus.sim.own(A, 1);
    litmus.page(0, leaf(A, RW));
    litmus.sees(BASE, &[Seen::Page(A, RW)]);
    litmus.page(0, Entry::Invalid);
    litmus.sim.own(A, 2);
    litmus.sees(BASE, &[Seen::Nothing, Seen::Foreign(A)]);
    assert_eq!(litmus.rules(), ["R33", "R33"], "one of each CPU");
}

#[test]
fn a_page_that_two_vms_lead_to_is_one_ones() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.sim.own(A, 5);
    assert_eq!(litmus.seen_by(0, BASE), [Seen::Foreign(A)].into());
    litmus.sim.own_vmid(VMID, 5);
    assert_eq!(litmus.seen_by(0, BASE), [Seen::Page(A, RW)].into());
    litmus.breaks(&["R33"]);
}

#[test]
fn a_frame_that_changes_hands_is_nobodys_and_in_no_tlb() {
    let litmus = Litmus::new(plain());
    litmus.sim.own(A, 1);
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.invalidate([by_ipa(BASE)]);
    litmus.sim.own(A, 2);
    litmus.sim.handed_over(A);
    litmus.breaks(&[]);
    litmus.page(0, leaf(A, RW));
    litmus.sees(BASE, &[Seen::Page(A, RW)]);
    litmus.page(0, Entry::Invalid);
    litmus.sim.handed_over(A);
    litmus.breaks(&["R33"]);
}
