//! The shape of a tree: width of the IPA space, start level, concatenated root tables, and the registers that say so.

use crate::{DirtyLevel, ENTRIES, Features, Hpa, Ipa, Level, PAGE_SHIFT};

/// A VMID. 0 means that no guest's tables are in use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Vmid(pub u16);

/// Returns the value of VTTBR_EL2 that puts the tree at `root` in use under `vmid`, CnP clear.
pub const fn vttbr(root: Hpa, vmid: Vmid) -> u64 {
    (vmid.0 as u64) << 48 | root.0
}

/// Why a machine cannot have a tree of the width that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GeometryError {
    /// The width, in bits, is not one of 32 to 48.
    Width(u32),
    /// The width, in bits, is more than the machine's physical addresses have.
    WiderThanMachine(u32),
    /// A walk of that width cannot start at this level on this machine.
    Start(Level),
}

/// The shape of a tree of stage-2 tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    ipa_bits: u32,
    start: Level,
}

impl Geometry {
    /// Returns the shape for an IPA space of `ipa_bits`. A root of up to 16 concatenated tables is preferred to one more level
    /// (DDI 0487, D8.2 "Concatenated translation tables"): a walk is shorter by a lookup.
    ///
    /// # Errors
    ///
    /// The width is outside 32 to 48, or wider than the machine's physical addresses.
    pub const fn new(ipa_bits: u32, features: &Features) -> Result<Self, GeometryError> {
        let start = match ipa_bits {
            32..=34 => Level::L2,
            35..=43 => Level::L1,
            44..=48 => Level::L0,
            _ => return Err(GeometryError::Width(ipa_bits)),
        };
        Self::starting_at(ipa_bits, start, features)
    }

    /// Returns the shape for an IPA space of `ipa_bits` whose walks start at `start`.
    ///
    /// # Errors
    ///
    /// As for [`Geometry::new`]; or a root at that level would have more than 16 tables or less than two entries, or the level
    /// is 0 and physical addresses have less than 44 bits (DDI 0487, D8.2 "Stage 2 translation, start level").
    pub const fn starting_at(ipa_bits: u32, start: Level, features: &Features) -> Result<Self, GeometryError> {
        if ipa_bits < 32 || ipa_bits > 48 {
            return Err(GeometryError::Width(ipa_bits));
        }
        if ipa_bits > features.pa_bits {
            return Err(GeometryError::WiderThanMachine(ipa_bits));
        }
        let has_level = !matches!(start, Level::L0) || features.pa_bits >= 44;
        let fits = ipa_bits > start.shift() && ipa_bits <= start.shift() + 9 + 4;
        if has_level && fits && !matches!(start, Level::L3) {
            Ok(Self { ipa_bits, start })
        } else {
            Err(GeometryError::Start(start))
        }
    }

    /// Returns the width of the IPA space, in bits.
    pub const fn ipa_bits(self) -> u32 {
        self.ipa_bits
    }

    /// Returns the address past the IPA space.
    pub const fn limit(self) -> Ipa {
        Ipa(1 << self.ipa_bits)
    }

    /// Returns the level of the root.
    pub const fn start(self) -> Level {
        self.start
    }

    /// Returns how many tables the root has: 1, or a power of two up to 16. They are adjacent, and aligned to their total size.
    pub const fn root_tables(self) -> usize {
        self.root_entries().div_ceil(ENTRIES)
    }

    /// Returns how many entries the root has that addresses can reach.
    pub const fn root_entries(self) -> usize {
        1 << (self.ipa_bits - self.start.shift())
    }

    /// Returns the value of VTCR_EL2: 4 KiB granule, walks inner-shareable and write-back as EL2's own accesses are, physical
    /// addresses as wide as the machine's, access flag and dirty state updated by the walks that can.
    pub fn vtcr(self, features: &Features) -> u64 {
        const RES1: u64 = 1 << 31;
        const IRGN0_WB: u64 = 0b01 << 8;
        const ORGN0_WB: u64 = 0b01 << 10;
        const SH0_INNER: u64 = 0b11 << 12;
        let t0sz = 64 - self.ipa_bits as u64;
        // SL0 for the 4 KiB granule: 2, 1, 0 start at level 0, 1, 2.
        let sl0 = if planted::is(85) { 0 } else { 2 - self.start.number() as u64 };
        let vs = features.vmid16 as u64;
        let ha = (planted::is(76) || !matches!(features.dirty, DirtyLevel::None)) as u64;
        let hd = matches!(features.dirty, DirtyLevel::Dirty) as u64;
        RES1 | hd << 22
            | ha << 21
            | vs << 19
            | ps(if planted::is(87) { 48 } else { features.pa_bits }) << 16
            | SH0_INNER
            | ORGN0_WB
            | IRGN0_WB
            | sl0 << 6
            | t0sz
    }

    /// Returns how many bytes the root tables take.
    pub const fn root_bytes(self) -> u64 {
        (self.root_tables() as u64) << PAGE_SHIFT
    }
}

