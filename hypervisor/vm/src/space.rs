//! A VM's address space: the tree of its VMARs and mappings, and its handles. All of it is behind one lock, the VM's.
//!
//! The stage-2 tables are a cache of what stands here: they may hold less, and a fault repairs that; never more.

use abi::{PAGE_SIZE, Status};
use vmsa::Perms;

use crate::Machine;
use crate::arena::{Arena, Id};
use crate::handles::Handles;
use crate::region::{Change, Kind, Mapping, Region, RegionId, Regions, Vmar};
use crate::supply::Supply;
use crate::system::VmId;
use crate::tree::{Links, Tree, Wanted};

/// What the VM's lock guards.
pub(crate) struct Space {
    pub(crate) regions: Regions,
    pub(crate) changes: Arena<Change>,
    pub(crate) root: RegionId,
    pub(crate) handles: Handles,
    /// The state of the generator that scatters unplaced regions.
    random: u64,
}

/// A stretch of a mapping that allows the same throughout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) base: u64,
    pub(crate) end: u64,
    pub(crate) perms: Perms,
}

impl Space {
    /// Returns a space whose root VMAR covers the addresses from 0 to `limit`.
    pub(crate) fn new<M: Machine>(supply: Supply<'_, M>, limit: u64, root: Vmar, seed: u64) -> Result<Self, Status> {
        let mut regions = Regions::new();
        let root = Region { base: 0, size: limit, parent: None, links: Links::default(), kind: Kind::Vmar(root) };
        let root = regions.insert(supply, root)?;
        Ok(Self { regions, changes: Arena::new(), root, handles: Handles::new(seed), random: seed })
    }

