//! A map from page numbers to frames, as a tree of frames with 512 words each: as high as its largest key needs, and with no
//! node for what is empty. One key alone needs no node at all.
//!
//! A *chunk* is 512 pages, the first a multiple of 512, whose frames follow one another. One *large* word, a frame's address
//! with bit 0 set, stands for it in the place of the node that would hold its pages' words.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vmsa::{Hpa, PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::frames::{CHUNK_FRAMES, Use};
use crate::supply::{NODE_WORDS, Supply, node};

const BITS: u32 = 9;
/// A root of this height reaches every key of a VMO: 2^63 pages and more than there can be.
const MAX_HEIGHT: u32 = 7;
/// Frames are page-aligned, so that bit 0 is free to tell that a word is a chunk's.
const LARGE: u64 = 1;
/// The height that a word has which is a page's: no node is below it.
const PAGE: u32 = 0;
/// The height that a chunk's word has: that of the node which it replaces.
const CHUNK: u32 = 1;

const _: () = assert!(CHUNK_FRAMES == NODE_WORDS as u64, "a chunk replaces a node");

/// The map. Height 0 holds key 0 in the root itself, height 1 may hold the first chunk there.
#[derive(Debug, Default)]
pub(crate) struct Radix {
    root: u64,
    height: u32,
}

/// No frame was to be had for a node; the map is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutOfNodes;

/// What is taken out of the map in one piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    /// A page's frame.
    Page(Hpa),
    /// The first of a chunk's frames.
    Chunk(Hpa),
}

impl Radix {
    pub(crate) const fn new() -> Self {
        Self { root: 0, height: 0 }
    }

    /// Returns the frame at `key`.
    pub(crate) fn get(&self, key: u64) -> Option<Hpa> {
        if !self.reaches(key) {
            return None;
        }
        let (mut word, mut height) = (self.root, self.height);
        while height > PAGE && word != 0 && !is_large(word) {
            word = node(Hpa(word))[index(key, height)].load(Relaxed);
            height -= 1;
        }
        (word != 0).then(|| frame_at(word, key))
    }

    /// Returns the frame at `key`, and how many keys from there on lead to frames that follow one another: at most `most` or a
    /// few more, and perhaps fewer than there are.
    pub(crate) fn run(&self, key: u64, most: u64) -> Option<(Hpa, u64)> {
        let Found { word, behind } = self.find(key)?;
        let (mut count, step) = if is_large(word) { (CHUNK_FRAMES - key % CHUNK_FRAMES, CHUNK_FRAMES) } else { (1, 1) };
        let mut next = word;
        for other in behind {
            next += step << PAGE_SHIFT;
            if count >= most || other.load(Relaxed) != next {
                break;
            }
            count += step;
        }
        Some((frame_at(word, key), count))
    }

    /// Tells whether `key` is in a chunk.
    pub(crate) fn is_in_chunk(&self, key: u64) -> bool {
        self.find(key).is_some_and(|found| is_large(found.word))
    }

    /// Returns the first key from `from` to `end` that has a frame, and the frame.
    pub(crate) fn next(&self, from: u64, end: u64) -> Option<(u64, Hpa)> {
        if from >= end || !self.reaches(from) {
            return None;
        }
        next_below(self.root, self.height, from, end)
    }

    /// Puts a frame at `key`, which has none.
    pub(crate) fn insert<M: Machine>(&mut self, supply: Supply<'_, M>, key: u64, frame: Hpa) -> Result<(), OutOfNodes> {
        // Where there is a node for it, as mostly: 25 instructions, and not 65.
        if let Some(below) = self.leaf_node(key) {
            let word = &node(below)[index(key, CHUNK)];
            debug_assert_eq!(word.load(Relaxed), 0, "page {key:#x} is there already");
            word.store(frame.0, Relaxed);
            let record = supply.frames.record(below);
            record.set_count(record.count() + 1);
            return Ok(());
        }
        self.grow(supply, key)?;
        self.insert_word(supply, key, Word { bits: frame.0, height: PAGE })
    }

    /// Puts a chunk's frames, of which `first` is the first, at `key` and the 511 behind it, which have none.
    pub(crate) fn insert_chunk<M: Machine>(
        &mut self,
        supply: Supply<'_, M>,
        key: u64,
        first: Hpa,
    ) -> Result<(), OutOfNodes> {
        debug_assert!(key.is_multiple_of(CHUNK_FRAMES));
        self.grow(supply, key + CHUNK_FRAMES - 1)?;
        self.insert_word(supply, key, Word { bits: first.0 | LARGE, height: CHUNK })
    }

