//! The flat map: what each page of a guest should lead to, kept as spans of pages that are alike.

use std::collections::BTreeMap;

use stage2::Run;
use vmsa::{Attributes, Dirty, Hpa, Ipa, IpaRange, PAGE_SIZE};

/// Something about addresses, in spans.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Spans<T>(BTreeMap<Ipa, (Ipa, T)>);

/// Where pages lead, and what may be done to them.
pub(crate) type Flat = Spans<Page>;

/// What the pages of a span have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Page {
    /// The frame's address less the page's.
    offset: u64,
    /// Without what the hardware and the tree's own choices change: see [`lasting`].
    pub(crate) attributes: Attributes,
}

/// Returns what lasts of a leaf's attributes: not its flags, nor how it is kept. A page whose stores are noted is clean.
pub(crate) fn lasting(attributes: Attributes) -> Attributes {
    let dirty = if attributes.dirty == Dirty::Untracked { Dirty::Untracked } else { Dirty::Clean };
    Attributes { accessed: true, dirty, contiguous: false, uncached: false, ..attributes }
}

impl<T> Default for Spans<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy> Spans<T> {
    pub(crate) fn at(&self, ipa: Ipa) -> Option<T> {
        let (_, (end, what)) = self.0.range(..=ipa).next_back()?;
        (ipa < *end).then_some(*what)
    }

    pub(crate) fn remove(&mut self, range: IpaRange) {
        self.cut(range);
        self.0.retain(|start, _| !(range.start..range.end).contains(start));
    }

    pub(crate) fn set(&mut self, range: IpaRange, what: T) {
        self.remove(range);
        self.0.insert(range.start, (range.end, what));
    }

    pub(crate) fn change(&mut self, range: IpaRange, change: impl Fn(&mut T)) {
        self.cut(range);
        for (_, (_, what)) in self.0.range_mut(range.start..range.end) {
            change(what);
        }
    }

    /// Returns the parts of the range of which there is nothing.
    pub(crate) fn gaps(&self, range: IpaRange) -> Vec<IpaRange> {
        let (mut gaps, mut at) = (Vec::new(), range.start);
        for (start, (end, _)) in self.0.range(..range.end) {
            if *start > at {
                gaps.push(IpaRange { start: at, end: *start });
            }
            at = at.max(*end);
        }
        if at < range.end {
            gaps.push(IpaRange { start: at, end: range.end });
        }
        gaps
    }

    /// Makes spans begin and end where the range does.
    fn cut(&mut self, range: IpaRange) {
        for at in [range.start, range.end] {
            let Some((start, (end, what))) = self.0.range(..at).next_back().map(|(start, span)| (*start, *span)) else {
                continue;
            };
            if at < end {
                self.0.insert(start, (at, what));
                self.0.insert(at, (end, what));
            }
        }
    }
}

impl Flat {
    /// Returns the frame and the attributes of a page.
    pub(crate) fn page(&self, ipa: Ipa) -> Option<(Hpa, Attributes)> {
        self.at(ipa).map(|page| (Hpa(ipa.0.wrapping_add(page.offset)), page.attributes))
    }

    /// Maps what the source knows of the range where nothing is mapped.
    pub(crate) fn map(&mut self, range: IpaRange, source: impl Fn(Ipa) -> Option<Run>) {
        for gap in self.gaps(range) {
            let mut at = gap.start;
            while at < gap.end {
                let run = source(at);
                let end = run.map_or(at.add(PAGE_SIZE), |run| at.add(run.len)).min(gap.end);
                if let Some(run) = run {
                    self.put(IpaRange { start: at, end }, run.output, run.attributes);
                }
                at = end;
            }
        }
    }

    /// Changes the attributes of the pages of the range that lead to the adjacent frames from `output` on.
    pub(crate) fn change_leading(&mut self, range: IpaRange, output: Hpa, change: impl Fn(&mut Attributes)) {
        let offset = output.0.wrapping_sub(range.start.0);
        self.change(range, |page| {
            if page.offset == offset {
                change(&mut page.attributes);
            }
        });
    }

    pub(crate) fn put(&mut self, range: IpaRange, output: Hpa, attributes: Attributes) {
        let offset = output.0.wrapping_sub(range.start.0);
        self.set(range, Page { offset, attributes: lasting(attributes) });
    }
}
