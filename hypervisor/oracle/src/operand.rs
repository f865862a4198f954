//! The operands of invalidations by IPA, read as the CPU reads them (DDI 0487, C5.5).

use vmsa::{Ipa, IpaRange, Level, PAGE_SIZE};

use crate::Machine;
use crate::event::Target;

/// What an operand names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Named {
    pub(crate) range: IpaRange,
    /// The level of the entries that are meant, where the CPU takes hints and there is one.
    pub(crate) level: Option<Level>,
    /// It is of the granule that the tables have. Otherwise nothing need happen.
    pub(crate) is_of_granule: bool,
    /// Bits that are reserved are zero.
    pub(crate) is_clean: bool,
}

/// Reads the operand of `IPAS2E1` or `RIPAS2E1` and their like.
pub(crate) fn named(target: Target, xt: u64, machine: &Machine) -> Named {
    if target == Target::Range { range(xt) } else { page(xt, machine) }
}

/// IPA\[47:12\] is in bits 35:0, TTL in 47:44.
const fn page(xt: u64, machine: &Machine) -> Named {
    const RESERVED: u64 = 0x7fff << 48 | 0xff << 36;
    let start = Ipa((xt & ((1 << 36) - 1)) * PAGE_SIZE);
    let (granule, level) = (xt >> 46 & 3, xt >> 44 & 3);
    // Without FEAT_TTL the field is reserved and ignored; granule 0 says that there is no hint.
    let is_hint = machine.level_hint && granule != 0;
    Named {
        range: IpaRange::new(start, PAGE_SIZE),
        level: if is_hint { hint(level) } else { None },
        is_of_granule: !is_hint || granule == 1,
        is_clean: xt & RESERVED == 0,
    }
}

/// BaseADDR is in bits 36:0, TTL in 38:37, NUM in 43:39, SCALE in 45:44, TG in 47:46.
const fn range(xt: u64) -> Named {
    const RESERVED: u64 = 0x7fff << 48;
    let start = Ipa((xt & ((1 << 37) - 1)) * PAGE_SIZE);
    let (num, scale) = (xt >> 39 & 0x1f, xt >> 44 & 3);
    let pages = (num + 1) << (5 * scale + 1);
    Named {
        range: IpaRange::new(start, pages * PAGE_SIZE),
        level: hint(xt >> 37 & 3),
        is_of_granule: xt >> 46 & 3 == 1,
        is_clean: xt & RESERVED == 0,
    }
}

/// Level 0 has no leaves of its own: its encoding says nothing.
const fn hint(level: u64) -> Option<Level> {
    match level {
        1 => Some(Level::L1),
        2 => Some(Level::L2),
        3 => Some(Level::L3),
        _ => None,
    }
}
