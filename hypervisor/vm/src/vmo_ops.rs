//! What `vmo_op_range`, and `vmar_op_range` through a mapping, do to a VMO.

use abi::{CachePolicy, PAGE_SIZE, Status, VmoOp};
use vmsa::{Dc, PAGE_SHIFT};

use crate::Machine;
use crate::memory::{Backing, MemoryId};
use crate::system::System;
use crate::vmo::{View, VmoId, Vmos};

impl<M: Machine> System<M> {
    /// Does `op` to `len` bytes of the VMO from `offset` on. The handle's rights are checked already, and locks are not dealt
    /// with here.
    pub(crate) fn vmo_operation(&self, id: VmoId, op: VmoOp, offset: u64, len: u64) -> Result<(), Status> {
        match op {
            VmoOp::Commit => self.commit_range(id, offset, len),
            VmoOp::Decommit => self.decommit_range(id, offset, len),
            VmoOp::Zero => self.zero_range(id, offset, len),
            // Memory without a pager has nothing to bring in.
            VmoOp::Prefetch => pages_inside(self.lock_vmos().view(id), offset, len).map(drop),
            // Hints are for pagers; of other VMOs not even the range is tested.
            VmoOp::DontNeed | VmoOp::AlwaysNeed => Ok(()),
            VmoOp::CacheSync | VmoOp::CacheClean => self.clean_range(id, offset, len, Dc::Clean),
            VmoOp::CacheCleanInvalidate => self.clean_range(id, offset, len, Dc::CleanInvalidate),
            VmoOp::CacheInvalidate | VmoOp::Lock | VmoOp::Unlock | VmoOp::TryLock => Err(Status::NOT_SUPPORTED),
        }
    }

    /// Gives every page that the range touches a frame of its own.
    fn commit_range(&self, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        let (view, first, end) = {
            let vmos = self.lock_vmos();
            let view = vmos.view(id);
            demand_frames(&vmos, view)?;
            let (first, end) = pages_inside(view, offset, len)?;
            (view, first, end)
        };
        self.by_chunks(first, end, |vmos, first, end| {
            // The memory may have shrunk since.
            let end = end.min(vmos[view.memory].page_count());
            self.commit(vmos, view.memory, first, end)
        })
    }

    /// Takes frames back. Tests, in Zircon's order: the kind, the range, nothing to do, copies, alignment, pins.
    fn decommit_range(&self, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        let (memory, first, end) = {
            let mut vmos = self.lock_vmos();
            let view = vmos.view(id);
            if vmos[view.memory].backing != Backing::Paged {
                return Err(Status::NOT_SUPPORTED);
            }
            let (first, end) = pages_inside(view, offset, len)?;
            if len == 0 {
                return Ok(());
            }
            check_decommit(&vmos, view.memory, offset, len, first, end)?;
            self.split_around(&mut vmos, view.memory, first, end)?;
            (view.memory, first, end)
        };
        self.by_present_chunks(memory, first, end, |vmos, first, end| {
            // A copy may have been made since, or pages pinned.
            check_decommit(vmos, memory, 0, 0, first, end)?;
            self.decommit(vmos, memory, first, end)
        })
    }

    /// Makes sure, before anything is done, that the pages from number `first` to `end` can be taken back without the others.
    /// Another vCPU may commit a chunk across an end of them anew while the lock is free: where that cannot be split either,
    /// what lies before it is taken back and the rest is not.
    fn split_around(&self, vmos: &mut Vmos, id: MemoryId, first: u64, end: u64) -> Result<(), Status> {
        self.split_before(vmos, id, first)?;
        self.split_before(vmos, id, end)
    }

    fn zero_range(&self, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        let (memory, from, to) = {
            let mut vmos = self.lock_vmos();
            let view = vmos.view(id);
            demand_frames(&vmos, view)?;
            pages_inside(view, offset, len)?;
            demand_cached(&vmos, view.memory)?;
            if len == 0 {
                return Ok(());
            }
            let (from, to) = (view.offset + offset, view.offset + offset + len);
            let (first_whole, end_whole) = (from.div_ceil(PAGE_SIZE), to >> PAGE_SHIFT);
            if first_whole < end_whole {
                self.split_around(&mut vmos, view.memory, first_whole, end_whole)?;
            }
            (view.memory, from, to)
        };
        self.by_present_chunks(memory, from >> PAGE_SHIFT, to.div_ceil(PAGE_SIZE), |vmos, first, end| {
            // The policy may be another one since.
            demand_cached(vmos, memory)?;
            let (from, to) = (from.max(first << PAGE_SHIFT), to.min(end << PAGE_SHIFT));
            self.zero_memory(vmos, memory, from, to - from)
        })
    }

