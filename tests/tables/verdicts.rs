//! The oracle and the adversarial MMU about the same events: what the one accepts, the other shows to be safe, and what the one
//! refuses the other shows to be dangerous, or forbids. Neither shares a line with the other.

use std::collections::HashSet;

use judge::{Growing, SparseNotes};
use oracle::{Accesses, Domain, Event, FrameKind, Frames, Machine, Oracle, Register, Target, TlbiOp};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use stage2::{Mmu, Order};
use tests::{Seen, Sim};
use vmsa::{
    Attributes, BbmLevel, Codec, Dsb, Entry, Features, Geometry, Hpa, Ipa, Leaf, Level, Perms, Scope, Tlbi, Vmid, vttbr,
};

const BASE: Ipa = Ipa(0x8000_0000);
const PAGES: u64 = 2;
const BYTES: usize = 8 << 20;
const HCR: u64 = 0x4000_8000_0203;

/// What may happen. Tables and pages are the few that there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An entry of level 3 is written: nothing, or a page, by a store that orders or not.
    Page {
        number: u64,
        page: Option<(Page, Perms)>,
    },
    /// The entry of level 2 above it is.
    Upper(Upper),
    Tlbi(Tlbi, Scope),
    Dsb(Dsb),
    /// A page goes back, is taken anew, and overwritten.
    HandOver(Page),
    /// The other CPU goes on.
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Page {
    A,
    B,
}

#[derive(Clone, Copy, Debug)]
enum Upper {
    Nothing,
    Table,
    Block { uncached: bool },
}

fn perms() -> impl Strategy<Value = Perms> {
    prop_oneof![Just(Perms::READ), Just(Perms::READ | Perms::WRITE)]
}

fn step() -> impl Strategy<Value = Step> {
    let page = || prop_oneof![Just(Page::A), Just(Page::B)];
    let entry = prop_oneof![Just(None), (page(), perms()).prop_map(Some)];
    let scope = prop_oneof![4 => Just(Scope::Broadcast), 1 => Just(Scope::Local)];
    let level = prop_oneof![Just(None), Just(Some(Level::L3)), Just(Some(Level::L2))];
    let by_ipa = (0..PAGES, level, any::<bool>()).prop_map(|(page, level, leaf_only)| Tlbi::Ipa {
        ipa: BASE.add(page << 12),
        level,
        leaf_only,
    });
    let tlbi = prop_oneof![3 => by_ipa, 2 => Just(Tlbi::Stage1), 2 => Just(Tlbi::Vmid), 1 => Just(Tlbi::All)];
    let dsb = prop_oneof![3 => Just(Dsb::Ish), 2 => Just(Dsb::Ishst), 1 => Just(Dsb::Nsh), 1 => Just(Dsb::Nshst)];
    let upper = prop_oneof![
        Just(Upper::Nothing),
        Just(Upper::Table),
        any::<bool>().prop_map(|uncached| Upper::Block { uncached })
    ];
    prop_oneof![
        6 => (0..PAGES, entry).prop_map(|(number, page)| Step::Page { number, page }),
        2 => upper.prop_map(Step::Upper),
        6 => (tlbi, scope).prop_map(|(op, scope)| Step::Tlbi(op, scope)),
        6 => dsb.prop_map(Step::Dsb),
        2 => page().prop_map(Step::HandOver),
        1 => Just(Step::Other),
    ]
}

/// Both, side by side.
struct Pair {
    sim: Sim,
    geometry: Geometry,
    oracle: Oracle<SparseNotes, Growing>,
    cpu: usize,
    /// What the oracle has found, by rule.
    refused: Vec<String>,
}

impl Pair {
    fn new(bbm: BbmLevel) -> Self {
        let features = Features {
            pa_bits: 48,
            bbm,
            vmid16: true,
            level_hint: true,
            forced_write_back: true,
            ..Features::default()
        };
        let sim = Sim::new(features, BYTES);
        let geometry = Geometry::new(39, &features).unwrap();
        let machine = Machine {
            cpus: 2,
            bbm: bbm as u8,
            level_hint: true,
            forced_write_back: true,
            vmid16: true,
            pa_bits: 48,
            idc: true,
            dic: true,
            ..Machine::default()
        };
        let oracle = Oracle::new(&machine, SparseNotes::default(), Growing::default());
        let mut pair = Self { sim, geometry, oracle, cpu: 0, refused: Vec::new() };
        pair.set_up();
        pair
    }

