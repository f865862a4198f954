//! VMOs: memory that can be mapped, and the notes of who maps it.
//!
//! All VMOs are behind one lock, [`Vmos`]'s: what it guards is a page's being there, and what a fault enters in a tree under it
//! stays true until the page is taken away under it. Long work takes the lock anew for each chunk.

use abi::{Status, VmoOptions};
use stage2::{Flushed, Run};
use vmsa::{Attributes, Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::arena::{Arena, Id};
use crate::frames::{CHUNK_FRAMES, Use};
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
    pub(crate) pages: Radix,
    pub(crate) committed_pages: u64,
    /// Trees may lead to the shared page of zeros where this VMO has no page.
    pub(crate) zeros_are_mapped: bool,
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

/// Adjacent frames of a VMO's adjacent pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    /// The number of the first page.
    pub(crate) number: u64,
    /// Its frame.
    pub(crate) frame: Hpa,
    /// How many pages.
    pub(crate) count: u64,
}

impl Pages {
    /// Returns the part from the page `number` on, if that is one of them.
    pub(crate) fn from(self, number: u64) -> Option<Self> {
        let before = number.checked_sub(self.number).filter(|before| *before < self.count)?;
        Some(Self { number, frame: self.frame.add(before << PAGE_SHIFT), count: self.count - before })
    }

    /// Returns the bytes of the pages.
    pub(crate) const fn len(self) -> u64 {
        self.count << PAGE_SHIFT
    }
}

impl Vmo {
    /// Returns the page's frame, if it has one.
    pub(crate) fn page(&self, number: u64) -> Option<Hpa> {
        match self.backing {
            Backing::Paged => self.pages.get(number),
            Backing::Contiguous(_) => self.block(number).and_then(|block| block.from(number)).map(|pages| pages.frame),
        }
    }

    /// Returns the number of the first page not below `number` that has a frame, and the frame.
    pub(crate) fn next_page(&self, number: u64) -> Option<(u64, Hpa)> {
        match self.backing {
            Backing::Paged => self.pages.next(number),
            Backing::Contiguous(_) => self.page(number).map(|frame| (number, frame)),
        }
    }

    /// Returns the pages from `number` on whose frames follow one another, if it has a frame: no more than there are before
    /// `end`, and perhaps fewer.
    pub(crate) fn run(&self, number: u64, end: u64) -> Option<Pages> {
        let most = end.checked_sub(number).filter(|most| *most > 0)?;
        let run = match self.backing {
            Backing::Paged => {
                let (frame, count) = self.pages.run(number, most)?;
                Pages { number, frame, count }
            }
            Backing::Contiguous(_) => self.block(number)?.from(number)?,
        };
        Some(Pages { count: run.count.min(most), ..run })
    }

    /// Returns all the pages around `number` that were taken in one piece: a chunk, or the whole of a contiguous VMO.
    pub(crate) fn block(&self, number: u64) -> Option<Pages> {
        match self.backing {
            Backing::Paged if !self.pages.is_in_chunk(number) => None,
            Backing::Paged => {
                let first = number - number % CHUNK_FRAMES;
                Some(Pages { number: first, frame: self.pages.get(first)?, count: CHUNK_FRAMES })
            }
            Backing::Contiguous(frame) => Some(Pages { number: 0, frame, count: self.page_count() }),
        }
    }

    /// Returns what a tree asks when it maps `range`, at which the pages from `first` on are shown. Finding out how far a run
    /// reaches is done once a run.
    pub(crate) fn shown_at(
        &self,
        range: IpaRange,
        first: u64,
        attributes: Attributes,
    ) -> impl FnMut(Ipa) -> Option<Run> {
        let end = first + (range.len() >> PAGE_SHIFT);
        let mut last: Option<Pages> = None;
        move |ipa| {
            let number = first + ipa.page_number().checked_sub(range.start.page_number())?;
            let rest = last.and_then(|run| run.from(number));
            if rest.is_none() {
                last = self.run(number, end);
            }
            let run = rest.or(last)?;
            Some(Run { output: run.frame, len: run.len(), attributes })
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
        if planted::is(65) {
            return None;
        }
        vmo.references -= 1;
        debug_assert!(vmo.references > 0 || vmo.first_link.is_none(), "a mapping is a reference");
        (vmo.references == 0).then(|| self.vmos.remove(id))
    }

    fn links_of(&self, id: VmoId) -> impl Iterator<Item = &Link> + Clone {
        let next = |link: &&Link| link.next.map(|next| &self.links[next]);
        core::iter::successors(self.vmos[id].first_link.map(|first| &self.links[first]), next)
    }

    /// Returns the addresses at which a VM sees the pages from number `first` to `end`.
    pub(crate) fn windows(&self, id: VmoId, vm: VmId, first: u64, end: u64) -> impl Iterator<Item = IpaRange> + Clone {
        let (start, end) = (first << PAGE_SHIFT, end.saturating_mul(PAGE_SIZE));
        self.links_of(id).filter(move |link| link.vm == vm).filter_map(move |link| link.window(start, end))
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
        let made = self.create_vmo(&mut self.lock_vmos(), supply, payer, size, VmoOptions::empty(), backing);
        if made.is_err() {
            supply.give_run(first, pages);
        }
        made
    }

    /// Ends a use of the VMO. After the last one its frames are given back, with no lock held.
    pub(crate) fn release_vmo(&self, id: VmoId) {
        let Some(mut vmo) = self.lock_vmos().release(id) else { return };
        let supply = self.supply(vmo.payer);
        match vmo.backing {
            Backing::Paged => supply.give_list(self.take_pages(&mut vmo, 0, u64::MAX), Flushed::never_mapped()),
            Backing::Contiguous(first) => supply.give_run(first, vmo.page_count()),
        }
    }
}
