//! VMOs: memory that can be mapped, and the notes of who maps it.
//!
//! All VMOs are behind one lock, [`Vmos`]'s: what it guards is a page's being there, and what a fault enters in a tree under it
//! stays true until the page is taken away under it. Long work takes the lock anew for each chunk.

use abi::{Status, VmoOptions};
use stage2::Flushed;
use vmsa::{Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::arena::{Arena, Id};
use crate::frames::{CHUNK_FRAMES, FrameList, Use};
use crate::radix::Radix;
use crate::supply::Supply;
use crate::system::{System, VmId};

pub(crate) type VmoId = Id<Vmo>;

/// The most bytes that a VMO can have.
pub(crate) const MAX_SIZE: u64 = u64::MAX - 64 * PAGE_SIZE + 1;

/// What a VMO's frames are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Backing {
    /// Any frames, there once they were written or committed.
    Paged,
    /// Adjacent frames from this one on, all there from the start.
    Contiguous(Hpa),
}

/// Memory that can be mapped.
pub(crate) struct Vmo {
    pub(crate) koid: u64,
    pub(crate) backing: Backing,
    pub(crate) options: VmoOptions,
    /// Bytes, a multiple of the page size.
    pub(crate) size: u64,
    /// The VM that pays for its frames.
    pub(crate) payer: VmId,
    /// By page number the frame.
    pages: Radix,
    pub(crate) committed_pages: u64,
    /// Trees may lead to the shared page of zeros where this VMO has no page.
    zeros_are_mapped: bool,
    first_link: Option<Id<Link>>,
    pub(crate) mapping_count: u64,
    /// Handles, mappings, and calls under way.
    references: u64,
    /// LOCK minus UNLOCK, of a discardable one.
    pub(crate) lock_count: u64,
}

/// A mapping, as its VMO knows it.
pub(crate) struct Link {
    vmo: VmoId,
    pub(crate) vm: VmId,
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) vmo_offset: u64,
    previous: Option<Id<Link>>,
    next: Option<Id<Link>>,
}

impl Link {
    /// Returns the addresses at which the mapping shows the VMO's bytes from `start` to `end`.
    fn window(&self, start: u64, end: u64) -> Option<IpaRange> {
        let from = start.max(self.vmo_offset);
        // Past the end of what an offset can be there is nothing mapped.
        let to = end.min(self.vmo_offset.saturating_add(self.size));
        (from < to).then(|| IpaRange::new(Ipa(self.base + (from - self.vmo_offset)), to - from))
    }
}

/// All VMOs.
pub(crate) struct Vmos {
    vmos: Arena<Vmo>,
    links: Arena<Link>,
    /// Links that there is room for, and that calls under way may make.
    promised_links: u32,
}

impl core::ops::Index<VmoId> for Vmos {
    type Output = Vmo;

    fn index(&self, id: VmoId) -> &Vmo {
        &self.vmos[id]
    }
}

impl core::ops::IndexMut<VmoId> for Vmos {
    fn index_mut(&mut self, id: VmoId) -> &mut Vmo {
        &mut self.vmos[id]
    }
}

impl Vmo {
    /// Returns the page's frame, if it has one.
    pub(crate) fn page(&self, number: u64) -> Option<Hpa> {
        match self.backing {
            Backing::Paged => self.pages.get(number).map(Hpa),
            Backing::Contiguous(first) => (number < self.page_count()).then(|| first.add(number << PAGE_SHIFT)),
        }
    }

    /// Returns the number of the first page not below `number` that has a frame, and the frame.
    pub(crate) fn next_page(&self, number: u64) -> Option<(u64, Hpa)> {
        match self.backing {
            Backing::Paged => self.pages.next(number).map(|(number, word)| (number, Hpa(word))),
            Backing::Contiguous(_) => self.page(number).map(|frame| (number, frame)),
        }
    }

