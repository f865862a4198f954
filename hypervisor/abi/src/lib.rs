//! The hypercall contract as types: what a guest and the hypervisor must agree on, and nothing else.
//!
//! Calling convention: `HVC #0` from EL1, SMC Calling Convention 1.2, 64-bit fast calls. `x0` holds the function id
//! ([`Call::function_id`]), `x1`–`x8` the arguments; on return `x0` holds a [`Status`], sign-extended, and `x1`–`x3` the
//! results that the call names. Every other register is preserved.
//!
//! Numbers, rights, options, operations and structures are Zircon's own, so that code written for Zircon keeps its meaning.
//! "Process address space" reads as *this VM's guest-physical (IPA) space*, and "CPU page tables" as *the VM's stage-2 tables*.
#![no_std]
#![forbid(unsafe_code)]

mod call;
mod handle;
mod info;
mod options;
mod rights;
mod status;

pub mod smccc;
pub mod stats;

pub use call::{AccessKind, Call, Startup, VENDOR_BASE};
pub use handle::{KOID_INVALID, ObjectType, RawHandle};
pub use info::{
    INFO_VMO_SIZES, InfoHandleBasic, InfoHandleCount, InfoMaps, InfoVmar, InfoVmo, MapsType, NAME_LEN, Property,
    Signals, Topic, VmarOp, VmoInfoFlags, VmoLockState, VmoOp,
};
pub use options::{Alignment, CachePolicy, ChildOptions, PinOptions, VmOptions, VmoOptions};
pub use rights::Rights;
pub use status::{Result, Status};

/// The base-two logarithm of the page size.
pub const PAGE_SHIFT: u32 = 12;

/// The page size, in bytes. Nothing is mapped, committed or protected in smaller units.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// The IPA at which a VM's RAM begins.
pub const RAM_BASE: u64 = 0x4000_0000;

/// The bytes at the end of the RAM that hold the guest's device tree when it starts.
pub const DEVICE_TREE_SPAN: u64 = 2 << 20;
