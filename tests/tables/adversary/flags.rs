//! The access flag and the dirty state, set by walks or by software.

use std::sync::{Arc, Mutex};

use vmsa::Dirty;

use super::*;

use DirtyLevel::AccessFlag;

fn with(accessed: bool, dirty: Dirty) -> Entry {
    leaf_with(A, RW, |a| (a.accessed, a.dirty) = (accessed, dirty))
}

fn touch(litmus: &Litmus, perms: Perms, choice: usize) -> Seen {
    litmus.sim.touch(1, litmus.vttbr(), litmus.geometry, BASE, perms, |_| choice)
}

#[test]
fn walks_set_the_flags_that_the_machine_sets() {
    for (level, dirty, read, written) in [
        (DirtyLevel::None, Dirty::Untracked, (false, Dirty::Untracked), (false, Dirty::Untracked)),
        (AccessFlag, Dirty::Untracked, (true, Dirty::Untracked), (true, Dirty::Untracked)),
        (AccessFlag, Dirty::Clean, (true, Dirty::Clean), (true, Dirty::Clean)),
        (DirtyLevel::Dirty, Dirty::Clean, (true, Dirty::Clean), (true, Dirty::Dirty)),
    ] {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, with(false, dirty));
        touch(&litmus, READ, 0);
        assert_eq!(litmus.get(Level::L3, BASE), with(read.0, read.1), "{level:?}");
        touch(&litmus, RW, 0);
        assert_eq!(litmus.get(Level::L3, BASE), with(written.0, written.1), "{level:?}");
        litmus.breaks(&[]);
    }
}

#[test]
fn what_walks_do_not_set_faults() {
    for (level, entry, allowed) in [
        (DirtyLevel::None, with(false, Dirty::Untracked), Perms::empty()),
        (AccessFlag, with(false, Dirty::Untracked), RW),
        (DirtyLevel::None, with(true, Dirty::Clean), READ),
        (AccessFlag, with(false, Dirty::Clean), READ),
        (DirtyLevel::Dirty, with(false, Dirty::Clean), RW),
    ] {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, entry);
        litmus.sees(BASE, &[Seen::Page(A, allowed)]);
        assert_eq!(touch(&litmus, RW, 0), Seen::Page(A, allowed), "{level:?} {entry:?}");
    }
}

#[test]
fn a_store_of_a_live_leaf_is_atomic_where_walks_set_flags() {
    for (level, rules) in [(DirtyLevel::None, vec![]), (AccessFlag, vec!["R22"]), (DirtyLevel::Dirty, vec!["R22"])] {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, with(true, Dirty::Clean));
        litmus.sim.write(litmus.slot(Level::L3, BASE), 0, Order::Plain);
        litmus.breaks(&rules);
    }
    let litmus = Litmus::new(marking(DirtyLevel::Dirty));
    litmus.page(0, with(true, Dirty::Clean));
    litmus.page(0, Entry::Invalid);
    litmus.breaks(&[]);
}

/// Between software's look at a leaf and its store another CPU makes the page dirty.
#[test]
fn a_flag_that_is_set_at_any_time_is_not_lost_to_an_exchange() {
    let litmus = Litmus::new(marking(DirtyLevel::Dirty));
    litmus.page(0, with(false, Dirty::Clean));
    let (vttbr, geometry, slot) = (litmus.vttbr(), litmus.geometry, litmus.slot(Level::L3, BASE));
    let old = litmus.sim.read(slot);
    let stores = Arc::new(Mutex::new(0));
    let counted = stores.clone();
    litmus.sim.on_event(move |sim, _| {
        let seen = sim.touch(1, vttbr, geometry, BASE, RW, |_| 0);
        *counted.lock().unwrap() += usize::from(seen == Seen::Page(A, RW));
    });
    let now = litmus.sim.exchange(slot, old, 0).unwrap_err();
    assert_eq!(litmus.codec().decode(now, Level::L3), with(true, Dirty::Dirty));
    litmus.sim.exchange(slot, now, 0).unwrap();
    assert_eq!(*stores.lock().unwrap(), 2);
    litmus.breaks(&[]);
}

#[test]
fn a_page_made_clean_is_written_unnoticed_until_the_invalidation() {
    for level in [DirtyLevel::None, DirtyLevel::Dirty] {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, with(true, Dirty::Dirty));
        litmus.page(0, with(true, Dirty::Clean));
        let clean = if level == DirtyLevel::None { READ } else { RW };
        litmus.sees(BASE, &[Seen::Page(A, clean), Seen::Unnoted(A, RW)]);
        assert_eq!(litmus.agreed(BASE), None);
        assert_eq!(touch(&litmus, RW, 1), Seen::Unnoted(A, RW));
        assert_eq!(litmus.get(Level::L3, BASE), with(true, Dirty::Clean));
        litmus.invalidate([by_ipa(BASE)]);
        litmus.sees(BASE, &[Seen::Page(A, clean)]);
        litmus.breaks(&[]);
    }
}