    fn clean_range(&self, id: VmoId, offset: u64, len: u64, op: Dc) -> Result<(), Status> {
        if len == 0 {
            return Err(Status::INVALID_ARGS);
        }
        let (memory, first, end) = {
            let vmos = self.lock_vmos();
            let view = vmos.view(id);
            demand_frames(&vmos, view)?;
            let (first, end) = pages_inside(view, offset, len)?;
            (view.memory, first, end)
        };
        self.by_present_chunks(memory, first, end, |vmos, first, end| {
            self.clean_pages(vmos, memory, first, end, op);
            Ok(())
        })
    }

    fn clean_pages(&self, vmos: &Vmos, id: MemoryId, first: u64, end: u64, op: Dc) {
        let mut at = first;
        while let Some((number, _)) = vmos[id].next_page(at, end) {
            let Some(run) = vmos[id].run(number, end) else { break };
            self.machine.clean_caches(run.frame, run.len(), op);
            at = number + run.count;
        }
    }

    /// Changes how the VMO's memory is cached by who maps it.
    ///
    /// # Errors
    ///
    /// BAD_STATE: somebody relies on how it is now.
    pub(crate) fn set_cache_policy(&self, id: VmoId, policy: CachePolicy) -> Result<(), Status> {
        let mut vmos = self.lock_vmos();
        let view = vmos.view(id);
        let (vmo, memory) = (&vmos[id], &vmos[view.memory]);
        if matches!(memory.backing, Backing::Device(_)) && memory.cache == policy {
            return Ok(());
        }
        let has_family = vmo.family.child_count > 0 || vmo.family.parent.is_some();
        // Others that show the memory need not be of the family any more: their common parent may be gone.
        let is_shown = memory.users > 1 || memory.relatives.is_some();
        let is_lost = memory.committed_pages > 0 && memory.cache != CachePolicy::Cached;
        if vmo.mapping_count > 0 || memory.first_pin.is_some() || has_family || is_shown || is_lost {
            return Err(Status::BAD_STATE);
        }
        // What caches hold is brought to memory, where those look who do not look there.
        if !matches!(memory.backing, Backing::Device(_)) {
            self.clean_pages(&vmos, view.memory, 0, vmos[view.memory].page_count(), Dc::CleanInvalidate);
        }
        vmos[view.memory].cache = policy;
        Ok(())
    }
}

/// Checks that pages may be taken back. Alignment comes in between, as in Zircon.
fn check_decommit(vmos: &Vmos, id: MemoryId, offset: u64, len: u64, first: u64, end: u64) -> Result<(), Status> {
    if vmos[id].relatives.is_some() {
        return Err(Status::NOT_SUPPORTED);
    }
    if !offset.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
        return Err(Status::INVALID_ARGS);
    }
    if vmos.is_pinned(id, first, end) { Err(Status::BAD_STATE) } else { Ok(()) }
}

/// Checks that the VMO shows frames, not a device.
pub(crate) fn demand_frames(vmos: &Vmos, view: View) -> Result<(), Status> {
    match vmos[view.memory].backing {
        Backing::Device(_) => Err(Status::NOT_SUPPORTED),
        Backing::Paged | Backing::Contiguous(_) => Ok(()),
    }
}

/// Checks that EL2 and guests see the same in the memory.
pub(crate) fn demand_cached(vmos: &Vmos, id: MemoryId) -> Result<(), Status> {
    if vmos[id].cache == CachePolicy::Cached { Ok(()) } else { Err(Status::BAD_STATE) }
}

/// Returns the numbers of the memory's pages that the range touches: the first, and the one past the last.
///
/// # Errors
///
/// OUT_OF_RANGE: not all of the range is in the VMO.
fn pages_inside(view: View, offset: u64, len: u64) -> Result<(u64, u64), Status> {
    if !view.holds(offset, len) {
        return Err(Status::OUT_OF_RANGE);
    }
    if len == 0 {
        return Ok((0, 0));
    }
    Ok((view.page(offset), (view.offset + offset + len).div_ceil(PAGE_SIZE)))
}
