//! ESR_EL2 and its companions: what an exception from the guest was about (DDI 0487, D19 "ESR_EL2").

use crate::{Ipa, Level, PAGE_SIZE};

/// Why an exception was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExceptionClass {
    /// `HVC` in AArch64 state, with its immediate.
    Hvc(u16),
    /// `SMC` in AArch64 state, with its immediate.
    Smc(u16),
    /// A trapped `MSR`, `MRS` or system instruction.
    SystemRegister,
    /// An instruction fetch of the guest.
    InstructionAbort,
    /// A load or store of the guest.
    DataAbort,
    /// Something else, by its EC.
    Other(u8),
}

/// What a guest tried to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// What kind of fault a DFSC or IFSC names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// No valid descriptor.
    Translation,
    /// The access flag was clear.
    AccessFlag,
    /// The descriptor does not allow the access.
    Permission,
    /// The output address is too wide.
    AddressSize,
    /// Two TLB entries for one address.
    TlbConflict,
    /// Something else, by its status code.
    Other(u8),
}

/// A fault status code: what went wrong, and at which level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultStatus {
    /// What went wrong.
    pub kind: FaultKind,
    /// The lookup level, where the code tells one.
    pub level: Option<Level>,
}

/// ESR_EL2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Syndrome(pub u64);

impl Syndrome {
    /// ISS\[6\] of an abort: the access was a store.
    pub const WRITE_NOT_READ: u64 = 1 << 6;
    /// ISS\[7\] of an abort: the access was the guest's own stage-1 walk.
    pub const STAGE1_WALK: u64 = 1 << 7;
    /// ISS\[8\] of a data abort: a cache maintenance instruction.
    pub const CACHE_MAINTENANCE: u64 = 1 << 8;
    /// IL: a 32-bit instruction, or no instruction's fault.
    pub const INSTRUCTION_LENGTH: u64 = 1 << 25;

    /// Returns why the exception was taken.
    pub const fn class(self) -> ExceptionClass {
        match self.exception_class_bits() {
            0x16 => ExceptionClass::Hvc(self.0 as u16),
            0x17 => ExceptionClass::Smc(self.0 as u16),
            0x18 => ExceptionClass::SystemRegister,
            0x20 => ExceptionClass::InstructionAbort,
            0x24 => ExceptionClass::DataAbort,
            other => ExceptionClass::Other(other),
        }
    }

    /// Returns EC.
    pub const fn exception_class_bits(self) -> u8 {
        (self.0 >> 26 & 0x3f) as u8
    }

    /// Returns what an abort says went wrong.
    pub const fn fault(self) -> FaultStatus {
        let code = (self.0 & 0x3f) as u8;
        let kind = match code {
            0x00..=0x03 => FaultKind::AddressSize,
            0x04..=0x07 => FaultKind::Translation,
            0x08..=0x0b => FaultKind::AccessFlag,
            0x0c..=0x0f => FaultKind::Permission,
            0x30 => FaultKind::TlbConflict,
            other => FaultKind::Other(other),
        };
        let level = if code < 0x10 { Level::from_number(code & 3) } else { None };
        FaultStatus { kind, level }
    }

    /// Tells whether an abort came from the guest's own stage-1 walk.
    pub const fn is_stage1_walk(self) -> bool {
        self.0 & Self::STAGE1_WALK != 0
    }

    /// Returns what an abort's access needs of the page. A stage-1 walk reads its tables, but a *permission* fault on one is
    /// the hardware's update of them; cache maintenance by address reports a store and needs a load.
    pub fn access(self) -> Access {
        let is_write = self.0 & Self::WRITE_NOT_READ != 0;
        let is_permission = matches!(self.fault().kind, FaultKind::Permission);
        match self.class() {
            _ if self.is_stage1_walk() => {
                if is_permission && !planted::is(95) {
                    Access::Write
                } else {
                    Access::Read
                }
            }
            ExceptionClass::InstructionAbort => Access::Execute,
            _ if is_write && self.0 & Self::CACHE_MAINTENANCE == 0 => Access::Write,
            _ => Access::Read,
        }
    }

