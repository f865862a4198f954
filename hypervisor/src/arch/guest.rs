//! The guest's half of the CPU: what EL2 lets it have, its first instruction, and its registers at an exit.

use core::arch::asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTHCTL_EL2, CNTVOFF_EL2, CPTR_EL2, ELR_EL1, ELR_EL2, ESR_EL1, ESR_EL2, FAR_EL1, FAR_EL2, HCR_EL2, HPFAR_EL2,
    MDCR_EL2, MIDR_EL1, PAR_EL1, Readable, SCTLR_EL1, SPSR_EL1, SPSR_EL2, VBAR_EL1, VMPIDR_EL2, Writeable,
};
use abi::{AccessKind, Status};
use hypervisor::exception::{Context, Entered, START_PSTATE, ipa_from_par};
use hypervisor::psci::Start;
use stage2::Mmu;
use vmsa::{Dsb, ExceptionClass, Geometry, Ipa, Scope, Syndrome, Tlbi, fault_ipa};

use super::cpu::{features, read_register};
use super::per_cpu::{CpuMemory, cpu_index};
use super::tlb;

/// CPTR_EL2 with nothing trapped (DDI 0487, "CPTR_EL2", E2H = 0): the bits that are RES1, of which TZ traps SVE, and TSM,
/// which stays: SME is not for guests.
const CPTR_RES1: u64 = 0x33ff;
const CPTR_TZ: u64 = 1 << 8;
/// ZCR_EL2.LEN: as long as the CPU has them.
const ZCR_LONGEST: u64 = 0xf;

/// PMCR_EL0.N: how many event counters there are.
const PMCR_N_SHIFT: u32 = 11;
const PMCR_N_MASK: u64 = 0x1f;

/// SCTLR_EL1 of a vCPU that starts: MMU and caches off, little-endian, and the bits that were RES1 before they had a meaning:
/// EOS, TSCXT, EIS, SPAN, nTLSMD and LSMAOE.
const SCTLR_EL1_START: u64 = 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;

/// VMPIDR_EL2: bit 31 is RES1, the rest is the vCPU's affinity.
const VMPIDR_RES1: u64 = 1 << 31;

macro_rules! write_register {
    ($name:literal, $value:expr) => {
        // SAFETY: the register decides what the guest may do and what it finds; EL2 itself does not depend on it.
        unsafe { asm!(concat!("msr ", $name, ", {}"), in(reg) $value, options(nostack, preserves_flags)) }
    };
}

/// Gives this CPU to a vCPU of the VM whose tree that is, which starts with its own registers reset.
pub(crate) fn configure(machine: &impl Mmu, geometry: Geometry, vttbr: u64) {
    let memory = &features().memory;
    SCTLR_EL1.set(SCTLR_EL1_START);
    reset_translation();
    reset_traps();
    reset_timers();
    machine.set_vtcr(geometry.vtcr(memory) ^ other_cpus_bug());
    machine.set_vttbr(vttbr);
    CNTHCTL_EL2.write(CNTHCTL_EL2::EL1PCTEN::SET + CNTHCTL_EL2::EL1PCEN::SET);
    CNTVOFF_EL2.set(0);
    VMPIDR_EL2.set(VMPIDR_RES1 | cpu_index() as u64);
    write_register!("vpidr_el2", MIDR_EL1.get());
    // What AArch32 code, which EL0 may be, does to coprocessors is not trapped either.
    write_register!("hstr_el2", 0u64);
    allow_vectors(memory.sve);
    allow_extensions();
    allow_counters();
    machine.set_hcr(hcr(memory.forced_write_back));
    machine.isb();
    // The vCPU's TLB entries from before it was turned off, and whatever a TLB holds after a reset: of either stage, since the
    // broadcast that claimed the VMID was sent while this CPU was off.
    machine.tlbi(Tlbi::All, Scope::Local);
    machine.dsb(Dsb::Nsh);
}

/// Returns the bits that a planted bug has CPUs other than the first disagree in: VTCR_EL2.SH0.
fn other_cpus_bug() -> u64 {
    if planted::is(84) && cpu_index() != 0 { 0b01 << 12 } else { 0 }
}

