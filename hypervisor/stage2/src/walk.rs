//! The one walker: every look at a range of a tree, and every change to one, is a visit by it.

use vmsa::{Codec, Geometry, Hpa, Ipa, IpaRange, Level, PAGE_SIZE};

use crate::change::{Place, Slot, Via};
use crate::{Mmu, Stage2};

/// What a visit did, and where the walk goes on.
pub(crate) enum Next {
    /// Nothing, or nothing that gave the table an entry or took one away.
    Same,
    /// The table has an entry more.
    Made,
    /// The table has that many entries more, of which this is the first.
    MadeMany(u64),
    /// The table has an entry less.
    Gone,
    /// Into the table that the entry leads to.
    Descend(Via),
}

/// What a range operation does at each entry.
pub(crate) trait Visitor {
    /// Why the walk is given up.
    type Error;

    /// Visits an entry; `part` is what the range and the entry have in common.
    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Self::Error>;

    /// Is told by how many the entries of a table have changed.
    fn note(&mut self, _table: Hpa, _delta: i32) {}

    /// Leaves a table that was visited for `part`, also when the walk is given up in it. What became of the entry that leads
    /// to it is [`Next::Same`] or [`Next::Gone`].
    fn leave(&mut self, _via: Via, _part: IpaRange) -> Next {
        Next::Same
    }

    /// Leaves a table of the root, of which `first` is the first entry.
    fn leave_root(&mut self, _first: Slot, _part: IpaRange) {}
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
    is_linked: bool,
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
            let table = Table { address: self.root.add(number * PAGE_SIZE), level, is_linked: true };
            let part = range.intersection(span);
            self.table(table, part, visitor)?;
            visitor.leave_root(Slot::of(table.address, level, span.start, true), part);
        }
        Ok(())
    }

    fn table<V: Visitor>(&self, table: Table, range: IpaRange, visitor: &mut V) -> Result<(), V::Error> {
        let mut delta = 0;
        let result = self.entries(table, range, visitor, &mut delta);
        if delta != 0 {
            visitor.note(table.address, delta);
        }
        result
    }

    fn entries<V: Visitor>(
        &self,
        table: Table,
        range: IpaRange,
        visitor: &mut V,
        delta: &mut i32,
    ) -> Result<(), V::Error> {
        let mut at = range.start;
        while at < range.end {
            let slot = Slot::of(table.address, table.level, at, table.is_linked);
            let part = slot.span().intersection(range);
            at = slot.span().end;
            match visitor.visit(slot.look(self.mmu, self.codec), part)? {
                Next::Same => {}
                Next::Made => *delta += 1,
                Next::MadeMany(count) => {
                    *delta += count as i32;
                    at = slot.after(count).span().start;
                }
                Next::Gone => *delta -= 1,
                Next::Descend(via) => self.descend(via, part, visitor, delta)?,
            }
        }
        Ok(())
    }

    fn descend<V: Visitor>(&self, via: Via, part: IpaRange, visitor: &mut V, delta: &mut i32) -> Result<(), V::Error> {
        let Some(level) = via.slot.level().next() else {
            return Ok(());
        };
        let result = self.table(Table { address: via.table, level, is_linked: via.is_linked }, part, visitor);
        if let Next::Gone = visitor.leave(via, part) {
            *delta -= 1;
        }
        result
    }
}
