//! What an exit tells of the access that caused it (DDI 0487, D19 "ESR_EL2", "HPFAR_EL2").

use vmsa::{Ipa, Perms};

const fn class(esr: u64) -> u64 {
    esr >> 26 & 0x3f
}

const fn is_abort(esr: u64) -> bool {
    matches!(class(esr), 0x20 | 0x24)
}

const fn is_walk(esr: u64) -> bool {
    esr & 1 << 7 != 0
}

/// Returns the page that HPFAR_EL2 holds, where it is valid: not for a permission fault that is none of a stage-1 walk. Zero is
/// taken for a register that nobody has told of.
pub(crate) const fn ipa(esr: u64, hpfar: u64) -> Option<Ipa> {
    let is_permission = esr & 0x3c == 0x0c;
    let is_told = esr & 0x3f <= 0x0b || is_permission && is_walk(esr);
    if is_abort(esr) && is_told && hpfar != 0 { Some(Ipa((hpfar >> 4 & ((1 << 40) - 1)) << 12)) } else { None }
}

/// Returns what the access needs of the entry. A stage-1 walk reads, or updates, a table.
pub(crate) const fn access(esr: u64) -> Perms {
    match class(esr) {
        0x20 if !is_walk(esr) => Perms::EXECUTE,
        // Cache maintenance says that it writes, and needs no more than to read.
        0x24 if esr & 1 << 8 != 0 => Perms::READ,
        0x24 if esr & 1 << 6 != 0 || is_walk(esr) && esr & 0x3c == 0x0c => Perms::WRITE,
        _ => Perms::READ,
    }
}

/// Tells whether the access is tried again where the tables allow it: translation, access flag and permission faults are.
pub(crate) const fn is_retried(esr: u64) -> bool {
    is_abort(esr) && matches!(esr & 0x3c, 0x04 | 0x08 | 0x0c)
}
