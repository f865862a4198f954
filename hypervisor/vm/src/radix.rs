//! A map from page numbers to words, as a tree of frames with 512 words each: as high as its largest key needs, and with no
//! node for what is empty. One key alone needs no node at all.

use core::sync::atomic::Ordering::Relaxed;

use vmsa::Hpa;

use crate::Machine;
use crate::frames::Use;
use crate::supply::{NODE_WORDS, Supply, node};

const BITS: u32 = 9;
/// A root of this height reaches every key of a VMO: 2^63 pages and more than there can be.
const MAX_HEIGHT: u32 = 7;

/// The map. Words are not zero. Height 0 holds key 0 in the root itself.
#[derive(Debug, Default)]
pub(crate) struct Radix {
    root: u64,
    height: u32,
}

/// No frame was to be had for a node; the map is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutOfNodes;

impl Radix {
    pub(crate) const fn new() -> Self {
        Self { root: 0, height: 0 }
    }

    /// Returns the word at `key`.
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        if !self.reaches(key) {
            return None;
        }
        let mut word = self.root;
        for height in (1..=self.height).rev() {
            if word == 0 {
                return None;
            }
            word = node(Hpa(word))[index(key, height)].load(Relaxed);
        }
        Some(word).filter(|word| *word != 0)
    }

    /// Returns the first key that is not below `from` and has a word, and the word.
    pub(crate) fn next(&self, from: u64) -> Option<(u64, u64)> {
        if !self.reaches(from) {
            return None;
        }
        next_below(self.root, self.height, from)
    }

    /// Puts a word at `key`, which has none.
    pub(crate) fn insert<M: Machine>(&mut self, supply: Supply<'_, M>, key: u64, word: u64) -> Result<(), OutOfNodes> {
        self.grow(supply, key)?;
        match self.height {
            0 => self.root = word,
            height => {
                let is_new = self.root == 0;
                if is_new {
                    self.root = supply.take(Use::Node).ok_or(OutOfNodes)?.0;
                }
                let inserted = insert_below(supply, Hpa(self.root), height, key, word);
                if inserted.is_err() && is_new {
                    supply.give(Hpa(core::mem::take(&mut self.root)));
                }
                return inserted;
            }
        }
        Ok(())
    }

    /// Takes the word at `key` away, with the nodes that it leaves empty.
    pub(crate) fn remove<M: Machine>(&mut self, supply: Supply<'_, M>, key: u64) -> Option<u64> {
        if !self.reaches(key) {
            return None;
        }
        let (word, remaining) = remove_below(supply, self.root, self.height, key);
        self.root = remaining;
        if self.root == 0 {
            self.height = 0;
        }
        word
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

const fn index(key: u64, height: u32) -> usize {
    (key >> (BITS * (height - 1))) as usize % NODE_WORDS
}

/// Recurs as deep as the tree is high: seven at most.
fn next_below(word: u64, height: u32, from: u64) -> Option<(u64, u64)> {
    if word == 0 {
        return None;
    }
    if height == 0 {
        return Some((from, word));
    }
    let span = 1u64 << (BITS * (height - 1));
    let base = from & !(span * NODE_WORDS as u64 - 1);
    let words = node(Hpa(word));
    (index(from, height)..NODE_WORDS).find_map(|index| {
        let start = from.max(base + index as u64 * span);
        next_below(words[index].load(Relaxed), height - 1, start)
    })
}

fn insert_below<M: Machine>(
    supply: Supply<'_, M>,
    frame: Hpa,
    height: u32,
    key: u64,
    word: u64,
) -> Result<(), OutOfNodes> {
    let slot = &node(frame)[index(key, height)];
    let is_new = slot.load(Relaxed) == 0;
    if height == 1 {
        slot.store(word, Relaxed);
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

/// Returns the word that was at `key`, and what the parent holds from now on.
fn remove_below<M: Machine>(supply: Supply<'_, M>, word: u64, height: u32, key: u64) -> (Option<u64>, u64) {
    if height == 0 || word == 0 {
        return (Some(word).filter(|word| *word != 0), 0);
    }
    let slot = &node(Hpa(word))[index(key, height)];
    let (removed, remaining) = remove_below(supply, slot.load(Relaxed), height - 1, key);
    if removed.is_none() || remaining != 0 {
        return (removed, word);
    }
    slot.store(0, Relaxed);
    let record = supply.frames.record(Hpa(word));
    record.set_count(record.count() - 1);
    if record.count() == 0 {
        supply.give(Hpa(word));
        return (removed, 0);
    }
    (removed, word)
}