    fn insert_word<M: Machine>(&mut self, supply: Supply<'_, M>, key: u64, word: Word) -> Result<(), OutOfNodes> {
        if self.height == word.height {
            self.root = word.bits;
            return Ok(());
        }
        let is_new = self.root == 0;
        if is_new {
            self.root = supply.take(Use::Node).ok_or(OutOfNodes)?.0;
        }
        let inserted = insert_below(supply, Hpa(self.root), self.height, key, word);
        if inserted.is_err() && is_new {
            supply.give(Hpa(core::mem::take(&mut self.root)));
        }
        inserted
    }

    /// Makes pages of the chunk that `key` is in, if there is one, so that some of them can be taken away without the others.
    pub(crate) fn split<M: Machine>(&mut self, supply: Supply<'_, M>, key: u64) -> Result<(), OutOfNodes> {
        if !self.is_in_chunk(key) {
            return Ok(());
        }
        let below = supply.take(Use::Node).ok_or(OutOfNodes)?;
        let mut word = self.root;
        let mut slot = None;
        for height in (CHUNK + 1..=self.height).rev() {
            let place = &node(Hpa(word))[index(key, height)];
            word = place.load(Relaxed);
            slot = Some(place);
        }
        for (page, place) in (0..).zip(node(below)) {
            place.store(frame_at(word, page).0, Relaxed);
        }
        supply.frames.record(below).set_count(NODE_WORDS as u16);
        match slot {
            Some(slot) => slot.store(below.0, Relaxed),
            None => self.root = below.0,
        }
        Ok(())
    }

    /// Puts a frame in the place of the one at `key`, which is in no chunk.
    pub(crate) fn replace(&mut self, key: u64, frame: Hpa) {
        debug_assert!(self.get(key).is_some() && !self.is_in_chunk(key));
        let (mut word, mut slot) = (self.root, None);
        for height in (1..=self.height).rev() {
            let place = &node(Hpa(word))[index(key, height)];
            word = place.load(Relaxed);
            slot = Some(place);
        }
        match slot {
            Some(slot) => slot.store(frame.0, Relaxed),
            None => self.root = frame.0,
        }
    }

    /// Takes all frames from key `first` to `end` out, in ascending order, with the nodes that this leaves empty. A chunk lies
    /// in the range as a whole, or not at all: the others were [split](Radix::split).
    pub(crate) fn take<M: Machine>(
        &mut self,
        supply: Supply<'_, M>,
        first: u64,
        end: u64,
        mut taken: impl FnMut(Taken),
    ) {
        if !self.reaches(first) {
            return;
        }
        self.root =
            take_below(supply, Place { word: self.root, height: self.height, base: 0 }, (first, end), &mut taken);
        if self.root == 0 {
            self.height = 0;
        }
        while let Some(only) = self.only_first(supply) {
            supply.give(Hpa(core::mem::replace(&mut self.root, only)));
            self.height -= 1;
        }
    }

    /// Returns the first word of the root where there is no other, and the root is a node.
    fn only_first<M: Machine>(&self, supply: Supply<'_, M>) -> Option<u64> {
        if self.height == PAGE || self.root == 0 || is_large(self.root) {
            return None;
        }
        let first = node(Hpa(self.root))[0].load(Relaxed);
        (first != 0 && supply.frames.record(Hpa(self.root)).count() == 1).then_some(first)
    }

    #[inline]
    fn find(&self, key: u64) -> Option<Found<'_>> {
        if !self.reaches(key) {
            return None;
        }
        let (mut word, mut behind) = (self.root, &[][..]);
        for height in (1..=self.height).rev() {
            if word == 0 || is_large(word) {
                break;
            }
            let words = node(Hpa(word));
            let at = index(key, height);
            word = words[at].load(Relaxed);
            behind = &words[at + 1..];
        }
        (word != 0).then_some(Found { word, behind })
    }

    /// Returns the node with the words of the 512 keys that `key` is one of, if there is one and they are no chunk.
    pub(crate) fn leaf_node(&self, key: u64) -> Option<Hpa> {
        if !self.reaches(key) {
            return None;
        }
        let (mut word, mut height) = (self.root, self.height);
        while height > CHUNK && word != 0 {
            word = node(Hpa(word))[index(key, height)].load(Relaxed);
            height -= 1;
        }
        (height == CHUNK && word != 0 && !is_large(word)).then_some(Hpa(word))
    }

    fn reaches(&self, key: u64) -> bool {
        self.height >= MAX_HEIGHT || key >> (BITS * self.height) == 0
    }

    /// Puts roots on top until `key` is in reach. Nodes that an error leaves behind are in use all the same: the root is one.
    fn grow<M: Machine>(&mut self, supply: Supply<'_, M>, key: u64) -> Result<(), OutOfNodes> {
        while !self.reaches(key) {
            if self.root != 0 {
                let above = supply.take(Use::Node).ok_or(OutOfNodes)?;
                node(above)[0].store(self.root, Relaxed);
                supply.frames.record(above).set_count(1);
                self.root = above.0;
            }
            self.height += 1;
        }
        Ok(())
    }
}

