//! A VM's address space: the tree of its VMARs and mappings, and its handles. All of it is behind one lock, the VM's.
//!
//! The stage-2 tables are a cache of what stands here: they may hold less, and a fault repairs that; never more.

use core::cell::Cell;

use abi::{PAGE_SIZE, Status};
use vmsa::Perms;

use crate::Machine;
use crate::arena::{Arena, Id};
use crate::handles::Handles;
use crate::links::Link;
use crate::random::Random;
use crate::region::{Kind, Mapping, Protection, Protections, Region, RegionId, Regions, Vmar};
use crate::spots::{Span, Wanted};
use crate::supply::Supply;
use crate::system::VmId;
use crate::tree::{Links, Tree};

/// How many random places are tried in a VMAR that is not compact, before the lowest free ones are looked for.
const TRIES: u32 = 32;
/// Among how many of the lowest free places one is chosen then, and at once in a compact VMAR.
const LOWEST_SPOTS: u64 = 1 << 8;

/// What the VM's lock guards.
pub(crate) struct Space {
    pub(crate) regions: Regions,
    pub(crate) protections: Arena<Protection>,
    pub(crate) root: RegionId,
    pub(crate) handles: Handles,
    /// What scatters unplaced regions.
    random: Random,
    /// The mapping that was found last; its name may be another region's by now, or nothing's.
    found: Cell<Option<RegionId>>,
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
        let root =
            Region { base: 0, size: limit, parent: None, links: Links::new(Span::default()), kind: Kind::Vmar(root) };
        let root = regions.insert(supply, root)?;
        let (protections, random) = (Arena::new(), Random::new(seed));
        Ok(Self { regions, protections, root, handles: Handles::new(seed), random, found: Cell::new(None) })
    }

    /// Gives back what is not needed. Nothing is reserved now.
    pub(crate) fn trim<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>) {
        self.regions.trim(&supply, 0);
        self.protections.trim(&supply, 0);
        self.handles.trim(&supply);
    }

    /// Returns the VMAR, which `id` is the name of.
    pub(crate) fn vmar(&self, id: RegionId) -> &Vmar {
        match self.regions[id].vmar() {
            Some(vmar) => vmar,
            None => unreachable!("a mapping is taken for a VMAR"),
        }
    }

    pub(crate) fn vmar_mut(&mut self, id: RegionId) -> &mut Vmar {
        match self.regions[id].vmar_mut() {
            Some(vmar) => vmar,
            None => unreachable!("a mapping is taken for a VMAR"),
        }
    }

    /// Returns the mapping, which `id` is the name of.
    pub(crate) fn mapping(&self, id: RegionId) -> &Mapping {
        match self.regions[id].mapping() {
            Some(mapping) => mapping,
            None => unreachable!("a VMAR is taken for a mapping"),
        }
    }

    pub(crate) fn mapping_mut(&mut self, id: RegionId) -> &mut Mapping {
        match self.regions[id].mapping_mut() {
            Some(mapping) => mapping,
            None => unreachable!("a VMAR is taken for a mapping"),
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

    /// Returns the mapping that holds the address. Mostly it is the one that was found last, which takes 25 instructions to see, and
    /// 160 to find.
    #[inline]
    pub(crate) fn mapping_at(&self, address: u64) -> Option<(RegionId, &Region, &Mapping)> {
        if let Some(id) = self.found.get()
            && let Some(region) = self.regions.get(id).filter(|region| region.holds(address, 1))
            && let Some(mapping) = region.mapping()
        {
            return Some((id, region, mapping));
        }
        self.find_mapping(address)
    }

    fn find_mapping(&self, address: u64) -> Option<(RegionId, &Region, &Mapping)> {
        let id = self.next_mapping(self.root, address)?;
        self.note_found(id);
        let region = &self.regions[id];
        Some((id, region, region.mapping()?)).filter(|_| region.base <= address)
    }

    /// Takes note that the mapping was found, and is likely to be looked for again.
    pub(crate) fn note_found(&self, id: RegionId) {
        self.found.set(Some(id));
    }

    /// Returns the stretch of the mapping that holds `address`, which lies in it.
    pub(crate) fn stretch_at(&self, id: RegionId, address: u64) -> Stretch {
        self.stretch_of(&self.regions[id], self.mapping(id), address)
    }

    /// The same, of a mapping that was looked up.
    pub(crate) fn stretch_of(&self, region: &Region, mapping: &Mapping, address: u64) -> Stretch {
        let Protections { first, changes } = mapping.protections;
        let (mut base, mut perms) = (region.base, first);
        if let Some(last) = changes.last_up_to(&self.protections, address) {
            Protection { base, perms, .. } = self.protections[last];
        }
        let next = changes.first_above(&self.protections, address);
        Stretch { base, end: next.map_or(region.end(), |next| self.protections[next].base), perms }
    }

    /// Returns the stretches of the mapping from the one that holds `address` on, or from its first.
    pub(crate) fn stretches(&self, id: RegionId, address: u64) -> impl Iterator<Item = Stretch> {
        let (base, end) = (self.regions[id].base, self.regions[id].end());
        let at = move |address| (address < end).then(|| self.stretch_at(id, address));
        core::iter::successors(at(address.max(base)), move |stretch| at(stretch.end))
    }

    /// Puts a new region in the VMAR, where there is nothing.
    pub(crate) fn insert(&mut self, parent: RegionId, base: u64, size: u64, kind: Kind) -> RegionId {
        let region = Region { base, size, parent: Some(parent), links: Links::new(Span::default()), kind };
        let id = self.regions.insert_reserved(region);
        self.edit_children(parent, |children, regions| children.insert(regions, id));
        id
    }

    /// Changes the tree of a VMAR's children. Its links lie in the regions, and its root in one of them: it is taken out for
    /// the time of the change, and put back.
    fn edit_children(&mut self, parent: RegionId, change: impl FnOnce(&mut Tree<Region>, &mut Regions)) {
        let mut children = core::mem::take(&mut self.vmar_mut(parent).children);
        change(&mut children, &mut self.regions);
        self.vmar_mut(parent).children = children;
    }

    /// Takes a region out of its VMAR. It has no children.
    pub(crate) fn detach(&mut self, id: RegionId) {
        let region = &mut self.regions[id];
        let (Some(parent), base) = (region.parent.take(), region.base) else { return };
        self.edit_children(parent, |children, regions| children.remove(regions, base));
    }

    /// Takes note that the region, whose neighbours stay where they are, lies elsewhere from now on.
    pub(crate) fn resize(&mut self, id: RegionId, base: u64, end: u64) {
        let region = &mut self.regions[id];
        (region.base, region.size) = (base, end - base);
        if let Some(parent) = region.parent {
            self.edit_children(parent, |children, regions| children.refresh(regions, base));
        }
    }

    /// Takes a mapping away that is in no VMAR any more. The VMO's note of it is the caller's to take away.
    #[inline]
    pub(crate) fn remove_mapping(&mut self, id: RegionId) -> Id<Link> {
        let Mapping { link, protections, .. } = *self.mapping(id);
        protections.changes.free(&mut self.protections);
        self.regions.discard(id);
        link
    }

    /// Ends a VMAR that has no children. It stays for its handles, dead.
    pub(crate) fn bury(&mut self, id: RegionId) {
        self.detach(id);
        let vmar = self.vmar_mut(id);
        vmar.is_alive = false;
        if vmar.handles == 0 {
            self.regions.discard(id);
        }
    }

    /// Takes note that a handle to the VMAR is closed.
    pub(crate) fn close_vmar(&mut self, id: RegionId) {
        let vmar = self.vmar_mut(id);
        vmar.handles -= 1;
        if vmar.handles == 0 && !vmar.is_alive {
            self.regions.discard(id);
        }
    }

    /// Returns a place below the VMAR that is wanted and free, at random, if there is one.
    ///
    /// Every place is as likely as any other where one of [`TRIES`] random ones is free. Where so few are free that none was, and
    /// in a compact VMAR, the [`LOWEST_SPOTS`] lowest free ones are equally likely, and no others are found.
    pub(crate) fn find_space(&mut self, parent: RegionId, wanted: Wanted) -> Option<u64> {
        let vmar = self.vmar(parent);
        let (children, is_compact) = (vmar.children, vmar.is_compact);
        let all = wanted.all_spots()?;
        for _ in 0..if is_compact { 0 } else { TRIES } {
            let at = all.first + self.random.below(all.count) * wanted.align;
            if children.first_overlapping(&self.regions, at, wanted.size).is_none() {
                return Some(at);
            }
        }
        children.any_of_lowest(&self.regions, wanted, LOWEST_SPOTS, |count| self.random.below(count))
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
