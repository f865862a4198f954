//! A look at the VM's own stage-2 tables, which a VM has when its boot arguments say `inspect=on`.

use crate::sys::{address_of_mut, hypercall};
use crate::{Object, Vm, Vmar};
use abi::stats::{COUNT, Counter};
use abi::{AccessKind, Call, Result};
use core::ops::Index;

/// The level of the tables whose entries map pages.
const LEAF_LEVEL: u64 = 3;
/// The bits of an address that choose an entry of a table.
const BITS_PER_LEVEL: u64 = 9;

/// A stage-2 descriptor that ends a walk (DDI 0487, "VMSAv8-64 descriptor formats", stage 2 with the 4 KiB granule).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

impl Descriptor {
    const VALID: u64 = 1 << 0;
    const S2AP_READ: u64 = 1 << 6;
    const S2AP_WRITE: u64 = 1 << 7;
    const AF: u64 = 1 << 10;
    const CONTIGUOUS: u64 = 1 << 52;
    const OUTPUT_ADDRESS: u64 = 0x0000_ffff_ffff_f000;
    /// `XN[1:0]`: with FEAT_XNX, 0b00 alone leaves both EL1 and EL0 free to execute; without it, bit 53 is RES0.
    const XN: u64 = 0b11 << 53;

    /// Tells whether the entry maps anything.
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// Tells whether stage 2 lets the guest read.
    pub const fn is_readable(self) -> bool {
        self.is_valid() && self.0 & Self::S2AP_READ != 0
    }

    /// Tells whether stage 2 lets the guest write.
    pub const fn is_writable(self) -> bool {
        self.is_valid() && self.0 & Self::S2AP_WRITE != 0
    }

    /// Tells whether stage 2 lets the guest execute at EL1 and EL0.
    pub const fn is_executable(self) -> bool {
        self.is_valid() && self.0 & Self::XN == 0
    }

    /// Tells whether the access flag is set.
    pub const fn is_accessed(self) -> bool {
        self.is_valid() && self.0 & Self::AF != 0
    }

    /// Tells whether the entry is one of 16 that translate as one.
    pub const fn is_contiguous(self) -> bool {
        self.is_valid() && self.0 & Self::CONTIGUOUS != 0
    }

    /// Returns the number of the first physical page that the entry leads to.
    pub const fn output_page(self) -> u64 {
        (self.0 & Self::OUTPUT_ADDRESS) >> abi::PAGE_SHIFT
    }
}

/// The end of a walk of the stage-2 tables.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Walk {
    /// The descriptor that ends the walk; 0 where there is none.
    pub descriptor: Descriptor,
    /// The level at which the walk ends.
    pub level: u64,
    /// The physical page number of the table that holds the descriptor.
    pub table_page: u64,
}

impl Walk {
    /// Returns the number of the physical page in which `address` lies, to which the walk led.
    pub const fn page_of(self, address: u64) -> u64 {
        let pages_below = 1 << (BITS_PER_LEVEL * (LEAF_LEVEL - self.level));
        self.descriptor.output_page() + (address >> abi::PAGE_SHIFT) % pages_below
    }
}

/// Walks the stage-2 tables to `address`.
///
/// # Errors
///
/// - ACCESS_DENIED: no `inspect=on`, or a handle without INSPECT. BAD_HANDLE, WRONG_TYPE.
/// - OUT_OF_RANGE: the address is not in the region.
pub fn walk(vmar: &Vmar, address: u64) -> Result<Walk> {
    let registers = hypercall(Call::Stage2Walk, [vmar.register(), address]).ok()?;
    Ok(Walk { descriptor: Descriptor(registers.x1), level: registers.x2, table_page: registers.x3 })
}

/// What the CPU itself made of an address: `PAR_EL1` after an `AT` of both stages (DDI 0487, "PAR_EL1").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub struct Translation(pub u64);

impl Translation {
    /// F: there was a fault.
    const FAULT: u64 = 1 << 0;
    /// S: it was stage 2's.
    const STAGE_2: u64 = 1 << 9;
    /// PA\[51:12\], where there was none.
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

    /// Returns the number of the physical page, or the status code of stage 2's fault.
    ///
    /// # Panics
    ///
    /// The fault is stage 1's, which was off.
    pub fn page(self) -> core::result::Result<u64, u8> {
        if self.0 & Self::FAULT == 0 {
            return Ok((self.0 & Self::ADDRESS) >> abi::PAGE_SHIFT);
        }
        assert!(self.0 & Self::STAGE_2 != 0, "a fault of stage 1: {self:x?}");
        Err((self.0 >> 1) as u8 & 0x3f)
    }
}

/// Has the CPU translate `address` for an access of this vCPU at EL1. It does so only while stage 1 is off.
///
/// # Errors
///
/// As [`walk`]; BAD_STATE: stage 1 is on.
pub fn translate(vmar: &Vmar, address: u64, access: AccessKind) -> Result<Translation> {
    let registers = hypercall(Call::Stage2Translate, [vmar.register(), address, access.into()]).ok()?;
    Ok(Translation(registers.x1))
}

/// What was done to the VM's stage-2 tables since the VM was created.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats([u64; COUNT]);

impl Stats {
    /// Returns all invalidations of stage-2 entries: by page, by range and by VMID.
    pub fn stage2_tlbis(&self) -> u64 {
        self[Counter::TlbiIpa] + self[Counter::TlbiRange] + self[Counter::TlbiVmid]
    }

    /// Returns by how much each counter grew since `earlier`; 0 for one that fell.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(core::array::from_fn(|index| self.0[index].saturating_sub(earlier.0[index])))
    }
}

impl Index<Counter> for Stats {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

/// Reads the counters of `vm`.
///
/// # Errors
///
/// ACCESS_DENIED: no `inspect=on`, or a handle without INSPECT. BAD_HANDLE, WRONG_TYPE.
pub fn stats(vm: &Vm) -> Result<Stats> {
    let mut stats = Stats::default();
    let buffer = address_of_mut(&mut stats);
    hypercall(Call::Stage2Stats, [vm.register(), buffer, size_of::<Stats>() as u64]).ok()?;
    Ok(stats)
}
