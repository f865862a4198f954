//! The one walker: every look at a range of a tree, and every change to one, is a visit by it.

use vmsa::{Codec, Geometry, Hpa, Ipa, IpaRange, Level, PAGE_SIZE};

use crate::change::{Live, Place, Slot};
use crate::{Mmu, Stage2};

/// What a visit did, and where the walk goes on.
pub(crate) enum Next {
    /// Nothing, or nothing that made an entry live or took one away.
    Same,
    /// The entry was not live and is now.
    Made,
    /// The entry was live and is not now.
    Broken,
    /// Into the table that the entry leads to.
    Descend(Live, Hpa),
    /// Into the table that the entry leads to since this visit.
    DescendMade(Live, Hpa),
}

/// What a range operation does at each entry.
pub(crate) trait Visitor {
    /// Why the walk is given up.
    type Error;

    /// Visits an entry; `part` is what the range and the entry have in common.
    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Self::Error>;

    /// Is told by how many the live entries of a table have changed.
    fn note(&mut self, _table: Hpa, _delta: i32) {}

    /// Leaves a table of `level` that was visited, also when the walk is given up in it.
    fn leave(&mut self, _via: Live, _table: Hpa, _level: Level) -> Next {
        Next::Same
    }
}

/// Reads a tree and hands its entries to a visitor.
pub(crate) struct Walker<'m, M> {
    mmu: &'m M,
    codec: Codec,
    geometry: Geometry,
    root: Hpa,
}

impl<'m, M: Mmu> Walker<'m, M> {
    pub(crate) const fn of(tree: &Stage2, mmu: &'m M) -> Self {
        Self { mmu, codec: tree.codec, geometry: tree.geometry, root: tree.root }
    }

    /// Visits the entries that `range` touches, in ascending order, each table once. The range is not empty and lies in the
    /// tree's space. The tables of a concatenated root are walked one after the other.
    pub(crate) fn walk<V: Visitor>(&self, range: IpaRange, visitor: &mut V) -> Result<(), V::Error> {
        debug_assert!(!range.is_empty() && range.end <= self.geometry.limit(), "{range:?}");
        let start = self.geometry.start();
        let first = range.start.0 / start.table_span();
        let last = (range.end.0 - 1) / start.table_span();
        for number in first..=last {
            let span = IpaRange::new(Ipa(number * start.table_span()), start.table_span());
            self.table(self.root.add(number * PAGE_SIZE), start, range.intersection(span), visitor)?;
        }
        Ok(())
    }

    fn table<V: Visitor>(&self, table: Hpa, level: Level, range: IpaRange, visitor: &mut V) -> Result<(), V::Error> {
        let mut delta = 0;
        let result = self.entries(table, level, range, visitor, &mut delta);
        if delta != 0 {
            visitor.note(table, delta);
        }
        result
    }

    fn entries<V: Visitor>(
        &self,
        table: Hpa,
        level: Level,
        range: IpaRange,
        visitor: &mut V,
        delta: &mut i32,
    ) -> Result<(), V::Error> {
        let mut at = range.start;
        while at < range.end {
            let slot = Slot::of(table, level, at);
            let part = slot.span().intersection(range);
            match visitor.visit(slot.look(self.mmu, self.codec), part)? {
                Next::Same => {}
                Next::Made => *delta += 1,
                Next::Broken => *delta -= 1,
                Next::Descend(via, child) => self.descend(via, child, part, visitor, delta)?,
                Next::DescendMade(via, child) => {
                    *delta += 1;
                    self.descend(via, child, part, visitor, delta)?;
                }
            }
            at = slot.span().end;
        }
        Ok(())
    }

    fn descend<V: Visitor>(
        &self,
        via: Live,
        child: Hpa,
        part: IpaRange,
        visitor: &mut V,
        delta: &mut i32,
    ) -> Result<(), V::Error> {
        let Some(level) = via.slot().level().next() else {
            return Ok(());
        };
        let result = self.table(child, level, part, visitor);
        if let Next::Broken = visitor.leave(via, child, level) {
            *delta -= 1;
        }
        result
    }
}
