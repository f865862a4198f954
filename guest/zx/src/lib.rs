//! What a guest asks of Stagecraft, in the manner of Fuchsia's `zx` crate: [`Vmar`]s, [`Vmo`]s and [`Vm`]s behind owned
//! handles, options and operations as types, and errors as [`Status`].
//!
//! Each function makes one hypercall of the contract in `abi`, and says which of Zircon's calls that is. `# Errors` name what a
//! call may be refused for, the handles first; of several reasons the one whose check comes first is told, in Zircon's order.
//! Buffers are memory of the caller's, and are taken to be mapped: what is said of bad ones is for those who pass addresses.
//! Addresses are the guest's physical addresses (IPAs); the first page of the root VMAR is IPA 0.
//!
//! # Safety
//!
//! A call can unmap, decommit and overwrite any page of the VM, the caller's own among them, and yet nothing here is an
//! `unsafe fn`. Such memory is named by a number and changes behind the program's back, as it does under a process that
//! writes to its `/proc/self/mem`: which pages back a program is a condition of its running at all, and not something
//! that the language speaks of. Where a call fills memory that Rust knows of, it takes a `&mut` to it.
#![no_std]

mod child;
mod handle;
mod info;
mod pin;
mod process;
mod property;
mod vm;
mod vmar;
mod vmo;

pub mod inspect;
pub mod platform;
pub mod sys;

pub use abi::{
    Alignment, CachePolicy, ChildOptions, InfoHandleBasic, InfoMaps, InfoVmar, InfoVmo, MapsType, ObjectType,
    PAGE_SIZE, PinOptions, RawHandle, Result, Rights, Signals, Status, Topic, VmOptions, VmarOp, VmoInfoFlags,
    VmoLockState, VmoOp, VmoOptions,
};
pub use handle::{Handle, Object, Unowned, close_many};
pub use info::{Listed, Record};
pub use pin::{Bti, Pmt, Resource};
pub use process::{clock_get_monotonic_ns, debug_read, debug_write, exit, nanosleep_until_ns, yield_now};
pub use property::{Name, Waited};
pub use vm::Vm;
pub use vmar::Vmar;
pub use vmo::Vmo;
