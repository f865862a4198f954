//! VMARs: allocate, map, unmap, protect, destroy. The checks and their order are Zircon's (`vmar.cc` of the system calls,
//! `vm_address_region_dispatcher.cc`, `vm_address_region.cc`); each function's table lists them.

use abi::{Alignment, PAGE_SIZE, Rights, Status, VmOptions};
use vmsa::{Ipa, IpaRange, Perms};

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::handles::Object;
use crate::region::{Kind, Region, RegionId, Vmar, bits_of_perms, can_map_of, perms_of, perms_of_bits};
use crate::space::whole_pages;
use crate::spots::Wanted;
use crate::told::Work;
use crate::tree::Tree;
use crate::vmar::{Locked, NewMapping};

const SPECIFIC: VmOptions = VmOptions::SPECIFIC.union(VmOptions::SPECIFIC_OVERWRITE);

impl<M: Machine> Caller<'_, M> {
    /// vmar_allocate(parent, options, offset, size): x1 handle, x2 address.
    pub(super) fn vmar_allocate(&self) -> Result<Reply, Status> {
        let (offset, size) = (self.arg(2), self.arg(3));
        let mut locked = self.lock();
        let (parent, rights) = self.vmar(&locked, 0)?;
        let options = VmOptions::from_bits_retain(self.word(1)?);
        let can_map = can_map_of(options);
        demand(rights, rights_for(can_map))?;
        check_options(options)?;
        if options.intersects(VmOptions::PERMS) || !size.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        const ALLOWED: VmOptions = VmOptions::SPECIFIC
            .union(VmOptions::CAN_MAP_SPECIFIC)
            .union(VmOptions::COMPACT)
            .union(VmOptions::CAN_MAP_ACCESS)
            .union(VmOptions::OFFSET_IS_UPPER_LIMIT)
            .union(VmOptions::ALIGNMENT);
        only(options, ALLOWED)?;
        let base = place(&mut locked, parent, options, offset, size, can_map)?;
        locked.reserve_handle()?;
        locked.reserve_vmar()?;
        let vmar = self.new_vmar(options);
        let id = locked.add_vmar(parent, base, size, vmar);
        let handle = self.give(&mut locked, Object::Vmar(id), Rights::DEFAULT_VMAR | rights_for(can_map));
        Ok(Reply::two(handle, base))
    }

    fn new_vmar(&self, options: VmOptions) -> Vmar {
        Vmar {
            koid: self.system.next_koid(),
            can_map: can_map_of(options),
            can_map_specific: options.contains(VmOptions::CAN_MAP_SPECIFIC),
            is_compact: options.contains(VmOptions::COMPACT),
            children: Tree::default(),
            handles: 1,
            is_alive: true,
        }
    }

    /// vmar_map(vmar, options, vmar offset, vmo, vmo offset, len): x1 address.
    pub(super) fn vmar_map(&self) -> Result<Reply, Status> {
        let (offset, vmo_offset, len) = (self.arg(2), self.arg(4), self.arg(5));
        let mut locked = self.lock();
        let (parent, vmar_rights) = self.vmar(&locked, 0)?;
        let (vmo, vmo_rights) = self.vmo(&locked, 3)?;
        demand(vmo_rights, Rights::MAP)?;
        let options = with_readable(VmOptions::from_bits_retain(self.word(1)?));
        let perms = perms_of(options);
        check_map_options(options, perms)?;
        let allowed = vmar_rights & vmo_rights;
        demand(allowed, rights_for(perms))?;
        check_options(options)?;
        self.check_vmo_kind(vmo, options)?;
        const ALLOWED: VmOptions = VmOptions::PERMS
            .union(SPECIFIC)
            .union(VmOptions::OFFSET_IS_UPPER_LIMIT)
            .union(VmOptions::MAP_RANGE)
            .union(VmOptions::REQUIRE_NON_RESIZABLE)
            .union(VmOptions::ALLOW_FAULTS)
            .union(VmOptions::ALIGNMENT);
        only(options, ALLOWED)?;
        demand_perms(locked.space.vmar(parent).can_map, perms)?;
        if !vmo_offset.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        let size = len.checked_next_multiple_of(PAGE_SIZE).ok_or(Status::OUT_OF_RANGE)?;
        vmo_offset.checked_add(size).ok_or(Status::OUT_OF_RANGE)?;
        let caps = perms_of_rights(allowed);
        let base = place(&mut locked, parent, options, offset, size, caps)?;
        let new =
            NewMapping { vmo, vmo_offset, caps, placing: options & (SPECIFIC | VmOptions::OFFSET_IS_UPPER_LIMIT) };
        self.system.operate(Work::Map, self.id, IpaRange::new(Ipa(base), size), None, || {
            self.map_at(&mut locked, parent, options, base, size, new)
        })?;
        Ok(Reply::one(base))
    }

    /// Checks what the options demand of the VMO.
    fn check_vmo_kind(&self, vmo: crate::vmo::VmoId, options: VmOptions) -> Result<(), Status> {
        let kind = self.system.lock_vmos()[vmo].options;
        let is_refused = options.contains(VmOptions::REQUIRE_NON_RESIZABLE)
            && kind.contains(abi::VmoOptions::RESIZABLE)
            || !options.contains(VmOptions::ALLOW_FAULTS) && kind.contains(abi::VmoOptions::DISCARDABLE);
        if is_refused { Err(Status::NOT_SUPPORTED) } else { Ok(()) }
    }

    /// Makes the mapping, in the place of what SPECIFIC_OVERWRITE removes.
    fn map_at(
        &self,
        locked: &mut Locked<'_, M>,
        parent: RegionId,
        options: VmOptions,
        base: u64,
        size: u64,
        new: NewMapping,
    ) -> Result<(), Status> {
        let overwrites = options.contains(VmOptions::SPECIFIC_OVERWRITE);
        // What is overwritten may be the middle of a mapping, which takes another.
        locked.reserve_mappings(if overwrites { 2 } else { 1 })?;
        // Where it fuses with its neighbours, what is allowed may change at both of its ends.
        if overwrites || locked.first_in(parent, base.saturating_sub(1), size + 2).is_some() {
            locked.reserve_protections(2)?;
        }
        if overwrites {
            let first = locked.first_in(parent, base, size);
            locked.unmap(parent, first, base, size)?;
        }
        let id = locked.add_mapping(parent, base, size, new, perms_of(options));
        if options.contains(VmOptions::MAP_RANGE)
            && let Err(status) = locked.map_present(id, base, base + size)
        {
            locked.take_back(parent, base, size);
            return Err(status);
        }
        locked.fuse(id);
        Ok(())
    }

    /// vmar_unmap(vmar, addr, len):
    ///
    /// | step | check | status |
    /// | --- | --- | --- |
    /// | 1, 2 | the handle | BAD_HANDLE, WRONG_TYPE |
    /// | 3 | `addr` aligned | INVALID_ARGS |
    /// | 4 | `len` a multiple of the page size (documented) or rounded up (kernel), and not 0 | INVALID_ARGS |
    /// | 5 | the VMAR lives | BAD_STATE |
    /// | 6 | the range lies in it | INVALID_ARGS |
    /// | 7 | there is something in the range (documented) | NOT_FOUND |
    /// | 9 | sub-regions are covered whole, and (kernel) the handle has OP_CHILDREN if there are any | INVALID_ARGS |
    pub(super) fn vmar_unmap(&self) -> Result<Reply, Status> {
        let (base, len) = (self.arg(1), self.arg(2));
        let dialect = self.dialect();
        let mut locked = self.lock();
        let (vmar, rights) = self.vmar(&locked, 0)?;
        let base = if planted::is(99) { base & !(PAGE_SIZE - 1) } else { base };
        if !base.is_multiple_of(PAGE_SIZE) || !dialect.unmap_rounds_length && !len.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        let size = whole_pages(len).ok_or(Status::INVALID_ARGS)?;
        let children = check_live_range(&locked, vmar, base, size)?;
        let Some(first) = children.first_overlapping(&locked.space.regions, base, size) else {
            let nothing = if planted::is(97) { Status::INVALID_ARGS } else { Status::NOT_FOUND };
            return if dialect.unmap_of_nothing_succeeds { Ok(Reply::DONE) } else { Err(nothing) };
        };
        let may_destroy = !dialect.unmap_needs_op_children || rights.contains(Rights::OP_CHILDREN);
        check_sub_regions(&locked, vmar, Some(first), base, size, may_destroy)?;
        locked.reserve_unmap(first, base, size)?;
        let range = IpaRange::new(Ipa(base), size);
        self.system.operate(Work::Unmap, self.id, range, None, || locked.unmap(vmar, Some(first), base, size))?;
        Ok(Reply::DONE)
    }

    /// vmar_protect(vmar, options, addr, len).
    pub(super) fn vmar_protect(&self) -> Result<Reply, Status> {
        let (base, len) = (self.arg(2), self.arg(3));
        let mut locked = self.lock();
        let (vmar, rights) = self.vmar(&locked, 0)?;
        let options = with_readable(VmOptions::from_bits_retain(self.word(1)?));
        let perms = perms_of(options);
        demand(rights, rights_for(perms))?;
        check_readable(perms)?;
        if !base.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        only(options, VmOptions::PERMS)?;
        let size = whole_pages(len).ok_or(Status::INVALID_ARGS)?;
        check_live_range(&locked, vmar, base, size)?;
        let (first, cuts) = check_protect(&locked, vmar, rights, base, base + size, perms)?;
        locked.reserve_protections(cuts)?;
        let range = IpaRange::new(Ipa(base), size);
        self.system
            .operate(Work::Protect, self.id, range, Some(perms), || locked.protect(vmar, first, base, size, perms))?;
        Ok(Reply::DONE)
    }

    /// vmar_destroy(vmar).
    pub(super) fn vmar_destroy(&self) -> Result<Reply, Status> {
        let mut locked = self.lock();
        let (vmar, rights) = self.vmar(&locked, 0)?;
        demand(rights, Rights::OP_CHILDREN)?;
        if vmar == locked.space.root {
            return Err(Status::NOT_SUPPORTED);
        }
        if !locked.space.vmar(vmar).is_alive {
            return Err(Status::BAD_STATE);
        }
        let region = &locked.space.regions[vmar];
        let range = IpaRange::new(Ipa(region.base), region.size);
        self.system.operate(Work::Unmap, self.id, range, None, || {
            locked.destroy(vmar);
            Ok(Reply::DONE)
        })
    }
}

