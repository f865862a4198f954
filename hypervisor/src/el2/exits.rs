//! Exits from the guest, each to who serves it.

use hypervisor::exits::Exit;
use log::debug;
use vmsa::{ExceptionClass, Syndrome};

use super::{aborts, calls, oracle};
use crate::arch::{Frame, abort_registers, resume_address, syndrome, this_cpu};

/// Serves a synchronous exception of the guest's.
pub(crate) extern "C" fn synchronous_exit(frame: &mut Frame) {
    let syndrome = syndrome();
    oracle::left(syndrome);
    match syndrome.class() {
        ExceptionClass::Hvc(0) => hypercall(frame, syndrome),
        _ => unasked_exit(frame, syndrome),
    }
    oracle::entering();
}

/// An interrupt or an SError. Nothing that the guest has makes one, and EL2 has asked for none.
pub(crate) extern "C" fn asynchronous_exit(_: &mut Frame) {
    oracle::left_asynchronously();
    debug!("an interrupt or an SError that nobody asked for, with the guest at {:#x}", resume_address());
    oracle::entering();
}

#[inline]
fn hypercall(frame: &mut Frame, syndrome: Syndrome) {
    let noted = this_cpu().exits.note(Exit {
        syndrome: syndrome.0,
        pc: resume_address(),
        address: frame.x[1],
        function: frame.x[0],
        result: None,
    });
    calls::serve(frame);
    noted.set_result(frame.x[0]);
}

/// Not inlined: it would have the hypercalls pay for the room that it needs on the stack.
#[inline(never)]
fn unasked_exit(frame: &Frame, syndrome: Syndrome) {
    let (address, _) = abort_registers(syndrome);
    let exit = Exit { syndrome: syndrome.0, pc: resume_address(), address, function: frame.x[0], result: None };
    match syndrome.class() {
        ExceptionClass::InstructionAbort | ExceptionClass::DataAbort => aborts::serve(syndrome, exit),
        _ => aborts::refuse(syndrome, exit),
    }
}
