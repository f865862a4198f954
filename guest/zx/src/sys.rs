//! The raw layer: `HVC #0`, and the only `unsafe` of this crate.

use abi::{Call, Result, Status};
use core::arch::{asm, naked_asm};

/// What `x0`–`x3` hold when a call has returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the fields are registers")]
pub struct Registers {
    pub x0: u64,
    pub x1: u64,
    pub x2: u64,
    pub x3: u64,
}

impl Registers {
    /// Returns the status that a vendor call leaves in `x0`.
    pub const fn status(self) -> Status {
        Status::from_register(self.x0)
    }

    /// Returns the registers where the call succeeded, else its status.
    pub fn ok(self) -> Result<Self> {
        self.status().ok().map(|()| self)
    }
}

/// Makes a vendor call; arguments that are left out are 0.
pub fn hypercall<const N: usize>(call: Call, arguments: [u64; N]) -> Registers {
    function(call.function_id(), arguments)
}

/// Calls a function of the SMC Calling Convention by its id; arguments that are left out are 0.
pub fn function<const N: usize>(function_id: u32, arguments: [u64; N]) -> Registers {
    const { assert!(N <= 8, "arguments go in x1-x8") };
    let mut x = [0; 9];
    x[0] = function_id.into();
    x[1..=N].copy_from_slice(&arguments);
    let [x0, x1, x2, x3, ..] = hvc(x);
    Registers { x0, x1, x2, x3 }
}

/// Executes `HVC #0` with the given `x0`–`x8`, and returns what they hold afterwards.
pub fn hvc(x: [u64; 9]) -> [u64; 9] {
    let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7, mut x8] = x;
    // SAFETY: HVC changes x0-x3 and, as the block does not deny it, memory; the contract preserves everything else.
    unsafe {
        asm!(
            "hvc #0",
            inout("x0") x0, inout("x1") x1, inout("x2") x2,
            inout("x3") x3, inout("x4") x4, inout("x5") x5,
            inout("x6") x6, inout("x7") x7, inout("x8") x8,
            options(nostack, preserves_flags),
        );
    }
    [x0, x1, x2, x3, x4, x5, x6, x7, x8]
}

/// The general-purpose registers and the flags, for a test of what a call preserves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct GeneralRegisters {
    /// `x0`–`x30`.
    pub x: [u64; 31],
    /// `NZCV`, in bits 28–31.
    pub nzcv: u64,
}

/// Executes `HVC #0` with all general-purpose registers as given, and leaves in `registers` what they hold afterwards.
pub fn hvc_with_all_registers(registers: &mut GeneralRegisters) {
    // SAFETY: (1) is what the exclusive reference says.
    unsafe { exchange_and_hvc(registers) }
}

/// Loads all registers from `registers`, executes `HVC #0`, and stores them all there.
///
/// # Safety
///
/// 1. `registers` can be read and written.
#[unsafe(naked)]
unsafe extern "C" fn exchange_and_hvc(registers: *mut GeneralRegisters) {
    // The frame: what AAPCS64 wants preserved, then `registers`, then a word to put x0 aside.
    naked_asm!(
        "stp x29, x30, [sp, #-112]!",
        "stp x27, x28, [sp, #16]",
        "stp x25, x26, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x21, x22, [sp, #64]",
        "stp x19, x20, [sp, #80]",
        "str x0, [sp, #96]",
        "ldp x30, x1, [x0, #240]",
        "msr nzcv, x1",
        "ldp x28, x29, [x0, #224]",
        "ldp x26, x27, [x0, #208]",
        "ldp x24, x25, [x0, #192]",
        "ldp x22, x23, [x0, #176]",
        "ldp x20, x21, [x0, #160]",
        "ldp x18, x19, [x0, #144]",
        "ldp x16, x17, [x0, #128]",
        "ldp x14, x15, [x0, #112]",
        "ldp x12, x13, [x0, #96]",
        "ldp x10, x11, [x0, #80]",
        "ldp x8, x9, [x0, #64]",
        "ldp x6, x7, [x0, #48]",
        "ldp x4, x5, [x0, #32]",
        "ldp x2, x3, [x0, #16]",
        "ldp x0, x1, [x0]",
        "hvc #0",
        "str x0, [sp, #104]",
        "ldr x0, [sp, #96]",
        "stp x2, x3, [x0, #16]",
        "stp x4, x5, [x0, #32]",
        "stp x6, x7, [x0, #48]",
        "stp x8, x9, [x0, #64]",
        "stp x10, x11, [x0, #80]",
        "stp x12, x13, [x0, #96]",
        "stp x14, x15, [x0, #112]",
        "stp x16, x17, [x0, #128]",
        "stp x18, x19, [x0, #144]",
        "stp x20, x21, [x0, #160]",
        "stp x22, x23, [x0, #176]",
        "stp x24, x25, [x0, #192]",
        "stp x26, x27, [x0, #208]",
        "stp x28, x29, [x0, #224]",
        "mrs x2, nzcv",
        "stp x30, x2, [x0, #240]",
        "ldr x2, [sp, #104]",
        "stp x2, x1, [x0]",
        "ldp x19, x20, [sp, #80]",
        "ldp x21, x22, [sp, #64]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #32]",
        "ldp x27, x28, [sp, #16]",
        "ldp x29, x30, [sp], #112",
        "ret",
    )
}

/// Returns the address of a value that a call reads, as a call takes it.
pub(crate) fn address_of<T: ?Sized>(value: &T) -> u64 {
    (&raw const *value).cast::<()>().expose_provenance() as u64
}

/// Returns the address of a value that a call fills, as a call takes it.
pub(crate) fn address_of_mut<T: ?Sized>(value: &mut T) -> u64 {
    (&raw mut *value).cast::<()>().expose_provenance() as u64
}
