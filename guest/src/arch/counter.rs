//! The counter.

use core::arch::asm;

/// Reads CNTVCT_EL0, after everything that comes before it in the program.
pub(crate) fn read() -> u64 {
    let count;
    // SAFETY: it reads a register; nothing that is done to memory moves past it, for the block does not deny that it looks there.
    unsafe { asm!("isb", "mrs {count}, cntvct_el0", count = out(reg) count, options(nostack, preserves_flags)) };
    count
}
