//! The first instructions, entered as the arm64 Linux boot protocol says: EL1h, MMU and caches off, interrupts masked, the
//! address of the device tree in `x0`.
//!
//! They stay off: under QEMU memory is the same with and without, and no table of stage 1 is in the way of what is measured.

use core::arch::{asm, naked_asm};
use core::ops::Range;
use core::panic::PanicInfo;

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};
use peers::{Failure, tell_end};

use crate::hypercall::{Console, power_off};

/// The header of an arm64 Linux `Image`, which is all that Xen boots; then addresses are put right, and a stack is found.
///
/// # Safety
///
/// 1. It runs once, before anything else, in the state that the boot protocol names.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".head")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "b 1f",
        ".word 0",
        // It lies at the very start of RAM or anywhere else, and has 4 KiB pages.
        ".quad 0",
        ".quad __image_end - _start",
        ".quad 0b1010",
        ".quad 0, 0, 0",
        ".ascii \"ARM\\x64\"",
        ".word 0",
        "1:",
        "adrp x1, __rela_start",
        "add x1, x1, :lo12:__rela_start",
        "adrp x2, __rela_end",
        "add x2, x2, :lo12:__rela_end",
        "adrp x3, _start",
        // Each is R_AARCH64_RELATIVE: where, the kind, and what is to be there, from the start of the image.
        "2:",
        "cmp x1, x2",
        "b.hs 3f",
        "ldr x4, [x1]",
        "ldr x5, [x1, #16]",
        "add x5, x5, x3",
        "str x5, [x3, x4]",
        "add x1, x1, #24",
        "b 2b",
        "3:",
        "adrp x1, __stack_end",
        "add x1, x1, :lo12:__stack_end",
        "mov sp, x1",
        "adrp x1, {vectors}",
        "add x1, x1, :lo12:{vectors}",
        "msr vbar_el1, x1",
        "isb",
        "b {start}",
        vectors = sym vectors,
        start = sym start,
    )
}

/// The vectors: no exception is expected.
///
/// # Safety
///
/// 1. Only the CPU comes here.
#[unsafe(naked)]
#[unsafe(link_section = ".text.vectors")]
unsafe extern "C" fn vectors() {
    naked_asm!(".balign 2048", ".rept 16", "b {unexpected}", ".balign 128", ".endr", unexpected = sym unexpected)
}

extern "C" fn start(device_tree: *const u8) -> ! {
    // SAFETY: the boot protocol makes it a device tree, whole and aligned, in memory that nothing here changes.
    let device_tree = unsafe { Fdt::from_raw(device_tree) };
    let result = device_tree.map_err(|_| Failure::new("the device tree is malformed", 0)).and_then(crate::run);
    end(result)
}

extern "C" fn unexpected() -> ! {
    let syndrome: i64;
    // SAFETY: it reads a register.
    unsafe { asm!("mrs {}, esr_el1", out(reg) syndrome, options(nomem, nostack, preserves_flags)) };
    end(Err(Failure::new("an exception came, with ESR_EL1", syndrome)))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, |location| location.line());
    end(Err(Failure::new("the guest panicked, in line", line.into())))
}

fn end(result: Result<(), Failure>) -> ! {
    // There is nobody to tell that nothing can be told.
    let _ = tell_end(&mut Console, result);
    power_off()
}

/// Returns the largest piece of RAM.
pub(crate) fn largest_ram(tree: Fdt<'_>) -> Option<Range<u64>> {
    let is_memory = |node: &dtoolkit::fdt::FdtNode<'_>| {
        node.property("device_type").and_then(|kind| kind.value_as::<&str>().ok()) == Some("memory")
    };
    let pieces = tree.root().children().filter(is_memory).filter_map(|node| node.reg().ok().flatten()).flatten();
    let pieces = pieces.filter_map(|reg| {
        let start = reg.address::<u64>().ok()?;
        Some(start..start.checked_add(reg.size::<u64>().ok()?)?)
    });
    pieces.max_by_key(|piece| piece.end - piece.start)
}
