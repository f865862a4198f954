//! Function identifiers that are not ours: the SMC Calling Convention (DEN 0028) and PSCI 1.1 (DEN 0022).

/// What `x0` holds after a call that nobody implements (DEN 0028, "Unknown Function Identifier").
pub const NOT_SUPPORTED: u64 = u64::MAX;

/// `SMCCC_VERSION`.
pub const SMCCC_VERSION: u32 = 0x8000_0000;
/// `SMCCC_ARCH_FEATURES`.
pub const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
/// The unique identifier of the vendor's hypervisor service, in `w0`–`w3`.
pub const VENDOR_UID: u32 = 0x8600_ff01;
/// The revision of the vendor's hypervisor service: major in `w0`, minor in `w1`.
pub const VENDOR_REVISION: u32 = 0x8600_ff03;

/// The version of the SMC Calling Convention that is kept: 1.2.
pub const SMCCC_VERSION_1_2: u64 = 0x0001_0002;
/// The identifier that says "this is Stagecraft": 5a1e9c04-7d3b-4f52-9e6a-c1d8f2b70a35, as four little-endian words.
pub const UID: [u32; 4] = [0x049c_1e5a, 0x524f_3b7d, 0xd8c1_6a9e, 0x350a_b7f2];
/// The revision of the contract: major and minor.
pub const REVISION: (u64, u64) = (1, 1);
