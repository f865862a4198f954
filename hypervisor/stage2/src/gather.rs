//! What one operation broke, until its one invalidation.

use vmsa::{Dsb, Hpa, IpaRange, Level};

use crate::change::Slot;
use crate::invalidate::invalidate;
use crate::tree::free_subtree;
use crate::{Mmu, Stage2, Tables};

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
}

/// How many ranges one operation keeps apart. A decommit reaches each mapping of a VMO, and few have more than this.
const MOST_RANGES: usize = 4;

/// The addresses whose old translations TLBs may hold: a range for each part of the operation, as long as there is room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stale {
    ranges: [Option<IpaRange>; MOST_RANGES],
    /// The next address begins another part.
    is_apart: bool,
}

impl Stale {
    pub(crate) fn ranges(&self) -> impl Iterator<Item = IpaRange> {
        self.ranges.into_iter().flatten()
    }

    const fn is_empty(&self) -> bool {
        self.ranges[0].is_none()
    }

    /// Adds to the last range, or to a new one where a part begins and there is room.
    fn add(&mut self, range: IpaRange) {
        let is_apart = core::mem::take(&mut self.is_apart) || self.is_empty();
        let used = self.ranges().count();
        match self.ranges.get_mut(used).filter(|_| is_apart) {
            Some(free) => *free = Some(range),
            None => self.ranges[used - 1] = self.ranges[used - 1].map(|last| last.hull(range)),
        }
    }
}

/// What one operation broke and made. It must be closed: dropping it with work undone is a bug of ours, and panics.
#[must_use]
#[derive(Default)]
pub(crate) struct Gather {
    stale: Stale,
    has_tables: bool,
    has_unpublished: bool,
    /// Tables that are out of the tree, by their level: L1, L2, L3.
    detached: [Option<Hpa>; 3],
}

impl Gather {
    /// Takes note that an entry became live, or allows more.
    pub(crate) const fn publish(&mut self) {
        self.has_unpublished = true;
    }

    /// Begins another part of the operation, whose addresses may be far from the last one's.
    pub(crate) const fn begin_part(&mut self) {
        self.stale.is_apart = true;
    }

    /// Takes note of a leaf that TLBs may hold as it was.
    pub(crate) fn stale_leaf(&mut self, slot: Slot) {
        self.stale.add(slot.span());
    }

    /// Takes note of an entry that led to a table with live entries, which TLBs may hold too.
    pub(crate) fn stale_table(&mut self, slot: Slot) {
        self.stale_leaf(slot);
        self.has_tables = true;
    }

    /// Takes note of an entry that led to a table without live entries. Those that this operation took away are stale
    /// already; of the table itself an invalidation of any address below it is enough.
    pub(crate) fn stale_empty_table(&mut self, slot: Slot) {
        let is_covered = self.stale.ranges().any(|stale| !stale.intersection(slot.span()).is_empty());
        if !is_covered {
            self.stale.add(IpaRange::page(slot.span().start));
        }
        self.has_tables = true;
    }

    /// Keeps a table of `level` that is out of the tree until the invalidation.
    pub(crate) fn detach(&mut self, tables: &mut impl Tables, table: Hpa, level: Level) {
        if let Some(head) = self.detached.get_mut(usize::from(level.number()).wrapping_sub(1)) {
            tables.set_next(table, *head);
            *head = Some(table);
        }
    }

    /// Makes what was made visible and what was broken unreachable, on every CPU, and gives the detached tables back.
    pub(crate) fn close<M: Mmu, T: Tables>(mut self, tree: &mut Stage2, mmu: &M, tables: &mut T) -> Flushed {
        let proof = self.flush(tree, mmu);
        for (level, head) in [Level::L1, Level::L2, Level::L3].into_iter().zip(&mut self.detached) {
            while let Some(table) = head.take() {
                *head = tables.next(table);
                tree.stats.tables -= free_subtree(tree.codec, mmu, tables, table, level);
            }
        }
        proof
    }

    /// Does what [`Gather::close`] does, but for giving tables back.
    pub(crate) fn flush(&mut self, tree: &mut Stage2, mmu: &impl Mmu) -> Flushed {
        let has_unpublished = core::mem::take(&mut self.has_unpublished);
        let leaf_only = !core::mem::take(&mut self.has_tables);
        let stale = core::mem::take(&mut self.stale);
        if !stale.is_empty() {
            tree.under_own_vmid(mmu, |issue| invalidate(issue, &stale, leaf_only));
        } else if has_unpublished {
            mmu.dsb(Dsb::Ishst);
            tree.stats.dsb += 1;
        }
        Flushed(())
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        assert!(self.stale.is_empty() && self.detached == [None; 3], "a gather was dropped before its invalidation");
    }
}