/// READ, WRITE and EXECUTE are rights 2 to 4.
fn rights_for(perms: Perms) -> Rights {
    Rights::from_bits_retain(bits_of_perms(perms) << 2)
}

fn perms_of_rights(rights: Rights) -> Perms {
    perms_of_bits(rights.bits() >> 2)
}

fn demand_perms(allowed: Perms, wanted: Perms) -> Result<(), Status> {
    if allowed.contains(wanted) { Ok(()) } else { Err(Status::ACCESS_DENIED) }
}

/// Answers PERM_READ_IF_XOM_UNSUPPORTED: execute-only is not offered.
fn with_readable(options: VmOptions) -> VmOptions {
    match options.contains(VmOptions::PERM_READ_IF_XOM_UNSUPPORTED) {
        true => (options - VmOptions::PERM_READ_IF_XOM_UNSUPPORTED) | VmOptions::PERM_READ,
        false => options,
    }
}

/// Refuses WRITE or EXECUTE without READ.
fn check_readable(perms: Perms) -> Result<(), Status> {
    if perms.is_empty() || perms.contains(Perms::READ) { Ok(()) } else { Err(Status::INVALID_ARGS) }
}

/// Refuses unknown bits and impossible alignments; MAP_RANGE is checked by each call.
fn check_options(options: VmOptions) -> Result<(), Status> {
    let is_known = VmOptions::all().contains(options) && options.alignment().is_some();
    if is_known { Ok(()) } else { Err(Status::INVALID_ARGS) }
}

