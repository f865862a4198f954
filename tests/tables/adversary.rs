//! The simulated machine itself: for everything that it is to show, a program that is right and one that is wrong.

mod contexts;
mod flags;
mod groups;
mod invalidations;
mod owners;
mod sizes;
mod stores;

use std::collections::HashSet;

use stage2::{Mmu, Order};
use tests::{Seen, Sim};
use vmsa::{
    Attributes, BbmLevel, Codec, DirtyLevel, Dsb, Entry, Features, Geometry, Hpa, Ipa, Leaf, Level, Perms, Scope, Tlbi,
    Vmid, vttbr,
};

const READ: Perms = Perms::READ;
const RW: Perms = Perms::READ.union(Perms::WRITE);
/// The first page of a table of level 3, which is the first of one of level 2.
const BASE: Ipa = Ipa(0x8000_0000);
const P: u64 = 0x1000;
/// Memory that is mapped: aligned to a gibibyte, and to groups.
const A: Hpa = Hpa(0x10_0000_0000);
const B: Hpa = Hpa(0x20_0000_0000);
const VMID: Vmid = Vmid(1);

/// A machine with one tree, whose entries are written by hand.
struct Litmus {
    sim: Sim,
    geometry: Geometry,
    root: Hpa,
}

fn plain() -> Features {
    Features { pa_bits: 48, ..Features::default() }
}

fn resizing(bbm: BbmLevel) -> Features {
    Features { bbm, ..plain() }
}

fn marking(dirty: DirtyLevel) -> Features {
    Features { dirty, ..plain() }
}

fn leaf(output: Hpa, perms: Perms) -> Entry {
    Entry::Leaf(Leaf { output, attributes: Attributes::normal(perms) })
}

fn leaf_with(output: Hpa, perms: Perms, change: impl Fn(&mut Attributes)) -> Entry {
    let mut attributes = Attributes::normal(perms);
    change(&mut attributes);
    Entry::Leaf(Leaf { output, attributes })
}

fn by_ipa(ipa: Ipa) -> Tlbi {
    Tlbi::Ipa { ipa, level: None, leaf_only: false }
}

impl Litmus {
    /// Returns a machine whose tree has a table of level 2 and one of level 3 for [`BASE`].
    fn new(features: Features) -> Self {
        Self::of(Sim::new(features, 2 << 20))
    }

    fn of(sim: Sim) -> Self {
        let geometry = Geometry::new(39, sim.features()).unwrap();
        let root = sim.memory().range().start;
        let litmus = Self { sim, geometry, root };
        litmus.sim.root_made(1, litmus.vttbr(), geometry, BbmLevel::BreakFirst);
        litmus.sim.set_vttbr_now(litmus.vttbr());
        litmus.set(Level::L1, BASE, Entry::Table(litmus.frame(1)));
        litmus.set(Level::L2, BASE, Entry::Table(litmus.frame(2)));
        litmus.sim.dsb(Dsb::Ish);
        litmus
    }

    fn vttbr(&self) -> u64 {
        vttbr(self.root, VMID)
    }

    /// Returns a frame for a table: 1 and 2 are taken.
    fn frame(&self, number: u64) -> Hpa {
        self.root.add(number * P)
    }

    fn codec(&self) -> Codec {
        Codec::of(self.sim.features())
    }

    /// Returns the slot of an address, found as the tables are now.
    fn slot(&self, level: Level, ipa: Ipa) -> Hpa {
        let mut at = (self.root, Level::L1);
        loop {
            let slot = at.0.add(8 * at.1.index(ipa) as u64);
            match self.codec().decode(self.sim.memory().word(slot), at.1) {
                _ if at.1 == level => return slot,
                Entry::Table(table) => at = (table, at.1.next().unwrap()),
                _ => panic!("no table of {level:?} for {ipa}"),
            }
        }
    }

    /// Writes an entry: atomically where there is a leaf, else in order after what was written before.
    fn set(&self, level: Level, ipa: Ipa, entry: Entry) {
        self.set_at(self.slot(level, ipa), level, entry);
    }

    fn set_at(&self, slot: Hpa, level: Level, entry: Entry) {
        let (old, new) = (self.sim.memory().word(slot), self.codec().encode(entry, level));
        if let Entry::Leaf(_) = self.codec().decode(old, level)
            && !matches!(entry, Entry::Table(_))
        {
            self.sim.exchange(slot, old, new).unwrap();
        } else {
            self.sim.write(slot, new, Order::Release);
        }
    }

    /// Returns what the slot of an address says.
    fn get(&self, level: Level, ipa: Ipa) -> Entry {
        self.codec().decode(self.sim.memory().word(self.slot(level, ipa)), level)
    }

    /// Writes an entry, and lets every CPU see it.
    fn make(&self, level: Level, ipa: Ipa, entry: Entry) {
        self.set(level, ipa, entry);
        self.sim.dsb(Dsb::Ishst);
    }

    fn page(&self, number: u64, entry: Entry) {
        self.make(Level::L3, nth(number), entry);
    }

    /// Fills a table that no tree leads to with what a block says.
    fn fill(&self, table: Hpa, level: Level, first: Hpa, perms: Perms) {
        for index in 0..512 {
            self.set_at(table.add(8 * index), level, leaf(first.add(index * level.entry_span()), perms));
        }
    }

    fn tlbi(&self, op: Tlbi) {
        self.sim.tlbi(op, Scope::Broadcast);
    }

    /// Invalidates by an operation of stage 2, then stage 1, to the end.
    fn invalidate(&self, ops: impl IntoIterator<Item = Tlbi>) {
        self.sim.dsb(Dsb::Ishst);
        ops.into_iter().for_each(|op| self.tlbi(op));
        self.sim.dsb(Dsb::Ish);
        self.tlbi(Tlbi::Stage1);
        self.sim.dsb(Dsb::Ish);
    }

    fn seen_by(&self, cpu: usize, ipa: Ipa) -> HashSet<Seen> {
        self.sim.access(cpu, self.vttbr(), self.geometry, ipa)
    }

    /// Asserts on all that each CPU may find.
    #[track_caller]
    fn sees(&self, ipa: Ipa, expected: &[Seen]) {
        for cpu in 0..self.sim.cpus() {
            assert_eq!(self.seen_by(cpu, ipa), expected.iter().copied().collect(), "CPU {cpu}");
        }
    }

    fn agreed(&self, ipa: Ipa) -> Option<Option<(Hpa, Perms)>> {
        self.sim.agreed(self.vttbr(), self.geometry, ipa)
    }

    /// Returns the numbers of the rules that were broken.
    fn rules(&self) -> Vec<String> {
        let number = |violation: String| violation.split(':').next().unwrap().to_owned();
        self.sim.violations().into_iter().map(number).collect()
    }

    #[track_caller]
    fn breaks(&self, rules: &[&str]) {
        assert_eq!(self.rules(), rules, "{:#?}", self.sim.violations());
    }
}

fn nth(number: u64) -> Ipa {
    BASE.add(number * P)
}
