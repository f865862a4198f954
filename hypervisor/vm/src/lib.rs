//! Zircon's objects over stage-2 tables: handles, VMARs, mappings, VMOs, and the frames that they are made of. What an Arm CPU
//! is asked for is behind [`Machine`].
//!
//! [`System`] is all of it; [`System::handler`] finds what carries out a guest's vendor call, [`System::fault`] serves a guest's
//! access that the tables did not allow. [`Machine`] is what it asks of the machine, so that all of it runs on a host, unchanged.
//!
//! Nothing here allocates in a way that could abort: trees and lists are intrusive, their nodes come from frames, and running
//! out is NO_MEMORY with everything as it was. A guest mistake is a status; a panic is a broken invariant of ours.
#![no_std]

mod arena;
mod caches;
mod calls;
mod children;
mod config;
mod error;
mod fault;
mod frame_lists;
mod frames;
mod handles;
mod links;
mod loads;
mod locks;
mod machine;
mod memory;
mod pages;
mod pins;
mod radix;
mod random;
mod region;
mod shape;
mod slabs;
mod space;
mod spots;
mod supply;
mod system;
mod told;
mod tree;
mod user;
mod vmar;
mod vmo;
mod vmo_ops;

pub use abi::Status;
pub use calls::{Handler, Outcome};
pub use config::{ConfigError, Dialect, VmConfig};
pub use fault::Fault;
pub use frames::MemoryRange;
pub use machine::Machine;
pub use system::{System, VmId};
pub use told::{ExitCause, Lock, Owner, Taken, Work};
