//! A second vCPU, where the machine has one.

use crate::arch;
use zx::platform;

/// The affinity of the second vCPU.
const SECOND: u64 = 1;

/// Starts the second vCPU, with stage 1 and vectors as on the first and a stack of its own, in `main`.
///
/// # Errors
///
/// PSCI's code, as where there is no second vCPU or it is on already.
pub fn start_second(main: extern "C" fn() -> !) -> Result<(), i32> {
    platform::cpu_on(SECOND, arch::second_entry(), main as *const () as u64)
}
