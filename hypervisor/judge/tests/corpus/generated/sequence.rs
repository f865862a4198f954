//! Every sequence of barrier, TLBI, barrier, TLBI, barrier between a store and what relies on it.

use super::{Comparison, Verdict};
use crate::scene::{Machine, Page, Scene, WRITE};

/// How far a barrier or a TLBI reaches.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reach {
    Local,
    Inner,
    Outer,
}

/// A DSB.
#[derive(Clone, Copy, Debug)]
struct Barrier {
    name: &'static str,
    reach: Reach,
    waits_for_stores: bool,
    /// It waits for loads too, without which no TLBI is complete.
    is_full: bool,
}

const fn dsb(name: &'static str, reach: Reach, waits_for_stores: bool, is_full: bool) -> Option<Barrier> {
    Some(Barrier { name, reach, waits_for_stores, is_full })
}

const BARRIERS: [Option<Barrier>; 8] = [
    None,
    dsb("nshst", Reach::Local, true, false),
    dsb("nsh", Reach::Local, true, true),
    dsb("ishld", Reach::Inner, false, false),
    dsb("ishst", Reach::Inner, true, false),
    dsb("ish", Reach::Inner, true, true),
    dsb("osh", Reach::Outer, true, true),
    dsb("sy", Reach::Outer, true, true),
];

/// What a TLBI takes out of a TLB.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    /// What stage 2 says of the page.
    Stage2,
    /// What both stages say together, as far as nothing is left of stage 2 that it could be made from again.
    Combined,
    /// Both.
    Both,
    /// Nothing of a guest's.
    Nothing,
}

/// A TLBI.
#[derive(Clone, Copy, Debug)]
struct Tlbi {
    name: &'static str,
    target: Target,
    reach: Reach,
    by_address: bool,
}

const fn tlbi(name: &'static str, target: Target, reach: Reach) -> Option<Tlbi> {
    let by_address = matches!(target, Target::Stage2);
    Some(Tlbi { name, target, reach, by_address })
}

const TLBIS: [Option<Tlbi>; 16] = [
    None,
    tlbi("ipas2e1is", Target::Stage2, Reach::Inner),
    tlbi("ipas2le1is", Target::Stage2, Reach::Inner),
    tlbi("ipas2e1", Target::Stage2, Reach::Local),
    tlbi("ipas2e1os", Target::Stage2, Reach::Outer),
    tlbi("vmalle1is", Target::Combined, Reach::Inner),
    tlbi("vmalle1", Target::Combined, Reach::Local),
    tlbi("vmalle1os", Target::Combined, Reach::Outer),
    tlbi("vmalls12e1is", Target::Both, Reach::Inner),
    tlbi("vmalls12e1", Target::Both, Reach::Local),
    tlbi("vmalls12e1os", Target::Both, Reach::Outer),
    tlbi("alle1is", Target::Both, Reach::Inner),
    tlbi("alle1", Target::Both, Reach::Local),
    tlbi("alle1os", Target::Both, Reach::Outer),
    tlbi("alle2is", Target::Nothing, Reach::Inner),
    Some(Tlbi { name: "vae2is", target: Target::Nothing, reach: Reach::Inner, by_address: true }),
];

/// What lies between the store and what relies on it.
#[derive(Clone, Copy, Debug)]
struct Steps {
    barriers: [Option<Barrier>; 3],
    tlbis: [Option<Tlbi>; 2],
}

impl Steps {
    /// Returns every sequence of some barriers and some TLBIs.
    fn all(barriers: &'static [Option<Barrier>], tlbis: &'static [Option<Tlbi>]) -> impl Iterator<Item = Self> {
        let barriers = || barriers.iter().copied();
        let pairs = tlbis.iter().flat_map(|first| tlbis.iter().map(move |second| [*first, *second]));
        pairs.flat_map(move |tlbis| {
            let triples =
                barriers().flat_map(move |a| barriers().flat_map(move |b| barriers().map(move |c| [a, b, c])));
            triples.map(move |barriers| Self { barriers, tlbis })
        })
    }

    fn write(&self, s: &mut Scene, ipa: u64) {
        for number in 0..3 {
            if let Some(barrier) = self.barriers[number] {
                s.dsb(barrier.name);
            }
            match self.tlbis.get(number).copied().flatten() {
                Some(tlbi) if tlbi.by_address => s.tlbi_ipa(tlbi.name, ipa),
                Some(tlbi) => s.tlbi(tlbi.name),
                None => s,
            };
        }
    }

    fn name(&self) -> String {
        let barrier = |number: usize| self.barriers[number].map_or("-", |barrier| barrier.name);
        let tlbi = |number: usize| self.tlbis[number].map_or("-", |tlbi| tlbi.name);
        format!("{} {} {} {} {}", barrier(0), tlbi(0), barrier(1), tlbi(1), barrier(2))
    }
}

/// How the rules are read where they leave a choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    /// A barrier goes as far as the TLBI that it is for.
    Strict,
    /// A barrier goes as far as the CPUs that may hold the entry.
    Lenient,
}

