//! Virtual memory address regions: here, regions of the VM's IPA space.

use crate::handle::object;
use crate::sys::hypercall;
use crate::{Handle, Object, Record, Vmo};
use abi::{Call, InfoVmar, Result, VmOptions, VmarOp};

/// A region of the IPA space, which holds mappings and other regions. Dropping the handle destroys nothing:
/// [`Vmar::destroy`] does.
#[derive(Debug)]
#[repr(transparent)]
pub struct Vmar(pub(crate) Handle);

object!(Vmar);

impl Vmar {
    /// Creates a region in this one, and returns it with its address.
    pub fn allocate(&self, options: VmOptions, offset: u64, len_bytes: u64) -> Result<(Self, u64)> {
        let arguments = [self.register(), options.bits().into(), offset, len_bytes];
        let registers = hypercall(Call::VmarAllocate, arguments).ok()?;
        Ok((Self(Handle::from_register(registers.x1)), registers.x2))
    }

    /// Maps part of a VMO, and returns the address of the mapping.
    pub fn map(&self, options: VmOptions, vmar_offset: u64, vmo: &Vmo, vmo_offset: u64, len_bytes: u64) -> Result<u64> {
        let arguments = [self.register(), options.bits().into(), vmar_offset, vmo.register(), vmo_offset, len_bytes];
        Ok(hypercall(Call::VmarMap, arguments).ok()?.x1)
    }

    /// Removes the mappings in a range, and destroys the regions in it.
    pub fn unmap(&self, address: u64, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmarUnmap, [self.register(), address, len_bytes]).status().ok()
    }

    /// Sets what the mappings in a range allow.
    pub fn protect(&self, options: VmOptions, address: u64, len_bytes: u64) -> Result<()> {
        let arguments = [self.register(), options.bits().into(), address, len_bytes];
        hypercall(Call::VmarProtect, arguments).status().ok()
    }

    /// Destroys this region and everything in it. The handle stays, and names a dead region.
    pub fn destroy(&self) -> Result<()> {
        hypercall(Call::VmarDestroy, [self.register()]).status().ok()
    }

    /// Does something to the pages that are mapped in a range.
    pub fn op_range(&self, op: VmarOp, address: u64, len_bytes: u64) -> Result<()> {
        let arguments = [self.register(), u32::from(op).into(), address, len_bytes];
        hypercall(Call::VmarOpRange, arguments).status().ok()
    }

    /// Returns where this region lies.
    pub fn info(&self) -> Result<InfoVmar> {
        InfoVmar::of(self)
    }
}
