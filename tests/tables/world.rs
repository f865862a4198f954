//! A tree on a simulated machine of several CPUs, and the flat map that says what each of them may see.

use std::collections::{BTreeMap, HashSet};

use stage2::{Mmu, Order, Run, Stage2, Tables};
use tests::{Seen, Sim, SimTables};
use vmsa::{
    Attributes, BbmLevel, Codec, Dirty, DirtyLevel, Dsb, ENTRIES, Entry, Features, Geometry, Hpa, Ipa, IpaRange, Level,
    PAGE_SIZE, Perms, Scope, Tlbi, Vmid,
};

use crate::flat::{Flat, lasting};

pub(crate) struct World<'s> {
    pub(crate) sim: &'s Sim,
    pub(crate) tree: Stage2,
    pub(crate) tables: SimTables<'s>,
    pub(crate) flat: Flat,
}

impl<'s> World<'s> {
    /// Returns an empty tree, which all CPUs have in use but the last of three.
    pub(crate) fn new(sim: &'s Sim, geometry: Geometry) -> Self {
        let root = sim.memory().range().start;
        let mut tree = Stage2::new(geometry, sim.features(), root);
        tree.set_vmid(sim, Some(Vmid(1)));
        for cpu in (0..sim.cpus()).rev() {
            Sim::run_on(cpu);
            sim.set_vttbr_now(if cpu < 2 { tree.vttbr() } else { 7 << 48 });
        }
        let tables = SimTables::new(sim, root.add(geometry.root_bytes()));
        Self { sim, tree, tables, flat: Flat::default() }
    }

    pub(crate) fn codec(&self) -> Codec {
        Codec::of(self.sim.features())
    }

    /// Maps what the source knows, in the tree and on the flat map.
    pub(crate) fn map(&mut self, range: IpaRange, source: impl Fn(Ipa) -> Option<Run>) {
        let _ = self.tree.map(self.sim, &mut self.tables, range, &source).expect("tables enough");
        self.flat.map(range, source);
    }

    pub(crate) fn access(&self, cpu: usize, ipa: Ipa) -> HashSet<Seen> {
        access(self.sim, cpu, self.tree.vttbr(), self.tree.geometry(), ipa)
    }

    /// Returns the page that the tables say.
    pub(crate) fn walked(&self, ipa: Ipa) -> Option<(Hpa, Attributes)> {
        self.tree.walk(self.sim, ipa).and_then(|walk| walk.page(ipa))
    }

    /// Returns the addresses of the leaf that a page is part of, or of its group; of a page that is not mapped, the page's.
    pub(crate) fn leaf_of(&self, ipa: Ipa) -> IpaRange {
        leaf_at(self.sim, (self.tree.root(), self.tree.geometry()), ipa)
    }

    /// Returns what is wrong with a page while no operation is under way: the tables or a CPU say something else than the flat
    /// map. What a CPU may still hold from before more was allowed is served as the fault that it costs.
    pub(crate) fn faults_at(&mut self, ipa: Ipa) -> Vec<String> {
        let mut faults = self.errors_at(ipa);
        let [least, most] = self.permitted(ipa);
        for cpu in 0..self.sim.cpus() {
            if self.access(cpu, ipa).len() > 1 && faults.is_empty() {
                self.refresh(cpu, ipa);
                let seen = self.access(cpu, ipa);
                if !seen.iter().all(|seen| is_behind(*seen, most) && is_behind(least, *seen)) {
                    faults.push(format!("{ipa}: expected {most:?}, CPU {cpu} sees {seen:?} after a refresh"));
                }
            }
        }
        faults
    }

    /// Returns what is wrong with a page, but for what costs a fault once.
    pub(crate) fn errors_at(&self, ipa: Ipa) -> Vec<String> {
        let walked = self.walked(ipa);
        let expected = self.flat.page(ipa);
        let mut errors = Vec::new();
        if walked.map(|(frame, attributes)| (frame, lasting(attributes))) != expected {
            errors.push(format!("{ipa}: expected {expected:?}, the walk says {walked:?}"));
        }
        let [_, most] = self.permitted(ipa);
        for cpu in 0..self.sim.cpus() {
            let seen = self.access(cpu, ipa);
            if !seen.iter().all(|seen| is_behind(*seen, most)) {
                errors.push(format!("{ipa}: expected {most:?}, CPU {cpu} sees {seen:?}"));
            }
        }
        errors
    }

    /// Returns what an access of a page finds by the tables: the same twice, but in a group, where an entry made of a member
    /// that was accessed may serve for one that was not.
    fn permitted(&self, ipa: Ipa) -> [Seen; 2] {
        let Some((frame, attributes)) = self.walked(ipa) else { return [Seen::Nothing; 2] };
        let group = members_at(self.sim, (self.tree.root(), self.tree.geometry()), ipa);
        let accessed = attributes.accessed || group.iter().any(|member| member.accessed);
        [attributes, Attributes { accessed, ..attributes }]
            .map(|attributes| Seen::Page(frame, allowed(attributes, self.sim.features().dirty)))
    }

