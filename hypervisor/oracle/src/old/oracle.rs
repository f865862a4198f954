//! The judge: events in, violations out.

use core::fmt;

use vmsa::{
    BbmLevel, Codec, Dirty, Dsb, ENTRIES, Entry, Features, Geometry, Hpa, Ipa, IpaRange, Leaf, Level, PAGE_SIZE, Scope,
    Tlbi, Vmid,
};

use super::event::{Event, Place, Store};
use super::fact::{Fact, Facts, OutOfFacts, Parts, Stage, Wasted};
use super::{FrameNote, Rule};

/// How many CPUs the oracle can tell apart.
const MOST_CPUS: usize = 8;
/// VMIDs whose operations are told apart; others share.
const EPOCHS: usize = 64;

/// A rule that was broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where.
    pub place: Place,
    /// The frame concerned, where it is about one.
    pub frame: Option<Hpa>,
    /// What is still held, where that is the trouble.
    pub fact: Option<Fact>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { vmid, ipa, level, slot } = self.place;
        write!(f, "{}: {} VMID {vmid}, IPA {ipa:#x}, level {level}, slot {slot:#x}", self.rule, self.rule.text())?;
        if let Some(frame) = self.frame {
            write!(f, ", frame {frame}")?;
        }
        match self.fact {
            Some(fact) => {
                write!(f, "; TLBs may hold {:#x}..{:#x}: {:?}", fact.range.start.0, fact.range.end.0, fact.stage)
            }
            None => Ok(()),
        }
    }
}

/// The judge of one machine.
pub struct Oracle<'n> {
    codec: Codec,
    /// By VMID how sizes may change.
    bbm: [BbmLevel; EPOCHS],
    first_frame: Hpa,
    notes: &'n mut [FrameNote],
    facts: Facts,
    /// By VMID: counts the times that nothing of it was held any more.
    epochs: [u16; EPOCHS],
    /// By CPU: entries were made that may not be visible to walks.
    unpublished: [Option<Place>; MOST_CPUS],
    /// By CPU: VTTBR_EL2 as it was written, and as it is in effect.
    vttbr: [(u64, u64); MOST_CPUS],
}

impl<'n> Oracle<'n> {
    /// Returns the judge of a machine with `features` whose memory begins at `first_frame`, with a note for each of its frames.
    pub fn new(features: &Features, first_frame: Hpa, notes: &'n mut [FrameNote]) -> Self {
        Self {
            codec: Codec::of(features),
            bbm: [features.bbm; EPOCHS],
            first_frame,
            notes,
            facts: Facts::new(),
            epochs: [1; EPOCHS],
            unpublished: [None; MOST_CPUS],
            vttbr: [(0, 0); MOST_CPUS],
        }
    }

    /// Judges what a CPU does. `read` reads a descriptor: the tables that a store links, or takes away, are looked at.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks. What the oracle knows afterwards is as if the event had been allowed.
    pub fn observe(&mut self, cpu: usize, event: Event, read: impl Fn(Hpa) -> u64) -> Result<(), Violation> {
        match event {
            Event::Root { vttbr, geometry, bbm } => self.root(vttbr, geometry, bbm),
            Event::Store(store) => self.store(cpu, store, &read),
            Event::Tlbi(op, scope) => self.tlbi(cpu, op, scope),
            Event::Dsb(kind) => self.dsb(cpu, kind),
            Event::Isb => {
                self.vttbr[cpu % MOST_CPUS].1 = self.vttbr[cpu % MOST_CPUS].0;
                Ok(())
            }
            Event::Vttbr(vttbr) => {
                self.vttbr[cpu % MOST_CPUS].0 = vttbr;
                Ok(())
            }
            Event::Filled { frame, pages } => self.each_page(frame, pages, Self::filled),
            Event::Freed { frame, pages } => self.each_page(frame, pages, Self::freed),
            Event::Resume => self.resume(cpu),
        }
    }

    /// Returns how many facts are held now.
    pub const fn held(&self) -> usize {
        self.facts.len()
    }

