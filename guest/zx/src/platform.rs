//! The calls that are not Stagecraft's own: the SMC Calling Convention (DEN 0028) and PSCI (DEN 0022).

use crate::sys::function;
use abi::smccc;

/// `PSCI_VERSION`.
const PSCI_VERSION: u32 = 0x8400_0000;
/// `CPU_ON`, for 64-bit callers.
const CPU_ON: u32 = 0xc400_0003;
/// `SYSTEM_OFF`.
const SYSTEM_OFF: u32 = 0x8400_0008;
/// `PSCI_FEATURES`.
const PSCI_FEATURES: u32 = 0x8400_000a;

/// The major and minor number of a specification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version {
    /// What must agree.
    pub major: u16,
    /// What may only grow.
    pub minor: u16,
}

impl Version {
    /// Both conventions put the major number in bits 16–30 and the minor one in bits 0–15.
    const fn from_register(x0: u64) -> Self {
        Self { major: (x0 >> 16) as u16, minor: x0 as u16 }
    }
}

/// Returns the version of the SMC Calling Convention that is kept.
pub fn smccc_version() -> Version {
    Version::from_register(function(smccc::SMCCC_VERSION, []).x0)
}

/// Returns the version of PSCI that is kept.
pub fn psci_version() -> Version {
    Version::from_register(function(PSCI_VERSION, []).x0)
}

/// Tells whether a function of PSCI is implemented.
pub fn has_psci_function(function_id: u32) -> bool {
    function(PSCI_FEATURES, [function_id.into()]).x0 as i32 >= 0
}

/// Tells whether a function of the SMC Calling Convention's architecture service is implemented.
pub fn has_architecture_function(function_id: u32) -> bool {
    function(smccc::SMCCC_ARCH_FEATURES, [function_id.into()]).x0 as i32 >= 0
}

/// Returns the identifier of the vendor's hypervisor service.
pub fn vendor_uid() -> [u32; 4] {
    let registers = function(smccc::VENDOR_UID, []);
    [registers.x0, registers.x1, registers.x2, registers.x3].map(|register| register as u32)
}

/// Returns the major and minor number of the contract.
pub fn vendor_revision() -> (u64, u64) {
    let registers = function(smccc::VENDOR_REVISION, []);
    (registers.x0, registers.x1)
}

/// Starts a vCPU by its affinity, at an IPA and with `context` in `x0`.
///
/// # Errors
///
/// PSCI's own code: -2 where there is no such vCPU, -4 where it is on.
pub fn cpu_on(affinity: u64, entry: u64, context: u64) -> Result<(), i32> {
    match function(CPU_ON, [affinity, entry, context]).x0 as i32 {
        0 => Ok(()),
        code => Err(code),
    }
}

/// Ends the VM with status 0.
pub fn system_off() -> ! {
    loop {
        function(SYSTEM_OFF, []);
    }
}
