//! VMOs: made, read, written, resized, operated on.

use abi::{PAGE_SIZE, Rights, Status, VmoOp, VmoOptions};

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::handles::{Entry, Object};
use crate::user;
use crate::vmo::{Backing, MAX_SIZE, VmoId};

/// How many bytes are copied at a time.
const BATCH: usize = 512;

impl<M: Machine> Caller<'_, M> {
    /// vmo_create(size, options): x1 handle.
    pub(super) fn vmo_create(&self) -> Result<Reply, Status> {
        let options = VmoOptions::from_bits_retain(self.word(1)?);
        if options.contains(VmoOptions::RESIZABLE | VmoOptions::UNBOUNDED) {
            return Err(Status::INVALID_ARGS);
        }
        let size = if options.contains(VmoOptions::UNBOUNDED) { MAX_SIZE } else { rounded_size(self.arg(0))? };
        let known = VmoOptions::RESIZABLE | VmoOptions::DISCARDABLE | VmoOptions::UNBOUNDED;
        if !known.contains(options) {
            return Err(Status::INVALID_ARGS);
        }
        let supply = self.system.supply(self.id);
        let made = self.system.create_vmo(&mut self.system.lock_vmos(), supply, self.id, size, options, Backing::Paged);
        self.give_vmo(made?, options)
    }

    /// vmo_create_contiguous(size, alignment log2): x1 handle.
    pub(super) fn vmo_create_contiguous(&self) -> Result<Reply, Status> {
        let size = rounded_size(self.arg(0))?;
        let align_log2 = self.word(1)?;
        if size == 0 || !matches!(align_log2, 0 | abi::PAGE_SHIFT..64) {
            return Err(Status::INVALID_ARGS);
        }
        self.give_vmo(self.system.create_contiguous_vmo(self.id, size, align_log2)?, VmoOptions::empty())
    }

    /// Makes the first handle to a new VMO, or gives the VMO up.
    fn give_vmo(&self, vmo: VmoId, options: VmoOptions) -> Result<Reply, Status> {
        let mut rights = Rights::DEFAULT_VMO;
        rights.set(Rights::RESIZE, options.contains(VmoOptions::RESIZABLE));
        let mut locked = self.lock();
        if let Err(status) = locked.reserve_handle() {
            drop(locked);
            self.system.release_vmo(vmo);
            return Err(status);
        }
        Ok(Reply::one(self.give(&mut locked, Object::Vmo(vmo), rights)))
    }

    /// vmo_replace_as_executable(vmo, 0): x1 handle. The handle is gone, whether or not there is a new one.
    pub(super) fn vmo_replace_as_executable(&self) -> Result<Reply, Status> {
        self.replace(|entry| match entry {
            _ if self.arg(1) != 0 => Err(Status::BAD_HANDLE),
            Entry { object: Object::Vmo(_), rights, .. } => Ok(rights | Rights::EXECUTE),
            _ => Err(Status::WRONG_TYPE),
        })
    }

    /// vmo_read(vmo, buf, offset, len).
    pub(super) fn vmo_read(&self) -> Result<Reply, Status> {
        let (buffer, offset, len) = (self.arg(1), self.arg(2), self.arg(3));
        self.with_vmo(
            |rights| demand(rights, Rights::READ),
            |vmo, _| {
                self.check_inside(vmo, offset, len)?;
                let buffer = user::Writer::new(self.system, self.id, buffer, len, len)?;
                by_batches(offset, len, |at, bytes| {
                    {
                        let vmos = self.system.lock_vmos();
                        if !vmos[vmo].holds(at, bytes.len() as u64) {
                            return Err(Status::OUT_OF_RANGE);
                        }
                        self.system.read_page(&vmos, vmo, at, bytes);
                    }
                    buffer.write(at - offset, bytes)
                })
            },
        )
    }

    /// vmo_write(vmo, buf, offset, len).
    pub(super) fn vmo_write(&self) -> Result<Reply, Status> {
        let (buffer, offset, len) = (self.arg(1), self.arg(2), self.arg(3));
        self.with_vmo(
            |rights| demand(rights, Rights::WRITE),
            |vmo, _| {
                self.check_inside(vmo, offset, len)?;
                let buffer = user::Reader::new(self.system, self.id, buffer, len)?;
                by_batches(offset, len, |at, bytes| {
                    buffer.read(at - offset, bytes)?;
                    let mut vmos = self.system.lock_vmos();
                    if !vmos[vmo].holds(at, bytes.len() as u64) {
                        return Err(Status::OUT_OF_RANGE);
                    }
                    self.system.write_page(&mut vmos, vmo, at, bytes)
                })
            },
        )
    }

    fn check_inside(&self, vmo: VmoId, offset: u64, len: u64) -> Result<(), Status> {
        if self.system.lock_vmos()[vmo].holds(offset, len) { Ok(()) } else { Err(Status::OUT_OF_RANGE) }
    }

    /// vmo_get_size(vmo): x1 bytes.
    pub(super) fn vmo_get_size(&self) -> Result<Reply, Status> {
        self.with_vmo(|_| Ok(()), |vmo, _| Ok(Reply::one(self.system.lock_vmos()[vmo].size)))
    }

    /// vmo_set_size(vmo, size).
    pub(super) fn vmo_set_size(&self) -> Result<Reply, Status> {
        let size = self.arg(1);
        self.with_vmo(
            |rights| demand(rights, Rights::WRITE),
            |vmo, rights| {
                let mut vmos = self.system.lock_vmos();
                let is_resizable = vmos[vmo].options.contains(VmoOptions::RESIZABLE);
                if is_resizable {
                    demand(rights, Rights::RESIZE)?;
                }
                let rounded = size.checked_next_multiple_of(PAGE_SIZE).ok_or(Status::OUT_OF_RANGE)?;
                if !is_resizable {
                    return Err(Status::UNAVAILABLE);
                }
                if rounded > MAX_SIZE {
                    return Err(Status::OUT_OF_RANGE);
                }
                self.system.resize(&mut vmos, vmo, rounded).map(|()| Reply::DONE)
            },
        )
    }

    /// vmo_op_range(vmo, op, offset, size, buffer, buffer size).
    pub(super) fn vmo_op_range(&self) -> Result<Reply, Status> {
        let (offset, len) = (self.arg(2), self.arg(3));
        let op = self.word(1).and_then(|op| VmoOp::try_from(op).map_err(|_| Status::INVALID_ARGS));
        let check = |rights: Rights| match op? {
            VmoOp::CacheInvalidate => Err(Status::NOT_SUPPORTED),
            op => check_op_rights(op, rights),
        };
        self.with_vmo(check, |vmo, _| match op? {
            op @ (VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock) => self.vmo_lock(vmo, op, offset, len),
            op => self.system.vmo_operation(vmo, op, offset, len).map(|()| Reply::DONE),
        })
    }

    /// LOCK, TRY_LOCK and UNLOCK, of a discardable VMO. Nothing is ever discarded, so that a lock finds all in place.
    fn vmo_lock(&self, vmo: VmoId, op: VmoOp, offset: u64, len: u64) -> Result<Reply, Status> {
        let (buffer, buffer_size) = (self.arg(4), self.arg(5));
        let size = {
            let vmos = self.system.lock_vmos();
            if !vmos[vmo].options.contains(VmoOptions::DISCARDABLE) {
                return Err(Status::NOT_SUPPORTED);
            }
            if (offset, len) != (0, vmos[vmo].size) {
                return Err(Status::OUT_OF_RANGE);
            }
            vmos[vmo].size
        };
        if op == VmoOp::Lock {
            self.write_lock_state(buffer, buffer_size, size)?;
        }
        let mut vmos = self.system.lock_vmos();
        let locks = &mut vmos[vmo].lock_count;
        *locks = match op {
            VmoOp::Unlock => locks.checked_sub(1).ok_or(Status::BAD_STATE)?,
            _ => locks.saturating_add(1),
        };
        Ok(Reply::DONE)
    }

    /// Writes a `zx_vmo_lock_state_t`: offset and size of what is locked, offset and size of what was discarded.
    fn write_lock_state(&self, buffer: u64, buffer_size: u64, size: u64) -> Result<(), Status> {
        const LEN: u64 = 32;
        if buffer_size < LEN {
            return Err(Status::INVALID_ARGS);
        }
        let mut state = [0; LEN as usize];
        state[8..16].copy_from_slice(&size.to_le_bytes());
        user::Writer::new(self.system, self.id, buffer, LEN, LEN)?.write(0, &state)
    }
}

