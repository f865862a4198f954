//! The SIMD and floating-point registers, which the program itself never uses: it is built without them.

use crate::arch;

/// Lets EL1 use the registers.
pub fn enable() {
    arch::simd::enable();
}

/// Executes `HVC #0` for a function without arguments while the registers hold `registers`, and leaves there what they
/// hold afterwards.
///
/// [`enable`] comes first.
pub fn call_with(registers: &mut [u128; 32], function_id: u32) {
    arch::simd::call_with(registers, function_id);
}
