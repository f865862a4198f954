//! Stage-2 descriptors: bits become meaning in [`Codec::decode`], meaning becomes bits in [`Codec::encode`].
//!
//! Layout: DDI 0487, D8.3 "Translation table descriptor formats" and D8.5/D8.6 for the stage-2 attributes.

use crate::{Attributes, Dirty, DirtyLevel, Entry, Features, Hpa, Leaf, Level, MemoryType, Perms};

const VALID: u64 = Codec::VALID;
const TABLE_OR_PAGE: u64 = Codec::TABLE_OR_PAGE;
const MEM_ATTR_SHIFT: u32 = 2;
const MEM_ATTR_MASK: u64 = 0xf << MEM_ATTR_SHIFT;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
const SH_SHIFT: u32 = 8;
const SH_MASK: u64 = 0b11 << SH_SHIFT;
const SH_INNER: u64 = 0b11 << SH_SHIFT;
const ACCESS_FLAG: u64 = 1 << 10;
const OUTPUT_MASK: u64 = 0x0000_ffff_ffff_f000;
/// Bit 16 of a block: nT, with FEAT_BBM of level 1 or 2.
const NO_TRANSLATION: u64 = 1 << 16;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;
/// XN\[1:0\]: 0b00 lets EL1 and EL0 fetch, 0b01 EL0, 0b11 EL1, 0b10 neither. Without FEAT_XNX bit 53 is RES0.
const XN_SHIFT: u32 = 53;
const XN_MASK: u64 = 0b11 << XN_SHIFT;
/// Bits that the hardware ignores: one says that a page is shared, two keep the dirty state.
const SHARED: u64 = 1 << 55;
const TRACK_SHIFT: u32 = 56;
const TRACK_MASK: u64 = 0b11 << TRACK_SHIFT;

/// The encoding of descriptors on one machine: its features give bits a meaning, or take it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Codec {
    /// HCR_EL2.FWB: MemAttr means something else.
    pub forced_write_back: bool,
    /// VTCR_EL2.HD: DBM means something.
    pub hardware_dirty: bool,
    /// FEAT_XNX: XN has two bits.
    pub execute_per_level: bool,
}

impl Codec {
    /// Bit 0 of a descriptor: without it the other bits mean nothing to the hardware.
    pub const VALID: u64 = 1;
    /// Bit 1 of a descriptor: above level 3, a valid one without it leads to no table.
    pub const TABLE_OR_PAGE: u64 = 1 << 1;
    /// The bits that tell a leaf, a table and nothing from each other.
    pub const KIND: u64 = VALID | TABLE_OR_PAGE;
    /// The bit of a leaf that is one of a group.
    pub const CONTIGUOUS: u64 = CONTIGUOUS;

    /// Returns what [`Codec::KIND`] has in a leaf of `level`.
    pub const fn leaf_kind(level: Level) -> u64 {
        if matches!(level, Level::L3) { VALID | TABLE_OR_PAGE } else { VALID }
    }

    /// Returns the bits in which a leaf of `level` says where it leads: leaves that are alike but for that differ in no others.
    pub const fn output_bits(level: Level) -> u64 {
        OUTPUT_MASK & !(level.entry_span() - 1)
    }

    /// Returns the table that a descriptor in a table of `level` leads to.
    pub const fn table(raw: u64, level: Level) -> Option<Hpa> {
        let is_table = raw & Self::KIND == Self::KIND && !matches!(level, Level::L3);
        if is_table { Some(Hpa(raw & OUTPUT_MASK)) } else { None }
    }

    /// Returns the encoding on a machine of which all that is used that it has.
    pub fn of(features: &Features) -> Self {
        Self {
            forced_write_back: features.forced_write_back,
            hardware_dirty: features.dirty == DirtyLevel::Dirty,
            execute_per_level: features.execute_per_level,
        }
    }

