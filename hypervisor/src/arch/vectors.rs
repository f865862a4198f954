//! The exception vectors. What the guest traps into is served and returned from; an exception at EL2 itself is the end.

use core::arch::global_asm;

use crate::el2::{asynchronous_exit, fatal_exception, synchronous_exit};

unsafe extern "C" {
    /// The vector table.
    #[link_name = "el2_vectors"]
    pub(super) static VECTORS: u8;
}

/// The registers of the guest that Rust does not preserve; the others it does. Written by the vectors.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Frame {
    /// `x0` to `x18`.
    pub(crate) x: [u64; 19],
    /// `x30`.
    pub(crate) link: u64,
}

/// The registers of EL2 at an exception that nobody expected.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct FatalFrame {
    /// `x0` to `x30`.
    pub(crate) x: [u64; 31],
    /// SP_EL2.
    pub(crate) sp: u64,
}

// An exception from the guest: the stack is empty, for nothing of ours was going on.
global_asm!(
    ".macro guest_vector handler",
    ".balign 0x80",
    "sub sp, sp, {frame_bytes}",
    "stp x0, x1, [sp]",
    "stp x2, x3, [sp, #16]",
    "stp x4, x5, [sp, #32]",
    "stp x6, x7, [sp, #48]",
    "stp x8, x9, [sp, #64]",
    "stp x10, x11, [sp, #80]",
    "stp x12, x13, [sp, #96]",
    "stp x14, x15, [sp, #112]",
    "stp x16, x17, [sp, #128]",
    "stp x18, x30, [sp, #144]",
    "mov x0, sp",
    "bl \\handler",
    "ldp x0, x1, [sp]",
    "ldp x2, x3, [sp, #16]",
    "ldp x4, x5, [sp, #32]",
    "ldp x6, x7, [sp, #48]",
    "ldp x8, x9, [sp, #64]",
    "ldp x10, x11, [sp, #80]",
    "ldp x12, x13, [sp, #96]",
    "ldp x14, x15, [sp, #112]",
    "ldp x16, x17, [sp, #128]",
    "ldp x18, x30, [sp, #144]",
    "add sp, sp, {frame_bytes}",
    "eret",
    // Nothing may be fetched past it: an ERET can be speculated over.
    "dsb nsh",
    "isb",
    ".endm",
    // An exception at EL2. The stack may be why, so the registers go to the emergency stack; SP_EL0 and TPIDR_EL0 are the
    // guest's, and the guest is over.
    ".macro fatal_vector index",
    ".balign 0x80",
    "msr sp_el0, x0",
    "mov x0, sp",
    "msr tpidr_el0, x0",
    "mrs x0, tpidr_el2",
    "mov sp, x0",
    "mov x0, \\index",
    "b {fatal}",
    ".endm",
    ".pushsection .text.vectors, \"ax\"",
    ".balign 0x800",
    ".globl el2_vectors",
    "el2_vectors:",
    "fatal_vector 0", // with SP_EL0, which EL2 never uses
    "fatal_vector 1",
    "fatal_vector 2",
    "fatal_vector 3",
    "fatal_vector 4", // with SP_EL2
    "fatal_vector 5",
    "fatal_vector 6",
    "fatal_vector 7",
    "guest_vector {synchronous}", // from AArch64
    "guest_vector {asynchronous}",
    "guest_vector {asynchronous}",
    "guest_vector {asynchronous}",
    "guest_vector {synchronous}", // from AArch32, which EL0 may be
    "guest_vector {asynchronous}",
    "guest_vector {asynchronous}",
    "guest_vector {asynchronous}",
    ".popsection",
    frame_bytes = const size_of::<Frame>(),
    synchronous = sym synchronous_exit,
    asynchronous = sym asynchronous_exit,
    fatal = sym save_fatal,
);

/// Saves all registers and reports the exception, by its place in the table.
#[unsafe(naked)]
extern "C" fn save_fatal(vector: u64) -> ! {
    core::arch::naked_asm!(
        "sub sp, sp, {frame_bytes}",
        "stp x1, x2, [sp, #8]",
        "stp x3, x4, [sp, #24]",
        "stp x5, x6, [sp, #40]",
        "stp x7, x8, [sp, #56]",
        "stp x9, x10, [sp, #72]",
        "stp x11, x12, [sp, #88]",
        "stp x13, x14, [sp, #104]",
        "stp x15, x16, [sp, #120]",
        "stp x17, x18, [sp, #136]",
        "stp x19, x20, [sp, #152]",
        "stp x21, x22, [sp, #168]",
        "stp x23, x24, [sp, #184]",
        "stp x25, x26, [sp, #200]",
        "stp x27, x28, [sp, #216]",
        "stp x29, x30, [sp, #232]",
        "mrs x1, sp_el0",
        "mrs x2, tpidr_el0",
        "str x1, [sp]",
        "str x2, [sp, #248]",
        "mov x1, sp",
        "b {report}",
        frame_bytes = const size_of::<FatalFrame>(),
        report = sym fatal_exception,
    )
}
