//! A VMO's pages: given frames, taken back, read and written. Paged VMOs are given whole chunks where a chunk is committed at
//! once, so that their mappings can be blocks; a chunk of which a part is taken back is split before anything else is done.

use abi::Status;
use stage2::Flushed;
use vmsa::{Hpa, Leaf, PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::error::out_of_tables;
use crate::frames::{CHUNK_FRAMES, FrameList, Use};
use crate::radix::Taken;
use crate::system::System;
use crate::told::Work;
use crate::vmo::{Backing, Vmo, VmoId, Vmos};

impl<M: Machine> System<M> {
    /// Unmaps the pages from number `first` to `end` wherever the VMO is mapped, with one invalidation a VM.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: a tree shows them in a block with others, and there is no table to split it. What was unmapped comes back by
    /// faults.
    fn unmap_everywhere(&self, vmos: &Vmos, id: VmoId, first: u64, end: u64) -> Result<Flushed, Status> {
        let mut proof = Flushed::never_mapped();
        for vm in vmos.mappers(id) {
            let windows = vmos.windows(id, vm, first, end);
            proof = self.operate_on_each(Work::Decommit, vm, windows.clone(), || {
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

    /// Returns the page's frame, for a write: one that reads as zero where there was none.
    pub(crate) fn page_for_write(&self, vmos: &mut Vmos, id: VmoId, number: u64) -> Result<Hpa, Status> {
        if let Some(frame) = vmos[id].page(number) {
            return Ok(frame);
        }
        self.forget_zeros(vmos, id, number, number + 1, Work::Commit);
        self.add_page(&mut vmos[id], number)
    }

    fn add_page(&self, vmo: &mut Vmo, number: u64) -> Result<Hpa, Status> {
        let supply = self.supply(vmo.payer);
        let frame = supply.take(Use::Page).ok_or(Status::NO_MEMORY)?;
        if let Err(error) = vmo.pages.insert(supply, number, frame) {
            supply.give(frame);
            return Err(error.into());
        }
        vmo.committed_pages += 1;
        Ok(frame)
    }

    /// Makes sure that no tree shows the page of zeros for pages that are about to be there, or to be gone. Those that are there
    /// stay.
    fn forget_zeros(&self, vmos: &Vmos, id: VmoId, first: u64, end: u64, work: Work) {
        for vm in vmos.mappers(id).filter(|_| vmos[id].zeros_are_mapped) {
            let windows = vmos.windows(id, vm, first, end);
            let _ = self.operate_on_each(work, vm, windows.clone(), || {
                Ok(self.tree(vm).unmap_shared(&self.machine, &mut self.supply(vm), windows))
            });
        }
    }

    /// Gives every page from number `first` to `end`, of which all are in the VMO, a frame. Those that got one before an error
    /// keep it.
    pub(crate) fn commit(&self, vmos: &mut Vmos, id: VmoId, first: u64, end: u64) -> Result<(), Status> {
        self.forget_zeros(vmos, id, first, end, Work::Commit);
        let vmo = &mut vmos[id];
        if self.add_chunk(vmo, first, end) {
            return Ok(());
        }
        for number in first..end {
            if vmo.page(number).is_none() {
                self.add_page(vmo, number)?;
            }
        }
        Ok(())
    }

    /// Gives the pages from number `first` to `end` the frames of a chunk. Tells whether it did: they make a chunk, none of them
    /// is there, and there is the memory.
    fn add_chunk(&self, vmo: &mut Vmo, first: u64, end: u64) -> bool {
        // The VMO may have shrunk to less than `first`, and then there is nothing to do.
        let is_chunk = first.is_multiple_of(CHUNK_FRAMES) && end == first + CHUNK_FRAMES;
        if !is_chunk || vmo.next_page(first).is_some_and(|(number, _)| number < end) {
            return false;
        }
        let supply = self.supply(vmo.payer);
        let Some(chunk) = supply.take_chunk(Use::Page) else { return false };
        if vmo.pages.insert_chunk(supply, first, chunk).is_err() {
            supply.give_run(chunk, CHUNK_FRAMES);
            return false;
        }
        vmo.committed_pages += CHUNK_FRAMES;
        true
    }

    /// Makes sure that no chunk reaches across the page `number`, so that what is on one side of it can be taken back.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: there is no frame for the bookkeeping of a chunk's pages. Nothing was changed.
    pub(crate) fn split_before(&self, vmos: &mut Vmos, id: VmoId, number: u64) -> Result<(), Status> {
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
    pub(crate) fn decommit(&self, vmos: &mut Vmos, id: VmoId, first: u64, end: u64) -> Result<(), Status> {
        if vmos[id].next_page(first).is_none_or(|(number, _)| number >= end) {
            return Ok(());
        }
        self.split_before(vmos, id, first)?;
        self.split_before(vmos, id, end)?;
        let proof =
            if planted::is(121) { Flushed::never_mapped() } else { self.unmap_everywhere(vmos, id, first, end)? };
        self.give_pages(&mut vmos[id], first, end, proof);
        Ok(())
    }

    fn give_pages(&self, vmo: &mut Vmo, first: u64, end: u64, proof: Flushed) {
        self.supply(vmo.payer).give_list(self.take_pages(vmo, first, end), proof);
    }

    /// Takes the frames of the pages from number `first` to `end` out of the VMO. No chunk is in that range in part.
    pub(crate) fn take_pages(&self, vmo: &mut Vmo, first: u64, end: u64) -> FrameList {
        let mut list = FrameList::new();
        let committed = &mut vmo.committed_pages;
        vmo.pages.take(self.supply(vmo.payer), first, end, |taken| match taken {
            Taken::Page(frame) => {
                *committed -= 1;
                list.push(&self.frames, frame);
            }
            Taken::Chunk(frame) => {
                *committed -= CHUNK_FRAMES;
                list.push_chunk(&self.frames, frame);
            }
        });
        list
    }

    /// Changes the VMO's size to `size` bytes, a multiple of the page size. What is cut off is unmapped before it is freed.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: the new end is in a chunk, which cannot be [split](Self::split_before). The size is what it was.
    pub(crate) fn resize(&self, vmos: &mut Vmos, id: VmoId, size: u64) -> Result<(), Status> {
        let (old_end, end) = (vmos[id].page_count(), size >> PAGE_SHIFT);
        if end < old_end {
            self.split_before(vmos, id, end)?;
            self.forget_zeros(vmos, id, end, old_end, Work::Decommit);
            self.decommit(vmos, id, end, old_end)?;
        }
        vmos[id].size = size;
        Ok(())
    }

    /// Makes `len` bytes from `offset` on read as zero. Whole pages are taken back, where the backing can do without them.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: as [`Self::decommit`] says. Nothing was changed.
    pub(crate) fn zero_vmo(&self, vmos: &mut Vmos, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        let end = offset + len;
        let (first_whole, end_whole) = (offset.div_ceil(PAGE_SIZE), end >> PAGE_SHIFT);
        if vmos[id].backing == Backing::Paged && first_whole < end_whole {
            self.decommit(vmos, id, first_whole, end_whole)?;
        }
        let mut at = offset;
        while let Some((number, frame)) = vmos[id].next_page(at >> PAGE_SHIFT).filter(|(n, _)| n << PAGE_SHIFT < end) {
            let from = at.max(number << PAGE_SHIFT);
            let to = end.min((number + 1) << PAGE_SHIFT);
            self.zero_bytes(frame.add(from % PAGE_SIZE), to - from);
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

    /// Reads from the VMO, within its size and within a page. A page that is not there reads as zero, and stays so.
    pub(crate) fn read_page(&self, vmos: &Vmos, id: VmoId, offset: u64, into: &mut [u8]) {
        match vmos[id].page(offset >> PAGE_SHIFT) {
            Some(frame) => self.machine.read_memory(frame.add(offset % PAGE_SIZE), into),
            None => into.fill(0),
        }
    }

    /// Writes to the VMO, within its size and within a page.
    pub(crate) fn write_page(&self, vmos: &mut Vmos, id: VmoId, offset: u64, from: &[u8]) -> Result<(), Status> {
        let frame = self.page_for_write(vmos, id, offset >> PAGE_SHIFT)?;
        self.machine.write_memory(frame.add(offset % PAGE_SIZE), from);
        Ok(())
    }

    /// Does `work` on the pages from `first` to `end` that have frames, a chunk at a time, with the lock taken anew for each. Where
    /// there are none nothing is looked at.
    pub(crate) fn by_present_chunks(
        &self,
        id: VmoId,
        first: u64,
        end: u64,
        mut work: impl FnMut(&mut Vmos, u64, u64) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let mut at = first;
        while at < end {
            let mut vmos = self.lock_vmos();
            let Some((start, _)) = vmos[id].next_page(at).filter(|(start, _)| *start < end) else { break };
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
        let mut at = first;
        while at < end {
            let next = (at + 1).next_multiple_of(CHUNK_FRAMES).min(end);
            work(&mut self.lock_vmos(), at, next)?;
            at = next;
        }
        Ok(())
    }
}
