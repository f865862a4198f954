//! Every kind of entry stored over every other, at each level of FEAT_BBM, with the invalidation after and not before.

use super::{Comparison, Verdict};
use crate::scene::{
    ACCESSED, DEVICE, DEVICE_EARLY, DIRTY_MANAGED, EXECUTE_NEVER, IPA, MEM_ATTR, Machine, NON_CACHEABLE, OUTER, PAGE,
    READ, SHAREABILITY, SOFTWARE, Scene, VALID, WRITE, table,
};

/// What an entry leads to, and how.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    /// What makes another one of it that needs a break: nothing else does.
    identity: Identity,
    change: fn(u64) -> u64,
}

/// What must not change while an entry is live, in the words of the rules R1 to R4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    is_valid: bool,
    is_elsewhere: bool,
    memory: &'static str,
    is_outer: bool,
}

const PLAIN: Identity = Identity { is_valid: true, is_elsewhere: false, memory: "write-back", is_outer: false };

const fn kind(name: &'static str, identity: Identity, change: fn(u64) -> u64) -> Kind {
    Kind { name, identity, change }
}

const fn memory(word: u64, attributes: u64) -> u64 {
    word & !MEM_ATTR | attributes
}

const KINDS: [Kind; 15] = [
    kind("nothing", Identity { is_valid: false, ..PLAIN }, |_| 0),
    kind("a note", Identity { is_valid: false, ..PLAIN }, |word| word & !VALID),
    kind("the page", PLAIN, |word| word),
    kind("read-only", PLAIN, |word| word & !WRITE),
    kind("no access", PLAIN, |word| word & !(READ | WRITE)),
    kind("executable", PLAIN, |word| word & !EXECUTE_NEVER),
    kind("dirty-managed", PLAIN, |word| word | DIRTY_MANAGED),
    kind("with notes", PLAIN, |word| word | SOFTWARE),
    kind("elsewhere", Identity { is_elsewhere: true, ..PLAIN }, |word| word + PAGE),
    kind("elsewhere and read-only", Identity { is_elsewhere: true, ..PLAIN }, |word| (word + PAGE) & !WRITE),
    kind("a device", Identity { memory: "device", ..PLAIN }, |word| memory(word, DEVICE)),
    kind("another device", Identity { memory: "other device", ..PLAIN }, |word| memory(word, DEVICE_EARLY)),
    kind("not cached", Identity { memory: "non-cacheable", ..PLAIN }, |word| memory(word, NON_CACHEABLE)),
    kind("written through", Identity { memory: "write-through", ..PLAIN }, |word| memory(word, 0b1010 << 2)),
    kind("outer", Identity { is_outer: true, ..PLAIN }, |word| word & !SHAREABILITY | OUTER),
];

/// The rules that a store of `new` over a live `old` is against.
fn broken_rules(old: Identity, new: Identity) -> Vec<&'static str> {
    if !old.is_valid || !new.is_valid {
        return Vec::new();
    }
    let mut rules = Vec::new();
    if old.is_elsewhere != new.is_elsewhere {
        rules.push("R1");
    }
    if old.memory != new.memory {
        rules.extend(["R2", "R3"]);
    }
    if old.is_outer != new.is_outer {
        rules.push("R4");
    }
    rules
}

/// A machine on which all kinds are well-formed, and a slot with one of them.
fn stage(bbm: u8, old: Kind) -> (Scene, u64, u64) {
    let (mut s, vm) = Scene::with_vm(Machine { fwb: false, bbm, ..Machine::TWO });
    s.begin("map", 1, IPA, 1).lock(1);
    let pa = s.frames(vm, 2);
    let (slot, word) = (s.slot(vm, IPA, 3), s.leaf(pa, 3));
    s.w(slot, (old.change)(word)).dsb("ishst").isb().close(vm);
    (s, slot, word)
}

