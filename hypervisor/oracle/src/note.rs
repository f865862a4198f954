//! What the oracle remembers of a frame, and where it keeps that.

use vmsa::{Hpa, Ipa, Level};

use crate::Frames;

/// When something was done, and by which CPU. The default is before everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) const fn new(cpu: usize, when: u64) -> Self {
        Self(when << 8 | cpu as u64 & 0xff)
    }

    pub(crate) const fn cpu(self) -> usize {
        (self.0 & 0xff) as usize
    }

    pub(crate) const fn when(self) -> u64 {
        self.0 >> 8
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum State {
    /// Never allocated, as far as is known: a device, or memory from before.
    #[default]
    Unknown,
    Free,
    /// Taken for a guest's memory.
    Guest,
    /// Taken for a table, and not linked.
    Table,
    /// A table of a tree.
    Linked,
}

/// What is known of a frame's contents and what was done to it. The default says that nothing is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Note {
    pub(crate) state: State,
    /// All of it was written since it was last free.
    pub(crate) is_filled: bool,
    /// How many bytes, from its first on, were cleaned to the point of coherency since it was written.
    pub(crate) cleaned: u16,
    /// How many were cleaned to the point of unification, at least.
    pub(crate) cleaned_for_fetch: u16,
    /// A guest could write to it; and how many bytes were invalidated since it cannot any more.
    pub(crate) is_used: bool,
    pub(crate) invalidated: u16,
    /// Several VMs may map it.
    pub(crate) is_shared: bool,
    /// The VM whose it is, plus one; 0 where nobody said.
    pub(crate) owner: u16,
    /// The VM that could write to it since it was last overwritten, plus one.
    pub(crate) user: u16,
    /// How many leaves lead there.
    pub(crate) leaves: u32,
    /// When it was last written, or maintained.
    pub(crate) stamp: Stamp,
    /// Of a table: how many stores it has had since it was taken.
    pub(crate) stores: u16,
    /// Of a linked table: the tree, and its level there.
    pub(crate) tree: u8,
    pub(crate) level: u8,
    /// Of a linked table: the number of its first page.
    pub(crate) base: u64,
    /// Of a linked table: the sum over its entries, without what walks update.
    pub(crate) sum: u64,
}

impl Note {
    pub(crate) fn table_level(&self) -> Level {
        Level::from_number(self.level).unwrap_or(Level::L3)
    }

    pub(crate) const fn base(&self) -> Ipa {
        Ipa(self.base << 12)
    }

    /// Tells whether all of it was cleaned to the point of coherency since it was written.
    pub(crate) const fn is_clean(&self) -> bool {
        self.cleaned == 4096
    }

    /// Tells whether instruction fetches find all that was written to it beyond the data caches.
    pub(crate) const fn is_clean_for_fetch(&self) -> bool {
        self.cleaned_for_fetch == 4096
    }

    pub(crate) const fn is_allocated(&self) -> bool {
        !matches!(self.state, State::Unknown | State::Free)
    }

    /// Takes note that a leaf leads to the frame, or does not any more.
    pub const fn count_leaf(&mut self, is_new: bool) {
        count(&mut self.leaves, is_new);
    }

    /// Tells whether a leaf of its own size leads to the frame.
    pub const fn has_leaf(&self) -> bool {
        self.leaves != 0
    }

    /// Returns the note of a frame that was just taken.
    pub(crate) fn taken(state: State) -> Self {
        Self { state, ..Self::default() }
    }
}

/// Counts one more, or one less. A count that is full stays: a frame is never taken for one that nobody reaches.
pub(crate) const fn count(leaves: &mut u32, is_new: bool) {
    *leaves = match (*leaves, is_new) {
        (u32::MAX, _) => u32::MAX,
        (count, true) => count + 1,
        (count, false) => count.saturating_sub(1),
    };
}

/// There is no room to remember more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfRoom;

/// Where the notes are. What is not there reads as the default.
pub trait Notes {
    /// Returns the note of a frame.
    fn get(&self, frame: Hpa) -> Note;

    /// Changes the note of a frame; memory that is not watched has none.
    ///
    /// # Errors
    ///
    /// There is no room for it.
    fn change(&mut self, frame: Hpa, change: impl FnOnce(&mut Note)) -> Result<(), OutOfRoom>;

    /// Changes the notes of frames: `change` sees runs of frames that have the same note.
    ///
    /// # Errors
    ///
    /// There is no room for them all.
    fn change_all(&mut self, frames: Frames, change: impl FnMut(Frames, &mut Note)) -> Result<(), OutOfRoom>;

    /// Shows the notes of frames, in runs of frames that have the same note.
    fn each(&self, frames: Frames, see: impl FnMut(Frames, Note));

    /// Takes note that a leaf leads to the frames, or does not any more.
    ///
    /// # Errors
    ///
    /// There is no room for that.
    fn count_leaf(&mut self, frames: Frames, is_new: bool) -> Result<(), OutOfRoom>;

    /// Tells whether a leaf leads to any of the frames.
    fn has_leaf(&self, frames: Frames) -> bool;
}
