//! Synchronous exceptions taken to EL1, as `ESR_EL1` and `FAR_EL1` describe them (DDI 0487, "ESR_EL1").

use core::fmt;

/// The class of an exception: `ESR_EL1.EC`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// 0x00: among them, an instruction that is UNDEFINED here.
    Unknown,
    /// 0x20: an instruction abort from EL0.
    InstructionAbortLowerEl,
    /// 0x21: an instruction abort from EL1.
    InstructionAbort,
    /// 0x24: a data abort from EL0.
    DataAbortLowerEl,
    /// 0x25: a data abort from EL1.
    DataAbort,
    /// Any other.
    Other(u8),
}

/// An exception that was caught.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Exception {
    /// `ESR_EL1`.
    pub esr: u64,
    /// `FAR_EL1`; of no meaning where the class is not that of an abort.
    pub far: u64,
}

impl Exception {
    /// The fault status code of a synchronous external abort that is not on a translation table walk.
    pub const SYNCHRONOUS_EXTERNAL_ABORT: u8 = 0b01_0000;

    /// Returns the class.
    pub const fn class(self) -> Class {
        match (self.esr >> 26) as u8 & 0x3f {
            0x00 => Class::Unknown,
            0x20 => Class::InstructionAbortLowerEl,
            0x21 => Class::InstructionAbort,
            0x24 => Class::DataAbortLowerEl,
            0x25 => Class::DataAbort,
            other => Class::Other(other),
        }
    }

    /// Returns the fault status code of an abort: DFSC or IFSC.
    pub const fn fault_status(self) -> u8 {
        self.esr as u8 & 0x3f
    }

    /// Tells whether a data abort came of a write: WnR.
    pub const fn is_write(self) -> bool {
        self.esr & 1 << 6 != 0
    }

    /// Tells whether the instruction was 32 bits long: IL.
    pub const fn is_32_bit_instruction(self) -> bool {
        self.esr & 1 << 25 != 0
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.class() {
            Class::Unknown => "undefined instruction",
            Class::InstructionAbort | Class::InstructionAbortLowerEl => "instruction abort",
            Class::DataAbort | Class::DataAbortLowerEl if self.is_write() => "data abort on a store",
            Class::DataAbort | Class::DataAbortLowerEl => "data abort on a load",
            Class::Other(_) => "exception",
        };
        write!(f, "{what}, ESR {:#010x}, FAR {:#x}", self.esr, self.far)
    }
}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
