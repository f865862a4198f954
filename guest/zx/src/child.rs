//! VMOs that are made from others (`zx_vmo_create_child`).

use crate::sys::hypercall;
use crate::{Handle, Object, Vmo};
use abi::{Call, ChildOptions, Result};

impl Vmo {
    /// Creates a VMO that begins at an offset of this one, both in bytes; the length is rounded up to whole pages. The
    /// options say how the two are related: just one of SNAPSHOT, SNAPSHOT_AT_LEAST_ON_WRITE, SNAPSHOT_MODIFIED, SLICE and
    /// REFERENCE, and with it NO_WRITE or RESIZABLE.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without DUPLICATE and READ.
    /// - INVALID_ARGS: options that do not go together; an offset that is no multiple of the page size; a slice that does not
    ///   lie in its parent; a snapshot of contiguous memory; a reference with an offset or a length.
    /// - OUT_OF_RANGE: longer than a VMO can be, or the end is beyond all offsets.
    /// - NOT_SUPPORTED: the parent is discardable; a slice of what is resizable; a reference of a slice or of what is contiguous
    ///   or physical, or a resizable one of what is not; a snapshot of what is physical, or of a slice.
    /// - BAD_STATE: a snapshot where a page is pinned or the cache policy is not CACHED; for that reason also a slice of
    ///   memory that is neither contiguous nor physical.
    /// - NO_MEMORY.
    pub fn create_child(&self, options: ChildOptions, offset: u64, len_bytes: u64) -> Result<Self> {
        let arguments = [self.register(), options.bits().into(), offset, len_bytes];
        let registers = hypercall(Call::VmoCreateChild, arguments).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Creates a copy of a range as it is now, whose pages are copied when one side writes. What lies past the end is zero.
    ///
    /// # Errors
    ///
    /// As [`Vmo::create_child`].
    pub fn create_snapshot(&self, offset: u64, len_bytes: u64) -> Result<Self> {
        self.create_child(ChildOptions::SNAPSHOT, offset, len_bytes)
    }

    /// Creates a window on a range, whose contents are the parent's.
    ///
    /// # Errors
    ///
    /// As [`Vmo::create_child`].
    pub fn create_slice(&self, offset: u64, len_bytes: u64) -> Result<Self> {
        self.create_child(ChildOptions::SLICE, offset, len_bytes)
    }

    /// Creates another object with the contents and the size of this one.
    ///
    /// # Errors
    ///
    /// As [`Vmo::create_child`].
    pub fn create_reference(&self) -> Result<Self> {
        self.create_child(ChildOptions::REFERENCE, 0, 0)
    }
}
