//! A memory's pages: given frames, taken back, read and written. They are given whole chunks where a chunk is committed at once,
//! so that their mappings can be blocks; a chunk of which a part is taken back is split before anything else is done.

use abi::{CachePolicy, Status};
use stage2::Flushed;
use vmsa::{Dc, Hpa, Leaf, PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::error::out_of_tables;
use crate::frame_lists::FrameList;
use crate::frames::{CHUNK_FRAMES, Use};
use crate::memory::{Backing, Memory, MemoryId};
use crate::radix::Taken;
use crate::system::System;
use crate::told::Work;
use crate::vmo::Vmos;

impl<M: Machine> System<M> {
    /// Unmaps the pages from number `first` to `end` wherever the memory is mapped, with one invalidation a VM.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: a tree shows them in a block with others, and there is no table to split it. What was unmapped comes back by
    /// faults.
    fn unmap_everywhere(&self, vmos: &Vmos, id: MemoryId, first: u64, end: u64, work: Work) -> Result<Flushed, Status> {
        let mut proof = Flushed::never_mapped();
        for vm in vmos.mappers(id) {
            let windows = vmos.windows(id, vm, first, end);
            proof = self.operate_on_each(work, vm, windows, |windows| {
                let (mut tree, mut supply) = (self.tree(vm), self.supply(vm));
                let unmapped = if planted::is(57) {
                    let give = |_, leaf: Leaf| self.machine.told_given_back(leaf.output, 1);
                    tree.unmap_and_tell(&self.machine, &mut supply, windows, give)
                } else {
                    tree.unmap(&self.machine, &mut supply, windows)
                };
                unmapped.map_err(out_of_tables)
            })?;
        }
        Ok(proof)
    }

    /// Returns the page's frame, for a write: one of its own, which reads as zero where there was none. Tells, too, whether the page
    /// is new: then it is in no chunk.
    pub(crate) fn page_for_write(&self, vmos: &mut Vmos, id: MemoryId, number: u64) -> Result<(Hpa, bool), Status> {
        let memory = &mut vmos[id];
        match memory.page(number) {
            Some(frame) if memory.is_shared(&self.frames, frame) => {
                self.copy_page(vmos, id, number, frame).map(|frame| (frame, false))
            }
            Some(frame) => Ok((frame, false)),
            None if !memory.zeros_are_mapped => self.add_page(memory, number).map(|frame| (frame, true)),
            None => {
                self.forget_zeros(vmos, id, number, number + 1, Work::Commit);
                self.add_page(&mut vmos[id], number).map(|frame| (frame, true))
            }
        }
    }

    #[inline]
    fn add_page(&self, memory: &mut Memory, number: u64) -> Result<Hpa, Status> {
        let supply = self.supply(memory.payer);
        let frame = supply.take(Use::Page).ok_or(Status::NO_MEMORY)?;
        if let Err(error) = memory.pages.insert(supply, number, frame) {
            supply.give(frame);
            return Err(error.into());
        }
        memory.committed_pages += 1;
        self.settle_uncached(memory, frame, 1);
        Ok(frame)
    }

    /// Gives the memory a copy of a page that it shares with others, in a frame of its own.
    fn copy_page(&self, vmos: &mut Vmos, id: MemoryId, number: u64, shared: Hpa) -> Result<Hpa, Status> {
        let supply = self.supply(vmos[id].payer);
        let copy = supply.take_copy(shared).ok_or(Status::NO_MEMORY)?;
        // Chunks are taken apart first, and other mappings forget the shared page before they can see its successor.
        let split = vmos[id].pages.split(supply, number).map_err(Status::from);
        let unmapped = split.and_then(|()| self.unmap_everywhere(vmos, id, number, number + 1, Work::Unmap));
        if let Err(status) = unmapped {
            supply.give(copy);
            return Err(status);
        }
        vmos[id].pages.replace(number, copy);
        self.frames.unshare(shared);
        Ok(copy)
    }

    /// Makes sure that who does not look at the caches sees what was written to new frames, of a memory that is not cached.
    fn settle_uncached(&self, memory: &Memory, frame: Hpa, pages: u64) {
        if memory.cache != CachePolicy::Cached {
            self.machine.clean_caches(frame, pages * PAGE_SIZE, Dc::CleanInvalidate);
        }
    }

    /// Makes sure that no tree shows the page of zeros for pages that are about to be there, or to be gone. Those that are there
    /// stay.
    fn forget_zeros(&self, vmos: &Vmos, id: MemoryId, first: u64, end: u64, work: Work) {
        if !vmos[id].zeros_are_mapped {
            return;
        }
        for vm in vmos.mappers(id) {
            let windows = vmos.windows(id, vm, first, end);
            let _ = self.operate_on_each(work, vm, windows, |windows| {
                Ok(self.tree(vm).unmap_frame(&self.machine, &mut self.supply(vm), windows, self.zeros))
            });
        }
    }

    /// Gives every page from number `first` to `end`, of which all are in the memory, a frame of its own. Those that got one
    /// before an error keep it.
    pub(crate) fn commit(&self, vmos: &mut Vmos, id: MemoryId, first: u64, end: u64) -> Result<(), Status> {
        if vmos[id].backing != Backing::Paged {
            return Ok(());
        }
        self.forget_zeros(vmos, id, first, end, Work::Commit);
        if self.add_chunk(&mut vmos[id], first, end) {
            return Ok(());
        }
        if vmos[id].relatives.is_some() {
            // Pages that are about to be copied go all at once.
            let _ = self.unmap_everywhere(vmos, id, first, end, Work::Unmap)?;
        }
        for number in first..end {
            match vmos[id].page(number) {
                None => _ = self.add_page(&mut vmos[id], number)?,
                Some(_) => _ = self.page_for_write(vmos, id, number)?,
            }
        }
        Ok(())
    }

    /// Gives the pages from number `first` to `end` the frames of a chunk. Tells whether it did: they make a chunk, none of them
    /// is there, and there is the memory.
    fn add_chunk(&self, memory: &mut Memory, first: u64, end: u64) -> bool {
        // The memory may have shrunk to less than `first`, and then there is nothing to do.
        let is_chunk = first.is_multiple_of(CHUNK_FRAMES) && end == first + CHUNK_FRAMES;
        if !is_chunk || memory.next_page(first, end).is_some() {
            return false;
        }
        let supply = self.supply(memory.payer);
        let Some(chunk) = supply.take_chunk(Use::Page) else { return false };
        if memory.pages.insert_chunk(supply, first, chunk).is_err() {
            supply.give_run(chunk, CHUNK_FRAMES);
            return false;
        }
        memory.committed_pages += CHUNK_FRAMES;
        self.settle_uncached(memory, chunk, CHUNK_FRAMES);
        true
    }

    /// Makes sure that no chunk reaches across the page `number`, so that what is on one side of it can be taken back. Not inlined:
    /// chunks are rarely split.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: there is no frame for the bookkeeping of a chunk's pages. Nothing was changed.
    #[inline(never)]
    pub(crate) fn split_before(&self, vmos: &mut Vmos, id: MemoryId, number: u64) -> Result<(), Status> {
        if number.is_multiple_of(CHUNK_FRAMES) {
            return Ok(());
        }
        let supply = self.supply(vmos[id].payer);
        Ok(vmos[id].pages.split(supply, number)?)
    }

    /// Takes the frames of the pages from number `first` to `end` back; the pages read as zero from now on. The page of zeros
    /// may stay where it is mapped, and goes with them.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: a chunk is in the range in part, and cannot be [split](Self::split_before); or a tree's block is. Nothing was
    /// taken back.
    pub(crate) fn decommit(&self, vmos: &mut Vmos, id: MemoryId, first: u64, end: u64) -> Result<(), Status> {
        if vmos[id].next_page(first, end).is_none() {
            return Ok(());
        }
        self.split_before(vmos, id, first)?;
        self.split_before(vmos, id, end)?;
        let proof = if planted::is(121) {
            Flushed::never_mapped()
        } else {
            self.unmap_everywhere(vmos, id, first, end, Work::Decommit)?
        };
        self.give_pages(&mut vmos[id], first, end, proof);
        Ok(())
    }

    /// Takes pages out of a memory; what nobody else shows is free then. The proof says that the memory's mappings do not lead
    /// there any more.
    pub(crate) fn give_pages(&self, memory: &mut Memory, first: u64, end: u64, proof: Flushed) {
        self.supply(memory.payer).give_list(self.take_pages(memory, first, end), proof);
    }

    /// Takes the pages from number `first` to `end` out of the memory, and returns the frames that nobody else shows. No chunk
    /// is in that range in part.
    pub(crate) fn take_pages(&self, memory: &mut Memory, first: u64, end: u64) -> FrameList {
        let mut list = FrameList::new();
        let committed = &mut memory.committed_pages;
        memory.pages.take(self.supply(memory.payer), first, end, |taken| match taken {
            Taken::Page(frame) => {
                *committed -= 1;
                self.let_go(&mut list, frame);
            }
            Taken::Chunk(frame) => {
                *committed -= CHUNK_FRAMES;
                self.let_go_of_chunk(&mut list, frame);
            }
        });
        list
    }

    fn let_go(&self, list: &mut FrameList, frame: Hpa) {
        if !self.frames.unshare(frame) {
            list.push(&self.frames, frame);
        }
    }

    fn let_go_of_chunk(&self, list: &mut FrameList, first: Hpa) {
        let mut pages = (0..CHUNK_FRAMES).map(|page| first.add(page << PAGE_SHIFT));
        if pages.clone().any(|frame| self.frames.is_shared(frame)) {
            pages.for_each(|frame| self.let_go(list, frame));
        } else if pages.next().is_some() {
            list.push_chunk(&self.frames, first);
        }
    }

    /// Changes the memory's size to `size` bytes, a multiple of the page size. What is cut off is unmapped before it is freed.
    ///
    /// # Errors
    ///
    /// - BAD_STATE: a page that would be cut off is pinned.
    /// - NO_MEMORY: the new end is in a chunk, which cannot be [split](Self::split_before). The size is what it was.
    pub(crate) fn resize(&self, vmos: &mut Vmos, id: MemoryId, size: u64) -> Result<(), Status> {
        let (old_end, end) = (vmos[id].page_count(), size >> PAGE_SHIFT);
        if vmos.is_pinned(id, end, old_end) {
            return Err(Status::BAD_STATE);
        }
        if end < old_end {
            self.split_before(vmos, id, end)?;
            self.forget_zeros(vmos, id, end, old_end, Work::Decommit);
            self.decommit(vmos, id, end, old_end)?;
        }
        vmos[id].size = size;
        Ok(())
    }

    /// Makes `len` bytes from `offset` on read as zero. Whole pages are taken back, where the memory can do without them.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: as [`Self::decommit`] says, or there is no frame for a copy of a page that is shared and zeroed in part.
    pub(crate) fn zero_memory(&self, vmos: &mut Vmos, id: MemoryId, offset: u64, len: u64) -> Result<(), Status> {
        let end = offset + len;
        let (first_whole, end_whole) = (offset.div_ceil(PAGE_SIZE), end >> PAGE_SHIFT);
        let can_take = |vmos: &Vmos, first: u64, end: u64| {
            vmos[id].backing == Backing::Paged && first < end && !vmos.is_pinned(id, first, end)
        };
        if can_take(vmos, first_whole, end_whole) {
            self.decommit(vmos, id, first_whole, end_whole)?;
        }
        let mut at = offset;
        while let Some((number, _)) = vmos[id].next_page(at >> PAGE_SHIFT, end.div_ceil(PAGE_SIZE)) {
            let from = at.max(number << PAGE_SHIFT);
            let to = end.min((number + 1) << PAGE_SHIFT);
            if to - from == PAGE_SIZE && can_take(vmos, number, number + 1) {
                // One of the others is pinned.
                self.decommit(vmos, id, number, number + 1)?;
            } else {
                let (frame, _) = self.page_for_write(vmos, id, number)?;
                self.zero_bytes(frame.add(from % PAGE_SIZE), to - from);
            }
            at = to;
            if at == end {
                break;
            }
        }
        Ok(())
    }

    fn zero_bytes(&self, from: Hpa, len: u64) {
        const ZEROS: [u8; 512] = [0; 512];
        let mut done = 0;
        while done < len {
            let part = (len - done).min(ZEROS.len() as u64);
            self.machine.write_memory(from.add(done), &ZEROS[..part as usize]);
            done += part;
        }
    }

    /// Reads from the memory, within its size and within a page. A page that is not there reads as zero, and stays so.
    pub(crate) fn read_page(&self, vmos: &Vmos, id: MemoryId, offset: u64, into: &mut [u8]) {
        match vmos[id].page(offset >> PAGE_SHIFT) {
            Some(frame) => self.machine.read_memory(frame.add(offset % PAGE_SIZE), into),
            None => into.fill(0),
        }
    }

    /// Writes to the memory, within its size and within a page.
    pub(crate) fn write_page(&self, vmos: &mut Vmos, id: MemoryId, offset: u64, from: &[u8]) -> Result<(), Status> {
        let (frame, _) = self.page_for_write(vmos, id, offset >> PAGE_SHIFT)?;
        self.machine.write_memory(frame.add(offset % PAGE_SIZE), from);
        Ok(())
    }

    /// Does `work` on the pages from `first` to `end` that have frames, a chunk at a time, with the lock taken anew for each. Where
    /// there are none nothing is looked at.
    pub(crate) fn by_present_chunks(
        &self,
        id: MemoryId,
        first: u64,
        end: u64,
        mut work: impl FnMut(&mut Vmos, u64, u64) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let mut at = first;
        while at < end {
            let mut vmos = self.lock_vmos();
            let Some((start, _)) = vmos[id].next_page(at, end) else { break };
            at = (start + 1).next_multiple_of(CHUNK_FRAMES).min(end);
            work(&mut vmos, start, at)?;
        }
        Ok(())
    }

    /// Does `work` on the pages from `first` to `end`, a chunk at a time, with the lock taken anew for each.
    pub(crate) fn by_chunks(
        &self,
        first: u64,
        end: u64,
        mut work: impl FnMut(&mut Vmos, u64, u64) -> Result<(), Status>,
    ) -> Result<(), Status> {
        chunks(first, end).try_for_each(|(first, end)| work(&mut self.lock_vmos(), first, end))
    }
}

/// Returns the parts of the pages from `first` to `end` that are in one chunk each.
pub(crate) fn chunks(first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let part = move |first: u64| (first < end).then(|| (first, (first + 1).next_multiple_of(CHUNK_FRAMES).min(end)));
    core::iter::successors(part(first), move |(_, next)| part(*next))
}
