//! Owned and borrowed handles.

use crate::info::Record;
use crate::sys::{address_of, hypercall};
use abi::{Call, InfoHandleBasic, RawHandle, Result, Rights};
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, forget};
use core::ops::Deref;

/// A handle to an object of any type. It is closed when it is dropped.
#[derive(Debug)]
#[repr(transparent)]
pub struct Handle(RawHandle);

impl Handle {
    /// Takes the handle that a call returned in a register.
    pub(crate) const fn from_register(register: u64) -> Self {
        Self(RawHandle(register as u32))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Only a value that is no handle fails to close, and then there is nothing to close.
        let _ = hypercall(Call::HandleClose, [self.0.0.into()]);
    }
}

/// An object, known through the handle that it wraps.
pub trait Object: Sized {
    /// Takes ownership of a handle, which the caller knows to name an object of this type.
    fn from_handle(handle: Handle) -> Self;

    /// Returns the handle.
    fn as_handle(&self) -> &Handle;

    /// Gives the handle away, without closing it.
    fn into_raw(self) -> RawHandle {
        let raw = self.raw();
        forget(self);
        raw
    }

    /// Takes ownership of a handle by its number.
    fn from_raw(raw: RawHandle) -> Self {
        Self::from_handle(Handle(raw))
    }

    /// Returns the number of the handle.
    fn raw(&self) -> RawHandle {
        self.as_handle().0
    }

    /// Returns the handle as a call takes it.
    fn register(&self) -> u64 {
        self.raw().0.into()
    }

    /// Makes another handle to the object, with the given rights.
    fn duplicate(&self, rights: Rights) -> Result<Self> {
        let registers = hypercall(Call::HandleDuplicate, [self.register(), rights.bits().into()]).ok()?;
        Ok(Self::from_handle(Handle::from_register(registers.x1)))
    }

    /// Turns the handle into one with the given rights. The old handle is gone even if that fails.
    fn replace(self, rights: Rights) -> Result<Self> {
        let old = self.into_raw();
        let registers = hypercall(Call::HandleReplace, [old.0.into(), rights.bits().into()]).ok()?;
        Ok(Self::from_handle(Handle::from_register(registers.x1)))
    }

    /// Returns the object's type and koid, and what the handle allows.
    fn basic_info(&self) -> Result<InfoHandleBasic> {
        InfoHandleBasic::of(self)
    }
}

impl Object for Handle {
    fn from_handle(handle: Handle) -> Self {
        handle
    }

    fn as_handle(&self) -> &Handle {
        self
    }
}

/// Implements [`Object`] for a type that wraps a [`Handle`] and nothing else.
macro_rules! object {
    ($type:ty) => {
        impl $crate::Object for $type {
            fn from_handle(handle: $crate::Handle) -> Self {
                Self(handle)
            }

            fn as_handle(&self) -> &$crate::Handle {
                &self.0
            }
        }
    };
}
pub(crate) use object;

/// An object under a handle that somebody else closes, or that is no handle at all.
#[derive(Debug)]
pub struct Unowned<'a, T> {
    object: ManuallyDrop<T>,
    owner: PhantomData<&'a Handle>,
}

impl<T: Object> Unowned<'static, T> {
    /// Names an object by the number of its handle.
    pub fn from_raw(raw: RawHandle) -> Self {
        Self { object: ManuallyDrop::new(T::from_raw(raw)), owner: PhantomData }
    }
}

impl<'a, T: Object> Unowned<'a, T> {
    /// Names an object by the handle of another, whatever the types of both.
    pub fn of(owner: &'a impl Object) -> Self {
        Self { object: ManuallyDrop::new(T::from_raw(owner.raw())), owner: PhantomData }
    }
}

impl<T> Deref for Unowned<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

/// Closes handles by their numbers. Those that are handles are closed even if others are not.
pub fn close_many(handles: &[RawHandle]) -> Result<()> {
    hypercall(Call::HandleCloseMany, [address_of(handles), handles.len() as u64]).status().ok()
}
