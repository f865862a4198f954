//! Unmapping. What is wholly in the range goes with one store, tables with all that is below them included.

use core::convert::Infallible;

use vmsa::{Hpa, IpaRange, Leaf, Level};

use crate::change::{Held, Place, Slots, Via};
use crate::edit::{Edit, OutOfTables};
use crate::gather::Flushed;
use crate::walk::{Done, Enter, Next, Visitor};
use crate::{Mmu, Stage2, Tables};

impl Stage2 {
    /// Unmaps whatever is mapped in the ranges, and invalidates all of it at once. Costs no invalidation where nothing was.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: a range cuts a block, and there is no table to split it. Everything is as it was.
    pub fn unmap<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange> + Clone,
    ) -> Result<Flushed, OutOfTables> {
        self.unmap_with(mmu, tables, ranges, None::<fn(IpaRange, Leaf)>)
    }

    /// Does what [`Stage2::unmap`] does, and tells of each leaf that it takes away: for which addresses it stood, and what it
    /// said at last, the access flag and the dirty state among it. Looks at every leaf for that.
    ///
    /// # Errors
    ///
    /// As for [`Stage2::unmap`].
    pub fn unmap_and_tell<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange> + Clone,
        told: impl FnMut(IpaRange, Leaf),
    ) -> Result<Flushed, OutOfTables> {
        self.unmap_with(mmu, tables, ranges, Some(told))
    }

    /// Unmaps whatever is mapped in the range, and never fails: a block that it cuts, and that there is no table to split for,
    /// goes as a whole. The caller knows what was mapped there, and serves the fault that this may cost.
    pub fn unmap_at_least<M: Mmu, T: Tables>(&mut self, mmu: &M, tables: &mut T, range: IpaRange) -> Flushed {
        let mut edit = Edit::new(self, mmu, tables);
        unmap_parts(&mut edit, [range], None::<fn(IpaRange, Leaf)>);
        edit.close()
    }

    /// Unmaps the pages in the ranges that lead to `frame`, which is in no block, and leaves everything else alone.
    pub fn unmap_frame<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange>,
        frame: Hpa,
    ) -> Flushed {
        let mut edit = Edit::new(self, mmu, tables);
        for range in ranges {
            edit.begin_part();
            let Ok(()) = edit.walker().walk(range, &mut UnmapFrame { edit: &mut edit, frame });
        }
        edit.close()
    }

    fn unmap_with<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange> + Clone,
        told: Option<impl FnMut(IpaRange, Leaf)>,
    ) -> Result<Flushed, OutOfTables> {
        let mut edit = Edit::new(self, mmu, tables);
        let reserved = ranges.clone().into_iter().try_for_each(|range| edit.reserve(range, |_| true));
        if reserved.is_ok() {
            unmap_parts(&mut edit, ranges, told);
        }
        let flushed = edit.close();
        reserved.map(|()| flushed)
    }
}

fn unmap_parts<M: Mmu, T: Tables>(
    edit: &mut Edit<'_, M, T>,
    ranges: impl IntoIterator<Item = IpaRange>,
    told: Option<impl FnMut(IpaRange, Leaf)>,
) {
    let mut told = told;
    for range in ranges {
        edit.begin_part();
        let mut unmap = Unmap { edit, range, told: told.as_mut() };
        if !unmap.among_others() {
            let Ok(()) = unmap.edit.walker().walk(range, &mut unmap);
        }
    }
}

struct Unmap<'v, 'e, M, T, F> {
    edit: &'v mut Edit<'e, M, T>,
    range: IpaRange,
    told: Option<&'v mut F>,
}

impl<M: Mmu, T: Tables, F: FnMut(IpaRange, Leaf)> Unmap<'_, '_, M, T, F> {
    /// Unmaps what has a table of the last level in common with others, if there is nothing particular about it.
    fn among_others(&mut self) -> bool {
        let entries = if self.told.is_some() { None } else { self.edit.entries_among_others(self.range) };
        entries.is_some_and(|entries| {
            let done = self.edit.remove_leaves(entries);
            self.edit.note(entries.first.table(), done.delta);
            done.passed == entries.count
        })
    }

    fn leaf(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Next {
        // A group's flags may be at any member: they are all told what all of them say.
        let whole = if self.told.is_some() { part } else { self.range };
        let ungrouped = if planted::is(54) { Some((held, leaf)) } else { self.edit.ungroup(held, leaf, whole) };
        let Some((held, leaf)) = ungrouped else { return Next::Same };
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

    fn run(&mut self, run: Slots) -> Done {
        if self.told.is_some() { Done::default() } else { self.edit.remove_run(run) }
    }

    /// What is wholly in the range goes at once, unless somebody is to be told of all of it.
    fn enter(&mut self, via: &Via, part: IpaRange) -> Enter {
        let all = if self.told.is_some() { None } else { self.edit.all_within(via, part) };
        all.map_or(Enter::Descend, |all| self.edit.detach(via, all))
    }

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Infallible> {
        Ok(match place {
            Place::Vacant(_) | Place::Prepared(_) => Next::Same,
            Place::Leaf(held, leaf) => self.leaf(held, leaf, part),
            Place::Table(held, table) => Next::Descend(held.via(table)),
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: &Via, _part: IpaRange, delta: i32) -> Next {
        if delta == 0 { Next::Same } else { self.edit.drop_if_empty(via) }
    }
}

struct UnmapFrame<'v, 'e, M, T> {
    edit: &'v mut Edit<'e, M, T>,
    frame: Hpa,
}

impl<M: Mmu, T: Tables> Visitor for UnmapFrame<'_, '_, M, T> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, Infallible> {
        Ok(match place {
            Place::Table(held, table) => Next::Descend(held.via(table)),
            Place::Leaf(held, leaf) if leaf.output == self.frame && held.slot().level() == Level::LEAF => {
                let _ = self.edit.remove(held, leaf);
                Next::Gone
            }
            Place::Vacant(_) | Place::Prepared(_) | Place::Leaf(..) => Next::Same,
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: &Via, _part: IpaRange, delta: i32) -> Next {
        if delta == 0 { Next::Same } else { self.edit.drop_if_empty(via) }
    }
}
