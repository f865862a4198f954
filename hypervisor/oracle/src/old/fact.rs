//! Facts: what a TLB may hold although the tables say otherwise, and how far each is on its way out.

use vmsa::{Ipa, IpaRange, Level, RangeOperand, Scope, Tlbi, Vmid};

/// An invalidation that named a fact and did not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wasted {
    /// There was none.
    Nothing,
    /// It was issued before the store was visible.
    TooEarly,
    /// It reached one CPU only.
    Local,
}

/// How far a fact is on its way out of every TLB.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The store that ended it may not be visible to walks.
    Stored(Wasted),
    /// The store is visible; TLBs may hold it.
    Held(Wasted),
    /// All of it goes at the next full `DSB` of this CPU.
    Going(u8),
    /// Its stage-2 entries go at the next full `DSB` of this CPU.
    GoingByIpa(u8),
    /// Combined entries are left.
    Combined,
    /// They go at the next full `DSB` of this CPU.
    GoingCombined(u8),
}

/// Something that TLBs may hold for a range of addresses though the tables say otherwise. Neighbours that are equally far are
/// one fact: an operation on many pages leaves few.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fact {
    /// Whose addresses.
    pub vmid: Vmid,
    /// Which.
    pub range: IpaRange,
    /// The level of the entries.
    pub level: Level,
    /// The entries led to tables.
    pub is_table: bool,
    /// The CPU that wrote over them.
    pub writer: u8,
    /// How far it is.
    pub stage: Stage,
}

impl Fact {
    /// Tells whether another fact may be one with this: next to it, and alike.
    fn joins(&self, next: &Self) -> bool {
        self.range.end == next.range.start && self.is_like(next)
    }

    fn is_like(&self, next: &Self) -> bool {
        self.vmid == next.vmid
            && self.level == next.level
            && self.is_table == next.is_table
            && self.writer == next.writer
            && self.stage == next.stage
    }

    /// Returns the part of the fact that an invalidation names, if it names any.
    pub(crate) fn named_by(&self, op: Tlbi) -> Option<IpaRange> {
        let (range, level, leaf_only) = match op {
            Tlbi::Ipa { ipa, level, leaf_only } => (IpaRange::page(ipa), level, leaf_only),
            Tlbi::Range { operand, level, leaf_only } => (covered(operand), level, leaf_only),
            Tlbi::Stage1 | Tlbi::Vmid | Tlbi::All => return Some(self.range),
        };
        if level.is_some_and(|level| level != self.level) || leaf_only && self.is_table {
            return None;
        }
        // Any address of a block or a table names all of it.
        let span = self.level.entry_span();
        let start = Ipa(range.start.0 & !(span - 1));
        let end = Ipa(range.end.0.next_multiple_of(span));
        let named = IpaRange { start, end }.intersection(self.range);
        (!named.is_empty()).then_some(named)
    }

    /// Returns the stage after an invalidation that names the fact.
    pub(crate) const fn after(&self, op: Tlbi, scope: Scope, cpu: u8) -> Stage {
        match (op, self.stage) {
            (Tlbi::Stage1, Stage::Combined) if matches!(scope, Scope::Broadcast) => Stage::GoingCombined(cpu),
            (Tlbi::Stage1, stage) => stage,
            (_, Stage::Stored(_)) => Stage::Stored(Wasted::TooEarly),
            // It says nothing of the other CPUs.
            (_, Stage::Held(_)) if matches!(scope, Scope::Local) => Stage::Held(Wasted::Local),
            (_, stage) if matches!(scope, Scope::Local) => stage,
            (Tlbi::Vmid | Tlbi::All, _) => Stage::Going(cpu),
            (_, Stage::Held(_)) => Stage::GoingByIpa(cpu),
            (_, stage) => stage,
        }
    }
}

fn covered(operand: RangeOperand) -> IpaRange {
    IpaRange::new(operand.base(), operand.pages() << 12)
}

/// How many facts there is room for. An operation leaves a handful, since neighbours are one.
const MOST_FACTS: usize = 256;

/// There is no room for another fact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutOfFacts;

/// All facts, in no order.
#[derive(Debug)]
pub(crate) struct Facts {
    places: [Option<Fact>; MOST_FACTS],
    len: usize,
}

impl Facts {
    pub(crate) const fn new() -> Self {
        Self { places: [None; MOST_FACTS], len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.places[..self.len].iter().flatten()
    }

    /// Adds a fact, to a neighbour that is alike if there is one; where there is no room, to any that is alike.
    pub(crate) fn add(&mut self, fact: Fact) -> Result<(), OutOfFacts> {
        if let Some(before) = self.find(|before| before.joins(&fact)) {
            before.range.end = fact.range.end;
            return Ok(());
        }
        if let Some(free) = self.places.get_mut(self.len) {
            *free = Some(fact);
            self.len += 1;
            return Ok(());
        }
        let alike = self.find(|before| before.is_like(&fact)).ok_or(OutOfFacts)?;
        alike.range = alike.range.hull(fact.range);
        Ok(())
    }

    fn find(&mut self, wanted: impl Fn(&Fact) -> bool) -> Option<&mut Fact> {
        self.places[..self.len].iter_mut().flatten().find(|fact| wanted(fact))
    }

    /// Takes every fact through `change`, which returns what becomes of it, and of the parts that it is split in.
    pub(crate) fn update(&mut self, mut change: impl FnMut(Fact) -> Parts) -> Result<(), OutOfFacts> {
        let mut index = 0;
        // What is added behind is not changed again: it is what `change` has left as it was.
        let mut end = self.len;
        while index < end {
            let Some(fact) = self.places[index] else { return Ok(()) };
            let parts = change(fact);
            if parts == Parts::same(fact) {
                index += 1;
                continue;
            }
            self.len -= 1;
            end -= 1;
            // The last of those to be looked at comes here, the last of all to its place.
            self.places[index] = self.places[end];
            self.places[end] = self.places[self.len].take();
            parts.0.into_iter().flatten().try_for_each(|part| self.add(part))?;
        }
        Ok(())
    }
}

/// What becomes of a fact: up to three parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Parts(pub(crate) [Option<Fact>; 3]);

impl Parts {
    pub(crate) const GONE: Self = Self([None; 3]);

    pub(crate) const fn same(fact: Fact) -> Self {
        Self([Some(fact), None, None])
    }

    /// Returns a fact of which one part has come to another stage.
    pub(crate) fn with_stage(fact: Fact, part: IpaRange, stage: Stage) -> Self {
        if stage == fact.stage {
            return Self::same(fact);
        }
        let before = IpaRange { end: part.start, ..fact.range };
        let after = IpaRange { start: part.end, ..fact.range };
        let piece = |range: IpaRange, stage| (!range.is_empty()).then_some(Fact { range, stage, ..fact });
        Self([piece(before, fact.stage), piece(part, stage), piece(after, fact.stage)])
    }
}
