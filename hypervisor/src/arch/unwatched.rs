//! The machine without an oracle: the benchmark's.

use hypervisor::region::Regions;
use vm::System;
use vmsa::Hpa;

use super::mmu::RealMmu;
use super::ram::memory_ranges;

/// The machine as it is.
pub(crate) type Watched = RealMmu;

/// A trace, which this build cannot write.
pub(crate) enum Recorder {}

/// Finds nothing to write a trace to.
pub(crate) fn open_recorder(_: impl Iterator<Item = Hpa>) -> Option<Recorder> {
    None
}

/// Makes a system of what is free of the RAM, or returns `None` where that is too little.
///
/// # Safety
///
/// 1. The regions in `free` are RAM that EL2 has mapped, that do not overlap, and that nobody uses.
pub(crate) unsafe fn new_system(
    _ram: &Regions,
    free: &Regions,
    _cpus: u32,
    _recorder: Option<Recorder>,
) -> Option<System<Watched>> {
    let store = memory_ranges(free);
    let ranges = store.get(..free.as_slice().len())?;
    // SAFETY: both duties are (1); RAM stays mapped for good, and no allocation of Rust's gave the addresses a provenance.
    unsafe { System::new(RealMmu::new(), ranges) }
}
