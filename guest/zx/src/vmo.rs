//! Virtual memory objects: pages that mappings show.

use crate::handle::object;
use crate::sys::{address_of, address_of_mut, hypercall};
use crate::{Handle, Object, Record};
use abi::{Alignment, Call, InfoVmo, Result, VmoOp, VmoOptions};

/// A run of pages, zero until they are written, that lives as long as a handle or a mapping shows it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Vmo(pub(crate) Handle);

object!(Vmo);

impl Vmo {
    /// Creates a VMO of a size that is rounded up to whole pages.
    pub fn create(len_bytes: u64) -> Result<Self> {
        Self::create_with_options(VmoOptions::empty(), len_bytes)
    }

    /// Creates a VMO with options.
    pub fn create_with_options(options: VmoOptions, len_bytes: u64) -> Result<Self> {
        let registers = hypercall(Call::VmoCreate, [len_bytes, options.bits().into()]).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Creates a VMO whose frames are adjacent, the first of them aligned as asked.
    pub fn create_contiguous(len_bytes: u64, alignment: Alignment) -> Result<Self> {
        let alignment_log2 = u64::from(alignment.bytes().ilog2());
        let registers = hypercall(Call::VmoCreateContiguous, [len_bytes, alignment_log2]).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Copies bytes out of the VMO.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let len_bytes = buffer.len() as u64;
        self.read_to_address(address_of_mut(buffer), offset, len_bytes)
    }

    /// Copies bytes out of the VMO to memory that Rust knows nothing of.
    pub fn read_to_address(&self, address: u64, offset: u64, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmoRead, [self.register(), address, offset, len_bytes]).status().ok()
    }

    /// Copies bytes into the VMO.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_from_address(address_of(bytes), offset, bytes.len() as u64)
    }

    /// Copies bytes into the VMO from memory that Rust knows nothing of.
    pub fn write_from_address(&self, address: u64, offset: u64, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmoWrite, [self.register(), address, offset, len_bytes]).status().ok()
    }

    /// Returns the size in bytes.
    pub fn size_bytes(&self) -> Result<u64> {
        Ok(hypercall(Call::VmoGetSize, [self.register()]).ok()?.x1)
    }

    /// Sets the size of a resizable VMO, rounded up to whole pages.
    pub fn set_size_bytes(&self, len_bytes: u64) -> Result<()> {
        hypercall(Call::VmoSetSize, [self.register(), len_bytes]).status().ok()
    }

    /// Does something to a range of pages.
    pub fn op_range(&self, op: VmoOp, offset: u64, len_bytes: u64) -> Result<()> {
        let arguments = [self.register(), u32::from(op).into(), offset, len_bytes];
        hypercall(Call::VmoOpRange, arguments).status().ok()
    }

    /// Turns the handle into one that allows executable mappings. The old handle is gone even if that fails.
    pub fn replace_as_executable(self) -> Result<Self> {
        // The second argument is Zircon's resource that vouches for the code; there is none here.
        let arguments = [self.into_raw().0.into(), 0];
        let registers = hypercall(Call::VmoReplaceAsExecutable, arguments).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Returns what the VMO is and holds.
    pub fn info(&self) -> Result<InfoVmo> {
        InfoVmo::of(self)
    }
}
