//! What the CPUs can do, read once from their ID registers, and what each of them can tell at any time.

use core::arch::asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTPCT_EL0, ESR_EL2, FAR_EL2, HPFAR_EL2, ID_AA64ISAR0_EL1, ID_AA64MMFR0_EL1, ID_AA64MMFR1_EL1,
    ID_AA64MMFR2_EL1, ID_AA64PFR0_EL1, ID_AA64PFR1_EL1, Readable,
};
use hypervisor::exception::PstateFeatures;
use spin::Once;
use vmsa::{Features, IdRegisters};

/// Reads a system register that the crate of system registers leaves out.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading a register of this level changes nothing.
        unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

pub(super) use read_register;

/// What the CPUs can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuFeatures {
    /// As far as memory is concerned.
    pub(crate) memory: Features,
    /// As far as it shows in PSTATE.
    pub(crate) pstate: PstateFeatures,
}

static FEATURES: Once<CpuFeatures> = Once::new();

/// Returns what the CPUs can do: all of them what the first one can.
pub(crate) fn features() -> &'static CpuFeatures {
    FEATURES.call_once(read_features)
}

fn read_features() -> CpuFeatures {
    let id = IdRegisters {
        id_aa64mmfr0_el1: ID_AA64MMFR0_EL1.get(),
        id_aa64mmfr1_el1: ID_AA64MMFR1_EL1.get(),
        id_aa64mmfr2_el1: ID_AA64MMFR2_EL1.get(),
        id_aa64isar0_el1: ID_AA64ISAR0_EL1.get(),
        id_aa64pfr0_el1: ID_AA64PFR0_EL1.get(),
        ctr_el0: read_register!("ctr_el0"),
    };
    let memory = Features::decode(&id);
    let pstate = PstateFeatures::decode(memory.pan, ID_AA64PFR1_EL1.get());
    CpuFeatures { memory, pstate }
}

/// Tells whether this CPU has instructions that change a word of memory in one step (FEAT_LSE: ID_AA64ISAR0_EL1.Atomic).
pub(super) fn has_atomics() -> bool {
    ID_AA64ISAR0_EL1.get() >> 20 & 0xf >= 2
}

/// Returns the nanoseconds that the machine's counter has counted.
pub(crate) fn now_ns() -> u64 {
    const NS_PER_S: u64 = 1_000_000_000;
    // The counter may be read ahead of time (DDI 0487, "The system counter").
    barrier::isb(barrier::SY);
    let (ticks, per_second) = (CNTPCT_EL0.get(), CNTFRQ_EL0.get().max(1));
    let (seconds, rest) = (ticks / per_second, ticks % per_second);
    seconds.wrapping_mul(NS_PER_S).wrapping_add(rest.wrapping_mul(NS_PER_S) / per_second)
}

/// The registers of EL2 that tell of the last exception that was taken there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExceptionRegisters {
    /// ESR_EL2.
    pub(crate) esr: u64,
    /// FAR_EL2.
    pub(crate) far: u64,
    /// HPFAR_EL2.
    pub(crate) hpfar: u64,
    /// ELR_EL2.
    pub(crate) elr: u64,
    /// SPSR_EL2.
    pub(crate) spsr: u64,
}

impl ExceptionRegisters {
    /// Returns the registers of this CPU.
    pub(crate) fn read() -> Self {
        use aarch64_cpu::registers::{ELR_EL2, SPSR_EL2};
        Self {
            esr: ESR_EL2.get(),
            far: FAR_EL2.get(),
            hpfar: HPFAR_EL2.get(),
            elr: ELR_EL2.get(),
            spsr: SPSR_EL2.get(),
        }
    }
}