    fn set_up(&mut self) {
        let root = self.frame(0);
        self.tell(Event::Alloc(Frames::new(root, 4), FrameKind::Table));
        self.tell(Event::Zero(Frames::new(root, 4)));
        self.take(self.page(Page::A), 1);
        self.take(self.page(Page::B), 1);
        self.take(self.block(), 512);
        let value = vttbr(root, Vmid(1));
        self.tell(Event::Vm { vm: 1, vttbr: value, bbm: None });
        self.sim.root_made(1, value, self.geometry, BbmLevel::BreakFirst);
        for cpu in 0..2 {
            self.cpu = cpu;
            let vtcr = self.geometry.vtcr(self.sim.features());
            self.tell(Event::Msr(Register::VtcrEl2, vtcr));
            self.tell(Event::Msr(Register::VttbrEl2, value));
            self.tell(Event::Msr(Register::HcrEl2, HCR));
            self.tell(Event::Isb);
            Sim::run_on(cpu);
            self.sim.set_vttbr_now(value);
            self.tell(Event::Eret { vm: 1, vcpu: cpu as u32 });
        }
        self.cpu = 0;
        Sim::run_on(0);
        self.store(root.add(8 * 2), Level::L1, Entry::Table(self.frame(1)));
        self.store(self.frame(1), Level::L2, Entry::Table(self.frame(2)));
        self.step(Step::Dsb(Dsb::Ish));
    }

    fn frame(&self, number: u64) -> Hpa {
        self.sim.memory().range().start.add(number << 12)
    }

    fn page(&self, page: Page) -> Hpa {
        self.frame(512 + page as u64)
    }

    fn block(&self) -> Hpa {
        self.frame(1024)
    }

    fn take(&mut self, frame: Hpa, pages: u64) {
        let frames = Frames::new(frame, pages);
        self.tell(Event::Alloc(frames, FrameKind::Guest));
        self.tell(Event::Zero(frames));
        self.tell(Event::Owner { frames, vm: 1, is_shared: false });
        self.tell(Event::Dmb { domain: Domain::Inner, accesses: Accesses::Full });
    }

    fn tell(&mut self, event: Event) {
        let memory = self.sim.memory();
        let read = |slot| if memory.holds(slot) { memory.word(slot) } else { 0 };
        if self.oracle.observe(self.cpu, &event, read) {
            self.refused.extend(self.oracle.findings().map(|finding| format!("{event:?}: {finding}")));
        }
    }

    fn store(&mut self, slot: Hpa, level: Level, entry: Entry) {
        let raw = Codec::of(self.sim.features()).encode(entry, level);
        self.tell(Event::Store { slot, new: raw, order: oracle::Order::Release, old: None });
        self.sim.write(slot, raw, Order::Release);
    }

    /// Does a step in both; the writes of the CPUs are ordered by a lock.
    fn step(&mut self, step: Step) {
        let leaf = |output, perms, uncached| {
            Entry::Leaf(Leaf { output, attributes: Attributes { uncached, ..Attributes::normal(perms) } })
        };
        match step {
            // A table that is in no tree is left alone: neither side follows what becomes of it there in the same way.
            Step::Page { .. } if !self.has_table() => {}
            Step::Page { number, page } => {
                let entry = page.map_or(Entry::Invalid, |(page, perms)| leaf(self.page(page), perms, false));
                self.store(self.frame(2).add(8 * number), Level::L3, entry);
            }
            Step::Upper(upper) => {
                let entry = match upper {
                    Upper::Nothing => Entry::Invalid,
                    Upper::Table => Entry::Table(self.frame(2)),
                    // Without FEAT_BBM there is no nT.
                    Upper::Block { uncached } => {
                        let has_nt = self.sim.features().bbm != BbmLevel::BreakFirst;
                        leaf(self.block(), Perms::READ, uncached && has_nt)
                    }
                };
                self.store(self.frame(1), Level::L2, entry);
            }
            Step::Tlbi(op, scope) => {
                self.tell(Event::Tlbi(named(op, scope), op.operand()));
                self.sim.tlbi(op, scope);
            }
            Step::Dsb(kind) => {
                self.tell(barrier(kind));
                self.sim.dsb(kind);
            }
            Step::HandOver(page) => {
                let frame = self.page(page);
                self.tell(Event::Free(Frames::new(frame, 1)));
                self.take(frame, 1);
                self.sim.handed_over(frame);
            }
            Step::Other => {
                // The machine knows no locks: what one CPU did is complete before the other goes on.
                self.step(Step::Dsb(Dsb::Ishst));
                self.tell(Event::Unlock { id: 1 });
                self.cpu = 1 - self.cpu;
                Sim::run_on(self.cpu);
                self.tell(Event::Lock { id: 1, root: None });
            }
        }
    }

    fn has_table(&self) -> bool {
        let codec = Codec::of(self.sim.features());
        matches!(codec.decode(self.sim.memory().word(self.frame(1)), Level::L2), Entry::Table(_))
    }

