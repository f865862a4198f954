//! The guest's own stage 1: a 39-bit VA space, each GiB of it mapped to itself by a block of level 1.
//!
//! The last GiB is the exception. It is left unmapped for whoever needs a VA that is not an IPA, or tables that lie
//! where they can be taken away: see [`install_window`].

use crate::arch;
use abi::{AccessKind, Call};
use core::sync::atomic::AtomicU64;
use zx::inspect::Translation;
use zx::{Object, Result, Vmar};

/// The first address of the window.
pub const WINDOW: u64 = (ENTRIES as u64 - 1) << LEVEL_1_SHIFT;

/// The bytes of VA space that one entry of a level 2 table maps.
pub const LEVEL_2_SPAN: u64 = 1 << 21;

pub(crate) const ENTRIES: usize = 512;
const LEVEL_1_SHIFT: u32 = 30;

/// A stage-1 descriptor (DDI 0487, "VMSAv8-64 descriptor formats").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// An entry that maps nothing.
    pub const INVALID: Self = Self(0);

    /// Bits 1:0 of a table at level 1.
    const TABLE: u64 = 0b11;
    /// Bits 1:0 of a block at level 1 or 2.
    const BLOCK: u64 = 0b01;
    /// AF, so that the first access takes no fault; SH = 0b11, inner shareable; for EL1 alone. AttrIndx is 0: Normal
    /// write-back.
    const NORMAL: u64 = 1 << 10 | 0b11 << 8 | Self::NOT_FOR_EL0;
    /// `AP[1]`: EL0 has the access that EL1 has.
    const EL0_ACCESS: u64 = 1 << 6;
    /// UXN: EL0 does not execute.
    const NOT_FOR_EL0: u64 = 1 << 54;

    /// Points to the table at `ipa`.
    pub const fn table(ipa: u64) -> Self {
        Self(ipa | Self::TABLE)
    }

    /// Maps the block at `ipa` for EL1, with every permission.
    pub const fn block(ipa: u64) -> Self {
        Self(ipa | Self::NORMAL | Self::BLOCK)
    }

    /// Lets EL0 read, write and execute too. What EL0 can write, EL1 no longer executes.
    pub const fn for_el0(self) -> Self {
        Self(self.0 & !Self::NOT_FOR_EL0 | Self::EL0_ACCESS)
    }
}

/// Puts the level 2 table at `ipa` in charge of the window. The window must not have been used before.
pub fn install_window(ipa: u64) {
    arch::stage1::store_root_entry(ENTRIES - 1, Descriptor::table(ipa));
}

/// Has the CPU itself translate `ipa` for an access, with stage 1 off for as long as that takes.
///
/// # Errors
///
/// As for [`zx::inspect::translate`].
pub fn translate(vmar: &Vmar, ipa: u64, access: AccessKind) -> Result<Translation> {
    let call = [Call::Stage2Translate.function_id().into(), vmar.register(), ipa, access.into()];
    Ok(Translation(arch::stage1::hvc_while_off(call).ok()?.x1))
}

/// Returns the root table as it is at boot.
pub(crate) const fn identity() -> [AtomicU64; ENTRIES] {
    let mut entries = [const { AtomicU64::new(Descriptor::INVALID.0) }; ENTRIES];
    let mut index = 0;
    while index < ENTRIES - 1 {
        entries[index] = AtomicU64::new(Descriptor::block((index as u64) << LEVEL_1_SHIFT).0);
        index += 1;
    }
    entries
}