    fn root(&mut self, vttbr: u64, geometry: Geometry, bbm: BbmLevel) -> Result<(), Violation> {
        let vmid = Vmid((vttbr >> 48) as u16);
        self.bbm[vmid.0 as usize % EPOCHS] = bbm;
        let root = Hpa(vttbr & 0x0000_ffff_ffff_f000);
        for number in 0..geometry.root_tables() as u64 {
            let base = Ipa(number * geometry.start().table_span());
            self.set_note(root.add(number * PAGE_SIZE), FrameNote::table(vmid, geometry.start(), base));
        }
        Ok(())
    }

    fn store(&mut self, cpu: usize, store: Store, read: &impl Fn(Hpa) -> u64) -> Result<(), Violation> {
        let table = self.note(store.slot.page_base());
        if !table.is_table() {
            return Ok(());
        }
        let level = table.level();
        let ipa = table.base().add((store.slot.0 % PAGE_SIZE / 8) * level.entry_span());
        let place = Place::new(table.vmid().0, ipa, level, store.slot);
        let (old, new) = (self.codec.decode(store.old, level), self.codec.decode(store.new, level));
        let range = IpaRange::new(ipa, level.entry_span());
        let mut verdict = self.judge_store(store, place, range, old, new);
        if is_cached(old) && old != new && !is_relaxed(old, new) {
            self.ended(cpu, place, range, old)?;
            self.ended_below(cpu, place, range, old, read)?;
        }
        if new.is_live() && old != new {
            self.unpublished[cpu % MOST_CPUS] = Some(place);
        }
        if let (Entry::Table(table), Some(below)) = (new, level.next())
            && old != new
        {
            self.set_note(table, FrameNote::table(table_vmid(place), below, ipa));
            verdict = verdict.and(self.linked(place, table, below, ipa, read));
        }
        verdict
    }

    fn judge_store(
        &self,
        store: Store,
        place: Place,
        range: IpaRange,
        old: Entry,
        new: Entry,
    ) -> Result<(), Violation> {
        let broken = |rule, frame| Err(Violation { rule, place, frame, fact: None });
        match (old, new) {
            (_, Entry::Malformed(_)) => return broken(Rule::WellFormed, None),
            (_, Entry::Invalid) => return Ok(()),
            (Entry::Leaf(old), Entry::Leaf(new)) if old.output != new.output => {
                return broken(Rule::OutputChange, Some(new.output));
            }
            (Entry::Leaf(old), Entry::Leaf(new)) if old.attributes.memory != new.attributes.memory => {
                return broken(Rule::TypeChange, Some(new.output));
            }
            (Entry::Leaf(old), Entry::Leaf(new)) if !self.may_regroup(place.vmid, old, new) => {
                return broken(Rule::Group, Some(new.output));
            }
            (Entry::Table(_), Entry::Leaf(block)) | (Entry::Leaf(block), Entry::Table(_))
                if !self.may_resize(block, place.vmid, range, new) =>
            {
                return broken(Rule::SizeChange, None);
            }
            (Entry::Leaf(old), Entry::Leaf(new)) if old.attributes.uncached && !new.attributes.uncached => {
                if let Some(fact) = self.facts_in(place.vmid, range).next() {
                    return Err(Violation { rule: Rule::SizeChange, place, frame: None, fact: Some(*fact) });
                }
            }
            (Entry::Table(old), Entry::Table(new)) if old != new => return broken(Rule::SizeChange, Some(new)),
            _ => {}
        }
        if !old.is_live()
            && let Some(fact) = self.facts_in(place.vmid, range).next()
        {
            return Err(Violation { rule: missing(fact), place, frame: None, fact: Some(*fact) });
        }
        match new {
            Entry::Table(table) if !matches!(old, Entry::Table(_)) => self.judge_link(store, place, table),
            Entry::Leaf(leaf) => self.judge_page(place, leaf),
            _ => Ok(()),
        }
    }

    fn judge_link(&self, store: Store, place: Place, table: Hpa) -> Result<(), Violation> {
        let note = self.note(table);
        let rule = match note {
            _ if !store.is_release => Rule::ChildFirst,
            note if note.is_table() => Rule::OneParent,
            note if !note.is_filled() => Rule::ChildFirst,
            _ => return Ok(()),
        };
        Err(Violation { rule, place, frame: Some(table), fact: None })
    }

