//! Tables that nobody can reach yet: filled from what is to be mapped, or from a block that they are to replace.

use vmsa::{Attributes, ENTRIES, Entry, Hpa, Ipa, IpaRange, Leaf, Level, PAGE_SIZE};

use crate::change::{Reach, Slot, Slots};
use crate::edit::{Edit, OutOfTables};
use crate::tree::free_subtree;
use crate::{Mmu, Order, Run, Stage2, Tables, spoiled};

impl<M: Mmu, T: Tables> Edit<'_, M, T> {
    /// Fills a table with what a block says at `slot`. `part` is about to change: it has no groups.
    pub(crate) fn fill_from_block(&self, table: Hpa, slot: Slot, block: Leaf, part: IpaRange) {
        let Some(level) = slot.level().next() else { return };
        let entries = Slots::of_table(table, spoiled::split_level(level), slot.span().start, Reach::Own);
        let changing = entries.numbers_touching(part);
        let output = if planted::is(118) { block.output.add(PAGE_SIZE) } else { block.output };
        let leaf = Leaf { output, attributes: spoiled::inherited(block.attributes) };
        entries.fill_around(self.mmu, self.tree.codec, leaf, self.may_group(leaf.attributes), changing);
    }

    /// Writes adjacent leaves to entries that nobody can reach.
    fn write_leaves(&self, entries: Slots, leaf: Leaf, may_hint: bool) {
        entries.fill(self.mmu, self.tree.codec, leaf, may_hint && self.may_group(leaf.attributes));
    }

    /// Makes a table of `level` for `part` of its addresses from what `source` knows, with what is below it. Returns `None`
    /// where there is nothing.
    pub(crate) fn build<S: FnMut(Ipa) -> Option<Run>>(
        &mut self,
        source: &mut S,
        level: Level,
        part: IpaRange,
    ) -> Result<Option<Hpa>, OutOfTables> {
        let mut table = New { address: None, entries: 0 };
        let result = self.build_entries(source, level, part, &mut table);
        let Some(address) = table.address else { return result.map(|()| None) };
        self.tables.set_live_entries(address, table.entries as u16);
        if let Err(error) = result {
            self.tree.stats.tables -= free_subtree(self.mmu, self.tables, address, level);
            return Err(error);
        }
        Ok(Some(address))
    }

    fn build_entries<S: FnMut(Ipa) -> Option<Run>>(
        &mut self,
        source: &mut S,
        level: Level,
        part: IpaRange,
        table: &mut New,
    ) -> Result<(), OutOfTables> {
        let span = level.entry_span();
        let mut at = part.start;
        while at < part.end {
            let rest = IpaRange { start: at, end: part.end };
            let entry = IpaRange::new(Ipa(at.0 & !(span - 1)), span);
            let run = if rest.covers(entry) { leaves_of(source(at), rest, level) } else { None };
            let index = level.index(at) as u64;
            at = match (run, level.next()) {
                (Some((leaf, count)), _) => {
                    let address = self.table_for(table, count == ENTRIES as u64)?;
                    let entries = Slots { first: Slot::of(address, level, at, Reach::Own), count };
                    self.write_leaves(entries, self.tree.sayable(leaf), true);
                    table.entries += count;
                    at.add(count * span)
                }
                (None, None) => at.add(PAGE_SIZE),
                (None, Some(below)) => {
                    if let Some(child) = self.build(source, below, rest.intersection(entry))? {
                        self.link(table, child, below, index, level)?;
                    }
                    entry.end
                }
            };
        }
        Ok(())
    }

    fn link(&mut self, table: &mut New, child: Hpa, below: Level, index: u64, level: Level) -> Result<(), OutOfTables> {
        let address = match self.table_for(table, false) {
            Ok(address) => address,
            Err(error) => {
                self.tree.stats.tables -= free_subtree(self.mmu, self.tables, child, below);
                return Err(error);
            }
        };
        let raw = self.tree.codec.encode(Entry::Table(child), level);
        self.mmu.write(address.add(8 * index), raw, Order::Plain);
        if planted::is(51) {
            self.mmu.write(address.add(8 * (index ^ 1)), raw, Order::Plain);
        }
        table.entries += 1;
        Ok(())
    }

    fn table_for(&mut self, table: &mut New, is_filled: bool) -> Result<Hpa, OutOfTables> {
        if let Some(address) = table.address {
            return Ok(address);
        }
        let taken = if is_filled { self.tables.allocate_to_fill() } else { self.tables.allocate() };
        let address = taken.ok_or(OutOfTables)?;
        self.tree.stats.tables += 1;
        table.address = Some(address);
        Ok(address)
    }
}

impl Stage2 {
    /// Returns the leaf as this machine can say it.
    pub(crate) fn sayable(&self, leaf: Leaf) -> Leaf {
        let attributes = self.codec.sayable(leaf.attributes);
        Leaf { attributes: Attributes { accessed: attributes.accessed && !planted::is(77), ..attributes }, ..leaf }
    }
}

/// A table that is being filled, once there is something to fill it with.
struct New {
    address: Option<Hpa>,
    entries: u64,
}

/// Returns the leaves of `level` that a run makes at the start of `rest`, where an entry of that level begins, and how many: whole
/// ones.
pub(crate) fn leaves_of(run: Option<Run>, rest: IpaRange, level: Level) -> Option<(Leaf, u64)> {
    let Run { output, len, attributes } = run?;
    let span = level.entry_span();
    if !level.can_be_leaf() || !output.0.is_multiple_of(span) {
        return None;
    }
    let count = len.min(rest.len()) / span;
    (count > 0).then_some((Leaf { output, attributes }, count))
}
