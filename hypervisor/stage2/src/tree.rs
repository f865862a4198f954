//! One VM's tree, and looking things up in it.

use vmsa::{Attributes, BbmLevel, Codec, Entry, Features, Geometry, Hpa, Ipa, Level, PAGE_SHIFT, Vmid, vttbr};

use crate::change::{Reach, Slots};
use crate::walk::Walker;
use crate::{Mmu, Stats, Tables};

/// One VM's tree of stage-2 tables.
#[derive(Debug)]
pub struct Stage2 {
    pub(crate) geometry: Geometry,
    pub(crate) codec: Codec,
    pub(crate) bbm: BbmLevel,
    pub(crate) root: Hpa,
    pub(crate) vmid: Option<Vmid>,
    number: u32,
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
    /// Returns an empty tree, without a VMID. `root` are [`Geometry::root_tables`] adjacent tables, zeroed, aligned to their
    /// total size. `features` are the machine's, with as much of FEAT_BBM as the tree is to use.
    pub fn new(geometry: Geometry, features: &Features, root: Hpa) -> Self {
        debug_assert!(root.0.is_multiple_of(geometry.root_bytes().next_power_of_two()), "{root} for {geometry:?}");
        let stats = Stats { tables: geometry.root_tables() as u64, ..Stats::default() };
        let codec = Codec::of(features);
        let number = (root.0 >> PAGE_SHIFT) as u32;
        let bbm = if planted::is(40) { BbmLevel::Direct } else { features.bbm };
        Self { geometry, codec, bbm, root, vmid: None, number, stats }
    }

    /// Returns the tree as that of the VM with the number, of which 0 is no VM's.
    pub const fn numbered(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// Returns the VM's number, for machines that watch their tables: until it is said, that of the root's frame.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Returns the shape of the tree.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns the VMID that the tree has now.
    pub const fn vmid(&self) -> Option<Vmid> {
        self.vmid
    }

    /// Gives the tree a VMID of which no CPU holds anything, or takes its VMID away while no CPU has it in use. Without one,
    /// nothing that the tree says is in any TLB.
    pub fn set_vmid(&mut self, mmu: &impl Mmu, vmid: Option<Vmid>) {
        self.vmid = vmid;
        match vmid {
            Some(_) => mmu.root_made(self.number, self.vttbr(), self.geometry, self.bbm),
            None => mmu.root_idle(self.number, self.root),
        }
    }

    /// Returns what VTTBR_EL2 holds while this tree is in use, which it can be once it has a VMID.
    pub fn vttbr(&self) -> u64 {
        vttbr(self.root, self.vmid.unwrap_or(Vmid(0)))
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
        let (slot, descriptor) = Walker::of(self, mmu).find(ipa);
        let entry = self.codec.decode(descriptor, slot.level());
        Some(Walk { descriptor, entry, level: slot.level(), table: slot.table() })
    }
}

/// Gives back everything below `table`, a table of `level` that no CPU can reach any more, and the table itself.
pub(crate) fn free_subtree<M: Mmu, T: Tables>(mmu: &M, tables: &mut T, table: Hpa, level: Level) -> u64 {
    let mut freed = 1;
    if let Some(below) = level.next() {
        let entries = Slots::of_table(table, level, Ipa(0), Reach::Own);
        let live = u64::from(tables.live_entries(table));
        entries.for_each_table(mmu, live, |child| freed += free_subtree(mmu, tables, child, below));
    }
    tables.free(table);
    freed
}
