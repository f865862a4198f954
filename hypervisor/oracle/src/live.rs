//! Notes in memory of a fixed size, for a machine that runs: one for each frame, and one for each block.

use vmsa::{Hpa, Level, PAGE_SIZE};

use crate::note::count;
use crate::{Frames, Note, Notes, OutOfRoom};

/// A note for every frame of one range of memory. Frames outside it are not watched.
#[derive(Debug)]
pub struct LiveNotes<'n> {
    first: Hpa,
    pages: &'n mut [Note],
    /// By 2 MiB, and by 1 GiB, how many blocks lead there.
    blocks: &'n mut [u32],
    giants: &'n mut [u32],
}

impl<'n> LiveNotes<'n> {
    /// Returns the notes of the memory from `first` on: as many frames as `pages` has notes. `blocks` has [`Self::counts`]
    /// elements; all is zero, or default.
    ///
    /// # Panics
    ///
    /// `blocks` has another length.
    pub fn new(first: Hpa, pages: &'n mut [Note], blocks: &'n mut [u32]) -> Self {
        assert_eq!(blocks.len(), Self::counts(pages.len()), "a count for each block and each giant");
        let (blocks, giants) = blocks.split_at_mut(spans(pages.len(), Level::L2));
        Self { first, pages, blocks, giants }
    }

    /// Returns how many counts go with so many frames.
    pub const fn counts(frames: usize) -> usize {
        spans(frames, Level::L2) + spans(frames, Level::L1)
    }

    /// Returns the number of the block or giant that an address is in.
    const fn number(&self, at: Hpa, level: Level) -> usize {
        ((at.0 >> level.shift()) - (self.first.0 >> level.shift())) as usize
    }

    fn range(&self, frames: Frames) -> core::ops::Range<usize> {
        let index = |at: Hpa| ((at.0.saturating_sub(self.first.0) / PAGE_SIZE) as usize).min(self.pages.len());
        index(frames.first)..index(frames.end())
    }

    fn index(&self, frame: Hpa) -> Option<usize> {
        let index = (frame.0.checked_sub(self.first.0)? / PAGE_SIZE) as usize;
        (index < self.pages.len()).then_some(index)
    }
}

/// Returns how many entries of the level so many frames can touch, wherever they begin.
const fn spans(frames: usize, level: Level) -> usize {
    frames.div_ceil((level.entry_span() / PAGE_SIZE) as usize) + 1
}

impl Notes for LiveNotes<'_> {
    #[inline]
    fn get(&self, frame: Hpa) -> Note {
        self.index(frame).map_or(Note::default(), |index| self.pages[index])
    }

    #[inline]
    fn change(&mut self, frame: Hpa, change: impl FnOnce(&mut Note)) -> Result<(), OutOfRoom> {
        if let Some(index) = self.index(frame) {
            change(&mut self.pages[index]);
        }
        Ok(())
    }

    fn change_all(&mut self, frames: Frames, mut change: impl FnMut(Frames, &mut Note)) -> Result<(), OutOfRoom> {
        for index in self.range(frames) {
            change(Frames::new(self.first.add(index as u64 * PAGE_SIZE), 1), &mut self.pages[index]);
        }
        Ok(())
    }

    fn each(&self, frames: Frames, mut see: impl FnMut(Frames, Note)) {
        for index in self.range(frames) {
            see(Frames::new(self.first.add(index as u64 * PAGE_SIZE), 1), self.pages[index]);
        }
    }

    fn count_leaf(&mut self, frames: Frames, is_new: bool) -> Result<(), OutOfRoom> {
        let Some(index) = self.index(frames.first) else { return Ok(()) };
        let (block, giant) = (self.number(frames.first, Level::L2), self.number(frames.first, Level::L1));
        match frames.pages {
            1 => self.pages[index].count_leaf(is_new),
            512 => count(&mut self.blocks[block], is_new),
            _ => count(&mut self.giants[giant], is_new),
        }
        Ok(())
    }

    fn has_leaf(&self, frames: Frames) -> bool {
        let pages = self.range(frames);
        if pages.is_empty() {
            return false;
        }
        let at = |index: usize| self.first.add(index as u64 * PAGE_SIZE);
        let over = |level| self.number(at(pages.start), level)..=self.number(at(pages.end - 1), level);
        self.giants[over(Level::L1)].iter().any(|count| *count != 0)
            || self.blocks[over(Level::L2)].iter().any(|count| *count != 0)
            || self.pages[pages.clone()].iter().any(|note| note.leaves != 0)
    }
}
