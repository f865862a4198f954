//! Carries a program out, in the tree and on the flat map, and compares.

use std::cell::Cell;

use stage2::{Mmu, Stage2, Tables, Touched};
use tests::{Seen, Sim};
use vmsa::{Attributes, Dirty, Geometry, Hpa, Ipa, IpaRange, Leaf, PAGE_SIZE, Perms};

use super::marks::Marks;
use super::program::{PLACES, Step, Turn};
use super::watch::{Used, Watch};
use crate::flat::Flat;
use crate::world::{Announced, Heard, World, touch};

/// What an operation told of: pages that were stored to, and pages that were accessed at all.
#[derive(Debug, Default)]
pub(super) struct Told {
    stored: Vec<IpaRange>,
    accessed: Vec<IpaRange>,
}

pub(super) struct Player<'s> {
    pub(super) world: World<'s>,
    stored: Marks,
    accessed: Marks,
    pages: Vec<Ipa>,
}

impl<'s> Player<'s> {
    pub(super) fn new(sim: &'s Sim, geometry: Geometry, program: &[Turn]) -> Self {
        let ends = program.iter().flat_map(|(_, step, _)| step.ranges()).flat_map(|range| [range.start, range.end]);
        let places = PLACES.into_iter().map(Ipa).chain(ends);
        let mut pages: Vec<Ipa> = places.flat_map(|ipa| [Ipa(ipa.0 - PAGE_SIZE), ipa]).collect();
        pages.sort();
        pages.dedup();
        Self { world: World::new(sim, geometry), stored: Marks::default(), accessed: Marks::default(), pages }
    }

    /// Takes a turn; returns what went wrong in it, and what is wrong after it.
    pub(super) fn take(&mut self, (cpu, step, seed): &Turn) -> Vec<String> {
        let mut faults = match step {
            Step::Access(cpu, ipa, perms) => self.access(*cpu, *ipa, *perms, *seed as usize),
            step => self.operate(*cpu, step, *seed),
        };
        faults.extend(self.world.faults_in_tables());
        for number in 0..self.pages.len() {
            faults.extend(self.world.faults_at(self.pages[number]));
        }
        self.world.sim.check_groups();
        faults.extend(self.world.sim.violations());
        faults
    }

    /// Unmaps all; returns how many tables are left.
    pub(super) fn end(&mut self) -> usize {
        let all = IpaRange { start: Ipa(0), end: self.world.tree.geometry().limit() };
        let _ = self.world.tree.unmap(self.world.sim, &mut self.world.tables, [all]);
        self.world.tables.in_use()
    }

    fn operate(&mut self, cpu: usize, step: &Step, seed: u64) -> Vec<String> {
        let (before, after) = (self.world.flat.clone(), self.expected(step));
        let pages = self.pages.clone();
        let watch = Watch::new(&self.world, (&before, &after), step, &pages, seed);
        let cut = self.cut(step);
        Sim::run_on(cpu);
        let hear = |heard| {
            if !matches!(heard, Heard::Got(_)) {
                watch.look();
            }
        };
        let mmu = Announced { sim: self.world.sim, hear };
        let told = carry_out((&mut self.world.tree, &mut self.world.tables), step, &mmu);
        Sim::run_on(0);
        let (used, mut faults) = (watch.used.into_inner(), watch.faults.into_inner());
        faults.truncate(4);
        faults.extend(self.account(step, (&before, &after), &used, &told, cut));
        self.world.flat = after;
        faults
    }

    /// Returns the flat map as the operation is to leave it.
    fn expected(&self, step: &Step) -> Flat {
        let (mut flat, codec) = (self.world.flat.clone(), self.world.codec());
        match step {
            Step::Map(range, memory, attributes) => {
                let attributes = codec.sayable(*attributes);
                flat.map(*range, |ipa| memory.at(ipa, attributes));
            }
            Step::Put(ipa, memory, attributes) => {
                if let Some(run) = memory.at(*ipa, codec.sayable(*attributes)) {
                    flat.put(IpaRange::page(*ipa), run.output, run.attributes);
                }
            }
            Step::Unmap(ranges) | Step::UnmapAndTell(ranges) => ranges.iter().for_each(|range| flat.remove(*range)),
            Step::Protect(range, perms) => flat.change(*range, |page| {
                let shared = if page.attributes.shared { Perms::WRITE } else { Perms::empty() };
                page.attributes = codec.sayable(Attributes { perms: *perms - shared, ..page.attributes });
            }),
            Step::Share(ranges) => ranges.iter().for_each(|range| {
                flat.change(*range, |page| {
                    let perms = page.attributes.perms - Perms::WRITE;
                    page.attributes = codec.sayable(Attributes { shared: true, perms, ..page.attributes });
                });
            }),
            Step::Own(range, memory, perms) => {
                if let Some(output) = memory.frame(range.start) {
                    flat.change_leading(*range, output, |attributes| {
                        *attributes = codec.sayable(Attributes { shared: false, perms: *perms, ..*attributes });
                    });
                }
            }
            Step::Age(_) | Step::Harvest(_) | Step::Access(..) => {}
        }
        flat
    }