/// A word that goes into the map, and the height of its place.
#[derive(Clone, Copy)]
struct Word {
    bits: u64,
    height: u32,
}

/// A page's word or a chunk's, and the words behind it in its node.
struct Found<'a> {
    word: u64,
    behind: &'a [AtomicU64],
}

/// A word with its height, and the first key below it.
#[derive(Clone, Copy)]
struct Place {
    word: u64,
    height: u32,
    base: u64,
}

const fn index(key: u64, height: u32) -> usize {
    (key >> (BITS * (height - 1))) as usize % NODE_WORDS
}

const fn is_large(word: u64) -> bool {
    word & LARGE != 0
}

/// Returns the frame that `key` has by its word.
const fn frame_at(word: u64, key: u64) -> Hpa {
    let offset = if is_large(word) { key % CHUNK_FRAMES * PAGE_SIZE } else { 0 };
    Hpa((word & !LARGE) + offset)
}

/// Recurs as deep as the tree is high: seven at most.
fn next_below(word: u64, height: u32, from: u64, end: u64) -> Option<(u64, Hpa)> {
    if word == 0 {
        return None;
    }
    if height == PAGE || is_large(word) {
        return Some((from, frame_at(word, from)));
    }
    let span = 1u64 << (BITS * (height - 1));
    let base = from & !(span * NODE_WORDS as u64 - 1);
    let first = index(from, height);
    let past_last = ((end - 1 - base) / span + 1).min(NODE_WORDS as u64) as usize;
    let words = &node(Hpa(word))[first..past_last];
    (first..).zip(words).find_map(|(index, word)| match word.load(Relaxed) {
        0 => None,
        word => next_below(word, height - 1, from.max(base + index as u64 * span), end),
    })
}

fn insert_below<M: Machine>(
    supply: Supply<'_, M>,
    frame: Hpa,
    height: u32,
    key: u64,
    word: Word,
) -> Result<(), OutOfNodes> {
    debug_assert!(!is_large(frame.0), "page {key:#x} is in a chunk");
    let slot = &node(frame)[index(key, height)];
    let is_new = slot.load(Relaxed) == 0;
    if height == word.height + 1 {
        debug_assert!(is_new, "page {key:#x} is there already");
        slot.store(word.bits, Relaxed);
    } else {
        let child = if is_new { supply.take(Use::Node).ok_or(OutOfNodes)? } else { Hpa(slot.load(Relaxed)) };
        if let Err(error) = insert_below(supply, child, height - 1, key, word) {
            if is_new {
                supply.give(child);
            }
            return Err(error);
        }
        slot.store(child.0, Relaxed);
    }
    if is_new {
        let record = supply.frames.record(frame);
        record.set_count(record.count() + 1);
    }
    Ok(())
}

/// Returns what the parent holds from now on. Keys are below 2^63, so that no end of a node wraps.
fn take_below<M: Machine>(
    supply: Supply<'_, M>,
    place: Place,
    (first, end): (u64, u64),
    taken: &mut impl FnMut(Taken),
) -> u64 {
    let Place { word, height, base } = place;
    if word == 0 {
        return 0;
    }
    if height == PAGE {
        taken(Taken::Page(Hpa(word)));
        return 0;
    }
    if is_large(word) {
        assert!(first <= base && end - base >= CHUNK_FRAMES, "part of a chunk is taken away");
        taken(Taken::Chunk(frame_at(word, 0)));
        return 0;
    }
    let span = 1u64 << (BITS * (height - 1));
    let from = (first.saturating_sub(base) / span) as usize;
    let to = (end - base).div_ceil(span).min(NODE_WORDS as u64) as usize;
    let mut gone = 0;
    for (index, slot) in (0..).zip(node(Hpa(word))).take(to).skip(from) {
        let below = Place { word: slot.load(Relaxed), height: height - 1, base: base + index * span };
        if below.word != 0 && take_below(supply, below, (first, end), taken) == 0 {
            slot.store(0, Relaxed);
            gone += 1;
        }
    }
    let record = supply.frames.record(Hpa(word));
    record.set_count(record.count() - gone);
    if record.count() == 0 {
        supply.give(Hpa(word));
        return 0;
    }
    word
}
