//! Neighbours that have become alike are one leaf again.

use vmsa::{ENTRIES, Hpa, IpaRange, Leaf};

use crate::change::{GROUP, Place, Slot, Slots, Via};
use crate::edit::Edit;
use crate::{Mmu, Tables};

impl<M: Mmu, T: Tables> Edit<'_, M, T> {
    /// Leaves a table in which `part` was changed, and from which nothing was taken: it becomes a block if it says what a block
    /// can say, and whether it did is returned; else groups of 16 that say the same get their hint.
    pub(crate) fn tidy(&mut self, via: &Via, part: IpaRange) -> bool {
        let Some(entries) = entries_of(via) else { return false };
        if let Some(block) = self.block_of(via, entries, part)
            && let Place::Table(held, table) = self.look(via.slot)
        {
            self.merge(held, table, block);
            return true;
        }
        self.hint_groups(entries, part);
        false
    }

    /// Tells whether a table has no vacant entry.
    pub(crate) fn is_full(&self, table: Hpa) -> bool {
        usize::from(self.tables.live_entries(table)) == ENTRIES
    }

    /// Returns the block that the table with these entries could be.
    fn block_of(&self, via: &Via, entries: Slots, part: IpaRange) -> Option<Leaf> {
        if !self.is_full(via.table) || !via.slot.level().can_be_leaf() {
            return None;
        }
        // What was changed is the likeliest to be unlike the rest.
        self.one_of(entries, entries.numbers_touching(part).start)
    }

    /// Gives the groups that `part` has a part in their hint, where their members say the same. `entries` are the table's.
    pub(crate) fn hint_groups(&mut self, entries: Slots, part: IpaRange) {
        let touched = entries.numbers_touching(part);
        let groups = touched.start / GROUP..touched.end.div_ceil(GROUP);
        let mmu = self.mmu;
        let may_be_one = Slots { count: GROUP, ..entries }.may_be_one(mmu);
        for number in
            groups.map(|group| GROUP * group).filter(|number| may_be_one(entries.first.after(*number).address()))
        {
            self.hint_if_alike(Slots { first: entries.first.after(number), count: GROUP });
        }
    }

    fn hint_if_alike(&mut self, group: Slots) {
        let leaf = self.one_of(group, 0);
        if leaf.is_some_and(|leaf| self.may_group(leaf.attributes)) && !self.is_hinted(group.first) {
            self.hint_group(group.first, true);
        }
    }

    fn is_hinted(&self, member: Slot) -> bool {
        matches!(self.look(member), Place::Leaf(_, leaf) if leaf.attributes.contiguous)
    }

    /// Returns the leaf that the entries could be. What the hardware may still update is left in pieces.
    fn one_of(&self, entries: Slots, doubtful: u64) -> Option<Leaf> {
        entries.as_one(self.mmu, self.tree.codec, doubtful).filter(|leaf| self.is_settled(leaf.attributes))
    }
}

/// Returns the entries of the table.
fn entries_of(via: &Via) -> Option<Slots> {
    Some(Slots::of_table(via.table, via.slot.level().next()?, via.slot.span().start, via.reach))
}
