//! Adjacent entries of one table, looked at and changed by loops that ask of a descriptor no more than they need. A loop stops
//! at the first entry that it has no answer to, and leaves that to who knows all that there can be.

use core::ops::Range;

use vmsa::{Attributes, Codec, Dirty, DirtyLevel, ENTRIES, Entry, Hpa, Ipa, IpaRange, Leaf, Level};

use super::{GROUP, Live, Reach, Slot, said};
use crate::{Mmu, Order, spoiled};

/// Adjacent entries of one table.
#[derive(Clone, Copy)]
pub(crate) struct Slots {
    pub(crate) first: Slot,
    pub(crate) count: u64,
}

/// What became of the entries of a run.
#[derive(Clone, Copy)]
pub(crate) struct Cleared {
    /// How many of them are done with, from the first on.
    pub(crate) passed: u64,
    /// How many leaves are gone.
    pub(crate) gone: u64,
    /// The number of the first of them.
    first: u64,
    /// The number past the last.
    end: u64,
}

/// Entries that say nothing, and of which no TLB holds anything, as [`Vacant`](super::Vacant) has one.
#[must_use]
pub(crate) struct Vacancies(Slots);

impl Slots {
    /// Returns all entries of a table of `level` that is for the addresses from `start` on.
    pub(crate) const fn of_table(table: Hpa, level: Level, start: Ipa, reach: Reach) -> Self {
        Self { first: Slot::of(table, level, start, reach), count: ENTRIES as u64 }
    }

    /// Returns the addresses that the entries are for.
    pub(crate) const fn span(self) -> IpaRange {
        IpaRange::new(self.first.ipa, self.count * self.first.level.entry_span())
    }

    /// Returns all entries of the table that these stand in.
    pub(crate) const fn whole_table(self) -> Self {
        let Slot { level, ipa, reach, .. } = self.first;
        Self::of_table(self.first.table(), level, Ipa(ipa.0 & !(level.table_span() - 1)), reach)
    }

    /// Returns the entries with these numbers.
    pub(crate) const fn part(self, numbers: Range<u64>) -> Self {
        Self { first: self.first.after(numbers.start), count: numbers.end - numbers.start }
    }

    /// Returns the numbers of the entries that lie in `range` as a whole.
    pub(crate) const fn numbers_in(self, range: IpaRange) -> Range<u64> {
        let (base, shift) = (self.first.ipa.0, self.first.level.shift());
        let start = (range.start.0 - base).next_multiple_of(1 << shift) >> shift;
        start..(range.end.0 - base) >> shift
    }

    /// Returns the numbers of the entries that lie in `range` as a whole or in part.
    pub(crate) const fn numbers_touching(self, range: IpaRange) -> Range<u64> {
        let (base, shift) = (self.first.ipa.0, self.first.level.shift());
        let end = (range.end.0 - base).next_multiple_of(1 << shift) >> shift;
        (range.start.0 - base) >> shift..end
    }

    const fn address(self, number: u64) -> Hpa {
        self.first.address.add(8 * number)
    }

    /// Returns the numbers of the entries whose groups are among the entries as a whole.
    const fn whole_groups(self) -> Range<u64> {
        let index = self.first.address.0 / 8;
        let start = index.next_multiple_of(GROUP) - index;
        let end = (index + self.count) / GROUP * GROUP;
        if start + index < end { start..end - index } else { 0..0 }
    }

    /// Tells whether none of the entries says anything.
    pub(crate) fn are_vacant(self, mmu: &impl Mmu) -> bool {
        self.count_while(|slot| mmu.read(slot) == 0) == self.count
    }

    /// Returns how many of the entries are leaves.
    pub(crate) fn leaves(self, mmu: &impl Mmu) -> u64 {
        let kind = Codec::leaf_kind(self.first.level);
        (0..self.count).map(|number| u64::from(mmu.read(self.address(number)) & Codec::KIND == kind)).sum()
    }

    /// Hands over the tables that the entries of a whole table lead to, or will after an invalidation; `live` of the entries say
    /// something. Of eight that lead to none no more is asked: 5 instructions an entry and not 18.
    pub(crate) fn for_each_table(self, mmu: &impl Mmu, live: u64, found: impl FnMut(Hpa)) {
        let (mut found, mut live) = (found, live);
        for first in (0..self.count).step_by(8) {
            if live == 0 {
                return;
            }
            let eight: [u64; 8] = core::array::from_fn(|number| mmu.read(self.address(first + number as u64)));
            if eight.iter().fold(0, |all, raw| all | raw) & Codec::TABLE_OR_PAGE != 0 {
                eight.iter().filter_map(|raw| Codec::table(said(*raw), self.first.level)).for_each(&mut found);
            }
            live = live.saturating_sub(eight.iter().map(|raw| u64::from(*raw != 0)).sum());
        }
    }

