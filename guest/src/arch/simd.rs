//! The SIMD and floating-point registers.

use core::arch::asm;

/// `CPACR_EL1.FPEN`: nothing traps.
const FPEN: u64 = 0b11 << 20;

pub(crate) fn enable() {
    // SAFETY: the program uses none of the registers that this uncovers.
    unsafe { asm!("msr cpacr_el1, {fpen}", "isb", fpen = in(reg) FPEN, options(nomem, nostack, preserves_flags)) };
}

pub(crate) fn call_with(registers: &mut [u128; 32], function_id: u32) {
    // SAFETY: the reference covers what is loaded and stored; the call, without arguments, changes x0-x3 at most; the
    // program uses none of the registers that are loaded.
    unsafe {
        asm!(
            ".arch_extension simd",
            "ld1 {{v0.2d, v1.2d, v2.2d, v3.2d}}, [x9], #64",
            "ld1 {{v4.2d, v5.2d, v6.2d, v7.2d}}, [x9], #64",
            "ld1 {{v8.2d, v9.2d, v10.2d, v11.2d}}, [x9], #64",
            "ld1 {{v12.2d, v13.2d, v14.2d, v15.2d}}, [x9], #64",
            "ld1 {{v16.2d, v17.2d, v18.2d, v19.2d}}, [x9], #64",
            "ld1 {{v20.2d, v21.2d, v22.2d, v23.2d}}, [x9], #64",
            "ld1 {{v24.2d, v25.2d, v26.2d, v27.2d}}, [x9], #64",
            "ld1 {{v28.2d, v29.2d, v30.2d, v31.2d}}, [x9], #64",
            "hvc #0",
            "sub x9, x9, #512",
            "st1 {{v0.2d, v1.2d, v2.2d, v3.2d}}, [x9], #64",
            "st1 {{v4.2d, v5.2d, v6.2d, v7.2d}}, [x9], #64",
            "st1 {{v8.2d, v9.2d, v10.2d, v11.2d}}, [x9], #64",
            "st1 {{v12.2d, v13.2d, v14.2d, v15.2d}}, [x9], #64",
            "st1 {{v16.2d, v17.2d, v18.2d, v19.2d}}, [x9], #64",
            "st1 {{v20.2d, v21.2d, v22.2d, v23.2d}}, [x9], #64",
            "st1 {{v24.2d, v25.2d, v26.2d, v27.2d}}, [x9], #64",
            "st1 {{v28.2d, v29.2d, v30.2d, v31.2d}}, [x9], #64",
            ".arch_extension nosimd",
            inout("x9") registers.as_mut_ptr() => _,
            inout("x0") u64::from(function_id) => _,
            out("x1") _,
            out("x2") _,
            out("x3") _,
            options(nostack),
        );
    }
}
