//! What a CPU can do, read once from its ID registers (DDI 0487, D19 "AArch64 System Register Descriptions").

/// FEAT_BBM: how a block may be replaced by a table of the same meaning, or the other way (ID_AA64MMFR2_EL1.BBM).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum BbmLevel {
    /// Only by break-before-make.
    #[default]
    BreakFirst,
    /// With the nT bit set until the old size is invalidated.
    NoTranslationCaching,
    /// Directly; a TLB conflict abort may follow.
    Direct,
}

/// FEAT_HAFDBS: what the table walk itself updates (ID_AA64MMFR1_EL1.HAFDBS).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum DirtyLevel {
    /// Nothing.
    #[default]
    None,
    /// The access flag.
    AccessFlag,
    /// The access flag and the dirty state.
    Dirty,
}

/// The ID registers that [`Features`] is made from, as they were read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is named for its register")]
pub struct IdRegisters {
    pub id_aa64mmfr0_el1: u64,
    pub id_aa64mmfr1_el1: u64,
    pub id_aa64mmfr2_el1: u64,
    pub id_aa64isar0_el1: u64,
    pub id_aa64pfr0_el1: u64,
    pub ctr_el0: u64,
}

/// What the machine's CPUs can do, as far as stage 2 cares.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features {
    /// The width of a physical address, in bits, at most 48: FEAT_LPA2 is not used.
    pub pa_bits: u32,
    /// VMIDs are 16 bits wide instead of 8 (FEAT_VMID16).
    pub vmid16: bool,
    /// What the walk updates.
    pub dirty: DirtyLevel,
    /// Stage 2 can force write-back (FEAT_S2FWB).
    pub forced_write_back: bool,
    /// TLBIs take a level hint (FEAT_TTL).
    pub level_hint: bool,
    /// How blocks may change size.
    pub bbm: BbmLevel,
    /// TLBIs by range (FEAT_TLBIRANGE).
    pub tlbi_range: bool,
    /// Execute permissions of EL1 and EL0 apart (FEAT_XNX).
    pub execute_per_level: bool,
    /// Data need not be cleaned for instruction fetches (CTR_EL0.IDC).
    pub no_clean_for_fetch: bool,
    /// Instruction caches need no invalidation for coherence (CTR_EL0.DIC).
    pub no_invalidate_for_fetch: bool,
    /// Bytes of the smallest data cache line (CTR_EL0.DminLine).
    pub dcache_line: usize,
    /// Exceptions set PSTATE.PAN where SCTLR_EL1.SPAN says so (FEAT_PAN).
    pub pan: bool,
    /// Scalable vectors (FEAT_SVE).
    pub sve: bool,
}

impl Features {
    /// Returns what the registers say.
    pub const fn decode(id: &IdRegisters) -> Self {
        Self {
            pa_bits: pa_bits(field(id.id_aa64mmfr0_el1, 0)),
            vmid16: field(id.id_aa64mmfr1_el1, 4) == 2,
            dirty: match field(id.id_aa64mmfr1_el1, 0) {
                0 => DirtyLevel::None,
                1 => DirtyLevel::AccessFlag,
                _ => DirtyLevel::Dirty,
            },
            forced_write_back: field(id.id_aa64mmfr2_el1, 40) >= 1,
            level_hint: field(id.id_aa64mmfr2_el1, 48) >= 1,
            bbm: match field(id.id_aa64mmfr2_el1, 52) {
                0 => BbmLevel::BreakFirst,
                1 => BbmLevel::NoTranslationCaching,
                _ => BbmLevel::Direct,
            },
            tlbi_range: field(id.id_aa64isar0_el1, 56) >= 2,
            execute_per_level: field(id.id_aa64mmfr1_el1, 28) >= 1,
            no_clean_for_fetch: id.ctr_el0 & 1 << 28 != 0,
            no_invalidate_for_fetch: id.ctr_el0 & 1 << 29 != 0,
            dcache_line: 4 << field(id.ctr_el0, 16),
            pan: field(id.id_aa64mmfr1_el1, 20) >= 1,
            sve: field(id.id_aa64pfr0_el1, 32) >= 1,
        }
    }
}

const fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 0xf
}

/// ID_AA64MMFR0_EL1.PARange, cut to what descriptors can hold without FEAT_LPA2.
const fn pa_bits(pa_range: u64) -> u32 {
    match pa_range {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        _ => 48,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_v8_0_cpu_has_none_of_the_extensions() {
        // Cortex-A57 TRM: PARange 0b0100, VMIDBits 0, CTR_EL0 0x8444c004.
        let id = IdRegisters { id_aa64mmfr0_el1: 0x1124, ctr_el0: 0x8444_c004, ..IdRegisters::default() };
        assert_eq!(Features::decode(&id), Features { pa_bits: 44, dcache_line: 64, ..Features::default() });
    }

    #[test]
    fn fields_are_read_at_their_places() {
        let id = IdRegisters {
            id_aa64mmfr0_el1: 6,
            id_aa64mmfr1_el1: 2 | 2 << 4 | 1 << 20 | 1 << 28,
            id_aa64mmfr2_el1: 1 << 40 | 1 << 48 | 2 << 52,
            id_aa64isar0_el1: 2 << 56,
            id_aa64pfr0_el1: 1 << 32,
            ctr_el0: 1 << 28 | 1 << 29 | 4 << 16,
        };
        let all = Features {
            pa_bits: 48,
            vmid16: true,
            dirty: DirtyLevel::Dirty,
            forced_write_back: true,
            level_hint: true,
            bbm: BbmLevel::Direct,
            tlbi_range: true,
            execute_per_level: true,
            no_clean_for_fetch: true,
            no_invalidate_for_fetch: true,
            dcache_line: 64,
            pan: true,
            sve: true,
        };
        assert_eq!(Features::decode(&id), all);
    }

    /// DDI 0487, D19 "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1": PARange, HAFDBS and BBM.
    #[test]
    fn fields_of_many_values_are_told_apart() {
        let with = |mmfr0, mmfr1, mmfr2| {
            let id = IdRegisters {
                id_aa64mmfr0_el1: mmfr0,
                id_aa64mmfr1_el1: mmfr1,
                id_aa64mmfr2_el1: mmfr2,
                ..IdRegisters::default()
            };
            Features::decode(&id)
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|range| with(range, 0, 0).pa_bits), [32, 36, 40, 42, 44, 48, 48]);
        let dirty = [DirtyLevel::None, DirtyLevel::AccessFlag, DirtyLevel::Dirty, DirtyLevel::Dirty];
        assert_eq!([0, 1, 2, 3].map(|level| with(0, level, 0).dirty), dirty);
        let bbm = [BbmLevel::BreakFirst, BbmLevel::NoTranslationCaching, BbmLevel::Direct];
        assert_eq!([0, 1, 2].map(|level| with(0, 0, level << 52).bbm), bbm);
    }
}