    /// Returns the entries from the first on that say nothing.
    pub(crate) fn vacancies(self, mmu: &impl Mmu) -> Vacancies {
        Vacancies(Self { count: self.count_while(|slot| mmu.read(slot) == 0), ..self })
    }

    /// Takes leaves away, and stops at what is neither that nor nothing, and at a leaf of a group that goes on outside.
    pub(crate) fn clear(self, mmu: &impl Mmu) -> Cleared {
        let gone = if self.count < 8 { 0 } else { self.clear_eights(mmu) };
        let groups = self.whole_groups();
        let mut cleared = Cleared { passed: gone, gone, first: 0, end: gone };
        for (end, excluded) in [(groups.start, Codec::CONTIGUOUS), (groups.end, 0), (self.count, Codec::CONTIGUOUS)] {
            if !self.clear_until(mmu, end, excluded, &mut cleared) {
                break;
            }
        }
        cleared
    }

    /// Goes on up to the entry with the number `end`; tells whether it came there. Leaves with a bit of `excluded` stop it.
    fn clear_until(self, mmu: &impl Mmu, end: u64, excluded: u64, cleared: &mut Cleared) -> bool {
        let (mask, kind) = (Codec::KIND | excluded, Codec::leaf_kind(self.first.level));
        let may_be_updated = self.may_be_updated(mmu);
        while cleared.passed < end {
            let start = cleared.passed;
            let mut number = start;
            let mut raw = 0;
            // Leaves mostly come in rows: what is counted is counted once a row. A loop for each way to store would save 2 of 13
            // instructions an entry, and cost every unmap 37.
            while number < end {
                raw = mmu.read(self.address(number));
                if raw & mask != kind || !self.store(mmu, number, raw, 0, may_be_updated) {
                    break;
                }
                number += 1;
            }
            cleared.add(start..number);
            if number < end && raw != 0 {
                return false;
            }
            cleared.passed = end.min(number + 1);
        }
        true
    }

    /// Takes leaves away from the first on, as far as eight of them at a time can go: 6 instructions an entry and not 13. Returns
    /// how many. Not inlined: who unmaps a page would pay for the registers that it takes.
    #[inline(never)]
    fn clear_eights(self, mmu: &impl Mmu) -> u64 {
        let (groups, kind) = (self.whole_groups(), Codec::leaf_kind(self.first.level));
        if !self.may_be_updated(mmu) || mmu.read(self.first.address) & Codec::KIND != kind {
            return 0;
        }
        let are_groups = groups.start == 0 && groups.end != 0;
        let (count, mask) =
            if are_groups { (groups.end, Codec::KIND) } else { (self.count, Codec::KIND | Codec::CONTIGUOUS) };
        let are_leaves = |first: Hpa| {
            let raws = (0..8).map(|number| mmu.read(first.add(8 * number)));
            let (any, all) = raws.fold((0, !0), |(any, all), raw| (any | raw, all & raw));
            any & mask == kind && all & mask == kind
        };
        let (mut slot, end) = (self.first.address, self.address(count));
        while slot.add(64) <= end && are_leaves(slot) {
            mmu.erase(slot, 8);
            slot = slot.add(64);
        }
        (slot.0 - self.first.address.0) / 8
    }

    /// Tells whether walks may set flags of these entries at any time.
    fn may_be_updated(self, mmu: &impl Mmu) -> bool {
        self.first.is_linked() && mmu.features().dirty != DirtyLevel::None && !planted::is(74)
    }

    /// Returns the addresses that the leaves were for which are gone.
    pub(crate) const fn cleared_span(self, cleared: Cleared) -> IpaRange {
        self.part(cleared.first..cleared.end).span()
    }

    /// Takes tables away, from the first entry on, and hands them over; stops at anything else. Walks never write to an entry that
    /// leads to a table. Returns how many there were.
    pub(crate) fn take_tables(self, mmu: &impl Mmu, taken: impl FnMut(Hpa)) -> u64 {
        let mut taken = taken;
        let mut number = 0;
        while number < self.count
            && let Some(table) = Codec::table(mmu.read(self.address(number)), self.first.level)
        {
            mmu.write(self.address(number), 0, Order::Plain);
            taken(table);
            number += 1;
        }
        number
    }

