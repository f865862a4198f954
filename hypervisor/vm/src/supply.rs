//! Where an operation gets its memory: whose account pays, and what is done to a frame before somebody else sees it.

use core::sync::atomic::AtomicU64;

use stage2::{Flushed, Tables};
use vmsa::Hpa;

use crate::Machine;
use crate::frames::{Account, CHUNK_BYTES, CHUNK_FRAMES, FrameList, Frames, Use};

/// How many words a node has.
pub(crate) const NODE_WORDS: usize = 512;

/// A frame of the hypervisor's bookkeeping, as words that everybody may look at.
pub(crate) type Node = [AtomicU64; NODE_WORDS];

/// Memory for one operation, and the account that it is charged to.
pub(crate) struct Supply<'a, M> {
    pub(crate) machine: &'a M,
    pub(crate) frames: &'a Frames,
    pub(crate) account: &'a Account,
}

impl<M> Clone for Supply<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Supply<'_, M> {}

impl<'a, M: Machine> Supply<'a, M> {
    /// Takes a frame that reads as zero.
    pub(crate) fn take(self, used_as: Use) -> Option<Hpa> {
        let frame = self.frames.allocate(used_as, self.account)?;
        self.machine.zero(frame, 1);
        Some(frame)
    }

    /// Gives a frame back that nobody else can reach.
    pub(crate) fn give(self, frame: Hpa) {
        self.machine.given_back(frame, 1);
        self.frames.free(frame, self.account);
    }

    /// Takes adjacent frames that read as zero, the first aligned to 2^`align_log2` bytes.
    pub(crate) fn take_run(self, count: u64, align_log2: u32, used_as: Use) -> Option<Hpa> {
        let first = self.frames.allocate_run(count, align_log2, used_as, self.account)?;
        self.machine.zero(first, count);
        Some(first)
    }

    /// Gives a run back that nobody else can reach.
    pub(crate) fn give_run(self, first: Hpa, count: u64) {
        self.machine.given_back(first, count);
        self.frames.free_run(first, count, self.account);
    }

    /// Takes a whole chunk that reads as zero: what a level-2 block can map.
    pub(crate) fn take_chunk(self, used_as: Use) -> Option<Hpa> {
        self.take_run(CHUNK_FRAMES, CHUNK_BYTES.trailing_zeros(), used_as)
    }

    /// Gives the frames of a list back, against the proof that no CPU can reach them.
    pub(crate) fn give_list(self, list: FrameList, _proof: Flushed) {
        list.drain(self.frames, |first, count| match count {
            1 => self.give(first),
            _ => self.give_run(first, count),
        });
    }
}

/// Looks at a frame that was taken as [`Use::Node`] and is used as words.
pub(crate) fn node<'a>(frame: Hpa) -> &'a Node {
    let pointer = core::ptr::with_exposed_provenance::<Node>(frame.0 as usize);
    // SAFETY: the frame was taken for a node of words and is not given back while its structure leads to it; by the duties of
    // `Frames::new` it is seen at its physical address; words are atomics, so that any number of looks may overlap.
    unsafe { &*pointer }
}

impl<M: Machine> Tables for Supply<'_, M> {
    fn allocate(&mut self) -> Option<Hpa> {
        self.take(Use::Table)
    }

    fn free(&mut self, table: Hpa) {
        self.give(table);
    }

    fn live_entries(&self, table: Hpa) -> u16 {
        self.frames.record(table).count()
    }

    fn set_live_entries(&mut self, table: Hpa, count: u16) {
        self.frames.record(table).set_count(count);
    }

    fn next(&self, table: Hpa) -> Option<Hpa> {
        self.frames.next(table)
    }

    fn set_next(&mut self, table: Hpa, next: Option<Hpa>) {
        self.frames.set_next(table, next);
    }
}