    fn judge_page(&self, place: Place, leaf: Leaf) -> Result<(), Violation> {
        // Memory that is none of ours is a device's.
        let Some(note) = self.index(leaf.output).map(|index| self.notes[index]) else { return Ok(()) };
        let rule = match note {
            note if note.is_table() => Rule::OneParent,
            note if !note.is_filled() => Rule::Contents,
            _ => return Ok(()),
        };
        Err(Violation { rule, place, frame: Some(leaf.output), fact: None })
    }

    /// Takes note that an entry ended: TLBs may hold it.
    fn ended(&mut self, cpu: usize, place: Place, range: IpaRange, old: Entry) -> Result<(), Violation> {
        let vmid = Vmid(place.vmid);
        let (frame, is_table) = match old {
            Entry::Table(table) => (table, true),
            Entry::Leaf(leaf) => (leaf.output, false),
            Entry::Invalid | Entry::Malformed(_) => return Ok(()),
        };
        self.set_note(frame, self.note(frame).broken(vmid, self.epochs[vmid.0 as usize % EPOCHS]));
        let Some(level) = Level::from_number(place.level) else { return Ok(()) };
        let stage = Stage::Stored(Wasted::Nothing);
        let fact = Fact { vmid, range, level, is_table, writer: cpu as u8, stage };
        self.facts.add(fact).map_err(|OutOfFacts| out_of_room(place))
    }

    /// Takes note of what a table led to that was taken away: TLBs may hold its leaves, and the tables below it.
    fn ended_below(
        &mut self,
        cpu: usize,
        place: Place,
        range: IpaRange,
        old: Entry,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), Violation> {
        let (Entry::Table(table), Some(level)) = (old, Level::from_number(place.level + 1)) else { return Ok(()) };
        let vmid = table_vmid(place);
        let mut has_leaves = false;
        for slot in slots(table) {
            match self.codec.decode(read(slot), level) {
                Entry::Leaf(_) => has_leaves = true,
                Entry::Table(below) => {
                    let index = (slot.0 % PAGE_SIZE) / 8;
                    let ipa = range.start.add(index * level.entry_span());
                    let place = Place::new(vmid.0, ipa, level, slot);
                    let range = IpaRange::new(ipa, level.entry_span());
                    self.ended(cpu, place, range, Entry::Table(below))?;
                    self.ended_below(cpu, place, range, Entry::Table(below), read)?;
                }
                Entry::Invalid | Entry::Malformed(_) => {}
            }
            if has_leaves && level == Level::LEAF {
                break;
            }
        }
        if !has_leaves {
            return Ok(());
        }
        let stage = Stage::Stored(Wasted::Nothing);
        let fact = Fact { vmid, range, level: Level::LEAF, is_table: false, writer: cpu as u8, stage };
        self.facts.add(fact).map_err(|OutOfFacts| out_of_room(place))
    }

    /// Judges what a table that was just linked leads to, as if it had been written there then.
    fn linked(
        &mut self,
        parent: Place,
        table: Hpa,
        level: Level,
        base: Ipa,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), Violation> {
        for (index, slot) in slots(table).enumerate() {
            let ipa = base.add(index as u64 * level.entry_span());
            let place = Place::new(parent.vmid, ipa, level, slot);
            match self.codec.decode(read(slot), level) {
                Entry::Invalid => {}
                Entry::Leaf(leaf) => self.judge_page(place, leaf)?,
                Entry::Table(below) => {
                    let raw = read(slot);
                    self.judge_link(Store { slot, old: 0, new: raw, is_release: true }, place, below)?;
                    if let Some(next) = level.next() {
                        self.set_note(below, FrameNote::table(table_vmid(place), next, ipa));
                        self.linked(place, below, next, ipa, read)?;
                    }
                }
                Entry::Malformed(_) => {
                    return Err(Violation { rule: Rule::WellFormed, place, frame: None, fact: None });
                }
            }
        }
        Ok(())
    }

