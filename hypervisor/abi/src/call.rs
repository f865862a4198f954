//! The function identifiers of the vendor calls.

use num_enum::{IntoPrimitive, TryFromPrimitive};

/// The function id of vendor call 0: a 64-bit fast call of the vendor-specific hypervisor service (owner 6) of DEN 0028.
pub const VENDOR_BASE: u32 = 0xc600_0000;

/// A vendor call, by its number. What each takes and returns is told by `hypervisor/vm`, where it is served, and by
/// `guest/zx`, where it is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is named for the call that it makes")]
pub enum Call {
    StartupHandle = 0x001,
    Exit = 0x002,
    DebugWrite = 0x003,
    DebugRead = 0x004,
    ClockGetMonotonic = 0x005,
    Nanosleep = 0x006,
    Yield = 0x007,
    HandleClose = 0x010,
    HandleCloseMany = 0x011,
    HandleDuplicate = 0x012,
    HandleReplace = 0x013,
    ObjectGetInfo = 0x020,
    ObjectGetProperty = 0x021,
    ObjectSetProperty = 0x022,
    ObjectWaitOne = 0x023,
    VmarAllocate = 0x030,
    VmarMap = 0x031,
    VmarUnmap = 0x032,
    VmarProtect = 0x033,
    VmarDestroy = 0x034,
    VmarOpRange = 0x035,
    VmoCreate = 0x040,
    VmoCreateChild = 0x041,
    VmoRead = 0x042,
    VmoWrite = 0x043,
    VmoGetSize = 0x044,
    VmoSetSize = 0x045,
    VmoOpRange = 0x046,
    VmoCreateContiguous = 0x047,
    VmoReplaceAsExecutable = 0x048,
    VmoSetCachePolicy = 0x049,
    VmoCreatePhysical = 0x04a,
    BtiCreate = 0x080,
    BtiPin = 0x081,
    PmtUnpin = 0x082,
    Stage2Walk = 0x0f0,
    Stage2Stats = 0x0f1,
    Stage2Translate = 0x0f3,
}

impl Call {
    /// Returns the value of `w0` that makes this call.
    pub const fn function_id(self) -> u32 {
        VENDOR_BASE + self as u32
    }

    /// Returns the call that `w0` names, or `None` where it names no vendor call that is known.
    pub fn from_function_id(function_id: u32) -> Option<Self> {
        Self::try_from(function_id.wrapping_sub(VENDOR_BASE)).ok()
    }

    /// Tells whether the call inspects the hypervisor, which only a VM with `inspect=on` may do.
    pub const fn is_inspection(self) -> bool {
        matches!(self as u32, 0x0f0..=0x0ff)
    }
}

/// What [`Call::StartupHandle`] is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u32)]
pub enum Startup {
    /// The VMAR that covers the VM's whole guest-physical space.
    RootVmar = 1,
    /// The VMO that backs the VM's RAM.
    RamVmo = 2,
    /// The VM itself.
    Vm = 3,
    /// The device memory that the VM's boot arguments grant.
    MmioResource = 4,
}

/// The access that [`Call::Stage2Translate`] has the CPU translate an address for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive, TryFromPrimitive)]
#[repr(u64)]
pub enum AccessKind {
    /// A load.
    Read = 0,
    /// A store.
    Write = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_ids_name_their_calls_and_no_others() {
        assert_eq!(Call::VmarUnmap.function_id(), 0xc600_0032);
        assert_eq!(Call::from_function_id(0xc600_0035), Some(Call::VmarOpRange));
        for unknown in [0xc600_0000, 0xc600_0008, 0xc600_0100, 0x8600_0032, 0, u32::MAX] {
            assert_eq!(Call::from_function_id(unknown), None, "{unknown:#x}");
        }
    }
}
