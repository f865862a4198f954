//! Unmapping. What is wholly in the range goes with one store, tables with all that is below them included.

use core::convert::Infallible;

use vmsa::{Hpa, IpaRange, Leaf};

use crate::change::{Held, Place, Via};
use crate::edit::Edit;
use crate::gather::Flushed;
use crate::walk::{Next, Visitor};
use crate::{Mmu, Stage2, Tables};

impl Stage2 {
    /// Unmaps whatever is mapped in the ranges, and invalidates all of it at once. Costs no invalidation where nothing was.
    /// Never fails: a block that a range cuts, and that there is no table to split for, goes as a whole. What was mapped is
    /// known to the caller, who answers the fault that this may cost.
    pub fn unmap<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange>,
    ) -> Flushed {
        self.unmap_with(mmu, tables, ranges, None::<fn(IpaRange, Leaf)>)
    }

    /// Does what [`Stage2::unmap`] does, and tells of each leaf that it takes away: for which addresses it stood, and what it
    /// said at last, the access flag and the dirty state among it. Looks at every leaf for that.
    pub fn unmap_and_tell<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange>,
        told: impl FnMut(IpaRange, Leaf),
    ) -> Flushed {
        self.unmap_with(mmu, tables, ranges, Some(told))
    }

    fn unmap_with<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange>,
        told: Option<impl FnMut(IpaRange, Leaf)>,
    ) -> Flushed {
        let (mut edit, mut told) = (Edit::new(self, mmu, tables), told);
        for range in ranges {
            edit.gather.begin_part();
            let mut unmap = Unmap { edit: &mut edit, range, told: told.as_mut() };
            let Ok(()) = unmap.edit.walker().walk(range, &mut unmap);
        }
        edit.close()
    }
}

struct Unmap<'v, 'e, M, T, F> {
    edit: &'v mut Edit<'e, M, T>,
    range: IpaRange,
    told: Option<&'v mut F>,
}

impl<M: Mmu, T: Tables, F: FnMut(IpaRange, Leaf)> Unmap<'_, '_, M, T, F> {
    fn leaf(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Next {
        let span = held.slot().span();
        if part == span {
            return self.remove(held, leaf);
        }
        let slot = held.slot();
        match self.edit.split(held, leaf, part) {
            Ok(via) => Next::Descend(via),
            Err(_) => match self.edit.look(slot) {
                Place::Leaf(held, leaf) => self.remove(held, leaf),
                _ => Next::Same,
            },
        }
    }

    fn remove(&mut self, held: Held, leaf: Leaf) -> Next {
        let span = held.slot().span();
        let last = self.edit.remove(held, leaf);
        if let Some(told) = &mut self.told {
            told(span, last);
        }
        Next::Gone
    }
}

impl<M: Mmu, T: Tables, F: FnMut(IpaRange, Leaf)> Visitor for Unmap<'_, '_, M, T, F> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Infallible> {
        Ok(match self.edit.ungroup(place, self.range) {
            Place::Vacant(_) | Place::Prepared(_) => Next::Same,
            Place::Leaf(held, leaf) => self.leaf(held, leaf, part),
            Place::Table(held, table) if self.told.is_none() && part == held.slot().span() => {
                self.edit.detach(held, table);
                Next::Gone
            }
            Place::Table(held, table) => Next::Descend(held.via(table)),
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: Via, _part: IpaRange) -> Next {
        self.edit.drop_if_empty(via)
    }
}
