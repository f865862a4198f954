//! The only code that writes to tables that a walk can reach.
//!
//! Break-before-make is in the types. What was found [`Live`] can be broken, and may leave a successor in its place: the
//! descriptor that is to stand there, without its valid bit, so that for the hardware there is nothing. That makes it
//! [`Idle`], and only the proof that the operation's invalidation is complete turns an idle entry into a live one. What the
//! architecture allows in place goes through [`Live::change`], and for many at once [`Slots::change_alike`]; `edit` holds the rules of
//! when that is.
//!
//! The successor stands in the table itself, so that any number of entries can wait for one invalidation. Nobody but the
//! operation that left it there sees it: the tree's lock is held until it is live.

mod run;

use vmsa::{Codec, Entry, Hpa, Ipa, IpaRange, Leaf, Level, PAGE_SIZE};

pub(crate) use run::{Slots, Vacancies};

use crate::gather::Flushed;
use crate::{Mmu, Order};

/// How many entries an aligned group has that may translate as one (DDI 0487, D8.5 "Contiguous bit", 4 KiB granule).
pub(crate) const GROUP: u64 = 16;

/// In an entry without a valid bit: the rest is what shall stand here after the invalidation.
const PENDING: u64 = 1 << 63;
/// In an entry without a valid bit, where there was nothing: the rest is what the operation will put here if it succeeds.
const PREPARED: u64 = 1 << 62;
const MARKS: u64 = PENDING | PREPARED;

/// An entry's place: in which table, for which addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    address: Hpa,
    ipa: Ipa,
    level: Level,
    reach: Reach,
}

/// Who can reach a table. A word long, as a level is: what they are in has no bytes to spare, which are copied by themselves, in 20
/// to 35 instructions each time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Reach {
    /// The operation that made it.
    Own,
    /// Walks too.
    Walks,
}

/// An entry that says nothing, and of which no TLB holds anything. It was found so while the tree's lock was held, every
/// operation under that lock invalidates what it broke before it ends, and none makes an entry where it has cleared one: what
/// is to stand there waits as a successor.
#[must_use]
pub(crate) struct Vacant(Slot);

/// An entry that says nothing to walks, and will say something if the operation succeeds.
#[must_use]
pub(crate) struct Prepared {
    slot: Slot,
    raw: u64,
}

/// An entry that walks can use now, and what it said when it was read.
#[must_use]
pub(crate) struct Live {
    slot: Slot,
    raw: u64,
}

/// An entry that no walk can use: it waits for the invalidation of what was here before, or it stands in a table that is not
/// linked. It can be written at will.
#[must_use]
pub(crate) struct Idle {
    slot: Slot,
    raw: u64,
}

/// An entry that says something.
#[must_use]
pub(crate) enum Held {
    Live(Live),
    Idle(Idle),
}

/// An entry as it was found.
#[must_use]
pub(crate) enum Place {
    Vacant(Vacant),
    Prepared(Prepared),
    Table(Held, Hpa),
    Leaf(Held, Leaf),
}

/// The way into a table: the entry that leads to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via {
    pub(crate) slot: Slot,
    pub(crate) table: Hpa,
    pub(crate) reach: Reach,
}

impl Slot {
    /// Returns the place that `ipa` has in `table`, a table of `level`.
    pub(crate) const fn of(table: Hpa, level: Level, ipa: Ipa, reach: Reach) -> Self {
        let base = Ipa(ipa.0 & !(level.entry_span() - 1));
        Self { address: table.add(8 * level.index(ipa) as u64), ipa: base, level, reach }
    }

    /// Returns the addresses that the entry is for.
    pub(crate) const fn span(self) -> IpaRange {
        IpaRange::new(self.ipa, self.level.entry_span())
    }

    /// Returns the addresses that the entry's group of 16 is for.
    pub(crate) const fn group(self) -> IpaRange {
        let span = GROUP * self.level.entry_span();
        IpaRange::new(Ipa(self.ipa.0 & !(span - 1)), span)
    }

