//! The root table of stage 1.

use crate::stage1::{Descriptor, ENTRIES, identity};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

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
