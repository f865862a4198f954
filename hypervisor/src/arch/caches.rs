//! Cache maintenance by address, and zeroing by the line (DDI 0487, "A64 System instructions for cache maintenance").

use core::arch::asm;

use vmsa::{Dc, Hpa, PAGE_SIZE};

/// Maintains the lines of `len` bytes from `start`, of `line` bytes each, without waiting for it.
///
/// # Safety
///
/// 1. The range is RAM that EL2 has mapped.
pub(super) unsafe fn maintain(line: u64, start: Hpa, len: u64, op: Dc) {
    let mut at = start.0 & !(line - 1);
    while at < start.0 + len {
        match op {
            // SAFETY: (1) makes the address one that translates; writing lines back changes no contents.
            Dc::Clean => unsafe { asm!("dc cvac, {}", in(reg) at, options(nostack, preserves_flags)) },
            // SAFETY: as above.
            Dc::CleanInvalidate => unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) },
        }
        at += line;
    }
}

/// Has every CPU forget the instructions that it has fetched, without waiting for it.
pub(super) fn invalidate_instructions() {
    // SAFETY: instructions are fetched again from memory.
    unsafe { asm!("ic ialluis", options(nostack, preserves_flags)) };
}

/// Returns how many bytes `DC ZVA` zeroes, where it may be used (DCZID_EL0: BS is the base-two logarithm of words, DZP bit 4).
pub(super) fn zeroing_block() -> Option<u64> {
    let dczid: u64;
    // SAFETY: reads an ID register.
    unsafe { asm!("mrs {}, dczid_el0", out(reg) dczid, options(nomem, nostack, preserves_flags)) };
    (dczid & 1 << 4 == 0).then_some(4 << (dczid & 0xf))
}

/// Zeroes pages by `DC ZVA`, of `block` bytes each.
///
/// # Safety
///
/// 1. The pages are RAM that EL2 has mapped, and nothing of Rust's lives in them.
/// 2. `block` is what [`zeroing_block`] told.
pub(super) unsafe fn zero_pages(frame: Hpa, pages: u64, block: u64) {
    let end = frame.0 + pages * PAGE_SIZE;
    let mut at = frame.0;
    while at < end {
        // SAFETY: (1) makes it memory that may be overwritten; (2) keeps the last block within the last page.
        unsafe { asm!("dc zva, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += block;
    }
}