    /// Returns how many pages the VMO's size makes.
    pub(crate) const fn page_count(&self) -> u64 {
        self.size >> PAGE_SHIFT
    }

    /// Tells whether the range of bytes lies in the VMO.
    pub(crate) fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.size)
    }

    /// Takes note that somebody uses the VMO.
    pub(crate) const fn retain(&mut self) {
        self.references += 1;
    }

    /// Takes note that the page of zeros was entered in a tree for this VMO.
    pub(crate) const fn map_zeros(&mut self) {
        self.zeros_are_mapped = true;
    }
}

impl Vmos {
    pub(crate) const fn new() -> Self {
        Self { vmos: Arena::new(), links: Arena::new(), promised_links: 0 }
    }

    /// Returns how many VMOs and mappings there are.
    pub(crate) const fn counts(&self) -> (u32, u32) {
        (self.vmos.len(), self.links.len())
    }

    /// Makes room for `count` more mappings, until they are made or [given up](Vmos::give_up_links).
    pub(crate) fn promise_links<M: Machine>(&mut self, supply: Supply<'_, M>, count: u32) -> Result<(), Status> {
        self.links.reserve(supply, self.promised_links + count)?;
        self.promised_links += count;
        Ok(())
    }

    /// Gives room up that was promised and is not needed.
    pub(crate) const fn give_up_links(&mut self, count: u32) {
        self.promised_links -= count;
    }

    /// Makes the VMO's note of a new mapping, in room that was promised. The mapping counts as a reference.
    pub(crate) fn link(&mut self, id: VmoId, vm: VmId, base: u64, size: u64, vmo_offset: u64) -> Id<Link> {
        self.promised_links -= 1;
        let next = self.vmos[id].first_link;
        let link = self.links.insert_reserved(Link { vmo: id, vm, base, size, vmo_offset, previous: None, next });
        if let Some(next) = next {
            self.links[next].previous = Some(link);
        }
        let vmo = &mut self.vmos[id];
        vmo.first_link = Some(link);
        vmo.mapping_count += 1;
        vmo.references += 1;
        link
    }

    /// Takes note that a mapping shows something else of the VMO, or at another place.
    pub(crate) fn relink(&mut self, id: Id<Link>, base: u64, size: u64, vmo_offset: u64) {
        let link = &mut self.links[id];
        (link.base, link.size, link.vmo_offset) = (base, size, vmo_offset);
    }

    /// Forgets a mapping. Its reference is still to be [released](System::release_vmo).
    pub(crate) fn unlink(&mut self, id: Id<Link>) -> VmoId {
        let link = self.links.remove(id);
        match link.previous {
            Some(previous) => self.links[previous].next = link.next,
            None => self.vmos[link.vmo].first_link = link.next,
        }
        if let Some(next) = link.next {
            self.links[next].previous = link.previous;
        }
        self.vmos[link.vmo].mapping_count -= 1;
        link.vmo
    }

    /// Takes a reference away, and after the last one the VMO.
    fn release(&mut self, id: VmoId) -> Option<Vmo> {
        let vmo = &mut self.vmos[id];
        vmo.references -= 1;
        debug_assert!(vmo.references > 0 || vmo.first_link.is_none(), "a mapping is a reference");
        (vmo.references == 0).then(|| self.vmos.remove(id))
    }

    fn links_of(&self, id: VmoId) -> impl Iterator<Item = &Link> {
        let next = |link: &&Link| link.next.map(|next| &self.links[next]);
        core::iter::successors(self.vmos[id].first_link.map(|first| &self.links[first]), next)
    }

    /// Returns the VMs that map the VMO.
    pub(crate) fn mappers(&self, id: VmoId) -> impl Iterator<Item = VmId> + use<> {
        let bits = self.links_of(id).fold(0u64, |bits, link| bits | 1 << link.vm.index());
        VmId::all().filter(move |vm| bits & 1 << vm.index() != 0)
    }
}

