//! The part of dom0's RAM that Xen is asked to change, and the lists by which it is named.

use core::ops::Range;
use core::slice;

use peers::Failure;

use crate::hypercall::{self, Change, DomainId, Extent};
use crate::{BLOCK_PAGES, MOST};

/// Bytes in a page.
const PAGE_BYTES: u64 = 4096;
/// Bytes in a block.
const BLOCK_BYTES: u64 = BLOCK_PAGES * PAGE_BYTES;
/// The list and what foreign pages need beside it; in 2 MiB that are not changed.
const LISTS_BYTES: u64 = BLOCK_BYTES;
/// Blocks that are changed, before the pages.
const BLOCKS: u64 = 16;
/// Pages of another domain that are mapped at once.
const MOST_FOREIGN: usize = 512;

/// The end of the largest piece of RAM: the lists, blocks, and pages. Xen puts this program and the device tree at the start.
pub(crate) struct Arena {
    start: u64,
    list: &'static mut [u64],
}

impl Arena {
    /// Takes the end of `ram`.
    ///
    /// # Errors
    ///
    /// The length of `ram` in bytes, where it leaves too little for this program.
    pub(crate) fn new(ram: Range<u64>) -> Result<Self, Failure> {
        const NEEDED: u64 = LISTS_BYTES + BLOCKS * BLOCK_BYTES + MOST as u64 * PAGE_BYTES;
        /// How far from the start of RAM Xen may put the program and the device tree.
        const LOADED: u64 = 256 << 20;
        let start = (ram.end.saturating_sub(NEEDED)) / BLOCK_BYTES * BLOCK_BYTES;
        if start < ram.start.saturating_add(LOADED) {
            return Err(Failure::new("the largest piece of RAM is too small, in bytes", (ram.end - ram.start) as i64));
        }
        let list = core::ptr::with_exposed_provenance_mut(start as usize);
        // SAFETY: it is RAM of this domain's that Xen has put nothing in and nobody else here refers to; zero or not, every bit
        // pattern is a number.
        let list = unsafe { slice::from_raw_parts_mut(list, MOST) };
        Ok(Self { start, list })
    }

    /// Returns the first frame of a block.
    pub(crate) fn block(&self, index: u64) -> u64 {
        (self.start + LISTS_BYTES + index * BLOCK_BYTES) / PAGE_BYTES
    }

    /// Returns the first frame of the pages.
    pub(crate) fn pages(&self) -> u64 {
        self.block(BLOCKS)
    }

    /// Changes `n` extents of a domain from the frame `first` on, and returns the instructions.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub(crate) fn change(
        &mut self,
        change: Change,
        domain: DomainId,
        extent: Extent,
        first: u64,
        n: usize,
    ) -> Result<u64, Failure> {
        let pages = 1 << extent as u32;
        (0..).zip(&mut self.list[..n]).for_each(|(index, frame)| *frame = first + index * pages);
        // SAFETY: (1) they are another domain's, or this arena's behind the list.
        unsafe { hypercall::change(change, domain, extent, &self.list[..n]) }
    }

    /// Maps `n` pages of another domain from its frame `theirs` on at the frames from `ours` on, and returns the instructions.
    ///
    /// # Errors
    ///
    /// Xen's.
    pub(crate) fn map_foreign(&mut self, domain: DomainId, theirs: u64, ours: u64, n: usize) -> Result<u64, Failure> {
        let (indices, frames) = self.list.split_at_mut(n);
        (theirs..).zip(indices.iter_mut()).for_each(|(number, index)| *index = number);
        (ours..).zip(&mut frames[..n]).for_each(|(number, frame)| *frame = number);
        hypercall::map_foreign(domain, indices, &frames[..n], &mut [0; MOST_FOREIGN][..n])
    }
}
