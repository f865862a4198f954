//! ESR_EL2 in words, for people who read a panic (DDI 0487, "ESR_EL2").

use core::fmt;

use vmsa::{FaultKind, Syndrome};

/// Shows a syndrome as its number and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Words(pub Syndrome);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.0.exception_class_bits();
        write!(f, "{:#010x}: {}", self.0.0, class_name(class))?;
        match class {
            HVC | SMC => write!(f, " #{}", self.0.0 as u16),
            INSTRUCTION_ABORT..=INSTRUCTION_ABORT_SAME | DATA_ABORT..=DATA_ABORT_SAME => self.describe_abort(f),
            _ => Ok(()),
        }
    }
}

impl Words {
    fn describe_abort(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.0.fault();
        match fault.kind {
            FaultKind::Translation => f.write_str(", translation fault")?,
            FaultKind::AccessFlag => f.write_str(", access flag fault")?,
            FaultKind::Permission => f.write_str(", permission fault")?,
            FaultKind::AddressSize => f.write_str(", address size fault")?,
            FaultKind::TlbConflict => f.write_str(", TLB conflict")?,
            FaultKind::Other(code) => write!(f, ", {}", other_fault(code))?,
        }
        if let Some(level) = fault.level {
            write!(f, " at level {}", level.number())?;
        }
        let is_data = self.0.exception_class_bits() >= DATA_ABORT;
        f.write_str(match (is_data, self.0.0 & Syndrome::WRITE_NOT_READ != 0) {
            (false, _) => " of a fetch",
            (true, false) => " of a load",
            (true, true) => " of a store",
        })?;
        f.write_str(if self.0.is_stage1_walk() { " (stage-1 walk)" } else { "" })
    }
}

const HVC: u8 = 0x16;
const SMC: u8 = 0x17;
const INSTRUCTION_ABORT: u8 = 0x20;
const INSTRUCTION_ABORT_SAME: u8 = 0x21;
const DATA_ABORT: u8 = 0x24;
const DATA_ABORT_SAME: u8 = 0x25;

const fn class_name(class: u8) -> &'static str {
    match class {
        0x00 => "undefined instruction",
        0x01 => "WFI or WFE",
        0x07 => "SIMD, floating point or SVE",
        0x0a => "LD64B or ST64B",
        0x0d => "branch target",
        0x0e => "illegal execution state",
        0x15 => "SVC",
        HVC => "HVC",
        SMC => "SMC",
        0x18 => "system register",
        0x19 => "SVE",
        0x1a => "ERET",
        0x1c => "pointer authentication",
        0x1d => "SME",
        INSTRUCTION_ABORT => "instruction abort from a lower level",
        INSTRUCTION_ABORT_SAME => "instruction abort at EL2",
        0x22 => "PC alignment",
        DATA_ABORT => "data abort from a lower level",
        DATA_ABORT_SAME => "data abort at EL2",
        0x26 => "SP alignment",
        0x27 => "memory copy or set",
        0x2c => "floating point",
        0x2f => "SError",
        0x30 | 0x31 => "breakpoint",
        0x32 | 0x33 => "software step",
        0x34 | 0x35 => "watchpoint",
        0x3c => "BRK",
        _ => "reserved exception class",
    }
}

const fn other_fault(code: u8) -> &'static str {
    match code {
        0x10 => "external abort",
        0x11 => "tag check fault",
        0x13..=0x17 => "external abort of a table walk",
        0x18 => "parity or ECC error",
        0x1b..=0x1f => "parity or ECC error of a table walk",
        0x21 => "alignment fault",
        0x31 => "unsupported hardware update",
        0x34 => "lockdown",
        0x35 => "unsupported exclusive or atomic access",
        _ => "unnamed fault",
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn words(class: u64, iss: u64) -> alloc::string::String {
        Words(Syndrome(class << 26 | 1 << 25 | iss)).to_string()
    }

    #[test]
    fn syndromes_are_put_into_words() {
        assert_eq!(words(0x16, 7), "0x5a000007: HVC #7");
        assert_eq!(
            words(0x24, 0x46),
            "0x92000046: data abort from a lower level, translation fault at level 2 of a store"
        );
        assert_eq!(
            words(0x20, 0x8f),
            "0x8200008f: instruction abort from a lower level, permission fault at level 3 of a fetch (stage-1 walk)"
        );
        assert_eq!(words(0x25, 0x21), "0x96000021: data abort at EL2, alignment fault of a load");
        assert_eq!(words(0x3f, 0), "0xfe000000: reserved exception class");
    }
}
