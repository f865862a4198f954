//! Handles: given at the start, closed, duplicated, replaced.

use abi::{RawHandle, Rights, Startup, Status};

use super::{Caller, Reply};
use crate::Machine;
use crate::handles::{Entry, Object};
use crate::user;
use crate::vmar::Locked;

/// How many handles `handle_close_many` reads at a time.
const BATCH: usize = 64;

impl<M: Machine> Caller<'_, M> {
    /// startup_handle(kind): a new handle at each call.
    pub(super) fn startup_handle(&self) -> Result<Reply, Status> {
        let kind = Startup::try_from(self.word(0)?).map_err(|_| Status::INVALID_ARGS)?;
        let mut locked = self.lock();
        let (object, rights) = match kind {
            Startup::RootVmar => (Object::Vmar(locked.space.root), Rights::DEFAULT_VMAR | Rights::ACCESS),
            Startup::RamVmo => (Object::Vmo(locked.vm.ram), Rights::DEFAULT_VMO | Rights::EXECUTE),
            Startup::Vm => (Object::Vm(self.id), Rights::DEFAULT_GUEST),
            Startup::MmioResource if locked.vm.config.mmio.is_none() => return Err(Status::NOT_FOUND),
            Startup::MmioResource => (Object::Resource(self.id), Rights::BASIC),
        };
        locked.reserve_handle()?;
        self.retain(&mut locked, object);
        Ok(Reply::one(self.give(&mut locked, object, rights)))
    }

    /// handle_close(handle): closing "no handle" is no error.
    pub(super) fn handle_close(&self) -> Result<Reply, Status> {
        match self.raw_handle(0)? {
            RawHandle::INVALID => Ok(Reply::DONE),
            raw => self.close(self.lock(), raw).map(|()| Reply::DONE),
        }
    }

    /// handle_close_many(buf, count): closes all that can be, and then says whether there was one that could not.
    pub(super) fn handle_close_many(&self) -> Result<Reply, Status> {
        let (buffer, count) = (self.arg(0), self.arg(1));
        let len = count.checked_mul(4).ok_or(Status::INVALID_ARGS)?;
        let buffer = user::Reader::new(self.system, self.id, buffer, len)?;
        let mut result = Ok(());
        let mut bytes = [0; 4 * BATCH];
        let mut offset = 0;
        while offset < len {
            let part = &mut bytes[..(len - offset).min(4 * BATCH as u64) as usize];
            buffer.read(offset, part)?;
            for raw in part.chunks_exact(4).filter_map(|raw| raw.try_into().ok()).map(u32::from_le_bytes) {
                if raw != 0 && self.close(self.lock(), RawHandle(raw)).is_err() {
                    result = Err(Status::BAD_HANDLE);
                }
            }
            offset += part.len() as u64;
        }
        result.map(|()| Reply::DONE)
    }

    /// handle_duplicate(handle, rights).
    pub(super) fn handle_duplicate(&self) -> Result<Reply, Status> {
        let mut locked = self.lock();
        let entry = self.entry(&locked, 0)?;
        super::demand(entry.rights, Rights::DUPLICATE)?;
        let rights = self.fewer_rights(entry)?;
        locked.reserve_handle()?;
        self.retain(&mut locked, entry.object);
        Ok(Reply::one(self.give(&mut locked, entry.object, rights)))
    }

    /// handle_replace(handle, rights): the handle is gone, whether or not there is a new one.
    pub(super) fn handle_replace(&self) -> Result<Reply, Status> {
        self.replace(|entry| self.fewer_rights(entry))
    }

    /// Puts a handle with the rights that `decide` returns in a handle's place, or takes the handle away.
    pub(super) fn replace(&self, decide: impl FnOnce(Entry) -> Result<Rights, Status>) -> Result<Reply, Status> {
        let raw = self.raw_handle(0)?;
        let mut locked = self.lock();
        let entry = locked.space.handles.remove(raw)?;
        match decide(entry) {
            Ok(rights) => Ok(Reply::one(self.give(&mut locked, entry.object, rights))),
            Err(status) => {
                self.drop_object(locked, entry.object);
                Err(status)
            }
        }
    }

    /// Closes a handle.
    pub(super) fn close(&self, mut locked: Locked<'_, M>, raw: RawHandle) -> Result<(), Status> {
        let entry = locked.space.handles.remove(raw)?;
        self.drop_object(locked, entry.object);
        Ok(())
    }

    /// Takes note that there is one handle less to the object. What was only held by it is given back with no lock held.
    fn drop_object(&self, mut locked: Locked<'_, M>, object: Object) {
        match object {
            Object::Vmar(id) => locked.space.close_vmar(id),
            Object::Vmo(id) => {
                drop(locked);
                self.system.close_vmo(id);
            }
            Object::Pmt(id) => {
                drop(locked);
                self.system.unpin(id);
            }
            Object::Bti(id) => self.system.lock_vmos().close_bti(id),
            Object::Vm(_) | Object::Resource(_) => {}
        }
    }

    /// Takes note that there is one more handle to the object.
    fn retain(&self, locked: &mut Locked<'_, M>, object: Object) {
        match object {
            Object::Vmar(id) => locked.space.vmar_mut(id).handles += 1,
            Object::Vmo(id) => self.system.lock_vmos()[id].open(),
            Object::Bti(id) => self.system.lock_vmos().btis[id].handle_count += 1,
            // The only handle to a PMT lacks the right to be duplicated.
            Object::Pmt(_) | Object::Vm(_) | Object::Resource(_) => {}
        }
    }

    /// Returns the rights that the second argument asks for: the same, or some of them.
    fn fewer_rights(&self, entry: Entry) -> Result<Rights, Status> {
        let wanted = Rights::from_bits_retain(self.word(1)?);
        match wanted {
            Rights::SAME_RIGHTS => Ok(entry.rights),
            fewer if entry.rights.contains(fewer) => Ok(fewer),
            _ => Err(Status::INVALID_ARGS),
        }
    }
}
