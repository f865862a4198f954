//! Memory that a guest may be changing at the same time: copied word by word, never borrowed. Memory that nobody else sees. And words
//! of tables, in which walks may be setting flags.

use core::arch::asm;
use core::{array, ptr, slice};

use vmsa::Hpa;

const WORD: usize = size_of::<u64>();

/// Reads memory of the guest's.
///
/// # Safety
///
/// 1. The range is RAM that EL2 has mapped, and nothing of Rust's lives in it.
pub(super) unsafe fn copy_from(from: Hpa, into: &mut [u8]) {
    let mut at = from.0 as usize;
    let head = at.wrapping_neg() % WORD;
    let (head, rest) = into.split_at_mut(head.min(into.len()));
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    for byte in head {
        // SAFETY: (1); volatile, for another may write it meanwhile.
        *byte = unsafe { ptr::with_exposed_provenance::<u8>(at).read_volatile() };
        at += 1;
    }
    for word in words {
        // SAFETY: (1), and the head has brought it to a multiple of a word.
        *word = unsafe { ptr::with_exposed_provenance::<u64>(at).read_volatile() }.to_ne_bytes();
        at += WORD;
    }
    for byte in tail {
        // SAFETY: (1).
        *byte = unsafe { ptr::with_exposed_provenance::<u8>(at).read_volatile() };
        at += 1;
    }
}

/// Writes memory of the guest's.
///
/// # Safety
///
/// 1. The range is RAM that EL2 has mapped, and nothing of Rust's lives in it.
pub(super) unsafe fn copy_to(to: Hpa, from: &[u8]) {
    let mut at = to.0 as usize;
    let head = at.wrapping_neg() % WORD;
    let (head, rest) = from.split_at(head.min(from.len()));
    let (words, tail) = rest.as_chunks::<WORD>();
    for byte in head {
        // SAFETY: (1); volatile, for another may read it meanwhile.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(at).write_volatile(*byte) };
        at += 1;
    }
    for word in words {
        // SAFETY: (1), and the head has brought it to a multiple of a word.
        unsafe { ptr::with_exposed_provenance_mut::<u64>(at).write_volatile(u64::from_ne_bytes(*word)) };
        at += WORD;
    }
    for byte in tail {
        // SAFETY: (1).
        unsafe { ptr::with_exposed_provenance_mut::<u8>(at).write_volatile(*byte) };
        at += 1;
    }
}

/// Writes adjacent words: `first`, and others each `step` more than the one before.
///
/// # Safety
///
/// 1. The words are RAM that EL2 has mapped, and nothing of Rust's lives in it.
/// 2. Nobody else reads or writes them meanwhile.
pub(super) unsafe fn fill(at: Hpa, count: u64, first: u64, step: u64) {
    let start = ptr::with_exposed_provenance_mut::<u64>(at.0 as usize);
    // SAFETY: (1) and (2); whatever they hold is a number.
    let words = unsafe { slice::from_raw_parts_mut(start, count as usize) };
    let (many, rest) = words.as_chunks_mut::<16>();
    let mut word = first;
    // Sixteen at a time are stored in pairs: 2 instructions a word instead of 4.
    for sixteen in many {
        *sixteen = array::from_fn(|number| word + number as u64 * step);
        word += 16 * step;
    }
    for last in rest {
        *last = word;
        word += step;
    }
}

/// Flips bits of a word that others may be changing, in one instruction, and after everything that this CPU did before.
///
/// # Safety
///
/// 1. The CPU has FEAT_LSE.
/// 2. The word is RAM that EL2 has mapped, and is only ever accessed as an atomic.
#[inline]
pub(super) unsafe fn flip(at: Hpa, bits: u64) {
    // SAFETY: (1) and (2).
    unsafe {
        asm!(
            ".arch_extension lse",
            "steorl {bits}, [{at}]",
            ".arch_extension nolse",
            bits = in(reg) bits,
            at = in(reg) at.0,
            options(nostack, preserves_flags),
        );
    }
}

/// Makes a word 0 that others may be changing, in one instruction, and after everything that this CPU did before.
///
/// # Safety
///
/// As for [`flip`].
#[inline]
pub(super) unsafe fn erase(at: Hpa) {
    // SAFETY: (1) and (2).
    unsafe {
        asm!(
            ".arch_extension lse",
            "stclrl {bits}, [{at}]",
            ".arch_extension nolse",
            bits = in(reg) u64::MAX,
            at = in(reg) at.0,
            options(nostack, preserves_flags),
        );
    }
}
