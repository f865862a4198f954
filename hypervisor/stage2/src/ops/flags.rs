//! Access flags and dirty states: read and cleared over a range, and set at a fault where the hardware does not.

use core::convert::Infallible;

use vmsa::{Attributes, Dirty, Dsb, Entry, Hpa, Ipa, IpaRange, Leaf, Level, Perms, Scope, Tlbi};

use crate::change::{Held, Live, Place, Slot};
use crate::edit::Edit;
use crate::gather::Flushed;
use crate::walk::{Next, Visitor, Walker};
use crate::{Mmu, Stage2, Tables};

/// What the tables say to an access.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Touched {
    /// They allowed it before: a TLB was behind, or another CPU was faster.
    Already,
    /// They allow it now that a flag is set.
    Marked,
    /// They say now what the page is.
    Mapped,
    /// They do not allow it.
    No,
}

impl Stage2 {
    /// Tells of the parts of `range` that were accessed since this was last done, or since they were mapped, and forgets that
    /// they were. A leaf that `range` cuts is told of and not forgotten: it has one flag.
    pub fn age<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        told: impl FnMut(IpaRange),
    ) -> Flushed {
        self.collect(mmu, tables, range, Flag::Accessed, told)
    }

    /// Tells of the parts of `range` that were stored to since this was last done, of those whose dirty state is tracked
    /// ([`Attributes::dirty`]), and makes them clean. What a page holds may be read once this has returned: a later store makes
    /// it dirty again. A leaf that `range` cuts is told of and stays dirty.
    pub fn harvest<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        told: impl FnMut(IpaRange),
    ) -> Flushed {
        self.collect(mmu, tables, range, Flag::Dirty, told)
    }

    fn collect<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        flag: Flag,
        told: impl FnMut(IpaRange),
    ) -> Flushed {
        let mut edit = Edit::new(self, mmu, tables);
        let mut collect = Collect { edit: &mut edit, range, flag, told };
        let Ok(()) = collect.edit.walker().walk(range, &mut collect);
        edit.close()
    }

    /// Does for an access at `ipa` that needs `perms` what hardware does that updates flags: where the leaf allows it, sets the
    /// access flag, and the dirty state at a store.
    pub fn touch(&mut self, mmu: &impl Mmu, ipa: Ipa, perms: Perms) -> Touched {
        match self.place_of(mmu, ipa) {
            Some(Place::Leaf(Held::Live(live), leaf)) => self.touch_leaf(mmu, live, leaf, perms),
            _ => Touched::No,
        }
    }

    /// Does the same; and where there is a table for the page at `ipa`, and nothing of it in the table, enters `page`, whose contents
    /// were written before the call. What is made of nothing owes no invalidation, so that this takes 170 instructions less than
    /// [`Stage2::map_page`].
    pub fn touch_or_map<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ipa: Ipa,
        perms: Perms,
        page: (Hpa, Attributes),
    ) -> Touched {
        match self.place_of(mmu, ipa) {
            Some(Place::Leaf(Held::Live(live), leaf)) => self.touch_leaf(mmu, live, leaf, perms),
            Some(Place::Vacant(vacant)) if vacant.slot().level() == Level::LEAF => {
                let (table, (output, attributes)) = (vacant.slot().table(), page);
                vacant.make(mmu, self.codec, Entry::Leaf(self.sayable(Leaf { output, attributes })));
                tables.set_live_entries(table, tables.live_entries(table) + 1);
                self.note_store();
                if !planted::is(90) {
                    mmu.dsb(Dsb::Ishst);
                }
                Touched::Mapped
            }
            _ => Touched::No,
        }
    }

    /// Returns what a walk for `ipa` ends at, if that is in the tree's space.
    fn place_of(&self, mmu: &impl Mmu, ipa: Ipa) -> Option<Place> {
        if ipa >= self.geometry.limit() {
            return None;
        }
        let (slot, raw) = Walker::of(self, mmu).find(ipa);
        Some(slot.found(raw, self.codec))
    }

    fn touch_leaf(&mut self, mmu: &impl Mmu, live: Live, leaf: Leaf, perms: Perms) -> Touched {
        if !leaf.attributes.perms.contains(perms) {
            return Touched::No;
        }
        if leaf.attributes.allows(perms) {
            return Touched::Already;
        }
        live.change(mmu, self.codec, |entry| mark(entry, perms));
        self.note_store();
        if !planted::is(125) {
            mmu.dsb(Dsb::Ishst);
        }
        Touched::Marked
    }

    /// Counts a store, and the barrier behind it.
    const fn note_store(&mut self) {
        self.stats.stores += 1;
        self.stats.dsb += 1;
    }

    /// Drops what this CPU's TLB holds for the page at `ipa`. For a permission fault on what the tables allow: an entry from
    /// before permissions were added, or a page became dirty, may be left, and would fault for ever.
    pub fn refresh(&mut self, mmu: &impl Mmu, ipa: Ipa) {
        mmu.dsb(Dsb::Nshst);
        mmu.tlbi(Tlbi::Ipa { ipa, level: None, leaf_only: true }, Scope::Local);
        mmu.dsb(Dsb::Nsh);
        mmu.tlbi(Tlbi::Stage1, Scope::Local);
        mmu.dsb(Dsb::Nsh);
    }

    /// Drops all that this CPU's TLB holds of the VMID in effect: after a TLB conflict abort, which says that it holds two
    /// entries for one address (FEAT_BBM level 2), and not which.
    pub fn drop_local(&mut self, mmu: &impl Mmu) {
        mmu.dsb(Dsb::Nshst);
        mmu.tlbi(Tlbi::Vmid, Scope::Local);
        mmu.dsb(Dsb::Nsh);
    }
}

