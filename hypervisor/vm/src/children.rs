//! VMOs that are made from others: copies, which share pages until one of them writes; windows; second names.

use abi::{CachePolicy, ChildOptions, Status, VmoOptions};
use vmsa::{PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::error::out_of_tables;
use crate::frames::CHUNK_FRAMES;
use crate::memory::{Backing, Memory, MemoryId, Pages, Relatives};
use crate::system::System;
use crate::told::Work;
use crate::vmo::{Kind, MAX_SIZE, View, Vmo, VmoId, Vmos};

/// What a child is asked for.
#[derive(Clone, Copy)]
pub(crate) struct NewChild {
    pub(crate) parent: VmoId,
    pub(crate) options: ChildOptions,
    /// The parent's offset where it begins, in bytes.
    pub(crate) offset: u64,
    /// Bytes, a multiple of the page size.
    pub(crate) size: u64,
}

impl Vmos {
    /// Notes that two memories may share pages, the second a new one.
    fn relate(&mut self, original: MemoryId, copy: MemoryId) {
        let alone = Relatives { next: original, previous: original };
        let Relatives { next, previous } = self[original].relatives.unwrap_or(alone);
        self[copy].relatives = Some(Relatives { next, previous: original });
        self[original].relatives =
            Some(Relatives { next: copy, previous: if next == original { copy } else { previous } });
        if next != original
            && let Some(relatives) = &mut self[next].relatives
        {
            relatives.previous = copy;
        }
    }

    /// Takes a memory out of the ring of its relatives; tells whether it had any.
    pub(crate) fn leave_relatives(&mut self, id: MemoryId) -> bool {
        let Some(Relatives { next, previous }) = self[id].relatives.take() else { return false };
        if next == previous {
            self[next].relatives = None;
        } else {
            if let Some(relatives) = &mut self[previous].relatives {
                relatives.next = next;
            }
            if let Some(relatives) = &mut self[next].relatives {
                relatives.previous = previous;
            }
        }
        true
    }
}

impl<M: Machine> System<M> {
    /// Makes a child of a VMO. The caller holds the child's first reference.
    ///
    /// # Errors
    ///
    /// As Zircon's `vmo_create_child`: what the options demand of the parent and of the range; NO_MEMORY, with everything as it was.
    pub(crate) fn create_child(&self, vmos: &mut Vmos, new: NewChild) -> Result<VmoId, Status> {
        let NewChild { parent, options, .. } = new;
        if vmos[parent].options.contains(VmoOptions::DISCARDABLE) {
            return Err(Status::NOT_SUPPORTED);
        }
        let child = if options.contains(ChildOptions::SLICE) {
            self.create_slice(vmos, new)
        } else if options.contains(ChildOptions::REFERENCE) {
            self.create_reference(vmos, new)
        } else {
            self.create_snapshot(vmos, new)
        }?;
        vmos.adopt(parent, child);
        vmos[child].name = vmos[parent].name;
        Ok(child)
    }

    fn create_slice(&self, vmos: &mut Vmos, new: NewChild) -> Result<VmoId, Status> {
        let NewChild { parent, options, offset, size } = new;
        if !(ChildOptions::SLICE | ChildOptions::NO_WRITE).contains(options) || !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        if size > MAX_SIZE {
            return Err(Status::OUT_OF_RANGE);
        }
        let view = vmos.view(parent);
        let memory = &vmos[view.memory];
        if !view.holds(offset, size) {
            return Err(Status::INVALID_ARGS);
        }
        if vmos[parent].options.contains(VmoOptions::RESIZABLE) {
            return Err(Status::NOT_SUPPORTED);
        }
        if memory.cache != CachePolicy::Cached && memory.backing == Backing::Paged {
            return Err(Status::BAD_STATE);
        }
        vmos.reserve(self.supply(memory.payer))?;
        let kind = Kind::Slice { offset: view.offset + offset, size };
        Ok(vmos.insert_reserved(self.next_koid(), VmoOptions::empty(), kind, view.memory))
    }

    fn create_reference(&self, vmos: &mut Vmos, new: NewChild) -> Result<VmoId, Status> {
        let NewChild { parent, options, offset, size } = new;
        const ALLOWED: ChildOptions =
            ChildOptions::REFERENCE.union(ChildOptions::NO_WRITE).union(ChildOptions::RESIZABLE);
        if !ALLOWED.contains(options) || offset != 0 || size != 0 {
            return Err(Status::INVALID_ARGS);
        }
        let view = vmos.view(parent);
        let is_part = matches!(vmos[parent].kind, Kind::Slice { .. });
        let is_resizable = options.contains(ChildOptions::RESIZABLE);
        let is_refused = is_resizable && !vmos[parent].options.contains(VmoOptions::RESIZABLE);
        if is_part || vmos[view.memory].backing != Backing::Paged || is_refused {
            return Err(Status::NOT_SUPPORTED);
        }
        if vmos[view.memory].cache != CachePolicy::Cached {
            return Err(Status::BAD_STATE);
        }
        vmos.reserve(self.supply(vmos[view.memory].payer))?;
        // Only the right to resize is the handle's: what can be resized is the memory.
        let options = vmos[parent].options;
        Ok(vmos.insert_reserved(self.next_koid(), options, Kind::Reference, view.memory))
    }

    /// Makes a copy of what the VMO shows from `offset` on. Without a pager all kinds of copies are full ones.
    fn create_snapshot(&self, vmos: &mut Vmos, new: NewChild) -> Result<VmoId, Status> {
        let NewChild { parent, options, offset, size } = new;
        let origin = check_snapshot(vmos, new)?;
        let view = vmos.view(parent);
        let supply = self.supply(vmos[view.memory].payer);
        vmos.reserve(supply)?;
        let copy = self.copy_pages(vmos, view, offset, size)?;
        let copy = vmos.memories.insert_reserved(Memory { origin, ..copy });
        vmos.relate(view.memory, copy);
        Ok(vmos.insert_reserved(self.next_koid(), resizable(options), Kind::Snapshot, copy))
    }

    /// Returns a memory that shares all pages with a part of another one. From now on stores to them fault.
    fn copy_pages(&self, vmos: &mut Vmos, view: View, offset: u64, size: u64) -> Result<Memory, Status> {
        let mut copy = Memory::new(Backing::Paged, size, vmos[view.memory].payer);
        if offset >= view.size || size == 0 {
            return Ok(copy);
        }
        let first = view.page(offset);
        let end = view.end_page().min(first + (size >> PAGE_SHIFT));
        self.forbid_stores(vmos, view.memory, first, end)?;
        let shared = self.share_pages(&vmos[view.memory], &mut copy, first, end);
        if let Err(status) = shared {
            self.give_pages(&mut copy, 0, u64::MAX, stage2::Flushed::never_mapped());
            return Err(status);
        }
        Ok(copy)
    }

    /// Makes sure that no store reaches the memory's pages from `first` to `end` wherever they are mapped.
    fn forbid_stores(&self, vmos: &Vmos, id: MemoryId, first: u64, end: u64) -> Result<(), Status> {
        for vm in vmos.mappers(id) {
            let windows = vmos.windows(id, vm, first, end);
            self.operate_on_each(Work::Protect, vm, windows, |windows| {
                let shared = self.tree(vm).share(&self.machine, &mut self.supply(vm), windows);
                shared.map(drop).map_err(out_of_tables)
            })?;
        }
        Ok(())
    }

    /// Notes the pages from `first` to `end` of one memory in another one, from its page 0 on.
    fn share_pages(&self, from: &Memory, copy: &mut Memory, first: u64, end: u64) -> Result<(), Status> {
        let mut at = first;
        while let Some((number, _)) = from.next_page(at, end) {
            let Some(run) = from.run(number, end) else { break };
            let part = Pages { count: run.count.min(CHUNK_FRAMES - number % CHUNK_FRAMES), ..run };
            at = number + part.count;
            self.share_run(copy, Pages { number: number - first, ..part }, from.block(number).is_some())?;
        }
        Ok(())
    }

    /// Notes a run of pages: as a chunk where it is one, and may be one here too.
    fn share_run(&self, copy: &mut Memory, run: Pages, is_chunk: bool) -> Result<(), Status> {
        let supply = self.supply(copy.payer);
        if is_chunk && run.count == CHUNK_FRAMES && run.number.is_multiple_of(CHUNK_FRAMES) {
            let insert = |copy: &mut Memory| Ok(copy.pages.insert_chunk(supply, run.number, run.frame)?);
            return self.share_frames(copy, run, insert);
        }
        (0..run.count).filter_map(|page| run.from(run.number + page)).try_for_each(|rest| {
            let insert = |copy: &mut Memory| Ok(copy.pages.insert(supply, rest.number, rest.frame)?);
            self.share_frames(copy, Pages { count: 1, ..rest }, insert)
        })
    }

    /// Counts another memory at each frame of a run, and has the run inserted there: all of it, or nothing.
    fn share_frames(
        &self,
        copy: &mut Memory,
        run: Pages,
        insert: impl FnOnce(&mut Memory) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let frame = |page: u64| run.frame.add(page << PAGE_SHIFT);
        let refused = (0..run.count).find(|page| self.frames.share(frame(*page)).is_none());
        let result = if refused.is_some() { Err(Status::NO_MEMORY) } else { insert(copy) };
        match result {
            Ok(()) => copy.committed_pages += run.count,
            Err(_) => (0..refused.unwrap_or(run.count)).for_each(|page| _ = self.frames.unshare(frame(page))),
        }
        result
    }
}

fn resizable(options: ChildOptions) -> VmoOptions {
    if options.contains(ChildOptions::RESIZABLE) { VmoOptions::RESIZABLE } else { VmoOptions::empty() }
}

/// Checks what a copy demands of its parent and of the range, and returns where in the first original it begins.
fn check_snapshot(vmos: &Vmos, new: NewChild) -> Result<u64, Status> {
    let NewChild { parent, options, offset, size } = new;
    const KINDS: ChildOptions =
        ChildOptions::SNAPSHOT.union(ChildOptions::SNAPSHOT_AT_LEAST_ON_WRITE).union(ChildOptions::SNAPSHOT_MODIFIED);
    let Vmo { memory, kind, .. } = vmos[parent];
    let memory = &vmos[memory];
    const ALLOWED: ChildOptions = KINDS.union(ChildOptions::NO_WRITE).union(ChildOptions::RESIZABLE);
    let is_one_kind = options.intersection(KINDS).bits().is_power_of_two() && ALLOWED.contains(options);
    if !is_one_kind || matches!(memory.backing, Backing::Contiguous(_)) {
        return Err(Status::INVALID_ARGS);
    }
    if memory.backing != Backing::Paged {
        return Err(Status::NOT_SUPPORTED);
    }
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Status::INVALID_ARGS);
    }
    if size > MAX_SIZE || offset.checked_add(size).is_none() {
        return Err(Status::OUT_OF_RANGE);
    }
    if memory.cache != CachePolicy::Cached {
        return Err(Status::BAD_STATE);
    }
    let origin = memory.origin.checked_add(offset).filter(|origin| origin.checked_add(size).is_some());
    let origin = origin.ok_or(Status::INVALID_ARGS)?;
    match kind {
        Kind::Slice { .. } => Err(Status::NOT_SUPPORTED),
        _ if memory.first_pin.is_some() => Err(Status::BAD_STATE),
        _ => Ok(origin),
    }
}
