//! `hypervisor/vm` on the simulated machine: calls as a guest makes them, and what its accesses find.

mod chaos;
mod children;
mod chunks;
mod faults;
mod fusing;
mod fuzz;
mod guest;
mod handles;
mod loads;
mod maps;
mod memory;
mod op_range;
mod order;
mod pins;
mod placement;
mod protections;
mod races;
mod shortage;
mod unmap;
mod vmar;
