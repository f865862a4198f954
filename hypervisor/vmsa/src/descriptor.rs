//! Stage-2 descriptors: bits become meaning in [`Codec::decode`], meaning becomes bits in [`Codec::encode`].
//!
//! Layout: DDI 0487, D8.3 "Translation table descriptor formats" and D8.5/D8.6 for the stage-2 attributes.

use bitflags::bitflags;

use crate::{Hpa, Level};

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const MEM_ATTR_SHIFT: u32 = 2;
const MEM_ATTR_MASK: u64 = 0xf << MEM_ATTR_SHIFT;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
const SH_SHIFT: u32 = 8;
const SH_MASK: u64 = 0b11 << SH_SHIFT;
const SH_INNER: u64 = 0b11 << SH_SHIFT;
const ACCESS_FLAG: u64 = 1 << 10;
const OUTPUT_MASK: u64 = 0x0000_ffff_ffff_f000;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;
/// XN\[1:0\] = 0b10: executable at neither EL1 nor EL0, with FEAT_XNX and without.
const EXECUTE_NEVER: u64 = 1 << 54;
const SOFTWARE_SHIFT: u32 = 55;
const SOFTWARE_MASK: u64 = 0xf << SOFTWARE_SHIFT;

bitflags! {
    /// What a guest may do with a page.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub struct Perms: u8 {
        /// Loads.
        const READ = 1 << 0;
        /// Stores.
        const WRITE = 1 << 1;
        /// Instruction fetches, at EL1 and at EL0.
        const EXECUTE = 1 << 2;
    }
}

/// What kind of memory a guest sees, as far as stage 2 decides it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MemoryType {
    /// Normal, inner and outer write-back.
    #[default]
    Normal,
    /// Normal, non-cacheable.
    NonCacheable,
    /// Device-nGnRE.
    Device,
}

/// What a leaf says besides where it leads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// What the guest may do.
    pub perms: Perms,
    /// What kind of memory it sees.
    pub memory: MemoryType,
    /// AF: the page was used, or nobody asks. A leaf without it is never cached.
    pub accessed: bool,
    /// DBM: hardware may turn a read-only leaf into a writable one at a store (FEAT_HAFDBS).
    pub dirty_modifier: bool,
    /// The leaf is one of an aligned group of 16 that translate as one.
    pub contiguous: bool,
    /// Four bits that the hardware ignores and software owns.
    pub software: u8,
}

impl Attributes {
    /// Software bit: the page is shared with others who rely on its contents; it may not become writable in place.
    pub const SHARED: u8 = 1 << 0;

    /// Returns the attributes of ordinary memory with the given permissions, its access flag set.
    pub const fn normal(perms: Perms) -> Self {
        Self {
            perms,
            memory: MemoryType::Normal,
            accessed: true,
            dirty_modifier: false,
            contiguous: false,
            software: 0,
        }
    }
}

/// A leaf: a page, or a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Where it leads; aligned to the span of its level.
    pub output: Hpa,
    /// What else it says.
    pub attributes: Attributes,
}

/// What a descriptor means, at its level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry {
    /// Nothing: a translation fault. Never cached.
    Invalid,
    /// A table of the next level.
    Table(Hpa),
    /// Memory.
    Leaf(Leaf),
    /// Bits that mean nothing at this level; the hardware faults, and we never write them.
    Malformed(u64),
}

impl Entry {
    /// Tells whether the hardware may use, and so cache, the entry.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Table(_) | Self::Leaf(_))
    }
}

/// The encoding of descriptors on one machine: with FEAT_S2FWB on, MemAttr means something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Codec {
    /// HCR_EL2.FWB.
    pub forced_write_back: bool,
}

