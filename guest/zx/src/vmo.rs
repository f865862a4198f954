//! Virtual memory objects: pages that mappings show.

use crate::handle::object;
use crate::sys::{address_of, address_of_mut, hypercall};
use crate::{Handle, Object, Record, Resource};
use abi::{Alignment, CachePolicy, Call, InfoVmo, Result, VmoLockState, VmoOp, VmoOptions};

/// A run of pages, zero until they are written, that lives as long as a handle, a mapping or a pin shows it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Vmo(pub(crate) Handle);

object!(Vmo);

impl Vmo {
    /// Creates a VMO of a size that is rounded up to whole pages (`zx_vmo_create` without options).
    ///
    /// # Errors
    ///
    /// As [`Vmo::create_with_options`].
    pub fn create(len_bytes: u64) -> Result<Self> {
        Self::create_with_options(VmoOptions::empty(), len_bytes)
    }

    /// Creates a VMO with options (`zx_vmo_create`). With UNBOUNDED the length counts for nothing.
    ///
    /// # Errors
    ///
    /// - INVALID_ARGS: RESIZABLE and UNBOUNDED together, or an option that there is not.
    /// - OUT_OF_RANGE: longer than a VMO can be.
    /// - NO_MEMORY: the VM's quota, or the machine's memory.
    pub fn create_with_options(options: VmoOptions, len_bytes: u64) -> Result<Self> {
        let registers = hypercall(Call::VmoCreate, [len_bytes, options.bits().into()]).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Creates a VMO whose frames are adjacent, the first of them aligned as asked, all of them committed
    /// (`zx_vmo_create_contiguous`, which takes a BTI too).
    ///
    /// # Errors
    ///
    /// - INVALID_ARGS: the length is 0.
    /// - OUT_OF_RANGE: longer than a VMO can be.
    /// - NO_MEMORY: there is no such run of frames, or the VM's quota.
    pub fn create_contiguous(len_bytes: u64, alignment: Alignment) -> Result<Self> {
        let alignment_log2 = u64::from(alignment.bytes().ilog2());
        let registers = hypercall(Call::VmoCreateContiguous, [len_bytes, alignment_log2]).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Creates a window on device memory, by its physical address in bytes (`zx_vmo_create_physical`). Its cache policy is
    /// UNCACHED_DEVICE until another is set.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE: of the resource.
    /// - INVALID_ARGS: the length is 0, or it or the address is no multiple of the page size.
    /// - OUT_OF_RANGE: not within what the resource grants.
    /// - NO_MEMORY.
    pub fn create_physical(resource: &Resource, physical_address: u64, len_bytes: u64) -> Result<Self> {
        let arguments = [resource.register(), physical_address, len_bytes];
        let registers = hypercall(Call::VmoCreatePhysical, arguments).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Copies bytes out of the VMO, from an offset in bytes (`zx_vmo_read`). What has no memory reads as zeros.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without READ.
    /// - NOT_SUPPORTED: the VMO is physical. BAD_STATE: its cache policy is not CACHED.
    /// - OUT_OF_RANGE: not all of the bytes lie in the VMO.
    /// - INVALID_ARGS: the buffer is not mapped to be written; nothing was copied.
    /// - NO_MEMORY: a page of the buffer could not be had.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let len_bytes = buffer.len() as u64;
        self.read_to_address(address_of_mut(buffer), offset, len_bytes)
    }

    /// Copies bytes out of the VMO to memory that Rust knows nothing of.
    ///
    /// # Errors
    ///
    /// As [`Vmo::read`].
    pub fn read_to_address(&self, address: u64, offset: u64, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmoRead, [self.register(), address, offset, len_bytes]).status().ok()
    }

    /// Copies bytes into the VMO, at an offset in bytes (`zx_vmo_write`). Pages come where there were none.
    ///
    /// # Errors
    ///
    /// As [`Vmo::read`], with WRITE for READ, a buffer that can be read, and NO_MEMORY for a page of the VMO.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_from_address(address_of(bytes), offset, bytes.len() as u64)
    }