    /// Returns what `raw` means in a table of `level`.
    pub fn decode(self, raw: u64, level: Level) -> Entry {
        if raw & VALID == 0 {
            return Entry::Invalid;
        }
        if let Some(table) = Self::table(raw, level) {
            return Entry::Table(table);
        }
        if raw & Self::KIND == Self::leaf_kind(level) && level.can_be_leaf() {
            return self.decode_leaf(raw, level);
        }
        Entry::Malformed(raw)
    }

    /// Returns the bits of `entry` for a table of `level`.
    pub fn encode(self, entry: Entry, level: Level) -> u64 {
        match entry {
            Entry::Invalid => 0,
            Entry::Table(table) => table.0 | TABLE_OR_PAGE | VALID,
            Entry::Leaf(leaf) => self.encode_leaf(leaf, level),
            Entry::Malformed(raw) => raw,
        }
    }

    /// Returns the attributes as a leaf of this machine can say them: without FEAT_XNX instructions are fetched at both levels
    /// or at none.
    pub fn sayable(self, attributes: Attributes) -> Attributes {
        let perms = attributes.perms;
        if self.execute_per_level || perms.contains(Perms::EXECUTE) {
            return attributes;
        }
        Attributes { perms: perms - Perms::EXECUTE, ..attributes }
    }

    fn decode_leaf(self, raw: u64, level: Level) -> Entry {
        let meaning = self.attributes_of(raw, level).map(|attributes| {
            let nt = if level == Level::L3 { 0 } else { NO_TRANSLATION };
            Leaf { output: Hpa(raw & OUTPUT_MASK & !nt), attributes }
        });
        match meaning {
            Some(leaf) if leaf.output.0.is_multiple_of(level.entry_span()) => Entry::Leaf(leaf),
            _ => Entry::Malformed(raw),
        }
    }

    fn attributes_of(self, raw: u64, level: Level) -> Option<Attributes> {
        let may_write = raw & S2AP_WRITE != 0;
        let (is_writable, dirty) = match (raw & TRACK_MASK) >> TRACK_SHIFT {
            0b00 => (may_write, Dirty::Untracked),
            0b11 if may_write => (true, Dirty::Dirty),
            0b11 => (true, Dirty::Clean),
            _ if may_write => return None,
            0b01 => (false, Dirty::Clean),
            _ => (false, Dirty::Dirty),
        };
        let is_watched = raw & TRACK_MASK == TRACK_MASK && self.hardware_dirty;
        if is_watched != (raw & DIRTY_BIT_MODIFIER != 0) {
            return None;
        }
        let mut perms = self.execute_of((raw & XN_MASK) >> XN_SHIFT)?;
        perms.set(Perms::READ, raw & S2AP_READ != 0);
        perms.set(Perms::WRITE, is_writable);
        Some(Attributes {
            perms,
            memory: self.memory_of((raw & MEM_ATTR_MASK) >> MEM_ATTR_SHIFT)?,
            accessed: raw & ACCESS_FLAG != 0,
            dirty,
            contiguous: raw & CONTIGUOUS != 0,
            uncached: level != Level::L3 && raw & NO_TRANSLATION != 0,
            shared: raw & SHARED != 0,
        })
    }

    fn encode_leaf(self, leaf: Leaf, level: Level) -> u64 {
        let a = leaf.attributes;
        let kind = if level == Level::L3 && !planted::is(52) { TABLE_OR_PAGE } else { 0 };
        let is_writable = a.perms.contains(Perms::WRITE);
        let track = match (a.dirty, is_writable) {
            (Dirty::Untracked, _) => 0b00,
            (Dirty::Clean, false) => 0b01,
            (Dirty::Dirty, false) => 0b10,
            (_, true) => 0b11,
        };
        leaf.output.0
            | VALID
            | kind
            | self.mem_attr(a.memory) << MEM_ATTR_SHIFT
            | when(a.perms.contains(Perms::READ), S2AP_READ)
            | when(is_writable && a.dirty != Dirty::Clean, S2AP_WRITE)
            | SH_INNER
            | when(a.accessed, ACCESS_FLAG)
            | when(a.uncached && level != Level::L3, NO_TRANSLATION)
            | when(track == 0b11 && self.hardware_dirty, DIRTY_BIT_MODIFIER)
            | when(a.contiguous, CONTIGUOUS)
            | self.execute_never(a.perms) << XN_SHIFT
            | when(a.shared, SHARED)
            | track << TRACK_SHIFT
    }

