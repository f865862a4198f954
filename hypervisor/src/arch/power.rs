//! How the machine ends, and how its other CPUs begin.

use core::sync::atomic::Ordering::Relaxed;

use aarch64_cpu::asm::{barrier, sev, wfe, wfi};
use smccc::Smc;
use smccc::psci;

use super::entry::secondary_start;
use super::per_cpu::this_cpu;

/// Ends the machine: QEMU exits with `code`.
pub(crate) fn exit(code: u8) -> ! {
    this_cpu().is_ending.store(true, Relaxed);
    semihosting::process::exit(code.into())
}

/// Tells whether this CPU is in [`exit`], where an exception means that there is no semihosting.
pub(crate) fn is_ending() -> bool {
    this_cpu().is_ending.load(Relaxed)
}

/// Turns the machine off, without a status.
pub(crate) fn power_off() -> ! {
    // It does not return; where there is no PSCI either, there is nothing left to try.
    let _ = psci::system_off::<Smc>();
    loop {
        wfi();
    }
}

/// Has the CPU of that affinity start as number `index`.
pub(crate) fn start_cpu(affinity: u64, index: usize) -> Result<(), psci::Error> {
    let entry = secondary_start as *const () as u64;
    psci::cpu_on::<Smc>(affinity, entry, index as u64)
}

/// Waits until another CPU has called [`wake_waiting`], or for no reason.
pub(crate) fn wait_for_event() {
    wfe();
}

/// Wakes the CPUs in [`wait_for_event`], which will see what this one has stored before.
pub(crate) fn wake_waiting() {
    // SEV is not ordered with stores (DDI 0487, "Wait for Event").
    barrier::dsb(barrier::ISHST);
    sev();
}
