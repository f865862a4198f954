//! The host's side of the tests: a machine whose TLBs keep whatever they ever may, and the suites that run the hypervisor's
//! own crates on it.

mod faulty;
mod memory;
mod sim;
mod tables;
mod tlb;

pub use faulty::{Fault, Faulty};
pub use memory::Memory;
pub use sim::Sim;
pub use tables::SimTables;
pub use tlb::Seen;
