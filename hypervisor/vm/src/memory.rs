//! Memory that VMOs show: its pages, and who maps it.
//!
//! Copies share pages, frame by frame: each frame counts the memories that show it, and a page that is shared is written by
//! nobody. Who wants to write takes a copy of the page first. So a copy costs no pages, and there is no order among those that
//! share: any of them may go first.

use abi::CachePolicy;
use stage2::Run;
use vmsa::{Attributes, Hpa, Ipa, IpaRange, MemoryType, PAGE_SHIFT, PAGE_SIZE, Perms};

use crate::arena::Id;
use crate::frames::{CHUNK_FRAMES, Frames};
use crate::links::Link;
use crate::pins::Pin;
use crate::radix::Radix;
use crate::system::VmId;
use crate::tree::Tree;

pub(crate) type MemoryId = Id<Memory>;

/// What the frames of a memory are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Backing {
    /// Any frames, there once they were written or committed.
    Paged,
    /// Adjacent frames from this one on, all there from the start.
    Contiguous(Hpa),
    /// A device's registers from this address on; no frames.
    Device(Hpa),
}

/// Pages, and who maps them.
pub(crate) struct Memory {
    pub(crate) backing: Backing,
    pub(crate) cache: CachePolicy,
    /// Bytes, a multiple of the page size.
    pub(crate) size: u64,
    /// Where in the first original it begins, in bytes, if it is a copy: summed up where it is a copy of a copy.
    pub(crate) origin: u64,
    /// The VM that pays for its frames. Copies have the same one, so that who frees a shared frame does not matter.
    pub(crate) payer: VmId,
    /// By page number the frame.
    pub(crate) pages: Radix,
    pub(crate) committed_pages: u64,
    /// Trees may lead to the shared page of zeros where it has no page.
    pub(crate) zeros_are_mapped: bool,
    /// Who maps it.
    pub(crate) links: Tree<Link>,
    pub(crate) first_pin: Option<Id<Pin>>,
    /// VMOs that show it.
    pub(crate) users: u64,
    /// The memories that it may share pages with, in a ring; none where there are no others.
    pub(crate) relatives: Option<Relatives>,
}

/// A memory's neighbours in the ring of its copies and theirs.
#[derive(Clone, Copy)]
pub(crate) struct Relatives {
    pub(crate) next: MemoryId,
    pub(crate) previous: MemoryId,
}

/// Adjacent frames of adjacent pages.
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

impl Memory {
    /// Returns a memory that nobody shows yet.
    pub(crate) const fn new(backing: Backing, size: u64, payer: VmId) -> Self {
        let committed_pages = if matches!(backing, Backing::Contiguous(_)) { size >> PAGE_SHIFT } else { 0 };
        Self {
            backing,
            cache: if matches!(backing, Backing::Device(_)) {
                CachePolicy::UncachedDevice
            } else {
                CachePolicy::Cached
            },
            size,
            origin: 0,
            payer,
            pages: Radix::new(),
            committed_pages,
            zeros_are_mapped: false,
            links: Tree { root: None },
            first_pin: None,
            users: 0,
            relatives: None,
        }
    }

    /// Returns the page's frame, if it has one.
    pub(crate) fn page(&self, number: u64) -> Option<Hpa> {
        match self.backing {
            Backing::Paged => self.pages.get(number),
            _ => self.block(number).and_then(|block| block.from(number)).map(|pages| pages.frame),
        }
    }

    /// Returns the number of the first page from `number` to `end` that has a frame, and the frame.
    pub(crate) fn next_page(&self, number: u64, end: u64) -> Option<(u64, Hpa)> {
        match self.backing {
            Backing::Paged => self.pages.next(number, end),
            _ => self.page(number).filter(|_| number < end).map(|frame| (number, frame)),
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
            _ => self.block(number)?.from(number)?,
        };
        Some(Pages { count: run.count.min(most), ..run })
    }

    /// Returns the beginning of a [run](Self::run) that is shared throughout, or nowhere, and which of them.
    pub(crate) fn run_alike(&self, frames: &Frames, number: u64, end: u64) -> Option<(Pages, bool)> {
        let run = self.run(number, end)?;
        if self.relatives.is_none() {
            return Some((run, false));
        }
        let is_shared = |index: u64| frames.is_shared(run.frame.add(index << PAGE_SHIFT));
        let first = is_shared(0);
        let count = (1..run.count).find(|index| is_shared(*index) != first).unwrap_or(run.count);
        Some((Pages { count, ..run }, first))
    }

