//! Properties, and waiting.

use abi::{NAME_LEN, Property, Rights, Signals, Status};

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::handles::Object;
use crate::user::{Reader, Writer};
use crate::vmo::VmoId;

impl<M: Machine> Caller<'_, M> {
    /// object_get_property(handle, property, buf, size).
    pub(super) fn object_get_property(&self) -> Result<Reply, Status> {
        let (buffer, size) = (self.arg(2), self.arg(3));
        self.with_property(Rights::GET_PROPERTY, |vmo| {
            if size < NAME_LEN as u64 {
                return Err(Status::BUFFER_TOO_SMALL);
            }
            let name = self.system.lock_vmos()[vmo.ok_or(Status::NOT_SUPPORTED)?].name;
            Writer::new(self.system, self.id, buffer, size, NAME_LEN as u64)?.write(0, &name)
        })
    }

    /// object_set_property(handle, property, buf, size): a name that is too long is cut.
    pub(super) fn object_set_property(&self) -> Result<Reply, Status> {
        let (buffer, size) = (self.arg(2), self.arg(3).min(NAME_LEN as u64 - 1));
        self.with_property(Rights::SET_PROPERTY, |vmo| {
            let mut name = [0; NAME_LEN];
            Reader::new(self.system, self.id, buffer, size)?.read(0, &mut name[..size as usize])?;
            self.system.lock_vmos()[vmo.ok_or(Status::NOT_SUPPORTED)?].name = name;
            Ok(())
        })
    }

    /// Does `work` with the object whose property is asked for, held fast; only VMOs have any. Tests in Zircon's order: the
    /// buffer's address, the handle, its right, the property.
    fn with_property(
        &self,
        right: Rights,
        work: impl FnOnce(Option<VmoId>) -> Result<(), Status>,
    ) -> Result<Reply, Status> {
        if self.arg(2) == 0 {
            return Err(Status::INVALID_ARGS);
        }
        let vmo = {
            let locked = self.lock();
            let entry = self.entry(&locked, 0)?;
            demand(entry.rights, right)?;
            let Property::Name = Property::try_from(self.word(1)?).map_err(|_| Status::NOT_SUPPORTED)?;
            match entry.object {
                Object::Vmo(vmo) => {
                    self.system.lock_vmos()[vmo].retain();
                    Some(vmo)
                }
                _ => None,
            }
        };
        let result = work(vmo);
        if let Some(vmo) = vmo {
            self.system.release_vmo(vmo);
        }
        result.map(|()| Reply::DONE)
    }

    /// object_wait_one(handle, signals, deadline): x1 the signals that were there at the end, after TIMED_OUT too.
    pub(super) fn object_wait_one(&self) -> Result<Reply, Status> {
        let deadline = self.arg(2) as i64;
        let mut closed = Status::BAD_HANDLE;
        loop {
            let observed = match self.observe() {
                // A handle that goes while it is waited for.
                Err(Status::BAD_HANDLE) => return Err(closed),
                other => other?,
            };
            let reply = Reply::one(u64::from(observed.bits()));
            if observed.intersects(Signals::from_bits_retain(self.word(1)?)) {
                return Ok(reply);
            }
            if self.system.machine.now_ns() as i64 >= deadline {
                return Ok(reply.with_status(Status::TIMED_OUT));
            }
            closed = Status::CANCELED;
            self.system.machine.relax();
        }
    }

    /// Returns the signals of the object that the first argument names.
    fn observe(&self) -> Result<Signals, Status> {
        let locked = self.lock();
        let entry = self.entry(&locked, 0)?;
        demand(entry.rights, Rights::WAIT)?;
        let mut signals = Signals::empty();
        if let Object::Vmo(vmo) = entry.object {
            signals.set(Signals::VMO_ZERO_CHILDREN, self.system.lock_vmos()[vmo].family.child_count == 0);
        }
        Ok(signals)
    }
}
