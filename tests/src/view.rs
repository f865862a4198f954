//! The tables as they are in memory.

use vmsa::{BbmLevel, Codec, ENTRIES, Entry, Features, Hpa, Ipa, IpaRange, Level};

use crate::memory::Memory;
use crate::said::{Flags, GROUP, Said};

/// What it takes to read a table.
#[derive(Clone, Copy)]
pub(crate) struct View<'m> {
    pub(crate) memory: &'m Memory,
    pub(crate) codec: Codec,
    pub(crate) bbm: BbmLevel,
    pub(crate) flags: Flags,
}

impl<'m> View<'m> {
    pub(crate) fn of(memory: &'m Memory, features: &Features) -> Self {
        Self { memory, codec: Codec::of(features), bbm: features.bbm, flags: Flags::of(features) }
    }

    /// Returns what the live entries of a table say, to which `entry` leads.
    pub(crate) fn entries(&self, table: Hpa, entry: &Said) -> Vec<Said> {
        let Some(level) = entry.level.next().filter(|_| self.memory.holds(table)) else {
            return Vec::new();
        };
        self.table(table, level, entry.span.start)
    }

    /// Returns what the live entries of a table say, whose addresses begin at `base`.
    pub(crate) fn table(&self, table: Hpa, level: Level, base: Ipa) -> Vec<Said> {
        let all = (0..ENTRIES as u64).map(|index| self.look(table.add(8 * index), level, base));
        all.filter(|said| said.entry.is_live()).collect()
    }

    /// Returns all that is live below an entry.
    pub(crate) fn below(&self, entry: &Said) -> Vec<Said> {
        let Entry::Table(table) = entry.entry else { return Vec::new() };
        let mut all = self.entries(table, entry);
        let deeper: Vec<Said> = all.iter().flat_map(|said| self.below(said)).collect();
        all.extend(deeper);
        all
    }

    /// Reads a slot of a table whose addresses begin at `base`.
    pub(crate) fn look(&self, slot: Hpa, level: Level, base: Ipa) -> Said {
        self.meaning(slot, level, base, self.memory.word(slot))
    }

    /// Returns what `raw` says in a slot of a table whose addresses begin at `base`.
    pub(crate) fn meaning(&self, slot: Hpa, level: Level, base: Ipa, raw: u64) -> Said {
        let start = base.add((slot.0 & 0xfff) / 8 * level.entry_span());
        let span = IpaRange::new(start, level.entry_span());
        Said { slot, level, span, entry: self.codec.decode(raw, level) }
    }

    /// Returns the slots of the aligned group that a slot is one of.
    pub(crate) fn members(&self, of: &Said) -> impl Iterator<Item = Said> {
        let index = (of.slot.0 & 0xfff) / 8;
        let base = Ipa(of.span.start.0 - index * of.level.entry_span());
        let (first, level) = (of.first_of_group(), of.level);
        (0..GROUP).map(move |member| self.look(first.add(8 * member), level, base))
    }
}