    /// Returns the entries of the group.
    pub(crate) fn members(self) -> impl Iterator<Item = Self> {
        let first = Self { address: Hpa(self.address.0 & !(8 * GROUP - 1)), ipa: self.group().start, ..self };
        (0..GROUP).map(move |number| first.after(number))
    }

    /// Returns the entry `number` places further in the table.
    pub(crate) const fn after(self, number: u64) -> Self {
        Self { address: self.address.add(8 * number), ipa: self.ipa.add(number * self.level.entry_span()), ..self }
    }

    /// Returns the entries for a range of whole pages that begins here, if they stand in this table and it is of the last level.
    pub(crate) const fn entries_for(self, range: IpaRange) -> Option<Slots> {
        let span = Level::LEAF.table_span();
        let is_in_table = range.start.0 / span == (range.end.0 - 1) / span;
        let is_first = matches!(self.level, Level::LEAF) && self.ipa.0 == range.start.0;
        if is_in_table && is_first { Some(Slots { first: self, count: range.pages() }) } else { None }
    }

    pub(crate) const fn address(self) -> Hpa {
        self.address
    }

    /// Tells whether walks can reach the table.
    pub(crate) const fn is_linked(self) -> bool {
        matches!(self.reach, Reach::Walks)
    }

    pub(crate) const fn level(self) -> Level {
        self.level
    }

    /// Returns the table that the entry stands in.
    pub(crate) const fn table(self) -> Hpa {
        Hpa(self.address.0 & !(PAGE_SIZE - 1))
    }

    /// Reads the entry.
    pub(crate) fn look(self, mmu: &impl Mmu, codec: Codec) -> Place {
        self.found(mmu.read(self.address), codec)
    }

    /// Returns what the entry is, which was read as `raw`.
    pub(crate) fn found(self, raw: u64, codec: Codec) -> Place {
        if raw == 0 {
            return Place::Vacant(Vacant(self));
        }
        let held = if raw & Codec::VALID != 0 && self.is_linked() {
            Held::Live(Live { slot: self, raw })
        } else {
            Held::Idle(Idle { slot: self, raw })
        };
        if raw & (Codec::VALID | MARKS) == PREPARED {
            return Place::Prepared(Prepared { slot: self, raw });
        }
        match codec.decode(said(raw), self.level) {
            // Hardware faults on what is malformed as on what is invalid, and caches neither.
            Entry::Invalid | Entry::Malformed(_) => Place::Vacant(Vacant(self)),
            Entry::Table(table) => Place::Table(held, table),
            Entry::Leaf(leaf) => Place::Leaf(held, leaf),
        }
    }
}

/// Returns what an entry says, or will say after the invalidation that it waits for.
const fn said(raw: u64) -> u64 {
    if raw & (Codec::VALID | MARKS) == PENDING { raw & !MARKS | Codec::VALID } else { raw }
}

/// Writes what `new` makes of a descriptor, in one step even if a walk updates it meanwhile; returns what it was.
fn exchange(mmu: &impl Mmu, address: Hpa, old: u64, new: impl Fn(u64) -> u64) -> u64 {
    let mut raw = old;
    if planted::is(74) {
        mmu.write(address, new(raw), Order::Release);
        return raw;
    }
    while let Err(now) = mmu.exchange(address, raw, new(raw)) {
        raw = now;
    }
    raw
}

impl Held {
    pub(crate) const fn slot(&self) -> Slot {
        match self {
            Self::Live(live) => live.slot,
            Self::Idle(idle) => idle.slot,
        }
    }

    /// Returns the way into the table that the entry leads to.
    pub(crate) const fn via(&self, table: Hpa) -> Via {
        Via { slot: self.slot(), table, reach: if matches!(self, Self::Live(_)) { Reach::Walks } else { Reach::Own } }
    }
}

