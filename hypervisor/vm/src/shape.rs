//! What mappings are cut and put together of: addresses, and the protections at them. What a cut or a fused mapping allows
//! is what it allowed before, address by address.
//!
//! Protections that are kept move by whole trees, in the logarithm of their number; each that is dropped was made by a call of
//! its own.

use vmsa::Perms;

use crate::region::{Protection, Protections, RegionId};
use crate::space::Space;
use crate::tree::Tree;

impl Space {
    /// Adds a change above all others, in room that was reserved.
    fn add_change(&mut self, changes: &mut Tree<Protection>, base: u64, perms: Perms) {
        let id = self.protections.insert_reserved(Protection::new(base, perms));
        changes.push(&mut self.protections, id);
    }

    /// Returns what is allowed behind the last of some changes, before which `before` is.
    fn last_perms(&self, before: Perms, changes: Tree<Protection>) -> Perms {
        changes.last(&self.protections).map_or(before, |id| self.protections[id].perms)
    }

    /// Takes what is allowed from `at` on out of a mapping's protections; returns the changes up to there, too.
    fn divide(&mut self, all: Protections, at: u64) -> (Tree<Protection>, Protections) {
        let (below, changes) = all.changes.split(&mut self.protections, at + 1);
        let first = self.last_perms(all.first, below);
        (below, Protections { first, changes })
    }

    /// Cuts the mapping's addresses below `base` off.
    pub(crate) fn trim_front(&mut self, id: RegionId, base: u64) {
        let (below, protections) = self.divide(self.mapping(id).protections, base);
        below.free(&mut self.protections);
        let offset = base - self.regions[id].base;
        let mapping = self.mapping_mut(id);
        mapping.protections = protections;
        mapping.vmo_offset = mapping.vmo_offset.wrapping_add(offset);
        self.resize(id, base, self.regions[id].end());
    }

    /// Cuts the mapping's addresses from `end` on off.
    pub(crate) fn trim_back(&mut self, id: RegionId, end: u64) {
        let (rest, above) = self.mapping(id).protections.changes.split(&mut self.protections, end);
        above.free(&mut self.protections);
        self.mapping_mut(id).protections.changes = rest;
        self.resize(id, self.regions[id].base, end);
    }

    /// Cuts the mapping's addresses from `base` on off; returns the protections of those from `end` on, which lies in it.
    pub(crate) fn cut_out(&mut self, id: RegionId, base: u64, end: u64) -> Protections {
        let (below, above) = self.divide(self.mapping(id).protections, end);
        self.mapping_mut(id).protections.changes = below;
        self.trim_back(id, base);
        above
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

    /// Makes one mapping of two neighbours: `left` gets what `right` has, and `right` is what is left to be removed. Room for a
    /// protection is reserved.
    pub(crate) fn append(&mut self, left: RegionId, right: RegionId) {
        let (border, end) = (self.regions[right].base, self.regions[right].end());
        let above = core::mem::replace(&mut self.mapping_mut(right).protections, Protections::uniform(Perms::empty()));
        let Protections { first, mut changes } = self.mapping(left).protections;
        if above.first != self.last_perms(first, changes) {
            self.add_change(&mut changes, border, above.first);
        }
        self.mapping_mut(left).protections.changes = changes.join(&mut self.protections, above.changes);
        self.detach(right);
        self.resize(left, self.regions[left].base, end);
    }

    /// Gives the mapping's addresses from `base` to `end`, which lie in it, the permissions. Room for two protections is reserved,
    /// less one for each of the two that is where the mapping begins or ends.
    pub(crate) fn set_perms(&mut self, id: RegionId, base: u64, end: u64, perms: Perms) {
        let (region, Protections { first, changes }) = (&self.regions[id], self.mapping(id).protections);
        let (region_base, region_end) = (region.base, region.end());
        let (mut changes, covered) = changes.split(&mut self.protections, base);
        let (covered, after) = covered.split(&mut self.protections, end + 1);
        let before = self.last_perms(first, changes);
        let at_end = self.last_perms(before, covered);
        covered.free(&mut self.protections);
        if base > region_base && before != perms {
            self.add_change(&mut changes, base, perms);
        }
        if end < region_end && at_end != perms {
            self.add_change(&mut changes, end, at_end);
        }
        let changes = changes.join(&mut self.protections, after);
        let first = if base == region_base { perms } else { first };
        self.mapping_mut(id).protections = Protections { first, changes };
    }
}
