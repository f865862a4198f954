//! Exceptions that the guest takes at EL1 because EL2 says so: what the CPU would do (DDI 0487, "AArch64.TakeException").

use vmsa::{Ipa, PAGE_SIZE, Syndrome};

/// PSTATE as SPSR_ELx holds it for AArch64 (DDI 0487, "SPSR_EL2").
mod pstate {
    pub(super) const MODE: u64 = 0x1f;
    pub(super) const AARCH32: u64 = 1 << 4;
    pub(super) const EL0: u64 = 0b0000;
    pub(super) const EL1T: u64 = 0b0100;
    pub(super) const EL1H: u64 = 0b0101;
    pub(super) const DAIF: u64 = 0b1111 << 6;
    pub(super) const BTYPE: u64 = 0b11 << 10;
    pub(super) const SSBS: u64 = 1 << 12;
    pub(super) const IL: u64 = 1 << 20;
    pub(super) const SS: u64 = 1 << 21;
    pub(super) const PAN: u64 = 1 << 22;
    pub(super) const UAO: u64 = 1 << 23;
    pub(super) const TCO: u64 = 1 << 25;
    /// The condition flags and DIT, which an exception leaves alone.
    pub(super) const KEPT: u64 = 0b1111 << 28 | 1 << 24 | PAN;
}

/// PSTATE of a vCPU that starts: EL1 with its own stack pointer, everything masked.
pub const START_PSTATE: u64 = pstate::DAIF | pstate::EL1H;

const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;
const VECTORS_BYTES: u64 = 0x800;
/// One of its vectors: there are 16.
const VECTOR_BYTES: u64 = VECTORS_BYTES / 16;

/// What a vCPU was doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// The instruction that the exception is about.
    pub pc: u64,
    /// PSTATE, as SPSR_EL2 holds it.
    pub pstate: u64,
    /// SCTLR_EL1.
    pub sctlr: u64,
    /// VBAR_EL1.
    pub vbar: u64,
}

/// What the CPU can do that shows in PSTATE.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PstateFeatures {
    /// FEAT_PAN.
    pub pan: bool,
    /// FEAT_SSBS.
    pub ssbs: bool,
    /// FEAT_MTE2.
    pub mte: bool,
}

impl PstateFeatures {
    /// Returns what ID_AA64PFR1_EL1 says; FEAT_PAN is told by another register.
    pub const fn decode(pan: bool, id_aa64pfr1_el1: u64) -> Self {
        Self { pan, ssbs: (id_aa64pfr1_el1 >> 4 & 0xf) >= 1, mte: (id_aa64pfr1_el1 >> 8 & 0xf) >= 2 }
    }
}

/// A vCPU at the first instruction of its handler.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entered {
    /// Where it goes on.
    pub pc: u64,
    /// Its PSTATE.
    pub pstate: u64,
    /// SPSR_EL1.
    pub spsr: u64,
    /// ELR_EL1.
    pub elr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1, where the exception is about an address.
    pub far: Option<u64>,
}

/// EL1 cannot take the exception: it is at the vector that it would be sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unable;

/// Returns the IPA of `va` that PAR_EL1 holds after a walk of stage 1 alone, or `None` after one that faulted (PAR_EL1.F).
pub const fn ipa_from_par(par: u64, va: u64) -> Option<Ipa> {
    const FAULTED: u64 = 1;
    const PA_MASK: u64 = 0x000f_ffff_ffff_f000;
    if par & FAULTED == 0 { Some(Ipa(par & PA_MASK | va & (PAGE_SIZE - 1))) } else { None }
}