    /// Tells whether an access may find two translations that do not go together, or what is no translation at all.
    fn is_dangerous(&self) -> bool {
        let value = vttbr(self.frame(0), Vmid(1));
        let mut cpus = (0..2).flat_map(|cpu| (0..PAGES).map(move |page| (cpu, page)));
        cpus.any(|(cpu, page)| {
            let seen = self.sim.access(cpu, value, self.geometry, BASE.add(page << 12));
            let pages: HashSet<Hpa> = seen.iter().filter_map(|seen| page_of(*seen)).collect();
            // With level 2 of FEAT_BBM a conflict between sizes may be told, and is served.
            let is_conflict = self.sim.features().bbm != BbmLevel::Direct && seen.contains(&Seen::Conflict);
            let is_lost = |seen: &Seen| matches!(seen, Seen::Anything | Seen::Foreign(_));
            pages.len() > 1 || is_conflict || seen.iter().any(is_lost)
        })
    }
}

fn page_of(seen: Seen) -> Option<Hpa> {
    if let Seen::Page(page, _) = seen { Some(page) } else { None }
}

fn named(op: Tlbi, scope: Scope) -> TlbiOp {
    let domain = if scope == Scope::Broadcast { Domain::Inner } else { Domain::Local };
    let (target, leaf_only) = match op {
        Tlbi::Ipa { leaf_only, .. } => (Target::Ipa, leaf_only),
        Tlbi::Range { leaf_only, .. } => (Target::Range, leaf_only),
        Tlbi::Stage1 => (Target::Stage1, false),
        Tlbi::Vmid => (Target::Vmid, false),
        Tlbi::All => (Target::All, false),
    };
    TlbiOp { leaf_only, ..TlbiOp::new(target, domain) }
}

fn barrier(kind: Dsb) -> Event {
    let (domain, accesses) = match kind {
        Dsb::Nsh => (Domain::Local, Accesses::Full),
        Dsb::Nshst => (Domain::Local, Accesses::Stores),
        Dsb::Ishst => (Domain::Inner, Accesses::Stores),
        Dsb::Ish => (Domain::Inner, Accesses::Full),
        Dsb::Sy => (Domain::System, Accesses::Full),
    };
    Event::Dsb { domain, accesses, is_nxs: false }
}

/// Runs a program until one of the two objects; returns how many steps both let pass.
fn compare(bbm: BbmLevel, steps: &[Step]) -> Result<usize, TestCaseError> {
    let mut pair = Pair::new(bbm);
    prop_assert!(pair.refused.is_empty(), "the set-up: {:?}", pair.refused);
    for (number, step) in steps.iter().enumerate() {
        pair.step(*step);
        // The machine asks that a change of size leave rights, and what is not mapped, as they are; the architecture only what
        // cannot be changed in place at all.
        let is_stricter = |accused: &String| bbm != BbmLevel::BreakFirst && accused.starts_with("R5");
        let accused = pair.sim.violations();
        let refused: Vec<_> = accused.iter().filter(|accused| !is_stricter(accused)).collect();
        let is_dangerous = pair.is_dangerous();
        if pair.refused.is_empty() {
            prop_assert!(!is_dangerous, "{step:?}: the oracle accepts what is dangerous");
            prop_assert!(refused.is_empty(), "{step:?}: the oracle accepts what the machine does not: {refused:?}");
        } else {
            let is_right = !accused.is_empty() || is_dangerous;
            prop_assert!(is_right, "{step:?}: a false alarm: {:?}", pair.refused);
            return Ok(number);
        }
    }
    Ok(steps.len())
}

/// The same programs every day: what nobody has seen yet is searched for by the long run.
fn compare_daily(bbm: BbmLevel) {
    let config = Config { cases: 6_000, failure_persistence: None, ..Config::default() };
    compare_many(bbm, TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)));
}

fn compare_many(bbm: BbmLevel, mut runner: TestRunner) {
    let cases = runner.config().cases;
    let passed = std::cell::Cell::new(0);
    let found = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        passed.set(passed.get() + compare(bbm, &steps)?);
        Ok(())
    });
    if let Err(failure) = found {
        panic!("{failure}");
    }
    println!(
        "note: {cases} programs, FEAT_BBM {bbm:?}: {} steps that the oracle and the machine both let pass",
        passed.get()
    );
}

#[test]
fn the_oracle_and_the_machine_agree_without_bbm() {
    compare_daily(BbmLevel::BreakFirst);
}

#[test]
fn the_oracle_and_the_machine_agree_with_bbm_level_1() {
    compare_daily(BbmLevel::NoTranslationCaching);
}

#[test]
fn the_oracle_and_the_machine_agree_with_bbm_level_2() {
    compare_daily(BbmLevel::Direct);
}

#[test]
#[ignore = "full: ten minutes"]
fn the_oracle_and_the_machine_agree_for_long() {
    for bbm in [BbmLevel::BreakFirst, BbmLevel::NoTranslationCaching, BbmLevel::Direct] {
        let config = Config { cases: 400_000, failure_persistence: None, ..Config::default() };
        compare_many(bbm, TestRunner::new(config));
    }
}
