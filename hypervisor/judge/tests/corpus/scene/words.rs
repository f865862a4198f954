//! Descriptors and operands, bit by bit: a second reading of the manual, on purpose not the project's own codec.

/// Where a scene's first page is mapped: the first of its table, and of a gibibyte.
pub(crate) const IPA: u64 = 0x8000_0000;
pub(crate) const PAGE: u64 = 0x1000;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

pub(crate) const VALID: u64 = 1;
/// Bit 1: a table, or at level 3 a page.
pub(crate) const TABLE: u64 = 0b11;
/// The bits of an address that a table or a page is at.
pub(crate) const OUTPUT: u64 = 0xffff_ffff_f000;
pub(crate) const MEM_ATTR: u64 = 0b1111 << 2;
/// MemAttr of write-back memory where HCR_EL2.FWB is 1.
pub(crate) const FORCED_WRITE_BACK: u64 = 0b0110 << 2;
/// MemAttr of write-back memory where it is 0.
pub(crate) const WRITE_BACK: u64 = 0b1111 << 2;
/// MemAttr of memory that is not cached, where HCR_EL2.FWB is 0.
pub(crate) const NON_CACHEABLE: u64 = 0b0101 << 2;
/// MemAttr of Device-nGnRnE, in both readings.
pub(crate) const DEVICE: u64 = 0b0000 << 2;
/// MemAttr of Device-nGnRE, in both readings.
pub(crate) const DEVICE_EARLY: u64 = 0b0001 << 2;
/// S2AP[0].
pub(crate) const READ: u64 = 1 << 6;
/// S2AP[1].
pub(crate) const WRITE: u64 = 1 << 7;
pub(crate) const SHAREABILITY: u64 = 0b11 << 8;
pub(crate) const INNER: u64 = 0b11 << 8;
pub(crate) const OUTER: u64 = 0b10 << 8;
pub(crate) const ACCESSED: u64 = 1 << 10;
/// FnXS of FEAT_XS: the guest's accesses have XS = 0, whatever it asks for.
pub(crate) const FNXS: u64 = 1 << 11;
/// nT of FEAT_BBM level 1.
pub(crate) const NO_CACHING: u64 = 1 << 16;
pub(crate) const DIRTY_MANAGED: u64 = 1 << 51;
pub(crate) const CONTIGUOUS: u64 = 1 << 52;
/// XN[0], which is defined with FEAT_XNX.
pub(crate) const XN_SPLIT: u64 = 1 << 53;
pub(crate) const EXECUTE_NEVER: u64 = 1 << 54;
pub(crate) const SOFTWARE: u64 = 0b1111 << 55;

/// VTCR_EL2.HA and HD.
pub(crate) const HA: u64 = 1 << 21;
pub(crate) const HD: u64 = 1 << 22;
/// HCR_EL2.FWB.
pub(crate) const FWB: u64 = 1 << 46;
/// HCR_EL2.E2H and TGE.
pub(crate) const E2H: u64 = 1 << 34;
pub(crate) const TGE: u64 = 1 << 27;

/// Returns how many bytes an entry of the level spans.
pub(crate) const fn span(level: u8) -> u64 {
    PAGE << (9 * (3 - level))
}

/// Returns the descriptor of a table.
pub(crate) const fn table(pa: u64) -> u64 {
    pa | TABLE
}

/// Returns the operand of a TLBI by IPA that claims a level: the granule is 4 KiB.
pub(crate) const fn hinted(ipa: u64, level: u64) -> u64 {
    (0b0100 | level) << 44 | ipa >> 12
}

/// The operand of a range TLBI, field by field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) ipa: u64,
    /// How many times 2^(5 × `scale` + 1) pages.
    pub(crate) times: u64,
    pub(crate) scale: u64,
    /// 0 claims nothing.
    pub(crate) level: u64,
}

impl Range {
    /// Returns the range of `2 * pairs` pages.
    pub(crate) const fn pairs(ipa: u64, pairs: u64) -> Self {
        Self { ipa, times: pairs, scale: 0, level: 0 }
    }

    /// Returns the operand, for the 4 KiB granule.
    pub(crate) const fn operand(self) -> u64 {
        self.operand_for_granule(0b01)
    }

    /// Returns the operand with another TG.
    pub(crate) const fn operand_for_granule(self, granule: u64) -> u64 {
        granule << 46 | self.scale << 44 | (self.times - 1) << 39 | self.level << 37 | self.ipa >> 12
    }
}
