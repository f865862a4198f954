//! VMOs: made, read, written, resized (semantics 4).

use abi::{CachePolicy, NAME_LEN, Rights, Status, VmoOptions};

use crate::arguments::Arguments;
use crate::handles::Object;
use crate::memory::{Kind, MAX_SIZE, Memory};
use crate::vmar::Vmar;
use crate::{Koid, Model, P, Reply, Result, ensure};

/// What a VMO is of the one that it was made from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// It was made from none.
    Own,
    Snapshot,
    /// A window of so many bytes, from an offset of the memory on.
    Slice {
        offset: u64,
        size: u64,
    },
    Reference,
}

/// A VMO: a window on a memory.
#[derive(Debug)]
pub(crate) struct Vmo {
    pub(crate) memory: u64,
    pub(crate) origin: Origin,
    pub(crate) options: VmoOptions,
    /// The VMO whose child it is now.
    pub(crate) parent: Option<Koid>,
    /// The VMO that it was made from, for ever.
    pub(crate) parent_koid: Koid,
    pub(crate) name: [u8; NAME_LEN],
    /// LOCK minus UNLOCK.
    pub(crate) locks: u64,
}

impl Vmo {
    pub(crate) const fn new(memory: u64, options: VmoOptions) -> Self {
        let (origin, name) = (Origin::Own, [0; NAME_LEN]);
        Self { memory, origin, options, parent: None, parent_koid: 0, name, locks: 0 }
    }

    pub(crate) const fn is_resizable(&self) -> bool {
        self.options.contains(VmoOptions::RESIZABLE)
    }

    /// Tells whether the memory counts as this VMO's: that of slices and references is counted where it was made.
    pub(crate) const fn counts(&self) -> bool {
        matches!(self.origin, Origin::Own | Origin::Snapshot)
    }

    /// Returns the offset in the memory of the VMO's offset 0.
    pub(crate) const fn window(&self) -> u64 {
        match self.origin {
            Origin::Slice { offset, .. } => offset,
            _ => 0,
        }
    }
}

impl Model {
    pub(crate) fn add_vmo(&mut self, vmo: Vmo) -> Koid {
        let koid = self.new_koid();
        self.vmos.insert(koid, vmo);
        koid
    }

    pub(crate) fn vmo(&self, koid: Koid) -> &Vmo {
        &self.vmos[&koid]
    }

    pub(crate) fn vmo_mut(&mut self, koid: Koid) -> &mut Vmo {
        self.vmos.get_mut(&koid).expect("the VMO lives")
    }

    pub(crate) fn memory_of(&self, koid: Koid) -> &Memory {
        &self.memories[&self.vmo(koid).memory]
    }

    pub(crate) fn memory_mut(&mut self, koid: Koid) -> &mut Memory {
        let id = self.vmo(koid).memory;
        self.memories.get_mut(&id).expect("the memory lives")
    }

    /// Returns the VMO's bytes.
    pub(crate) fn size_of(&self, koid: Koid) -> u64 {
        match self.vmo(koid).origin {
            Origin::Slice { size, .. } => size,
            _ => self.memory_of(koid).size,
        }
    }

    /// OUT_OF_RANGE unless the range lies in the VMO.
    pub(crate) fn ensure_inside(&self, koid: Koid, offset: u64, len: u64) -> Result<()> {
        let end = offset.checked_add(len).ok_or(Status::OUT_OF_RANGE)?;
        ensure(end <= self.size_of(koid), Status::OUT_OF_RANGE)
    }

    /// vmo_create(size, options).
    pub(crate) fn vmo_create(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let options = VmoOptions::from_bits_retain(args.word(1)?);
        ensure(!options.contains(VmoOptions::RESIZABLE | VmoOptions::UNBOUNDED), Status::INVALID_ARGS)?;
        let size = if options.contains(VmoOptions::UNBOUNDED) { MAX_SIZE } else { rounded_size(args.get(0))? };
        let known = VmoOptions::RESIZABLE | VmoOptions::DISCARDABLE | VmoOptions::UNBOUNDED;
        ensure(known.contains(options), Status::INVALID_ARGS)?;
        Ok(self.give_vmo(Memory::paged(size), options))
    }

