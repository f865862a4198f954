//! What one operation broke, until its one invalidation.

use vmsa::{Hpa, IpaRange, Level};

use crate::Tables;
use crate::change::Slot;

/// Proof that an operation is complete: no CPU holds anything of what it broke. What the broken entries led to may be given
/// back.
#[derive(Debug)]
#[must_use = "frames that the operation unmapped are free only against this"]
pub struct Flushed(());

impl Flushed {
    /// Returns the proof for what no tree leads to, and none has since it was last invalidated.
    pub const fn never_mapped() -> Self {
        Self(())
    }

    /// Returns the proof, for the code that has just completed an invalidation.
    pub(crate) const fn now() -> Self {
        Self(())
    }
}

/// How many ranges one operation keeps apart. A decommit reaches each mapping of a VMO, and few have more than this.
const MOST_RANGES: usize = 4;

/// Addresses whose old translations TLBs may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stale {
    pub(crate) range: IpaRange,
    /// The level of the leaves that were there: of all of them, or of the smallest.
    pub(crate) level: Level,
    /// They were all of that level.
    pub(crate) is_uniform: bool,
}

impl Stale {
    fn hull(self, other: Self) -> Self {
        Self {
            range: self.range.hull(other.range),
            level: self.level.max(other.level),
            is_uniform: self.is_uniform && other.is_uniform && self.level == other.level,
        }
    }
}

/// What one operation broke and made. It must be closed: dropping it with work undone is a bug of ours, and panics.
#[must_use]
#[derive(Default)]
pub(crate) struct Gather {
    broken: Broken,
    /// The next address begins another part.
    is_apart: bool,
    /// The next entry that waits is of another part.
    waits_apart: bool,
    /// Entries were made, or allow more, that walks may not see yet.
    has_unpublished: bool,
    /// Where entries wait for the invalidation: from the first to the last of each part.
    waiting: [Option<IpaRange>; MOST_RANGES],
    /// How many of these there are.
    waiting_count: usize,
    /// Tables that are out of the tree, by their level: L1, L2, L3.
    detached: [Option<Hpa>; 3],
}

/// What an invalidation has to reach.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Broken {
    /// A range for each part of the operation, as long as there is room.
    stale: [Option<Stale>; MOST_RANGES],
    /// How many of these there are.
    count: usize,
    /// Entries that led to tables are among what was broken.
    pub(crate) has_tables: bool,
}

impl Broken {
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Stale> {
        self.stale.iter().map_while(|stale| *stale)
    }

    /// Tells whether there is more than one range.
    pub(crate) const fn has_several(&self) -> bool {
        self.count > 1
    }

    /// Adds to the last range, or to a new one where a part begins and there is room.
    pub(crate) fn add(&mut self, new: Stale, is_apart: bool) {
        let is_first = is_apart || self.count == 0;
        match self.stale.get_mut(self.count).filter(|_| is_first) {
            Some(free) => {
                *free = Some(new);
                self.count += 1;
            }
            None if is_first && planted::is(32) => {}
            None => self.stale[self.count - 1] = self.stale[self.count - 1].map(|last| last.hull(new)),
        }
    }
}

impl Gather {
    /// Takes note that an entry became live, or allows more.
    pub(crate) const fn publish(&mut self) {
        self.has_unpublished = true;
    }

    /// Begins another part of the operation, whose addresses may be far from the last one's.
    pub(crate) const fn begin_part(&mut self) {
        self.is_apart = true;
        self.waits_apart = true;
    }

    /// Takes note of a leaf that TLBs may hold as it was.
    pub(crate) fn stale_leaf(&mut self, slot: Slot) {
        self.stale_leaves(slot.span(), slot.level());
    }

    /// Takes note of leaves of `level` in a range that TLBs may hold as they were.
    pub(crate) fn stale_leaves(&mut self, range: IpaRange, level: Level) {
        self.stale(Stale { range, level, is_uniform: true });
    }

    /// Takes note of an entry that led to a table with live entries, which TLBs may hold too, whatever they were.
    pub(crate) fn stale_table(&mut self, slot: Slot) {
        self.stale_table_of(Stale { range: slot.span(), level: Level::LEAF, is_uniform: false });
    }

    /// Takes note of an entry that led to a table all live entries of which are in a range, as far as they are known.
    pub(crate) fn stale_table_of(&mut self, entries: Stale) {
        let page = IpaRange::page(entries.range.start);
        self.stale(if planted::is(27) { Stale { range: page, ..entries } } else { entries });
        self.broken.has_tables = true;
    }

    /// Takes note of an entry that led to a table without live entries. Those that this operation took away are stale
    /// already; of the table itself an invalidation of any address below it is enough.
    pub(crate) fn stale_empty_table(&mut self, slot: Slot) {
        let is_covered = self.broken.ranges().any(|stale| !stale.range.intersection(slot.span()).is_empty());
        if !is_covered {
            self.stale_leaves(IpaRange::page(slot.span().start), Level::LEAF);
        }
        self.broken.has_tables = true;
    }

