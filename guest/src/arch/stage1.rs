//! The root table of stage 1.

use crate::stage1::{Descriptor, ENTRIES, identity};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use zx::sys::Registers;

/// A table, aligned as `TTBR0_EL1` wants it. The hardware reads it at any time, so that its entries are atomics.
#[repr(C, align(4096))]
pub(super) struct Table([AtomicU64; ENTRIES]);

/// The table that `TTBR0_EL1` holds.
pub(super) static ROOT: Table = Table(identity());

/// Writes an entry that was invalid before, which needs no invalidation.
pub(crate) fn store_root_entry(index: usize, descriptor: Descriptor) {
    ROOT.0[index].store(descriptor.0, Ordering::Relaxed);
    // SAFETY: barriers change nothing. The first makes this entry, and those of the tables that it leads to, visible to
    // the table walker; the second keeps later accesses from having been translated before.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Executes `HVC #0` with the given `x0` to `x3` while stage 1 is off.
pub(crate) fn hvc_while_off([mut x0, mut x1, mut x2, mut x3]: [u64; 4]) -> Registers {
    // SAFETY: stage 1 maps every address to itself, so that the block's instructions are where they were; it makes no access to
    // memory meanwhile, which caches could hold another value for. HVC changes x0-x3 and, as the block does not deny it, memory.
    unsafe {
        asm!(
            "mrs {on}, sctlr_el1",
            "bic {off}, {on}, #1",
            "msr sctlr_el1, {off}",
            "isb",
            "hvc #0",
            "msr sctlr_el1, {on}",
            "isb",
            on = out(reg) _, off = out(reg) _,
            inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
            options(nostack, preserves_flags),
        );
    }
    Registers { x0, x1, x2, x3 }
}
