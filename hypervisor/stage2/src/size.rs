//! Leaves that become larger or smaller, with the same meaning: blocks and tables take each other's place, groups of 16 get
//! the contiguous hint or lose it.

use vmsa::{Attributes, BbmLevel, Dirty, ENTRIES, Entry, Hpa, IpaRange, Leaf};

use crate::change::{Held, Live, Place, Reach, Slot, Via};
use crate::edit::{Edit, OutOfTables};
use crate::{Mmu, Tables};

impl<M: Mmu, T: Tables> Edit<'_, M, T> {
    /// Makes a table of a block that is in no group, with the same meaning. In the table no group has a hint that `part`, which
    /// is about to change, cuts.
    pub(crate) fn split(&mut self, held: Held, block: Leaf, part: IpaRange) -> Result<Via, OutOfTables> {
        let slot = held.slot();
        let table = self.take_table()?;
        self.tables.set_live_entries(table, ENTRIES as u16);
        self.tree.stats.tables += 1;
        self.tree.stats.splits += 1;
        self.stored();
        let fill = |edit: &Self, block| edit.fill_from_block(table, slot, block, part);
        let reach = match held {
            Held::Idle(idle) => {
                fill(self, block);
                idle.rewrite(self.mmu, self.tree.codec, Entry::Table(table));
                Reach::Own
            }
            Held::Live(live) if self.can_resize(slot, block) || planted::is(35) => {
                if !planted::is(45) {
                    fill(self, block);
                }
                self.resize(live, Entry::Leaf(block), Entry::Table(table));
                if planted::is(45) {
                    fill(self, block);
                }
                Reach::Walks
            }
            Held::Live(live) => {
                // Nobody can reach the table before it is settled: it is filled with what the block said at last.
                if let Entry::Leaf(last) = self.replace(live, |_| Entry::Table(table)) {
                    fill(self, last);
                }
                Reach::Own
            }
        };
        Ok(Via { slot, table, reach })
    }

    /// Tells whether an entry may become another size without a break: nothing that this operation has changed there is owed an
    /// invalidation, and walks set no flags. A size that takes an invalidation of its own is changed so once an operation.
    fn can_resize(&self, slot: Slot, block: Leaf) -> bool {
        let has_way = match self.tree.bbm {
            BbmLevel::BreakFirst => false,
            BbmLevel::NoTranslationCaching => !self.has_resized,
            BbmLevel::Direct => true,
        };
        has_way && self.gather.is_clean(slot.span()) && self.is_settled(block.attributes)
    }

    /// Makes one size of another with the same meaning, under the eyes of walks (DDI 0487, D8.14 "Support levels for changing
    /// block size"): at once where a TLB conflict is only an abort, which EL2 serves; else by way of a block that is not cached.
    fn resize(&mut self, live: Live, old: Entry, new: Entry) {
        let slot = live.slot();
        match old {
            Entry::Table(_) => self.gather.stale_table(slot),
            _ => self.gather.stale_leaf(slot),
        }
        if self.tree.bbm == BbmLevel::NoTranslationCaching {
            self.has_resized = true;
            let block = if let Entry::Leaf(_) = old { old } else { new };
            live.change(self.mmu, self.tree.codec, |_| uncached(block));
            self.stored();
            let _ = self.flush();
            if let Place::Leaf(Held::Live(block), _) = self.look(slot)
                && !planted::is(136)
            {
                block.change(self.mmu, self.tree.codec, |_| new);
            }
        } else {
            live.change(self.mmu, self.tree.codec, |_| new);
        }
        self.gather.publish();
    }

    /// Puts a block in the place of a table that says the same. What this operation has changed in the table is not in every
    /// TLB as it is in the table: then only a break will do, at any level.
    pub(crate) fn merge(&mut self, held: Held, table: Hpa, block: Leaf) {
        self.tree.stats.merges += 1;
        self.stored();
        let slot = held.slot();
        match held {
            Held::Idle(idle) => idle.rewrite(self.mmu, self.tree.codec, Entry::Leaf(block)),
            Held::Live(live) if self.can_resize(slot, block) || planted::is(39) => {
                self.resize(live, Entry::Table(table), Entry::Leaf(block));
            }
            Held::Live(live) => _ = self.replace(live, |_| Entry::Leaf(block)),
        }
        if let Some(below) = slot.level().next() {
            self.gather.detach(self.tables, table, below);
        }
    }

    /// Gives the hint of a group to all of its members, which are alike but for it, or takes it from all of them.
    pub(crate) fn hint_group(&mut self, member: Slot, is_group: bool) {
        let codec = self.tree.codec;
        let in_place = (self.tree.bbm == BbmLevel::Direct || planted::is(117))
            && self.gather.is_clean(member.group())
            && self.leaves_of(member).all(|leaf| self.is_settled(leaf.attributes));
        let hinted = |entry| match entry {
            Entry::Leaf(leaf) => {
                Entry::Leaf(Leaf { attributes: Attributes { contiguous: is_group, ..leaf.attributes }, ..leaf })
            }
            other => other,
        };
        for slot in member.members() {
            let Place::Leaf(held, leaf) = self.look(slot) else { continue };
            self.stored();
            match held {
                Held::Idle(idle) => idle.rewrite(self.mmu, codec, hinted(Entry::Leaf(leaf))),
                Held::Live(live) if in_place => {
                    self.gather.stale_leaf(slot);
                    live.change(self.mmu, codec, hinted);
                }
                Held::Live(live) => _ = self.replace(live, hinted),
            }
        }
        if !is_group {
            self.share_flags(member);
        }
    }

    /// Gives every member of a former group the flags of all: the hardware may have set them at any one of them.
    fn share_flags(&mut self, member: Slot) {
        let accessed = self.leaves_of(member).any(|leaf| leaf.attributes.accessed);
        let is_dirty = self.leaves_of(member).any(|leaf| leaf.attributes.dirty == Dirty::Dirty);
        for slot in member.members() {
            let Place::Leaf(held, leaf) = self.look(slot) else { continue };
            let share = |leaf: Leaf| {
                let dirty = if is_dirty { Dirty::Dirty } else { leaf.attributes.dirty };
                Leaf { attributes: Attributes { accessed, dirty, ..leaf.attributes }, ..leaf }
            };
            if share(leaf) != leaf {
                self.change(held, leaf, share);
            }
        }
    }

    fn leaves_of(&self, member: Slot) -> impl Iterator<Item = Leaf> {
        member.members().filter_map(|slot| match self.look(slot) {
            Place::Leaf(_, leaf) => Some(leaf),
            _ => None,
        })
    }

    /// Makes sure that a change to `range` cuts no group at this leaf: where it would, the group's hint goes. Returns the leaf as
    /// it is then.
    pub(crate) fn ungroup(&mut self, held: Held, leaf: Leaf, range: IpaRange) -> Option<(Held, Leaf)> {
        let slot = held.slot();
        if !leaf.attributes.contiguous || range.covers(slot.group()) {
            return Some((held, leaf));
        }
        self.hint_group(slot, false);
        match self.look(slot) {
            Place::Leaf(held, leaf) => Some((held, leaf)),
            _ => None,
        }
    }
}

fn uncached(block: Entry) -> Entry {
    match block {
        Entry::Leaf(leaf) => {
            Entry::Leaf(Leaf { attributes: Attributes { uncached: !planted::is(41), ..leaf.attributes }, ..leaf })
        }
        other => other,
    }
}