/// The reference: what the steps are worth where the CPUs that may hold the entry are within `holders`.
struct Worth {
    steps: Steps,
    holders: Reach,
    reading: Reading,
}

impl Worth {
    /// How far a barrier for this TLBI must reach.
    fn needed(&self, tlbi: Tlbi) -> Reach {
        match self.reading {
            Reading::Strict => tlbi.reach,
            Reading::Lenient => tlbi.reach.min(self.holders),
        }
    }

    /// The store is visible to walks before the TLBI.
    fn is_visible(&self, number: usize) -> bool {
        self.steps.tlbis[number].is_some_and(|tlbi| {
            let mut before = self.steps.barriers[..=number].iter().flatten();
            before.any(|barrier| barrier.waits_for_stores && barrier.reach >= self.needed(tlbi))
        })
    }

    /// One of these barriers completes the TLBI. Where several CPUs hold the entry there is one reading.
    fn is_complete(&self, number: usize, barriers: &[Option<Barrier>]) -> bool {
        self.steps.tlbis[number].is_some_and(|tlbi| {
            let needed = if self.holders == Reach::Local { self.needed(tlbi) } else { tlbi.reach };
            barriers.iter().flatten().any(|barrier| barrier.is_full && barrier.reach >= needed)
        })
    }

    /// The TLBI takes this out of every TLB that may hold it, once it is complete.
    fn reaches(&self, number: usize, targets: &[Target]) -> bool {
        let tlbi = self.steps.tlbis[number];
        tlbi.is_some_and(|tlbi| tlbi.reach >= self.holders && targets.contains(&tlbi.target)) && self.is_visible(number)
    }

    fn suffices(&self) -> bool {
        let [_, middle, last] = self.steps.barriers;
        let by_one =
            |number, barriers: &[_]| self.reaches(number, &[Target::Both]) && self.is_complete(number, barriers);
        let in_two_steps = self.reaches(0, &[Target::Stage2, Target::Both])
            && self.is_complete(0, &[middle])
            && self.reaches(1, &[Target::Combined, Target::Both])
            && self.is_complete(1, &[last]);
        by_one(0, &[middle, last]) || by_one(1, &[last]) || in_two_steps
    }

    /// What may be said to be wrong, besides that it is not invalidated and what relies on it.
    fn causes(&self) -> Vec<&'static str> {
        let tlbis: Vec<_> = (0..2).filter_map(|number| self.steps.tlbis[number].map(|tlbi| (number, tlbi))).collect();
        let after = |number: usize| &self.steps.barriers[number + 1..];
        let causes = [
            ("R9", tlbis.iter().any(|(number, _)| !self.is_visible(*number))),
            (
                "R10",
                tlbis
                    .iter()
                    .any(|(number, tlbi)| tlbi.reach < self.holders || !self.is_complete(*number, after(*number))),
            ),
            ("R11", tlbis.iter().any(|(_, tlbi)| matches!(tlbi.target, Target::Stage2 | Target::Combined))),
            ("R49", tlbis.iter().any(|(_, tlbi)| tlbi.target == Target::Nothing)),
        ];
        causes.into_iter().filter_map(|(rule, is_so)| is_so.then_some(rule)).collect()
    }
}

fn verdict(steps: Steps, holders: Reach, relying: &[&'static str]) -> Verdict {
    let worth = |reading| Worth { steps, holders, reading };
    match (worth(Reading::Strict).suffices(), worth(Reading::Lenient).suffices()) {
        (true, true) => Verdict::Right,
        (false, false) => Verdict::Wrong([&["R8"], relying, &worth(Reading::Strict).causes()[..]].concat()),
        _ => Verdict::Open,
    }
}

/// What is done to a page, before the steps and after them.
struct Sequence {
    before: fn(&mut Scene, Page),
    after: fn(&mut Scene, Page),
    /// The rules of what relies on the steps.
    relying: &'static [&'static str],
}

/// Where nothing may be left of the entry.
const REMAP: Sequence = Sequence {
    before: |s, page| _ = s.break_(page),
    after: |s, page| _ = s.make(page.slot, page.word_to(page.pa + 0x1000)).close(page.vm),
    relying: &["R1"],
};
const UNMAP: Sequence =
    Sequence { before: |s, page| _ = s.break_(page), after: |s, page| _ = s.close(page.vm), relying: &["R33a", "R50"] };
const PROTECT: Sequence = Sequence {
    before: |s, page| _ = s.w(page.slot, page.word & !WRITE),
    after: |s, page| _ = s.close(page.vm),
    relying: &["R13", "R50"],
};
const FREE: Sequence = Sequence {
    before: |s, page| _ = s.break_(page),
    after: |s, page| _ = s.owner(page.pa, 1, 0).free(page.pa, 1).close(page.vm),
    relying: &["R33"],
};

