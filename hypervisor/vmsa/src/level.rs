//! Lookup levels.

use crate::address::{Ipa, PAGE_SHIFT};

/// How many entries a table has.
pub const ENTRIES: usize = 512;

const BITS_PER_LEVEL: u32 = 9;

/// A lookup level: 0 is the root of a full tree, 3 holds pages (DDI 0487, D8.2).
///
/// A word long: next to a byte there are bytes to spare, which EL2, where memory may not be accessed unaligned, copies by themselves.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u32)]
#[expect(missing_docs, reason = "the levels are numbered as in the architecture")]
pub enum Level {
    L0 = 0,
    L1 = 1,
    L2 = 2,
    L3 = 3,
}

impl Level {
    /// The level whose entries can only be pages.
    pub const LEAF: Self = Self::L3;

    /// Returns the level of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::L0),
            1 => Some(Self::L1),
            2 => Some(Self::L2),
            3 => Some(Self::L3),
            _ => None,
        }
    }

    /// Returns the number of the level.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the level that the tables of this one lead to, or `None` at the last.
    pub const fn next(self) -> Option<Self> {
        Self::from_number(self as u8 + 1)
    }

    /// Returns the base-two logarithm of the bytes that one entry spans.
    pub const fn shift(self) -> u32 {
        PAGE_SHIFT + BITS_PER_LEVEL * (Self::LEAF as u32 - self as u32)
    }

    /// Returns the bytes that one entry spans.
    pub const fn entry_span(self) -> u64 {
        1 << self.shift()
    }

    /// Returns the bytes that a whole table of this level spans.
    pub const fn table_span(self) -> u64 {
        self.entry_span() << BITS_PER_LEVEL
    }

    /// Returns the place of `ipa` in a table of this level, the extra bits of a concatenated root not counted.
    pub const fn index(self, ipa: Ipa) -> usize {
        (ipa.0 >> self.shift()) as usize % ENTRIES
    }

    /// Tells whether an entry of this level can map memory: pages at level 3, blocks at 2 and 1 (without FEAT_LPA2 none at 0).
    pub const fn can_be_leaf(self) -> bool {
        !matches!(self, Self::L0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_each_other_and_span_512_times_less() {
        assert_eq!([Level::L0, Level::L1, Level::L2, Level::L3].map(Level::number), [0, 1, 2, 3]);
        assert_eq!([Level::L0, Level::L2, Level::L3].map(Level::next), [Some(Level::L1), Some(Level::L3), None]);
        for (level, span) in [(Level::L3, 1 << 12), (Level::L2, 1 << 21), (Level::L1, 1 << 30), (Level::L0, 1 << 39)] {
            assert_eq!((level.entry_span(), level.table_span()), (span, span * 512), "{level:?}");
        }
    }

    #[test]
    fn an_address_has_nine_bits_for_each_level() {
        let ipa = Ipa(5 << 39 | 6 << 30 | 7 << 21 | 511 << 12 | 0xabc);
        assert_eq!([Level::L0, Level::L1, Level::L2, Level::L3].map(|level| level.index(ipa)), [5, 6, 7, 511]);
    }
}
