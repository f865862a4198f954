//! `hypervisor/vm` on the simulated machine: calls as a guest makes them, and what its accesses find.

mod chaos;
mod children;
mod chunks;
mod faults;
mod guest;
mod handles;
mod loads;
mod memory;
mod op_range;
mod pins;
mod races;
mod unmap;
mod vmar;
