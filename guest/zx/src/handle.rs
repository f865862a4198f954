//! Owned and borrowed handles.

use crate::info::Record;
use crate::property::{self, Name, Waited};
use crate::sys::{address_of, hypercall};
use abi::{Call, InfoHandleBasic, InfoHandleCount, RawHandle, Result, Rights, Signals};
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

    /// Makes another handle to the object, with the given rights (`zx_handle_duplicate`). SAME_RIGHTS alone copies them.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE; ACCESS_DENIED without DUPLICATE.
    /// - INVALID_ARGS: rights that this handle does not have.
    /// - NO_MEMORY: there is no room for another handle.
    fn duplicate(&self, rights: Rights) -> Result<Self> {
        let registers = hypercall(Call::HandleDuplicate, [self.register(), rights.bits().into()]).ok()?;
        Ok(Self::from_handle(Handle::from_register(registers.x1)))
    }

    /// Turns the handle into one with the given rights (`zx_handle_replace`). The old handle is gone even if that fails.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE; INVALID_ARGS for rights that the old handle does not have.
    fn replace(self, rights: Rights) -> Result<Self> {
        let old = self.into_raw();
        let registers = hypercall(Call::HandleReplace, [old.0.into(), rights.bits().into()]).ok()?;
        Ok(Self::from_handle(Handle::from_register(registers.x1)))
    }

    /// Returns the object's type and koid, and what the handle allows (`zx_object_get_info` with ZX_INFO_HANDLE_BASIC).
    ///
    /// # Errors
    ///
    /// BAD_HANDLE.
    fn basic_info(&self) -> Result<InfoHandleBasic> {
        InfoHandleBasic::of(self)
    }

    /// Returns how many handles lead to the object (`zx_object_get_info` with ZX_INFO_HANDLE_COUNT).
    ///
    /// # Errors
    ///
    /// BAD_HANDLE; ACCESS_DENIED without INSPECT.
    fn handle_count(&self) -> Result<u32> {
        InfoHandleCount::of(self).map(|info| info.handle_count)
    }

    /// Returns the object's name (`zx_object_get_property` with ZX_PROP_NAME). Of the objects here VMOs have names.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE; ACCESS_DENIED without GET_PROPERTY; NOT_SUPPORTED for an object without names.
    fn name(&self) -> Result<Name> {
        property::name(self)
    }

    /// Names the object, by 31 bytes at most and none from the first 0 on (`zx_object_set_property` with ZX_PROP_NAME).
    ///
    /// # Errors
    ///
    /// As [`Object::name`], with SET_PROPERTY for the right.
    fn set_name(&self, name: &[u8]) -> Result<()> {
        property::set_name(self, name)
    }

    /// Waits until one of the signals is asserted, or the monotonic clock shows `deadline_ns` (`zx_object_wait_one`). Without
    /// signals that is the deadline.
    fn wait_one(&self, signals: Signals, deadline_ns: u64) -> Waited {
        property::wait_one(self, signals, deadline_ns)
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

/// Closes handles by their numbers (`zx_handle_close_many`). Those that are handles are closed even if others are not. Dropping
/// a value of this crate is `zx_handle_close`.
///
/// # Errors
///
/// BAD_HANDLE: one of them is no handle, or is there twice.
pub fn close_many(handles: &[RawHandle]) -> Result<()> {
    hypercall(Call::HandleCloseMany, [address_of(handles), handles.len() as u64]).status().ok()
}
