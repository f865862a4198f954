//! What stores may do, and when walks see them.

use super::*;

#[test]
fn a_new_page_may_not_be_seen_before_a_barrier() {
    let litmus = Litmus::new(plain());
    litmus.set(Level::L3, BASE, leaf(A, RW));
    litmus.sees(BASE, &[Seen::Nothing, Seen::Page(A, RW)]);
    litmus.sim.dsb(Dsb::Nshst);
    assert_eq!(litmus.seen_by(0, BASE), [Seen::Page(A, RW)].into());
    assert_eq!(litmus.seen_by(1, BASE).len(), 2);
    Sim::run_on(1);
    litmus.sim.dsb(Dsb::Ish);
    assert_eq!(litmus.seen_by(1, BASE).len(), 2, "another CPU's barrier");
    Sim::run_on(0);
    litmus.sim.dsb(Dsb::Ishst);
    litmus.sees(BASE, &[Seen::Page(A, RW)]);
}

#[test]
fn an_old_value_is_seen_until_a_barrier_and_held_until_an_invalidation() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.set(Level::L3, BASE, leaf(A, READ));
    litmus.tlbi(Tlbi::Vmid);
    litmus.sim.dsb(Dsb::Ish);
    litmus.sees(BASE, &[Seen::Page(A, READ), Seen::Page(A, RW)]);
    litmus.tlbi(Tlbi::Vmid);
    litmus.sim.dsb(Dsb::Ish);
    litmus.sees(BASE, &[Seen::Page(A, READ)]);
    litmus.breaks(&[]);
}

#[test]
fn an_entry_that_cannot_be_held_is_seen_until_a_barrier_and_no_longer() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf_with(A, RW, |a| a.accessed = false));
    litmus.set(Level::L3, BASE, leaf(A, RW));
    litmus.sees(BASE, &[Seen::Page(A, Perms::empty()), Seen::Page(A, RW)]);
    litmus.sim.dsb(Dsb::Ishst);
    litmus.sees(BASE, &[Seen::Page(A, RW)]);
}

#[test]
fn a_relaxed_permission_may_fault_once_more() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, READ));
    litmus.page(0, leaf(A, RW));
    litmus.sees(BASE, &[Seen::Page(A, READ), Seen::Page(A, RW)]);
    litmus.invalidate([by_ipa(BASE)]);
    litmus.sees(BASE, &[Seen::Page(A, RW)]);
    litmus.breaks(&[]);
}

#[test]
fn what_is_the_same_page_may_be_made_anew() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, Entry::Invalid);
    litmus.page(0, leaf_with(A, READ, |a| a.shared = true));
    litmus.breaks(&[]);
}

#[test]
fn another_page_or_type_is_not_put_over_a_page() {
    let device = leaf_with(A, RW, |a| a.memory = vmsa::MemoryType::Device);
    for (other, rule) in [(leaf(B, RW), "R1"), (device, "R2")] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.page(0, other);
        litmus.breaks(&[rule]);
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.page(0, Entry::Invalid);
        litmus.invalidate([by_ipa(BASE)]);
        litmus.page(0, other);
        litmus.breaks(&[]);
    }
}

#[test]
fn two_translations_of_an_address_conflict() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, leaf(B, RW));
    litmus.sees(BASE, &[Seen::Page(A, RW), Seen::Page(B, RW), Seen::Conflict]);
}

/// A stale entry is stale by its address, through whichever table the new one is reached.
#[test]
fn a_page_below_a_new_table_is_judged_by_what_was_below_the_old() {
    for (page, rules) in [(leaf(A, RW), vec![]), (leaf(B, RW), vec!["R1"])] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.make(Level::L2, BASE, Entry::Invalid);
        litmus.invalidate([by_ipa(nth(1))]);
        litmus.make(Level::L2, BASE, Entry::Table(litmus.frame(3)));
        litmus.page(0, page);
        litmus.breaks(&rules);
    }
}

#[test]
fn a_table_is_linked_in_order() {
    for (order, rules) in [(Order::Release, vec![]), (Order::Plain, vec!["R29"])] {
        let litmus = Litmus::new(plain());
        let slot = litmus.slot(Level::L2, BASE.add(2 << 20));
        let table = litmus.codec().encode(Entry::Table(litmus.frame(3)), Level::L2);
        litmus.sim.write(slot, table, order);
        litmus.breaks(&rules);
    }
}

#[test]
fn a_table_has_one_place() {
    let litmus = Litmus::new(plain());
    litmus.make(Level::L2, BASE.add(2 << 20), Entry::Table(litmus.frame(2)));
    litmus.breaks(&["R30"]);
    let litmus = Litmus::new(plain());
    litmus.make(Level::L2, BASE, Entry::Invalid);
    litmus.invalidate([by_ipa(BASE)]);
    litmus.make(Level::L2, BASE.add(2 << 20), Entry::Table(litmus.frame(2)));
    litmus.breaks(&[]);
}

#[test]
fn a_descriptor_means_something() {
    let litmus = Litmus::new(plain());
    litmus.sim.write(litmus.slot(Level::L3, BASE), 0x7fd, Order::Plain);
    litmus.breaks(&["R31"]);
    litmus.sees(BASE, &[Seen::Nothing]);
}

#[test]
fn a_walk_through_what_is_no_table_finds_anything() {
    let litmus = Litmus::new(plain());
    litmus.make(Level::L2, BASE.add(2 << 20), Entry::Table(A));
    litmus.sees(BASE.add(2 << 20), &[Seen::Anything]);
}

#[test]
fn other_cpus_may_access_at_each_step_of_an_operation() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    let (vttbr, geometry) = (litmus.vttbr(), litmus.geometry);
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = heard.clone();
    litmus.sim.on_event(move |sim, cpu| {
        let seen = sim.access(1, vttbr, geometry, BASE);
        notes.lock().unwrap().push((cpu, seen.contains(&Seen::Page(A, RW)), seen.contains(&Seen::Nothing)));
    });
    litmus.set(Level::L3, BASE, Entry::Invalid);
    litmus.invalidate([by_ipa(BASE)]);
    litmus.sim.isb();
    litmus.sim.no_more_events();
    litmus.sim.isb();
    let both = (0, true, true);
    // The exchange; the barrier; by IPA; the barrier; stage 1; the barrier; what follows.
    assert_eq!(*heard.lock().unwrap(), [(0, true, false), both, both, both, both, both, (0, false, true)]);
}

#[test]
fn all_that_a_new_table_leads_to_is_judged() {
    for (page, rules) in [(leaf(A, RW), vec![]), (leaf(B, RW), vec!["R1"])] {
        let litmus = Litmus::new(plain());
        litmus.page(0, leaf(A, RW));
        litmus.make(Level::L2, BASE, Entry::Invalid);
        litmus.invalidate([by_ipa(nth(1))]);
        litmus.set_at(litmus.frame(3), Level::L3, page);
        litmus.make(Level::L2, BASE, Entry::Table(litmus.frame(3)));
        litmus.breaks(&rules);
    }
}

#[test]
fn there_is_nothing_past_the_last_address() {
    let litmus = Litmus::new(plain());
    // The next frame is a table of level 2, whose first entry would be taken for one of level 1.
    litmus.set_at(litmus.frame(2), Level::L2, leaf(A, RW));
    litmus.sees(litmus.geometry.limit(), &[Seen::Nothing]);
}
