//! Memory that a VM gets, and that Linux is told to take away again.

use core::ptr;

use peers::{Failure, measure};

use crate::linux::{self, Advice};

/// Bytes in a page.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Bytes in a block.
pub(crate) const BLOCK_BYTES: usize = 2 << 20;

/// In what pieces the memory comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// 4 KiB.
    Page,
    /// 2 MiB.
    Block,
}

impl Piece {
    /// Returns its length in bytes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Page => PAGE_BYTES,
            Self::Block => BLOCK_BYTES,
        }
    }
}

/// Memory of this process, aligned to 2 MiB, that nothing in it refers to.
#[derive(Debug)]
pub(crate) struct Area {
    start: usize,
    pieces: usize,
    piece: Piece,
}

impl Area {
    /// Maps memory for `pieces`; none is there yet.
    pub(crate) fn new(pieces: usize, piece: Piece) -> Result<Self, Failure> {
        let len = (pieces * piece.bytes()).next_multiple_of(BLOCK_BYTES);
        let start = linux::map_memory(len + BLOCK_BYTES)?.next_multiple_of(BLOCK_BYTES);
        let advice = match piece {
            Piece::Page => Advice::NoHugePage,
            Piece::Block => Advice::HugePage,
        };
        // SAFETY: (1) it is new.
        unsafe { linux::advise(start, len, advice) }?;
        Ok(Self { start, pieces, piece })
    }

    /// Returns where it starts.
    pub(crate) const fn start(&self) -> usize {
        self.start
    }

    /// Returns its pieces.
    pub(crate) const fn pieces(&self) -> usize {
        self.pieces
    }

    /// Returns the length of a piece in bytes.
    pub(crate) const fn stride(&self) -> usize {
        self.piece.bytes()
    }

    /// Returns its length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.pieces * self.piece.bytes()
    }

    /// Writes a word of each piece, which Linux gives memory for.
    pub(crate) fn touch(&self) {
        for index in 0..self.pieces {
            let word = ptr::with_exposed_provenance_mut::<u64>(self.start + index * self.stride());
            // SAFETY: it lies in the mapping that this is, and nothing refers to it.
            unsafe { word.write_volatile(1) };
        }
    }

    /// Has Linux take the first `n` pieces away, and returns the instructions.
    pub(crate) fn take_away(&self, n: usize) -> Result<u64, Failure> {
        let (instructions, result) = measure(|| {
            // SAFETY: (1) nothing refers to what is in an area.
            unsafe { linux::advise(self.start, n * self.stride(), Advice::DontNeed) }
        });
        result.map(|()| instructions)
    }
}