    /// Returns how many entries from the first on say what `live`, the first, does, but for where they lead.
    pub(crate) fn count_alike(self, mmu: &impl Mmu, live: &Live) -> u64 {
        let meaning = !Codec::output_bits(self.first.level);
        self.count_while(|slot| (mmu.read(slot) ^ live.raw) & meaning == 0)
    }

    /// Changes what the first of the entries, `live`, says from `old` to `new`, which leads to the same place, and all that follow
    /// and say what it does, but for where they lead. Returns how many that are.
    pub(crate) fn change_alike(self, mmu: &impl Mmu, codec: Codec, live: &Live, old: Leaf, new: Leaf) -> u64 {
        let level = self.first.level;
        debug_assert_eq!(old.attributes.accessed, new.attributes.accessed);
        // Of a leaf that is to become dirty at the first store, a walk sets what a change of permissions sets too.
        let is_for_walks = old.attributes.dirty == Dirty::Clean;
        let (old, change) = (live.raw, live.raw ^ codec.encode(Entry::Leaf(new), level));
        let meaning = !Codec::output_bits(level);
        let is_alike = |raw: u64| (raw ^ old) & meaning == 0;
        // Each case has a loop of its own: 13 instructions an entry, and not 15.
        if self.may_be_updated(mmu) && is_for_walks {
            return self.count_while(|slot| {
                let raw = mmu.read(slot);
                is_alike(raw) && mmu.exchange(slot, raw, raw ^ change).is_ok()
            });
        }
        if self.may_be_updated(mmu) {
            return self.flip_alike(mmu, old, meaning, change);
        }
        self.count_while(|slot| {
            let raw = mmu.read(slot);
            is_alike(raw) && {
                mmu.write(slot, raw ^ change, Order::Release);
                true
            }
        })
    }

    /// Flips the bits `change` of all entries from the first on that say `like` in the bits `meaning`. Returns how many that are.
    /// Two times eight are compared, and then changed, at a time, by loops that the compiler unrolls: 5.4 instructions an entry, and
    /// 13 one by one.
    fn flip_alike(self, mmu: &impl Mmu, like: u64, meaning: u64, change: u64) -> u64 {
        let unlike = |slot: Hpa| (mmu.read(slot) ^ like) & meaning;
        let are_alike =
            |first: Hpa| (0..8).fold(0, |all, number| all | mmu.read(first.add(8 * number)) ^ like) & meaning == 0;
        let (mut slot, end) = (self.first.address, self.address(self.count));
        while slot.add(128) <= end && are_alike(slot) && are_alike(slot.add(64)) {
            mmu.flip(slot, 8, change);
            mmu.flip(slot.add(64), 8, change);
            slot = slot.add(128);
        }
        while slot < end && unlike(slot) == 0 {
            mmu.flip(slot, 1, change);
            slot = slot.add(8);
        }
        (slot.0 - self.first.address.0) / 8
    }

    /// Returns how many entries there are from the first on for which `step` holds, which is asked of one after the other.
    #[inline]
    fn count_while(self, mut step: impl FnMut(Hpa) -> bool) -> u64 {
        let (first, end) = (self.first.address, self.address(self.count));
        let mut slot = first;
        while slot < end && step(slot) {
            slot = slot.add(8);
        }
        (slot.0 - first.0) / 8
    }

    /// Writes over an entry, if walks have not changed it.
    fn store(self, mmu: &impl Mmu, number: u64, old: u64, new: u64, may_be_updated: bool) -> bool {
        if may_be_updated {
            return mmu.exchange(self.address(number), old, new).is_ok();
        }
        mmu.write(self.address(number), new, Order::Release);
        true
    }

    /// Returns what tells whether an entry could be the first of as many leaves that are one: it says something, leads to no table,
    /// and not to where such a leaf cannot.
    #[inline]
    pub(crate) fn may_be_one<M: Mmu>(self, mmu: &M) -> impl Fn(Hpa) -> bool {
        let level = self.first.level;
        let asked = Codec::output_bits(level) & (self.span().len() - 1) | Codec::TABLE_OR_PAGE;
        let wanted = Codec::leaf_kind(level) & Codec::TABLE_OR_PAGE;
        move |slot| {
            let raw = mmu.read(slot);
            raw != 0 && raw & asked == wanted
        }
    }

