//! Which invalidation an operation's broken entries get, and the sequence that makes it complete.

use vmsa::{Dsb, Features, IpaRange, Level, RangeOperand, Tlbi, range_operand};

use crate::gather::{Broken, Stale};
use crate::{Mmu, Stage2, Stats, spoiled};

/// The most leaves that are invalidated one by one. An invalidation by IPA is broadcast, and every CPU looks through its TLB
/// for it; one for the VMID costs the guest its whole working set. KVM and Xen draw no line (they issue one a page), Zircon
/// draws it at 16 for stage 1; at 32 an operation on a whole table (512 pages) is a single invalidation.
const MOST_LEAVES: u64 = 32;

/// What is invalidated by stage 2, before stage 1 and the combined entries are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalidation {
    /// Each leaf of the range by its IPA: the range, and the level of the leaves.
    Leaves(IpaRange, Level),
    /// The range, in one operation.
    Range(RangeOperand),
    /// Everything of the VMID, stage 1 and combined entries included.
    Vmid,
}

/// Returns how a range whose leaves were of `level`, or none smaller, is invalidated on a machine with `features`. Members of a
/// contiguous group count one by one: a TLB need not have taken the hint.
///
/// | leaves in the range | without FEAT_TLBIRANGE | with it |
/// | --- | --- | --- |
/// | 1, of any size | by IPA | by IPA |
/// | 2 to 32 | each by IPA | one range |
/// | more | the VMID | one range |
///
/// A range of more than 8 GiB is more than one range operation covers: it goes as without FEAT_TLBIRANGE.
pub fn invalidation_for(range: IpaRange, level: Level, features: &Features) -> Invalidation {
    let leaves = range.len().div_ceil(level.entry_span());
    if leaves <= 1 {
        return Invalidation::Leaves(range, level);
    }
    let operand =
        if features.tlbi_range || planted::is(115) { range_operand(range.start, range.pages()) } else { None };
    match operand {
        Some(operand) => Invalidation::Range(operand),
        None if leaves <= MOST_LEAVES => Invalidation::Leaves(range, level),
        None => Invalidation::Vmid,
    }
}

/// Invalidates what was broken for the VMID in effect, on every CPU, and waits until that is done.
///
/// The order is the architecture's (DDI 0487, D8.14, "TLB maintenance for stage 2"): the stores reach the walks before the
/// stage-2 entries go; those are gone everywhere before the combined entries go, since a walk could make a new combined entry
/// of an old stage-2 one; and those are gone before anything relies on it. An invalidation by IPA does not touch combined
/// entries, and TLBs may combine even while the guest's stage 1 is off.
pub(crate) fn invalidate(issue: &mut Issue<'_, impl Mmu>, broken: &Broken) {
    if let Some(visible) = spoiled::visibility() {
        issue.dsb(visible);
    }
    let features = issue.mmu.features();
    if broken.has_several() && is_cheaper_by_vmid(broken, features) {
        issue.tlbi(Tlbi::Vmid);
        return issue.complete();
    }
    let leaf_only = !broken.has_tables;
    for Stale { range, level, is_uniform } in broken.ranges() {
        let range = spoiled::range(range);
        let hint = (leaf_only && is_uniform && features.level_hint).then(|| spoiled::hint(level));
        match invalidation_for(range, level, features) {
            Invalidation::Range(operand) => issue.tlbi(Tlbi::Range { operand, level: hint, leaf_only }),
            Invalidation::Leaves(range, level) => issue.leaves(range, level, hint, leaf_only),
            // It is the only range.
            Invalidation::Vmid => {
                issue.tlbi(Tlbi::Vmid);
                return issue.complete();
            }
        }
    }
    if !planted::is(4) {
        issue.complete();
    }
    issue.tlbi(Tlbi::Stage1);
    if !planted::is(112) {
        issue.complete();
    }
}

/// Tells whether one of the ranges asks for the VMID, or all of them together for too many leaves.
fn is_cheaper_by_vmid(broken: &Broken, features: &Features) -> bool {
    let mut one_by_one = 0;
    for stale in broken.ranges() {
        match invalidation_for(stale.range, stale.level, features) {
            Invalidation::Leaves(range, level) => one_by_one += range.len().div_ceil(level.entry_span()),
            Invalidation::Range(_) => {}
            Invalidation::Vmid => return true,
        }
    }
    one_by_one > MOST_LEAVES
}