    /// Tells whether HPFAR_EL2 is valid for this abort: for every kind of fault on a stage-1 walk, else for all but
    /// permission faults (DDI 0487, D19 "HPFAR_EL2").
    pub fn is_hpfar_valid(self) -> bool {
        match self.fault().kind {
            FaultKind::Translation | FaultKind::AccessFlag | FaultKind::AddressSize => true,
            _ => self.is_stage1_walk() || planted::is(92),
        }
    }
}

/// Returns the address that HPFAR_EL2 and FAR_EL2 name. On a stage-1 walk FAR holds the address of the data, not of the
/// table, so only the page is known.
pub fn fault_ipa(syndrome: Syndrome, far: u64, hpfar: u64) -> Ipa {
    let page = (hpfar >> 4 & ((1 << 40) - 1)) << if planted::is(91) { 8 } else { 12 };
    let is_page_only = syndrome.is_stage1_walk() && !planted::is(94) || planted::is(135);
    if is_page_only { Ipa(page) } else { Ipa(page | far & (PAGE_SIZE - 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abort(ec: u64, iss: u64) -> Syndrome {
        Syndrome(ec << 26 | Syndrome::INSTRUCTION_LENGTH | iss)
    }

    #[test]
    fn bits_are_where_the_manual_has_them() {
        let bits = [
            Syndrome::WRITE_NOT_READ,
            Syndrome::STAGE1_WALK,
            Syndrome::CACHE_MAINTENANCE,
            Syndrome::INSTRUCTION_LENGTH,
        ];
        assert_eq!(bits, [0x40, 0x80, 0x100, 0x200_0000]);
    }

    #[test]
    fn classes_are_told_apart() {
        assert_eq!(abort(0x16, 7).class(), ExceptionClass::Hvc(7));
        assert_eq!(abort(0x20, 0).class(), ExceptionClass::InstructionAbort);
        assert_eq!(abort(0x24, 0).class(), ExceptionClass::DataAbort);
        assert_eq!(abort(0x07, 0).class(), ExceptionClass::Other(7));
    }

    #[test]
    fn status_codes_tell_kind_and_level() {
        let fault = |code| abort(0x24, code).fault();
        assert_eq!(fault(0x06), FaultStatus { kind: FaultKind::Translation, level: Some(Level::L2) });
        assert_eq!(fault(0x0b), FaultStatus { kind: FaultKind::AccessFlag, level: Some(Level::L3) });
        assert_eq!(fault(0x0d), FaultStatus { kind: FaultKind::Permission, level: Some(Level::L1) });
        assert_eq!(fault(0x00), FaultStatus { kind: FaultKind::AddressSize, level: Some(Level::L0) });
        assert_eq!(fault(0x30), FaultStatus { kind: FaultKind::TlbConflict, level: None });
        assert_eq!(fault(0x10), FaultStatus { kind: FaultKind::Other(0x10), level: None });
    }

    #[test]
    fn hpfar_is_not_trusted_on_a_permission_fault() {
        assert!(abort(0x24, 0x07).is_hpfar_valid());
        assert!(!abort(0x24, 0x0f).is_hpfar_valid());
        assert!(abort(0x24, 0x0f | Syndrome::STAGE1_WALK).is_hpfar_valid());
    }

    #[test]
    fn the_access_is_what_the_page_must_allow() {
        assert_eq!(abort(0x24, 0x07).access(), Access::Read);
        assert_eq!(abort(0x24, 0x47).access(), Access::Write);
        assert_eq!(abort(0x20, 0x07).access(), Access::Execute);
        assert_eq!(abort(0x24, 0x147).access(), Access::Read, "cache maintenance");
        assert_eq!(abort(0x24, 0xc7).access(), Access::Read, "a walk for a store");
        assert_eq!(abort(0x24, 0x8f).access(), Access::Write, "a walk that updates its table");
    }

    #[test]
    fn the_address_is_put_together_from_both_registers() {
        let hpfar = 0x8000_1000 >> 12 << 4;
        assert_eq!(fault_ipa(abort(0x24, 0x07), 0xffff_0000_0000_0abc, hpfar), Ipa(0x8000_1abc));
        assert_eq!(fault_ipa(abort(0x24, 0x87), 0xabc, hpfar), Ipa(0x8000_1000));
    }
}
