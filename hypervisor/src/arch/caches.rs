//! Cache maintenance by address, and zeroing by the line (DDI 0487, "A64 System instructions for cache maintenance").

use core::arch::asm;

use vmsa::{Dc, Hpa, PAGE_SIZE};

use super::cpu::read_register;

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

/// How this machine zeroes memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Zeroing {
    /// By the memory set instructions (FEAT_MOPS), whatever the length.
    Set,
    /// By `DC ZVA`, of so many bytes each.
    Blocks(u64),
    /// By stores.
    Stores,
}

impl Zeroing {
    /// How many blocks are zeroed between two looks at where the end is: 145 instructions a page, and not 275.
    const UNROLLED: u64 = 8;

    /// Returns the best that the CPUs can do. ID_AA64ISAR2_EL1: MOPS, bits 19 to 16. DCZID_EL0: BS is the base-two logarithm of
    /// words, DZP bit 4.
    pub(super) fn of_this_machine() -> Self {
        let (isar2, dczid) = (read_register!("id_aa64isar2_el1"), read_register!("dczid_el0"));
        let block = 4 << (dczid & 0xf);
        match dczid & 1 << 4 {
            _ if isar2 >> 16 & 0xf != 0 => Self::Set,
            0 if block <= PAGE_SIZE / Self::UNROLLED => Self::Blocks(block),
            _ => Self::Stores,
        }
    }

    /// Zeroes pages.
    ///
    /// # Safety
    ///
    /// 1. The pages are RAM that EL2 has mapped, and nothing of Rust's lives in them.
    pub(super) unsafe fn zero(self, frame: Hpa, pages: u64) {
        let len = pages * PAGE_SIZE;
        match self {
            // SAFETY: (1) makes it memory that may be overwritten, and the registers say how much; the CPU has the instructions.
            Self::Set => unsafe {
                asm!(
                    ".arch_extension mops",
                    "setp [{at}]!, {len}!, xzr",
                    "setm [{at}]!, {len}!, xzr",
                    "sete [{at}]!, {len}!, xzr",
                    at = inout(reg) frame.0 => _, len = inout(reg) len => _, options(nostack),
                );
            },
            // SAFETY: as above: eight blocks are a page or a part of one.
            Self::Blocks(block) => unsafe {
                asm!(
                    "2:",
                    ".rept {unrolled}",
                    "dc zva, {at}",
                    "add {at}, {at}, {block}",
                    ".endr",
                    "cmp {at}, {end}",
                    "b.lo 2b",
                    at = inout(reg) frame.0 => _, end = in(reg) frame.0 + len, block = in(reg) block,
                    unrolled = const Self::UNROLLED, options(nostack),
                );
            },
            Self::Stores => {
                let start = core::ptr::with_exposed_provenance_mut::<u8>(frame.0 as usize);
                // SAFETY: as above; zeros are valid bytes.
                unsafe { start.write_bytes(0, len as usize) };
            }
        }
    }
}
