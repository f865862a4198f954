//! Handles: given at the start, closed, duplicated, replaced (semantics 6).

use abi::{ObjectType, RawHandle, Rights, Startup, Status};

use crate::arguments::Arguments;
use crate::{Koid, Model, Reply, Result, ensure};

/// What a handle leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Object {
    Vmar(Koid),
    Vmo(Koid),
    Vm(Koid),
    Resource(Koid),
    Bti(Koid),
    Pmt(Koid),
}

impl Object {
    pub(crate) const fn koid(self) -> Koid {
        match self {
            Self::Vmar(koid)
            | Self::Vmo(koid)
            | Self::Vm(koid)
            | Self::Resource(koid)
            | Self::Bti(koid)
            | Self::Pmt(koid) => koid,
        }
    }

    pub(crate) const fn object_type(self) -> ObjectType {
        match self {
            Self::Vmar(_) => ObjectType::Vmar,
            Self::Vmo(_) => ObjectType::Vmo,
            Self::Vm(_) => ObjectType::Guest,
            Self::Resource(_) => ObjectType::Resource,
            Self::Bti(_) => ObjectType::Bti,
            Self::Pmt(_) => ObjectType::Pmt,
        }
    }
}

/// A handle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) object: Object,
    pub(crate) rights: Rights,
}

impl Handle {
    /// ACCESS_DENIED unless the handle has all of the rights.
    pub(crate) const fn demand(self, rights: Rights) -> Result<()> {
        ensure(self.rights.contains(rights), Status::ACCESS_DENIED)
    }
}

impl Model {
    /// startup_handle(kind): a new handle each time.
    pub(crate) fn startup_handle(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let kind = Startup::try_from(args.word(0)?).map_err(|_| Status::INVALID_ARGS)?;
        let (object, rights) = match kind {
            Startup::RootVmar => (Object::Vmar(self.root), Rights::DEFAULT_VMAR | Rights::ACCESS),
            Startup::RamVmo => (Object::Vmo(self.ram), Rights::DEFAULT_VMO | Rights::EXECUTE),
            Startup::Vm => (Object::Vm(self.vm), Rights::DEFAULT_GUEST),
            Startup::MmioResource => {
                ensure(self.config.mmio.is_some(), Status::NOT_FOUND)?;
                (Object::Resource(self.resource), Rights::BASIC)
            }
        };
        Ok(Reply::with(&[self.give(object, rights)]))
    }

    /// handle_close(handle): 0 is no error.
    pub(crate) fn handle_close(&mut self, args: Arguments<'_>) -> Result<Reply> {
        match args.handle(0)? {
            0 => Ok(Reply::DONE),
            raw => self.take_handle(raw).map(|_| Reply::DONE),
        }
    }

    /// handle_close_many(buffer, count): closes all that can be; BAD_HANDLE where one could not.
    pub(crate) fn handle_close_many(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let len = args.get(1).checked_mul(4).ok_or(Status::INVALID_ARGS)?;
        let bytes = self.read_buffer(args.get(0), len)?;
        let mut result = Ok(Reply::DONE);
        for raw in bytes.chunks_exact(4) {
            let raw = u32::from_le_bytes(raw.try_into().expect("four bytes"));
            if raw != 0 && self.take_handle(raw).is_err() {
                result = Err(Status::BAD_HANDLE);
            }
        }
        result
    }

    /// handle_duplicate(handle, rights): BAD_HANDLE; DUPLICATE; the rights are some of the handle's, or SAME_RIGHTS.
    pub(crate) fn handle_duplicate(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let handle = self.handle(args, 0)?;
        handle.demand(Rights::DUPLICATE)?;
        let rights = wanted_rights(handle, args)?;
        Ok(Reply::with(&[self.give(handle.object, rights)]))
    }

    /// handle_replace(handle, rights): the handle is gone in any case.
    pub(crate) fn handle_replace(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let handle = self.take_handle(args.handle(0)?)?;
        let rights = wanted_rights(handle, args)?;
        Ok(Reply::with(&[self.give(handle.object, rights)]))
    }

    /// vmo_replace_as_executable(vmo, 0): the handle is gone in any case.
    pub(crate) fn vmo_replace_as_executable(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let handle = self.take_handle(args.handle(0)?)?;
        ensure(args.get(1) == 0, Status::BAD_HANDLE)?;
        ensure(matches!(handle.object, Object::Vmo(_)), Status::WRONG_TYPE)?;
        Ok(Reply::with(&[self.give(handle.object, handle.rights | Rights::EXECUTE)]))
    }

    /// Returns the handle that an argument names, or BAD_HANDLE.
    pub(crate) fn handle(&self, args: Arguments<'_>, number: usize) -> Result<Handle> {
        self.handles.get(&args.handle(number)?).copied().ok_or(Status::BAD_HANDLE)
    }

    /// Returns the VMAR that an argument names, and its handle: BAD_HANDLE, WRONG_TYPE.
    pub(crate) fn vmar_handle(&self, args: Arguments<'_>, number: usize) -> Result<(Koid, Handle)> {
        match self.handle(args, number)? {
            handle @ Handle { object: Object::Vmar(koid), .. } => Ok((koid, handle)),
            _ => Err(Status::WRONG_TYPE),
        }
    }

    /// Returns the VMO that an argument names, and its handle: BAD_HANDLE, WRONG_TYPE.
    pub(crate) fn vmo_handle(&self, args: Arguments<'_>, number: usize) -> Result<(Koid, Handle)> {
        match self.handle(args, number)? {
            handle @ Handle { object: Object::Vmo(koid), .. } => Ok((koid, handle)),
            _ => Err(Status::WRONG_TYPE),
        }
    }

    /// Makes a handle: the one that was offered, which must be a value that no other handle has.
    pub(crate) fn give(&mut self, object: Object, rights: Rights) -> u64 {
        let raw = match self.offer(0) {
            Some(offered) => {
                let is_valid = offered >> 32 == 0 && offered as u32 & RawHandle::FIXED_BITS == RawHandle::FIXED_BITS;
                if !is_valid || self.handles.contains_key(&(offered as u32)) {
                    self.complain(format!("{offered:#x} is no value for a new handle"));
                }
                offered as u32
            }
            None => self.next_handle,
        };
        self.next_handle += 4;
        self.handles.insert(raw, Handle { object, rights });
        u64::from(raw)
    }

    /// Takes a handle away.
    pub(crate) fn take_handle(&mut self, raw: u32) -> Result<Handle> {
        self.handles.remove(&raw).ok_or(Status::BAD_HANDLE)
    }

    /// Returns how many handles lead to the object.
    pub(crate) fn handle_count(&self, object: Object) -> usize {
        self.handles.values().filter(|handle| handle.object == object).count()
    }
}

fn wanted_rights(handle: Handle, args: Arguments<'_>) -> Result<Rights> {
    match Rights::from_bits_retain(args.word(1)?) {
        Rights::SAME_RIGHTS => Ok(handle.rights),
        fewer if handle.rights.contains(fewer) => Ok(fewer),
        _ => Err(Status::INVALID_ARGS),
    }
}
