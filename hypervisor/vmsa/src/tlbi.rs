//! TLB invalidations of the EL1&0 regime, as EL2 issues them for the VMID that VTTBR_EL2 holds.
//!
//! Encodings of the operand: DDI 0487, C5.5 "A64 System instructions for TLB maintenance".

use crate::{Ipa, Level, PAGE_SHIFT};

/// How far an invalidation reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// This CPU.
    Local,
    /// Every CPU of the inner shareable domain: the forms that end in `IS`.
    Broadcast,
}

/// A TLB invalidation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tlbi {
    /// `IPAS2E1`, `IPAS2LE1`: stage-2 entries for one IPA; not the combined ones.
    Ipa {
        /// Any address in the page or block.
        ipa: Ipa,
        /// The level of the leaf, where it is known and the CPU takes hints.
        level: Option<Level>,
        /// Last-level entries only: no table that led to it is meant.
        leaf_only: bool,
    },
    /// `RIPAS2E1`, `RIPAS2LE1`: stage-2 entries for a range of IPAs; not the combined ones.
    Range {
        /// What the operand covers.
        operand: RangeOperand,
        /// The level of all the leaves, where it is known.
        level: Option<Level>,
        /// Last-level entries only.
        leaf_only: bool,
    },
    /// `VMALLE1`: stage-1 and combined entries of the VMID.
    Stage1,
    /// `VMALLS12E1`: everything of the VMID.
    Vmid,
    /// `ALLE1`: everything of every VMID.
    All,
}

impl Tlbi {
    /// Returns the operand, where the operation takes one.
    pub fn operand(self) -> Option<u64> {
        match self {
            Self::Ipa { ipa, level, .. } => {
                let shift = if planted::is(16) { 0 } else { PAGE_SHIFT };
                let leaked = if planted::is(25) { ipa.0 >> 28 & 0xf } else { 0 };
                Some((ttl(level) | leaked) << 44 | (ipa.0 >> shift) & ((1 << 36) - 1))
            }
            Self::Range { operand, level, .. } => Some(operand.bits(level)),
            Self::Stage1 | Self::Vmid | Self::All => None,
        }
    }
}

/// TTL: the 4 KiB granule and the level; 0 says nothing.
const fn ttl(level: Option<Level>) -> u64 {
    match level {
        // Level 0 holds no leaves (without FEAT_LPA2), and its encoding is reserved.
        None | Some(Level::L0) => 0,
        Some(level) => 0b01 << 2 | level.number() as u64,
    }
}

/// A range as the range operations encode it: `(num + 1) << (5 * scale + 1)` pages from `base`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RangeOperand {
    base: Ipa,
    num: u64,
    scale: u64,
}

impl RangeOperand {
    /// The most pages that one operation can cover: 8 GiB of them.
    pub const MAX_PAGES: u64 = 1 << 21;

    /// Returns the first address covered.
    pub const fn base(self) -> Ipa {
        self.base
    }

    /// Returns how many pages are covered.
    pub const fn pages(self) -> u64 {
        (self.num + 1) << (5 * self.scale + 1)
    }

    fn bits(self, level: Option<Level>) -> u64 {
        const TG_4K: u64 = 0b01 << 46;
        let ttl = match level {
            None | Some(Level::L0) => 0,
            Some(level) => level.number() as u64,
        };
        let granule = if planted::is(21) { 0 } else { TG_4K };
        let scale = self.scale.saturating_sub(planted::is(19) as u64);
        let num = self.num.saturating_sub(planted::is(20) as u64);
        granule | scale << 44 | num << 39 | ttl << 37 | self.base.0 >> PAGE_SHIFT
    }
}

/// Returns the one operand that covers `pages` pages from `base` with the least excess, or `None` where no operand is large
/// enough. Too much may be covered, though never twice the range: invalidating what is still valid costs a walk, a second
/// operation costs more.
pub fn range_operand(base: Ipa, pages: u64) -> Option<RangeOperand> {
    let mut scale = 0;
    while scale <= 3 {
        let unit = 1 << (5 * scale + 1);
        let units = if planted::is(22) { pages / unit } else { pages.div_ceil(unit) };
        if units <= 32 {
            let num = if units == 0 { 0 } else { units - 1 };
            return Some(RangeOperand { base: base.page_base(), num, scale });
        }
        scale += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_operand_covers_its_pages_and_hardly_more(page in 0u64..1 << 36, pages in 1..=RangeOperand::MAX_PAGES) {
            let operand = range_operand(Ipa(page << 12), pages).unwrap();
            prop_assert_eq!(operand.base(), Ipa(page << 12));
            prop_assert!(operand.pages() >= pages);
            prop_assert!(operand.pages() < pages * 2 || operand.pages() == 2);
        }

        /// Decodes the bits as the architecture's pseudocode for TLBI range operands does.
        #[test]
        fn the_bits_say_what_the_operand_means(page in 0u64..1 << 36, pages in 1..=RangeOperand::MAX_PAGES) {
            let operand = range_operand(Ipa(page << 12), pages).unwrap();
            let bits = Tlbi::Range { operand, level: Some(Level::L3), leaf_only: true }.operand().unwrap();
            prop_assert_eq!(bits & ((1 << 37) - 1), page);
            prop_assert_eq!(bits >> 37 & 3, 3);
            let (num, scale, tg) = (bits >> 39 & 0x1f, bits >> 44 & 3, bits >> 46 & 3);
            prop_assert_eq!((num + 1) << (5 * scale + 1), operand.pages());
            prop_assert_eq!((tg, bits >> 48), (1, 0));
        }
    }

    #[test]
    fn more_than_8_gib_has_no_operand() {
        assert!(range_operand(Ipa(0), RangeOperand::MAX_PAGES).is_some());
        assert_eq!(range_operand(Ipa(0), RangeOperand::MAX_PAGES + 1), None);
    }

    #[test]
    fn an_ipa_operand_is_the_page_number_and_the_hint() {
        let op = |level| Tlbi::Ipa { ipa: Ipa(0x8000_1fff), level, leaf_only: true }.operand();
        assert_eq!(op(None), Some(0x8_0001));
        assert_eq!(op(Some(Level::L3)), Some(0x7 << 44 | 0x8_0001));
        assert_eq!(Tlbi::Stage1.operand(), None);
    }
}
