//! What mappings are cut and put together of: addresses, and the protections at them. What a cut or a fused mapping allows
//! is what it allowed before, address by address.
//!
//! Protections that are kept move by whole trees, in the logarithm of their number; each that is dropped was made by a call of
//! its own.

use vmsa::Perms;

use crate::region::{Protection, RegionId};
use crate::space::Space;
use crate::tree::Tree;

impl Space {
    /// Returns what is to become the protections of a new mapping at `base`, in room that was reserved.
    pub(crate) fn protect_from(&mut self, base: u64, perms: Perms) -> Tree<Protection> {
        let mut tree = Tree::default();
        self.add_protection(&mut tree, base, perms);
        tree
    }

    fn add_protection(&mut self, tree: &mut Tree<Protection>, base: u64, perms: Perms) {
        let id = self.protections.insert_reserved(Protection::new(base, perms));
        tree.insert(&mut self.protections, id);
    }

    fn drop_first(&mut self, tree: &mut Tree<Protection>) {
        if let Some(id) = tree.first(&self.protections) {
            let base = self.protections[id].base;
            tree.remove(&mut self.protections, base);
            self.protections.discard(id);
        }
    }

    fn first_base(&self, tree: Tree<Protection>) -> Option<u64> {
        tree.first(&self.protections).map(|id| self.protections[id].base)
    }

    fn first_perms(&self, tree: Tree<Protection>) -> Option<Perms> {
        tree.first(&self.protections).map(|id| self.protections[id].perms)
    }

    fn last_perms(&self, tree: Tree<Protection>) -> Option<Perms> {
        tree.last(&self.protections).map(|id| self.protections[id].perms)
    }

    /// Cuts the mapping's addresses below `base` off.
    pub(crate) fn trim_front(&mut self, id: RegionId, base: u64) {
        let (mut below, mut rest) = self.mapping(id).protections.split(&mut self.protections, base);
        let last = below.last(&self.protections);
        if let Some(last) = last.filter(|_| self.first_base(rest) != Some(base)) {
            let old_base = self.protections[last].base;
            below.remove(&mut self.protections, old_base);
            self.protections[last].base = base;
            rest.insert(&mut self.protections, last);
        }
        below.free(&mut self.protections);
        let offset = base - self.regions[id].base;
        let mapping = self.mapping_mut(id);
        mapping.protections = rest;
        mapping.vmo_offset = mapping.vmo_offset.wrapping_add(offset);
        self.resize(id, base, self.regions[id].end());
    }

    /// Cuts the mapping's addresses from `end` on off.
    pub(crate) fn trim_back(&mut self, id: RegionId, end: u64) {
        let (rest, above) = self.mapping(id).protections.split(&mut self.protections, end);
        above.free(&mut self.protections);
        self.mapping_mut(id).protections = rest;
        self.resize(id, self.regions[id].base, end);
    }

    /// Cuts the mapping's addresses from `base` on off; returns the protections of those from `end` on, where there are any.
    /// Room for a protection is reserved.
    pub(crate) fn cut_out(&mut self, id: RegionId, base: u64, end: u64) -> Tree<Protection> {
        let (below, above) = self.part(self.mapping(id).protections, end);
        self.mapping_mut(id).protections = below;
        self.trim_back(id, base);
        above
    }

    /// Makes two of the protections of a mapping, which reach across `at`: those of the addresses from there on have one there.
    /// Room for one is reserved.
    fn part(&mut self, tree: Tree<Protection>, at: u64) -> (Tree<Protection>, Tree<Protection>) {
        let (below, mut above) = tree.split(&mut self.protections, at);
        let is_there = self.first_base(above) == Some(at);
        if let Some(perms) = self.last_perms(below).filter(|_| !is_there) {
            self.add_protection(&mut above, at, perms);
        }
        (below, above)
    }

    /// Puts the protections of two neighbouring ranges together, of which either may have none.
    fn unite(&mut self, below: Tree<Protection>, above: Tree<Protection>) -> Tree<Protection> {
        let mut above = above;
        if self.first_perms(above) == self.last_perms(below) {
            self.drop_first(&mut above);
        }
        below.join(&mut self.protections, above)
    }

    /// Tells whether two children of a VMAR, of which `right` is the next, are mappings that go on in each other: their addresses
    /// and what they show of one VMO touch, and they were made alike. They may allow different things.
    pub(crate) fn can_fuse(&self, left: RegionId, right: RegionId) -> bool {
        let (first, second) = (&self.regions[left], &self.regions[right]);
        let (Some(one), Some(other)) = (first.mapping(), second.mapping()) else { return false };
        first.end() == second.base
            && one.vmo == other.vmo
            && one.vmo_offset.checked_add(first.size) == Some(other.vmo_offset)
            && (one.caps, one.placing) == (other.caps, other.placing)
    }

    /// Makes one mapping of two neighbours: `left` gets what `right` has, and `right` is what is left to be removed.
    pub(crate) fn append(&mut self, left: RegionId, right: RegionId) {
        let end = self.regions[right].end();
        let above = core::mem::take(&mut self.mapping_mut(right).protections);
        let united = self.unite(self.mapping(left).protections, above);
        self.mapping_mut(left).protections = united;
        self.detach(right);
        self.resize(left, self.regions[left].base, end);
    }

    /// Gives the mapping's addresses from `base` to `end`, which lie in it, the permissions. Room for two protections is reserved,
    /// less one for each of the two that is where the mapping begins or ends.
    pub(crate) fn set_perms(&mut self, id: RegionId, base: u64, end: u64, perms: Perms) {
        let (first, last) = (self.regions[id].base, self.regions[id].end());
        let all = self.mapping(id).protections;
        let (covered, after) = if end < last { self.part(all, end) } else { (all, Tree::default()) };
        let (before, covered) = if base > first { self.part(covered, base) } else { (Tree::default(), covered) };
        let covered = self.level(covered, base, perms);
        let upper = self.unite(covered, after);
        let united = self.unite(before, upper);
        self.mapping_mut(id).protections = united;
    }

    /// Makes one protection of many, of which the first is at `base`.
    fn level(&mut self, tree: Tree<Protection>, base: u64, perms: Perms) -> Tree<Protection> {
        let (first, rest) = tree.split(&mut self.protections, base + 1);
        rest.free(&mut self.protections);
        if let Some(id) = first.root {
            self.protections[id].perms = perms;
        }
        first
    }
}