/// VM: stage 2 is on. RW: EL1 is AArch64. SWIO: its set/way invalidations also clean. FMO, IMO, AMO: physical interrupts and
/// SErrors come here, and what it does to the interrupt controller's CPU interface, it does to a virtual one that is off. TSC:
/// so does SMC. API, APK: pointer authentication does not. FB stays clear: a vCPU never leaves its CPU.
fn hcr(forced_write_back: bool) -> u64 {
    let fwb = if forced_write_back { HCR_EL2::FWB::Enabled } else { HCR_EL2::FWB::Disabled };
    let fields = HCR_EL2::VM::Enable
        + HCR_EL2::SWIO::SET
        + HCR_EL2::FMO::EnableVirtualFIQ
        + HCR_EL2::IMO::EnableVirtualIRQ
        + HCR_EL2::AMO::SET
        + HCR_EL2::TSC::EnableTrapEl1SmcToEl2
        + HCR_EL2::RW::EL1IsAarch64
        + HCR_EL2::APK::DisableTrapPointerAuthKeyRegsToEl2
        + HCR_EL2::API::DisableTrapPointerAuthInstToEl2
        + fwb;
    fields.value
}

fn allow_vectors(has_sve: bool) {
    CPTR_EL2.set(if has_sve { CPTR_RES1 & !CPTR_TZ } else { CPTR_RES1 });
    if has_sve {
        barrier::isb(barrier::SY);
        // ZCR_EL2, which the baseline target has no name for.
        write_register!("s3_4_c1_c2_0", ZCR_LONGEST);
    }
}

/// HCRX_EL2, where there is one (FEAT_HCX), which resets to anything: memory copies (MSCEn) and TCR2_EL1 (TCR2En) are not
/// trapped. Where the CPU has no such feature the bit is RES0.
fn allow_extensions() {
    const MSCEN: u64 = 1 << 11;
    const TCR2EN: u64 = 1 << 14;
    if read_register!("id_aa64mmfr1_el1") >> 40 & 0xf != 0 {
        write_register!("s3_4_c1_c2_2", MSCEN | TCR2EN);
    }
}

/// All event counters are the guest's, and count at EL2 where it asks for that.
fn allow_counters() {
    // ID_AA64DFR0_EL1.PMUVer: 0b1111 is a PMU of another kind.
    let has_pmu = !matches!(read_register!("id_aa64dfr0_el1") >> 8 & 0xf, 0 | 0xf);
    let counters = if has_pmu { read_register!("pmcr_el0") >> PMCR_N_SHIFT & PMCR_N_MASK } else { 0 };
    MDCR_EL2.write(MDCR_EL2::HPMN.val(counters));
}

/// Lets the vCPU of this CPU run, as the arm64 boot protocol and PSCI say that it starts. What EL2 had on its stack is gone.
pub(crate) fn enter(start: Start) -> ! {
    ELR_EL2.set(start.entry);
    SPSR_EL2.set(START_PSTATE);
    // SAFETY: the registers hold what a vCPU starts with, its stage 2 is on, and no value of this function lives on.
    unsafe {
        asm!(
            "mrs x1, tpidr_el2",
            "sub x1, x1, {stack_below_notes}",
            "mov sp, x1",
            "mov x1, xzr", "mov x2, xzr", "mov x3, xzr", "mov x4, xzr", "mov x5, xzr", "mov x6, xzr", "mov x7, xzr",
            "mov x8, xzr", "mov x9, xzr", "mov x10, xzr", "mov x11, xzr", "mov x12, xzr", "mov x13, xzr", "mov x14, xzr",
            "mov x15, xzr", "mov x16, xzr", "mov x17, xzr", "mov x18, xzr", "mov x19, xzr", "mov x20, xzr",
            "mov x21, xzr", "mov x22, xzr", "mov x23, xzr", "mov x24, xzr", "mov x25, xzr", "mov x26, xzr",
            "mov x27, xzr", "mov x28, xzr", "mov x29, xzr", "mov x30, xzr",
            "eret",
            in("x0") start.context,
            stack_below_notes = const CpuMemory::STACK_BELOW_NOTES,
            options(noreturn),
        )
    }
}

