//! Which invalidation an operation's broken entries get, and the sequence that makes it complete.

use vmsa::{Dsb, Features, IpaRange, Level, PAGE_SIZE, RangeOperand, Scope, Tlbi, range_operand};

use crate::gather::Stale;
use crate::{Mmu, Stage2, Stats};

/// The most pages that are invalidated one by one. An invalidation by IPA is broadcast, and every CPU looks through its TLB for
/// it; one for the VMID costs the guest its whole working set. KVM and Xen draw no line (they issue one a page), Zircon draws
/// it at 16 for stage 1; at 32 an operation on a whole table (512 pages) is a single invalidation.
const MOST_PAGES: u64 = 32;

/// What is invalidated by stage 2, before stage 1 and the combined entries are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalidation {
    /// Each page of the range by its IPA.
    Pages(IpaRange),
    /// The range, in one operation.
    Range(RangeOperand),
    /// Everything of the VMID, stage 1 and combined entries included.
    Vmid,
}

/// Returns how `stale` is invalidated on a machine with `features`.
///
/// | stale | without FEAT_TLBIRANGE | with it |
/// | --- | --- | --- |
/// | 1 page | by IPA | by IPA |
/// | 2 to 32 pages | each by IPA | one range |
/// | more, up to 8 GiB | the VMID | one range |
/// | more than 8 GiB | the VMID | the VMID |
pub const fn invalidation_for(stale: IpaRange, features: &Features) -> Invalidation {
    let pages = stale.pages();
    if pages <= 1 {
        return Invalidation::Pages(stale);
    }
    let operand = if features.tlbi_range { range_operand(stale.start, pages) } else { None };
    match operand {
        Some(operand) => Invalidation::Range(operand),
        None if pages <= MOST_PAGES => Invalidation::Pages(stale),
        None => Invalidation::Vmid,
    }
}

/// Invalidates what is stale for the VMID in effect, on every CPU, and waits until that is done.
///
/// The order is the architecture's (DDI 0487, D8.14, "TLB maintenance for stage 2"): the stores reach the walks before the
/// stage-2 entries go; those are gone everywhere before the combined entries go, since a walk could make a new combined entry
/// of an old stage-2 one; and those are gone before anything relies on it. An invalidation by IPA does not touch combined
/// entries, and TLBs may combine even while the guest's stage 1 is off.
pub(crate) fn invalidate(issue: &mut Issue<'_, impl Mmu>, stale: &Stale, leaf_only: bool) {
    issue.dsb(Dsb::Ishst);
    // Leaves are pages: a table's removal is what takes the form for all levels.
    let features = issue.mmu.features();
    let level = if leaf_only && features.level_hint { Some(Level::L3) } else { None };
    if is_cheaper_by_vmid(stale, features) {
        return issue.vmid();
    }
    for range in stale.ranges() {
        match invalidation_for(range, features) {
            Invalidation::Range(operand) => issue.tlbi(Tlbi::Range { operand, level, leaf_only }),
            _ => issue.pages(range, level, leaf_only),
        }
    }
    issue.dsb(Dsb::Ish);
    issue.tlbi(Tlbi::Stage1);
    issue.dsb(Dsb::Ish);
}

/// Tells whether one of the ranges asks for the VMID, or all of them together for too many pages.
fn is_cheaper_by_vmid(stale: &Stale, features: &Features) -> bool {
    let mut one_by_one = 0;
    for range in stale.ranges() {
        match invalidation_for(range, features) {
            Invalidation::Pages(range) => one_by_one += range.pages(),
            Invalidation::Range(_) => {}
            Invalidation::Vmid => return true,
        }
    }
    one_by_one > MOST_PAGES
}

impl Stage2 {
    /// Does `work` with this tree's VMID in effect on this CPU: invalidations mean the VMID that VTTBR_EL2 holds.
    pub(crate) fn under_own_vmid<M: Mmu>(&mut self, mmu: &M, work: impl FnOnce(&mut Issue<'_, M>)) {
        let (before, own) = (mmu.vttbr(), self.vttbr());
        let mut issue = Issue { mmu, stats: &mut self.stats };
        if before == own {
            return work(&mut issue);
        }
        issue.switch(own);
        work(&mut issue);
        issue.switch(before);
    }
}

/// Issues and counts.
pub(crate) struct Issue<'a, M> {
    mmu: &'a M,
    stats: &'a mut Stats,
}

impl<M: Mmu> Issue<'_, M> {
    /// Invalidates everything of the VMID, stage 1 and combined entries included, once earlier stores are visible.
    pub(crate) fn vmid(&mut self) {
        self.tlbi(Tlbi::Vmid);
        self.dsb(Dsb::Ish);
    }

    fn switch(&mut self, vttbr: u64) {
        self.mmu.set_vttbr(vttbr);
        self.mmu.isb();
        self.stats.isb += 1;
    }

    fn dsb(&mut self, kind: Dsb) {
        self.mmu.dsb(kind);
        self.stats.dsb += 1;
    }

    fn tlbi(&mut self, op: Tlbi) {
        self.mmu.tlbi(op, Scope::Broadcast);
        self.stats.count(op);
    }

    fn pages(&mut self, range: IpaRange, level: Option<Level>, leaf_only: bool) {
        let mut ipa = range.start.page_base();
        while ipa < range.end {
            self.tlbi(Tlbi::Ipa { ipa, level, leaf_only });
            ipa = ipa.add(PAGE_SIZE);
        }
    }
}

#[cfg(test)]
mod tests {
    use vmsa::Ipa;

    use super::*;

    fn chosen(pages: u64, tlbi_range: bool) -> Invalidation {
        let features = Features { tlbi_range, ..Features::default() };
        invalidation_for(IpaRange::new(Ipa(0x8000_0000), pages * PAGE_SIZE), &features)
    }

    #[test]
    fn the_cheapest_invalidation_is_chosen() {
        assert!(matches!(chosen(1, true), Invalidation::Pages(_)));
        assert!(matches!(chosen(2, true), Invalidation::Range(_)));
        assert!(matches!(chosen(RangeOperand::MAX_PAGES, true), Invalidation::Range(_)));
        assert_eq!(chosen(RangeOperand::MAX_PAGES + 1, true), Invalidation::Vmid);
        assert!(matches!(chosen(32, false), Invalidation::Pages(_)));
        assert_eq!(chosen(33, false), Invalidation::Vmid);
    }
}