    fn execute_never(self, perms: Perms) -> u64 {
        match perms & Perms::EXECUTE {
            Perms::EXECUTE => 0b00,
            Perms::EXECUTE_EL0 if self.execute_per_level => 0b01,
            Perms::EXECUTE_EL1 if self.execute_per_level => 0b11,
            _ => 0b10,
        }
    }

    fn execute_of(self, xn: u64) -> Option<Perms> {
        match xn {
            0b00 => Some(Perms::EXECUTE),
            0b10 => Some(Perms::empty()),
            0b01 if self.execute_per_level => Some(Perms::EXECUTE_EL0),
            0b11 if self.execute_per_level => Some(Perms::EXECUTE_EL1),
            _ => None,
        }
    }

    /// MemAttr\[3:0\]: D8.6 "Stage 2 memory region type and cacheability attributes"; with FWB 0b0110 forces write-back,
    /// 0b0101 forces non-cacheable, and the Device encodings stay.
    fn mem_attr(self, memory: MemoryType) -> u64 {
        match (memory, self.forced_write_back) {
            (MemoryType::Normal, true) if !planted::is(69) => 0b0110,
            (MemoryType::Normal, _) => 0b1111,
            (MemoryType::NonCacheable, _) => 0b0101,
            (MemoryType::Device, _) => 0b0001,
        }
    }

    fn memory_of(self, mem_attr: u64) -> Option<MemoryType> {
        [MemoryType::Normal, MemoryType::NonCacheable, MemoryType::Device]
            .into_iter()
            .find(|memory| self.mem_attr(*memory) == mem_attr)
    }
}

const fn when(is_set: bool, bits: u64) -> u64 {
    if is_set { bits } else { 0 }
}

