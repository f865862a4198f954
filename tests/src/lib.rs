//! The host's side of the tests: a machine whose TLBs keep whatever they ever may, and the suites that run the hypervisor's
//! own crates on it.

mod access;
mod contexts;
mod fact;
mod faulty;
pub mod fuzz;
mod guest;
mod machine;
mod memory;
mod mmu;
mod named;
mod rules;
mod said;
mod sim;
mod state;
mod store;
mod tables;
mod tlb;
mod view;
mod walker;

pub use faulty::{Fault, Faulty};
pub use guest::{Answer, Guest};
pub use memory::Memory;
pub use mmu::put_in_use;
pub use sim::Sim;
pub use tables::{CheckedTables, SimTables};
pub use walker::Seen;