impl<M: Machine> System<M> {
    /// Makes a VMO of `size` bytes, a multiple of the page size. The caller holds its first reference.
    pub(crate) fn create_vmo(
        &self,
        vmos: &mut Vmos,
        supply: Supply<'_, M>,
        payer: VmId,
        size: u64,
        options: VmoOptions,
        backing: Backing,
    ) -> Result<VmoId, Status> {
        let committed_pages = if backing == Backing::Paged { 0 } else { size >> PAGE_SHIFT };
        let vmo = Vmo {
            koid: self.next_koid(),
            backing,
            options,
            size,
            payer,
            pages: Radix::new(),
            committed_pages,
            zeros_are_mapped: false,
            first_link: None,
            mapping_count: 0,
            references: 1,
            lock_count: 0,
        };
        Ok(vmos.vmos.insert(supply, vmo)?)
    }

    /// Makes a VMO of adjacent frames that read as zero, the first aligned to 2^`align_log2` bytes.
    pub(crate) fn create_contiguous_vmo(&self, payer: VmId, size: u64, align_log2: u32) -> Result<VmoId, Status> {
        let supply = self.supply(payer);
        let pages = size >> PAGE_SHIFT;
        let first = supply.take_run(pages, align_log2, Use::Page).ok_or(Status::NO_MEMORY)?;
        let backing = Backing::Contiguous(first);
        let made = self.create_vmo(&mut self.vmos.lock(), supply, payer, size, VmoOptions::empty(), backing);
        if made.is_err() {
            supply.give_run(first, pages);
        }
        made
    }

    /// Ends a use of the VMO. After the last one its frames are given back, with no lock held.
    pub(crate) fn release_vmo(&self, id: VmoId) {
        let Some(mut vmo) = self.vmos.lock().release(id) else { return };
        let supply = self.supply(vmo.payer);
        match vmo.backing {
            Backing::Paged => supply.give_list(self.take_pages(&mut vmo, 0, u64::MAX), Flushed::never_mapped()),
            Backing::Contiguous(first) => supply.give_run(first, vmo.page_count()),
        }
    }

    /// Unmaps the pages from number `first` to `end` wherever the VMO is mapped, with one invalidation a VM.
    fn unmap_everywhere(&self, vmos: &Vmos, id: VmoId, first: u64, end: u64) -> Flushed {
        let (start, end) = (first << PAGE_SHIFT, end.saturating_mul(PAGE_SIZE));
        let mut proof = Flushed::never_mapped();
        for vm in vmos.mappers(id) {
            let windows = vmos.links_of(id).filter(|link| link.vm == vm).filter_map(|link| link.window(start, end));
            let mut supply = self.supply(vm);
            proof = self.vm(vm).tree.lock().unmap(&self.machine, &mut supply, windows);
        }
        proof
    }

    /// Returns the page's frame, for a write: one that reads as zero where there was none.
    pub(crate) fn page_for_write(&self, vmos: &mut Vmos, id: VmoId, number: u64) -> Result<Hpa, Status> {
        if let Some(frame) = vmos.vmos[id].page(number) {
            return Ok(frame);
        }
        self.forget_zeros(vmos, id, number, number + 1);
        self.add_page(&mut vmos.vmos[id], number)
    }

    fn add_page(&self, vmo: &mut Vmo, number: u64) -> Result<Hpa, Status> {
        let supply = self.supply(vmo.payer);
        let frame = supply.take(Use::Page).ok_or(Status::NO_MEMORY)?;
        if let Err(error) = vmo.pages.insert(supply, number, frame.0) {
            supply.give(frame);
            return Err(error.into());
        }
        vmo.committed_pages += 1;
        Ok(frame)
    }

    /// Makes sure that no tree shows the page of zeros for pages that are about to be there.
    fn forget_zeros(&self, vmos: &Vmos, id: VmoId, first: u64, end: u64) {
        if vmos.vmos[id].zeros_are_mapped {
            let _ = self.unmap_everywhere(vmos, id, first, end);
        }
    }

