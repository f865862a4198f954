//! Operations on ranges, and the records that `object_get_info` writes.

use bitflags::bitflags;
use num_enum::{IntoPrimitive, TryFromPrimitive};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What `vmar_op_range` can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
pub enum VmarOp {
    /// Gives every page of the range a frame, and enters it in the tables.
    Commit = 1,
    /// Takes the frames back; the pages read as zero again.
    Decommit = 2,
    /// Enters pages that are committed in the tables.
    MapRange = 3,
    /// Makes the range read as zero.
    Zero = 10,
    /// Hints that the range may be reclaimed.
    DontNeed = 12,
    /// Hints that the range shall not be reclaimed.
    AlwaysNeed = 13,
    /// Brings in pages that are somewhere else, and enters them in the tables.
    Prefetch = 14,
}

/// What `vmo_op_range` can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
#[expect(missing_docs, reason = "the operations are Zircon's, named as there")]
pub enum VmoOp {
    Commit = 1,
    Decommit = 2,
    Lock = 3,
    Unlock = 4,
    CacheSync = 6,
    CacheInvalidate = 7,
    CacheClean = 8,
    CacheCleanInvalidate = 9,
    Zero = 10,
    TryLock = 11,
    DontNeed = 12,
    AlwaysNeed = 13,
    Prefetch = 14,
}

/// What `object_get_info` can tell. A versioned topic is its number with the version in bits 28–31.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
pub enum Topic {
    /// [`InfoHandleBasic`].
    HandleBasic = 2,
    /// [`InfoVmar`].
    Vmar = 7,
    /// [`InfoHandleCount`].
    HandleCount = 19,
    /// [`InfoMaps`], one for the VMAR and one for everything below it: a parent before its children, siblings by their bases.
    VmarMaps = 36,
    /// The first 104 bytes of [`InfoVmo`].
    VmoV1 = 0x17,
    /// The first 120 bytes of [`InfoVmo`].
    VmoV2 = 0x1000_0017,
    /// The first 128 bytes of [`InfoVmo`].
    VmoV3 = 0x2000_0017,
    /// [`InfoVmo`].
    Vmo = 0x3000_0017,
}

/// The sizes of the four versions of [`InfoVmo`], in bytes; each is a prefix of the next.
pub const INFO_VMO_SIZES: [usize; 4] = [104, 120, 128, 176];

/// What a handle names and allows (`zx_info_handle_basic_t`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InfoHandleBasic {
    /// The object's number, given to no other object, ever.
    pub koid: u64,
    /// The handle's [`crate::Rights`].
    pub rights: u32,
    /// The object's [`crate::ObjectType`].
    pub object_type: u32,
    /// The koid of the object that this one belongs to, or 0.
    pub related_koid: u64,
    /// Always 0.
    pub reserved: u32,
    /// Always 0.
    pub padding: u32,
}

/// Where a VMAR lies (`zx_info_vmar_t`), in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InfoVmar {
    /// Its first address.
    pub base: u64,
    /// Its length.
    pub len: u64,
}

/// How many handles lead to an object (`zx_info_handle_count_t`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InfoHandleCount {
    /// In all VMs.
    pub handle_count: u32,
}

/// What an [`InfoMaps`] tells of (`zx_info_maps_type_t`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
pub enum MapsType {
    /// Nothing.
    None = 0,
    /// An address space.
    Aspace = 1,
    /// A VMAR.
    Vmar = 2,
    /// A part of a mapping that allows the same throughout.
    Mapping = 3,
}