    /// Returns all the pages around `number` that were taken in one piece: a chunk, or the whole of a contiguous memory.
    pub(crate) fn block(&self, number: u64) -> Option<Pages> {
        match self.backing {
            Backing::Paged if !self.pages.is_in_chunk(number) => None,
            Backing::Paged => {
                let first = number - number % CHUNK_FRAMES;
                Some(Pages { number: first, frame: self.pages.get(first)?, count: CHUNK_FRAMES })
            }
            Backing::Contiguous(frame) | Backing::Device(frame) => {
                Some(Pages { number: 0, frame, count: self.page_count() })
            }
        }
    }

    /// Tells whether the page's frame is somebody else's too.
    pub(crate) fn is_shared(&self, frames: &Frames, frame: Hpa) -> bool {
        self.relatives.is_some() && frames.is_shared(frame)
    }

    /// Returns what a tree asks when it maps `range`, at which the pages from `first` on are shown, with the permissions that
    /// `perms` leaves. Finding out how far a run reaches is done once a run.
    pub(crate) fn shown_at(
        &self,
        frames: &Frames,
        range: IpaRange,
        first: u64,
        perms: Perms,
    ) -> impl FnMut(Ipa) -> Option<Run> {
        let end = first + (range.len() >> PAGE_SHIFT);
        let mut last: Option<(Pages, bool)> = None;
        move |ipa| {
            let number = first + ipa.page_number().checked_sub(range.start.page_number())?;
            let rest = |(run, is_shared): (Pages, bool)| Some((run.from(number)?, is_shared));
            if last.and_then(rest).is_none() {
                last = self.run_alike(frames, number, end);
            }
            let (run, is_shared) = last.and_then(rest)?;
            Some(Run { output: run.frame, len: run.len(), attributes: self.attributes(perms, is_shared) })
        }
    }

    /// Returns what a leaf says that shows a page.
    pub(crate) fn attributes(&self, perms: Perms, is_shared: bool) -> Attributes {
        let perms = if is_shared { perms - Perms::WRITE } else { perms };
        Attributes { shared: is_shared, memory: self.memory_type(), ..Attributes::normal(perms) }
    }

    const fn memory_type(&self) -> MemoryType {
        match self.cache {
            CachePolicy::Cached => MemoryType::Normal,
            CachePolicy::Uncached | CachePolicy::WriteCombining => MemoryType::NonCacheable,
            CachePolicy::UncachedDevice => MemoryType::Device,
        }
    }

    /// Returns how many pages the size makes.
    pub(crate) const fn page_count(&self) -> u64 {
        self.size >> PAGE_SHIFT
    }

    /// Takes note that the page of zeros was entered in a tree for this memory.
    pub(crate) const fn map_zeros(&mut self) {
        self.zeros_are_mapped = true;
    }

    /// Returns what its pages from `first` to `end` take, and which part of that falls to it where they are shared.
    pub(crate) fn attribution(&self, frames: &Frames, first: u64, end: u64) -> Attribution {
        let mut sum = Attribution::default();
        if matches!(self.backing, Backing::Device(_)) {
            return sum;
        }
        let mut at = first;
        while let Some((number, _)) = self.next_page(at, end) {
            let Some(run) = self.run(number, end) else { break };
            if self.relatives.is_none() {
                sum.add(run.count, 1);
            } else {
                (0..run.count).for_each(|page| sum.add(1, frames.sharers(run.frame.add(page << PAGE_SHIFT))));
            }
            at = number + run.count;
        }
        sum
    }
}

/// Bytes of memory, by whom they belong to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Attribution {
    /// What is nobody else's.
    pub(crate) private: u64,
    /// A share of every byte: all of it, or one part for each who shares it.
    pub(crate) scaled: u64,
    /// What the division left, as fixed point: 2^63 is a byte.
    pub(crate) fraction: u64,
}

impl Attribution {
    const BYTE: u64 = 1 << 63;

    /// Adds pages that so many share.
    fn add(&mut self, pages: u64, sharers: u64) {
        let bytes = pages * PAGE_SIZE;
        if sharers == 1 {
            self.private += bytes;
        }
        self.scaled += bytes / sharers;
        // Below one byte each, so that the sum is below two.
        self.fraction += (u128::from(bytes % sharers) * u128::from(Self::BYTE) / u128::from(sharers)) as u64;
        if self.fraction >= Self::BYTE {
            self.fraction -= Self::BYTE;
            self.scaled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_page_make_a_page() {
        let mut thirds = Attribution::default();
        thirds.add(1, 3);
        assert_eq!((thirds.private, thirds.scaled), (0, 1365));
        assert_eq!(thirds.fraction, Attribution::BYTE / 3);
        thirds.add(1, 3);
        thirds.add(1, 3);
        // Three times a third, rounded down, is not quite one.
        assert_eq!((thirds.scaled, thirds.fraction), (4095, Attribution::BYTE / 3 * 3));
        thirds.add(2, 1);
        assert_eq!((thirds.private, thirds.scaled), (8192, 4095 + 8192));
    }
}
