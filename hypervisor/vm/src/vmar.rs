//! What is done to an address space once a call's arguments are known to be good: regions are made, split and removed, and
//! the tables follow.
//!
//! Order, for whatever takes something away: reserve what may be needed, unmap from the tree and invalidate, then change the
//! regions and the VMOs' notes. So nothing fails half-way, and a VMO always knows of every tree that leads to its pages.

use abi::Status;
use spin::MutexGuard;
use vmsa::{Attributes, Ipa, IpaRange, PAGE_SHIFT, Perms};

use crate::Machine;
use crate::error::out_of_tables;
use crate::frames::CHUNK_FRAMES;
use crate::region::{Kind, Mapping, RegionId, Vmar};
use crate::space::Space;
use crate::system::{System, Vm, VmId};
use crate::tree::Wanted;
use crate::vmo::{VmoId, Vmos};

/// A VM whose space is locked.
pub(crate) struct Locked<'a, M> {
    pub(crate) system: &'a System<M>,
    pub(crate) vm: &'a Vm,
    pub(crate) id: VmId,
    pub(crate) space: MutexGuard<'a, Space>,
}

/// What a new mapping is.
#[derive(Clone, Copy)]
pub(crate) struct NewMapping {
    pub(crate) vmo: VmoId,
    pub(crate) vmo_offset: u64,
    pub(crate) caps: Perms,
    pub(crate) perms: Perms,
}

impl<'a, M: Machine> Locked<'a, M> {
    pub(crate) fn new(system: &'a System<M>, id: VmId) -> Self {
        let vm = system.vm(id);
        Self { system, vm, id, space: vm.space.lock() }
    }

    /// Makes room for whatever one call may add to the space and to the VMOs' notes.
    pub(crate) fn reserve(&mut self) -> Result<(), Status> {
        let supply = self.system.supply(self.id);
        self.space.regions.reserve(supply, 1)?;
        self.space.reserve_split(supply)?;
        self.space.handles.reserve(supply)?;
        self.system.vmos.lock().reserve_link(supply)
    }

    /// Returns the lowest free place below the VMAR that is wanted: at random where the VMAR is not compact.
    pub(crate) fn find_space(&mut self, parent: RegionId, wanted: Wanted) -> Option<u64> {
        let vmar = self.space.vmar(parent);
        let (children, is_compact) = (vmar.children, vmar.is_compact);
        let scattered = (!is_compact).then(|| self.space.scatter(wanted));
        scattered
            .and_then(|wanted| children.find_space(&self.space.regions, wanted))
            .or_else(|| children.find_space(&self.space.regions, wanted))
    }

    /// Makes a VMAR where there is nothing, in room that was reserved.
    pub(crate) fn add_vmar(&mut self, parent: RegionId, base: u64, size: u64, vmar: Vmar) -> RegionId {
        self.space.insert(parent, base, size, Kind::Vmar(vmar))
    }

    /// Makes a mapping where there is nothing, in room that was reserved.
    pub(crate) fn add_mapping(&mut self, parent: RegionId, base: u64, size: u64, new: NewMapping) -> RegionId {
        let NewMapping { vmo, vmo_offset, caps, perms } = new;
        let link = self.system.vmos.lock().link(vmo, self.id, base, size, vmo_offset);
        let mapping = Mapping { vmo, vmo_offset, caps, perms, changes: None, link };
        self.space.insert(parent, base, size, Kind::Mapping(mapping))
    }

    /// Unmaps the range, which lies in the VMAR: mappings are trimmed, split or removed, sub-regions that it covers are
    /// destroyed. Room for a split is reserved.
    pub(crate) fn unmap(&mut self, vmar: RegionId, base: u64, size: u64) {
        self.unmap_tables(base, size);
        let end = base + size;
        let mut at = base;
        while let Some(child) = self.child_above(vmar, at).filter(|child| self.space.regions[*child].base < end) {
            at = self.space.regions[child].end();
            match self.space.regions[child].kind {
                Kind::Vmar(_) => self.bury_all(child),
                Kind::Mapping(_) => self.cut(child, base, end),
            }
        }
    }

    /// Destroys a VMAR and all that is in it.
    pub(crate) fn destroy(&mut self, vmar: RegionId) {
        let (base, size) = (self.space.regions[vmar].base, self.space.regions[vmar].size);
        self.unmap_tables(base, size);
        self.bury_all(vmar);
    }

    fn unmap_tables(&mut self, base: u64, size: u64) {
        let mut supply = self.system.supply(self.id);
        let range = IpaRange::new(Ipa(base), size);
        let _ = self.vm.tree.lock().unmap(&self.system.machine, &mut supply, [range]);
    }

    fn child_above(&self, vmar: RegionId, address: u64) -> Option<RegionId> {
        self.space.vmar(vmar).children.first_ending_above(&self.space.regions, address)
    }

    /// Ends a VMAR and everything below it, the deepest first: steps down and up, so that no nesting can exhaust the stack.
    fn bury_all(&mut self, top: RegionId) {
        let mut at = top;
        loop {
            match self.child_above(at, 0) {
                Some(child) if self.space.regions[child].mapping().is_some() => self.remove(child),
                Some(child) => at = child,
                None => {
                    let parent = self.space.regions[at].parent;
                    self.space.bury(at);
                    match parent {
                        Some(parent) if at != top => at = parent,
                        _ => return,
                    }
                }
            }
        }
    }

