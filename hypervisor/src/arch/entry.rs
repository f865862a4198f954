//! The first instructions of each CPU: from whatever state it comes in to Rust at EL2, with translation and caches on.
//!
//! Until the MMU is on all of memory is Device memory, where unaligned and exclusive accesses fault: no Rust runs before.

use core::arch::naked_asm;

use super::per_cpu::{CPUS, CpuMemory};
use super::stage1::{
    BOOT_TABLES, BootTables, DATA_PAGE, IMAGE_START, IMAGE_TABLES, MAIR, RODATA_PAGE, TABLE_BITS, TEXT_PAGE,
    TREE_BLOCK, VA_BITS,
};
use super::uart::USUAL_PLACE;
use super::vectors::VECTORS;
use crate::el2::{boot_main, secondary_main};
use hypervisor::MAX_CPUS;

/// HCR_EL2 while there is no guest: EL1 is AArch64 (RW), and E2H is 0, which decides what every register below means.
const HCR: u64 = 1 << 31;

/// SCTLR_EL2: M, C, SA and I on, WXN, and the bits that are RES1 with E2H = 0: 4, 5, 11, 16, 18, 22, 23, 28 and 29
/// (DDI 0487, "SCTLR_EL2").
const SCTLR: u64 = SCTLR_RES1 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19;
const SCTLR_RES1: u64 = 1 << 4 | 1 << 5 | 1 << 11 | 1 << 16 | 1 << 18 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;

/// TCR_EL2: walks inner-shareable and write-back as the accesses are, 4 KiB granule, RES1 bits 23 and 31 (DDI 0487,
/// "TCR_EL2", E2H = 0). PS is added from the ID register.
const TCR: u64 = 1 << 31 | 1 << 23 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8 | (64 - VA_BITS);
const TCR_PS_SHIFT: u32 = 16;
/// PS for 48 bits: wider ones need FEAT_LPA, and descriptors of another shape.
const PS_48: u64 = 0b101;

const CURRENT_EL_2: u64 = 2 << 2;

/// How semihosting exits: SYS_EXIT with ADP_Stopped_ApplicationExit and this status.
const REFUSED: u64 = 102;

/// Starts the boot CPU.
///
/// # Safety
///
/// 1. The loader jumps here, once, with the image in place and what its file does not hold zeroed.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.boot")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "msr daifset, #0xf",
        "mrs x0, currentel",
        "cmp x0, {el2}",
        "b.ne {wrong_level}",
        // A loader may leave the MMU on, with tables that we know nothing of.
        "ldr x0, ={sctlr_off}",
        "msr sctlr_el2, x0",
        "isb",
        // The tables of the image: each part with its permissions, and as data what is left of their reach.
        "adrp x10, {tables} + {image_tables_at}",
        "add x10, x10, :lo12:{tables} + {image_tables_at}",
        "ldr x11, ={image_start}",
        "mov x1, x11",
        "adrp x2, __text_end",
        "ldr x3, ={text}",
        "bl 2f",
        "adrp x2, __rodata_end",
        "ldr x3, ={rodata}",
        "bl 2f",
        "adrp x2, __pages_end",
        "ldr x3, ={data}",
        "bl 2f",
        // Guard pages go away again.
        "adrp x1, {cpus}",
        "ldr x2, ={cpu_bytes}",
        "mov x3, {max_cpus}",
        "1:",
        "sub x4, x1, x11",
        "lsr x4, x4, #12",
        "str xzr, [x10, x4, lsl #3]",
        "add x4, x4, {emergency_guard_pages}",
        "str xzr, [x10, x4, lsl #3]",
        "add x1, x1, x2",
        "subs x3, x3, #1",
        "b.ne 1b",
        // The tables above: the GiB that RAM starts in holds the device tree, then the image.
        "adrp x12, {tables} + {ram_table_at}",
        "add x12, x12, :lo12:{tables} + {ram_table_at}",
        "ldr x1, ={tree}",
        "str x1, [x12]",
        "add x1, x10, {table_bits}",
        "str x1, [x12, #8]",
        "add x1, x1, #4096",
        "str x1, [x12, #16]",
        "adrp x13, {tables}",
        "add x13, x13, :lo12:{tables}",
        "add x1, x12, {table_bits}",
        "str x1, [x13, #8]",
        // The walks are cacheable and the stores were not: no cache may hold what was there before (DDI 0487,
        // "Memory attributes of translation table walks"). CTR_EL0.DminLine is the base-two logarithm of a line's words.
        "mrs x1, ctr_el0",
        "ubfx x1, x1, #16, #4",
        "mov x2, #4",
        "lsl x2, x2, x1",
        "mov x1, x13",
        "ldr x3, ={tables_bytes}",
        "add x3, x3, x1",
        "dsb sy",
        "4:",
        "dc ivac, x1",
        "add x1, x1, x2",
        "cmp x1, x3",
        "b.lo 4b",
        "dsb sy",
        "mov x0, xzr",
        "b {enter_rust}",
        // Maps the pages from x1 to x2 with what x3 holds.
        "2:",
        "cmp x1, x2",
        "b.hs 3f",
        "sub x4, x1, x11",
        "lsr x4, x4, #12",
        "orr x5, x1, x3",
        "str x5, [x10, x4, lsl #3]",
        "add x1, x1, #4096",
        "b 2b",
        "3:",
        "ret",
        el2 = const CURRENT_EL_2,
        wrong_level = sym wrong_level,
        sctlr_off = const SCTLR_RES1,
        tables = sym BOOT_TABLES,
        tables_bytes = const size_of::<BootTables>(),
        ram_table_at = const core::mem::offset_of!(BootTables, ram),
        image_tables_at = const core::mem::offset_of!(BootTables, image),
        image_start = const IMAGE_START,
        text = const TEXT_PAGE,
        rodata = const RODATA_PAGE,
        data = const DATA_PAGE,
        tree = const TREE_BLOCK,
        table_bits = const TABLE_BITS,
        cpus = sym CPUS,
        cpu_bytes = const size_of::<CpuMemory>(),
        max_cpus = const MAX_CPUS,
        emergency_guard_pages = const CpuMemory::EMERGENCY_GUARD / 4096,
        enter_rust = sym enter_rust,
    )
}

