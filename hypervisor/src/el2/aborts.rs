//! Accesses that stage 2 did not allow, and instructions that a guest may not execute.

use abi::Status;
use hypervisor::exception::{Entered, Unable};
use hypervisor::exits::Exit;
use hypervisor::words::Words;
use log::{debug, error};
use vm::Fault;
use vmsa::{ExceptionClass, FaultKind, Ipa, Syndrome};

use super::{end_vm, host};
use crate::arch::{abort_ipa, context, features, take, this_cpu};

/// How often in a row a vCPU may take one and the same exception. It does nothing else meanwhile that leaves the guest, so that
/// it makes no progress but what another vCPU makes for it. Many seconds' worth: a guest whose handler has lost its stack ends
/// with a message, and one that polls does not.
const PATIENCE: usize = 10_000_000;

/// An instruction's length in AArch64 state.
const INSTRUCTION_BYTES: u64 = 4;

/// Serves an access, or has EL1 take the abort.
pub(super) fn serve(syndrome: Syndrome, exit: Exit) {
    let kind = syndrome.fault().kind;
    let ipa = match kind {
        FaultKind::Other(_) => return abort(syndrome, exit),
        // No IPA is told, and none is needed: all that this CPU holds goes.
        FaultKind::TlbConflict => Some(Ipa(0)),
        _ => abort_ipa(syndrome),
    };
    let host = host();
    let serve = |ipa| host.system.fault(host.vm, ipa, syndrome.access(), kind);
    // Where the guest's own tables have changed since, the access is tried again, and faults anew if it still does.
    match ipa.map_or(Fault::Spurious, serve) {
        Fault::Served | Fault::Spurious => _ = this_cpu().exits.note(exit),
        Fault::Abort => abort(syndrome, exit),
    }
}

fn abort(syndrome: Syndrome, exit: Exit) {
    deliver(exit, context().take_abort(syndrome, exit.address, features().pstate));
}

/// Has EL1 take the instruction as UNDEFINED.
pub(super) fn refuse(syndrome: Syndrome, exit: Exit) {
    debug!("refused at {:#x}: {}", exit.pc, Words(syndrome));
    let mut context = context();
    // After HVC the preferred return address is the next instruction; after all else it is the one that trapped.
    if let ExceptionClass::Hvc(_) = syndrome.class() {
        context.pc = context.pc.wrapping_sub(INSTRUCTION_BYTES);
    }
    deliver(exit, context.take_undefined(syndrome, features().pstate));
}

fn deliver(exit: Exit, entered: Result<Entered, Unable>) {
    let repeats = this_cpu().exits.note_exception(exit);
    match entered {
        Ok(entered) if repeats < PATIENCE => take(&entered),
        Ok(_) => give_up(exit, "takes the same exception again and again"),
        Err(Unable) => give_up(exit, "cannot take an exception: its vectors fault"),
    }
}

fn give_up(exit: Exit, what: &str) -> ! {
    error!("the guest {what}. {exit}");
    end_vm(Status::BAD_STATE.into_raw())
}
