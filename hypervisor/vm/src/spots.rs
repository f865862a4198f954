//! The children of a VMAR, and the free space between them: each knows the largest gap below it in the tree, so that a place
//! is found without looking at all of them.

use crate::region::{Region, RegionId, Regions};
use crate::tree::{Node, Tree};

/// What a child knows of itself and of the siblings below it in the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    /// The first address.
    low: u64,
    /// The address past the last.
    high: u64,
    /// The largest free space between two of them, in bytes.
    gap: u64,
}

impl Span {
    /// Returns what is known of a region and of the subtrees on both sides of it.
    pub(crate) fn around(base: u64, end: u64, left: Option<Self>, right: Option<Self>) -> Self {
        let left = left.unwrap_or(Self { low: base, high: base, gap: 0 });
        let right = right.unwrap_or(Self { low: end, high: end, gap: 0 });
        let gap = left.gap.max(right.gap).max(base - left.high).max(right.low - end);
        Self { low: left.low, high: right.high, gap }
    }
}

/// A place that is looked for: `size` bytes, not 0, at a multiple of `align`, not below `low`, not reaching above `high`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) size: u64,
    pub(crate) align: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// Places that fit: `count`, not 0, of them from `first` on, at every multiple of the alignment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Spots {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Wanted {
    /// Returns the fitting places in the free space between `from` and `to`.
    fn spots(self, from: u64, to: u64) -> Option<Spots> {
        let first = from.max(self.low).checked_next_multiple_of(self.align)?;
        let last = to.min(self.high).checked_sub(self.size)?;
        let count = last.checked_sub(first)? / self.align + 1;
        Some(Spots { first, count })
    }

    /// Returns the places that would fit were nothing else there.
    pub(crate) fn all_spots(self) -> Option<Spots> {
        self.spots(self.low, self.high)
    }
}

impl Tree<Region> {
    /// Returns the first region that ends above `address`: the one that holds it, or the next.
    pub(crate) fn first_ending_above(self, regions: &Regions, address: u64) -> Option<RegionId> {
        let mut found = None;
        let mut at = self.root;
        while let Some(id) = at {
            let region = &regions[id];
            if region.end() > address {
                found = Some(id);
                at = region.links.left;
            } else {
                at = region.links.right;
            }
        }
        found
    }

    /// Returns the first region that has an address in common with `base..base + size`.
    pub(crate) fn first_overlapping(self, regions: &Regions, base: u64, size: u64) -> Option<RegionId> {
        self.first_ending_above(regions, base).filter(|id| {
            let first = regions[*id].base;
            first - base.min(first) < size
        })
    }

    /// Returns the fitting places in the lowest gap that has any.
    ///
    /// With an alignment of a page the first gap that is large enough has one. With others a gap that is large enough may lie
    /// badly, and is passed over one by one.
    pub(crate) fn first_spots(self, regions: &Regions, wanted: Wanted) -> Option<Spots> {
        first_spots(regions, self.root, wanted, wanted.low, wanted.high)
    }

    /// Returns one of the `most` lowest fitting places, each as likely as any other; `below` returns a random number below
    /// what it is given, which is not 0. Looks at no more gaps than that.
    pub(crate) fn any_of_lowest(
        self,
        regions: &Regions,
        wanted: Wanted,
        most: u64,
        mut below: impl FnMut(u64) -> u64,
    ) -> Option<u64> {
        let (mut chosen, mut seen, mut rest) = (None, 0, wanted);
        while seen < most
            && let Some(spots) = self.first_spots(regions, rest)
        {
            let count = spots.count.min(most - seen);
            seen += count;
            // Each gap takes the choice over with the share that it has of what was seen so far.
            let pick = below(seen);
            if pick < count {
                chosen = Some(spots.first + pick * wanted.align);
            }
            rest.low = spots.first + (spots.count - 1) * wanted.align + 1;
        }
        chosen
    }
}

/// Looks in the free space from `from` to `to`, which the subtree lies in, lowest first. A subtree whose spaces are all too
/// small, or out of the wanted bounds, is not looked at.
fn first_spots(regions: &Regions, node: Option<RegionId>, wanted: Wanted, from: u64, to: u64) -> Option<Spots> {
    let Some(id) = node else { return wanted.spots(from, to) };
    let region = &regions[id];
    let Span { low, high, gap } = region.links.notes;
    let largest = gap.max(low.saturating_sub(from)).max(to.saturating_sub(high));
    if largest < wanted.size || to <= wanted.low || from >= wanted.high {
        return None;
    }
    first_spots(regions, region.links().left, wanted, from, region.base)
        .or_else(|| first_spots(regions, region.links().right, wanted, region.end(), to))
}
