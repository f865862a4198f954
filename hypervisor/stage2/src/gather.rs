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

/// What one operation broke and made. It must be closed: dropping it with work undone is a bug of ours, and panics.
#[must_use]
#[derive(Default)]
pub(crate) struct Gather {
    stale: Option<IpaRange>,
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

    /// Takes note of a leaf that TLBs may hold as it was.
    pub(crate) fn stale_leaf(&mut self, slot: Slot) {
        self.stale = Some(self.stale.map_or(slot.span(), |stale| stale.hull(slot.span())));
    }

    /// Takes note of an entry that led to a table with live entries, which TLBs may hold too.
    pub(crate) fn stale_table(&mut self, slot: Slot) {
        self.stale_leaf(slot);
        self.has_tables = true;
    }

    /// Takes note of an entry that led to a table without live entries. Those that this operation took away are stale
    /// already; of the table itself an invalidation of any address below it is enough.
    pub(crate) fn stale_empty_table(&mut self, slot: Slot) {
        let is_covered = self.stale.is_some_and(|stale| !stale.intersection(slot.span()).is_empty());
        if !is_covered {
            let page = IpaRange::page(slot.span().start);
            self.stale = Some(self.stale.map_or(page, |stale| stale.hull(page)));
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
        match self.stale.take() {
            Some(stale) => tree.under_own_vmid(mmu, |issue| invalidate(issue, stale, leaf_only)),
            None if has_unpublished => {
                mmu.dsb(Dsb::Ishst);
                tree.stats.dsb += 1;
            }
            None => {}
        }
        Flushed(())
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        assert!(self.stale.is_none() && self.detached == [None; 3], "a gather was dropped before its invalidation");
    }
}