    /// Not inlined, for it would be at 18 places: 2.3 KiB less, for 10 instructions.
    #[inline(never)]
    fn stale(&mut self, new: Stale) {
        self.broken.add(new, core::mem::take(&mut self.is_apart));
    }

    /// Takes note of an entry that waits for the invalidation.
    pub(crate) fn wait(&mut self, slot: Slot) {
        let is_first = core::mem::take(&mut self.waits_apart) || self.waiting_count == 0;
        let place = if is_first { self.waiting_count } else { self.waiting_count - 1 };
        if let Some(waiting) = self.waiting.get_mut(place) {
            *waiting = Some(waiting.map_or(slot.span(), |range| range.hull(slot.span())));
            self.waiting_count = place + 1;
        }
    }

    /// Tells whether entries of another part can wait.
    pub(crate) const fn has_room(&self) -> bool {
        self.waiting_count < MOST_RANGES
    }

    /// Tells whether nothing in the range is owed an invalidation.
    pub(crate) fn is_clean(&self, range: IpaRange) -> bool {
        let stale = self.broken.ranges().map(|stale| stale.range);
        stale.chain(self.waiting.iter().copied().flatten()).all(|owed| owed.intersection(range).is_empty())
    }

    /// Tells whether entries wait for the invalidation.
    pub(crate) const fn has_waiting(&self) -> bool {
        self.waiting_count != 0
    }

    /// Returns where entries wait, and forgets it.
    pub(crate) fn take_waiting(&mut self) -> impl Iterator<Item = IpaRange> + use<> {
        self.waiting_count = 0;
        core::mem::take(&mut self.waiting).into_iter().flatten()
    }

    /// Returns what was broken and is not invalidated, if anything was.
    pub(crate) const fn broken(&self) -> Option<&Broken> {
        if self.broken.count == 0 { None } else { Some(&self.broken) }
    }

    /// Forgets what was broken: it was invalidated, or nothing holds it.
    pub(crate) fn forget_broken(&mut self) -> Flushed {
        self.broken = Broken::default();
        Flushed::now()
    }

    /// Tells whether something was made that walks may not see yet, and takes note that they will.
    pub(crate) const fn take_unpublished(&mut self) -> bool {
        core::mem::replace(&mut self.has_unpublished, false)
    }

    /// Keeps a table of `level` that is out of the tree until the invalidation.
    pub(crate) fn detach(&mut self, tables: &mut impl Tables, table: Hpa, level: Level) {
        if planted::is(49) {
            return;
        }
        if planted::is(50) {
            return tables.free(table);
        }
        if let Some(head) = self.detached.get_mut(usize::from(level.number()).wrapping_sub(1)) {
            tables.set_next(table, *head);
            *head = Some(table);
        }
    }

    /// Returns the tables that are out of the tree, against the proof that no walk reaches them: for each level the first, at
    /// which the next is noted.
    pub(crate) fn take_detached(&mut self, _proof: &Flushed) -> [(Level, Option<Hpa>); 3] {
        let [first, second, third] = core::mem::take(&mut self.detached);
        [(Level::L1, first), (Level::L2, second), (Level::L3, third)]
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        let has_detached = self.detached.iter().any(Option::is_some);
        let is_done = self.broken.count == 0 && self.waiting_count == 0 && !has_detached;
        assert!(is_done, "a gather was dropped before its invalidation");
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use vmsa::Ipa;

    use super::*;
    use crate::change::Reach;

    fn page(ipa: u64) -> Slot {
        Slot::of(Hpa(0x1000), Level::L3, Ipa(ipa), Reach::Walks)
    }

    #[test]
    fn parts_are_kept_apart_while_there_is_room() {
        let mut gather = Gather::default();
        for part in 0..6 {
            gather.begin_part();
            gather.stale_leaf(page(part << 32));
            gather.stale_leaf(page((part << 32) + 0x3000));
        }
        let ranges: Vec<_> = gather.broken().unwrap().ranges().map(|stale| stale.range.pages()).collect();
        assert_eq!(ranges, [4, 4, 4, (2 << 20) + 4]);
        let _ = gather.forget_broken();
    }

    #[test]
    fn leaves_of_two_levels_have_no_level_in_common() {
        let mut gather = Gather::default();
        gather.stale_leaf(page(0x20_0000));
        gather.stale_leaf(Slot::of(Hpa(0x1000), Level::L2, Ipa(0x40_0000), Reach::Walks));
        let stale = gather.broken().unwrap().ranges().next().unwrap();
        assert_eq!((stale.level, stale.is_uniform), (Level::L3, false));
        let _ = gather.forget_broken();
    }

    #[test]
    #[should_panic(expected = "before its invalidation")]
    fn a_gather_cannot_be_forgotten() {
        let mut gather = Gather::default();
        gather.stale_leaf(page(0));
    }
}
