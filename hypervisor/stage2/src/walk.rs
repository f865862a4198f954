//! The one walker: every look at a range of a tree, and every change to one, is a visit by it.

use vmsa::{Codec, Geometry, Hpa, Ipa, IpaRange, Level, PAGE_SIZE};

use crate::change::{Place, Reach, Slot, Slots, Via};
use crate::{Mmu, Stage2};

/// What a visit did, and where the walk goes on.
pub(crate) enum Next {
    /// Nothing, or nothing that gave the table an entry or took one away.
    Same,
    /// The table has an entry more.
    Made,
    /// The table has an entry less.
    Gone,
    /// Into the table that the entry leads to.
    Descend(Via),
}

/// What became of an entry that leads to a table.
pub(crate) enum Enter {
    /// The table's entries are to be visited.
    Descend,
    /// They are not.
    Pass,
    /// The entry is gone.
    Gone,
}

/// What was done to adjacent entries at once.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    /// How many of them need no visit any more, from the first on.
    pub(crate) passed: u64,
    /// By how many the entries of the table have changed.
    pub(crate) delta: i32,
}

impl Done {
    /// Returns what was done when what is next was done too.
    pub(crate) const fn and(self, next: Self) -> Self {
        Self { passed: self.passed + next.passed, delta: self.delta + next.delta }
    }
}

/// What a range operation does at each entry.
pub(crate) trait Visitor {
    /// Why the walk is given up.
    type Error;

    /// Does what it can to adjacent entries that lie in the range as a whole, without a visit to each.
    fn run(&mut self, _run: Slots) -> Done {
        Done::default()
    }

    /// Comes to an entry that leads to a table, and tells what became of it.
    fn enter(&mut self, _via: &Via, _part: IpaRange) -> Enter {
        Enter::Descend
    }

    /// Visits any other entry; `part` is what the range and the entry have in common.
    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Self::Error>;

    /// Is told by how many the entries of a table have changed.
    fn note(&mut self, _table: Hpa, _delta: i32) {}

    /// Leaves a table that was visited for `part`, also when the walk is given up in it, and has `delta` more entries for that.
    /// What became of the entry that leads to it is [`Next::Same`] or [`Next::Gone`].
    fn leave(&mut self, _via: &Via, _part: IpaRange, _delta: i32) -> Next {
        Next::Same
    }

    /// Leaves a table of the root.
    fn leave_root(&mut self, _entries: Slots, _part: IpaRange) {}
}

/// Reads a tree and hands its entries to a visitor.
pub(crate) struct Walker<'m, M> {
    mmu: &'m M,
    codec: Codec,
    geometry: Geometry,
    root: Hpa,
}

/// A table under the walker's eyes.
#[derive(Clone, Copy)]
struct Table {
    address: Hpa,
    level: Level,
    reach: Reach,
}

impl<'m, M: Mmu> Walker<'m, M> {
    pub(crate) const fn of(tree: &Stage2, mmu: &'m M) -> Self {
        Self { mmu, codec: tree.codec, geometry: tree.geometry, root: tree.root }
    }

    /// Visits the entries that `range` touches, in ascending order, each table once. The range is not empty and lies in the
    /// tree's space. The tables of a concatenated root are walked one after the other.
    pub(crate) fn walk<V: Visitor>(&self, range: IpaRange, visitor: &mut V) -> Result<(), V::Error> {
        assert!(!range.is_empty() && range.end <= self.geometry.limit(), "{range:?} is not in the tree's space");
        let level = self.geometry.start();
        let first = range.start.0 / level.table_span();
        let end = range.end.0.div_ceil(level.table_span());
        for number in first..end {
            let span = IpaRange::new(Ipa(number * level.table_span()), level.table_span());
            let table = Table { address: self.root.add(number * PAGE_SIZE), level, reach: Reach::Walks };
            let part = range.intersection(span);
            self.table(table, part, visitor).0?;
            visitor.leave_root(Slots::of_table(table.address, level, span.start, Reach::Walks), part);
        }
        Ok(())
    }

    /// Returns the last entry that a walk for `ipa` reads, and what it says.
    pub(crate) fn find(&self, ipa: Ipa) -> (Slot, u64) {
        let mut level = self.geometry.start();
        let number = ipa.0 / level.table_span();
        let mut table = self.root.add(number * PAGE_SIZE);
        while let Some(below) = level.next() {
            let raw = self.mmu.read(table.add(8 * level.index(ipa) as u64));
            let Some(child) = Codec::table(raw, level) else { return (Slot::of(table, level, ipa, Reach::Walks), raw) };
            (table, level) = (child, below);
        }
        let slot = Slot::of(table, level, ipa, Reach::Walks);
        (slot, self.mmu.read(slot.address()))
    }

    /// Returns the entries for a range of whole pages, if they stand in one table of the last level.
    pub(crate) fn last_entries(&self, range: IpaRange) -> Option<Slots> {
        self.find(range.start).0.entries_for(range)
    }

    /// Returns by how many the table's entries have changed, too.
    fn table<V: Visitor>(&self, table: Table, range: IpaRange, visitor: &mut V) -> (Result<(), V::Error>, i32) {
        let mut delta = 0;
        let result = self.entries(table, range, visitor, &mut delta);
        if delta != 0 {
            visitor.note(table.address, delta);
        }
        (result, delta)
    }

    fn entries<V: Visitor>(
        &self,
        table: Table,
        range: IpaRange,
        visitor: &mut V,
        delta: &mut i32,
    ) -> Result<(), V::Error> {
        let Table { address, level, reach } = table;
        let mut at = range.start;
        while at < range.end {
            let mut slot = Slot::of(address, level, at, reach);
            let count = (range.end.0 - at.0) >> level.shift();
            if slot.span().start == at && count > 0 {
                let done = visitor.run(Slots { first: slot, count });
                *delta += done.delta;
                slot = slot.after(done.passed);
                if slot.span().start >= range.end {
                    break;
                }
            }
            let part = slot.span().intersection(range);
            at = slot.span().end;
            let raw = self.mmu.read(slot.address());
            if let Some(table) = Codec::table(raw, level) {
                self.enter(&Via { slot, table, reach }, part, visitor, delta)?;
                continue;
            }
            match visitor.visit(slot.found(raw, self.codec), part)? {
                Next::Same => {}
                Next::Made => *delta += 1,
                Next::Gone => *delta -= 1,
                Next::Descend(via) => self.descend(&via, part, visitor, delta)?,
            }
        }
        Ok(())
    }

    fn enter<V: Visitor>(&self, via: &Via, part: IpaRange, visitor: &mut V, delta: &mut i32) -> Result<(), V::Error> {
        match visitor.enter(via, part) {
            Enter::Descend => return self.descend(via, part, visitor, delta),
            Enter::Pass => {}
            Enter::Gone => *delta -= 1,
        }
        Ok(())
    }

    fn descend<V: Visitor>(&self, via: &Via, part: IpaRange, visitor: &mut V, delta: &mut i32) -> Result<(), V::Error> {
        let Some(level) = via.slot.level().next() else {
            return Ok(());
        };
        let table = Table { address: via.table, level, reach: via.reach };
        let (result, changed) = self.table(table, part, visitor);
        if let Next::Gone = visitor.leave(via, part, changed) {
            *delta -= 1;
        }
        result
    }
}
