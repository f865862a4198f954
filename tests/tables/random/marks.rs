//! What is known of pages that were used: which must be told of, and which may be.

use std::collections::BTreeSet;

use vmsa::{Ipa, IpaRange};

use crate::flat::Spans;

/// Pages that were stored to, or accessed at all, since this was last told.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    pub(super) must: BTreeSet<Ipa>,
    may: Spans<()>,
}

impl Marks {
    /// A page was used; its leaf keeps that for all of its pages.
    pub(super) fn used(&mut self, ipa: Ipa, leaf: IpaRange) {
        self.must.insert(ipa);
        self.may_be_used(leaf);
    }

    pub(super) fn may_be_used(&mut self, range: IpaRange) {
        self.may.set(range, ());
    }

    pub(super) fn forget(&mut self, range: IpaRange) {
        self.must.retain(|ipa| !(range.start..range.end).contains(ipa));
        self.may.remove(range);
    }

    /// All of the range was told of. What is past `cleared` is still marked.
    pub(super) fn told(&mut self, range: IpaRange, cleared: IpaRange) {
        self.must.retain(|ipa| !(range.start..range.end).contains(ipa));
        if !cleared.is_empty() {
            self.may.remove(cleared);
        }
    }

    /// Returns what is wrong with what was told of a range.
    pub(super) fn faults_in(&self, range: IpaRange, told: &[IpaRange]) -> Vec<String> {
        let is_told = |ipa: &Ipa| told.iter().any(|told| (told.start..told.end).contains(ipa));
        let lost = self.must.range(range.start..range.end).filter(|ipa| !is_told(ipa));
        let lost = lost.map(|ipa| format!("{ipa} was used, and is not told of"));
        let invented = told.iter().flat_map(|told| self.may.gaps(*told));
        let invented = invented.map(|gap| format!("{gap:?} was not used, and is told of"));
        lost.chain(invented).collect()
    }
}