fn check_map_options(options: VmOptions, perms: Perms) -> Result<(), Status> {
    check_readable(perms)?;
    let overwrites_range = options.contains(VmOptions::MAP_RANGE.union(VmOptions::SPECIFIC_OVERWRITE));
    if overwrites_range || options.intersects(VmOptions::CAN_MAP_ACCESS) { Err(Status::INVALID_ARGS) } else { Ok(()) }
}

/// Refuses options that the call does not have.
fn only(options: VmOptions, allowed: VmOptions) -> Result<(), Status> {
    if allowed.contains(options) { Ok(()) } else { Err(Status::INVALID_ARGS) }
}

/// Checks that the VMAR lives and that the range lies in it; returns the regions in it.
fn check_live_range<M: Machine>(
    locked: &Locked<'_, M>,
    vmar: RegionId,
    base: u64,
    size: u64,
) -> Result<Tree<Region>, Status> {
    let region = &locked.space.regions[vmar];
    let vmar = region.vmar().filter(|vmar| vmar.is_alive).ok_or(Status::BAD_STATE)?;
    if region.holds(base, size) { Ok(vmar.children) } else { Err(Status::INVALID_ARGS) }
}

/// Finds where a region of `size` bytes goes in the VMAR. The checks are those that `vmar_allocate` and `vmar_map` share, from
/// the VMAR's liveness on.
fn place<M: Machine>(
    locked: &mut Locked<'_, M>,
    parent: RegionId,
    options: VmOptions,
    offset: u64,
    size: u64,
    access: Perms,
) -> Result<u64, Status> {
    let (base, span) = (locked.space.regions[parent].base, locked.space.regions[parent].size);
    let vmar = locked.space.vmar(parent);
    if !vmar.is_alive {
        return Err(Status::BAD_STATE);
    }
    if size == 0 {
        return Err(Status::INVALID_ARGS);
    }
    demand_perms(vmar.can_map, access)?;
    let is_specific = options.intersects(SPECIFIC);
    let is_limit = options.contains(VmOptions::OFFSET_IS_UPPER_LIMIT);
    let is_placed = is_specific || is_limit;
    if is_specific && is_limit || !is_placed && offset != 0 || !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Status::INVALID_ARGS);
    }
    if is_placed && !vmar.can_map_specific {
        return Err(Status::ACCESS_DENIED);
    }
    let fits = if is_limit { offset <= span && size <= offset } else { offset < span && size <= span - offset };
    if !fits {
        return Err(Status::INVALID_ARGS);
    }
    let align = options.alignment().unwrap_or(Alignment::PAGE).bytes();
    if is_specific {
        return place_at(locked, parent, options, base + offset, size, align);
    }
    let high = base + if is_limit { offset } else { span };
    locked.space.find_space(parent, Wanted { size, align, low: base, high }).ok_or(Status::NO_RESOURCES)
}

