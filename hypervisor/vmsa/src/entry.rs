//! What an entry of a stage-2 table means, whatever bits say so on a machine; [`Codec`](crate::Codec) knows those.

use bitflags::bitflags;

use crate::Hpa;

bitflags! {
    /// What a guest may do with a page.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub struct Perms: u8 {
        /// Loads.
        const READ = 1 << 0;
        /// Stores.
        const WRITE = 1 << 1;
        /// Instruction fetches at EL1.
        const EXECUTE_EL1 = 1 << 2;
        /// Instruction fetches at EL0.
        const EXECUTE_EL0 = 1 << 3;
        /// Instruction fetches, at EL1 and at EL0.
        const EXECUTE = Self::EXECUTE_EL1.bits() | Self::EXECUTE_EL0.bits();
    }
}

/// What kind of memory a guest sees, as far as stage 2 decides it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MemoryType {
    /// Normal, inner and outer write-back.
    #[default]
    Normal,
    /// Normal, non-cacheable.
    NonCacheable,
    /// Device-nGnRE.
    Device,
}

/// Whether stores to a leaf are noted, and whether there were any.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dirty {
    /// They are not.
    #[default]
    Untracked,
    /// They are, and there was none. A leaf that may be written is read-only to the hardware, which makes it writable at the
    /// first store (FEAT_HAFDBS: DBM), or faults.
    Clean,
    /// There was one.
    Dirty,
}

/// What a leaf says besides where it leads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// What the guest may do.
    pub perms: Perms,
    /// What kind of memory it sees.
    pub memory: MemoryType,
    /// AF: the page was used, or nobody asks. A leaf without it is never cached.
    pub accessed: bool,
    /// Whether stores are noted.
    pub dirty: Dirty,
    /// The leaf is one of an aligned group of 16 that translate as one.
    pub contiguous: bool,
    /// nT: the leaf, a block, is not to be cached (FEAT_BBM of level 1 or 2).
    pub uncached: bool,
    /// The page is shared with others who rely on its contents; it may not become writable in place.
    pub shared: bool,
}

impl Attributes {
    /// Returns the attributes of ordinary memory with the given permissions, its access flag set.
    pub const fn normal(perms: Perms) -> Self {
        Self {
            perms,
            memory: MemoryType::Normal,
            accessed: true,
            dirty: Dirty::Untracked,
            contiguous: false,
            uncached: false,
            shared: false,
        }
    }

    /// Tells whether the leaf lets the access through as it stands: no flag has to be set first.
    pub fn allows(self, perms: Perms) -> bool {
        let is_trapped = self.dirty == Dirty::Clean && perms.contains(Perms::WRITE);
        self.accessed && self.perms.contains(perms) && !is_trapped
    }
}

/// A leaf: a page, or a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Where it leads; aligned to the span of its level.
    pub output: Hpa,
    /// What else it says.
    pub attributes: Attributes,
}

/// What a descriptor means, at its level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Nothing: a translation fault. Never cached.
    Invalid,
    /// A table of the next level.
    Table(Hpa),
    /// Memory.
    Leaf(Leaf),
    /// Bits that mean nothing at this level; the hardware faults, and we never write them.
    Malformed(u64),
}

impl Entry {
    /// Tells whether the hardware may use, and so cache, the entry.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Table(_) | Self::Leaf(_))
    }
}
