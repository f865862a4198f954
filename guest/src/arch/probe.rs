//! Instructions that may take an exception.

use super::vectors::EL0_MASKED;
use crate::exception::Exception;
use core::arch::asm;

/// `ESR_EL1.EC` of an SVC in AArch64 state.
const SVC: u64 = 0x15;

/// What became of an instruction.
pub(crate) struct Outcome {
    /// What it left in its register, if it has one.
    value: u64,
    /// `ESR_EL1`, or 0 where no exception was taken but the one that was asked for.
    esr: u64,
    /// `FAR_EL1`.
    far: u64,
}

impl Outcome {
    pub(crate) fn into_result(self) -> Result<u64, Exception> {
        match self.esr {
            0 => Ok(self.value),
            esr => Err(Exception { esr, far: self.far }),
        }
    }
}

/// Executes an instruction with the landing place for its exception in `TPIDR_EL1`. The vectors clear that when they
/// use it, and clobber x16 and the flags.
macro_rules! guarded {
    ($instruction:literal, $($operands:tt)*) => {
        asm!(
            "adr x16, 2f",
            "msr tpidr_el1, x16",
            $instruction,
            "msr tpidr_el1, xzr",
            "mov {esr}, xzr",
            "b 3f",
            "2:",
            "mrs {esr}, esr_el1",
            "3:",
            "mrs {far}, far_el1",
            out("x16") _,
            $($operands)*
        )
    };
}

pub(crate) fn load(address: u64) -> Outcome {
    let (value, esr, far);
    // SAFETY: a load changes nothing, and an abort of it lands in the block.
    unsafe {
        guarded!("ldr {value}, [{address}]", address = in(reg) address, value = out(reg) value,
            esr = out(reg) esr, far = out(reg) far, options(nostack, readonly));
    }
    Outcome { value, esr, far }
}

pub(crate) fn store(address: u64, value: u64) -> Outcome {
    let (esr, far);
    // SAFETY: the caller has made sure that the program does not lie there; an abort lands in the block.
    unsafe {
        guarded!("str {value}, [{address}]", address = in(reg) address, value = in(reg) value,
            esr = out(reg) esr, far = out(reg) far, options(nostack));
    }
    Outcome { value, esr, far }
}

pub(crate) fn execute(address: u64) -> Outcome {
    let (esr, far);
    // SAFETY: what runs is a RET, which changes no register but the link register that BLR writes; where there is no
    // instruction, the exception lands in the block.
    unsafe {
        guarded!("blr {address}", address = in(reg) address, out("x30") _,
            esr = out(reg) esr, far = out(reg) far, options(nostack));
    }
    Outcome { value: 0, esr, far }
}

/// Runs the code at `code` at EL0, with `x0` as given, until its SVC or an exception that it takes before.
pub(crate) fn run_at_el0(code: u64, mut x0: u64) -> Outcome {
    let (esr, far): (u64, u64);
    // SAFETY: code at EL0 reaches only what stage 1 grants to EL0, none of the program, and the caller has made sure
    // that it uses no register but x0. It can come back only by an exception, which lands in the block.
    unsafe {
        guarded!("msr elr_el1, {code}\nmsr spsr_el1, {spsr}\neret",
            code = in(reg) code, spsr = in(reg) EL0_MASKED, inout("x0") x0,
            esr = out(reg) esr, far = out(reg) far, options(nostack));
    }
    let esr = if esr >> 26 == SVC { 0 } else { esr };
    Outcome { value: x0, esr, far }
}

pub(crate) fn hvc_1() -> Outcome {
    let (esr, far);
    // SAFETY: where it is not UNDEFINED it is a call at most, of the function 0 that does not exist.
    unsafe {
        guarded!("hvc #1", inout("x0") 0_u64 => _, out("x1") _, out("x2") _, out("x3") _,
            esr = out(reg) esr, far = out(reg) far, options(nostack));
    }
    Outcome { value: 0, esr, far }
}

/// `HLT #0xF000`, by which a debugger serves semihosting. Where there is none it is UNDEFINED, or an exception of another kind.
pub(crate) fn semihosting(operation: u64, block: &[u64]) -> Outcome {
    let (esr, far);
    let mut value = operation;
    // SAFETY: the operation reads the block, and what it leads to belongs to the caller; an exception lands in the block.
    unsafe {
        guarded!("hlt #0xf000", inout("x0") value, in("x1") block.as_ptr(),
            esr = out(reg) esr, far = out(reg) far, options(nostack));
    }
    Outcome { value, esr, far }
}