impl Vacant {
    pub(crate) const fn slot(&self) -> Slot {
        self.0
    }

    /// Makes the entry live. The store is a release: what the entry leads to (a table's entries, a page's contents) was
    /// written before, and is seen before it. Visible to every walk once the operation's closing `DSB` is done.
    pub(crate) fn make(self, mmu: &impl Mmu, codec: Codec, entry: Entry) {
        let order = if planted::is(61) { Order::Plain } else { Order::Release };
        mmu.write(self.0.address, codec.encode(entry, self.0.level), order);
    }

    /// Notes what the operation will put here, without showing it to walks.
    pub(crate) fn prepare(self, mmu: &impl Mmu, codec: Codec, entry: Entry) {
        let raw = codec.encode(entry, self.0.level) & !Codec::VALID | PREPARED;
        mmu.write(self.0.address, raw, Order::Plain);
    }
}

impl Prepared {
    /// Makes the entry live, as [`Vacant::make`] does.
    pub(crate) fn make(self, mmu: &impl Mmu) {
        let order = if planted::is(46) { Order::Plain } else { Order::Release };
        mmu.write(self.slot.address, self.raw & !MARKS | Codec::VALID, order);
    }

    /// Forgets what was noted here; returns the table that it would have led to.
    pub(crate) fn forget(self, mmu: &impl Mmu, codec: Codec) -> Option<(Hpa, Level)> {
        mmu.write(self.slot.address, 0, Order::Plain);
        match (codec.decode(self.raw & !MARKS | Codec::VALID, self.slot.level), self.slot.level.next()) {
            (Entry::Table(table), Some(below)) => Some((table, below)),
            _ => None,
        }
    }
}

impl Live {
    pub(crate) const fn slot(&self) -> Slot {
        self.slot
    }

    /// Takes the entry away; returns what it said at last.
    pub(crate) fn clear(self, mmu: &impl Mmu, codec: Codec) -> Entry {
        codec.decode(self.exchange(mmu, |_| 0), self.slot.level)
    }

    /// Takes the entry away and leaves a successor, which what it said at last decides; returns that.
    pub(crate) fn replace(self, mmu: &impl Mmu, codec: Codec, successor: impl Fn(Entry) -> Entry) -> Entry {
        let level = self.slot.level;
        let pending = |raw| codec.encode(successor(codec.decode(raw, level)), level) & !Codec::VALID | PENDING;
        codec.decode(self.exchange(mmu, pending), level)
    }

    /// Changes the entry in place, to what `change` makes of what it says.
    pub(crate) fn change(self, mmu: &impl Mmu, codec: Codec, change: impl Fn(Entry) -> Entry) {
        let level = self.slot.level;
        self.exchange(mmu, |raw| codec.encode(change(codec.decode(raw, level)), level));
    }

    fn exchange(&self, mmu: &impl Mmu, new: impl Fn(u64) -> u64) -> u64 {
        exchange(mmu, self.slot.address, self.raw, new)
    }
}

impl Idle {
    /// Says something else.
    pub(crate) fn rewrite(self, mmu: &impl Mmu, codec: Codec, entry: Entry) {
        let raw = codec.encode(entry, self.slot.level);
        let raw = if self.is_pending() { raw & !Codec::VALID | PENDING } else { raw };
        mmu.write(self.slot.address, raw, Order::Plain);
    }

    /// Says nothing any more.
    pub(crate) fn clear(self, mmu: &impl Mmu) {
        mmu.write(self.slot.address, 0, Order::Plain);
    }

    /// Makes an entry live that waited for an invalidation, now that it is complete.
    pub(crate) fn make(self, mmu: &impl Mmu, _proof: &Flushed) {
        mmu.write(self.slot.address, self.raw & !MARKS | Codec::VALID, Order::Release);
    }

    /// Tells whether the entry waits for an invalidation.
    pub(crate) const fn is_pending(&self) -> bool {
        self.raw & Codec::VALID == 0
    }
}
