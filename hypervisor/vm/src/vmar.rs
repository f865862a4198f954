//! What is done to an address space once a call's arguments are known to be good: regions are made, split and removed, and
//! the tables follow.
//!
//! Order, for whatever takes something away: reserve what may be needed, unmap from the tree and invalidate, then change the
//! regions and the VMOs' notes. So nothing fails half-way, and a VMO always knows of every tree that leads to its pages.

use abi::{Status, VmOptions};
use spin::MutexGuard;
use vmsa::{Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE, Perms};

use crate::Machine;
use crate::arena::Id;
use crate::error::out_of_tables;
use crate::frames::{CHUNK_BYTES, CHUNK_FRAMES};
use crate::links::Link;
use crate::locks::lock;
use crate::memory::{Memory, Pages};
use crate::region::{Kind, Mapping, Protections, RegionId, Vmar};
use crate::space::{Space, Stretch};
use crate::system::{System, Vm, VmId};
use crate::vmo::VmoId;

/// A VM whose space is locked.
pub(crate) struct Locked<'a, M: Machine> {
    pub(crate) system: &'a System<M>,
    pub(crate) vm: &'a Vm,
    pub(crate) id: VmId,
    pub(crate) space: MutexGuard<'a, Space>,
    /// Mappings that the VMOs have promised room for.
    promised: u32,
}

impl<M: Machine> Drop for Locked<'_, M> {
    fn drop(&mut self) {
        if self.promised > 0 {
            self.system.lock_vmos().give_up_links(self.promised);
        }
        let system = self.system;
        self.space.trim(|payer| system.supply(payer));
    }
}

/// What a new mapping is.
#[derive(Clone, Copy)]
pub(crate) struct NewMapping {
    pub(crate) vmo: VmoId,
    pub(crate) vmo_offset: u64,
    pub(crate) caps: Perms,
    pub(crate) placing: VmOptions,
}

impl<'a, M: Machine> Locked<'a, M> {
    /// Locks a VM's space. Not inlined, for it would be at 39 places: 4.7 KiB less, for 10 instructions.
    #[inline(never)]
    pub(crate) fn new(system: &'a System<M>, id: VmId) -> Self {
        let vm = system.vm(id);
        Self { system, vm, id, space: lock(&vm.space), promised: 0 }
    }

    /// Checks that the VMAR that a call began with is still there, after the space was unlocked.
    ///
    /// # Errors
    ///
    /// BAD_STATE: it was destroyed; another may have its name.
    pub(crate) fn check_alive(&self, id: RegionId, koid: u64) -> Result<(), Status> {
        let vmar = self.space.regions.get(id).and_then(|region| region.vmar());
        vmar.filter(|vmar| vmar.is_alive && vmar.koid == koid).map(drop).ok_or(Status::BAD_STATE)
    }

    /// Makes room for a handle.
    pub(crate) fn reserve_handle(&mut self) -> Result<(), Status> {
        self.space.handles.reserve(self.system.supply(self.id))
    }

    /// Makes room for a VMAR.
    pub(crate) fn reserve_vmar(&mut self) -> Result<(), Status> {
        Ok(self.space.regions.reserve(self.system.supply(self.id), 1)?)
    }

    /// Makes room for `count` mappings.
    pub(crate) fn reserve_mappings(&mut self, count: u32) -> Result<(), Status> {
        let supply = self.system.supply(self.id);
        self.space.regions.reserve(supply, count)?;
        self.system.lock_vmos().promise_links(supply, count)?;
        self.promised += count;
        Ok(())
    }

    /// Returns the first region in the VMAR that has an address in common with the range. Not inlined, for it would be at 8 places.
    #[inline(never)]
    pub(crate) fn first_in(&self, vmar: RegionId, base: u64, size: u64) -> Option<RegionId> {
        self.space.vmar(vmar).children.first_overlapping(&self.space.regions, base, size)
    }

    /// Makes room for what unmapping the range needs, in which `first` is the first region: a mapping, where the range is a hole
    /// in one.
    pub(crate) fn reserve_unmap(&mut self, first: RegionId, base: u64, size: u64) -> Result<(), Status> {
        let first = &self.space.regions[first];
        let is_hole = first.base < base && base + size < first.end() && first.mapping().is_some();
        if is_hole { self.reserve_mappings(1) } else { Ok(()) }
    }

