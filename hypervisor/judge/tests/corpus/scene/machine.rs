//! What a machine of a trace can do.

use std::fmt;

/// The fields of a trace's `machine` line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: usize,
    pub(crate) bbm: u8,
    pub(crate) tlbirange: bool,
    pub(crate) tlbios: bool,
    pub(crate) ttl: bool,
    pub(crate) fwb: bool,
    pub(crate) hafdbs: u8,
    pub(crate) vmid16: bool,
    pub(crate) parange: u32,
    pub(crate) xnx: bool,
    pub(crate) xs: bool,
    pub(crate) idc: bool,
    pub(crate) dic: bool,
    /// The owner's policy that a leaf is born with its access flag.
    pub(crate) af: bool,
}

impl Machine {
    /// Two CPUs with no extension but 16-bit VMIDs and forced write-back, so that what concerns caches is not in the way.
    pub(crate) const TWO: Self = Self {
        cpus: 2,
        bbm: 0,
        tlbirange: false,
        tlbios: false,
        ttl: false,
        fwb: true,
        hafdbs: 0,
        vmid16: true,
        parange: 48,
        xnx: false,
        xs: false,
        idc: true,
        dic: true,
        af: false,
    };

    /// The same with one CPU.
    pub(crate) const ONE: Self = Self { cpus: 1, ..Self::TWO };

    /// Two CPUs with TLBIs of every form.
    pub(crate) const ALL_TLBIS: Self = Self { tlbirange: true, tlbios: true, ttl: true, xs: true, ..Self::TWO };

    /// Two CPUs whose walks set the access flag and the dirty state.
    pub(crate) const DIRTY: Self = Self { hafdbs: 2, ..Self::TWO };

    /// Two CPUs that cannot force write-back, and keep their instruction caches coherent by instructions only.
    pub(crate) const OLD_CACHES: Self = Self { fwb: false, idc: false, dic: false, ..Self::TWO };

    /// Two CPUs with a level of FEAT_BBM.
    pub(crate) const fn bbm(level: u8) -> Self {
        Self { bbm: level, ..Self::TWO }
    }

    /// Returns the value of VTCR_EL2 for an IPA space of `bits` whose walks start at `start`.
    pub(crate) fn vtcr(self, bits: u32, start: u8) -> u64 {
        let ps = match self.parange {
            0..=35 => 0,
            36..=39 => 1,
            40..=41 => 2,
            42..=43 => 3,
            44..=47 => 4,
            _ => 5,
        };
        let updates = u64::from(self.hafdbs >= 1) << 21 | u64::from(self.hafdbs >= 2) << 22;
        let shared_write_back = 0b11 << 12 | 0b01 << 10 | 0b01 << 8;
        let shape = u64::from(2 - start) << 6 | u64::from(64 - bits);
        1 << 31 | updates | u64::from(self.vmid16) << 19 | ps << 16 | shared_write_back | shape
    }

    /// Returns the value of HCR_EL2 that a guest is entered with: VM, SWIO, FB, inner-shareable barriers, AArch64.
    pub(crate) fn hcr(self) -> u64 {
        u64::from(self.fwb) << 46 | 1 << 31 | 0b01 << 10 | 1 << 9 | 1 << 1 | 1
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("cpus", self.cpus as u64),
            ("bbm", self.bbm.into()),
            ("tlbirange", self.tlbirange.into()),
            ("tlbios", self.tlbios.into()),
            ("ttl", self.ttl.into()),
            ("fwb", self.fwb.into()),
            ("hafdbs", self.hafdbs.into()),
            ("vmid16", self.vmid16.into()),
            ("parange", self.parange.into()),
            ("xnx", self.xnx.into()),
            ("xs", self.xs.into()),
            ("idc", self.idc.into()),
            ("dic", self.dic.into()),
            ("af", self.af.into()),
        ];
        f.write_str("machine")?;
        fields.iter().try_for_each(|(key, value)| write!(f, " {key}={value:#x}"))
    }
}