fn reset_translation() {
    write_register!("ttbr0_el1", 0u64);
    write_register!("ttbr1_el1", 0u64);
    write_register!("tcr_el1", 0u64);
    write_register!("mair_el1", 0u64);
    write_register!("contextidr_el1", 0u64);
}

fn reset_traps() {
    write_register!("vbar_el1", 0u64);
    write_register!("cpacr_el1", 0u64);
    write_register!("mdscr_el1", 0u64);
    write_register!("sp_el0", 0u64);
    write_register!("sp_el1", 0u64);
    write_register!("tpidr_el0", 0u64);
    write_register!("tpidr_el1", 0u64);
    write_register!("tpidrro_el0", 0u64);
}

fn reset_timers() {
    write_register!("cntkctl_el1", 0u64);
    write_register!("cntp_ctl_el0", 0u64);
    write_register!("cntv_ctl_el0", 0u64);
}

/// Returns why the guest was left.
#[inline]
pub(crate) fn syndrome() -> Syndrome {
    Syndrome(ESR_EL2.get())
}

/// Returns where the guest goes on.
#[inline]
pub(crate) fn resume_address() -> u64 {
    ELR_EL2.get()
}

/// Returns FAR_EL2 and HPFAR_EL2, where the guest was left by an abort and they say something; otherwise zeros.
#[inline]
pub(crate) fn abort_registers(syndrome: Syndrome) -> (u64, u64) {
    match syndrome.class() {
        ExceptionClass::InstructionAbort | ExceptionClass::DataAbort => (FAR_EL2.get(), HPFAR_EL2.get()),
        _ => (0, 0),
    }
}

/// Returns the IPA that an abort was about, or `None` where the guest's stage 1 has changed since and no longer tells.
pub(crate) fn abort_ipa(syndrome: Syndrome) -> Option<Ipa> {
    if syndrome.is_hpfar_valid() {
        return Some(fault_ipa(syndrome, FAR_EL2.get(), HPFAR_EL2.get()));
    }
    walk_stage1(FAR_EL2.get())
}

fn walk_stage1(va: u64) -> Option<Ipa> {
    ipa_from_par(result_of(|| tlb::translate_stage1(va)), va)
}

/// Returns what PAR_EL1 says after this CPU has translated `ipa` for its vCPU's access.
///
/// # Errors
///
/// [`Status::BAD_STATE`]: the vCPU's stage 1 is on, and makes something else of the address.
pub(super) fn translate(ipa: Ipa, access: AccessKind) -> Result<u64, Status> {
    let is_flat = !SCTLR_EL1.is_set(SCTLR_EL1::M);
    is_flat.then(|| result_of(|| tlb::translate_both_stages(ipa.0, access))).ok_or(Status::BAD_STATE)
}

/// Returns what an address translation instruction leaves in PAR_EL1, which is the guest's own, and may hold what it has not
/// read yet.
fn result_of(translate: impl FnOnce()) -> u64 {
    let kept = PAR_EL1.get();
    translate();
    // PAR_EL1 holds the result only after a context synchronization event (DDI 0487, "Address translation instructions").
    barrier::isb(barrier::SY);
    let par = PAR_EL1.get();
    PAR_EL1.set(kept);
    par
}

/// Returns what the vCPU was doing.
pub(crate) fn context() -> Context {
    Context { pc: ELR_EL2.get(), pstate: SPSR_EL2.get(), sctlr: SCTLR_EL1.get(), vbar: VBAR_EL1.get() }
}

/// Has the vCPU go on at its handler.
pub(crate) fn take(entered: &Entered) {
    ELR_EL2.set(entered.pc);
    SPSR_EL2.set(entered.pstate);
    SPSR_EL1.set(entered.spsr);
    ELR_EL1.set(entered.elr);
    ESR_EL1.set(entered.esr);
    if let Some(far) = entered.far {
        FAR_EL1.set(far);
    }
}