/// An entry that says clean has to be written when it is used for a store: the hardware looks at the descriptor again.
#[test]
fn a_stale_clean_entry_lets_no_store_through_by_itself() {
    let litmus = Litmus::new(marking(DirtyLevel::Dirty));
    litmus.page(0, with(true, Dirty::Clean));
    litmus.page(0, leaf(A, READ));
    litmus.sees(BASE, &[Seen::Page(A, READ)]);
    assert_eq!(touch(&litmus, RW, 1), Seen::Page(A, READ));
    litmus.page(0, Entry::Invalid);
    litmus.sees(BASE, &[Seen::Nothing, Seen::Page(A, READ)]);
    assert_eq!(touch(&litmus, RW, 1), Seen::Nothing);
    assert_eq!(touch(&litmus, READ, 1), Seen::Page(A, READ));
    assert_eq!(litmus.get(Level::L3, BASE), Entry::Invalid);
}

#[test]
fn a_page_made_dirty_needs_no_invalidation_where_the_hardware_looks_again() {
    for (level, is_same) in [(DirtyLevel::None, false), (DirtyLevel::Dirty, true)] {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, with(true, Dirty::Clean));
        litmus.page(0, with(true, Dirty::Dirty));
        assert_eq!(litmus.agreed(BASE).is_some(), is_same, "{level:?}");
    }
}

#[test]
fn a_leaf_without_the_access_flag_is_never_held() {
    for level in [DirtyLevel::None, AccessFlag] {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, with(false, Dirty::Untracked));
        litmus.page(0, leaf(B, RW));
        litmus.sees(BASE, &[Seen::Page(B, RW)]);
        litmus.breaks(&[]);
    }
}

#[test]
fn a_leaf_that_lost_its_access_flag_is_held_as_before() {
    let litmus = Litmus::new(plain());
    litmus.page(0, leaf(A, RW));
    litmus.page(0, with(false, Dirty::Untracked));
    litmus.page(0, Entry::Invalid);
    litmus.sees(BASE, &[Seen::Nothing, Seen::Page(A, RW)]);
}

/// A table that is out of the tree is walked, and its flags are set, until it is invalidated.
#[test]
fn walks_mark_what_a_detached_table_says() {
    let litmus = Litmus::new(marking(DirtyLevel::Dirty));
    litmus.page(0, with(false, Dirty::Clean));
    let slot = litmus.slot(Level::L3, BASE);
    litmus.make(Level::L2, BASE, Entry::Invalid);
    litmus.sees(BASE, &[Seen::Nothing, Seen::Page(A, RW), Seen::Page(A, READ)]);
    for choice in 0..3 {
        touch(&litmus, RW, choice);
    }
    assert_eq!(litmus.codec().decode(litmus.sim.memory().word(slot), Level::L3), with(true, Dirty::Dirty));
    litmus.invalidate([Tlbi::Vmid]);
    litmus.sees(BASE, &[Seen::Nothing]);
}

/// A walk may set the dirty state at any member of a group, for all of them.
#[test]
fn one_dirty_member_speaks_for_its_group() {
    let member = |number: u64, dirty| {
        leaf_with(A.add(number * P), RW, |a| (a.contiguous, a.accessed, a.dirty) = (true, true, dirty))
    };
    let litmus = Litmus::new(marking(DirtyLevel::Dirty));
    (0..16).for_each(|number| litmus.page(number, member(number, Dirty::Clean)));
    assert_eq!(touch(&litmus, RW, 0), Seen::Page(A, RW));
    assert_eq!(litmus.get(Level::L3, BASE), member(0, Dirty::Dirty));
    assert_eq!(litmus.agreed(nth(7)), Some(Some((A.add(7 * P), RW))));
    litmus.breaks(&[]);
    litmus.page(0, member(0, Dirty::Clean));
    litmus.sees(nth(7), &[Seen::Page(A.add(7 * P), RW), Seen::Unnoted(A.add(7 * P), RW)]);
}

#[test]
fn a_leaf_without_the_access_flag_gives_way_to_anything() {
    for (level, before) in
        [(DirtyLevel::None, vec![Seen::Nothing, Seen::Page(A, Perms::empty())]), (AccessFlag, vec![Seen::Nothing])]
    {
        let litmus = Litmus::new(marking(level));
        litmus.page(0, with(false, Dirty::Untracked));
        litmus.set(Level::L3, BASE, Entry::Invalid);
        litmus.sees(BASE, &before);
        litmus.page(0, leaf(B, RW));
        litmus.breaks(&[]);
    }
}

#[test]
fn a_store_that_is_not_let_through_makes_nothing_dirty() {
    let clean = leaf_with(A, READ, |a| a.dirty = Dirty::Clean);
    let litmus = Litmus::new(marking(DirtyLevel::Dirty));
    litmus.page(0, clean);
    assert_eq!(touch(&litmus, RW, 0), Seen::Page(A, READ));
    assert_eq!(litmus.get(Level::L3, BASE), clean);
}

/// A walk may still read a block that was not to be held; what it would set is not there any more.
#[test]
fn a_walk_that_is_late_marks_nothing() {
    let litmus = Litmus::new(Features { bbm: BbmLevel::NoTranslationCaching, ..marking(DirtyLevel::Dirty) });
    let block = BASE.add(2 << 20);
    litmus.make(Level::L2, block, leaf_with(A, RW, |a| (a.uncached, a.dirty) = (true, Dirty::Clean)));
    litmus.set(Level::L2, block, Entry::Invalid);
    litmus.sees(block, &[Seen::Nothing, Seen::Page(A, RW)]);
    litmus.sim.touch(1, litmus.vttbr(), litmus.geometry, block, RW, |_| 1);
    assert_eq!(litmus.get(Level::L2, block), Entry::Invalid);
}
