// The first instructions of a C guest, entered as the arm64 Linux boot protocol says: EL1h, MMU and caches off, interrupts
// masked, the address of the device tree in x0. guest.ld, next door, says where everything lies.

// Attribute 0: Normal memory, write-back, read- and write-allocate, inner and outer.
#define MAIR 0xff
// TTBR0 alone, for VAs of 39 bits in 4 KiB granules: T0SZ = 25, IRGN0 = ORGN0 = write-back, SH0 = inner, EPD1 = 1, IPS = 40 bits.
#define TCR (25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32)
// M, C, SA and I, and what was RES1 before it had a meaning: EOS, TSCXT, EIS, SPAN, nTLSMD and LSMAOE.
#define SCTLR (1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29)
// A block of level 1: AF, inner shareable, UXN, attribute 0.
#define BLOCK (1 << 54 | 1 << 10 | 3 << 8 | 1)
// FPEN: SIMD and floating point are the program's.
#define CPACR (3 << 20)

        .section .text.boot, "ax"
        .global _start
_start:
        ldr     x1, =MAIR
        msr     mair_el1, x1
        ldr     x1, =TCR
        msr     tcr_el1, x1
        adrp    x1, root_table
        msr     ttbr0_el1, x1
        adrp    x1, vectors
        add     x1, x1, :lo12:vectors
        msr     vbar_el1, x1
        mov     x1, #CPACR
        msr     cpacr_el1, x1
        msr     tpidr_el1, xzr
        tlbi    vmalle1
        dsb     nsh
        isb
        ldr     x1, =SCTLR
        msr     sctlr_el1, x1
        isb
        // Nothing is written before the caches are on.
        adrp    x1, __bss_start
        add     x1, x1, :lo12:__bss_start
        adrp    x2, __bss_end
        add     x2, x2, :lo12:__bss_end
1:      cmp     x1, x2
        b.hs    2f
        stp     xzr, xzr, [x1], #16
        b       1b
2:      adrp    x1, __stack_end
        mov     sp, x1
        mov     x29, xzr
        bl      guest_start
        b       .

// zx_status_t guest_call(uint32_t id, const uint64_t arguments[7], uint64_t results[3]): HVC with x0 to x7, then x1 to x3.
        .section .text.guest_call, "ax"
        .global guest_call
guest_call:
        mov     x9, x2
        mov     x10, x1
        ldp     x1, x2, [x10]
        ldp     x3, x4, [x10, #16]
        ldp     x5, x6, [x10, #32]
        ldr     x7, [x10, #48]
        hvc     #0
        stp     x1, x2, [x9]
        str     x3, [x9, #16]
        ret

// bool guest_load(zx_vaddr_t address, uint64_t* value). TPIDR_EL1 tells the vectors where to go on.
        .section .text.guest_load, "ax"
        .global guest_load
guest_load:
        adr     x2, 1f
        msr     tpidr_el1, x2
        ldr     x3, [x0]
        msr     tpidr_el1, xzr
        str     x3, [x1]
        mov     w0, #1
        ret
1:      mov     w0, #0
        ret

        .macro  fatal_vector
        .balign 0x80
        b       fatal
        .endm

        .section .text.vectors, "ax"
        .balign 0x800
vectors:
        .rept   4
        fatal_vector
        .endr
        // Synchronous, from EL1 with SP_EL1. Only guest_load expects one, and it needs no x16.
        .balign 0x80
        mrs     x16, tpidr_el1
        cbz     x16, fatal
        msr     elr_el1, x16
        msr     tpidr_el1, xzr
        eret
        .rept   11
        fatal_vector
        .endr

// Has an exception reported. Where even that takes one, the VM ends by an exit that needs no memory but code.
fatal:
        mrs     x0, tpidr_el1
        cbnz    x0, 1f
        adr     x0, 1f
        msr     tpidr_el1, x0
        mrs     x0, esr_el1
        mrs     x1, far_el1
        mrs     x2, elr_el1
        bl      guest_exception
1:      ldr     w0, =0xc6000002
        mov     x1, #1
        hvc     #0
        b       1b

// Every GiB of the VA space, mapped to itself.
        .section .data.root_table, "aw"
        .balign 4096
root_table:
        .set    gib, 0
        .rept   512
        .quad   gib << 30 | BLOCK
        .set    gib, gib + 1
        .endr
