//! Changing permissions.

use vmsa::{Attributes, Codec, Hpa, Ipa, IpaRange, Leaf, Level, Perms};

use crate::change::{Held, Place, Slot, Slots, Via};
use crate::edit::{Edit, OutOfTables};
use crate::gather::Flushed;
use crate::walk::{Done, Next, Visitor};
use crate::{Mmu, Stage2, Tables};

impl Stage2 {
    /// Gives the pages of `range` that are mapped the permissions `perms`. What they lose is gone from every TLB when this
    /// returns; what they gain a CPU may fault on once more, and [`Stage2::refresh`] serves that. A page that is shared
    /// ([`Attributes::shared`]) does not become writable. Neighbours that are alike then become one leaf.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: the range cuts a block, and there is no table to split it. Everything is as it was.
    pub fn protect<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        perms: Perms,
    ) -> Result<Flushed, OutOfTables> {
        self.protect_with(mmu, tables, [range], Goal::Perms(perms))
    }

    /// Notes of the pages in the ranges that are mapped that they are [shared](Attributes::shared): when this returns, no store
    /// reaches them any more. One invalidation for all of it.
    ///
    /// # Errors
    ///
    /// [`OutOfTables`]: a range cuts a block, and there is no table to split it. Everything is as it was.
    pub fn share<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange> + Clone,
    ) -> Result<Flushed, OutOfTables> {
        self.protect_with(mmu, tables, ranges, Goal::Shared)
    }

    /// Gives the pages of `range` that lead to the adjacent frames from `output` on, which nobody shares any more, the
    /// permissions `perms`. Leaves that lead elsewhere stay.
    ///
    /// # Errors
    ///
    /// As for [`Stage2::protect`].
    pub fn own<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        range: IpaRange,
        output: Hpa,
        perms: Perms,
    ) -> Result<Flushed, OutOfTables> {
        self.protect_with(mmu, tables, [range], Goal::Owned { start: range.start, output, perms })
    }

    fn protect_with<M: Mmu, T: Tables>(
        &mut self,
        mmu: &M,
        tables: &mut T,
        ranges: impl IntoIterator<Item = IpaRange> + Clone,
        goal: Goal,
    ) -> Result<Flushed, OutOfTables> {
        let mut edit = Edit::new(self, mmu, tables);
        let reserve = |edit: &mut Edit<'_, M, T>, range: IpaRange| {
            let codec = edit.tree.codec;
            edit.reserve(range, |leaf| goal.at(codec, leaf, None) != leaf)
        };
        let mut result = ranges.clone().into_iter().try_for_each(|range| reserve(&mut edit, range));
        if result.is_ok() {
            result = ranges.into_iter().try_for_each(|range| {
                edit.begin_part();
                let mut protect = Protect { edit: &mut edit, range, goal, changed: None };
                if protect.among_others() { Ok(()) } else { protect.edit.walker().walk(range, &mut protect) }
            });
        }
        let flushed = edit.close();
        result.map(|()| flushed)
    }
}

/// What leaves are to say.
#[derive(Clone, Copy)]
enum Goal {
    /// These permissions, as far as they are not shared.
    Perms(Perms),
    /// That they are shared.
    Shared,
    /// These permissions, and that they are not shared: those that lead from `start` on to the frames from `output` on.
    Owned { start: Ipa, output: Hpa, perms: Perms },
}

impl Goal {
    /// Returns what the leaf is to become, as far as it can be said: at its place, or at any.
    fn at(self, codec: Codec, leaf: Leaf, place: Option<Ipa>) -> Leaf {
        let old = leaf.attributes;
        let attributes = match self {
            Self::Perms(perms) if old.shared => Attributes { perms: perms - Perms::WRITE, ..old },
            Self::Perms(perms) => Attributes { perms, ..old },
            Self::Shared => Attributes { shared: true, perms: old.perms - Perms::WRITE, ..old },
            Self::Owned { start, output, perms } => {
                // A block may begin before the range does.
                let distance = output.0.wrapping_sub(start.0);
                let leads_there = place.is_none_or(|place| leaf.output.0.wrapping_sub(place.0) == distance);
                if leads_there { Attributes { shared: false, perms, ..old } } else { old }
            }
        };
        Leaf { attributes: codec.sayable(attributes), ..leaf }
    }
}

