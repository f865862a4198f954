//! What a vCPU runs: with stage 1 off, without a stack, at whatever address.

use core::arch::global_asm;

/// A program. `x3` is where its result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// Calls a function that there is not, `x1` times. The result is the least count of instructions.
    Call,
    /// Stores to `x1` places from `x0` on, `x2` bytes apart. The result is the count of instructions of all the stores.
    Store,
}

// The first of two counts lies in what they span. A call changes x0 to x3, as SMCCC 1.0 may.
global_asm!(
    ".pushsection .text.programs, \"ax\"",
    ".balign 16",
    "programs_start:",
    "mov x8, x1",
    "mov x9, x3",
    "mov x10, #-1",
    "1:",
    // The vendor-specific hypervisor service range has no such function.
    "movz x0, #0xc600, lsl #16",
    "movk x0, #0xeeee",
    "mrs x11, cntvct_el0",
    "hvc #0",
    "mrs x12, cntvct_el0",
    "sub x12, x12, x11",
    "sub x12, x12, #1",
    "cmp x12, x10",
    "csel x10, x12, x10, lo",
    "subs x8, x8, #1",
    "b.ne 1b",
    "str x10, [x9]",
    "b .",
    "program_store:",
    "mov x10, xzr",
    "1:",
    "mrs x11, cntvct_el0",
    "str x1, [x0]",
    "mrs x12, cntvct_el0",
    "sub x12, x12, x11",
    "sub x12, x12, #1",
    "add x10, x10, x12",
    "add x0, x0, x2",
    "subs x1, x1, #1",
    "b.ne 1b",
    "str x10, [x3]",
    "b .",
    "programs_end:",
    ".popsection",
);

unsafe extern "C" {
    safe static programs_start: u8;
    safe static program_store: u8;
    safe static programs_end: u8;
}

/// Returns where the programs are, and their length in bytes.
pub(crate) fn text() -> (*const u8, usize) {
    let start = &raw const programs_start;
    (start, (&raw const programs_end).addr() - start.addr())
}

impl Program {
    /// Returns where it starts, from the start of all programs.
    pub(crate) fn offset(self) -> u64 {
        let start = match self {
            Self::Call => &raw const programs_start,
            Self::Store => &raw const program_store,
        };
        (start.addr() - (&raw const programs_start).addr()) as u64
    }
}
