//! VMOs: made, read, written, resized, operated on.

use abi::{CachePolicy, ChildOptions, PAGE_SIZE, Rights, Status, VmoLockState, VmoOp, VmoOptions};
use zerocopy::IntoBytes;

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::children::NewChild;
use crate::handles::{Entry, Object};
use crate::memory::Backing;
use crate::user;
use crate::vmo::{MAX_SIZE, View, VmoId, Vmos};
use crate::vmo_ops::{demand_cached, demand_frames};

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
        let made = self.system.create_vmo(&mut self.system.lock_vmos(), supply, size, options, Backing::Paged);
        self.give_vmo(made?, Rights::DEFAULT_VMO | resize_right(options.contains(VmoOptions::RESIZABLE)))
    }

    /// vmo_create_child(vmo, options, offset, size): x1 handle.
    pub(super) fn vmo_create_child(&self) -> Result<Reply, Status> {
        let (offset, size) = (self.arg(2), self.arg(3));
        let options = ChildOptions::from_bits_retain(self.arg(1) as u32);
        if options.contains(ChildOptions::NO_WRITE | ChildOptions::RESIZABLE) {
            return Err(Status::INVALID_ARGS);
        }
        let size = size.checked_next_multiple_of(PAGE_SIZE).ok_or(Status::OUT_OF_RANGE)?;
        let (child, rights) = self.with_vmo(
            |rights| demand(rights, Rights::DUPLICATE | Rights::READ),
            |vmo, rights| {
                self.word(1)?;
                let new = NewChild { parent: vmo, options, offset, size };
                let child = self.system.create_child(&mut self.system.lock_vmos(), new)?;
                Ok((child, child_rights(rights, options)))
            },
        )?;
        self.give_vmo(child, rights)
    }

    /// vmo_set_cache_policy(vmo, policy).
    pub(super) fn vmo_set_cache_policy(&self) -> Result<Reply, Status> {
        let policy = self.word(1).and_then(|policy| CachePolicy::try_from(policy).map_err(|_| Status::INVALID_ARGS))?;
        self.with_vmo(
            |rights| demand(rights, Rights::MAP),
            |vmo, _| self.system.set_cache_policy(vmo, policy).map(|()| Reply::DONE),
        )
    }

    /// vmo_create_contiguous(size, alignment log2): x1 handle.
    pub(super) fn vmo_create_contiguous(&self) -> Result<Reply, Status> {
        let (size, align_log2) = (self.arg(0), self.word(1)?);
        if size == 0 || !matches!(align_log2, 0 | abi::PAGE_SHIFT..64) {
            return Err(Status::INVALID_ARGS);
        }
        let size = rounded_size(size)?;
        self.give_vmo(self.system.create_contiguous_vmo(self.id, size, align_log2)?, Rights::DEFAULT_VMO)
    }

    /// Makes the first handle to a new VMO, or gives the VMO up.
    pub(super) fn give_vmo(&self, vmo: VmoId, rights: Rights) -> Result<Reply, Status> {
        let mut locked = self.lock();
        let reserved = locked.reserve_handle();
        let reply = reserved.map(|()| Reply::one(self.give(&mut locked, Object::Vmo(vmo), rights)));
        if reply.is_ok() {
            self.system.lock_vmos()[vmo].open();
        }
        drop(locked);
        self.system.release_vmo(vmo);
        reply
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
                check_contents(&self.system.lock_vmos(), vmo, offset, len)?;
                let buffer = user::Writer::new(self.system, self.id, buffer, len, len)?;
                by_batches(offset, len, |at, bytes| {
                    {
                        let vmos = self.system.lock_vmos();
                        let view = check_contents(&vmos, vmo, at, bytes.len() as u64)?;
                        self.system.read_page(&vmos, view.memory, view.offset + at, bytes);
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
                check_contents(&self.system.lock_vmos(), vmo, offset, len)?;
                let buffer = user::Reader::new(self.system, self.id, buffer, len)?;
                by_batches(offset, len, |at, bytes| {
                    buffer.read(at - offset, bytes)?;
                    let mut vmos = self.system.lock_vmos();
                    let view = check_contents(&vmos, vmo, at, bytes.len() as u64)?;
                    self.system.write_page(&mut vmos, view.memory, view.offset + at, bytes)
                })
            },
        )
    }

    /// vmo_get_size(vmo): x1 bytes.
    pub(super) fn vmo_get_size(&self) -> Result<Reply, Status> {
        self.with_vmo(|_| Ok(()), |vmo, _| Ok(Reply::one(self.system.lock_vmos().view(vmo).size)))
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
                let memory = vmos[vmo].memory;
                vmos[memory].origin.checked_add(rounded).ok_or(Status::INVALID_ARGS)?;
                self.system.resize(&mut vmos, memory, rounded).map(|()| Reply::DONE)
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
            let size = vmos.view(vmo).size;
            if (offset, len) != (0, size) {
                return Err(Status::OUT_OF_RANGE);
            }
            size
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

    /// Writes what is locked; nothing was discarded.
    fn write_lock_state(&self, buffer: u64, buffer_size: u64, size: u64) -> Result<(), Status> {
        let state = VmoLockState { size, ..VmoLockState::default() };
        let record = state.as_bytes();
        let len = record.len() as u64;
        if buffer_size < len {
            return Err(Status::INVALID_ARGS);
        }
        user::Writer::new(self.system, self.id, buffer, len, len)?.write(0, record)
    }
}

/// Checks that the bytes are in the VMO, and that EL2 may touch them; returns what the VMO shows.
fn check_contents(vmos: &Vmos, vmo: VmoId, offset: u64, len: u64) -> Result<View, Status> {
    let view = vmos.view(vmo);
    demand_frames(vmos, view)?;
    offset.checked_add(len).ok_or(Status::OUT_OF_RANGE)?;
    demand_cached(vmos, view.memory)?;
    if view.holds(offset, len) { Ok(view) } else { Err(Status::OUT_OF_RANGE) }
}

fn resize_right(is_resizable: bool) -> Rights {
    if is_resizable { Rights::RESIZE } else { Rights::empty() }
}

/// Returns what the first handle to a child allows, made through a handle with `rights`.
fn child_rights(rights: Rights, options: ChildOptions) -> Rights {
    let is_copy = !options.intersects(ChildOptions::SLICE | ChildOptions::REFERENCE);
    let mut rights = rights | Rights::GET_PROPERTY | Rights::SET_PROPERTY;
    rights.set(Rights::RESIZE, options.contains(ChildOptions::RESIZABLE));
    if is_copy {
        rights.remove(Rights::EXECUTE);
        rights.insert(Rights::WRITE);
    }
    if options.contains(ChildOptions::NO_WRITE) {
        rights.remove(Rights::WRITE);
    }
    rights
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
