//! The VM itself, and what it is given when it starts.

use crate::handle::object;
use crate::sys::hypercall;
use crate::{Handle, Vmar, Vmo};
use abi::{Call, Result, Startup};

/// A VM (Zircon's guest object).
#[derive(Debug)]
#[repr(transparent)]
pub struct Vm(Handle);

object!(Vm);

impl Vm {
    /// Makes a handle to the VM that asks.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: there is no room for another handle.
    pub fn current() -> Result<Self> {
        startup_handle(Startup::Vm).map(Self)
    }
}

impl Vmar {
    /// Makes a handle to the VMAR that covers the VM's whole IPA space.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: there is no room for another handle.
    pub fn root() -> Result<Self> {
        startup_handle(Startup::RootVmar).map(Self)
    }
}

impl Vmo {
    /// Makes a handle to the VMO that backs the VM's RAM.
    ///
    /// # Errors
    ///
    /// NO_MEMORY: there is no room for another handle.
    pub fn ram() -> Result<Self> {
        startup_handle(Startup::RamVmo).map(Self)
    }
}

fn startup_handle(kind: Startup) -> Result<Handle> {
    let registers = hypercall(Call::StartupHandle, [u32::from(kind).into()]).ok()?;
    Ok(Handle::from_register(registers.x1))
}
