//! What a VM of a program has mapped.

use super::plan::{CELLS, Pages};
use crate::scene::{ACCESSED, CONTIGUOUS, IPA, MIB, Machine, PAGE, VALID, Vm};

/// The block of a VM, which is a table of pages at times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Block {
    Nothing,
    Whole { word: u64 },
    Split { word: u64, child: u64 },
}

/// A VM, and what is mapped there: a few pages, and perhaps a block.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    pub(super) vm: Vm,
    pub(super) words: [u64; CELLS as usize],
    pub(super) block: Block,
}

/// Where a VM's block is.
pub(super) const BLOCK: u64 = IPA + 2 * MIB;

impl Cells {
    pub(super) const fn new(vm: Vm) -> Self {
        Self { vm, words: [0; CELLS as usize], block: Block::Nothing }
    }

    pub(super) const fn ipa(number: u64) -> u64 {
        IPA + number * PAGE
    }

    pub(super) const fn word(&self, number: u64) -> u64 {
        self.words[number as usize]
    }

    /// Returns those of the pages that are mapped.
    pub(super) fn mapped(&self, pages: Pages) -> Vec<u64> {
        self.numbers(pages, |word| word & VALID != 0)
    }

    /// Returns those of the pages that are not mapped.
    pub(super) fn holes(&self, pages: Pages) -> Vec<u64> {
        self.numbers(pages, |word| word & VALID == 0)
    }

    fn numbers(&self, pages: Pages, is_wanted: impl Fn(u64) -> bool) -> Vec<u64> {
        (pages.first..pages.first + pages.count).filter(|number| is_wanted(self.word(*number))).collect()
    }

    /// Returns the pages, and the whole of each group that they have a part in.
    pub(super) fn with_groups(&self, pages: Pages) -> Pages {
        let is_grouped = |number: u64| self.word(number) & CONTIGUOUS != 0;
        let last = pages.first + pages.count - 1;
        let first = if is_grouped(pages.first) { pages.first / 16 * 16 } else { pages.first };
        let end = if is_grouped(last) { (last / 16 + 1) * 16 } else { last + 1 };
        Pages { first, count: end - first }
    }
}

/// Returns whether TLBs may hold a leaf that says so.
pub(super) const fn is_cached(machine: Machine, word: u64) -> bool {
    word & VALID != 0 && (word & ACCESSED != 0 || machine.hafdbs > 0)
}