    /// Drops on a CPU what a fault of its guest at a page showed to be old.
    pub(crate) fn refresh(&mut self, cpu: usize, ipa: Ipa) {
        Sim::run_on(cpu);
        let before = self.sim.vttbr();
        self.sim.set_vttbr_now(self.tree.vttbr());
        self.tree.refresh(self.sim, ipa);
        self.sim.set_vttbr_now(before);
        Sim::run_on(0);
    }

    /// Returns the tables that walks reach, by their addresses: with their levels, and how many entries say something.
    pub(crate) fn reachable(&self) -> BTreeMap<Hpa, (Level, u16)> {
        let geometry = self.tree.geometry();
        let mut found = BTreeMap::new();
        for number in 0..geometry.root_tables() as u64 {
            self.reach(self.tree.root().add(number * PAGE_SIZE), geometry.start(), &mut found);
        }
        found
    }

    fn reach(&self, table: Hpa, level: Level, found: &mut BTreeMap<Hpa, (Level, u16)>) {
        if !self.sim.memory().holds(table) {
            // The machine tells of that when a walk comes there.
            return;
        }
        let entries = words(self.sim, table).map(|raw| self.codec().decode(raw, level));
        let live: Vec<Entry> = entries.filter(|entry| *entry != Entry::Invalid).collect();
        assert!(found.insert(table, (level, live.len() as u16)).is_none(), "{table} is linked twice");
        for entry in live {
            if let (Entry::Table(child), Some(below)) = (entry, level.next()) {
                self.reach(child, below, found);
            }
        }
    }

    /// Returns what is wrong with the tables: their counts, empty ones, and ones that nobody reaches.
    pub(crate) fn faults_in_tables(&self) -> Vec<String> {
        let reachable = self.reachable();
        let roots = self.tree.geometry().root_tables();
        let mut faults = self.sim.violations();
        for (table, (level, live)) in &reachable {
            let is_root = (table.0 - self.tree.root().0) / PAGE_SIZE < roots as u64;
            let noted = self.tables.live_entries(*table);
            if !is_root && (noted != *live || *live == 0) {
                faults.push(format!("{table} of {level:?} has {live} entries, and {noted} are noted"));
            }
        }
        let counts = [reachable.len(), self.tables.in_use() + roots, self.tree.stats().tables as usize];
        if counts != [reachable.len(); 3] {
            faults.push(format!("tables: reached, taken, counted are {counts:?}"));
        }
        faults
    }
}

/// Returns what [`World::leaf_of`] does, of a tree that is being changed.
pub(crate) fn leaf_at(sim: &Sim, shape: (Hpa, Geometry), ipa: Ipa) -> IpaRange {
    let (_, level, entry) = entry_at(sim, shape, ipa);
    let Entry::Leaf(leaf) = entry else { return IpaRange::page(ipa) };
    let span = if leaf.attributes.contiguous { 16 } else { 1 } * level.entry_span();
    IpaRange::new(Ipa(ipa.0 & !(span - 1)), span)
}

/// Returns the entry at which a walk of a page ends, its level, and its place.
pub(crate) fn entry_at(sim: &Sim, (root, geometry): (Hpa, Geometry), ipa: Ipa) -> (Hpa, Level, Entry) {
    let mut level = geometry.start();
    let mut table = root.add(ipa.0 / level.table_span() * PAGE_SIZE);
    loop {
        let slot = table.add(8 * level.index(ipa) as u64);
        if !sim.memory().holds(table) {
            return (slot, level, Entry::Invalid);
        }
        match (Codec::of(sim.features()).decode(sim.memory().word(slot), level), level.next()) {
            (Entry::Table(child), Some(below)) => (table, level) = (child, below),
            (entry, _) => return (slot, level, entry),
        }
    }
}

/// Returns all that an access may find. By an entry for a whole group that is dirty, a store to any page of the group is noted.
pub(crate) fn access(sim: &Sim, cpu: usize, vttbr: u64, geometry: Geometry, ipa: Ipa) -> HashSet<Seen> {
    let seen = sim.access(cpu, vttbr, geometry, ipa);
    seen.into_iter().map(|seen| as_group(sim, (root_of(vttbr), geometry), ipa, seen)).collect()
}

/// Does an access, as [`Sim::touch`] does.
pub(crate) fn touch(
    sim: &Sim,
    cpu: usize,
    (vttbr, geometry): (u64, Geometry),
    (ipa, perms): (Ipa, Perms),
    choose: impl FnMut(usize) -> usize,
) -> Seen {
    let seen = sim.touch(cpu, vttbr, geometry, ipa, perms, choose);
    as_group(sim, (root_of(vttbr), geometry), ipa, seen)
}

const fn root_of(vttbr: u64) -> Hpa {
    Hpa(vttbr & 0x0000_ffff_ffff_f000)
}

fn as_group(sim: &Sim, shape: (Hpa, Geometry), ipa: Ipa, seen: Seen) -> Seen {
    match seen {
        Seen::Unnoted(frame, perms) if is_group_dirty(sim, shape, ipa) => Seen::Page(frame, perms),
        seen => seen,
    }
}