    /// Tells whether a leaf may become the other, as far as groups are concerned: a member's permissions change by a break of
    /// the group; its hint does too, but with FEAT_BBM level 2.
    fn may_regroup(&self, vmid: u16, old: Leaf, new: Leaf) -> bool {
        let bbm = self.bbm[usize::from(vmid) % EPOCHS];
        let (a, b) = (old.attributes, new.attributes);
        match (a.contiguous, b.contiguous) {
            (false, false) => true,
            (true, true) => a.perms == b.perms,
            _ => bbm == BbmLevel::Direct && a.perms == b.perms,
        }
    }

    /// Tells whether a block and a table may take each other's place without a break (DDI 0487, D8.14 "Support levels for
    /// changing block size"): at level 1 the block is not cached, and what was cached before is gone when the table comes.
    fn may_resize(&self, block: Leaf, vmid: u16, range: IpaRange, new: Entry) -> bool {
        let is_clean = || self.facts_in(vmid, range).next().is_none();
        match self.bbm[vmid as usize % EPOCHS] {
            BbmLevel::BreakFirst => false,
            BbmLevel::NoTranslationCaching => {
                block.attributes.uncached && (matches!(new, Entry::Leaf(_)) || is_clean())
            }
            BbmLevel::Direct => true,
        }
    }

    fn tlbi(&mut self, cpu: usize, op: Tlbi, scope: Scope) -> Result<(), Violation> {
        let vmid = Vmid((self.vttbr[cpu % MOST_CPUS].1 >> 48) as u16);
        let updated = self.facts.update(|fact| match fact.named_by(op) {
            Some(named) if fact.vmid == vmid || op == Tlbi::All => {
                Parts::with_stage(fact, named, fact.after(op, scope, cpu as u8))
            }
            _ => Parts::same(fact),
        });
        updated.map_err(|OutOfFacts| out_of_room(Place::default()))
    }

    fn dsb(&mut self, cpu: usize, kind: Dsb) -> Result<(), Violation> {
        if !matches!(kind, Dsb::Ish | Dsb::Ishst) {
            return Ok(());
        }
        self.unpublished[cpu % MOST_CPUS] = None;
        let (cpu, is_full) = (cpu as u8, kind == Dsb::Ish);
        let mut went = None;
        let updated = self.facts.update(|fact| match fact.stage {
            Stage::Stored(wasted) if fact.writer == cpu => Parts::with_stage(fact, fact.range, Stage::Held(wasted)),
            Stage::GoingByIpa(issuer) if is_full && issuer == cpu => {
                Parts::with_stage(fact, fact.range, Stage::Combined)
            }
            Stage::Going(issuer) | Stage::GoingCombined(issuer) if is_full && issuer == cpu => {
                went = Some(fact.vmid);
                Parts::GONE
            }
            _ => Parts::same(fact),
        });
        // An invalidation is one VMID's, so that what went at this barrier was of one.
        if let Some(vmid) = went {
            self.end_epoch_if_clean(vmid);
        }
        updated.map_err(|OutOfFacts| out_of_room(Place::default()))
    }

    /// Before a frame is overwritten for a new use.
    fn filled(&mut self, frame: Hpa) -> Result<(), Violation> {
        let verdict = self.judge_reuse(frame);
        self.set_note(frame, FrameNote::filled());
        verdict
    }

    fn freed(&mut self, frame: Hpa) -> Result<(), Violation> {
        let verdict = self.judge_reuse(frame);
        self.set_note(frame, FrameNote::default());
        verdict
    }

    /// Judges a new use of a frame: nothing of its last use is held of the VMID that it was used under.
    fn judge_reuse(&self, frame: Hpa) -> Result<(), Violation> {
        let note = self.note(frame);
        let vmid = note.vmid();
        let is_stale = note.broken_in() != 0 && note.broken_in() == self.epochs[vmid.0 as usize % EPOCHS];
        let Some(fact) = self.facts_of(vmid.0).next().filter(|_| is_stale) else { return Ok(()) };
        let rule = if note.is_table() { Rule::TableLifetime } else { Rule::PageLifetime };
        let place = Place::new(vmid.0, fact.range.start, fact.level, Hpa(0));
        Err(Violation { rule, place, frame: Some(frame), fact: Some(*fact) })
    }