    /// vmo_create_contiguous(size, alignment log2).
    pub(crate) fn vmo_create_contiguous(&mut self, args: Arguments<'_>) -> Result<Reply> {
        ensure(args.get(0) > 0, Status::INVALID_ARGS)?;
        let align_log2 = args.word(1)?;
        ensure(align_log2 == 0 || (abi::PAGE_SHIFT..64).contains(&align_log2), Status::INVALID_ARGS)?;
        let size = rounded_size(args.get(0))?;
        Ok(self.give_vmo(Memory::contiguous(size), VmoOptions::empty()))
    }

    /// vmo_create_physical(resource, address, size).
    pub(crate) fn vmo_create_physical(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (address, size) = (args.get(1), args.get(2));
        let handle = self.handle(args, 0)?;
        ensure(matches!(handle.object, Object::Resource(_)), Status::WRONG_TYPE)?;
        ensure(size > 0 && size.is_multiple_of(P) && address.is_multiple_of(P), Status::INVALID_ARGS)?;
        let (base, span) = self.config().mmio.expect("a resource was granted");
        ensure(crate::shape::lies_in(address, size, base, span), Status::OUT_OF_RANGE)?;
        Ok(self.give_vmo(Memory::physical(size), VmoOptions::empty()))
    }

    /// Makes the first handle to a new VMO.
    fn give_vmo(&mut self, memory: Memory, options: VmoOptions) -> Reply {
        let memory = self.add_memory(memory);
        let vmo = self.add_vmo(Vmo::new(memory, options));
        let mut rights = Rights::DEFAULT_VMO;
        rights.set(Rights::RESIZE, options.contains(VmoOptions::RESIZABLE));
        Reply::with(&[self.give(Object::Vmo(vmo), rights)])
    }