struct Protect<'v, 'e, M, T> {
    edit: &'v mut Edit<'e, M, T>,
    range: IpaRange,
    goal: Goal,
    /// The highest level at which a leaf was changed, or made of a table: neighbours of that may have become alike.
    changed: Option<Level>,
}

impl<M: Mmu, T: Tables> Protect<'_, '_, M, T> {
    /// Does all there is to do where the range has a table of the last level in common with others, if there is nothing
    /// particular about it.
    fn among_others(&mut self) -> bool {
        let range = self.range;
        let entries = self.edit.entries_among_others(range);
        // A full table may have become what a block can say, or be no more.
        entries.filter(|entries| !self.edit.is_full(entries.first.table())).is_some_and(|entries| {
            let is_done = self.change_alike(entries) == entries.count;
            if is_done && self.has_changed(Level::LEAF) {
                self.edit.hint_groups(entries.whole_table(), range);
            }
            is_done
        })
    }

    /// Changes what the first entry says, and the others that say the same, unless what they are to say depends on where they
    /// lead; returns how many that are. Groups are left alone.
    fn change_alike(&mut self, run: Slots) -> u64 {
        let Place::Leaf(Held::Live(first), leaf) = self.edit.look(run.first) else { return 0 };
        let run = if let Goal::Owned { .. } = self.goal { run.part(0..1) } else { run };
        let new = self.wanted(first.slot(), leaf);
        if new == leaf {
            return run.count_alike(self.edit.mmu, &first);
        }
        if leaf.attributes.contiguous {
            return 0;
        }
        let passed = self.edit.change_alike(run, &first, leaf, new);
        if passed != 0 {
            self.note_change(run.first.level());
        }
        passed
    }

    fn note_change(&mut self, level: Level) {
        self.changed = Some(self.changed.map_or(level, |highest| highest.min(level)));
    }

    /// Tells whether tables of the level may have entries that are alike by now.
    fn has_changed(&self, level: Level) -> bool {
        self.changed.is_some_and(|highest| highest <= level)
    }

    fn wanted(&self, slot: Slot, leaf: Leaf) -> Leaf {
        self.goal.at(self.edit.tree.codec, leaf, Some(slot.span().start))
    }

    fn leaf(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Result<Next, OutOfTables> {
        let whole = self.range;
        let ungrouped = if planted::is(56) { Some((held, leaf)) } else { self.edit.ungroup(held, leaf, whole) };
        let Some((held, leaf)) = ungrouped else { return Ok(Next::Same) };
        if part != held.slot().span() {
            return self.edit.split(held, leaf, part).map(Next::Descend);
        }
        self.note_change(held.slot().level());
        let Attributes { perms, shared, .. } = self.wanted(held.slot(), leaf).attributes;
        let changed = |leaf: Leaf| Leaf { attributes: Attributes { perms, shared, ..leaf.attributes }, ..leaf };
        self.edit.change(held, leaf, changed);
        Ok(Next::Same)
    }
}

impl<M: Mmu, T: Tables> Visitor for Protect<'_, '_, M, T> {
    type Error = OutOfTables;

    fn run(&mut self, run: Slots) -> Done {
        Done { passed: self.change_alike(run), delta: 0 }
    }

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        match place {
            Place::Table(held, table) => Ok(Next::Descend(held.via(table))),
            Place::Leaf(held, leaf) if self.wanted(held.slot(), leaf) != leaf => self.leaf(held, leaf, part),
            Place::Vacant(_) | Place::Prepared(_) | Place::Leaf(..) => Ok(Next::Same),
        }
    }

    fn leave(&mut self, via: &Via, part: IpaRange, _delta: i32) -> Next {
        let level = via.slot.level();
        if level.next().is_some_and(|below| self.has_changed(below)) && self.edit.tidy(via, part) {
            self.note_change(level);
        }
        Next::Same
    }

    fn leave_root(&mut self, entries: Slots, part: IpaRange) {
        if self.has_changed(entries.first.level()) {
            self.edit.hint_groups(entries, part);
        }
    }
}
