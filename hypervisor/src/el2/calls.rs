//! Hypercalls: to `vm`, to PSCI, or answered here (SMC Calling Convention, DEN 0028).

use abi::{AccessKind, Call, Status, VENDOR_BASE, smccc};
use vm::Outcome;
use vmsa::Ipa;

use super::{Host, end_vm, host, vcpus};
use crate::arch::{self, Frame};

/// Serves the call that `x0` names. The high half of `x0` is ignored.
#[inline]
pub(super) fn serve(frame: &mut Frame) {
    let function = frame.x[0] as u32;
    match function {
        VENDOR_FIRST..=VENDOR_LAST => serve_vendor(frame, function),
        _ => serve_standard(frame, function),
    }
}

/// The range that DEN 0028 gives to the vendor's hypervisor service.
const VENDOR_FIRST: u32 = VENDOR_BASE;
const VENDOR_LAST: u32 = VENDOR_BASE + 0xffff;

#[inline]
fn serve_vendor(frame: &mut Frame, function: u32) {
    let [x0, results @ ..] = &mut frame.x;
    let Some(args) = results.first_chunk::<8>() else { return };
    match outcome_of(function, args) {
        None => *x0 = smccc::NOT_SUPPORTED,
        Some(Outcome::Return { status, results: values, count }) => {
            *x0 = status.to_register();
            for (result, value) in results.iter_mut().zip(values).take(count) {
                *result = value;
            }
        }
        Some(Outcome::Exit(status)) => end_vm(status),
    }
}

#[inline]
fn outcome_of(function: u32, args: &[u64; 8]) -> Option<Outcome> {
    const TRANSLATE: u32 = Call::Stage2Translate.function_id();
    let host = host();
    match function {
        TRANSLATE => Some(translate(host, args)),
        _ => host.system.hypercall(host.vm, function, args),
    }
}

/// stage2_translate(vmar, addr, access): x1 PAR_EL1. Only the machine can answer that; who may ask, and for which address, is
/// told as for the walk by software.
#[inline(never)]
fn translate(host: &Host, args: &[u64; 8]) -> Outcome {
    let refused = |status| Outcome::Return { status, results: [0; 3], count: 0 };
    match host.system.call(host.vm, Call::Stage2Walk, args) {
        Outcome::Return { status: Status::OK, .. } => {}
        other => return other,
    }
    let [_, address, access, ..] = *args;
    let Ok(access) = AccessKind::try_from(access) else { return refused(Status::INVALID_ARGS) };
    match arch::translate(Ipa(address), access) {
        Some(par) => Outcome::Return { status: Status::OK, results: [par, 0, 0], count: 1 },
        None => refused(Status::BAD_STATE),
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
