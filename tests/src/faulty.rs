//! Planted bugs: an MMU that leaves out, or weakens, one kind of step. A suite that does not notice is no suite.

use stage2::{Mmu, Order};
use vmsa::{Dsb, Features, Hpa, Scope, Tlbi};

/// What is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No invalidation is issued.
    NoTlbi,
    /// No invalidation of stage 1 is.
    NoStage1Tlbi,
    /// No invalidation of stage 2 by IPA or range is.
    NoStage2Tlbi,
    /// Invalidations reach this CPU only.
    LocalTlbi,
    /// The barrier that makes stores visible before an invalidation is left out.
    NoStoreBarrier,
    /// The barrier after an invalidation waits for stores only.
    WeakCompletion,
    /// Every barrier reaches this CPU only.
    LocalBarrier,
    /// Tables are linked by plain stores.
    PlainLink,
    /// VTTBR_EL2 is in effect too late.
    NoIsb,
    /// Invalidations of a removed table are of the last level only.
    LeafOnly,
}

/// An MMU with one thing wrong.
pub struct Faulty<'m, M> {
    inner: &'m M,
    fault: Fault,
}

impl<'m, M: Mmu> Faulty<'m, M> {
    /// Returns the machine with the fault.
    pub const fn new(inner: &'m M, fault: Fault) -> Self {
        Self { inner, fault }
    }

    fn drops(&self, op: Tlbi) -> bool {
        match self.fault {
            Fault::NoTlbi => true,
            Fault::NoStage1Tlbi => op == Tlbi::Stage1,
            Fault::NoStage2Tlbi => matches!(op, Tlbi::Ipa { .. } | Tlbi::Range { .. }),
            _ => false,
        }
    }
}

impl<M: Mmu> Mmu for Faulty<'_, M> {
    fn features(&self) -> &Features {
        self.inner.features()
    }

    fn read(&self, slot: Hpa) -> u64 {
        self.inner.read(slot)
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        let order = if self.fault == Fault::PlainLink { Order::Plain } else { order };
        self.inner.write(slot, descriptor, order);
    }

    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64> {
        self.inner.exchange(slot, old, new)
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        if self.drops(op) {
            return;
        }
        let scope = if self.fault == Fault::LocalTlbi { Scope::Local } else { scope };
        let op = match op {
            Tlbi::Ipa { ipa, level, .. } if self.fault == Fault::LeafOnly => Tlbi::Ipa { ipa, level, leaf_only: true },
            Tlbi::Range { operand, level, .. } if self.fault == Fault::LeafOnly => {
                Tlbi::Range { operand, level, leaf_only: true }
            }
            op => op,
        };
        self.inner.tlbi(op, scope);
    }

    fn dsb(&self, kind: Dsb) {
        match (self.fault, kind) {
            (Fault::NoStoreBarrier, Dsb::Ishst) => {}
            (Fault::WeakCompletion, Dsb::Ish) => self.inner.dsb(Dsb::Ishst),
            (Fault::LocalBarrier, Dsb::Ish) => self.inner.dsb(Dsb::Nsh),
            (Fault::LocalBarrier, Dsb::Ishst) => self.inner.dsb(Dsb::Nshst),
            (_, kind) => self.inner.dsb(kind),
        }
    }

    fn isb(&self) {
        if self.fault != Fault::NoIsb {
            self.inner.isb();
        }
    }

    fn vttbr(&self) -> u64 {
        self.inner.vttbr()
    }

    fn set_vttbr(&self, vttbr: u64) {
        self.inner.set_vttbr(vttbr);
    }

    fn set_vtcr(&self, vtcr: u64) {
        self.inner.set_vtcr(vtcr);
    }

    fn set_hcr(&self, hcr: u64) {
        self.inner.set_hcr(hcr);
    }
}
