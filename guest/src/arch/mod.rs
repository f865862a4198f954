//! The instructions and registers of AArch64: all `unsafe` of this crate.

mod entry;
mod vectors;

pub(crate) mod counter;
pub(crate) mod probe;
pub(crate) mod simd;
pub(crate) mod stage1;

/// Returns where a second vCPU begins.
pub(crate) fn second_entry() -> u64 {
    entry::start_second as *const () as u64
}

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
}

/// Returns where the program begins and ends, as the linker script says.
pub(crate) fn image_bounds() -> (u64, u64) {
    ((&raw const __image_start).addr() as u64, (&raw const __image_end).addr() as u64)
}