    /// Returns the first leaf, without a hint, if all of the entries are leaves that say the same and lead to adjacent memory
    /// which begins at a multiple of it all. The entry with the number `doubtful` is looked at first.
    pub(crate) fn as_one(self, mmu: &impl Mmu, codec: Codec, doubtful: u64) -> Option<Leaf> {
        let (level, shift) = (self.first.level, self.first.level.shift());
        if !self.may_be_one(mmu)(self.first.address) {
            return None;
        }
        let first = said(mmu.read(self.first.address)) & !Codec::CONTIGUOUS;
        let is_like_first = |number: u64| {
            let unlike = |raw: u64| (raw ^ (first + (number << shift))) & spoiled::merged() & !Codec::CONTIGUOUS != 0;
            let raw = mmu.read(self.address(number));
            !unlike(raw) || !unlike(said(raw))
        };
        if !is_like_first(doubtful) || !(0..self.count).all(is_like_first) {
            return None;
        }
        match codec.decode(first, level) {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    /// Writes adjacent leaves to entries that no walk reaches, the first of them `leaf`, with the hint in groups that are whole
    /// and aligned, if they may have it.
    pub(crate) fn fill(self, mmu: &impl Mmu, codec: Codec, leaf: Leaf, may_hint: bool) {
        for (part, raw) in self.worded(codec, leaf, may_hint) {
            mmu.fill(part.first.address, part.count, raw, part.first.level.entry_span());
        }
    }

    /// The same for a whole table, but for the hint in groups in which entries are about to change.
    pub(crate) fn fill_around(self, mmu: &impl Mmu, codec: Codec, leaf: Leaf, may_hint: bool, changing: Range<u64>) {
        let Slot { address, level, .. } = self.first;
        let span = level.entry_span();
        let plain = Attributes { contiguous: false, ..leaf.attributes };
        let raw = codec.encode(Entry::Leaf(Leaf { attributes: plain, ..leaf }), level);
        let is_aligned = leaf.output.0.is_multiple_of(GROUP * span) || planted::is(120);
        let hint = if may_hint && is_aligned { Codec::CONTIGUOUS } else { 0 };
        let (start, end) = (changing.start / GROUP * GROUP, changing.end.next_multiple_of(GROUP));
        for (from, to, hint) in [(0, start, hint), (start, end, 0), (end, self.count, hint)] {
            mmu.fill(address.add(8 * from), to - from, (raw + from * span) | hint, span);
        }
    }

    /// Returns adjacent leaves in three parts, each with the descriptor of its first: what is in no group, groups, and again what
    /// is in none.
    fn worded(self, codec: Codec, leaf: Leaf, may_hint: bool) -> [(Self, u64); 3] {
        let (level, span) = (self.first.level, self.first.level.entry_span());
        let groups = self.whole_groups();
        let is_aligned = (leaf.output.0 + groups.start * span).is_multiple_of(GROUP * span) || planted::is(120);
        let hinted = if may_hint && is_aligned { groups } else { 0..0 };
        let plain = Attributes { contiguous: false, ..leaf.attributes };
        let first = codec.encode(Entry::Leaf(Leaf { attributes: plain, ..leaf }), level);
        [(0..hinted.start, 0), (hinted.clone(), Codec::CONTIGUOUS), (hinted.end..self.count, 0)]
            .map(|(numbers, hint)| (self.part(numbers.clone()), (first + numbers.start * span) | hint))
    }
}

impl Cleared {
    fn add(&mut self, numbers: Range<u64>) {
        if numbers.is_empty() {
            return;
        }
        if self.gone == 0 {
            self.first = numbers.start;
        }
        self.gone += numbers.end - numbers.start;
        self.end = numbers.end;
    }
}

impl Vacancies {
    pub(crate) const fn count(&self) -> u64 {
        self.0.count
    }

    /// Makes the entries live, the first of them as `leaf`, the others as what follows it; see
    /// [`Vacant::make`](super::Vacant::make).
    pub(crate) fn make(self, mmu: &impl Mmu, codec: Codec, leaf: Leaf, may_hint: bool) {
        let order = if planted::is(61) { Order::Plain } else { Order::Release };
        for (part, raw) in self.0.worded(codec, leaf, may_hint) {
            let mut raw = raw;
            for number in 0..part.count {
                mmu.write(part.address(number), raw, order);
                raw += part.first.level.entry_span();
            }
        }
    }
}