fn mark(entry: Entry, perms: Perms) -> Entry {
    let Entry::Leaf(leaf) = entry else { return entry };
    let dirty = match leaf.attributes.dirty {
        Dirty::Clean if perms.contains(Perms::WRITE) => Dirty::Dirty,
        other => other,
    };
    Entry::Leaf(Leaf { attributes: Attributes { accessed: true, dirty, ..leaf.attributes }, ..leaf })
}

#[derive(Clone, Copy)]
enum Flag {
    Accessed,
    Dirty,
}

impl Flag {
    fn is_set(self, leaf: Leaf) -> bool {
        match self {
            Self::Accessed => leaf.attributes.accessed,
            Self::Dirty => leaf.attributes.dirty == Dirty::Dirty,
        }
    }

    fn clear(self, leaf: Leaf) -> Leaf {
        let attributes = match self {
            Self::Accessed => Attributes { accessed: false, ..leaf.attributes },
            Self::Dirty => Attributes { dirty: Dirty::Clean, ..leaf.attributes },
        };
        Leaf { attributes, ..leaf }
    }
}

struct Collect<'v, 'e, M, T, F> {
    edit: &'v mut Edit<'e, M, T>,
    range: IpaRange,
    flag: Flag,
    told: F,
}

impl<M: Mmu, T: Tables, F: FnMut(IpaRange)> Collect<'_, '_, M, T, F> {
    /// The hardware may have set a group's flag at any member: the first that the range holds speaks for all of them.
    fn group(&mut self, slot: Slot, part: IpaRange) {
        let shown = slot.group().intersection(self.range);
        if shown.start != part.start {
            return;
        }
        let is_whole = shown == slot.group();
        let mut is_set = false;
        for member in slot.members() {
            if let Place::Leaf(held, leaf) = self.edit.look(member)
                && self.flag.is_set(leaf)
            {
                is_set = true;
                if is_whole {
                    self.clear(held, leaf);
                }
            }
        }
        if is_set {
            (self.told)(shown);
        }
    }

    fn one(&mut self, held: Held, leaf: Leaf, part: IpaRange) {
        if self.flag.is_set(leaf) {
            if part == held.slot().span() {
                self.clear(held, leaf);
            }
            (self.told)(part);
        }
    }

    fn clear(&mut self, held: Held, leaf: Leaf) {
        let flag = self.flag;
        self.edit.change(held, leaf, |leaf| flag.clear(leaf));
    }
}

impl<M: Mmu, T: Tables, F: FnMut(IpaRange)> Visitor for Collect<'_, '_, M, T, F> {
    type Error = Infallible;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, Infallible> {
        match place {
            Place::Vacant(_) | Place::Prepared(_) => {}
            Place::Table(held, table) => return Ok(Next::Descend(held.via(table))),
            Place::Leaf(held, leaf) if leaf.attributes.contiguous => self.group(held.slot(), part),
            Place::Leaf(held, leaf) => self.one(held, leaf, part),
        }
        Ok(Next::Same)
    }
}