/// The PS field for a width of physical addresses.
const fn ps(pa_bits: u32) -> u64 {
    match pa_bits {
        0..=35 => 0,
        36..=39 => 1,
        40..=41 => 2,
        42..=43 => 3,
        44..=47 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(pa_bits: u32) -> Features {
        Features { pa_bits, ..Features::default() }
    }

    #[test]
    fn every_width_has_a_root_that_reaches_all_of_it() {
        for ipa_bits in 32..=48 {
            let g = Geometry::new(ipa_bits, &machine(48)).unwrap();
            assert!(g.root_tables() <= 16, "{ipa_bits}");
            assert_eq!(g.root_entries() as u64 * g.start().entry_span(), 1 << ipa_bits, "{ipa_bits}");
            assert_eq!((g.limit().0 - 1) >> g.start().shift(), g.root_entries() as u64 - 1, "{ipa_bits}");
        }
    }

    /// The table of SL0 and T0SZ that the architecture allows (DDI 0487, D8.2 "Stage 2 translation, start level").
    #[test]
    fn start_level_fits_the_width() {
        for (bits, start, tables) in [
            (32, Level::L2, 4),
            (34, Level::L2, 16),
            (35, Level::L1, 1),
            (39, Level::L1, 1),
            (40, Level::L1, 2),
            (43, Level::L1, 16),
            (44, Level::L0, 1),
            (48, Level::L0, 1),
        ] {
            let g = Geometry::new(bits, &machine(48)).unwrap();
            assert_eq!((g.start(), g.root_tables()), (start, tables), "{bits}");
        }
    }

    /// The same table: level 0 for 40 bits and more on machines of 44 bits and more, level 1 for 31 to 43, level 2 for 22 to 34.
    #[test]
    fn a_walk_starts_at_any_level_that_the_width_allows() {
        for (start, lowest, highest) in [(Level::L0, 40, 48), (Level::L1, 32, 43), (Level::L2, 32, 34)] {
            for bits in 32..=48 {
                let is_allowed = (lowest..=highest).contains(&bits);
                let shape = Geometry::starting_at(bits, start, &machine(48));
                assert_eq!(shape.is_ok(), is_allowed, "{bits} at {start:?}");
                if let Ok(shape) = shape {
                    assert_eq!(shape.root_entries() as u64 * start.entry_span(), 1 << bits);
                }
            }
        }
        let at_level_0 = Geometry::starting_at(40, Level::L0, &machine(40));
        assert_eq!(at_level_0, Err(GeometryError::Start(Level::L0)));
        for bits in [31, 49] {
            assert_eq!(Geometry::starting_at(bits, Level::L2, &machine(48)), Err(GeometryError::Width(bits)));
        }
        assert_eq!(Geometry::starting_at(32, Level::L3, &machine(48)), Err(GeometryError::Start(Level::L3)));
    }

    #[test]
    fn impossible_widths_are_refused() {
        assert_eq!(Geometry::new(31, &machine(48)), Err(GeometryError::Width(31)));
        assert_eq!(Geometry::new(49, &machine(48)), Err(GeometryError::Width(49)));
        assert_eq!(Geometry::new(41, &machine(40)), Err(GeometryError::WiderThanMachine(41)));
    }

    #[test]
    fn a_root_is_found_by_vttbr_and_takes_all_of_its_tables() {
        assert_eq!(vttbr(Hpa(0x4010_0000), Vmid(0x1234)), 0x1234_0000_4010_0000);
        for (bits, bytes) in [(34, 16 << 12), (39, 1 << 12), (40, 2 << 12), (48, 1 << 12)] {
            let g = Geometry::new(bits, &machine(48)).unwrap();
            assert_eq!((g.ipa_bits(), g.root_bytes()), (bits, bytes));
        }
    }

    /// ID_AA64MMFR0_EL1.PARange and VTCR_EL2.PS have the same encodings.
    #[test]
    fn ps_is_the_width_of_the_machine() {
        for (pa_bits, ps) in [(32, 0), (36, 1), (40, 2), (42, 3), (44, 4), (48, 5)] {
            let g = Geometry::new(32, &machine(pa_bits)).unwrap();
            assert_eq!(g.vtcr(&machine(pa_bits)) >> 16 & 7, ps, "{pa_bits}");
        }
    }

    #[test]
    fn vtcr_has_the_bits_of_the_manual() {
        let g = Geometry::new(39, &machine(44)).unwrap();
        assert_eq!(g.vtcr(&machine(44)), 0x8004_3559);
        let wide = Features { vmid16: true, ..machine(48) };
        assert_eq!(Geometry::new(40, &wide).unwrap().vtcr(&wide), 0x800d_3558);
        let updating = |dirty| Geometry::new(40, &wide).unwrap().vtcr(&Features { dirty, ..wide });
        assert_eq!([updating(DirtyLevel::AccessFlag), updating(DirtyLevel::Dirty)], [0x802d_3558, 0x806d_3558]);
    }
}