    /// Gives back what is not needed. Nothing is reserved now.
    pub(crate) fn trim<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>) {
        self.regions.trim(&supply, 0);
        self.changes.trim(&supply, 0);
        self.handles.trim(&supply);
    }

    /// Returns the VMAR, which `id` is the name of.
    pub(crate) fn vmar(&self, id: RegionId) -> &Vmar {
        match self.regions[id].vmar() {
            Some(vmar) => vmar,
            None => unreachable!("{id:?} is a mapping"),
        }
    }

    pub(crate) fn vmar_mut(&mut self, id: RegionId) -> &mut Vmar {
        match self.regions[id].vmar_mut() {
            Some(vmar) => vmar,
            None => unreachable!("{id:?} is a mapping"),
        }
    }

    /// Returns the mapping, which `id` is the name of.
    pub(crate) fn mapping(&self, id: RegionId) -> &Mapping {
        match self.regions[id].mapping() {
            Some(mapping) => mapping,
            None => unreachable!("{id:?} is a VMAR"),
        }
    }

    fn mapping_mut(&mut self, id: RegionId) -> &mut Mapping {
        match self.regions[id].mapping_mut() {
            Some(mapping) => mapping,
            None => unreachable!("{id:?} is a VMAR"),
        }
    }

    /// Returns the first mapping below the VMAR, at any depth, that ends above `address`. Steps down and up by parents, so that
    /// no depth of nesting can exhaust the stack.
    pub(crate) fn next_mapping(&self, within: RegionId, address: u64) -> Option<RegionId> {
        let (mut vmar, mut address) = (within, address);
        loop {
            match self.vmar(vmar).children.first_ending_above(&self.regions, address) {
                Some(child) if self.regions[child].mapping().is_some() => return Some(child),
                Some(child) => vmar = child,
                None if vmar == within => return None,
                None => {
                    address = address.max(self.regions[vmar].end());
                    vmar = self.regions[vmar].parent?;
                }
            }
        }
    }

    /// Returns the mapping that holds the address.
    pub(crate) fn mapping_at(&self, address: u64) -> Option<RegionId> {
        self.next_mapping(self.root, address).filter(|id| self.regions[*id].base <= address)
    }

    /// Returns the stretch of the mapping that holds `address`, which lies in it.
    pub(crate) fn stretch_at(&self, id: RegionId, address: u64) -> Stretch {
        match self.stretches(id, address).next() {
            Some(stretch) => stretch,
            None => unreachable!("{address:#x} is not in {id:?}"),
        }
    }

    /// Returns the stretches of the mapping from the one that holds `address` on.
    pub(crate) fn stretches(&self, id: RegionId, address: u64) -> impl Iterator<Item = Stretch> {
        let (region, mapping) = (&self.regions[id], self.mapping(id));
        let last = region.end();
        let first = Stretch { base: region.base, end: self.base_of(mapping.changes, last), perms: mapping.perms };
        let next = move |(_, at): &(Stretch, Option<Id<Change>>)| {
            let change = &self.changes[(*at)?];
            let end = self.base_of(change.next, last);
            Some((Stretch { base: change.base, end, perms: change.perms }, change.next))
        };
        core::iter::successors(Some((first, mapping.changes)), next)
            .map(|(stretch, _)| stretch)
            .skip_while(move |stretch| stretch.end <= address)
    }

    /// Returns where a change begins, or `last` where there is none.
    fn base_of(&self, change: Option<Id<Change>>, last: u64) -> u64 {
        change.map_or(last, |change| self.changes[change].base)
    }

    /// Puts a new region in the VMAR, where there is nothing.
    pub(crate) fn insert(&mut self, parent: RegionId, base: u64, size: u64, kind: Kind) -> RegionId {
        let region = Region { base, size, parent: Some(parent), links: Links::default(), kind };
        let id = self.regions.insert_reserved(region);
        self.edit_children(parent, |children, regions| children.insert(regions, id));
        id
    }

    /// Changes the tree of a VMAR's children. Its links lie in the regions, and its root in one of them: it is taken out for
    /// the time of the change, and put back.
    fn edit_children(&mut self, parent: RegionId, change: impl FnOnce(&mut Tree, &mut Regions)) {
        let mut children = core::mem::take(&mut self.vmar_mut(parent).children);
        change(&mut children, &mut self.regions);
        self.vmar_mut(parent).children = children;
    }

    /// Takes a region out of its VMAR. It has no children.
    fn detach(&mut self, id: RegionId) {
        let Some(parent) = self.regions[id].parent.take() else { return };
        self.edit_children(parent, |children, regions| children.remove(regions, id));
    }

    /// Takes a mapping away; returns what it was.
    pub(crate) fn remove_mapping(&mut self, id: RegionId) -> Region {
        self.detach(id);
        let changes = self.mapping_mut(id).changes.take();
        self.drop_changes(changes);
        self.regions.remove(id)
    }

    /// Ends a VMAR that has no children. It stays for its handles, dead.
    pub(crate) fn bury(&mut self, id: RegionId) {
        self.detach(id);
        let vmar = self.vmar_mut(id);
        vmar.is_alive = false;
        if vmar.handles == 0 {
            self.regions.remove(id);
        }
    }

    /// Takes note that a handle to the VMAR is closed.
    pub(crate) fn close_vmar(&mut self, id: RegionId) {
        let vmar = self.vmar_mut(id);
        vmar.handles -= 1;
        if vmar.handles == 0 && !vmar.is_alive {
            self.regions.remove(id);
        }
    }

    /// Cuts the mapping's addresses below `base` off.
    pub(crate) fn trim_front(&mut self, id: RegionId, base: u64) {
        let perms = self.stretch_at(id, base).perms;
        let offset = base - self.regions[id].base;
        while let Some(change) = self.mapping(id).changes.filter(|change| self.changes[*change].base <= base) {
            let next = self.changes.remove(change).next;
            self.mapping_mut(id).changes = next;
        }
        let mapping = self.mapping_mut(id);
        mapping.perms = perms;
        mapping.vmo_offset = mapping.vmo_offset.wrapping_add(offset);
        self.resize(id, base, self.regions[id].end());
    }

    /// Cuts the mapping's addresses from `end` on off; returns the changes of permissions that lay there.
    pub(crate) fn trim_back(&mut self, id: RegionId, end: u64) -> Option<Id<Change>> {
        let tail = self.cut_changes(id, end);
        self.resize(id, self.regions[id].base, end);
        tail
    }

    fn resize(&mut self, id: RegionId, base: u64, end: u64) {
        let region = &mut self.regions[id];
        (region.base, region.size) = (base, end - base);
        if let Some(parent) = region.parent {
            self.edit_children(parent, |children, regions| children.resized(regions, base));
        }
    }

    /// Ends the mapping's list of changes before `end`; returns the rest of it.
    fn cut_changes(&mut self, id: RegionId, end: u64) -> Option<Id<Change>> {
        let mut last = None;
        let mut at = self.mapping(id).changes;
        while let Some(change) = at.filter(|change| self.changes[*change].base < end) {
            last = Some(change);
            at = self.changes[change].next;
        }
        match last {
            Some(last) => self.changes[last].next = None,
            None => self.mapping_mut(id).changes = None,
        }
        at
    }

    /// Gives a new mapping the changes that lie in it, of a list that may begin below it.
    pub(crate) fn give_changes(&mut self, id: RegionId, list: Option<Id<Change>>) {
        let base = self.regions[id].base;
        let mut at = list;
        while let Some(change) = at.filter(|change| self.changes[*change].base <= base) {
            at = self.changes.remove(change).next;
        }
        self.mapping_mut(id).changes = at;
    }

    /// Returns what is wanted, from a random address on.
    pub(crate) fn scatter(&mut self, wanted: Wanted) -> Wanted {
        let room = wanted.high.saturating_sub(wanted.low).saturating_sub(wanted.size);
        let offset = (u128::from(self.next_random()) * u128::from(room)) >> 64;
        Wanted { low: wanted.low + offset as u64, ..wanted }
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn drop_changes(&mut self, list: Option<Id<Change>>) {
        let mut at = list;
        while let Some(change) = at {
            at = self.changes.remove(change).next;
        }
    }

    /// Gives the mapping's addresses from `base` to `end`, which lie in it, the permissions. Room for two changes is reserved.
    pub(crate) fn set_perms(&mut self, id: RegionId, base: u64, end: u64, perms: Perms) {
        let region_end = self.regions[id].end();
        let after = (end < region_end).then(|| self.stretch_at(id, end).perms);
        let mut rest = self.cut_changes(id, base);
        // The changes up to `end` are overruled; one at `end` is made anew below.
        while let Some(change) = rest.filter(|change| self.changes[*change].base <= end) {
            rest = self.changes.remove(change).next;
        }
        self.append_change(id, base, perms);
        if let Some(after) = after {
            self.append_change(id, end, after);
        }
        self.append_list(id, rest);
    }

    /// Notes that the mapping allows `perms` from `base` on, behind all earlier changes.
    fn append_change(&mut self, id: RegionId, base: u64, perms: Perms) {
        let region_base = self.regions[id].base;
        if base == region_base {
            self.mapping_mut(id).perms = perms;
        } else if self.last_perms(id) != perms {
            let change = self.changes.insert_reserved(Change { base, perms, next: None });
            self.append_list(id, Some(change));
        }
    }

    fn append_list(&mut self, id: RegionId, list: Option<Id<Change>>) {
        match self.last_change(id) {
            Some(last) => self.changes[last].next = list,
            None => self.mapping_mut(id).changes = list,
        }
    }

    fn last_change(&self, id: RegionId) -> Option<Id<Change>> {
        let mut last = None;
        let mut at = self.mapping(id).changes;
        while let Some(change) = at {
            last = at;
            at = self.changes[change].next;
        }
        last
    }

    fn last_perms(&self, id: RegionId) -> Perms {
        self.last_change(id).map_or(self.mapping(id).perms, |change| self.changes[change].perms)
    }
}

/// Returns `len` rounded up to whole pages, or `None` where that wraps or is nothing.
pub(crate) fn whole_pages(len: u64) -> Option<u64> {
    match len.checked_next_multiple_of(PAGE_SIZE) {
        Some(0) if planted::is(137) => Some(PAGE_SIZE),
        None if planted::is(138) => Some(PAGE_SIZE),
        Some(0) | None => None,
        some => some,
    }
}
