//! Operations on ranges of a VMO (semantics 3.7, 4).

use abi::{Rights, Status, VmoOp};

use crate::arguments::Arguments;
use crate::memory::Kind;
use crate::{Koid, Model, P, Reply, Result, ensure};

impl Model {
    /// vmo_op_range(vmo, operation, offset, size, buffer, buffer size).
    pub(crate) fn vmo_op_range(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, len) = (args.get(2), args.get(3));
        let (vmo, handle) = self.vmo_handle(args, 0)?;
        let op = VmoOp::try_from(args.word(1)?).map_err(|_| Status::INVALID_ARGS)?;
        ensure(op != VmoOp::CacheInvalidate, Status::NOT_SUPPORTED)?;
        match op {
            VmoOp::Commit | VmoOp::Decommit | VmoOp::Zero => handle.demand(Rights::WRITE)?,
            VmoOp::CacheSync | VmoOp::CacheClean | VmoOp::CacheCleanInvalidate | VmoOp::Prefetch => {
                handle.demand(Rights::READ)?;
            }
            VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock => {
                ensure(handle.rights.intersects(Rights::READ | Rights::WRITE), Status::ACCESS_DENIED)?;
            }
            VmoOp::CacheInvalidate | VmoOp::DontNeed | VmoOp::AlwaysNeed => {}
        }
        match op {
            VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock => self.vmo_lock(vmo, op, args)?,
            op => self.operate(vmo, op, offset, len)?,
        }
        Ok(Reply::DONE)
    }

    /// Does what `op` does at the VMO, whoever asks.
    pub(crate) fn operate(&mut self, vmo: Koid, op: VmoOp, offset: u64, len: u64) -> Result<()> {
        match op {
            VmoOp::Commit => self.commit(vmo, offset, len),
            VmoOp::Decommit => self.decommit(vmo, offset, len),
            VmoOp::Zero => self.zero(vmo, offset, len),
            VmoOp::Prefetch => self.ensure_inside(vmo, offset, len),
            VmoOp::CacheSync | VmoOp::CacheClean | VmoOp::CacheCleanInvalidate => {
                ensure(len > 0, Status::INVALID_ARGS)?;
                ensure(self.memory_of(vmo).kind != Kind::Physical, Status::NOT_SUPPORTED)?;
                self.ensure_inside(vmo, offset, len)
            }
            // Hints are for pagers: of other VMOs not even the range is tested.
            VmoOp::DontNeed | VmoOp::AlwaysNeed => Ok(()),
            VmoOp::CacheInvalidate | VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock => Err(Status::NOT_SUPPORTED),
        }
    }

    fn commit(&mut self, vmo: Koid, offset: u64, len: u64) -> Result<()> {
        ensure(self.memory_of(vmo).kind != Kind::Physical, Status::NOT_SUPPORTED)?;
        self.ensure_inside(vmo, offset, len)?;
        if len > 0 {
            let start = self.vmo(vmo).window() + offset;
            self.memory_mut(vmo).commit(start / P, (start + len).div_ceil(P));
        }
        Ok(())
    }

    /// In order: contiguous; the range; nothing to do; a relative by a snapshot; alignment; pins.
    fn decommit(&mut self, vmo: Koid, offset: u64, len: u64) -> Result<()> {
        ensure(self.memory_of(vmo).kind == Kind::Paged, Status::NOT_SUPPORTED)?;
        self.ensure_inside(vmo, offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let memory = self.vmo(vmo).memory;
        ensure(!self.has_relative(memory), Status::NOT_SUPPORTED)?;
        ensure(offset.is_multiple_of(P) && len.is_multiple_of(P), Status::INVALID_ARGS)?;
        let first = (self.vmo(vmo).window() + offset) / P;
        self.ensure_unpinned(memory, first, first + len / P)?;
        self.memory_mut(vmo).drop_pages(first, first + len / P);
        Ok(())
    }

    fn zero(&mut self, vmo: Koid, offset: u64, len: u64) -> Result<()> {
        ensure(self.memory_of(vmo).kind != Kind::Physical, Status::NOT_SUPPORTED)?;
        self.ensure_inside(vmo, offset, len)?;
        ensure(self.memory_of(vmo).is_cached(), Status::BAD_STATE)?;
        let (id, start) = (self.vmo(vmo).memory, self.vmo(vmo).window() + offset);
        let is_paged = self.memory_of(vmo).kind == Kind::Paged;
        let pinned: Vec<u64> = self.memory_of(vmo).numbers(start / P, (start + len).div_ceil(P));
        let pinned: Vec<u64> = pinned.into_iter().filter(|number| self.is_pinned(id, *number)).collect();
        self.memory_mut(vmo).zero(start, len, |number| is_paged && !pinned.contains(&number));
        Ok(())
    }

    /// LOCK, TRY_LOCK, UNLOCK of a discardable VMO. Nothing is ever discarded.
    fn vmo_lock(&mut self, vmo: Koid, op: VmoOp, args: Arguments<'_>) -> Result<()> {
        let size = self.size_of(vmo);
        ensure(self.vmo(vmo).options.contains(abi::VmoOptions::DISCARDABLE), Status::NOT_SUPPORTED)?;
        ensure((args.get(2), args.get(3)) == (0, size), Status::OUT_OF_RANGE)?;
        if op == VmoOp::Unlock {
            let locks = self.vmo(vmo).locks;
            self.vmo_mut(vmo).locks = locks.checked_sub(1).ok_or(Status::BAD_STATE)?;
            return Ok(());
        }
        if op == VmoOp::Lock {
            ensure(args.get(5) >= 32, Status::INVALID_ARGS)?;
            let state = [0, size, 0, 0].map(u64::to_le_bytes).concat();
            self.write_buffer(args.get(4), 32, &state)?;
        }
        self.vmo_mut(vmo).locks += 1;
        Ok(())
    }
}