#[test]
fn every_leaf_over_every_other() {
    let mut comparison = Comparison::default();
    for (bbm, old, new) in every_pair() {
        let (mut s, slot, word) = stage(bbm, old);
        s.begin("map", 1, IPA, 1).lock(1).w(slot, (new.change)(word)).flush_ipa(IPA).unlock(1).end(0);
        let rules = broken_rules(old.identity, new.identity);
        let verdict = if rules.is_empty() { Verdict::Right } else { Verdict::Wrong(rules) };
        comparison.add(&format!("{} over {} at level {bbm}", new.name, old.name), &s.text(), &verdict);
    }
    comparison.conclude();
}

/// With a break and an invalidation between them any leaf may follow any other.
#[test]
fn every_leaf_after_every_other() {
    let mut differences = Vec::new();
    for (bbm, old, new) in every_pair() {
        let (mut s, slot, word) = stage(bbm, old);
        s.begin("map", 1, IPA, 1).lock(1).w(slot, 0).flush_ipa(IPA).w(slot, (new.change)(word)).dsb("ishst");
        let found = crate::scene::judged(&s.unlock(1).end(0).text()).violations;
        differences.extend(found.first().map(|found| format!("{} after {}: {}", new.name, old.name, found.text)));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// With a break and no invalidation between them a leaf may be followed by what could have been stored over it, if that takes
/// no right. Whether a mapping may end with less than was there and nothing invalidated, the rules do not say.
#[test]
fn every_leaf_after_every_other_without_an_invalidation() {
    let mut comparison = Comparison::default();
    for (bbm, old, new) in every_pair() {
        let (mut s, slot, word) = stage(bbm, old);
        s.begin("map", 1, IPA, 1).lock(1).w(slot, 0).w(slot, (new.change)(word)).dsb("ish").unlock(1).end(0);
        let rules = broken_rules(old.identity, new.identity);
        let takes = old.identity.is_valid
            && (!new.identity.is_valid || rights((old.change)(word)) & !rights((new.change)(word)) != 0);
        let verdict = match (rules.is_empty(), takes) {
            (true, true) => Verdict::Open,
            (true, false) => Verdict::Right,
            (false, _) => Verdict::Wrong([&rules[..], &["R8"]].concat()),
        };
        comparison.add(&format!("{} after {} at level {bbm}", new.name, old.name), &s.text(), &verdict);
    }
    comparison.conclude();
}

/// Returns the rights of a descriptor, one bit each. A fetch needs no right to read (FEAT_XNX or not).
const fn rights(word: u64) -> u64 {
    if word & VALID == 0 { 0 } else { word & (READ | WRITE) | !word & EXECUTE_NEVER }
}

fn every_pair() -> impl Iterator<Item = (u8, Kind, Kind)> {
    (0..=2).flat_map(|bbm| KINDS.into_iter().flat_map(move |old| KINDS.into_iter().map(move |new| (bbm, old, new))))
}

/// A right that is taken and not invalidated is seen when the operation says so.
#[test]
fn every_right_over_every_other_without_an_invalidation() {
    const RIGHTS: [u64; 3] = [READ, WRITE, EXECUTE_NEVER];
    let mut comparison = Comparison::default();
    for (old, new) in (0..8).flat_map(|old| (0..8).map(move |new| (old, new))) {
        let word = |base: u64, set: u64| {
            (0..3).fold(base, |word, bit| if set >> bit & 1 == 1 { word | RIGHTS[bit] } else { word & !RIGHTS[bit] })
        };
        let (mut s, vm) = Scene::with_vm(Machine::TWO);
        let page = s.map_as(vm, IPA, 3, |leaf| word(leaf, old));
        s.change("protect", page, word(page.word, new), |s| s.dsb("ish"));
        let taken = rights(word(page.word, old)) & !rights(word(page.word, new));
        let verdict = if taken == 0 { Verdict::Right } else { Verdict::Wrong(vec!["R13", "R50"]) };
        comparison.add(&format!("{new:03b} over {old:03b}"), &s.text(), &verdict);
    }
    comparison.conclude();
}

/// The same for EL1 and EL0 apart, with FEAT_XNX.
#[test]
fn every_execute_right_over_every_other_without_an_invalidation() {
    // XN[1:0] 0 to 3, with the rights of EL1 in bit 0 and of EL0 in bit 1 (DDI 0487, "Stage 2 instruction execution").
    const GRANTED: [u64; 4] = [0b11, 0b10, 0b00, 0b01];
    let mut comparison = Comparison::default();
    for (old, new) in (0..4).flat_map(|old| (0..4).map(move |new| (old, new))) {
        let (mut s, vm) = Scene::with_vm(Machine { xnx: true, ..Machine::TWO });
        let word = |base: u64, set: usize| base & !(0b11 << 53) | (set as u64) << 53;
        let page = s.map_as(vm, IPA, 3, |leaf| word(leaf, old));
        s.change("protect", page, word(page.word, new), |s| s.dsb("ish"));
        let taken = GRANTED[old] & !GRANTED[new];
        let verdict = if taken == 0 { Verdict::Right } else { Verdict::Wrong(vec!["R13", "R50"]) };
        comparison.add(&format!("XN {new:02b} over {old:02b}"), &s.text(), &verdict);
    }
    comparison.conclude();
}

/// Tables and blocks: at level 0 never in place, at level 1 by way of nT, at level 2 in place.
#[test]
fn every_change_of_size() {
    let mut comparison = Comparison::default();
    for (bbm, by_nt, flushed, is_split) in every_size() {
        let mut s = resized(bbm, by_nt, flushed, is_split);
        let is_right = match bbm {
            0 => false,
            1 => by_nt && flushed,
            _ => !by_nt || flushed,
        };
        s.flush_vmid().unlock(1).end(0);
        let verdict = match (is_right, bbm) {
            (_, 0) if by_nt => Verdict::Wrong(vec!["R5", "R5a", "R31"]),
            // Whether the mark is needless at level 2 or asks for the invalidation is not said.
            (_, 2) if by_nt && !flushed => Verdict::Open,
            (true, _) => Verdict::Right,
            (false, _) => Verdict::Wrong(vec!["R5", "R5a", "R5b"]),
        };
        comparison.add(&format!("level {bbm}, nT {by_nt}, flush {flushed}, split {is_split}"), &s.text(), &verdict);
    }
    comparison.conclude();
}

fn every_size() -> impl Iterator<Item = (u8, bool, bool, bool)> {
    let choices = [false, true];
    (0..=2).flat_map(move |bbm| {
        choices.into_iter().flat_map(move |by_nt| {
            choices
                .into_iter()
                .flat_map(move |flushed| choices.into_iter().map(move |split| (bbm, by_nt, flushed, split)))
        })
    })
}

/// Splits a block, or merges a table, over what is live; perhaps by way of a block with nT, perhaps with a flush then.
fn resized(bbm: u8, by_nt: bool, flushed: bool, is_split: bool) -> Scene {
    let (mut s, block) = Scene::with_leaf(Machine::bbm(bbm), 2);
    s.begin("map", 1, IPA, 512).lock(1);
    let child = s.child_of(block);
    if !is_split {
        s.break_(block).flush_vmid().release(block.slot, table(child)).dsb("ishst");
    }
    if by_nt {
        s.w(block.slot, block.word | 1 << 16);
    }
    if flushed {
        s.flush_vmid();
    }
    s.release(block.slot, if is_split { table(child) } else { block.word });
    s
}

#[test]
fn the_kinds_are_what_their_names_say() {
    let (s, _, word) = stage(0, KINDS[2]);
    assert_eq!(s.leaf(word & !0xfff & 0xffff_ffff_ffff, 3), word);
    assert!(word & ACCESSED != 0);
}