    /// Returns the part of a single range whose leaves lie wholly in it.
    fn cut(&self, step: &Step) -> IpaRange {
        let range = step.ranges()[0];
        let (first, last) = (self.world.leaf_of(range.start), self.world.leaf_of(Ipa(range.end.0 - PAGE_SIZE)));
        let start = if range.covers(first) { range.start } else { first.end };
        let end = if range.covers(last) { range.end } else { last.start };
        IpaRange { start, end }
    }

    /// Compares what the operation told of with what was used, and takes note of what was used meanwhile.
    fn account(
        &mut self,
        step: &Step,
        (before, after): (&Flat, &Flat),
        used: &[Used],
        told: &Told,
        cleared: IpaRange,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let ranges = step.ranges();
        let is_inside = |used: &&Used| ranges.iter().any(|range| range.covers(IpaRange::page(used.ipa)));
        let (inside, outside): (Vec<&Used>, Vec<&Used>) = used.iter().partition(is_inside);
        for used in used {
            self.accessed.may_be_used(used.leaf);
            self.stored.may_be_used(used.leaf);
        }
        outside.into_iter().for_each(|used| self.note(used, after));
        match step {
            Step::Map(range, _, attributes) => {
                let gaps = before.gaps(*range).into_iter().filter(|_| attributes.accessed);
                gaps.for_each(|gap| self.accessed.may_be_used(gap));
                inside.into_iter().for_each(|used| self.note(used, after));
            }
            Step::Put(ipa, memory, attributes) if memory.at(*ipa, *attributes).is_some() => {
                self.put(*ipa, attributes.accessed, (before, after), &inside);
            }
            Step::Unmap(_) => {}
            Step::UnmapAndTell(ranges) => {
                inside.into_iter().for_each(|used| self.note(used, before));
                for range in ranges {
                    faults.extend(self.stored.faults_in(*range, &told.stored));
                    faults.extend(self.accessed.faults_in(*range, &told.accessed));
                }
            }
            Step::Put(..) | Step::Protect(..) | Step::Share(_) | Step::Own(..) | Step::Access(..) => {
                inside.into_iter().for_each(|used| self.note(used, after));
            }
            Step::Harvest(range) => {
                faults.extend(self.stored.faults_in(*range, &told.stored));
                self.stored.told(*range, cleared);
                inside.into_iter().for_each(|used| self.note_unless_told(used, after, &told.stored));
            }
            Step::Age(range) => {
                faults.extend(self.accessed.faults_in(*range, &told.accessed));
                self.accessed.told(*range, cleared);
                for used in inside {
                    self.note_store(used, after);
                    self.accessed.may_be_used(used.leaf);
                }
            }
        }
        if let Step::Unmap(ranges) | Step::UnmapAndTell(ranges) = step {
            ranges.iter().for_each(|range| self.forget(*range));
        }
        faults
    }

    /// A page was put: what is known of another one that was there is over. Of the same one nothing is certain.
    fn put(&mut self, ipa: Ipa, is_accessed: bool, (before, after): (&Flat, &Flat), used: &[&Used]) {
        let frame = |flat: &Flat| flat.page(ipa).map(|page| page.0);
        self.accessed.must.remove(&ipa);
        self.stored.must.remove(&ipa);
        if is_accessed {
            self.accessed.may_be_used(IpaRange::page(ipa));
        }
        for used in used {
            if frame(before) != frame(after) && used.frame == frame(after) {
                self.note(used, after);
            }
        }
    }

    fn forget(&mut self, range: IpaRange) {
        self.stored.forget(range);
        self.accessed.forget(range);
    }

    fn note(&mut self, used: &Used, flat: &Flat) {
        self.note_access(used);
        self.note_store(used, flat);
    }

    fn note_access(&mut self, used: &Used) {
        if used.is_walked && used.frame.is_some() {
            self.accessed.used(used.ipa, used.leaf);
        } else {
            self.accessed.may_be_used(used.leaf);
        }
    }

    fn note_store(&mut self, used: &Used, flat: &Flat) {
        if is_noted(used, flat) {
            self.stored.used(used.ipa, used.leaf);
        }
    }

    /// A store while the page is made clean belongs to before or to after.
    fn note_unless_told(&mut self, used: &Used, flat: &Flat, told: &[IpaRange]) {
        self.note_access(used);
        if told.iter().any(|told| told.covers(IpaRange::page(used.ipa))) {
            self.stored.may_be_used(used.leaf);
        } else {
            self.note_store(used, flat);
        }
    }

