//! What happens on a CPU, as far as the rules speak of it.

use vmsa::{BbmLevel, Dsb, Geometry, Hpa, Ipa, Level, Scope, Tlbi};

/// A store to a descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Store {
    /// Where.
    pub slot: Hpa,
    /// What was there.
    pub old: u64,
    /// What is there from now on.
    pub new: u64,
    /// It is ordered after all that the CPU did before: a store-release.
    pub is_release: bool,
}

/// What happens on a CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A tree has a VMID: its root tables are at the address that the value of VTTBR_EL2 holds, under the VMID that it holds.
    Root {
        /// The value of VTTBR_EL2.
        vttbr: u64,
        /// The tree's shape.
        geometry: Geometry,
        /// How much of FEAT_BBM it may use.
        bbm: BbmLevel,
    },
    /// A descriptor is written.
    Store(Store),
    /// An invalidation is issued.
    Tlbi(Tlbi, Scope),
    /// A data synchronization barrier.
    Dsb(Dsb),
    /// A context synchronization event: `ISB`, or an exception.
    Isb,
    /// VTTBR_EL2 is written.
    Vttbr(u64),
    /// Frames are overwritten with zeros, or with what their new owner is to see.
    Filled {
        /// The first of them.
        frame: Hpa,
        /// How many.
        pages: u64,
    },
    /// Frames go back to the allocator.
    Freed {
        /// The first of them.
        frame: Hpa,
        /// How many.
        pages: u64,
    },
    /// The CPU returns to a guest.
    Resume,
}

/// The guest's addresses that a violation is about, and the descriptor's place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The VMID.
    pub vmid: u16,
    /// The first address.
    pub ipa: u64,
    /// The lookup level.
    pub level: u8,
    /// The descriptor's address.
    pub slot: u64,
}

impl Place {
    pub(crate) const fn new(vmid: u16, ipa: Ipa, level: Level, slot: Hpa) -> Self {
        Self { vmid, ipa: ipa.0, level: level.number(), slot: slot.0 }
    }
}
