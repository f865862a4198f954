//! Virtual memory address regions: here, regions of the VM's IPA space.

use crate::handle::object;
use crate::info::{self, Listed};
use crate::sys::hypercall;
use crate::{Handle, Object, Record, Vmo};
use abi::{Call, InfoMaps, InfoVmar, Result, VmOptions, VmarOp};

/// A region of the IPA space, which holds mappings and other regions. Dropping the handle destroys nothing:
/// [`Vmar::destroy`] does.
#[derive(Debug)]
#[repr(transparent)]
pub struct Vmar(pub(crate) Handle);

object!(Vmar);

impl Vmar {
    /// Creates a region in this one, and returns it with its address (`zx_vmar_allocate`). The offset, in bytes, is from the
    /// start of this one: where the region goes with SPECIFIC, where it ends at the latest with OFFSET_IS_UPPER_LIMIT,
    /// else 0.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE. ACCESS_DENIED: handle or region lacks an access that the CAN_MAP options ask for; it does not
    ///   let its regions be placed.
    /// - INVALID_ARGS: options of mappings, or that there are not; a length that is 0 or not whole pages; an offset without
    ///   either option, or that is not a page's; a range that is not in this region, or not aligned as asked.
    /// - BAD_STATE: the region is destroyed.
    /// - ALREADY_EXISTS: with SPECIFIC, something is there.
    /// - NO_RESOURCES: there is no such gap. NO_MEMORY.
    pub fn allocate(&self, options: VmOptions, offset: u64, len_bytes: u64) -> Result<(Self, u64)> {
        let arguments = [self.register(), options.bits().into(), offset, len_bytes];
        let registers = hypercall(Call::VmarAllocate, arguments).ok()?;
        Ok((Self(Handle::from_register(registers.x1)), registers.x2))
    }

    /// Maps part of a VMO, and returns the address of the mapping (`zx_vmar_map`). Offsets are in bytes; the length is rounded
    /// up to whole pages. The first offset is as in [`Vmar::allocate`]; SPECIFIC_OVERWRITE replaces what is mapped there.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE: first of the region, then of the VMO.
    /// - ACCESS_DENIED: the VMO's handle lacks MAP; one of the handles lacks an access that is asked for; the region does not
    ///   let mappings be placed.
    /// - INVALID_ARGS: PERM_WRITE or PERM_EXECUTE without PERM_READ; MAP_RANGE with SPECIFIC_OVERWRITE; options of regions, or that
    ///   there are not; offsets that are not a page's; no length; a range that is not in the region; what is to be overwritten
    ///   touches a region.
    /// - NOT_SUPPORTED: REQUIRE_NON_RESIZABLE, and the VMO is; a discardable VMO without ALLOW_FAULTS.
    /// - OUT_OF_RANGE: length or end of the range wrap.
    /// - BAD_STATE, ALREADY_EXISTS, NO_RESOURCES, NO_MEMORY: as [`Vmar::allocate`].
    pub fn map(&self, options: VmOptions, vmar_offset: u64, vmo: &Vmo, vmo_offset: u64, len_bytes: u64) -> Result<u64> {
        let arguments = [self.register(), options.bits().into(), vmar_offset, vmo.register(), vmo_offset, len_bytes];
        Ok(hypercall(Call::VmarMap, arguments).ok()?.x1)
    }

    /// Removes the mappings in a range, and destroys the regions in it (`zx_vmar_unmap`). In the dialect `kernel` the length is
    /// rounded up, and nothing need be there.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE.
    /// - INVALID_ARGS: address or length that are not whole pages; no length; a range that is not in this region; part of a
    ///   region. In the dialect `kernel` also a region, where the handle lacks OP_CHILDREN.
    /// - BAD_STATE: the region is destroyed.
    /// - NOT_FOUND: nothing is there.
    /// - NO_MEMORY.
    pub fn unmap(&self, address: u64, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmarUnmap, [self.register(), address, len_bytes]).status().ok()
    }

    /// Sets what the mappings in a range allow (`zx_vmar_protect`). The length is rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE. ACCESS_DENIED: the handle lacks an access that is given; a mapping was made without it; a mapping
    ///   in a region of this one would get more than it has.
    /// - INVALID_ARGS: PERM_WRITE or PERM_EXECUTE without PERM_READ; other options than permissions; an address that is not a page's;
    ///   no length; a range that is not in this region; a mapping in a region of this one, where the handle lacks
    ///   OP_CHILDREN.
    /// - BAD_STATE: the region is destroyed. NOT_FOUND: a gap. NO_MEMORY.
    pub fn protect(&self, options: VmOptions, address: u64, len_bytes: u64) -> Result<()> {
        let arguments = [self.register(), options.bits().into(), address, len_bytes];
        hypercall(Call::VmarProtect, arguments).status().ok()
    }

    /// Destroys this region and everything in it (`zx_vmar_destroy`). The handle stays, and names a dead region.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without OP_CHILDREN; NOT_SUPPORTED for the root; BAD_STATE where it is destroyed.
    pub fn destroy(&self) -> Result<()> {
        hypercall(Call::VmarDestroy, [self.register()]).status().ok()
    }

    /// Does something to the pages that are mapped in a range (`zx_vmar_op_range`). The length is rounded up to whole pages.
    /// What was done before an error is done. The dialect `kernel` reads rights and regions in the range differently, and has no ZERO.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE. ACCESS_DENIED: the handle lacks WRITE for COMMIT, DECOMMIT or ZERO; a mapping was made
    ///   without WRITE for these, or without READ for PREFETCH.
    /// - INVALID_ARGS: no length, or an address that is not a page's.
    /// - OUT_OF_RANGE: not in this region; beyond a mapped VMO's end, but for MAP_RANGE and hints.
    /// - BAD_STATE: the region is destroyed; a gap; something is pinned.
    /// - NOT_SUPPORTED: a VMO does not do this, as [`Vmo::op_range`] tells. NO_MEMORY.
    pub fn op_range(&self, op: VmarOp, address: u64, len_bytes: u64) -> Result<()> {
        let arguments = [self.register(), u32::from(op).into(), address, len_bytes];
        hypercall(Call::VmarOpRange, arguments).status().ok()
    }

    /// Returns where this region lies (`zx_object_get_info` with ZX_INFO_VMAR). A dead one tells where it was.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without INSPECT.
    pub fn info(&self) -> Result<InfoVmar> {
        InfoVmar::of(self)
    }

    /// Tells of this region and of everything in it, as far as there is room: a region before what lies in it, and all by
    /// their addresses (`zx_object_get_info` with ZX_INFO_VMAR_MAPS).
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE; ACCESS_DENIED without INSPECT.
    /// - BAD_STATE: the region is destroyed.
    /// - INVALID_ARGS: the room is not mapped to be written.
    pub fn maps(&self, room: &mut [InfoMaps]) -> Result<Listed> {
        info::maps(self, room)
    }
}
