//! How the hypervisor ends by its own fault: it says all that it knows, on a line that it takes from whoever has it.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::Ordering::Relaxed;

use hypervisor::wire::send_record;
use hypervisor::words::Words;
use log::Level;
use vmsa::Syndrome;

use super::oracle::{Account, CUT};
use super::{HOST, PANICKED};
use crate::arch::{
    ExceptionRegisters, FatalFrame, cpu_index, exit, is_ending, is_stack_guard, power_off, steal_port, this_cpu,
};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    report(format_args!("{info}"), None)
}

/// Tells of an exception at EL2, by its place in the vector table.
pub(crate) extern "C" fn fatal_exception(vector: u64, frame: &FatalFrame) -> ! {
    if is_ending() {
        power_off();
    }
    let what = match vector % 4 {
        0 => "synchronous exception",
        1 => "IRQ",
        2 => "FIQ",
        _ => "SError",
    };
    let why = if is_stack_guard(ExceptionRegisters::read().far) { ": the stack is full" } else { "" };
    report(format_args!("{what} at EL2 (vector {vector}){why}"), Some(frame))
}

fn report(what: fmt::Arguments<'_>, frame: Option<&FatalFrame>) -> ! {
    // A second one, while the first is being told of, has nothing better to tell.
    if !this_cpu().is_panicking.swap(true, Relaxed) {
        say(what);
        say_where();
        if let Some(frame) = frame {
            say_registers(frame);
        }
        say_history();
        end_trace();
    }
    exit(PANICKED)
}

fn say(what: fmt::Arguments<'_>) {
    if let Some(mut port) = steal_port() {
        send_record(&mut port, Level::Error, "hypervisor", what);
    }
}

fn end_trace() {
    if HOST.get().is_some_and(|host| Account::close(host.system.machine()).is_cut()) {
        say(format_args!("{CUT}"));
    }
}

fn say_where() {
    let registers = ExceptionRegisters::read();
    let (far, hpfar, elr, spsr) = (registers.far, registers.hpfar, registers.elr, registers.spsr);
    let cpu = cpu_index();
    match HOST.get() {
        Some(host) => say(format_args!("on CPU {cpu}, vCPU {cpu} of VM {}", host.vm.index())),
        None => say(format_args!("on CPU {cpu}, before there was a VM")),
    }
    say(format_args!("ESR_EL2 {}", Words(Syndrome(registers.esr))));
    say(format_args!("FAR_EL2 {far:#x}, HPFAR_EL2 {hpfar:#x}, ELR_EL2 {elr:#x}, SPSR_EL2 {spsr:#x}"));
}

fn say_registers(frame: &FatalFrame) {
    for (row, values) in frame.x.chunks(4).enumerate() {
        say(format_args!("x{} and on: {values:016x?}", row * 4));
    }
    say(format_args!("sp {:#x}", frame.sp));
}

fn say_history() {
    say(format_args!("the last exits of the vCPU, the latest at the end:"));
    for exit in this_cpu().exits.iter() {
        say(format_args!("  {exit}"));
    }
}
