//! The exception vectors. A probe leaves the address to go on at in `TPIDR_EL1`; where there is none, an exception ends
//! the guest.

use crate::ExitStatus;
use crate::exception::Exception;
use core::arch::naked_asm;

/// `SPSR_EL1` for EL1h with all interrupts masked: how the guest runs.
pub(super) const EL1H_MASKED: u64 = 0b1111 << 6 | 0b0101;
/// `SPSR_EL1` for EL0 with all interrupts masked.
pub(super) const EL0_MASKED: u64 = 0b1111 << 6;

unsafe extern "C" {
    /// The vector table.
    #[link_name = "vectors"]
    pub(super) static VECTORS: u8;
}

// Only x16 is used before it is known whose exception it is: probes declare it clobbered, and nobody else goes on.
core::arch::global_asm!(
    ".macro fatal_vector index",
    ".balign 0x80",
    "mov x0, #\\index",
    "b {fatal_exception}",
    ".endm",
    ".macro caught_vector index",
    ".balign 0x80",
    "mrs x16, tpidr_el1",
    "cbz x16, 1f",
    "msr elr_el1, x16",
    "mov x16, {el1h_masked}",
    "msr spsr_el1, x16",
    "msr tpidr_el1, xzr",
    "eret",
    "1:",
    "mov x0, #\\index",
    "b {fatal_exception}",
    ".endm",
    ".pushsection .text.vectors, \"ax\"",
    ".balign 0x800",
    ".global vectors",
    "vectors:",
    "fatal_vector 0",
    "fatal_vector 1",
    "fatal_vector 2",
    "fatal_vector 3",
    "caught_vector 4", // synchronous, from EL1 with SP_EL1
    "fatal_vector 5",
    "fatal_vector 6",
    "fatal_vector 7",
    "caught_vector 8", // synchronous, from EL0
    "fatal_vector 9",
    "fatal_vector 10",
    "fatal_vector 11",
    "fatal_vector 12",
    "fatal_vector 13",
    "fatal_vector 14",
    "fatal_vector 15",
    ".popsection",
    el1h_masked = const EL1H_MASKED,
    fatal_exception = sym fatal_exception,
);

/// Reports an exception that nobody expected, by its place in the vector table.
///
/// A second one, as when the stack itself is gone, finds the last resort: an exit that needs no memory but code.
#[unsafe(naked)]
extern "C" fn fatal_exception(vector: u64) -> ! {
    naked_asm!(
        "adr x16, 1f",
        "msr tpidr_el1, x16",
        "mrs x1, esr_el1",
        "mrs x2, far_el1",
        "mrs x3, elr_el1",
        "b {report}",
        "1:",
        "ldr w0, ={exit}",
        "mov x1, {panicked}",
        "hvc #0",
        "b 1b",
        report = sym report,
        exit = const abi::Call::Exit.function_id(),
        panicked = const ExitStatus::PANICKED.0,
    )
}

extern "C" fn report(vector: u64, esr: u64, far: u64, elr: u64) -> ! {
    panic!("exception at {elr:#x}, vector {vector}: {}", Exception { esr, far })
}
