//! Memory that a guest may be changing at the same time: copied word by word, never borrowed.

use core::ptr;

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
