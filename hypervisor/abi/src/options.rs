//! The option words of calls that make or change VMARs, mappings and VMOs.

use bitflags::bitflags;
use num_enum::{IntoPrimitive, TryFromPrimitive};

bitflags! {
    /// Options of VMARs and mappings (`zx_vm_option_t`). Bits 24–31 are a field: [`VmOptions::alignment`].
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct VmOptions: u32 {
        /// The mapping can be read.
        const PERM_READ = 1 << 0;
        /// The mapping can be written.
        const PERM_WRITE = 1 << 1;
        /// The mapping can be executed.
        const PERM_EXECUTE = 1 << 2;
        /// Unplaced children of this VMAR are kept close together.
        const COMPACT = 1 << 3;
        /// The offset that is given is where the region goes, and it is free.
        const SPECIFIC = 1 << 4;
        /// The offset that is given is where the mapping goes; what is mapped there is replaced in one step.
        const SPECIFIC_OVERWRITE = 1 << 5;
        /// Children of this VMAR may be placed by their parents' holders.
        const CAN_MAP_SPECIFIC = 1 << 6;
        /// The VMAR may hold readable mappings.
        const CAN_MAP_READ = 1 << 7;
        /// The VMAR may hold writable mappings.
        const CAN_MAP_WRITE = 1 << 8;
        /// The VMAR may hold executable mappings.
        const CAN_MAP_EXECUTE = 1 << 9;
        /// Pages that are already committed are entered in the tables at once.
        const MAP_RANGE = 1 << 10;
        /// Fails where the VMO can be resized.
        const REQUIRE_NON_RESIZABLE = 1 << 11;
        /// The caller knows that accesses may fault.
        const ALLOW_FAULTS = 1 << 12;
        /// The offset that is given bounds the region from above.
        const OFFSET_IS_UPPER_LIMIT = 1 << 13;
        /// Adds [`VmOptions::PERM_READ`] where the machine cannot do execute-only, as this one cannot.
        const PERM_READ_IF_XOM_UNSUPPORTED = 1 << 14;

        /// The three permissions of a mapping.
        const PERMS = Self::PERM_READ.bits() | Self::PERM_WRITE.bits() | Self::PERM_EXECUTE.bits();
        /// The three permissions that a VMAR may allow its mappings.
        const CAN_MAP_ACCESS = Self::CAN_MAP_READ.bits() | Self::CAN_MAP_WRITE.bits() | Self::CAN_MAP_EXECUTE.bits();
        /// The field that holds the wanted alignment.
        const ALIGNMENT = 0xff << 24;
    }
}

/// The alignment that a region's address must have.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Alignment {
    log2: u32,
}

impl Alignment {
    /// The alignment that every region has: a page.
    pub const PAGE: Self = Self { log2: crate::PAGE_SHIFT };

    /// Returns the alignment of 2^`log2` bytes, or `None` where it is not one that can be asked for (10 to 32).
    /// What is below a page behaves as a page.
    pub const fn from_log2(log2: u32) -> Option<Self> {
        match log2 {
            10..=11 => Some(Self::PAGE),
            12..=32 => Some(Self { log2 }),
            _ => None,
        }
    }

    /// Returns the alignment in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.log2
    }

    /// Returns the option bits that ask for this alignment.
    pub const fn options(self) -> VmOptions {
        VmOptions::from_bits_retain(self.log2 << 24)
    }
}

impl VmOptions {
    /// Returns the alignment that the options ask for, or `None` where the field holds what no alignment has.
    pub const fn alignment(self) -> Option<Alignment> {
        match self.bits() >> 24 {
            0 => Some(Alignment::PAGE),
            log2 => Alignment::from_log2(log2),
        }
    }
}

bitflags! {
    /// Options of `vmo_create`.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct VmoOptions: u32 {
        /// The size can be changed later.
        const RESIZABLE = 1 << 1;
        /// The contents may be given up while it is unlocked.
        const DISCARDABLE = 1 << 2;
        /// Writes to clean pages are told to the pager.
        const TRAP_DIRTY = 1 << 3;
        /// As large as a VMO can be.
        const UNBOUNDED = 1 << 4;
    }
}

bitflags! {
    /// Options of `vmo_create_child`: what the child is of its parent, and what may be done with it.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct ChildOptions: u32 {
        /// A copy of the contents as they are now.
        const SNAPSHOT = 1 << 0;
        /// The child's size can be changed later.
        const RESIZABLE = 1 << 2;
        /// A window on a part of the parent, whose contents it shares.
        const SLICE = 1 << 3;
        /// A copy of each page at the latest when that is written.
        const SNAPSHOT_AT_LEAST_ON_WRITE = 1 << 4;
        /// The child's handle has no WRITE.
        const NO_WRITE = 1 << 5;
        /// The parent under another object: contents and size are the same.
        const REFERENCE = 1 << 6;
        /// A copy of the pages that were modified since a pager supplied them.
        const SNAPSHOT_MODIFIED = 1 << 7;
    }
}

bitflags! {
    /// Options of `bti_pin`: what a device may do with the pages (`ZX_BTI_PERM_READ` and on).
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct PinOptions: u32 {
        /// It reads them.
        const PERM_READ = 1 << 0;
        /// It writes them.
        const PERM_WRITE = 1 << 1;
        /// It executes them.
        const PERM_EXECUTE = 1 << 2;
        /// One address stands for a contiguous run.
        const COMPRESS = 1 << 3;
        /// One address stands for all, of a contiguous VMO.
        const CONTIGUOUS = 1 << 4;
    }
}

/// How a VMO's memory is cached by who maps it (`ZX_CACHE_POLICY_CACHED` and on).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
pub enum CachePolicy {
    /// Normal memory, write-back.
    #[default]
    Cached = 0,
    /// Not cached: Normal non-cacheable memory.
    Uncached = 1,
    /// A device's registers: Device memory.
    UncachedDevice = 2,
    /// Writes may be put together: Normal non-cacheable memory.
    WriteCombining = 3,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_field_takes_10_to_32_and_none() {
        let aligned = |log2: u32| VmOptions::from_bits_retain(log2 << 24).alignment().map(Alignment::bytes);
        assert_eq!(aligned(0), Some(4096));
        assert_eq!(aligned(10), Some(4096));
        assert_eq!(aligned(16), Some(65536));
        assert_eq!(aligned(32), Some(1 << 32));
        for bad in [1, 9, 33, 255] {
            assert_eq!(aligned(bad), None);
        }
    }
}
