//! The children of a VMAR, in the order of their addresses: an AVL tree whose links lie in the regions. Inserting cannot
//! fail. Each link knows the free space between the regions below it, so that a place is found without looking at all of them.
//!
//! Recursion is as deep as the tree is high: at most 1.44 log2 of the number of children.

use crate::region::{Region, RegionId, Regions};

/// A region's place among its siblings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Links {
    left: Option<RegionId>,
    right: Option<RegionId>,
    height: u32,
    /// The first address of the subtree.
    low: u64,
    /// The address past its last.
    high: u64,
    /// The largest free space between two regions of the subtree.
    gap: u64,
}

/// The children of a VMAR.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tree {
    root: Option<RegionId>,
}

/// A place that is looked for: `size` bytes at a multiple of `align`, not below `low`, not reaching above `high`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) size: u64,
    pub(crate) align: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Wanted {
    /// Returns the lowest fitting place in the free space between `from` and `to`.
    fn fit(self, from: u64, to: u64) -> Option<u64> {
        let start = from.max(self.low).checked_next_multiple_of(self.align)?;
        let end = start.checked_add(self.size)?;
        (end <= to.min(self.high)).then_some(start)
    }
}

impl Tree {
    /// Adds a region that overlaps no other.
    pub(crate) fn insert(&mut self, regions: &mut Regions, id: RegionId) {
        let region = &mut regions[id];
        region.links = Links { low: region.base, high: region.end(), height: 1, ..Links::default() };
        self.root = Some(insert(regions, self.root, id));
    }

    /// Takes a region away.
    pub(crate) fn remove(&mut self, regions: &mut Regions, id: RegionId) {
        let base = regions[id].base;
        self.root = remove(regions, self.root, base);
    }

    /// Takes note that the region's range has become smaller, within what it was.
    pub(crate) fn resized(&mut self, regions: &mut Regions, base: u64) {
        refresh(regions, self.root, base);
    }

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
        self.first_ending_above(regions, base).filter(|id| regions[*id].base - base.min(regions[*id].base) < size)
    }

    /// Returns the lowest place that is wanted and free.
    pub(crate) fn find_space(self, regions: &Regions, wanted: Wanted) -> Option<u64> {
        find_space(regions, self.root, wanted, wanted.low, wanted.high)
    }
}

fn height(regions: &Regions, node: Option<RegionId>) -> u32 {
    node.map_or(0, |id| regions[id].links.height)
}

/// Brings a node's notes on its subtree up to date with its children.
fn update(regions: &mut Regions, id: RegionId) {
    let Region { base, links, .. } = &regions[id];
    let (base, end, mut new) = (*base, regions[id].end(), *links);
    (new.low, new.high, new.gap) = (base, end, 0);
    if let Some(left) = new.left {
        let below = &regions[left].links;
        new.low = below.low;
        new.gap = new.gap.max(below.gap).max(base - below.high);
    }
    if let Some(right) = new.right {
        let above = &regions[right].links;
        new.high = above.high;
        new.gap = new.gap.max(above.gap).max(above.low - end);
    }
    new.height = 1 + height(regions, new.left).max(height(regions, new.right));
    regions[id].links = new;
}

fn rotate_right(regions: &mut Regions, id: RegionId, left: RegionId) -> RegionId {
    regions[id].links.left = regions[left].links.right;
    update(regions, id);
    regions[left].links.right = Some(id);
    update(regions, left);
    left
}

fn rotate_left(regions: &mut Regions, id: RegionId, right: RegionId) -> RegionId {
    regions[id].links.right = regions[right].links.left;
    update(regions, id);
    regions[right].links.left = Some(id);
    update(regions, right);
    right
}

/// Brings a node up to date, and the heights of its children within one; returns the node that is in its place then.
fn balance(regions: &mut Regions, id: RegionId) -> RegionId {
    update(regions, id);
    let Links { left, right, .. } = regions[id].links;
    let (on_left, on_right) = (height(regions, left), height(regions, right));
    match (left, right) {
        (Some(child), _) if on_left > on_right + 1 => {
            let Links { left: outer, right: inner, .. } = regions[child].links;
            let child = match inner {
                Some(inner_id) if height(regions, inner) > height(regions, outer) => {
                    rotate_left(regions, child, inner_id)
                }
                _ => child,
            };
            rotate_right(regions, id, child)
        }
        (_, Some(child)) if on_right > on_left + 1 => {
            let Links { left: inner, right: outer, .. } = regions[child].links;
            let child = match inner {
                Some(inner_id) if height(regions, inner) > height(regions, outer) => {
                    rotate_right(regions, child, inner_id)
                }
                _ => child,
            };
            rotate_left(regions, id, child)
        }
        _ => id,
    }
}

fn insert(regions: &mut Regions, node: Option<RegionId>, id: RegionId) -> RegionId {
    let Some(at) = node else { return id };
    if regions[id].base < regions[at].base {
        let left = insert(regions, regions[at].links.left, id);
        regions[at].links.left = Some(left);
    } else {
        let right = insert(regions, regions[at].links.right, id);
        regions[at].links.right = Some(right);
    }
    balance(regions, at)
}

fn remove(regions: &mut Regions, node: Option<RegionId>, base: u64) -> Option<RegionId> {
    let at = node?;
    let Links { left, right, .. } = regions[at].links;
    if base < regions[at].base {
        regions[at].links.left = remove(regions, left, base);
    } else if base > regions[at].base {
        regions[at].links.right = remove(regions, right, base);
    } else {
        let Some(right) = right else { return left };
        let (rest, first) = remove_first(regions, right);
        regions[first].links.left = left;
        regions[first].links.right = rest;
        return Some(balance(regions, first));
    }
    Some(balance(regions, at))
}

/// Returns the subtree without its first region, and that region.
fn remove_first(regions: &mut Regions, at: RegionId) -> (Option<RegionId>, RegionId) {
    let Some(left) = regions[at].links.left else { return (regions[at].links.right, at) };
    let (rest, first) = remove_first(regions, left);
    regions[at].links.left = rest;
    (Some(balance(regions, at)), first)
}

/// Brings the nodes from the root to the region at `base` up to date.
fn refresh(regions: &mut Regions, node: Option<RegionId>, base: u64) {
    let Some(at) = node else { return };
    let Links { left, right, .. } = regions[at].links;
    if base < regions[at].base {
        refresh(regions, left, base);
    } else if base > regions[at].base {
        refresh(regions, right, base);
    }
    update(regions, at);
}

/// Looks in the free space from `from` to `to`, which the subtree lies in, lowest first. A subtree whose spaces are all too
/// small, or out of the wanted bounds, is not looked at.
fn find_space(regions: &Regions, node: Option<RegionId>, wanted: Wanted, from: u64, to: u64) -> Option<u64> {
    let Some(id) = node else { return wanted.fit(from, to) };
    let region = &regions[id];
    let links = &region.links;
    let largest = links.gap.max(links.low.saturating_sub(from)).max(to.saturating_sub(links.high));
    if largest < wanted.size || to <= wanted.low || from >= wanted.high {
        return None;
    }
    find_space(regions, links.left, wanted, from, region.base)
        .or_else(|| find_space(regions, links.right, wanted, region.end(), to))
}