    /// Before a guest goes on: what this CPU took away is gone, and what it made is visible.
    fn resume(&mut self, cpu: usize) -> Result<(), Violation> {
        let left = self.facts.iter().find(|fact| usize::from(fact.writer) == cpu);
        if let Some(fact) = left {
            let place = Place::new(fact.vmid.0, fact.range.start, fact.level, Hpa(0));
            return Err(Violation { rule: missing(fact), place, frame: None, fact: Some(*fact) });
        }
        match self.unpublished[cpu % MOST_CPUS] {
            Some(place) => Err(Violation { rule: Rule::Publication, place, frame: None, fact: None }),
            None => Ok(()),
        }
    }

    fn each_page(
        &mut self,
        frame: Hpa,
        pages: u64,
        judge: impl Fn(&mut Self, Hpa) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        (0..pages).try_for_each(|number| judge(self, frame.add(number * PAGE_SIZE)))
    }

    fn facts_of(&self, vmid: u16) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.vmid.0 == vmid)
    }

    fn facts_in(&self, vmid: u16, range: IpaRange) -> impl Iterator<Item = &Fact> {
        self.facts_of(vmid).filter(move |fact| !fact.range.intersection(range).is_empty())
    }

    fn end_epoch_if_clean(&mut self, vmid: Vmid) {
        if self.facts_of(vmid.0).next().is_none() {
            let epoch = &mut self.epochs[vmid.0 as usize % EPOCHS];
            *epoch = epoch.wrapping_add(1).max(1);
        }
    }

    fn index(&self, frame: Hpa) -> Option<usize> {
        let offset = frame.0.checked_sub(self.first_frame.0)?;
        usize::try_from(offset / PAGE_SIZE).ok().filter(|index| *index < self.notes.len())
    }

    fn note(&self, frame: Hpa) -> FrameNote {
        self.index(frame).map_or(FrameNote::default(), |index| self.notes[index])
    }

    fn set_note(&mut self, frame: Hpa, note: FrameNote) {
        if let Some(index) = self.index(frame) {
            self.notes[index] = note;
        }
    }
}

const fn table_vmid(place: Place) -> Vmid {
    Vmid(place.vmid)
}

fn slots(table: Hpa) -> impl Iterator<Item = Hpa> {
    (0..ENTRIES as u64).map(move |index| table.add(8 * index))
}

/// Tells whether a TLB may hold the entry: a leaf without the access flag, or with nT, it may not.
const fn is_cached(entry: Entry) -> bool {
    match entry {
        Entry::Table(_) => true,
        Entry::Leaf(leaf) => leaf.attributes.accessed && !leaf.attributes.uncached,
        Entry::Invalid | Entry::Malformed(_) => false,
    }
}

/// Tells whether an entry became one that allows all that it did. What TLBs hold of it may cost a fault, which is retried; it
/// gives nobody anything.
fn is_relaxed(old: Entry, new: Entry) -> bool {
    match (old, new) {
        (Entry::Leaf(old), Entry::Leaf(new)) => {
            let (a, b) = (old.attributes, new.attributes);
            let is_same_memory = old.output == new.output && a.memory == b.memory;
            let is_same_size = a.contiguous == b.contiguous && a.uncached == b.uncached;
            let is_cleaned = a.dirty != Dirty::Clean && b.dirty == Dirty::Clean;
            is_same_memory && is_same_size && b.perms.contains(a.perms) && b.accessed && !is_cleaned
        }
        _ => false,
    }
}

/// There is no room for another fact: the oracle does not know any more what TLBs hold.
const fn out_of_room(place: Place) -> Violation {
    Violation { rule: Rule::Memory, place, frame: None, fact: None }
}

/// Returns the rule that names the step that a fact is waiting for.
const fn missing(fact: &Fact) -> Rule {
    match fact.stage {
        Stage::Stored(Wasted::TooEarly) | Stage::Held(Wasted::TooEarly) => Rule::StoreFirst,
        Stage::Stored(_) | Stage::Held(Wasted::Nothing) => Rule::Sequence,
        Stage::Held(Wasted::Local) | Stage::Going(_) | Stage::GoingByIpa(_) | Stage::GoingCombined(_) => {
            Rule::Completion
        }
        Stage::Combined => Rule::CombinedLast,
    }
}
