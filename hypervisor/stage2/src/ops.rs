//! The operations on a range: map, unmap, protect.

use core::convert::Infallible;

use vmsa::{Attributes, Dsb, Entry, Hpa, Ipa, IpaRange, Leaf, Level, Perms, Scope, Tlbi};

use crate::change::{Live, Place, Vacant};
use crate::gather::{Flushed, Gather};
use crate::walk::{Next, Visitor, Walker};
use crate::{Mmu, Stage2, Tables};

/// No frame was to be had for a table. What was mapped before stays mapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfTables;

impl Stage2 {
    /// Maps the pages of `range` that `source` knows and that are not mapped, and leaves the others alone. The pages'
    /// contents were written before the call.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: pages below the one that needed a table are mapped.
    pub fn map<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        source: impl FnMut(Ipa) -> Option<(Hpa, Attributes)>,
    ) -> Result<Flushed, OutOfTables> {
        let mut map = Map { edit: Edit::new(self, mmu, tables), source, replace: false };
        let result = map.edit.walker().walk(range, &mut map);
        let flushed = map.edit.close();
        result.map(|()| flushed)
    }

    /// Maps the page at `ipa`, whatever is mapped there: another page is broken and invalidated first, the same page gets the
    /// permissions in place.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: nothing was changed.
    pub fn map_page<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ipa: Ipa,
        page: (Hpa, Attributes),
    ) -> Result<Flushed, OutOfTables> {
        let mut map = Map { edit: Edit::new(self, mmu, tables), source: |_| Some(page), replace: true };
        let result = map.edit.walker().walk(IpaRange::page(ipa), &mut map);
        let flushed = map.edit.close();
        result.map(|()| flushed)
    }

    /// Unmaps whatever is mapped in the ranges, and invalidates all of it at once. Costs no invalidation where nothing was.
    pub fn unmap<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange>,
    ) -> Flushed {
        let mut unmap = Unmap { edit: Edit::new(self, mmu, tables) };
        for range in ranges {
            unmap.edit.gather.begin_part();
            let Ok(()) = unmap.edit.walker().walk(range, &mut unmap);
        }
        unmap.edit.close()
    }

    /// Gives the pages of `range` that are mapped the permissions `perms`, which are not empty. A page that is
    /// [`Attributes::SHARED`] does not become writable.
    pub fn protect<M: Mmu, T: Tables>(&mut self, mmu: &M, tables: &mut T, range: IpaRange, perms: Perms) -> Flushed {
        let mut protect = Protect { edit: Edit::new(self, mmu, tables), perms };
        let Ok(()) = protect.edit.walker().walk(range, &mut protect);
        protect.edit.close()
    }

    /// Drops what any CPU may hold of the tree's VMID from a former use. To be done before the tree is first used.
    pub fn claim_vmid(&mut self, mmu: &impl Mmu) {
        mmu.root_made(self.vttbr(), self.geometry);
        self.under_own_vmid(mmu, |issue| issue.vmid());
    }

    /// Drops what this CPU's TLB holds for the page at `ipa`. For a fault on what the tables allow: an entry from before
    /// permissions were added may be left, and would fault for ever.
    pub fn refresh(&mut self, mmu: &impl Mmu, ipa: Ipa) {
        mmu.dsb(Dsb::Nshst);
        mmu.tlbi(Tlbi::Ipa { ipa, level: None, leaf_only: true }, Scope::Local);
        mmu.dsb(Dsb::Nsh);
        mmu.tlbi(Tlbi::Stage1, Scope::Local);
        mmu.dsb(Dsb::Nsh);
    }
}

/// One operation under way: the tree, what it needs, and what it has broken.
struct Edit<'e, M, T> {
    tree: &'e mut Stage2,
    mmu: &'e M,
    tables: &'e mut T,
    gather: Gather,
}

impl<'e, M: Mmu, T: Tables> Edit<'e, M, T> {
    fn new(tree: &'e mut Stage2, mmu: &'e M, tables: &'e mut T) -> Self {
        Self { tree, mmu, tables, gather: Gather::default() }
    }