impl Context {
    /// Has EL1 take a synchronous external abort in place of the stage-2 abort that `syndrome` tells of.
    ///
    /// # Errors
    ///
    /// The vCPU was at its vectors already.
    pub fn take_abort(&self, syndrome: Syndrome, far: u64, features: PstateFeatures) -> Result<Entered, Unable> {
        const EXTERNAL_ABORT: u64 = 0b01_0000;
        const DATA_ABORT: u64 = 0x24;
        const SAME_LEVEL: u64 = 1;
        let class = u64::from(syndrome.exception_class_bits()) | if self.is_el1() { SAME_LEVEL } else { 0 };
        let kept = match class & !SAME_LEVEL {
            DATA_ABORT => Syndrome::INSTRUCTION_LENGTH | Syndrome::WRITE_NOT_READ | Syndrome::CACHE_MAINTENANCE,
            _ => Syndrome::INSTRUCTION_LENGTH,
        };
        self.enter(class << 26 | syndrome.0 & kept | EXTERNAL_ABORT, Some(far), features)
    }

    /// Has EL1 take the exception of an UNDEFINED instruction.
    ///
    /// # Errors
    ///
    /// The vCPU was at its vectors already.
    pub fn take_undefined(&self, syndrome: Syndrome, features: PstateFeatures) -> Result<Entered, Unable> {
        self.enter(syndrome.0 & Syndrome::INSTRUCTION_LENGTH, None, features)
    }

    fn enter(&self, esr: u64, far: Option<u64>, features: PstateFeatures) -> Result<Entered, Unable> {
        if self.is_at_vectors() {
            return Err(Unable);
        }
        let pc = (self.vbar & !(VECTORS_BYTES - 1)).wrapping_add(self.vector());
        let pstate = self.handler_pstate(features);
        Ok(Entered { pc, pstate, spsr: self.pstate, elr: self.pc, esr, far })
    }

    /// SS, IL, BTYPE and UAO become 0; the masks become 1; the rest follows SCTLR_EL1 or stays.
    fn handler_pstate(&self, features: PstateFeatures) -> u64 {
        let when = |condition: bool, bit: u64| if condition { bit } else { 0 };
        START_PSTATE
            | self.pstate & pstate::KEPT
            | when(features.pan && self.sctlr & SCTLR_SPAN == 0, pstate::PAN)
            | when(features.ssbs && self.sctlr & SCTLR_DSSBS != 0, pstate::SSBS)
            | when(features.mte, pstate::TCO)
    }

    const fn vector(&self) -> u64 {
        match self.pstate & pstate::MODE {
            pstate::EL1T => 0x000,
            pstate::EL1H => 0x200,
            pstate::EL0 => 0x400,
            _ => 0x600,
        }
    }

    const fn is_el1(&self) -> bool {
        matches!(self.pstate & pstate::MODE, pstate::EL1T | pstate::EL1H)
    }

    /// Tells whether the vCPU is in the very vector that it would take the exception at, in the state in which it enters it: it
    /// has just been sent there, and would be sent there for ever. Another vector's code may fault and be told so.
    const fn is_at_vectors(&self) -> bool {
        let offset = self.pc.wrapping_sub((self.vbar & !(VECTORS_BYTES - 1)).wrapping_add(self.vector()));
        offset < VECTOR_BYTES && self.pstate & (pstate::MODE | pstate::DAIF) == START_PSTATE
    }
}

