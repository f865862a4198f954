//! Hypercalls: to `vm`, to PSCI, or answered here (SMC Calling Convention, DEN 0028).

use abi::smccc;
use vm::{Handler, Outcome, System};

use super::{end_vm, host, vcpus};
use crate::arch::{Frame, Watched};

/// Serves the call that `x0` names. The high half of `x0` is ignored.
#[inline]
pub(super) fn serve(frame: &mut Frame) {
    let function = frame.x[0] as u32;
    match System::handler(function) {
        Some(handler) => serve_vendor(frame, handler),
        None => serve_standard(frame, function),
    }
}

#[inline]
fn serve_vendor(frame: &mut Frame, handler: Handler<Watched>) {
    let host = host();
    let [x0, others @ ..] = &mut frame.x;
    let Some(args) = others.first_chunk_mut() else { return };
    match handler(&host.system, host.vm, args) {
        Outcome::Return { status, .. } => *x0 = status.to_register(),
        Outcome::Exit(status) => end_vm(status),
    }
}

/// The ranges that DEN 0022 gives to PSCI, in the 32-bit and in the 64-bit convention.
const fn is_psci(function: u32) -> bool {
    matches!(function, 0x8400_0000..=0x8400_001f | 0xc400_0000..=0xc400_001f)
}

#[inline(never)]
fn serve_standard(frame: &mut Frame, function: u32) {
    match function {
        smccc::SMCCC_VERSION => frame.x[0] = smccc::SMCCC_VERSION_1_2,
        smccc::SMCCC_ARCH_FEATURES => frame.x[0] = arch_feature(frame.x[1] as u32),
        smccc::VENDOR_UID => frame.x[..4].copy_from_slice(&smccc::UID.map(u64::from)),
        smccc::VENDOR_REVISION => (frame.x[0], frame.x[1]) = smccc::REVISION,
        psci if is_psci(psci) => vcpus::serve(frame),
        _ => frame.x[0] = smccc::NOT_SUPPORTED,
    }
}

const fn arch_feature(function: u32) -> u64 {
    match function {
        smccc::SMCCC_VERSION | smccc::SMCCC_ARCH_FEATURES => 0,
        _ => smccc::NOT_SUPPORTED,
    }
}
