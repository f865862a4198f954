//! Changing permissions.

use vmsa::{Attributes, Codec, Hpa, Ipa, IpaRange, Leaf, Perms};

use crate::change::{Held, Place, Slot, Via};
use crate::edit::{Edit, OutOfTables};
use crate::gather::Flushed;
use crate::walk::{Next, Visitor};
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
                let mut protect = Protect { edit: &mut edit, range, goal, has_changed: false };
                protect.edit.walker().walk(range, &mut protect)
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
    has_changed: bool,
}

impl<M: Mmu, T: Tables> Protect<'_, '_, M, T> {
    fn wanted(&self, held: &Held, leaf: Leaf) -> Leaf {
        self.goal.at(self.edit.tree.codec, leaf, Some(held.slot().span().start))
    }

    fn leaf(&mut self, held: Held, leaf: Leaf, part: IpaRange) -> Result<Next, OutOfTables> {
        if part != held.slot().span() {
            return self.edit.split(held, leaf, part).map(Next::Descend);
        }
        let Attributes { perms, shared, .. } = self.wanted(&held, leaf).attributes;
        let changed = |leaf: Leaf| Leaf { attributes: Attributes { perms, shared, ..leaf.attributes }, ..leaf };
        self.edit.change(held, leaf, changed);
        Ok(Next::Same)
    }
}

impl<M: Mmu, T: Tables> Visitor for Protect<'_, '_, M, T> {
    type Error = OutOfTables;

    fn visit(&mut self, place: Place, part: IpaRange) -> Result<Next, OutOfTables> {
        let place = match place {
            Place::Leaf(ref held, leaf) if self.wanted(held, leaf) == leaf => return Ok(Next::Same),
            Place::Leaf(..) if !planted::is(56) => self.edit.ungroup(place, self.range),
            place => place,
        };
        Ok(match place {
            Place::Vacant(_) | Place::Prepared(_) => Next::Same,
            Place::Table(held, table) => Next::Descend(held.via(table)),
            Place::Leaf(held, leaf) => {
                self.has_changed = true;
                self.leaf(held, leaf, part)?
            }
        })
    }

    fn leave(&mut self, via: Via, part: IpaRange) -> Next {
        if self.has_changed {
            self.edit.tidy(via, part);
        }
        Next::Same
    }

    fn leave_root(&mut self, first: Slot, part: IpaRange) {
        if self.has_changed {
            self.edit.hint_groups(first, part);
        }
    }
}
