//! `hypervisor/vm` on the simulated machine: calls as a guest makes them, and what its accesses find.

mod chaos;
mod guest;
mod handles;
mod memory;
mod op_range;
mod races;
mod unmap;
mod vmar;
