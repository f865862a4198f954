//! The only code that writes to tables that a walk can reach.
//!
//! Break-before-make is in the types. An entry that was found [`Live`] can be broken, which gives a [`Broken`]: the entry is
//! invalid, but TLBs may still hold what it said. Only an invalidation turns that into a [`Vacant`], and only a `Vacant` can be
//! made live. What the architecture allows in place (DDI 0487, D8.13: permissions, the access flag, software bits; never the
//! output address, the memory type or the size) goes through [`Live::change_perms`].

use vmsa::{Codec, Entry, Hpa, Ipa, IpaRange, Leaf, Level, PAGE_SIZE, Perms};

use crate::gather::Gather;
use crate::{Mmu, Order, Stats};

/// An entry's place: in which table, for which addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    address: Hpa,
    ipa: Ipa,
    level: Level,
}

/// An entry that is not live, and of which no TLB holds anything. It was found so while the tree's lock was held, and every
/// operation under that lock invalidates what it broke before it ends; or it comes from an invalidation of this operation.
#[must_use]
pub(crate) struct Vacant(Slot);

/// An entry that walks can use now.
#[must_use]
pub(crate) struct Live(Slot);

/// An entry that was live: it is invalid now, and TLBs may hold what it was.
#[must_use = "the old translation stays usable until it is invalidated"]
pub(crate) struct Broken(Slot);

/// An entry as it was found.
pub(crate) enum Place {
    Vacant(Vacant),
    Table(Live, Hpa),
    Leaf(Live, Leaf),
}

impl Place {
    pub(crate) const fn slot(&self) -> Slot {
        match self {
            Self::Vacant(vacant) => vacant.0,
            Self::Table(live, _) | Self::Leaf(live, _) => live.0,
        }
    }
}

impl Slot {
    /// Returns the place that `ipa` has in `table`, a table of `level`.
    pub(crate) const fn of(table: Hpa, level: Level, ipa: Ipa) -> Self {
        let base = Ipa(ipa.0 & !(level.entry_span() - 1));
        Self { address: table.add(8 * level.index(ipa) as u64), ipa: base, level }
    }

    /// Returns the addresses that the entry is for.
    pub(crate) const fn span(self) -> IpaRange {
        IpaRange::new(self.ipa, self.level.entry_span())
    }

    pub(crate) const fn address(self) -> Hpa {
        self.address
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
        match codec.decode(mmu.read(self.address), self.level) {
            // Hardware faults on what is malformed as on what is invalid, and caches neither.
            Entry::Invalid | Entry::Malformed(_) => Place::Vacant(Vacant(self)),
            Entry::Table(table) => Place::Table(Live(self), table),
            Entry::Leaf(leaf) => Place::Leaf(Live(self), leaf),
        }
    }
}

impl Vacant {
    pub(crate) const fn slot(&self) -> Slot {
        self.0
    }

    /// Makes the entry live. The store is a release: what the entry leads to (a table's entries, a page's contents) was
    /// written before, and is seen before it. Visible to every walk once the operation's closing `DSB` is done.
    pub(crate) fn make(
        self,
        mmu: &impl Mmu,
        codec: Codec,
        entry: Entry,
        gather: &mut Gather,
        stats: &mut Stats,
    ) -> Live {
        mmu.write(self.0.address, codec.encode(entry, self.0.level), Order::Release);
        stats.stores += 1;
        gather.publish();
        Live(self.0)
    }
}

impl Live {
    pub(crate) const fn slot(&self) -> Slot {
        self.0
    }

    /// Breaks the entry.
    pub(crate) fn break_entry(self, mmu: &impl Mmu, stats: &mut Stats) -> Broken {
        mmu.write(self.0.address, 0, Order::Plain);
        stats.stores += 1;
        Broken(self.0)
    }

    /// Gives the leaf that was found here other permissions, in place. Where it loses some, TLBs may hold the old ones until
    /// the operation's invalidation; where it only gains, a CPU may fault once more on the old ones, and is retried.
    pub(crate) fn change_perms(
        self,
        mmu: &impl Mmu,
        codec: Codec,
        leaf: Leaf,
        perms: Perms,
        gather: &mut Gather,
        stats: &mut Stats,
    ) {
        let mut changed = leaf;
        changed.attributes.perms = perms;
        mmu.write(self.0.address, codec.encode(Entry::Leaf(changed), self.0.level), Order::Plain);
        stats.stores += 1;
        if perms.contains(leaf.attributes.perms) {
            gather.publish();
        } else {
            gather.stale_leaf(self.0);
        }
    }
}

impl Broken {
    pub(crate) const fn slot(&self) -> Slot {
        self.0
    }

    /// Leaves the invalidation of a leaf to the end of the operation.
    pub(crate) fn gather_leaf(self, gather: &mut Gather) {
        gather.stale_leaf(self.0);
    }

    /// Leaves the invalidation of a table, and of all that it led to, to the end of the operation; then it is freed.
    pub(crate) fn gather_table(self, gather: &mut Gather) {
        gather.stale_table(self.0);
    }

    /// The same for a table that has no live entries.
    pub(crate) fn gather_empty_table(self, gather: &mut Gather) {
        gather.stale_empty_table(self.0);
    }

    /// Takes note that this entry's invalidation was completed.
    pub(crate) fn invalidated(self, _proof: &crate::Flushed) -> Vacant {
        Vacant(self.0)
    }
}
