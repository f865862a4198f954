//! A simulated machine's RAM: memory of this process, at addresses that serve as the physical ones.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use vm::MemoryRange;
use vmsa::Hpa;

/// The alignment of the RAM: a chunk of 2 MiB.
const ALIGN: usize = 2 << 20;

/// RAM. What was never touched costs nothing: the allocation is not aligned, for one that is would be zeroed byte by byte.
#[derive(Debug)]
pub struct Memory {
    allocation: NonNull<u8>,
    layout: Layout,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to this value, and whoever shares it uses atomics or has locks of their own.
unsafe impl Send for Memory {}
// SAFETY: the same.
unsafe impl Sync for Memory {}

impl Memory {
    /// Returns `bytes` of RAM, all zero.
    pub fn new(bytes: usize) -> Self {
        assert!(bytes > 0);
        let layout = Layout::array::<u64>((bytes + ALIGN) / size_of::<u64>()).expect("a size that can be");
        // SAFETY: the size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        let allocation = NonNull::new(pointer).expect("the host has that much memory");
        let offset = allocation.align_offset(ALIGN);
        // SAFETY: the offset is less than the alignment, by which the allocation is larger than the RAM.
        let base = unsafe { allocation.add(offset) };
        base.as_ptr().expose_provenance();
        Self { allocation, layout, base, len: bytes }
    }

    /// Returns where the RAM is.
    pub fn range(&self) -> MemoryRange {
        let start = Hpa(self.base.addr().get() as u64);
        MemoryRange { start, end: start.add(self.len as u64) }
    }

    /// Tells whether a page lies in the RAM.
    pub fn holds(&self, page: Hpa) -> bool {
        (self.range().start..self.range().end).contains(&page)
    }

    /// Returns the 64-bit word at `address`.
    pub fn word(&self, address: Hpa) -> u64 {
        self.atomic(address).load(Ordering::Relaxed)
    }

    /// Sets the 64-bit word at `address`.
    pub fn set_word(&self, address: Hpa, word: u64) {
        self.atomic(address).store(word, Ordering::Relaxed);
    }

    /// Copies from the RAM.
    pub fn read(&self, from: Hpa, into: &mut [u8]) {
        let source = self.pointer(from, into.len());
        // SAFETY: `pointer` has checked that the source lies in the RAM, which no reference of Rust's leads to.
        unsafe { source.copy_to(NonNull::from(&mut *into).cast(), into.len()) };
    }

    /// Copies to the RAM.
    pub fn write(&self, to: Hpa, from: &[u8]) {
        let target = self.pointer(to, from.len());
        // SAFETY: as above, for the target.
        unsafe { target.copy_from(NonNull::from(from).cast(), from.len()) };
    }

    /// Zeroes `len` bytes of the RAM.
    pub fn zero(&self, at: Hpa, len: usize) {
        let target = self.pointer(at, len);
        // SAFETY: as above, for the target.
        unsafe { target.write_bytes(0, len) };
    }

    fn pointer(&self, at: Hpa, len: usize) -> NonNull<u8> {
        let offset = at.0.checked_sub(self.base.addr().get() as u64).expect("an address of RAM") as usize;
        assert!(offset + len <= self.len, "{at} is past the end of RAM");
        // SAFETY: the offset lies in the allocation.
        unsafe { self.base.add(offset) }
    }

    fn atomic(&self, at: Hpa) -> &AtomicU64 {
        assert!(at.0.is_multiple_of(8), "{at} is no word's address");
        let pointer = self.pointer(at, 8).cast::<AtomicU64>();
        // SAFETY: in bounds and aligned; the memory lives as long as `self`.
        unsafe { pointer.as_ref() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the pointer and the layout are those of the allocation.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) };
    }
}