    /// Takes what lies between `base` and `end` out of a mapping that has a part there.
    fn cut(&mut self, id: RegionId, base: u64, end: u64) {
        let (first, last) = (self.space.regions[id].base, self.space.regions[id].end());
        match (base <= first, last <= end) {
            (true, true) => self.remove(id),
            (true, false) => {
                self.space.trim_front(id, end);
                self.relink(id);
            }
            (false, true) => {
                let tail = self.space.trim_back(id, base);
                self.space.drop_changes(tail);
                self.relink(id);
            }
            (false, false) => self.punch(id, base, end),
        }
    }

    /// Makes two mappings of one, with a hole between them.
    fn punch(&mut self, id: RegionId, base: u64, end: u64) {
        let last = self.space.regions[id].end();
        let parent = self.space.regions[id].parent;
        let perms = self.space.stretch_at(id, end).perms;
        let mapping = self.space.mapping(id);
        let vmo_offset = mapping.vmo_offset + (end - self.space.regions[id].base);
        let new = NewMapping { vmo: mapping.vmo, vmo_offset, caps: mapping.caps, perms };
        let tail = self.space.trim_back(id, base);
        self.relink(id);
        let Some(parent) = parent else { unreachable!("a mapping without a VMAR") };
        let right = self.add_mapping(parent, end, last - end, new);
        self.space.give_changes(right, tail);
    }

    fn remove(&mut self, id: RegionId) {
        let region = self.space.remove_mapping(id);
        if let Kind::Mapping(mapping) = region.kind {
            let mut vmos = self.system.vmos.lock();
            let vmo = vmos.unlink(mapping.link);
            self.system.release_vmo(&mut vmos, vmo);
        }
    }

    fn relink(&mut self, id: RegionId) {
        let (region, mapping) = (&self.space.regions[id], self.space.mapping(id));
        self.system.vmos.lock().relink(mapping.link, region.base, region.size, mapping.vmo_offset);
    }

    /// Gives all mappings in the range, which has no gaps, the permissions. Room for a split is reserved.
    pub(crate) fn protect(&mut self, vmar: RegionId, base: u64, size: u64, perms: Perms) {
        self.protect_tables(base, size, perms);
        let end = base + size;
        let mut at = base;
        while let Some(id) = self.space.next_mapping(vmar, at).filter(|id| self.space.regions[*id].base < end) {
            let (first, last) = (self.space.regions[id].base, self.space.regions[id].end());
            self.space.set_perms(id, first.max(base), last.min(end), perms);
            at = last;
        }
    }

    fn protect_tables(&mut self, base: u64, size: u64, perms: Perms) {
        if perms.is_empty() {
            return self.unmap_tables(base, size);
        }
        if perms.contains(Perms::EXECUTE) {
            self.system.machine.sync_instructions();
        }
        let mut supply = self.system.supply(self.id);
        let range = IpaRange::new(Ipa(base), size);
        let _ = self.vm.tree.lock().protect(&self.system.machine, &mut supply, range, perms);
    }

    /// Enters the pages of a mapping that are there, from `base` to `end`, in the tables: a chunk of the VMO at a time. Parts
    /// that allow nothing are passed over, and so is what lies past the VMO's end.
    pub(crate) fn map_present(&mut self, id: RegionId, base: u64, end: u64) -> Result<(), Status> {
        let mut at = base;
        while at < end {
            let stretch = self.space.stretch_at(id, at);
            let to = stretch.end.min(end);
            if !stretch.perms.is_empty() {
                self.map_stretch(id, at, to, stretch.perms)?;
            }
            at = to;
        }
        Ok(())
    }

    fn map_stretch(&mut self, id: RegionId, base: u64, end: u64, perms: Perms) -> Result<(), Status> {
        let (region_base, mapping) = (self.space.regions[id].base, self.space.mapping(id));
        let (vmo, shift) = (mapping.vmo, mapping.vmo_offset);
        // Offsets may reach 2^64, and what is past the VMO's size is cut off by it before it can wrap.
        let offset_of = |address: u64| shift.saturating_add(address - region_base);
        if perms.contains(Perms::EXECUTE) {
            self.system.machine.sync_instructions();
        }
        let mut number = offset_of(base) >> PAGE_SHIFT;
        let last = offset_of(end).div_ceil(1 << PAGE_SHIFT);
        loop {
            let vmos = self.system.vmos.lock();
            let pages = &vmos[vmo];
            let Some((first, _)) = pages.next_page(number).filter(|(first, _)| *first < last.min(pages.page_count()))
            else {
                return Ok(());
            };
            number = (first + 1).next_multiple_of(CHUNK_FRAMES).min(last).min(pages.page_count());
            // No table is made for a tail without pages.
            let end = (first + 1..number).rev().find(|page| pages.page(*page).is_some()).unwrap_or(first) + 1;
            let start = Ipa(region_base + ((first << PAGE_SHIFT) - shift));
            self.map_run(&vmos, vmo, first, IpaRange::new(start, (end - first) << PAGE_SHIFT), perms)?;
        }
    }

    fn map_run(&self, vmos: &Vmos, vmo: VmoId, first: u64, range: IpaRange, perms: Perms) -> Result<(), Status> {
        let mut supply = self.system.supply(self.id);
        let page = |ipa: Ipa| {
            let number = first + (ipa.page_number() - range.start.page_number());
            vmos[vmo].page(number).map(|frame| (frame, Attributes::normal(perms)))
        };
        let mapped = self.vm.tree.lock().map(&self.system.machine, &mut supply, range, page);
        mapped.map(drop).map_err(out_of_tables)
    }
}
