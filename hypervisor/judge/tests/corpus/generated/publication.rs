//! Every way to link a table and to enter a page.

use super::{Comparison, Verdict};
use crate::scene::{IPA, Machine, Scene, table};

/// Barriers, and whether they order stores, whether they make stores visible to walks of this CPU and of the others.
const BARRIERS: [(&str, bool, bool); 13] = [
    ("", false, false),
    ("dmb ishst", true, false),
    ("dmb ish", true, false),
    ("dmb ishld", false, false),
    ("dmb sy", true, false),
    ("dmb osh", true, false),
    ("dsb ishst", true, true),
    ("dsb ish", true, true),
    ("dsb ishld", false, false),
    ("dsb osh", true, true),
    ("dsb sy", true, true),
    ("dsb st", true, true),
    ("isb", false, false),
];

fn barrier(s: &mut Scene, name: &str) {
    match name.split_once(' ') {
        Some(("dmb", name)) => _ = s.dmb(name),
        Some((_, name)) => _ = s.dsb(name),
        None if name == "isb" => _ = s.isb(),
        None => {}
    }
}

/// Which of the last two stores comes last is what is varied: whether the table is whole before it is linked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Filling {
    Zeroed,
    ZeroedAfterTheLink,
    NotAtAll,
}

#[test]
fn every_way_to_link_a_table() {
    let mut comparison = Comparison::default();
    for filling in [Filling::Zeroed, Filling::ZeroedAfterTheLink, Filling::NotAtAll] {
        for ((name, orders, _), store) in
            BARRIERS.into_iter().flat_map(|b| ["plain", "release"].map(|store| (b, store)))
        {
            let s = linked(filling, name, store);
            let is_right = filling == Filling::Zeroed && (orders || store == "release");
            let verdict = if is_right { Verdict::Right } else { Verdict::Wrong(vec!["R29"]) };
            comparison.add(&format!("{filling:?}, {name}, {store}"), &s.text(), &verdict);
        }
    }
    comparison.conclude();
}

fn linked(filling: Filling, name: &str, store: &str) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let child = s.raw_table();
    if filling == Filling::Zeroed {
        s.zero(child, 1);
    }
    barrier(&mut s, name);
    s.store(vm.root + 16, table(child), store);
    if filling == Filling::ZeroedAfterTheLink {
        s.zero(child, 1);
    }
    s.dsb("ishst").close(vm);
    s
}

#[test]
fn every_way_to_enter_a_page() {
    let mut comparison = Comparison::default();
    for ((before, orders, _), store) in BARRIERS.into_iter().flat_map(|b| ["plain", "release"].map(|store| (b, store)))
    {
        for (after, _, publishes) in BARRIERS {
            let is_ordered = orders || store == "release";
            let verdict = match (is_ordered, publishes) {
                (true, true) => Verdict::Right,
                (false, true) => Verdict::Wrong(vec!["R29a", "R29", "R34"]),
                (true, false) => Verdict::Wrong(vec!["R28", "R50"]),
                (false, false) => Verdict::Wrong(vec!["R29a", "R29", "R34", "R28", "R50"]),
            };
            comparison.add(&format!("{before}; {store}; {after}"), &entered(before, store, after).text(), &verdict);
        }
    }
    comparison.conclude();
}

fn entered(before: &str, store: &str, after: &str) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::TWO);
    s.begin("map", 1, IPA, 1).lock(1);
    let slot = s.slot(vm, IPA, 3);
    let pa = s.raw_frames(1);
    s.dsb("ish").zero(pa, 1).owner(pa, 1, 1);
    barrier(&mut s, before);
    let word = s.leaf(pa, 3);
    s.store(slot, word, store);
    barrier(&mut s, after);
    s.close(vm).resume(vm);
    s
}
