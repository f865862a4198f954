//! One VM's tree, and looking things up in it.

use core::convert::Infallible;

use vmsa::{Attributes, Codec, ENTRIES, Entry, Features, Geometry, Hpa, Ipa, IpaRange, Level, Perms, Vmid, vttbr};

use crate::change::{Place, Slot};
use crate::walk::{Next, Visitor, Walker};
use crate::{Mmu, Stats, Tables};

/// One VM's tree of stage-2 tables.
#[derive(Debug)]
pub struct Stage2 {
    pub(crate) geometry: Geometry,
    pub(crate) codec: Codec,
    pub(crate) root: Hpa,
    pub(crate) vmid: Vmid,
    pub(crate) stats: Stats,
}

/// Where a software walk ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Walk {
    /// The descriptor that ended it, as it stands in the table.
    pub descriptor: u64,
    /// What it means.
    pub entry: Entry,
    /// Its level.
    pub level: Level,
    /// The table that it stands in.
    pub table: Hpa,
}

impl Walk {
    fn read(slot: Slot, mmu: &impl Mmu, codec: Codec) -> Self {
        let descriptor = mmu.read(slot.address());
        Self { descriptor, entry: codec.decode(descriptor, slot.level()), level: slot.level(), table: slot.table() }
    }

    /// Returns the page that `ipa` leads to, if the walk of `ipa` ended in memory.
    pub fn page(&self, ipa: Ipa) -> Option<(Hpa, Attributes)> {
        match self.entry {
            Entry::Leaf(leaf) => {
                let offset = ipa.page_base().0 & (self.level.entry_span() - 1);
                Some((leaf.output.add(offset), leaf.attributes))
            }
            _ => None,
        }
    }
}

impl Stage2 {
    /// Returns an empty tree. `root` are [`Geometry::root_tables`] adjacent tables, zeroed, aligned to their total size; of
    /// `vmid` no CPU holds anything.
    pub fn new(geometry: Geometry, features: &Features, root: Hpa, vmid: Vmid) -> Self {
        debug_assert!(root.0.is_multiple_of(geometry.root_bytes().next_power_of_two()), "{root} for {geometry:?}");
        let stats = Stats { tables: geometry.root_tables() as u64, ..Stats::default() };
        let codec = Codec { forced_write_back: features.forced_write_back };
        Self { geometry, codec, root, vmid, stats }
    }

    /// Returns the shape of the tree.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns what VTTBR_EL2 holds while this tree is in use.
    pub const fn vttbr(&self) -> u64 {
        vttbr(self.root, self.vmid)
    }

    /// Returns the tree's root.
    pub const fn root(&self) -> Hpa {
        self.root
    }

    /// Returns what the operations have cost so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Walks the tables for `ipa` as the hardware does, or returns `None` where `ipa` is outside the tree's space.
    pub fn walk(&self, mmu: &impl Mmu, ipa: Ipa) -> Option<Walk> {
        if ipa >= self.geometry.limit() {
            return None;
        }
        let mut last = Last(None);
        let Ok(()) = Walker::of(self, mmu).walk(IpaRange::page(ipa), &mut last);
        last.0.map(|slot| Walk::read(slot, mmu, self.codec))
    }

    /// Tells whether the tables allow `perms` at `ipa` now.
    pub fn allows(&self, mmu: &impl Mmu, ipa: Ipa, perms: Perms) -> bool {
        self.walk(mmu, ipa)
            .and_then(|walk| walk.page(ipa))
            .is_some_and(|(_, attributes)| attributes.perms.contains(perms) && attributes.accessed)
    }
}

/// Remembers the last entry on the way down.
struct Last(Option<Slot>);

impl Visitor for Last {
    type Error = Infallible;

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, Infallible> {
        self.0 = Some(place.slot());
        Ok(match place {
            Place::Table(via, table) => Next::Descend(via, table),
            Place::Vacant(_) | Place::Leaf(..) => Next::Same,
        })
    }
}

/// Gives back everything below `table`, a table of `level` that no CPU can reach any more, and the table itself.
pub(crate) fn free_subtree<M: Mmu, T: Tables>(codec: Codec, mmu: &M, tables: &mut T, table: Hpa, level: Level) -> u64 {
    let mut freed = 1;
    if let Some(below) = level.next() {
        for index in 0..ENTRIES as u64 {
            if let Entry::Table(child) = codec.decode(mmu.read(table.add(index * 8)), level) {
                freed += free_subtree(codec, mmu, tables, child, below);
            }
        }
    }
    tables.free(table);
    freed
}
