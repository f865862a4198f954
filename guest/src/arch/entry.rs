//! The first instructions, entered as the arm64 Linux boot protocol says: EL1h, MMU and caches off, interrupts masked,
//! the address of the device tree in `x0`.

use super::stage1::ROOT;
use super::vectors::VECTORS;
use crate::{Env, ExitStatus};
use core::arch::naked_asm;
use dtoolkit::fdt::Fdt;

/// Attribute 0: Normal memory, write-back, read- and write-allocate, inner and outer.
const MAIR: u64 = 0xff;

/// TTBR0 alone, for VAs of 39 bits in 4 KiB granules: T0SZ = 25, IRGN0 = ORGN0 = write-back, SH0 = inner, EPD1 = 1.
/// IPS = 40 bits, the least that every CPU has that can hold the identity map's last block.
const TCR: u64 = 25 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12 | 1 << 23 | 0b010 << 32;

/// M, C, SA and I, and what was RES1 before it had a meaning: EOS, TSCXT, EIS, SPAN, nTLSMD and LSMAOE.
const SCTLR: u64 = 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;

unsafe extern "Rust" {
    /// The guest's main, wrapped by [`crate::entry!`].
    safe fn guest_main(env: &Env) -> ExitStatus;
}

/// Turns stage 1 and the caches on, zeroes `.bss` and finds a stack.
///
/// Nothing is written before the caches are on, so that no line of theirs can be older than memory. The tables are data
/// of the program, which its loader has cleaned to the point of coherency.
///
/// # Safety
///
/// 1. It runs once, before anything else, in the state that the boot protocol names.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "mrs x3, cntvct_el0",
        "bl {set_up_el1}",
        "adrp x1, __bss_start",
        "add x1, x1, :lo12:__bss_start",
        "adrp x2, __bss_end",
        "add x2, x2, :lo12:__bss_end",
        "1:",
        "cmp x1, x2",
        "b.hs 2f",
        "stp xzr, xzr, [x1], #16",
        "b 1b",
        "2:",
        "adrp x1, __stack_end",
        "mov sp, x1",
        "mov x1, x3",
        "b {start}",
        set_up_el1 = sym set_up_el1,
        start = sym start,
    )
}

/// Turns stage 1 and the caches on, finds the second stack, and goes to the function whose address is in `x0`.
///
/// # Safety
///
/// 1. It runs on one vCPU besides the first, in the state in which PSCI starts one.
/// 2. `x0` holds the address of an `extern "C" fn() -> !`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn start_second() -> ! {
    naked_asm!(
        "bl {set_up_el1}",
        "adrp x1, __second_stack_end",
        "mov sp, x1",
        "br x0",
        set_up_el1 = sym set_up_el1,
    )
}

/// Sets the registers that rule EL1, and turns its MMU and caches on. It changes `x1` and `x30`, and no memory.
///
/// # Safety
///
/// 1. The MMU is off, and the caller runs at the address that it is linked at.
#[unsafe(naked)]
unsafe extern "C" fn set_up_el1() {
    naked_asm!(
        "mov x1, {mair}",
        "msr mair_el1, x1",
        "ldr x1, ={tcr}",
        "msr tcr_el1, x1",
        "adrp x1, {root}",
        "msr ttbr0_el1, x1",
        "adrp x1, {vectors}",
        "add x1, x1, :lo12:{vectors}",
        "msr vbar_el1, x1",
        "msr tpidr_el1, xzr",
        "tlbi vmalle1",
        "dsb nsh",
        "isb",
        "ldr x1, ={sctlr}",
        "msr sctlr_el1, x1",
        "isb",
        "ret",
        mair = const MAIR,
        tcr = const TCR,
        root = sym ROOT,
        vectors = sym VECTORS,
        sctlr = const SCTLR,
    )
}

/// Runs the guest's main. `started` is what the counter said at the guest's first instruction.
extern "C" fn start(device_tree: *const u8, started: u64) -> ! {
    // SAFETY: the boot protocol makes it a device tree, whole and aligned, that nobody else writes; the guest keeps its
    // hands off it, so it lives as long as the program.
    let device_tree = unsafe { Fdt::from_raw(device_tree) };
    let device_tree = device_tree.expect("the device tree that the guest was given is well-formed");
    let status = guest_main(&Env::new(device_tree, started));
    zx::exit(status.0)
}
