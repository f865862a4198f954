//! What `vmo_op_range`, and `vmar_op_range` through a mapping, do to a VMO.

use abi::{PAGE_SIZE, Status, VmoOp};
use vmsa::{Dc, PAGE_SHIFT};

use crate::Machine;
use crate::system::System;
use crate::vmo::{Backing, VmoId};

impl<M: Machine> System<M> {
    /// Does `op` to `len` bytes of the VMO from `offset` on. The handle's rights are checked already, and locks are not dealt
    /// with here.
    pub(crate) fn vmo_operation(&self, id: VmoId, op: VmoOp, offset: u64, len: u64) -> Result<(), Status> {
        match op {
            VmoOp::Commit => self.commit_range(id, offset, len),
            VmoOp::Decommit => self.decommit_range(id, offset, len),
            VmoOp::Zero => self.zero_range(id, offset, len),
            // Anonymous memory has nothing to bring in.
            VmoOp::Prefetch => self.pages_inside(id, offset, len).map(drop),
            // Hints are for pagers; of other VMOs not even the range is tested.
            VmoOp::DontNeed | VmoOp::AlwaysNeed => Ok(()),
            VmoOp::CacheSync | VmoOp::CacheClean => self.clean_range(id, offset, len, Dc::Clean),
            VmoOp::CacheCleanInvalidate => self.clean_range(id, offset, len, Dc::CleanInvalidate),
            VmoOp::CacheInvalidate | VmoOp::Lock | VmoOp::Unlock | VmoOp::TryLock => Err(Status::NOT_SUPPORTED),
        }
    }

    /// Gives every page that the range touches a frame.
    fn commit_range(&self, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        let (first, end) = self.pages_inside(id, offset, len)?;
        self.by_chunks(first, end, |vmos, first, end| {
            // The VMO may have shrunk since.
            let end = end.min(vmos[id].page_count());
            self.commit(vmos, id, first, end)
        })
    }

    /// Takes frames back. Tests, in Zircon's order: the kind, the range, nothing to do, alignment.
    fn decommit_range(&self, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        if self.lock_vmos()[id].backing != Backing::Paged {
            return Err(Status::NOT_SUPPORTED);
        }
        let (first, end) = self.pages_inside(id, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        if !offset.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        self.split_around(id, first, end)?;
        self.by_present_chunks(id, first, end, |vmos, first, end| self.decommit(vmos, id, first, end))
    }

    /// Makes sure, before anything is done, that the pages from number `first` to `end` can be taken back without the others.
    /// Another vCPU may commit a chunk across an end of them anew while the lock is free: where that cannot be split either,
    /// what lies before it is taken back and the rest is not.
    fn split_around(&self, id: VmoId, first: u64, end: u64) -> Result<(), Status> {
        let mut vmos = self.lock_vmos();
        self.split_before(&mut vmos, id, first)?;
        self.split_before(&mut vmos, id, end)
    }

    fn zero_range(&self, id: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        let (first, end) = self.pages_inside(id, offset, len)?;
        let (from, to) = (offset, offset + len);
        let (first_whole, end_whole) = (from.div_ceil(PAGE_SIZE), to >> PAGE_SHIFT);
        if first_whole < end_whole {
            self.split_around(id, first_whole, end_whole)?;
        }
        self.by_present_chunks(id, first, end, |vmos, first, end| {
            let (from, to) = (from.max(first << PAGE_SHIFT), to.min(end << PAGE_SHIFT));
            self.zero_vmo(vmos, id, from, to - from)
        })
    }

    fn clean_range(&self, id: VmoId, offset: u64, len: u64, op: Dc) -> Result<(), Status> {
        if len == 0 {
            return Err(Status::INVALID_ARGS);
        }
        let (first, end) = self.pages_inside(id, offset, len)?;
        self.by_present_chunks(id, first, end, |vmos, first, end| {
            let mut at = first;
            while let Some((number, _)) = vmos[id].next_page(at).filter(|(number, _)| *number < end) {
                let Some(run) = vmos[id].run(number, end) else { break };
                self.machine.clean_caches(run.frame, run.len(), op);
                at = number + run.count;
            }
            Ok(())
        })
    }

    /// Returns the numbers of the pages that the range touches: the first, and the one past the last.
    ///
    /// # Errors
    ///
    /// OUT_OF_RANGE: not all of the range is in the VMO.
    fn pages_inside(&self, id: VmoId, offset: u64, len: u64) -> Result<(u64, u64), Status> {
        if !self.lock_vmos()[id].holds(offset, len) {
            return Err(Status::OUT_OF_RANGE);
        }
        if len == 0 {
            return Ok((0, 0));
        }
        Ok((offset >> PAGE_SHIFT, (offset + len).div_ceil(PAGE_SIZE)))
    }
}
