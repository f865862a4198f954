//! Names, and waiting for signals.

use abi::{NAME_LEN, Property, Rights, Signals, Status};

use crate::arguments::Arguments;
use crate::handles::{Handle, Object};
use crate::{Koid, Model, Reply, Result, ensure};

impl Model {
    /// object_get_property(handle, property, buffer, size).
    pub(crate) fn object_get_property(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let object = self.named(args, Rights::GET_PROPERTY)?;
        ensure(args.get(3) >= NAME_LEN as u64, Status::BUFFER_TOO_SMALL)?;
        let name = self.vmo(vmo_of(object)?).name;
        self.write_buffer(args.get(2), args.get(3), &name)?;
        Ok(Reply::DONE)
    }

    /// object_set_property(handle, property, buffer, size): what is too long is cut, and a 0 stands at the end.
    pub(crate) fn object_set_property(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let object = self.named(args, Rights::SET_PROPERTY)?;
        let len = args.get(3).min(NAME_LEN as u64 - 1);
        let bytes = self.read_buffer(args.get(2), len)?;
        let mut name = [0; NAME_LEN];
        name[..bytes.len()].copy_from_slice(&bytes);
        self.vmo_mut(vmo_of(object)?).name = name;
        Ok(Reply::DONE)
    }

    /// Returns the object whose name is asked for: the buffer's address is not 0; the handle, its right; the property.
    fn named(&self, args: Arguments<'_>, right: Rights) -> Result<Object> {
        ensure(args.get(2) != 0, Status::INVALID_ARGS)?;
        let handle = self.handle(args, 0)?;
        handle.demand(right)?;
        Property::try_from(args.word(1)?).map_err(|_| Status::NOT_SUPPORTED)?;
        Ok(handle.object)
    }

    /// object_wait_one(handle, signals, deadline). The model's time is past every deadline.
    pub(crate) fn object_wait_one(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let handle = self.handle(args, 0)?;
        handle.demand(Rights::WAIT)?;
        let signals = Signals::from_bits_retain(args.word(1)?);
        let observed = self.signals(handle);
        let status = if observed.intersects(signals) { Status::OK } else { Status::TIMED_OUT };
        Ok(Reply { status, ..Reply::with(&[u64::from(observed.bits())]) })
    }

    fn signals(&self, handle: Handle) -> Signals {
        match handle.object {
            Object::Vmo(vmo) if self.child_count(vmo) == 0 => Signals::VMO_ZERO_CHILDREN,
            _ => Signals::empty(),
        }
    }
}

/// Returns the VMO: nothing else has a name.
const fn vmo_of(object: Object) -> Result<Koid> {
    match object {
        Object::Vmo(vmo) => Ok(vmo),
        _ => Err(Status::NOT_SUPPORTED),
    }
}