    /// A guest's access while no operation is under way: what the tables allow goes through at last.
    fn access(&mut self, cpu: usize, ipa: Ipa, perms: Perms, seed: usize) -> Vec<String> {
        let World { sim, .. } = self.world;
        let shape = (self.world.tree.vttbr(), self.world.tree.geometry());
        let expected = self.world.flat.page(ipa).filter(|(_, attributes)| attributes.perms.contains(perms));
        let leaf = self.world.leaf_of(ipa);
        let is_walked = Cell::new(false);
        let choose = |ways| {
            is_walked.set(seed.is_multiple_of(ways));
            seed % ways
        };
        let mut seen = touch(sim, cpu, shape, (ipa, perms), choose);
        if is_let_through(seen, perms).is_none() {
            let touched = self.world.tree.touch(sim, ipa, perms);
            if (touched == Touched::No) != expected.is_none() {
                return vec![format!("{ipa}: expected {expected:?}, and the tree says {touched:?}")];
            }
            self.world.refresh(cpu, ipa);
            seen = touch(sim, cpu, shape, (ipa, perms), choose);
        }
        let frame = is_let_through(seen, perms);
        if frame != expected.map(|page| page.0) {
            return vec![format!("{ipa}: expected {expected:?}, CPU {cpu} gets {seen:?}")];
        }
        let flat = self.world.flat.clone();
        self.note(&Used { ipa, frame, perms, is_walked: is_walked.get(), leaf }, &flat);
        Vec::new()
    }
}

/// Does what a step says to a tree; an access is no operation on it.
pub(super) fn carry_out((tree, tables): (&mut Stage2, &mut impl Tables), step: &Step, mmu: &impl Mmu) -> Told {
    let mut told = Told::default();
    match step {
        Step::Map(range, memory, attributes) => {
            let source = |ipa| memory.at(ipa, *attributes);
            let _ = tree.map(mmu, tables, *range, source).expect("tables enough");
        }
        Step::Put(ipa, memory, attributes) => {
            if let Some(run) = memory.at(*ipa, *attributes) {
                put(tree, tables, mmu, *ipa, (run.output, run.attributes));
            }
        }
        Step::Unmap(ranges) => _ = tree.unmap(mmu, tables, ranges.iter().copied()).expect("tables enough"),
        Step::UnmapAndTell(ranges) => {
            let tell = |range, leaf| told.leaf(range, leaf);
            let _ = tree.unmap_and_tell(mmu, tables, ranges.iter().copied(), tell);
        }
        Step::Protect(range, perms) => _ = tree.protect(mmu, tables, *range, *perms).expect("tables enough"),
        Step::Share(ranges) => _ = tree.share(mmu, tables, ranges.iter().copied()).expect("tables enough"),
        Step::Own(range, memory, perms) => {
            if let Some(output) = memory.frame(range.start) {
                let _ = tree.own(mmu, tables, *range, output, *perms).expect("tables enough");
            }
        }
        Step::Age(range) => _ = tree.age(mmu, tables, *range, |part| told.accessed.push(part)),
        Step::Harvest(range) => _ = tree.harvest(mmu, tables, *range, |part| told.stored.push(part)),
        Step::Access(..) => {}
    }
    told
}

/// Maps a page as a fault does: at one look where nothing is there, and else whatever is.
fn put(tree: &mut Stage2, tables: &mut impl Tables, mmu: &impl Mmu, ipa: Ipa, page: (Hpa, Attributes)) {
    let is_there = tree.walk(mmu, ipa).is_some_and(|walk| walk.entry.is_live());
    if is_there || tree.touch_or_map(mmu, tables, ipa, page.1.perms, page) != Touched::Mapped {
        let _ = tree.map_page(mmu, tables, ipa, page).expect("tables enough");
    }
}

impl Told {
    fn leaf(&mut self, range: IpaRange, leaf: Leaf) {
        if leaf.attributes.dirty == Dirty::Dirty {
            self.stored.push(range);
        }
        if leaf.attributes.accessed {
            self.accessed.push(range);
        }
    }
}

/// Tells whether the use was a store to a page whose stores are noted.
fn is_noted(used: &Used, flat: &Flat) -> bool {
    let is_tracked = flat.page(used.ipa).is_some_and(|(_, attributes)| attributes.dirty != Dirty::Untracked);
    used.frame.is_some() && used.perms.contains(Perms::WRITE) && is_tracked
}

fn is_let_through(seen: Seen, perms: Perms) -> Option<Hpa> {
    match seen {
        Seen::Page(frame, allowed) if allowed.contains(perms) => Some(frame),
        _ => None,
    }
}