    /// Gives every page from number `first` to `end` a frame. Those that got one before an error keep it.
    pub(crate) fn commit(&self, vmos: &mut Vmos, id: VmoId, first: u64, end: u64) -> Result<(), Status> {
        self.forget_zeros(vmos, id, first, end);
        let vmo = &mut vmos.vmos[id];
        for number in first..end {
            if vmo.page(number).is_none() {
                self.add_page(vmo, number)?;
            }
        }
        Ok(())
    }

    /// Takes the frames of the pages from number `first` to `end` back; the pages read as zero from now on. The page of zeros
    /// may stay where it is mapped, and goes with them.
    pub(crate) fn decommit(&self, vmos: &mut Vmos, id: VmoId, first: u64, end: u64) {
        if vmos.vmos[id].next_page(first).is_none_or(|(number, _)| number >= end) {
            return;
        }
        let proof = self.unmap_everywhere(vmos, id, first, end);
        let vmo = &mut vmos.vmos[id];
        self.supply(vmo.payer).give_list(self.take_pages(vmo, first, end), proof);
    }

    fn take_pages(&self, vmo: &mut Vmo, first: u64, end: u64) -> FrameList {
        let supply = self.supply(vmo.payer);
        let mut list = FrameList::new();
        let mut at = first;
        while let Some((number, frame)) = vmo.pages.next(at).filter(|(number, _)| *number < end) {
            vmo.pages.remove(supply, number);
            list.push(&self.frames, Hpa(frame));
            vmo.committed_pages -= 1;
            at = number + 1;
        }
        list
    }

    /// Changes the VMO's size to `size` bytes, a multiple of the page size. What is cut off is unmapped before it is freed.
    pub(crate) fn resize(&self, vmos: &mut Vmos, id: VmoId, size: u64) {
        let (old_end, end) = (vmos.vmos[id].page_count(), size >> PAGE_SHIFT);
        vmos.vmos[id].size = size;
        if end < old_end {
            self.forget_zeros(vmos, id, end, old_end);
            self.decommit(vmos, id, end, old_end);
        }
    }

    /// Makes `len` bytes from `offset` on read as zero. Whole pages are taken back, where the backing can do without them.
    pub(crate) fn zero_vmo(&self, vmos: &mut Vmos, id: VmoId, offset: u64, len: u64) {
        let end = offset + len;
        let (first_whole, end_whole) = (offset.div_ceil(PAGE_SIZE), end >> PAGE_SHIFT);
        if vmos.vmos[id].backing == Backing::Paged && first_whole < end_whole {
            self.decommit(vmos, id, first_whole, end_whole);
        }
        let mut at = offset;
        while let Some((number, frame)) =
            vmos.vmos[id].next_page(at >> PAGE_SHIFT).filter(|(n, _)| n << PAGE_SHIFT < end)
        {
            let from = at.max(number << PAGE_SHIFT);
            let to = end.min((number + 1) << PAGE_SHIFT);
            self.zero_bytes(frame.add(from % PAGE_SIZE), to - from);
            at = to;
            if at == end {
                break;
            }
        }
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
        match vmos.vmos[id].page(offset >> PAGE_SHIFT) {
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
    pub(crate) fn by_present_chunks(&self, id: VmoId, first: u64, end: u64, mut work: impl FnMut(&mut Vmos, u64, u64)) {
        let mut at = first;
        while at < end {
            let mut vmos = self.vmos.lock();
            let Some((start, _)) = vmos[id].next_page(at).filter(|(start, _)| *start < end) else { return };
            at = (start + 1).next_multiple_of(CHUNK_FRAMES).min(end);
            work(&mut vmos, start, at);
        }
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
            work(&mut self.vmos.lock(), at, next)?;
            at = next;
        }
        Ok(())
    }
}
