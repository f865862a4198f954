//! What an invalidation by IPA or by range names: its operand, decoded as the hardware decodes it.

use vmsa::{Entry, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE, Tlbi};

use crate::said::Said;

/// The addresses and the kinds of entries that an invalidation is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub(crate) range: IpaRange,
    /// The level that the leaves are at, where the operand says one.
    level: Option<u8>,
    is_leaf_only: bool,
}

impl Named {
    /// Decodes the operand (DDI 0487, C5.5); `None` where the operation takes none, or an operand that means nothing.
    pub(crate) fn by(op: Tlbi) -> Option<Self> {
        let operand = op.operand()?;
        match op {
            Tlbi::Ipa { leaf_only, .. } => Self::ipa(operand, leaf_only),
            Tlbi::Range { leaf_only, .. } => Self::range(operand, leaf_only),
            Tlbi::Stage1 | Tlbi::Vmid | Tlbi::All => None,
        }
    }

    /// IPA\[47:12\] is in bits 35 to 0, TTL in 47 to 44; the others are RES0 or say which space, which we never do.
    fn ipa(operand: u64, is_leaf_only: bool) -> Option<Self> {
        let (page, reserved, ttl) =
            (operand & ((1 << 36) - 1), operand >> 36 & 0xff | operand >> 48, operand >> 44 & 0xf);
        let level = match ttl {
            // No granule, no hint; of the 4 KiB granule's levels 0 is reserved, and means none.
            0..=4 => None,
            5..=7 => Some((ttl & 3) as u8),
            // Entries of another granule: there are none.
            _ => return None,
        };
        (reserved == 0).then(|| Self { range: IpaRange::page(Ipa(page << PAGE_SHIFT)), level, is_leaf_only })
    }

    /// BaseADDR is in bits 36 to 0, TTL in 38 to 37, NUM in 43 to 39, SCALE in 45 to 44, TG in 47 to 46.
    fn range(operand: u64, is_leaf_only: bool) -> Option<Self> {
        let (page, ttl) = (operand & ((1 << 37) - 1), operand >> 37 & 3);
        let (num, scale, tg) = (operand >> 39 & 0x1f, operand >> 44 & 3, operand >> 46 & 3);
        let pages = (num + 1) << (5 * scale + 1);
        let range = IpaRange::new(Ipa(page << PAGE_SHIFT), pages * PAGE_SIZE);
        let level = (ttl != 0).then_some(ttl as u8);
        (tg == 1 && operand >> 48 == 0).then_some(Self { range, level, is_leaf_only })
    }

    /// Tells whether what a TLB may hold of the descriptor is named for certain: an address of its own slot (another member of
    /// its group does not do), not by a hint of another level, and a table only by the form for all levels without a hint,
    /// which is for leaves.
    pub(crate) fn names(&self, was: &Said) -> bool {
        if self.range.intersection(was.span).is_empty() {
            return false;
        }
        match was.entry {
            Entry::Table(_) => !self.is_leaf_only && self.level.is_none(),
            _ => self.level.is_none_or(|level| level == was.level.number()),
        }
    }
}