    /// Makes room for so many changes of what mappings allow.
    pub(crate) fn reserve_protections(&mut self, count: u32) -> Result<(), Status> {
        Ok(self.space.protections.reserve(self.system.supply(self.id), count)?)
    }

    /// Makes a VMAR where there is nothing, in room that was reserved.
    pub(crate) fn add_vmar(&mut self, parent: RegionId, base: u64, size: u64, vmar: Vmar) -> RegionId {
        self.space.insert(parent, base, size, Kind::Vmar(vmar))
    }

    /// Makes a mapping where there is nothing, in room that was reserved.
    pub(crate) fn add_mapping(
        &mut self,
        parent: RegionId,
        base: u64,
        size: u64,
        new: NewMapping,
        perms: Perms,
    ) -> RegionId {
        let link = self.link(base, size, new);
        self.insert_mapping(parent, base, size, new, Protections::uniform(perms), link)
    }

    fn link(&mut self, base: u64, size: u64, new: NewMapping) -> Id<Link> {
        self.promised -= 1;
        self.system.lock_vmos().link(new.vmo, self.id, base, size, new.vmo_offset)
    }

    fn insert_mapping(
        &mut self,
        parent: RegionId,
        base: u64,
        size: u64,
        new: NewMapping,
        protections: Protections,
        link: Id<Link>,
    ) -> RegionId {
        let NewMapping { vmo, vmo_offset, caps, placing } = new;
        let mapping = Mapping { vmo, vmo_offset, caps, placing, protections, link };
        self.space.insert(parent, base, size, Kind::Mapping(mapping))
    }

    /// Makes one mapping of this one and of those of its neighbours that show the VMO on as it does.
    pub(crate) fn fuse(&mut self, id: RegionId) {
        let Some(parent) = self.space.regions[id].parent else { return };
        let (base, end) = (self.space.regions[id].base, self.space.regions[id].end());
        let before = base.checked_sub(1).and_then(|last| self.child_above(parent, last)).filter(|left| *left != id);
        if let Some(left) = before.filter(|left| self.space.can_fuse(*left, id)) {
            self.fuse_two(left, id);
        }
        let Some(after) = self.child_above(parent, end) else { return };
        let here = before.filter(|left| self.space.regions[*left].end() == end).unwrap_or(id);
        if self.space.can_fuse(here, after) {
            self.fuse_two(here, after);
        }
    }

    fn fuse_two(&mut self, left: RegionId, right: RegionId) {
        self.space.append(left, right);
        // The VMO never loses sight of the right part: the left part's note has grown before the right part's goes.
        self.relink(left);
        self.forget(right);
    }

    /// Unmaps the range, which lies in the VMAR and in which `first` is the first region: mappings are trimmed, split or removed,
    /// sub-regions that it covers are destroyed. Room for it is reserved.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: the tables show the range's ends in blocks, and there is none to split them. Nothing was changed.
    pub(crate) fn unmap(
        &mut self,
        vmar: RegionId,
        first: Option<RegionId>,
        base: u64,
        size: u64,
    ) -> Result<(), Status> {
        let size = if planted::is(100) { size + PAGE_SIZE } else { size };
        self.unmap_tables(base, size)?;
        self.remove_range(vmar, first, base, size);
        Ok(())
    }

    /// Takes away what was just made in the range.
    pub(crate) fn take_back(&mut self, vmar: RegionId, base: u64, size: u64) {
        self.clear_tables(base, size);
        self.remove_range(vmar, self.first_in(vmar, base, size), base, size);
    }

    fn remove_range(&mut self, vmar: RegionId, first: Option<RegionId>, base: u64, size: u64) {
        let end = base + size;
        let mut next = first;
        while let Some(child) = next {
            let region = &self.space.regions[child];
            let (child_base, child_end) = (region.base, region.end());
            match region.kind {
                Kind::Vmar(_) => self.bury_all(child),
                Kind::Mapping(_) if base <= child_base && child_end <= end => self.remove(child),
                Kind::Mapping(_) => self.cut(child, base, end),
            }
            next = if child_end < end { self.first_in(vmar, child_end, end - child_end) } else { None };
        }
    }