// What an exception clears is what is neither kept nor set.
const _: () = assert!(
    (pstate::KEPT | START_PSTATE) & (pstate::SS | pstate::IL | pstate::BTYPE | pstate::UAO | pstate::AARCH32) == 0
);

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Syndrome = Syndrome(0x24 << 26 | 1 << 25 | 0x07);
    const STORE: Syndrome = Syndrome(0x24 << 26 | 1 << 25 | 1 << 24 | 0x47);
    const FETCH: Syndrome = Syndrome(0x20 << 26 | 1 << 25 | 0x0f);
    const NZCV: u64 = 0b1010 << 28;
    const PLAIN: PstateFeatures = PstateFeatures { pan: false, ssbs: false, mte: false };

    fn running(pstate: u64) -> Context {
        Context { pc: 0x4000_1000, pstate, vbar: 0x4000_8000, ..Context::default() }
    }

    #[test]
    fn an_abort_is_taken_at_the_vector_for_where_it_came_from() {
        for (pstate, vector) in [(0x4, 0x000), (0x5, 0x200), (0x0, 0x400), (0x10, 0x600)] {
            let entered = running(pstate).take_abort(LOAD, 0x100, PLAIN).unwrap();
            assert_eq!(entered.pc, 0x4000_8000 + vector);
            assert_eq!(entered.spsr, pstate);
            assert_eq!((entered.elr, entered.far), (0x4000_1000, Some(0x100)));
        }
    }

    #[test]
    fn the_syndrome_is_one_of_an_external_abort() {
        let esr = |pstate, syndrome| running(pstate).take_abort(syndrome, 0, PLAIN).unwrap().esr;
        assert_eq!(esr(0x5, LOAD), 0x25 << 26 | 1 << 25 | 0x10);
        assert_eq!(esr(0x0, LOAD), 0x24 << 26 | 1 << 25 | 0x10);
        assert_eq!(esr(0x5, STORE), 0x25 << 26 | 1 << 25 | 0x50, "no ISV, but WnR");
        assert_eq!(esr(0x5, FETCH), 0x21 << 26 | 1 << 25 | 0x10);
        assert_eq!(esr(0x0, FETCH), 0x20 << 26 | 1 << 25 | 0x10);
        assert_eq!(esr(0x5, Syndrome(0x24 << 26 | 0x146)), 0x25 << 26 | 0x150, "cache maintenance, 16-bit");
    }

    #[test]
    fn the_handler_starts_masked_and_keeps_only_the_flags() {
        let everything = 0x5 | NZCV | pstate::SS | pstate::IL | pstate::BTYPE | pstate::UAO | pstate::SSBS;
        let entered = running(everything).take_abort(LOAD, 0, PLAIN).unwrap();
        assert_eq!(entered.pstate, 0x3c5 | NZCV);
        assert_eq!(entered.spsr, everything);
    }

    #[test]
    fn pstate_follows_sctlr_where_the_cpu_does() {
        let all = PstateFeatures { pan: true, ssbs: true, mte: true };
        let pstate = |sctlr| Context { sctlr, ..running(0) }.take_abort(LOAD, 0, all).unwrap().pstate;
        assert_eq!(pstate(0), 0x3c5 | pstate::PAN | pstate::TCO);
        assert_eq!(pstate(SCTLR_SPAN), 0x3c5 | pstate::TCO);
        assert_eq!(pstate(SCTLR_SPAN | SCTLR_DSSBS), 0x3c5 | pstate::TCO | pstate::SSBS);
    }

    #[test]
    fn an_abort_at_the_vectors_cannot_be_taken() {
        let at_vector = Context { pc: 0x4000_8200, pstate: 0x3c5, ..running(0) };
        assert_eq!(at_vector.take_abort(FETCH, 0x4000_8200, PLAIN), Err(Unable));
        let elsewhere = Context { pc: 0x4000_8400, ..at_vector };
        assert!(elsewhere.take_abort(LOAD, 0, PLAIN).is_ok(), "the code of another vector");
        let unmasked = Context { pstate: 0x5, ..at_vector };
        assert!(unmasked.take_abort(FETCH, 0, PLAIN).is_ok(), "it was not entered by an exception");
    }

    #[test]
    fn a_walk_of_stage_1_tells_the_page_and_the_address_the_rest() {
        assert_eq!(ipa_from_par(0xff00_0000_8000_3b80, 0xffff_0000_0000_0abc), Some(Ipa(0x8000_3abc)));
        assert_eq!(ipa_from_par(0x80f, 0xabc), None);
    }

    #[test]
    fn an_undefined_instruction_is_one() {
        let hvc = Syndrome(0x16 << 26 | 1 << 25 | 7);
        let entered = running(0x5).take_undefined(hvc, PLAIN).unwrap();
        assert_eq!((entered.esr, entered.elr, entered.far), (1 << 25, 0x4000_1000, None));
        assert_eq!(entered.pc, 0x4000_8200);
    }
}