// A leaf with a shareability other than inner would decode like one with it: we write no other.
const _: () = assert!(SH_MASK == SH_INNER);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_attributes()(
            perms in 0u8..16, memory in 0usize..3, accessed: bool, dirty in 0usize..3, contiguous: bool, uncached: bool,
            shared: bool,
        ) -> Attributes {
            Attributes {
                perms: Perms::from_bits_truncate(perms),
                memory: [MemoryType::Normal, MemoryType::NonCacheable, MemoryType::Device][memory],
                dirty: [Dirty::Untracked, Dirty::Clean, Dirty::Dirty][dirty],
                accessed, contiguous, uncached, shared,
            }
        }
    }

    prop_compose! {
        fn any_codec()(forced_write_back: bool, hardware_dirty: bool, execute_per_level: bool) -> Codec {
            Codec { forced_write_back, hardware_dirty, execute_per_level }
        }
    }

    const PLAIN: Codec = Codec { forced_write_back: false, hardware_dirty: false, execute_per_level: false };

    fn any_level() -> impl Strategy<Value = Level> {
        (0u8..4).prop_map(|n| Level::from_number(n).unwrap())
    }

    proptest! {
        #[test]
        fn leaves_decode_to_what_was_encoded(
            codec in any_codec(), level in any_level(), frame in 0u64..1 << 36, attributes in any_attributes(),
        ) {
            prop_assume!(level.can_be_leaf());
            let output = Hpa(frame << 12 & !(level.entry_span() - 1));
            let said = Attributes { uncached: attributes.uncached && level != Level::L3, ..codec.sayable(attributes) };
            let bits = codec.encode(Entry::Leaf(Leaf { output, attributes }), level);
            prop_assert_eq!(codec.decode(bits, level), Entry::Leaf(Leaf { output, attributes: said }));
        }

        #[test]
        fn every_word_decodes_to_something_that_encodes_to_an_equal_meaning(
            codec in any_codec(), level in any_level(), raw: u64,
        ) {
            let entry = codec.decode(raw, level);
            prop_assert_eq!(codec.decode(codec.encode(entry, level), level), entry);
            prop_assert!(raw & 1 == 1 || entry == Entry::Invalid);
            prop_assert_eq!(Codec::table(raw, level), if let Entry::Table(table) = entry { Some(table) } else { None });
            prop_assert!(!matches!(entry, Entry::Leaf(_)) || raw & Codec::KIND == Codec::leaf_kind(level));
        }

        #[test]
        fn leaves_that_are_alike_differ_only_in_where_they_lead(
            codec in any_codec(), level in any_level(), frames in [0u64..1 << 36, 0u64..1 << 36], attributes in any_attributes(),
        ) {
            prop_assume!(level.can_be_leaf());
            let [first, second] = frames.map(|frame| {
                let output = Hpa(frame << 12 & !(level.entry_span() - 1));
                codec.encode(Entry::Leaf(Leaf { output, attributes }), level)
            });
            prop_assert_eq!((first ^ second) & !Codec::output_bits(level), 0);
            let grouped = Attributes { contiguous: true, ..attributes };
            let bits = |attributes| codec.encode(Entry::Leaf(Leaf { output: Hpa(0), attributes }), level);
            prop_assert_eq!(bits(grouped), bits(Attributes { contiguous: false, ..attributes }) | Codec::CONTIGUOUS);
            prop_assert_eq!(bits(grouped) & Codec::output_bits(level), 0);
        }

        #[test]
        fn tables_decode_to_what_was_encoded(frame in 0u64..1 << 36) {
            let entry = Entry::Table(Hpa(frame << 12));
            for level in [Level::L0, Level::L1, Level::L2] {
                prop_assert_eq!(PLAIN.decode(PLAIN.encode(entry, level), level), entry);
            }
        }
    }

    #[test]
    fn a_writable_page_has_the_bits_of_the_manual() {
        let leaf = Leaf { output: Hpa(0x4020_3000), attributes: Attributes::normal(Perms::READ | Perms::WRITE) };
        let bits = |forced_write_back| Codec { forced_write_back, ..PLAIN }.encode(Entry::Leaf(leaf), Level::L3);
        assert_eq!(bits(false), 0x0040_0000_4020_37ff);
        assert_eq!(bits(true), 0x0040_0000_4020_37db);
    }

    /// DDI 0487, D8.6 "Stage 2 data accesses" and "Hardware management of dirty state": S2AP is bits 7 and 6, DBM bit 51.
    #[test]
    fn a_clean_page_is_read_only_until_the_hardware_or_a_fault_makes_it_dirty() {
        let page =
            |dirty, perms| Leaf { output: Hpa(0), attributes: Attributes { dirty, ..Attributes::normal(perms) } };
        let (read, write) = (Perms::READ, Perms::READ | Perms::WRITE);
        let bits = |hardware_dirty, leaf| Codec { hardware_dirty, ..PLAIN }.encode(Entry::Leaf(leaf), Level::L3);
        for (hardware, dbm) in [(true, 1 << 51), (false, 0)] {
            assert_eq!(bits(hardware, page(Dirty::Clean, write)) & (1 << 51 | 1 << 7), dbm);
            assert_eq!(bits(hardware, page(Dirty::Dirty, write)) & (1 << 51 | 1 << 7), dbm | 1 << 7);
            assert_eq!(bits(hardware, page(Dirty::Dirty, read)) & (1 << 51 | 1 << 7), 0, "nothing turns it writable");
        }
        // What the hardware does to a clean page makes it a dirty one.
        let codec = Codec { hardware_dirty: true, ..PLAIN };
        let clean = codec.encode(Entry::Leaf(page(Dirty::Clean, write)), Level::L3);
        assert_eq!(codec.decode(clean | 1 << 7, Level::L3), Entry::Leaf(page(Dirty::Dirty, write)));
    }

    /// DDI 0487, D8.6 "Stage 2 instruction execution": XN\[1:0\] is bits 54 and 53.
    #[test]
    fn execute_permissions_are_per_level_with_xnx_and_one_without() {
        let xn = |execute_per_level, perms| {
            let leaf = Leaf { output: Hpa(0), attributes: Attributes::normal(perms) };
            Codec { execute_per_level, ..PLAIN }.encode(Entry::Leaf(leaf), Level::L3) >> 53 & 3
        };
        let per_level = [Perms::EXECUTE, Perms::EXECUTE_EL0, Perms::empty(), Perms::EXECUTE_EL1].map(|p| xn(true, p));
        assert_eq!(per_level, [0, 1, 2, 3]);
        let one = [Perms::EXECUTE, Perms::EXECUTE_EL0, Perms::empty(), Perms::EXECUTE_EL1].map(|p| xn(false, p));
        assert_eq!(one, [0, 2, 2, 2]);
    }

    #[test]
    fn a_block_where_none_can_be_is_malformed() {
        assert_eq!(PLAIN.decode(0x7fd, Level::L0), Entry::Malformed(0x7fd));
        assert_eq!(PLAIN.decode(0x7fd, Level::L3), Entry::Malformed(0x7fd));
    }

    #[test]
    fn bits_that_contradict_each_other_are_malformed() {
        let page =
            PLAIN.encode(Entry::Leaf(Leaf { output: Hpa(0), attributes: Attributes::normal(Perms::READ) }), Level::L3);
        for bad in [1 << 51, 1 << 53, 1 << 56 | 1 << 7] {
            assert_eq!(PLAIN.decode(page | bad, Level::L3), Entry::Malformed(page | bad), "{bad:#x}");
        }
        let executable = page & !(1 << 54);
        assert_eq!(PLAIN.decode(executable | 1 << 53, Level::L3), Entry::Malformed(executable | 1 << 53));
    }

    #[test]
    fn a_block_that_is_not_aligned_is_malformed() {
        let block =
            PLAIN.encode(Entry::Leaf(Leaf { output: Hpa(0), attributes: Attributes::normal(Perms::READ) }), Level::L2);
        assert!(matches!(PLAIN.decode(block | 0x20_0000, Level::L2), Entry::Leaf(_)));
        assert_eq!(PLAIN.decode(block | 0x10_0000, Level::L2), Entry::Malformed(block | 0x10_0000));
    }

    #[test]
    fn what_the_hardware_may_use_is_live() {
        let leaf = Leaf { output: Hpa(0), attributes: Attributes::normal(Perms::READ) };
        assert!(Entry::Table(Hpa(0)).is_live() && Entry::Leaf(leaf).is_live());
        assert!(!Entry::Invalid.is_live() && !Entry::Malformed(0x7fd).is_live());
    }

    #[test]
    fn dirty_state_is_the_hardwares_where_it_keeps_it() {
        let is_kept = |dirty| Codec::of(&Features { dirty, ..Features::default() }).hardware_dirty;
        let levels = [DirtyLevel::None, DirtyLevel::AccessFlag, DirtyLevel::Dirty];
        assert_eq!(levels.map(is_kept), [false, false, true]);
    }

    #[test]
    fn a_leaf_lets_through_what_it_grants_once_no_flag_has_to_be_set() {
        let page = Attributes::normal(Perms::READ | Perms::WRITE);
        assert!(page.allows(Perms::READ) && page.allows(Perms::WRITE) && page.allows(Perms::READ | Perms::WRITE));
        assert!(!page.allows(Perms::EXECUTE));
        let unseen = Attributes { accessed: false, ..page };
        assert!(!unseen.allows(Perms::READ));
        let clean = Attributes { dirty: Dirty::Clean, ..page };
        assert!(clean.allows(Perms::READ) && !clean.allows(Perms::WRITE));
        let dirty = Attributes { dirty: Dirty::Dirty, ..page };
        assert!(dirty.allows(Perms::WRITE) && !dirty.allows(Perms::WRITE | Perms::EXECUTE));
    }
}
