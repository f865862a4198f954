//! What the guests that measure other hypervisors share: the counter, and the lines in which they tell what they found.
//!
//! Such a guest runs where nothing of Stagecraft is: on Xen as its dom0, and on Linux as the program that drives KVM. Both count
//! by `CNTVCT_EL0`, whose tick is one executed instruction where QEMU counts them and the counter runs at [`HZ`].
//!
//! A line of theirs is `peer: WHAT …`. WHAT is `figure`, with the work, how many pages or blocks or calls, instructions, and
//! the call by which it was done; `doing`, with what comes next; `failed`, with why there are no more figures; or `done`.
#![no_std]

use core::arch::asm;
use core::fmt::{self, Write};

/// What the counter must run at, in Hz, for a tick to be an instruction.
pub const HZ: u64 = 1_000_000_000;

/// Why there are no more figures: what was tried, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What was tried.
    pub what: &'static str,
    /// What came of it: a status, a count, a register, as `what` says.
    pub value: i64,
}

impl Failure {
    /// Returns a failure.
    pub const fn new(what: &'static str, value: i64) -> Self {
        Self { what, value }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.value)
    }
}

/// Reads the counter.
pub fn count() -> u64 {
    let ticks;
    // SAFETY: it reads a register that EL0 and EL1 may read. It counts as a memory access, so that none moves across it.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags)) };
    ticks
}

/// Returns how many instructions `work` takes.
pub fn measure<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = count();
    let result = work();
    (count() - before, result)
}

/// Checks that a tick of the counter is an instruction, as far as its frequency tells.
///
/// # Errors
///
/// The frequency, where it is another.
pub fn check_counter() -> Result<(), Failure> {
    let hz: u64;
    // SAFETY: it reads a register that EL0 and EL1 may read.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
    if hz == HZ { Ok(()) } else { Err(Failure::new("the counter's frequency is not 1 GHz but, in Hz", hz as i64)) }
}

/// Tells what `how` took: `instructions` for all of the `n` that the work was done on.
///
/// # Errors
///
/// The console's.
pub fn tell_figure(console: &mut impl Write, work: &str, n: u64, instructions: u64, how: &str) -> fmt::Result {
    writeln!(console, "peer: figure {work} {n} {instructions} {how}")
}

/// Tells what comes next.
///
/// # Errors
///
/// The console's.
pub fn tell_step(console: &mut impl Write, what: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(console, "peer: doing {what}")
}

/// Tells how it ended.
///
/// # Errors
///
/// The console's.
pub fn tell_end(console: &mut impl Write, result: Result<(), Failure>) -> fmt::Result {
    match result {
        Ok(()) => writeln!(console, "peer: done"),
        Err(failure) => writeln!(console, "peer: failed {failure}"),
    }
}
