//! A VM's stage-2 translation tables: looked at, changed, and never in a state that the architecture forbids.
//!
//! - [`Mmu`] is all that this crate asks of a machine; [`Tables`] is where its tables come from.
//! - [`Stage2`] is one tree. Each of its operations takes a range, and is complete when it returns: what it made is visible to
//!   every CPU's walks, what it broke is in no CPU's TLB. Tables are walked twice only where something was prepared, or waits.
//! - `walk` holds the one walker. `change` holds the only code that writes to a live table, and its types allow a live entry
//!   to be replaced only after it was broken and invalidated; its `run` does so to many entries at once. `edit` holds the rules of what may be changed without that,
//!   `gather` collects what was broken, `invalidate` has one invalidation for all of it.
//! - Leaves are blocks of 1 GiB and 2 MiB, pages, and groups of 16 of each with the contiguous hint. `ops` decides what
//!   becomes of a leaf, `size` splits and joins them, `fill` makes tables before anybody sees them, `merge` finds those that
//!   became alike.
//! - [`Vmids`] gives trees their VMIDs, and takes them all back when there are no more.
//!
//! The caller serialises operations on one tree (a lock around the `Stage2`). Rules are cited as in the Arm Architecture
//! Reference Manual (DDI 0487), section D8.14 "TLB maintenance" and D8.13 "break-before-make".
#![no_std]
#![forbid(unsafe_code)]

mod change;
mod edit;
mod fill;
mod gather;
mod invalidate;
mod merge;
mod mmu;
mod ops;
mod size;
mod spoiled;
mod stats;
mod tree;
mod vmid;
mod walk;

pub use edit::OutOfTables;
pub use gather::Flushed;
pub use invalidate::{Invalidation, invalidation_for};
pub use mmu::{Mmu, Order, Tables};
pub use ops::{Run, Touched};
pub use stats::Stats;
pub use tree::{Stage2, Walk};
pub use vmid::Vmids;