// The code above fills two entries for the image.
const _: () = assert!(IMAGE_TABLES == 2);

/// Starts another CPU, whose number is in `x0`.
///
/// # Safety
///
/// 1. A CPU jumps here only as PSCI starts one: in EL2 or not at all, its MMU off.
/// 2. Its number is below `MAX_CPUS`, and no other CPU runs under it.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn secondary_start() -> ! {
    naked_asm!(
        "msr daifset, #0xf",
        "mrs x1, currentel",
        "cmp x1, {el2}",
        "b.ne {wrong_level}",
        "b {enter_rust}",
        el2 = const CURRENT_EL_2,
        wrong_level = sym wrong_level,
        enter_rust = sym enter_rust,
    )
}

/// Turns the MMU on and goes on in Rust, as the CPU whose number is in `x0`.
///
/// # Safety
///
/// 1. The CPU is at EL2 with its MMU off, and the boot tables are filled.
/// 2. As for [`secondary_start`].
#[unsafe(naked)]
unsafe extern "C" fn enter_rust(cpu: usize) -> ! {
    naked_asm!(
        "msr spsel, #1",
        "ldr x1, ={hcr}",
        "msr hcr_el2, x1",
        "isb",
        "ldr x1, ={mair}",
        "msr mair_el2, x1",
        "ldr x1, ={tcr}",
        "mrs x2, id_aa64mmfr0_el1",
        "and x2, x2, #0xf",
        "mov x3, {ps_48}",
        "cmp x2, x3",
        "csel x2, x2, x3, lo",
        "orr x1, x1, x2, lsl {ps_shift}",
        "msr tcr_el2, x1",
        "adrp x1, {root}",
        "add x1, x1, :lo12:{root}",
        "msr ttbr0_el2, x1",
        "isb",
        // Neither the TLB nor the instruction cache is known to be empty after a reset.
        "tlbi alle2",
        "ic iallu",
        "dsb nsh",
        "isb",
        "ldr x1, ={sctlr}",
        "msr sctlr_el2, x1",
        "isb",
        "adrp x1, {cpus}",
        "add x1, x1, :lo12:{cpus}",
        "ldr x2, ={cpu_bytes}",
        "madd x1, x0, x2, x1",
        "ldr x2, ={notes}",
        "add x1, x1, x2",
        "msr tpidr_el2, x1",
        "ldr x2, ={stack_below}",
        "sub x1, x1, x2",
        "mov sp, x1",
        "adrp x1, {vectors}",
        "add x1, x1, :lo12:{vectors}",
        "msr vbar_el2, x1",
        "isb",
        "mov x29, xzr",
        "mov x30, xzr",
        "cbz x0, {boot}",
        "b {secondary}",
        hcr = const HCR,
        mair = const MAIR,
        tcr = const TCR,
        ps_48 = const PS_48,
        ps_shift = const TCR_PS_SHIFT,
        root = sym BOOT_TABLES,
        sctlr = const SCTLR,
        cpus = sym CPUS,
        cpu_bytes = const size_of::<CpuMemory>(),
        notes = const CpuMemory::NOTES,
        stack_below = const CpuMemory::STACK_BELOW_NOTES,
        vectors = sym VECTORS,
        boot = sym boot_main,
        secondary = sym secondary_main,
    )
}

/// Says that the CPU does not start at EL2, and ends the machine. Needs no memory but code.
#[unsafe(naked)]
extern "C" fn wrong_level() -> ! {
    naked_asm!(
        "mov x1, {uart}",
        "adr x2, 2f",
        "1:",
        "ldrb w3, [x2], #1",
        "cbz w3, 3f",
        "strb w3, [x1]",
        "b 1b",
        "2:",
        ".byte 0x1e",
        ".asciz \"[ERROR] hypervisor: the CPU does not start at EL2; QEMU's -M virt needs virtualization=on\\n\"",
        ".balign 4",
        "3:",
        // SYS_EXIT reads its two words through the data side, from the text.
        "mov w0, #0x18",
        "adr x1, 4f",
        "hlt #0xf000",
        "5:",
        "wfi",
        "b 5b",
        ".balign 8",
        "4:",
        ".quad 0x20026",
        ".quad {refused}",
        uart = const USUAL_PLACE.0,
        refused = const REFUSED,
    )
}
