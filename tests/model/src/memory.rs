//! Memories: pages by their numbers. A page that several memories share is one page until somebody writes to it.

use std::collections::BTreeMap;
use std::rc::Rc;

use abi::{CachePolicy, Status};

use crate::{Model, P, Result, ensure};

/// The most bytes that a VMO can have.
pub(crate) const MAX_SIZE: u64 = u64::MAX - 64 * P + 1;

/// What a page holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Contents {
    Zeros,
    Bytes(Box<[u8; P as usize]>),
}

/// A page of memory. As many memories share it as there are references.
pub(crate) type Page = Rc<Contents>;

/// A page's bytes at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageView(Contents);

impl PageView {
    /// Tells whether these are the page's bytes.
    pub fn is(&self, bytes: &[u8]) -> bool {
        match &self.0 {
            Contents::Zeros => bytes.iter().all(|byte| *byte == 0),
            Contents::Bytes(own) => own[..] == *bytes,
        }
    }

    /// Returns the word at an offset that is a multiple of 8, in bytes.
    pub fn word(&self, offset: usize) -> u64 {
        match &self.0 {
            Contents::Zeros => 0,
            Contents::Bytes(own) => u64::from_le_bytes(own[offset..offset + 8].try_into().expect("eight bytes")),
        }
    }

    pub(crate) const fn zeros() -> Self {
        Self(Contents::Zeros)
    }
}

/// What a memory's frames are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Paged,
    Contiguous,
    Physical,
}

/// Pages that VMOs show.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) kind: Kind,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) pages: BTreeMap<u64, Page>,
    pub(crate) policy: CachePolicy,
    /// Memories that were made of one another by snapshots have one number.
    pub(crate) family: u64,
    /// The offset in the first ancestor, bytes.
    pub(crate) accumulated: u64,
}

impl Memory {
    pub(crate) const fn paged(size: u64) -> Self {
        let (kind, policy) = (Kind::Paged, CachePolicy::Cached);
        Self { kind, size, pages: BTreeMap::new(), policy, family: 0, accumulated: 0 }
    }

    pub(crate) fn contiguous(size: u64) -> Self {
        let mut memory = Self { kind: Kind::Contiguous, ..Self::paged(size) };
        memory.commit(0, size / P);
        memory
    }

    pub(crate) const fn physical(size: u64) -> Self {
        let (kind, policy) = (Kind::Physical, CachePolicy::UncachedDevice);
        Self { kind, size, pages: BTreeMap::new(), policy, family: 0, accumulated: 0 }
    }

    pub(crate) fn is_cached(&self) -> bool {
        self.policy == CachePolicy::Cached
    }

    /// Gives every page from number `first` to `end` memory of its own.
    pub(crate) fn commit(&mut self, first: u64, end: u64) {
        for number in first..end {
            self.own_page(number);
        }
    }

    /// Returns the page for a write: its own copy of a shared one, zeros where there was none.
    fn own_page(&mut self, number: u64) -> &mut Contents {
        Rc::make_mut(self.pages.entry(number).or_insert_with(|| Rc::new(Contents::Zeros)))
    }

    /// Lets go of the pages from number `first` to `end`.
    pub(crate) fn drop_pages(&mut self, first: u64, end: u64) {
        for number in self.numbers(first, end) {
            self.pages.remove(&number);
        }
    }

    /// Returns the numbers of the pages that are there, from `first` to `end`.
    pub(crate) fn numbers(&self, first: u64, end: u64) -> Vec<u64> {
        if first >= end {
            return Vec::new();
        }
        self.pages.range(first..end).map(|(number, _)| *number).collect()
    }

    pub(crate) fn view(&self, number: u64) -> PageView {
        self.pages.get(&number).map_or(PageView::zeros(), |page| PageView(Contents::clone(page)))
    }