impl Codec {
    /// Returns what `raw` means in a table of `level`.
    pub fn decode(self, raw: u64, level: Level) -> Entry {
        match (raw & VALID != 0, raw & TABLE_OR_PAGE != 0, level) {
            (false, ..) => Entry::Invalid,
            (true, true, Level::L3) => self.decode_leaf(raw, level),
            (true, true, _) => Entry::Table(Hpa(raw & OUTPUT_MASK)),
            (true, false, Level::L1 | Level::L2) => self.decode_leaf(raw, level),
            (true, false, _) => Entry::Malformed(raw),
        }
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

    fn decode_leaf(self, raw: u64, level: Level) -> Entry {
        let Some(memory) = self.memory_of((raw & MEM_ATTR_MASK) >> MEM_ATTR_SHIFT) else {
            return Entry::Malformed(raw);
        };
        let output = Hpa(raw & OUTPUT_MASK);
        if !output.0.is_multiple_of(level.entry_span()) {
            return Entry::Malformed(raw);
        }
        let mut perms = Perms::empty();
        perms.set(Perms::READ, raw & S2AP_READ != 0);
        perms.set(Perms::WRITE, raw & S2AP_WRITE != 0);
        perms.set(Perms::EXECUTE, raw & EXECUTE_NEVER == 0);
        let attributes = Attributes {
            perms,
            memory,
            accessed: raw & ACCESS_FLAG != 0,
            dirty_modifier: raw & DIRTY_BIT_MODIFIER != 0,
            contiguous: raw & CONTIGUOUS != 0,
            software: ((raw & SOFTWARE_MASK) >> SOFTWARE_SHIFT) as u8,
        };
        Entry::Leaf(Leaf { output, attributes })
    }

    fn encode_leaf(self, leaf: Leaf, level: Level) -> u64 {
        let a = leaf.attributes;
        let when = |condition: bool, bits: u64| if condition { bits } else { 0 };
        leaf.output.0
            | VALID
            | when(level == Level::LEAF, TABLE_OR_PAGE)
            | self.mem_attr(a.memory) << MEM_ATTR_SHIFT
            | when(a.perms.contains(Perms::READ), S2AP_READ)
            | when(a.perms.contains(Perms::WRITE), S2AP_WRITE)
            | when(!a.perms.contains(Perms::EXECUTE), EXECUTE_NEVER)
            | SH_INNER
            | when(a.accessed, ACCESS_FLAG)
            | when(a.dirty_modifier, DIRTY_BIT_MODIFIER)
            | when(a.contiguous, CONTIGUOUS)
            | u64::from(a.software) << SOFTWARE_SHIFT & SOFTWARE_MASK
    }

    /// MemAttr\[3:0\]: D8.6 "Stage 2 memory region type and cacheability attributes"; with FWB 0b0110 forces write-back,
    /// 0b0101 forces non-cacheable, and the Device encodings stay.
    const fn mem_attr(self, memory: MemoryType) -> u64 {
        match (memory, self.forced_write_back) {
            (MemoryType::Normal, true) => 0b0110,
            (MemoryType::Normal, false) => 0b1111,
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

// A leaf with a shareability other than inner would decode like one with it: we write no other.
const _: () = assert!(SH_MASK == SH_INNER);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_attributes()(
            perms in 0u8..8, memory in 0usize..3, accessed: bool, dirty_modifier: bool, contiguous: bool, software in 0u8..16,
        ) -> Attributes {
            Attributes {
                perms: Perms::from_bits_truncate(perms),
                memory: [MemoryType::Normal, MemoryType::NonCacheable, MemoryType::Device][memory],
                accessed, dirty_modifier, contiguous, software,
            }
        }
    }

    fn any_level() -> impl Strategy<Value = Level> {
        (0u8..4).prop_map(|n| Level::from_number(n).unwrap())
    }

    proptest! {
        #[test]
        fn leaves_decode_to_what_was_encoded(
            fwb: bool, level in any_level(), frame in 0u64..1 << 36, attributes in any_attributes(),
        ) {
            prop_assume!(level.can_be_leaf());
            let codec = Codec { forced_write_back: fwb };
            let output = Hpa(frame << 12 & !(level.entry_span() - 1));
            let entry = Entry::Leaf(Leaf { output, attributes });
            prop_assert_eq!(codec.decode(codec.encode(entry, level), level), entry);
        }

        #[test]
        fn every_word_decodes_to_something_that_encodes_to_an_equal_meaning(
            fwb: bool, level in any_level(), raw: u64,
        ) {
            let codec = Codec { forced_write_back: fwb };
            let entry = codec.decode(raw, level);
            prop_assert_eq!(codec.decode(codec.encode(entry, level), level), entry);
            prop_assert!(raw & 1 == 1 || entry == Entry::Invalid);
        }

        #[test]
        fn tables_decode_to_what_was_encoded(frame in 0u64..1 << 36) {
            let codec = Codec { forced_write_back: false };
            let entry = Entry::Table(Hpa(frame << 12));
            for level in [Level::L0, Level::L1, Level::L2] {
                prop_assert_eq!(codec.decode(codec.encode(entry, level), level), entry);
            }
        }
    }

    #[test]
    fn a_writable_page_has_the_bits_of_the_manual() {
        let leaf = Leaf { output: Hpa(0x4020_3000), attributes: Attributes::normal(Perms::READ | Perms::WRITE) };
        let bits = |fwb| Codec { forced_write_back: fwb }.encode(Entry::Leaf(leaf), Level::L3);
        assert_eq!(bits(false), 0x0040_0000_4020_37ff);
        assert_eq!(bits(true), 0x0040_0000_4020_37db);
    }

    #[test]
    fn a_block_where_none_can_be_is_malformed() {
        let codec = Codec { forced_write_back: false };
        assert_eq!(codec.decode(0x7fd, Level::L0), Entry::Malformed(0x7fd));
        assert_eq!(codec.decode(0x7fd, Level::L3), Entry::Malformed(0x7fd));
    }
}