/// Checks the place that SPECIFIC or SPECIFIC_OVERWRITE names.
fn place_at<M: Machine>(
    locked: &Locked<'_, M>,
    parent: RegionId,
    options: VmOptions,
    base: u64,
    size: u64,
    align: u64,
) -> Result<u64, Status> {
    if !base.is_multiple_of(align) {
        return Err(Status::INVALID_ARGS);
    }
    if options.contains(VmOptions::SPECIFIC_OVERWRITE) {
        let first = locked.first_in(parent, base, size);
        return check_sub_regions(locked, parent, first, base, size, false).map(|()| base);
    }
    match locked.first_in(parent, base, size) {
        Some(_) => Err(Status::ALREADY_EXISTS),
        None => Ok(base),
    }
}

/// Checks the sub-regions that have a part in the range, of which `first` is the first region: each is covered whole, and there
/// is none unless they may be destroyed.
#[inline]
fn check_sub_regions<M: Machine>(
    locked: &Locked<'_, M>,
    vmar: RegionId,
    first: Option<RegionId>,
    base: u64,
    size: u64,
    may_destroy: bool,
) -> Result<(), Status> {
    let end = base + size;
    let mut next = first;
    while let Some(child) = next.map(|id| &locked.space.regions[id]) {
        let is_covered = base <= child.base && child.end() <= end;
        if matches!(child.kind, Kind::Vmar(_)) && !(may_destroy && is_covered) {
            return Err(Status::INVALID_ARGS);
        }
        next = if child.end() < end { locked.first_in(vmar, child.end(), end - child.end()) } else { None };
    }
    Ok(())
}

/// Checks, mapping by mapping and the lowest first, that the range, which is not empty, can get the permissions. Returns the lowest
/// mapping, and how often the range begins or ends within one, each of which may take a protection.
fn check_protect<M: Machine>(
    locked: &Locked<'_, M>,
    vmar: RegionId,
    rights: Rights,
    base: u64,
    end: u64,
    perms: Perms,
) -> Result<(RegionId, u32), Status> {
    let space = &locked.space;
    let mapping_at =
        |at| space.next_mapping(vmar, at).filter(|id| space.regions[*id].base <= at).ok_or(Status::NOT_FOUND);
    let first = mapping_at(base)?;
    let (mut id, mut at, mut cuts) = (first, base, 0);
    loop {
        let (region, mapping) = (&space.regions[id], space.mapping(id));
        demand_perms(mapping.caps, perms)?;
        let last = region.end().min(end);
        if region.parent != Some(vmar) {
            check_nested_protect(locked, id, rights, at, last, perms)?;
        }
        cuts += u32::from(region.base < at) + u32::from(last < region.end());
        if last == end {
            return Ok((first, cuts));
        }
        (id, at) = (mapping_at(last)?, last);
    }
}

/// Through a parent, permissions may only be taken away, and only by who may operate on children.
fn check_nested_protect<M: Machine>(
    locked: &Locked<'_, M>,
    id: RegionId,
    rights: Rights,
    base: u64,
    end: u64,
    perms: Perms,
) -> Result<(), Status> {
    if !rights.contains(Rights::OP_CHILDREN) {
        return Err(Status::INVALID_ARGS);
    }
    let mut at = base;
    while at < end {
        let stretch = locked.space.stretch_at(id, at);
        demand_perms(stretch.perms, perms)?;
        at = stretch.end;
    }
    Ok(())
}
