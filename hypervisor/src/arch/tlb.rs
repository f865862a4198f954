//! TLBI and AT, which the crate of system registers leaves out (DDI 0487, "A64 System instructions for TLB maintenance" and "for
//! address translation").

use core::arch::asm;

use abi::AccessKind;
use vmsa::{Scope, Tlbi};

macro_rules! tlbi {
    ($instruction:literal) => {
        // SAFETY: an invalidation changes no memory and no translation; at worst it costs walks. It is not moved across the
        // accesses around it, for it is not `nomem`.
        unsafe { asm!($instruction, options(nostack, preserves_flags)) }
    };
    ($instruction:literal, $operand:expr) => {
        // SAFETY: as above.
        unsafe { asm!(concat!($instruction, ", {}"), in(reg) $operand, options(nostack, preserves_flags)) }
    };
}

/// Issues an invalidation for the VMID in VTTBR_EL2. The range forms are written as `SYS`, for the target that this is built
/// for has no name for them: C8, op1 4, and CRm C0 for the broadcast and C4 for the local ones.
#[inline]
pub(super) fn invalidate(op: Tlbi, scope: Scope) {
    use Scope::{Broadcast, Local};
    let operand = op.operand().unwrap_or(0);
    match (op, scope) {
        (Tlbi::Ipa { leaf_only: false, .. }, Broadcast) => tlbi!("tlbi ipas2e1is", operand),
        (Tlbi::Ipa { leaf_only: false, .. }, Local) => tlbi!("tlbi ipas2e1", operand),
        (Tlbi::Ipa { leaf_only: true, .. }, Broadcast) => tlbi!("tlbi ipas2le1is", operand),
        (Tlbi::Ipa { leaf_only: true, .. }, Local) => tlbi!("tlbi ipas2le1", operand),
        (Tlbi::Range { leaf_only: false, .. }, Broadcast) => tlbi!("sys #4, c8, c0, #2", operand),
        (Tlbi::Range { leaf_only: false, .. }, Local) => tlbi!("sys #4, c8, c4, #2", operand),
        (Tlbi::Range { leaf_only: true, .. }, Broadcast) => tlbi!("sys #4, c8, c0, #6", operand),
        (Tlbi::Range { leaf_only: true, .. }, Local) => tlbi!("sys #4, c8, c4, #6", operand),
        (Tlbi::Stage1, Broadcast) => tlbi!("tlbi vmalle1is"),
        (Tlbi::Stage1, Local) => tlbi!("tlbi vmalle1"),
        (Tlbi::Vmid, Broadcast) => tlbi!("tlbi vmalls12e1is"),
        (Tlbi::Vmid, Local) => tlbi!("tlbi vmalls12e1"),
        (Tlbi::All, Broadcast) => tlbi!("tlbi alle1is"),
        (Tlbi::All, Local) => tlbi!("tlbi alle1"),
    }
}

/// Has the hardware walk the guest's stage 1 for a load at EL1 from `va`; PAR_EL1 tells where it led.
pub(super) fn translate_stage1(va: u64) {
    // SAFETY: the instruction writes PAR_EL1, which the caller saves, and faults into it.
    unsafe { asm!("at s1e1r, {}", in(reg) va, options(nostack, preserves_flags)) }
}

/// Has the hardware walk both stages for an access at EL1 to `va`; PAR_EL1 tells where they led.
pub(super) fn translate_both_stages(va: u64, access: AccessKind) {
    match access {
        // SAFETY: as above.
        AccessKind::Read => unsafe { asm!("at s12e1r, {}", in(reg) va, options(nostack, preserves_flags)) },
        // SAFETY: as above.
        AccessKind::Write => unsafe { asm!("at s12e1w, {}", in(reg) va, options(nostack, preserves_flags)) },
    }
}