/// A VMAR or a mapping in an address space (`zx_info_maps_t`). Of a VMAR the fields from `mmu_flags` on are 0.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct InfoMaps {
    /// A mapping's is its VMO's; unused bytes are 0.
    pub name: [u8; 32],
    /// The first address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// How many VMARs of the answer it lies in.
    pub depth: u64,
    /// A [`MapsType`].
    pub maps_type: u32,
    /// Always 0.
    pub padding: u32,
    /// PERM_READ, PERM_WRITE and PERM_EXECUTE of [`crate::VmOptions`].
    pub mmu_flags: u32,
    /// Always 0.
    pub mapping_padding: u32,
    /// The koid of the VMO.
    pub vmo_koid: u64,
    /// The VMO's offset at `base`, in bytes.
    pub vmo_offset: u64,
    /// Bytes of the VMO that the mapping shows and that have memory; the fields below are as those of [`InfoVmo`].
    pub committed_bytes: u64,
    /// The same, and what is kept elsewhere.
    pub populated_bytes: u64,
    /// Of those what no other VMO shares.
    pub committed_private_bytes: u64,
    /// Of those what no other VMO shares.
    pub populated_private_bytes: u64,
    /// Every byte divided by the number of VMOs that share it.
    pub committed_scaled_bytes: u64,
    /// Every byte divided by the number of VMOs that share it.
    pub populated_scaled_bytes: u64,
    /// What the division left: fixed point, 2^63 is one byte.
    pub committed_fractional_scaled_bytes: u64,
    /// What the division left: fixed point, 2^63 is one byte.
    pub populated_fractional_scaled_bytes: u64,
}

/// What LOCK writes of a discardable VMO (`zx_vmo_lock_state_t`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct VmoLockState {
    /// Where the locked range begins.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// Where what was discarded begins.
    pub discarded_offset: u64,
    /// Its bytes.
    pub discarded_size: u64,
}

/// What `object_get_property` and `object_set_property` know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
pub enum Property {
    /// The object's name: [`NAME_LEN`] bytes, the last of them 0.
    Name = 3,
}

/// The bytes of a name, its last 0 included (`ZX_MAX_NAME_LEN`).
pub const NAME_LEN: usize = 32;

bitflags! {
    /// What `object_wait_one` waits for.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Signals: u32 {
        /// A VMO has no children.
        const VMO_ZERO_CHILDREN = 1 << 3;
    }
}

/// What a VMO is and holds (`zx_info_vmo_t`, version 4). Fractional fields are fixed point: 2^63 is one byte.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are Zircon's, named as there")]
pub struct InfoVmo {
    pub koid: u64,
    pub name: [u8; 32],
    pub size_bytes: u64,
    pub parent_koid: u64,
    pub num_children: u64,
    pub num_mappings: u64,
    pub share_count: u64,
    pub flags: u32,
    pub padding: u32,
    pub committed_bytes: u64,
    pub handle_rights: u32,
    pub cache_policy: u32,
    pub metadata_bytes: u64,
    pub committed_change_events: u64,
    pub populated_bytes: u64,
    pub committed_private_bytes: u64,
    pub populated_private_bytes: u64,
    pub committed_scaled_bytes: u64,
    pub populated_scaled_bytes: u64,
    pub committed_fractional_scaled_bytes: u64,
    pub populated_fractional_scaled_bytes: u64,
}

bitflags! {
    /// The flags of [`InfoVmo`].
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct VmoInfoFlags: u32 {
        /// Its pages are memory; clear for a window on device memory.
        const PAGED = 1 << 0;
        /// Its size can be changed.
        const RESIZABLE = 1 << 1;
        /// It is a copy-on-write child.
        const COW_CLONE = 1 << 2;
        /// It was found through a handle.
        const VIA_HANDLE = 1 << 3;
        /// It was found through a mapping.
        const VIA_MAPPING = 1 << 4;
        /// A pager serves it.
        const PAGER_BACKED = 1 << 5;
        /// Its frames are adjacent.
        const CONTIGUOUS = 1 << 6;
        /// It may be discarded while unlocked.
        const DISCARDABLE = 1 << 7;
        /// It cannot be written.
        const IMMUTABLE = 1 << 8;
    }
}

const _: () = {
    assert!(size_of::<InfoHandleBasic>() == 32);
    assert!(size_of::<InfoVmar>() == 16);
    assert!(size_of::<InfoMaps>() == 152);
    assert!(core::mem::offset_of!(InfoMaps, mmu_flags) == 64);
    assert!(core::mem::offset_of!(InfoMaps, committed_bytes) == 88);
    assert!(size_of::<InfoVmo>() == INFO_VMO_SIZES[3]);
    assert!(core::mem::offset_of!(InfoVmo, committed_bytes) == 88);
    assert!(core::mem::offset_of!(InfoVmo, handle_rights) == 96);
    assert!(core::mem::offset_of!(InfoVmo, populated_fractional_scaled_bytes) == 168);
};