    /// vmo_read(vmo, buffer, offset, len).
    pub(crate) fn vmo_read(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, len) = (args.get(2), args.get(3));
        let (vmo, handle) = self.vmo_handle(args, 0)?;
        handle.demand(Rights::READ)?;
        self.ensure_contents(vmo, offset, len)?;
        self.ensure_buffer(args.get(1), len, crate::Access::Write)?;
        let bytes = self.memory_of(vmo).read(self.vmo(vmo).window() + offset, len);
        self.write_buffer(args.get(1), len, &bytes)?;
        Ok(Reply::DONE)
    }

    /// vmo_write(vmo, buffer, offset, len).
    pub(crate) fn vmo_write(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, len) = (args.get(2), args.get(3));
        let (vmo, handle) = self.vmo_handle(args, 0)?;
        handle.demand(Rights::WRITE)?;
        self.ensure_contents(vmo, offset, len)?;
        let bytes = self.read_buffer(args.get(1), len)?;
        let start = self.vmo(vmo).window() + offset;
        self.memory_mut(vmo).write(start, &bytes);
        Ok(Reply::DONE)
    }

    /// NOT_SUPPORTED of a physical VMO; the range does not wrap; BAD_STATE of one that is not cached; the range lies in it.
    fn ensure_contents(&self, vmo: Koid, offset: u64, len: u64) -> Result<()> {
        ensure(self.memory_of(vmo).kind != Kind::Physical, Status::NOT_SUPPORTED)?;
        offset.checked_add(len).ok_or(Status::OUT_OF_RANGE)?;
        ensure(self.memory_of(vmo).is_cached(), Status::BAD_STATE)?;
        self.ensure_inside(vmo, offset, len)
    }

    /// vmo_get_size(vmo): no right.
    pub(crate) fn vmo_get_size(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (vmo, _) = self.vmo_handle(args, 0)?;
        Ok(Reply::with(&[self.size_of(vmo)]))
    }

    /// vmo_set_size(vmo, size).
    pub(crate) fn vmo_set_size(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (vmo, handle) = self.vmo_handle(args, 0)?;
        handle.demand(Rights::WRITE)?;
        let is_resizable = self.vmo(vmo).is_resizable();
        ensure(!is_resizable || handle.rights.contains(Rights::RESIZE), Status::ACCESS_DENIED)?;
        let size = args.get(1).checked_next_multiple_of(P).ok_or(Status::OUT_OF_RANGE)?;
        ensure(is_resizable, Status::UNAVAILABLE)?;
        ensure(size <= MAX_SIZE, Status::OUT_OF_RANGE)?;
        let memory = self.memory_of(vmo);
        self.ensure_unpinned(self.vmo(vmo).memory, size / P, memory.size / P)?;
        ensure(memory.accumulated.checked_add(size).is_some(), Status::INVALID_ARGS)?;
        let memory = self.memory_mut(vmo);
        memory.drop_pages(size / P, u64::MAX);
        memory.size = size;
        Ok(Reply::DONE)
    }

    /// vmo_set_cache_policy(vmo, policy).
    pub(crate) fn vmo_set_cache_policy(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let policy = CachePolicy::try_from(args.word(1)?).map_err(|_| Status::INVALID_ARGS)?;
        let (vmo, handle) = self.vmo_handle(args, 0)?;
        handle.demand(Rights::MAP)?;
        let memory = self.memory_of(vmo);
        if memory.kind == Kind::Physical && memory.policy == policy {
            return Ok(Reply::DONE);
        }
        let id = self.vmo(vmo).memory;
        let has_parent = self.vmo(vmo).parent.is_some();
        let others = self.vmos.iter().filter(|(koid, other)| **koid != vmo && other.memory == id).count();
        let is_related = has_parent || others > 0 || self.child_count(vmo) > 0 || self.has_relative(id);
        let is_used = self.mappings_of(vmo) > 0 || is_related;
        let is_pinned = self.ensure_unpinned(id, 0, u64::MAX).is_err();
        let is_fixed = !memory.is_cached() && !memory.pages.is_empty();
        ensure(!is_used && !is_pinned && !is_fixed, Status::BAD_STATE)?;
        self.memory_mut(vmo).policy = policy;
        Ok(Reply::DONE)
    }

    /// Ends the pins that no handle leads to, the VMOs that no handle, mapping or pin leads to, then the dead VMARs that no handle
    /// leads to, and the memories that
    /// no VMO shows.
    pub(crate) fn bury(&mut self) {
        let held: Vec<Object> = self.handles.values().map(|handle| handle.object).collect();
        self.pins.retain(|koid, _| held.contains(&Object::Pmt(*koid)));
        while let Some(gone) = self.vmos.keys().copied().find(|koid| !self.is_held(*koid)) {
            let parent = self.vmos.remove(&gone).and_then(|vmo| vmo.parent);
            for child in self.vmos.values_mut().filter(|vmo| vmo.parent == Some(gone)) {
                child.parent = parent;
            }
        }
        let is_known = |koid: &Koid, vmar: &Vmar| vmar.is_alive || self.handle_count(Object::Vmar(*koid)) > 0;
        let gone: Vec<Koid> =
            self.vmars.iter().filter(|(koid, vmar)| !is_known(koid, vmar)).map(|(koid, _)| *koid).collect();
        gone.iter().for_each(|koid| drop(self.vmars.remove(koid)));
        let shown: Vec<u64> = self.vmos.values().map(|vmo| vmo.memory).collect();
        self.memories.retain(|id, _| shown.contains(id) || self.pins.values().any(|pin| pin.memory == *id));
    }

    fn is_held(&self, koid: Koid) -> bool {
        koid == self.ram
            || self.handle_count(Object::Vmo(koid)) > 0
            || self.mappings_of(koid) > 0
            || self.pins.values().any(|pin| pin.vmo == koid)
    }

    pub(crate) fn child_count(&self, koid: Koid) -> u64 {
        self.vmos.values().filter(|vmo| vmo.parent == Some(koid)).count() as u64
    }
}

fn rounded_size(size: u64) -> Result<u64> {
    let rounded = size.checked_next_multiple_of(P).ok_or(Status::OUT_OF_RANGE)?;
    ensure(rounded <= MAX_SIZE, Status::OUT_OF_RANGE)?;
    Ok(rounded)
}