    /// Returns bytes of the memory; pages that are not there read as zero.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        for part in parts(offset, len) {
            if let Some(Contents::Bytes(page)) = self.pages.get(&part.number).map(|page| &**page) {
                bytes[part.at..part.at + part.len].copy_from_slice(&page[part.in_page..part.in_page + part.len]);
            }
        }
        bytes
    }

    /// Writes to the memory, page by page.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for part in parts(offset, bytes.len() as u64) {
            let page = self.own_page(part.number);
            if *page == Contents::Zeros {
                *page = Contents::Bytes(Box::new([0; P as usize]));
            }
            let Contents::Bytes(page) = page else { unreachable!("it was just made") };
            page[part.in_page..part.in_page + part.len].copy_from_slice(&bytes[part.at..part.at + part.len]);
        }
    }

    /// Makes a range read as zero: pages that it has whole are let go where `may_drop` says so, the rest are written.
    pub(crate) fn zero(&mut self, offset: u64, len: u64, may_drop: impl Fn(u64) -> bool) {
        for part in self.present_parts(offset, len) {
            if part.len == P as usize && may_drop(part.number) {
                self.pages.remove(&part.number);
            } else if part.len == P as usize {
                *self.own_page(part.number) = Contents::Zeros;
            } else {
                self.write(part.number * P + part.in_page as u64, &vec![0; part.len]);
            }
        }
    }

    /// Returns the parts of the range whose pages are there.
    fn present_parts(&self, offset: u64, len: u64) -> Vec<Part> {
        let numbers = self.numbers(offset / P, (offset + len).div_ceil(P));
        let part = |number: u64| {
            let (from, to) = (offset.max(number * P), (offset + len).min((number + 1).saturating_mul(P)));
            Part { number, in_page: (from % P) as usize, len: (to - from) as usize, at: 0 }
        };
        numbers.into_iter().map(part).filter(|part| part.len > 0).collect()
    }

    /// Returns what the pages from number `first` to `end` hold of memory, and how much of it no other memory shares: bytes, the
    /// first with 63 binary places.
    pub(crate) fn attributed(&self, first: u64, end: u64) -> Attributed {
        let mut sum = Attributed::default();
        for number in self.numbers(first, end) {
            let sharers = Rc::strong_count(&self.pages[&number]) as u128;
            sum.scaled += (u128::from(P) << 63) / sharers;
            sum.private += if sharers == 1 { P } else { 0 };
        }
        sum
    }
}

/// How much memory something has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributed {
    /// Bytes, with 63 binary places.
    pub(crate) scaled: u128,
    /// Bytes that nobody shares.
    pub(crate) private: u64,
}

impl Attributed {
    /// Returns the whole bytes of the scaled sum.
    pub(crate) const fn bytes(self) -> u64 {
        (self.scaled >> 63) as u64
    }

    /// Returns what is left: 2^63 would be a byte.
    pub(crate) const fn fraction(self) -> u64 {
        (self.scaled & ((1 << 63) - 1)) as u64
    }
}

/// The part of a range that lies in one page.
struct Part {
    number: u64,
    in_page: usize,
    len: usize,
    /// Where it is in the range.
    at: usize,
}

fn parts(offset: u64, len: u64) -> impl Iterator<Item = Part> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = offset + at;
        let part_len = (P - from % P).min(len - at);
        let part = Part { number: from / P, in_page: (from % P) as usize, len: part_len as usize, at: at as usize };
        at += part_len;
        (part_len > 0).then_some(part)
    })
}

impl Model {
    pub(crate) fn add_memory(&mut self, mut memory: Memory) -> u64 {
        let id = self.new_koid();
        if memory.family == 0 {
            memory.family = id;
        }
        self.memories.insert(id, memory);
        id
    }

    /// Tells whether another memory came of this one by a snapshot, or this of it, and lives.
    pub(crate) fn has_relative(&self, memory: u64) -> bool {
        let family = self.memories[&memory].family;
        self.memories.iter().any(|(id, other)| *id != memory && other.family == family)
    }

    /// Tells whether a pin holds the page.
    pub(crate) fn is_pinned(&self, memory: u64, number: u64) -> bool {
        self.pins.values().any(|pin| pin.memory == memory && (pin.first..pin.end).contains(&number))
    }

    /// BAD_STATE where a page from number `first` to `end` is pinned.
    pub(crate) fn ensure_unpinned(&self, memory: u64, first: u64, end: u64) -> Result<()> {
        let meets = |pin: &crate::Pin| pin.memory == memory && pin.first < end && first < pin.end;
        ensure(!self.pins.values().any(meets), Status::BAD_STATE)
    }
}