    /// Copies bytes into the VMO from memory that Rust knows nothing of.
    ///
    /// # Errors
    ///
    /// As [`Vmo::write`].
    pub fn write_from_address(&self, address: u64, offset: u64, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmoWrite, [self.register(), address, offset, len_bytes]).status().ok()
    }

    /// Returns the size in bytes (`zx_vmo_get_size`). It needs no right.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE.
    pub fn size_bytes(&self) -> Result<u64> {
        Ok(hypercall(Call::VmoGetSize, [self.register()]).ok()?.x1)
    }

    /// Sets the size of a resizable VMO, rounded up to whole pages (`zx_vmo_set_size`). What is cut off is gone from every
    /// mapping; what is added is zero.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without WRITE, or without RESIZE where the VMO is resizable.
    /// - UNAVAILABLE: the VMO is not resizable.
    /// - OUT_OF_RANGE: longer than a VMO can be.
    /// - INVALID_ARGS: a snapshot's offset in what it was made from, and this size, are more than that together.
    /// - BAD_STATE: a page that would be cut off is pinned.
    pub fn set_size_bytes(&self, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmoSetSize, [self.register(), len_bytes]).status().ok()
    }

    /// Does something to a range of bytes (`zx_vmo_op_range`). COMMIT, PREFETCH and the hints reach outward to whole pages.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE. ACCESS_DENIED: COMMIT, DECOMMIT and ZERO need WRITE; CACHE_SYNC, CACHE_CLEAN,
    ///   CACHE_CLEAN_INVALIDATE and PREFETCH READ; LOCK, TRY_LOCK and UNLOCK one of the two; hints none.
    /// - OUT_OF_RANGE: not within the VMO, or for locks not just the VMO.
    /// - INVALID_ARGS: DECOMMIT of parts of pages; operations on caches of no bytes; LOCK, which [`Vmo::lock`] does.
    /// - NOT_SUPPORTED: what the VMO is rules the operation out: physical, contiguous, a relative of a snapshot, not discardable.
    ///   CACHE_INVALIDATE always.
    /// - BAD_STATE: DECOMMIT of what is pinned; ZERO where the cache policy is not CACHED; UNLOCK of what is not locked.
    /// - UNAVAILABLE: TRY_LOCK of what was discarded.
    /// - NO_MEMORY: pages that were committed until then stay.
    pub fn op_range(&self, op: VmoOp, offset: u64, len_bytes: u64) -> Result<()> {
        let arguments = [self.register(), u32::from(op).into(), offset, len_bytes];
        hypercall(Call::VmoOpRange, arguments).status().ok()
    }

    /// Locks a discardable VMO of `len_bytes` bytes, and returns what was discarded while it was not locked (`zx_vmo_op_range`
    /// with LOCK). TRY_LOCK and UNLOCK are [`Vmo::op_range`]'s.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without READ and WRITE.
    /// - NOT_SUPPORTED: the VMO is not discardable.
    /// - OUT_OF_RANGE: it has another size.
    pub fn lock(&self, len_bytes: u64) -> Result<VmoLockState> {
        let mut state = VmoLockState::default();
        let buffer = address_of_mut(&mut state);
        let op = u32::from(VmoOp::Lock).into();
        let arguments = [self.register(), op, 0, len_bytes, buffer, size_of::<VmoLockState>() as u64];
        hypercall(Call::VmoOpRange, arguments).ok()?;
        Ok(state)
    }

    /// Sets how mappings that are made from now on cache the memory (`zx_vmo_set_cache_policy`).
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without MAP.
    /// - BAD_STATE: the VMO is mapped, pinned, a parent or a child, or has pages that are not cached now. A physical VMO may
    ///   always be given the policy that it has.
    pub fn set_cache_policy(&self, policy: CachePolicy) -> Result<()> {
        hypercall(Call::VmoSetCachePolicy, [self.register(), u32::from(policy).into()]).status().ok()
    }

    /// Turns the handle into one that allows executable mappings (`zx_vmo_replace_as_executable`). The old handle is gone even
    /// if that fails.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE.
    pub fn replace_as_executable(self) -> Result<Self> {
        // The second argument is Zircon's resource that vouches for the code; there is none here.
        let arguments = [self.into_raw().0.into(), 0];
        let registers = hypercall(Call::VmoReplaceAsExecutable, arguments).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Returns what the VMO is and holds (`zx_object_get_info` with ZX_INFO_VMO). It needs no right.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE.
    pub fn info(&self) -> Result<InfoVmo> {
        InfoVmo::of(self)
    }
}
