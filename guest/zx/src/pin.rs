//! Device memory and pinned memory: what a driver needs of a VMO.

use crate::handle::object;
use crate::sys::{address_of_mut, hypercall};
use crate::{Handle, Object, Vmo};
use abi::{Call, PinOptions, Result, Startup};

/// The range of device memory that the VM's boot arguments grant (`mmio=`).
#[derive(Debug)]
#[repr(transparent)]
pub struct Resource(Handle);

object!(Resource);

impl Resource {
    /// Makes a handle to the resource of the device memory.
    ///
    /// # Errors
    ///
    /// NOT_FOUND: the boot arguments grant none. NO_MEMORY: there is no room for another handle.
    pub fn mmio() -> Result<Self> {
        let registers = hypercall(Call::StartupHandle, [u32::from(Startup::MmioResource).into()]).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }
}

/// What pins memory: Zircon's bus transaction initiator.
#[derive(Debug)]
#[repr(transparent)]
pub struct Bti(Handle);

object!(Bti);

impl Bti {
    /// Creates a BTI (`zx_bti_create`, which takes an IOMMU where this takes the resource).
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE; NO_MEMORY.
    pub fn create(resource: &Resource) -> Result<Self> {
        let registers = hypercall(Call::BtiCreate, [resource.register()]).ok()?;
        Ok(Self(Handle::from_register(registers.x1)))
    }

    /// Commits a range of a VMO, offset and length in bytes, and keeps its pages where they are (`zx_bti_pin`). Their physical
    /// addresses go to `addresses`, one a page, or one for all with CONTIGUOUS.
    ///
    /// # Errors
    ///
    /// - BAD_HANDLE, WRONG_TYPE. ACCESS_DENIED: the BTI's handle lacks MAP; the VMO's lacks MAP, READ for PERM_READ and
    ///   PERM_EXECUTE, or WRITE for PERM_WRITE.
    /// - INVALID_ARGS: an option that there is not, or no permission; COMPRESS and CONTIGUOUS together; CONTIGUOUS on a VMO that is
    ///   not; offset or length no multiple of the page size, or no length; another number of addresses than there are.
    /// - OUT_OF_RANGE: not within the VMO.
    /// - NO_MEMORY.
    pub fn pin(
        &self,
        options: PinOptions,
        vmo: &Vmo,
        offset: u64,
        len_bytes: u64,
        addresses: &mut [u64],
    ) -> Result<Pmt> {
        let (buffer, count) = (address_of_mut(addresses), addresses.len() as u64);
        let options = options.bits().into();
        let arguments = [self.register(), options, vmo.register(), offset, len_bytes, buffer, count];
        let registers = hypercall(Call::BtiPin, arguments).ok()?;
        Ok(Pmt(Handle::from_register(registers.x1)))
    }
}

/// A token for pinned memory. The pages are free to go when it is dropped.
#[derive(Debug)]
#[repr(transparent)]
pub struct Pmt(Handle);

object!(Pmt);

impl Pmt {
    /// Ends the pin, and the handle with it (`zx_pmt_unpin`).
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE. The handle is gone even so.
    pub fn unpin(self) -> Result<()> {
        hypercall(Call::PmtUnpin, [self.into_raw().0.into()]).status().ok()
    }
}