fn is_group_dirty(sim: &Sim, shape: (Hpa, Geometry), ipa: Ipa) -> bool {
    members_at(sim, shape, ipa).iter().any(|member| member.dirty == Dirty::Dirty)
}

/// Returns what the leaf at a page says; of one in a group, what every member says.
pub(crate) fn members_at(sim: &Sim, shape: (Hpa, Geometry), ipa: Ipa) -> Vec<Attributes> {
    let (slot, level, entry) = entry_at(sim, shape, ipa);
    let Entry::Leaf(leaf) = entry else { return Vec::new() };
    if !leaf.attributes.contiguous {
        return vec![leaf.attributes];
    }
    let members = (0..16).map(|member| sim.memory().word(Hpa(slot.0 & !127).add(8 * member)));
    let entries = members.map(|raw| Codec::of(sim.features()).decode(raw, level));
    let attributes = entries.filter_map(|entry| match entry {
        Entry::Leaf(leaf) => Some(leaf.attributes),
        _ => None,
    });
    attributes.collect()
}

/// Returns the descriptors of a table.
pub(crate) fn words(sim: &Sim, table: Hpa) -> impl Iterator<Item = u64> {
    (0..ENTRIES as u64).map(move |index| sim.memory().word(table.add(8 * index)))
}

/// Returns what a leaf lets an access do that walks the tables.
pub(crate) fn allowed(attributes: Attributes, updated: DirtyLevel) -> Perms {
    let is_idle = !attributes.accessed && updated == DirtyLevel::None;
    let is_trapped = attributes.dirty == Dirty::Clean && updated < DirtyLevel::Dirty;
    match (is_idle, is_trapped) {
        (true, _) => Perms::empty(),
        (false, true) => attributes.perms - Perms::WRITE,
        (false, false) => attributes.perms,
    }
}

/// Tells whether an access may find this while an operation is under way that makes the second flat map of the first: the page
/// as it was or as it will be, or less of it; a fault; or a conflict where the operation need not avoid one. A store that goes
/// unnoticed meanwhile must have been noticed at the end: what is told of shows that.
pub(crate) fn is_permitted(sim: &Sim, flats: (&Flat, &Flat), ipa: Ipa, seen: Seen) -> bool {
    let leads = |flat: &Flat, frame, perms| {
        flat.page(ipa).is_some_and(|(expected, attributes)| expected == frame && attributes.perms.contains(perms))
    };
    match seen {
        Seen::Nothing => true,
        Seen::Page(frame, perms) | Seen::Unnoted(frame, perms) => {
            leads(flats.0, frame, perms) || leads(flats.1, frame, perms)
        }
        Seen::Conflict => sim.features().bbm == BbmLevel::Direct,
        Seen::Foreign(_) | Seen::Anything => false,
    }
}

/// Tells whether what a CPU sees is what it should, or less of it.
fn is_behind(seen: Seen, exact: Seen) -> bool {
    match (seen, exact) {
        (Seen::Page(frame, less), Seen::Page(expected, perms)) => frame == expected && perms.contains(less),
        (seen, exact) => seen == exact,
    }
}

/// What is heard of an operation's events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// A descriptor is about to be read.
    Read(Hpa),
    /// It was read, or it was not as expected and said this.
    Got(u64),
    /// One that walks see is about to be written, if it says what is expected.
    Change(Hpa),
    /// What no walk sees is about to be written.
    Hidden,
    /// Anything else is about to happen.
    Next,
}

/// A machine whose events are heard of.
pub(crate) struct Announced<'s, F> {
    pub(crate) sim: &'s Sim,
    pub(crate) hear: F,
}

impl<F: Fn(Heard)> Mmu for Announced<'_, F> {
    fn features(&self) -> &Features {
        self.sim.features()
    }

    fn read(&self, slot: Hpa) -> u64 {
        (self.hear)(Heard::Read(slot));
        let raw = self.sim.read(slot);
        (self.hear)(Heard::Got(raw));
        raw
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        (self.hear)(if order == Order::Plain { Heard::Hidden } else { Heard::Next });
        self.sim.write(slot, descriptor, order);
    }

    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64> {
        (self.hear)(Heard::Change(slot));
        let result = self.sim.exchange(slot, old, new);
        if let Err(now) = result {
            (self.hear)(Heard::Got(now));
        }
        result
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        (self.hear)(Heard::Next);
        self.sim.tlbi(op, scope);
    }

    fn dsb(&self, kind: Dsb) {
        (self.hear)(Heard::Next);
        self.sim.dsb(kind);
    }

    fn isb(&self) {
        (self.hear)(Heard::Next);
        self.sim.isb();
    }

    fn vttbr(&self) -> u64 {
        self.sim.vttbr()
    }

    fn set_vttbr(&self, vttbr: u64) {
        (self.hear)(Heard::Next);
        self.sim.set_vttbr(vttbr);
    }

    fn set_vtcr(&self, vtcr: u64) {
        self.sim.set_vtcr(vtcr);
    }

    fn set_hcr(&self, hcr: u64) {
        self.sim.set_hcr(hcr);
    }
}
