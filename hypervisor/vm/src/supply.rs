//! Where an operation gets its memory: whose account pays, and what is done to a frame before somebody else sees it.

use core::sync::atomic::AtomicU64;

use stage2::{Flushed, Tables};
use vmsa::{Dc, Dsb, Hpa, PAGE_SIZE};

use crate::Machine;
use crate::frame_lists::FrameList;
use crate::frames::{Account, CHUNK_BYTES, CHUNK_FRAMES, Frames, Use};
use crate::system::VmId;
use crate::told::{Owner, Taken};

/// How many words a node has.
pub(crate) const NODE_WORDS: usize = 512;

/// A frame of the hypervisor's bookkeeping, as words that everybody may look at.
pub(crate) type Node = [AtomicU64; NODE_WORDS];

/// Memory for one operation, and the account that it is charged to.
pub(crate) struct Supply<'a, M> {
    pub(crate) machine: &'a M,
    pub(crate) frames: &'a Frames,
    pub(crate) account: &'a Account,
    /// Whose account it is, and whose the pages are.
    pub(crate) vm: VmId,
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
        let frame = self.frames.allocate(used_as, self.account, self.machine.cpu())?;
        self.prepare(frame, 1, used_as);
        Some(frame)
    }

    /// Takes a page with the contents of another one, which nobody writes to.
    pub(crate) fn take_copy(self, original: Hpa) -> Option<Hpa> {
        let frame = self.take(Use::Page)?;
        self.machine.copy(frame, original);
        Some(frame)
    }

    /// Gives a frame back that nobody else can reach. Not inlined: most who call it give back what they had no use for.
    #[inline(never)]
    pub(crate) fn give(self, frame: Hpa) {
        self.forget_lines([(frame, 1)]);
        self.machine.told_given_back(frame, 1);
        self.frames.free(frame, self.account, self.machine.cpu());
    }

    /// Takes adjacent frames that read as zero, the first aligned to 2^`align_log2` bytes.
    pub(crate) fn take_run(self, count: u64, align_log2: u32, used_as: Use) -> Option<Hpa> {
        let first = self.frames.allocate_run(count, align_log2, used_as, self.account)?;
        self.prepare(first, count, used_as);
        Some(first)
    }

    /// Gives a run back that nobody else can reach.
    pub(crate) fn give_run(self, first: Hpa, count: u64) {
        self.forget_lines([(first, count)]);
        self.give_forgotten_run(first, count);
    }

    /// Takes a whole chunk that reads as zero: what a level-2 block can map.
    pub(crate) fn take_chunk(self, used_as: Use) -> Option<Hpa> {
        self.take_run(CHUNK_FRAMES, CHUNK_BYTES.trailing_zeros(), used_as)
    }

    /// Gives the frames of a list back, against the proof that no CPU can reach them.
    pub(crate) fn give_list(self, list: FrameList, _proof: Flushed) {
        self.forget_lines(list.iter(self.frames));
        let (frame, chunk) = list.heads(self.frames);
        if let Some(first) = frame {
            self.give_forgotten_list(first);
        }
        let mut next = chunk;
        while let Some(first) = next {
            next = self.frames.next(first);
            self.give_forgotten_run(first, CHUNK_FRAMES);
        }
    }

    /// Makes frames that have left the allocator what they are taken for.
    fn prepare(self, first: Hpa, count: u64, used_as: Use) {
        let taken_as = if used_as == Use::Table { Taken::Table } else { Taken::Memory };
        self.machine.told_taken(first, count, taken_as);
        if !planted::is(59) || used_as != Use::Page {
            let is_half = planted::is(60) && used_as == Use::Page;
            self.machine.zero(first, if is_half { count.div_ceil(2) } else { count });
        }
        match used_as {
            Use::Page => self.machine.told_owner(first, count, Owner::Vm(self.vm)),
            Use::Node => self.machine.told_owner(first, count, Owner::Hypervisor),
            Use::Table | Use::Free => {}
        }
    }

    /// Makes sure that nothing that a guest wrote comes to its pages once they are somebody else's: a line that is dirty in some
    /// cache, or one that EL2 would read in place of what a guest wrote with its caches off. With FEAT_S2FWB there is none, but of
    /// memory that is not cached; and such frames are written whole before anybody reads them again.
    fn forget_lines(self, pages: impl IntoIterator<Item = (Hpa, u64)>) {
        if self.machine.features().forced_write_back || planted::is(67) {
            return;
        }
        let mut is_any = false;
        for (first, count) in pages.into_iter().filter(|(first, _)| self.frames.record(*first).is_used_as(Use::Page)) {
            self.machine.dc(Dc::CleanInvalidate, first, count * PAGE_SIZE);
            is_any = true;
        }
        if is_any {
            self.machine.dsb(Dsb::Sy);
        }
    }

    fn give_forgotten_run(self, first: Hpa, count: u64) {
        self.machine.told_given_back(first, count);
        self.frames.free_run(first, count, self.account);
    }

    fn give_forgotten_list(self, first: Hpa) -> u64 {
        let tell = |frame| self.machine.told_given_back(frame, 1);
        self.frames.free_list(first, self.account, self.machine.cpu(), tell)
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

    fn allocate_to_fill(&mut self) -> Option<Hpa> {
        let table = self.frames.allocate(Use::Table, self.account, self.machine.cpu())?;
        self.machine.told_taken(table, 1, Taken::Table);
        Some(table)
    }

    fn free(&mut self, table: Hpa) {
        self.give(table);
    }

    fn free_list(&mut self, first: Hpa) -> u64 {
        self.give_forgotten_list(first)
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
