//! What the operations on one tree have cost so far.

use vmsa::Tlbi;

/// Counts since the tree was made. What is invalidated on one CPU alone, after a fault, is not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Descriptors written.
    pub stores: u64,
    /// `IPAS2E1IS` and `IPAS2LE1IS`.
    pub tlbi_ipa: u64,
    /// `RIPAS2E1IS` and `RIPAS2LE1IS`.
    pub tlbi_range: u64,
    /// `VMALLS12E1IS`.
    pub tlbi_vmid: u64,
    /// `VMALLE1IS`.
    pub tlbi_stage1: u64,
    /// Data synchronization barriers.
    pub dsb: u64,
    /// Instruction synchronization barriers.
    pub isb: u64,
    /// Tables in the tree now, the root's included.
    pub tables: u64,
    /// Blocks that became tables.
    pub splits: u64,
    /// Tables that became blocks.
    pub merges: u64,
}

impl Stats {
    /// Counts an invalidation.
    pub(crate) const fn count(&mut self, op: Tlbi) {
        match op {
            Tlbi::Ipa { .. } => self.tlbi_ipa += 1,
            Tlbi::Range { .. } => self.tlbi_range += 1,
            Tlbi::Stage1 => self.tlbi_stage1 += 1,
            Tlbi::Vmid | Tlbi::All => self.tlbi_vmid += 1,
        }
    }
}