impl Stage2 {
    /// Does `work` with this tree's VMID in effect on this CPU: invalidations mean the VMID that VTTBR_EL2 holds.
    pub(crate) fn under_own_vmid<M: Mmu>(&mut self, mmu: &M, work: impl FnOnce(&mut Issue<'_, M>)) {
        let (before, own) = (mmu.vttbr(), self.vttbr());
        let mut issue = Issue { mmu, stats: &mut self.stats };
        if before == own || planted::is(113) {
            return work(&mut issue);
        }
        // Walks that are under way for the other VM end before its VMID is gone (DDI 0487, D8.14: a walk belongs to the VMID
        // that it began with, and only a DSB waits for it).
        issue.dsb(Dsb::Ish);
        issue.switch(own);
        work(&mut issue);
        issue.switch(spoiled::restored(before, own));
    }
}

/// Issues and counts.
pub(crate) struct Issue<'a, M> {
    mmu: &'a M,
    stats: &'a mut Stats,
}

impl<M: Mmu> Issue<'_, M> {
    fn switch(&mut self, vttbr: u64) {
        self.mmu.set_vttbr(vttbr);
        if !planted::is(14) {
            self.mmu.isb();
        }
        self.stats.isb += 1;
    }

    fn dsb(&mut self, kind: Dsb) {
        self.mmu.dsb(kind);
        self.stats.dsb += 1;
    }

    /// Waits until the invalidations are done on every CPU.
    fn complete(&mut self) {
        self.dsb(spoiled::completion());
    }

    fn tlbi(&mut self, op: Tlbi) {
        self.stats.count(op);
        if let Some((op, scope)) = spoiled::issued(op) {
            self.mmu.tlbi(op, scope);
        }
    }

    fn leaves(&mut self, range: IpaRange, of: Level, level: Option<Level>, leaf_only: bool) {
        let mut ipa = range.start.page_base();
        while ipa < range.end {
            self.tlbi(Tlbi::Ipa { ipa, level, leaf_only });
            ipa = ipa.add(of.entry_span());
        }
    }
}

#[cfg(test)]
mod tests {
    use vmsa::Ipa;

    use super::*;

    fn chosen(leaves: u64, level: Level, tlbi_range: bool) -> Invalidation {
        let features = Features { tlbi_range, ..Features::default() };
        invalidation_for(IpaRange::new(Ipa(0x8000_0000), leaves * level.entry_span()), level, &features)
    }

    #[test]
    fn the_cheapest_invalidation_is_chosen() {
        for level in [Level::L3, Level::L2] {
            assert!(matches!(chosen(1, level, true), Invalidation::Leaves(..)));
            assert!(matches!(chosen(2, level, true), Invalidation::Range(_)));
            assert!(matches!(chosen(32, level, false), Invalidation::Leaves(..)));
            assert_eq!(chosen(33, level, false), Invalidation::Vmid);
        }
        assert!(matches!(chosen(RangeOperand::MAX_PAGES, Level::L3, true), Invalidation::Range(_)));
        assert_eq!(chosen(RangeOperand::MAX_PAGES + 1, Level::L3, true), Invalidation::Vmid);
        assert!(matches!(chosen(8, Level::L1, true), Invalidation::Range(_)));
        assert!(matches!(chosen(9, Level::L1, true), Invalidation::Leaves(..)), "nine blocks of 1 GiB");
    }

    #[test]
    fn leaves_that_are_invalidated_one_by_one_are_counted_together() {
        let far = |number: u64, leaves: u64| {
            let range = IpaRange::new(Ipa(number << 32), leaves * Level::LEAF.entry_span());
            Stale { range, level: Level::LEAF, is_uniform: true }
        };
        let is_by_vmid = |leaves: [u64; 3], tlbi_range| {
            let [first, second, third] = leaves;
            let mut broken = Broken::default();
            for stale in [far(0, first), far(1, second), far(2, third)] {
                broken.add(stale, true);
            }
            is_cheaper_by_vmid(&broken, &Features { tlbi_range, ..Features::default() })
        };
        assert!(!is_by_vmid([10, 11, 11], false) && is_by_vmid([10, 11, 12], false) && is_by_vmid([20, 20, 20], false));
        assert!(is_by_vmid([1, 33, 1], false), "one of them is too many");
        assert!(!is_by_vmid([20, 20, 20], true), "a range is one operation");
    }
}
