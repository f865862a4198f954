//! The words of the Arm architecture that stage-2 translation is made of: addresses, descriptors, geometry, invalidations,
//! barriers, syndromes. Pure values: nothing here touches a machine.
//!
//! Sources: the Arm Architecture Reference Manual for A-profile (DDI 0487); chapters are named where a value comes from one.
//! The granule is 4 KiB throughout.
#![no_std]
#![forbid(unsafe_code)]

mod address;
mod barrier;
mod descriptor;
mod entry;
mod features;
mod geometry;
mod level;
mod syndrome;
mod tlbi;

pub use address::{Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE};
pub use barrier::{Dc, Dsb};
pub use descriptor::Codec;
pub use entry::{Attributes, Dirty, Entry, Leaf, MemoryType, Perms};
pub use features::{BbmLevel, DirtyLevel, Features, IdRegisters};
pub use geometry::{Geometry, GeometryError, Vmid, vttbr};
pub use level::{ENTRIES, Level};
pub use syndrome::{Access, ExceptionClass, FaultKind, FaultStatus, Syndrome, fault_ipa};
pub use tlbi::{RangeOperand, Scope, Tlbi, range_operand};
