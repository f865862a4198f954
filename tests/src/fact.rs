//! One thing that CPUs may hold though the tables say otherwise, and how it goes away.

use vmsa::{Dsb, Hpa, Scope, Vmid};

use crate::said::Said;

/// The most CPUs that a machine can have.
pub(crate) const MOST_CPUS: usize = 8;

/// CPUs: a bit for each.
pub(crate) type Cpus = u8;

/// Returns the CPUs that an invalidation of CPU `issuer` reaches.
pub(crate) const fn reached(scope: Scope, issuer: usize) -> Cpus {
    if let Scope::Broadcast = scope { Cpus::MAX } else { 1 << issuer }
}

/// Returns the CPUs whose walks see the stores of CPU `issuer` after its barrier.
pub(crate) const fn shown(kind: Dsb, issuer: usize) -> Cpus {
    if let Dsb::Ish | Dsb::Ishst | Dsb::Sy = kind { Cpus::MAX } else { 1 << issuer }
}

/// Returns the CPUs on which the invalidations of CPU `issuer` are complete after its barrier.
pub(crate) const fn completed(kind: Dsb, issuer: usize) -> Cpus {
    match kind {
        Dsb::Ish | Dsb::Sy => Cpus::MAX,
        Dsb::Nsh => 1 << issuer,
        Dsb::Ishst | Dsb::Nshst => 0,
    }
}

/// Which CPUs may hold a fact, and which have been asked to forget it, by which CPU.
///
/// An invalidation counts where the store that it is for is visible to walks, and is complete at a `DSB` of the CPU that issued
/// it. One by IPA leaves the combined entries; one of stage 1 removes those, if it is issued when no stage-2 entry is left of
/// which a walk could make another.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Holds {
    /// Where the store may not be visible: walks may still read what was there.
    unseen: Cpus,
    stage2: Cpus,
    combined: Cpus,
    /// By issuer: an invalidation of everything, of stage 2 by IPA, of stage 1.
    all: [Cpus; MOST_CPUS],
    by_ipa: [Cpus; MOST_CPUS],
    stage1: [Cpus; MOST_CPUS],
}

impl Holds {
    /// Returns that `cpus` may hold all of what was just written over.
    pub(crate) fn unseen(cpus: Cpus) -> Self {
        Self { unseen: cpus, ..Self::seen(cpus) }
    }

    /// Returns that `cpus` may hold all of what is in no table that they walk.
    pub(crate) fn seen(cpus: Cpus) -> Self {
        Self { stage2: cpus, combined: cpus, ..Self::default() }
    }

    /// Lets `cpus` hold all of it again, whatever they were asked before.
    pub(crate) fn renew(&mut self, cpus: Cpus) {
        self.stage2 |= cpus;
        self.combined |= cpus;
        let issued = [&mut self.all, &mut self.by_ipa, &mut self.stage1].into_iter().flatten();
        issued.for_each(|asked| *asked &= !cpus);
    }

    /// Returns who may hold any of it.
    pub(crate) const fn cpus(&self) -> Cpus {
        self.stage2 | self.combined
    }

    pub(crate) const fn is_on(&self, cpu: usize) -> bool {
        self.cpus() & 1 << cpu != 0
    }

    /// Issues an invalidation of everything.
    pub(crate) const fn forget_all(&mut self, issuer: usize, cpus: Cpus) {
        self.all[issuer] |= cpus & !self.unseen;
    }

    /// Issues an invalidation by IPA.
    pub(crate) const fn forget_stage2(&mut self, issuer: usize, cpus: Cpus) {
        self.by_ipa[issuer] |= cpus & !self.unseen;
    }

    /// Issues an invalidation of stage 1.
    pub(crate) const fn forget_combined(&mut self, issuer: usize, cpus: Cpus) {
        self.stage1[issuer] |= cpus & !self.unseen & !self.stage2;
    }

    /// Completes the invalidations of a CPU on `cpus`.
    pub(crate) const fn complete(&mut self, issuer: usize, cpus: Cpus) {
        let gone = (self.all[issuer] | self.stage1[issuer]) & cpus;
        self.stage2 &= !(gone | self.by_ipa[issuer] & cpus);
        self.combined &= !gone;
        self.all[issuer] &= !cpus;
        self.by_ipa[issuer] &= !cpus;
        self.stage1[issuer] &= !cpus;
    }
}

/// A descriptor that was written over, and who may hold it.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) vmid: Vmid,
    /// The tree that it stood in.
    pub(crate) root: Hpa,
    pub(crate) was: Said,
    /// Whether TLBs may keep it. What they may not is read by walks until the store is visible, and then gone.
    pub(crate) is_cacheable: bool,
    pub(crate) writer: usize,
    pub(crate) holds: Holds,
}

impl Fact {
    pub(crate) fn dsb(&mut self, issuer: usize, kind: Dsb) {
        let holds = &mut self.holds;
        holds.complete(issuer, completed(kind, issuer));
        let seen = if self.writer == issuer { holds.unseen & shown(kind, issuer) } else { 0 };
        holds.unseen &= !seen;
        if !self.is_cacheable {
            holds.stage2 &= !seen;
            holds.combined &= !seen;
        }
    }
}