    /// Destroys a VMAR and all that is in it.
    pub(crate) fn destroy(&mut self, vmar: RegionId) {
        let (base, size) = (self.space.regions[vmar].base, self.space.regions[vmar].size);
        self.clear_tables(base, size);
        self.bury_all(vmar);
    }

    fn unmap_tables(&mut self, base: u64, size: u64) -> Result<(), Status> {
        if planted::is(102) && self.begins_with_hole(base) {
            return Ok(());
        }
        let mut supply = self.system.supply(self.id);
        let range = IpaRange::new(Ipa(base), size);
        let unmapped = self.system.tree(self.id).unmap(&self.system.machine, &mut supply, [range]);
        unmapped.map(drop).map_err(out_of_tables)
    }

    /// Tells whether the tables have nothing at the address.
    fn begins_with_hole(&self, base: u64) -> bool {
        let walk = self.system.tree(self.id).walk(&self.system.machine, Ipa(base));
        walk.is_none_or(|walk| !walk.entry.is_live())
    }

    /// Unmaps the range from the tables, come what may: a block that shows something else too goes with it, and comes back by
    /// faults.
    fn clear_tables(&mut self, base: u64, size: u64) {
        let mut supply = self.system.supply(self.id);
        let range = IpaRange::new(Ipa(base), size);
        let _ = self.system.tree(self.id).unmap_at_least(&self.system.machine, &mut supply, range);
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

    /// Takes what lies between `base` and `end` out of a mapping that has a part there, and one elsewhere.
    fn cut(&mut self, id: RegionId, base: u64, end: u64) {
        let region = &self.space.regions[id];
        match (region.base < base, end < region.end()) {
            (true, true) => return self.punch(id, base, end),
            (true, false) => self.space.trim_back(id, base),
            (false, _) => self.space.trim_front(id, end),
        }
        self.relink(id);
    }

    /// Makes two mappings of one, with a hole between them.
    fn punch(&mut self, id: RegionId, base: u64, end: u64) {
        let region = &self.space.regions[id];
        let Some(parent) = region.parent else { unreachable!("a mapping without a VMAR") };
        let (size, offset) = (region.end() - end, end - region.base);
        let mapping = self.space.mapping(id);
        let (vmo, vmo_offset) = (mapping.vmo, mapping.vmo_offset + offset);
        let new = NewMapping { vmo, vmo_offset, caps: mapping.caps, placing: mapping.placing };
        // The VMO never loses sight of the right part: it is noted before the left part's note shrinks.
        let link = self.link(end, size, new);
        let protections = self.space.cut_out(id, base, end);
        self.relink(id);
        self.insert_mapping(parent, end, size, new, protections, link);
    }

    fn remove(&mut self, id: RegionId) {
        self.space.detach(id);
        self.forget(id);
    }

    /// Takes away what is left of a mapping that is in no VMAR any more.
    fn forget(&mut self, id: RegionId) {
        let link = self.space.remove_mapping(id);
        self.system.unlink(link);
    }

    fn relink(&mut self, id: RegionId) {
        let (region, mapping) = (&self.space.regions[id], self.space.mapping(id));
        self.system.lock_vmos().relink(mapping.link, region.base, region.size, mapping.vmo_offset);
    }

    /// Gives all mappings in the range, which has no gaps and begins in `first`, the permissions. Room for it is reserved.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: as for [`Locked::unmap`].
    pub(crate) fn protect(
        &mut self,
        vmar: RegionId,
        first: RegionId,
        base: u64,
        size: u64,
        perms: Perms,
    ) -> Result<(), Status> {
        self.protect_tables(base, size, perms)?;
        let end = base + size;
        let mut next = Some(first);
        while let Some(id) = next {
            let region = &self.space.regions[id];
            let (from, to) = (region.base.max(base), region.end().min(end));
            self.space.set_perms(id, from, to, perms);
            next = if to < end { self.space.next_mapping(vmar, to) } else { None };
        }
        Ok(())
    }

    fn protect_tables(&mut self, base: u64, size: u64, perms: Perms) -> Result<(), Status> {
        if perms.is_empty() {
            return self.unmap_tables(base, size);
        }
        if perms.contains(Perms::EXECUTE) {
            self.system.machine.sync_instructions();
        }
        let mut supply = self.system.supply(self.id);
        let neighbour = if planted::is(101) { PAGE_SIZE } else { 0 };
        let range = IpaRange::new(Ipa(base), size + neighbour);
        let protected = self.system.tree(self.id).protect(&self.system.machine, &mut supply, range, perms);
        protected.map(drop).map_err(out_of_tables)
    }

    /// Enters the pages of a mapping that are there, from `base` to `end`, in the tables. Parts that allow nothing are passed
    /// over, and so is what lies past the VMO's end.
    pub(crate) fn map_present(&self, id: RegionId, base: u64, end: u64) -> Result<(), Status> {
        let stretches = self.space.stretches(id, base).take_while(|stretch| stretch.base < end);
        for stretch in stretches.filter(|stretch| !stretch.perms.is_empty()) {
            self.map_stretch(id, Stretch { base: stretch.base.max(base), end: stretch.end.min(end), ..stretch })?;
        }
        Ok(())
    }

    /// The same for a part that allows the same throughout: a [piece](piece_end) at a time, with the VMOs' lock taken anew.
    fn map_stretch(&self, id: RegionId, stretch: Stretch) -> Result<(), Status> {
        if stretch.perms.contains(Perms::EXECUTE) {
            self.system.machine.sync_instructions();
        }
        let (region_base, mapping) = (self.space.regions[id].base, self.space.mapping(id));
        // A mapping does not reach past the last offset that there can be, so that its pages' numbers do not wrap.
        let view = self.system.lock_vmos().view(mapping.vmo);
        let first_number = (view.offset >> PAGE_SHIFT) + (mapping.vmo_offset >> PAGE_SHIFT);
        let number_at = |address: u64| first_number + ((address - region_base) >> PAGE_SHIFT);
        let address_of = |number: u64| region_base + ((number - first_number) << PAGE_SHIFT);
        let (mut number, end) = (number_at(stretch.base), number_at(stretch.end));
        while number < end {
            let vmos = self.system.lock_vmos();
            let memory = &vmos[view.memory];
            let end = end.min(vmos.view(mapping.vmo).end_page());
            let Some((first, _)) = memory.next_page(number, end) else { return Ok(()) };
            let Some(run) = memory.run(first, end) else { return Ok(()) };
            let base = address_of(first);
            let to = piece_end(base, run, address_of(end));
            number = number_at(to);
            self.map_run(memory, first, IpaRange::new(Ipa(base), to - base), stretch.perms)?;
        }
        Ok(())
    }

    fn map_run(&self, memory: &Memory, first: u64, range: IpaRange, perms: Perms) -> Result<(), Status> {
        let mut supply = self.system.supply(self.id);
        let source = memory.shown_at(&self.system.frames, range, first, perms);
        let mapped = self.system.tree(self.id).map(&self.system.machine, &mut supply, range, source);
        mapped.map(drop).map_err(out_of_tables)
    }
}

/// Returns where the piece ends that is mapped at once from the address `base` on, where the pages of `run` are shown: at `end`, if
/// that is no further than one table of level 3 reaches, and else with what one such table is for; but where the run reaches further
/// and blocks can show it, with the run, or with what one table of level 2 is for. A piece costs at most about as many stores as one
/// table has entries, and no block is cut.
fn piece_end(base: u64, run: Pages, end: u64) -> u64 {
    const LARGEST: u64 = CHUNK_BYTES * CHUNK_FRAMES;
    if end - base <= CHUNK_BYTES {
        return end;
    }
    let next = (base + 1).next_multiple_of(CHUNK_BYTES);
    let run_end = base + run.len();
    let can_be_blocks = base % CHUNK_BYTES == run.frame.0 % CHUNK_BYTES;
    if !can_be_blocks || run_end < next {
        return next.min(end);
    }
    run_end.min((base + 1).next_multiple_of(LARGEST)).min(end)
}