    const fn walker(&self) -> Walker<'e, M> {
        Walker::of(self.tree, self.mmu)
    }

    fn close(self) -> Flushed {
        self.gather.close(self.tree, self.mmu, self.tables)
    }

    fn make(&mut self, vacant: Vacant, entry: Entry) -> Live {
        vacant.make(self.mmu, self.tree.codec, entry, &mut self.gather, &mut self.tree.stats)
    }

    /// Links a new table.
    fn make_table(&mut self, vacant: Vacant) -> Result<Next, OutOfTables> {
        let table = self.tables.allocate().ok_or(OutOfTables)?;
        self.tree.stats.tables += 1;
        Ok(Next::DescendMade(self.make(vacant, Entry::Table(table)), table))
    }

    fn break_leaf(&mut self, live: Live) -> Next {
        live.break_entry(self.mmu, &mut self.tree.stats).gather_leaf(&mut self.gather);
        Next::Broken
    }

    /// Breaks the entry of a table whose every address is in the range: what is below it goes with it, unvisited.
    fn break_table(&mut self, live: Live, table: Hpa, level: Level) -> Next {
        live.break_entry(self.mmu, &mut self.tree.stats).gather_table(&mut self.gather);
        self.gather.detach(self.tables, table, level);
        Next::Broken
    }

    fn break_if_empty(&mut self, live: Live, table: Hpa, level: Level) -> Next {
        if self.tables.live_entries(table) != 0 {
            return Next::Same;
        }
        live.break_entry(self.mmu, &mut self.tree.stats).gather_empty_table(&mut self.gather);
        self.gather.detach(self.tables, table, level);
        Next::Broken
    }

    /// Puts a page where another was: break, invalidate, make.
    fn replace(&mut self, live: Live, entry: Entry) {
        let broken = live.break_entry(self.mmu, &mut self.tree.stats);
        let slot = broken.slot();
        self.gather.stale_leaf(slot);
        let proof = self.gather.flush(self.tree, self.mmu);
        let _ = self.make(broken.invalidated(&proof), entry);
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        let count = i32::from(self.tables.live_entries(table)) + delta;
        self.tables.set_live_entries(table, count as u16);
    }
}

struct Map<'e, M, T, S> {
    edit: Edit<'e, M, T>,
    source: S,
    /// A page that is there already is replaced, not left alone.
    replace: bool,
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<(Hpa, Attributes)>> Map<'_, M, T, S> {
    fn fill(&mut self, vacant: Vacant) -> Next {
        let Some((output, attributes)) = (self.source)(vacant.slot().span().start) else {
            return Next::Same;
        };
        let _ = self.edit.make(vacant, Entry::Leaf(Leaf { output, attributes }));
        Next::Made
    }

    fn replace(&mut self, live: Live, old: Leaf) {
        let Some((output, attributes)) = (self.source)(live.slot().span().start) else {
            return;
        };
        let new = Leaf { output, attributes };
        let in_place = Leaf { attributes: Attributes { perms: old.attributes.perms, ..attributes }, ..new };
        if new == old {
            return;
        }
        if in_place == old {
            let edit = &mut self.edit;
            live.change_perms(edit.mmu, edit.tree.codec, old, attributes.perms, &mut edit.gather, &mut edit.tree.stats);
        } else {
            self.edit.replace(live, Entry::Leaf(new));
        }
    }
}

impl<M: Mmu, T: Tables, S: FnMut(Ipa) -> Option<(Hpa, Attributes)>> Visitor for Map<'_, M, T, S> {
    type Error = OutOfTables;

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, OutOfTables> {
        match place {
            Place::Vacant(vacant) if vacant.slot().level() == Level::LEAF => Ok(self.fill(vacant)),
            Place::Vacant(vacant) => self.edit.make_table(vacant),
            Place::Table(via, table) => Ok(Next::Descend(via, table)),
            Place::Leaf(live, leaf) => {
                if self.replace {
                    self.replace(live, leaf);
                }
                Ok(Next::Same)
            }
        }
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: Live, table: Hpa, level: Level) -> Next {
        self.edit.break_if_empty(via, table, level)
    }
}

struct Unmap<'e, M, T> {
    edit: Edit<'e, M, T>,
}

impl<M: Mmu, T: Tables> Visitor for Unmap<'_, M, T> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Infallible> {
        Ok(match place {
            Place::Vacant(_) => Next::Same,
            Place::Leaf(live, _) => self.edit.break_leaf(live),
            Place::Table(via, table) => match via.slot().level().next() {
                Some(below) if part == via.slot().span() => self.edit.break_table(via, table, below),
                _ => Next::Descend(via, table),
            },
        })
    }

    fn note(&mut self, table: Hpa, delta: i32) {
        self.edit.note(table, delta);
    }

    fn leave(&mut self, via: Live, table: Hpa, level: Level) -> Next {
        self.edit.break_if_empty(via, table, level)
    }
}

struct Protect<'e, M, T> {
    edit: Edit<'e, M, T>,
    perms: Perms,
}

impl<M: Mmu, T: Tables> Visitor for Protect<'_, M, T> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, Infallible> {
        let (live, leaf) = match place {
            Place::Vacant(_) => return Ok(Next::Same),
            Place::Table(via, table) => return Ok(Next::Descend(via, table)),
            Place::Leaf(live, leaf) => (live, leaf),
        };
        let is_shared = leaf.attributes.software & Attributes::SHARED != 0;
        let perms = if is_shared { self.perms - Perms::WRITE } else { self.perms };
        if perms != leaf.attributes.perms {
            let edit = &mut self.edit;
            live.change_perms(edit.mmu, edit.tree.codec, leaf, perms, &mut edit.gather, &mut edit.tree.stats);
        }
        Ok(Next::Same)
    }
}