/// A page to try a sequence on, with a frame after its own, and the CPUs that may hold it.
fn stage(holders: Reach) -> (Scene, Page) {
    let mut s = Scene::new(Machine::ALL_TLBIS);
    let vm = s.tree(1, 1, 39, 1);
    match holders {
        Reach::Local => _ = s.enter(vm),
        _ => s.enter_everywhere(vm),
    }
    let page = s.map(vm, 0x8000_5000, 3);
    s.frames(vm, 1);
    (s, page)
}

/// How many of the sequences are tried.
#[derive(Clone, Copy, Debug)]
enum Extent {
    /// Those of [`COMMON`] steps.
    Daily,
    /// All.
    Full,
}

impl Extent {
    fn sequences(self) -> Box<dyn Iterator<Item = Steps>> {
        match self {
            Self::Daily => Box::new(Steps::all(&COMMON.0, &COMMON.1)),
            Self::Full => Box::new(Steps::all(&BARRIERS, &TLBIS)),
        }
    }
}

/// Barriers and TLBIs that stand for the others: of each reach and kind the one that is most likely meant or mistaken.
const COMMON: ([Option<Barrier>; 6], [Option<Tlbi>; 8]) = (
    [BARRIERS[0], BARRIERS[2], BARRIERS[3], BARRIERS[4], BARRIERS[5], BARRIERS[7]],
    [TLBIS[0], TLBIS[1], TLBIS[3], TLBIS[5], TLBIS[6], TLBIS[8], TLBIS[9], TLBIS[14]],
);

fn compare(sequence: &Sequence, work: &str, holders: Reach, extent: Extent) {
    let (mut stage, page) = stage(holders);
    stage.open(work, page);
    (sequence.before)(&mut stage, page);
    let mut comparison = Comparison::default();
    for steps in extent.sequences() {
        let verdict = verdict(steps, holders, sequence.relying);
        if verdict != Verdict::Open {
            let mut s = stage.clone();
            steps.write(&mut s, page.ipa);
            (sequence.after)(&mut s, page);
            comparison.add(&steps.name(), &s.text(), &verdict);
        }
    }
    comparison.conclude();
}

#[test]
fn sequences_before_a_page_leads_elsewhere() {
    compare(&REMAP, "map", Reach::Inner, Extent::Daily);
}

#[test]
fn sequences_before_an_unmap_is_done() {
    compare(&UNMAP, "unmap", Reach::Inner, Extent::Daily);
}

#[test]
fn sequences_before_a_right_is_gone() {
    compare(&PROTECT, "protect", Reach::Inner, Extent::Daily);
}

#[test]
fn sequences_before_a_frame_is_freed() {
    compare(&FREE, "decommit", Reach::Inner, Extent::Daily);
}

#[test]
fn sequences_where_one_cpu_ran_the_vm() {
    compare(&REMAP, "map", Reach::Local, Extent::Daily);
}

#[test]
#[ignore = "full: a hundred thousand sequences"]
fn every_sequence_before_a_page_leads_elsewhere() {
    compare(&REMAP, "map", Reach::Inner, Extent::Full);
}

#[test]
#[ignore = "full: a hundred thousand sequences"]
fn every_sequence_before_an_unmap_is_done() {
    compare(&UNMAP, "unmap", Reach::Inner, Extent::Full);
}

#[test]
#[ignore = "full: a hundred thousand sequences"]
fn every_sequence_before_a_right_is_gone() {
    compare(&PROTECT, "protect", Reach::Inner, Extent::Full);
}

#[test]
#[ignore = "full: a hundred thousand sequences"]
fn every_sequence_before_a_frame_is_freed() {
    compare(&FREE, "decommit", Reach::Inner, Extent::Full);
}

#[test]
#[ignore = "full: a hundred thousand sequences"]
fn every_sequence_where_one_cpu_ran_the_vm() {
    compare(&REMAP, "map", Reach::Local, Extent::Full);
}

/// The reference itself, where everybody knows the answer.
#[test]
fn the_reference_knows_the_usual_sequences() {
    let find = |name: &str, holders| {
        let mut all = Extent::Full.sequences();
        let steps = all.find(|steps| steps.name() == name).expect("there is such a sequence");
        verdict(steps, holders, &["R1"])
    };
    for right in ["ishst ipas2e1is ish vmalle1is ish", "ishst vmalls12e1is ish - -", "- - sy alle1is sy"] {
        assert_eq!(find(right, Reach::Inner), Verdict::Right, "{right}");
    }
    for wrong in
        ["- ipas2e1is ish vmalle1is ish", "ishst ipas2e1is - vmalle1is ish", "ishst vmalle1is ish ipas2e1is ish"]
    {
        assert!(matches!(find(wrong, Reach::Inner), Verdict::Wrong(_)), "{wrong}");
    }
    assert_eq!(find("nshst vmalls12e1 nsh - -", Reach::Local), Verdict::Right);
    assert!(matches!(find("nshst vmalls12e1 nsh - -", Reach::Inner), Verdict::Wrong(_)));
    assert_eq!(find("ish vmalls12e1os osh - -", Reach::Inner), Verdict::Open);
}