/// Returns the rounded size of a new VMO.
fn rounded_size(size: u64) -> Result<u64, Status> {
    match size.checked_next_multiple_of(PAGE_SIZE) {
        Some(rounded) if rounded <= MAX_SIZE => Ok(rounded),
        _ => Err(Status::OUT_OF_RANGE),
    }
}

fn check_op_rights(op: VmoOp, rights: Rights) -> Result<(), Status> {
    match op {
        VmoOp::Commit | VmoOp::Decommit | VmoOp::Zero | VmoOp::CacheInvalidate => demand(rights, Rights::WRITE),
        VmoOp::CacheSync | VmoOp::CacheClean | VmoOp::CacheCleanInvalidate | VmoOp::Prefetch => {
            demand(rights, Rights::READ)
        }
        VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock if rights.intersects(Rights::READ | Rights::WRITE) => Ok(()),
        VmoOp::Lock | VmoOp::TryLock | VmoOp::Unlock => Err(Status::ACCESS_DENIED),
        VmoOp::DontNeed | VmoOp::AlwaysNeed => Ok(()),
    }
}

/// Copies `len` bytes from `offset` on in pieces that lie in one page.
fn by_batches(
    offset: u64,
    len: u64,
    mut copy: impl FnMut(u64, &mut [u8]) -> Result<(), Status>,
) -> Result<Reply, Status> {
    let mut bytes = [0; BATCH];
    let mut at = offset;
    while at < offset + len {
        let in_batch = BATCH as u64 - at % BATCH as u64;
        let part = &mut bytes[..in_batch.min(offset + len - at) as usize];
        copy(at, part)?;
        at += part.len() as u64;
    }
    Ok(Reply::DONE)
}
