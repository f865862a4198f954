//! Accesses to memory that may not be there.
//!
//! A probe makes its access by one instruction. Where that takes an exception, the guest goes on after it and the probe
//! tells which one it was.
//!
//! Probes take addresses, not pointers: what they reach is memory that the guest maps for itself, outside the program
//! and so outside what Rust knows of. [`store`] insists on that. What [`execute`] and [`load_at_el0`] run is code that
//! the guest has put there, and no more than [`RET`] and [`LOAD_AND_SVC`].

use core::ffi::CStr;

use crate::exception::Exception;
use crate::{arch, image};

/// The instruction `RET`, which [`execute`] can run.
pub const RET: u32 = 0xd65f_03c0;

/// The instructions `LDR x0, [x0]` and `SVC #0`, as they lie in memory, for [`load_at_el0`].
pub const LOAD_AND_SVC: u64 = 0xd400_0001_f940_0000;

/// What a probe came to.
pub type Result<T> = core::result::Result<T, Exception>;

/// Loads the eight bytes at `address`, which need not be aligned.
pub fn load(address: u64) -> Result<u64> {
    arch::probe::load(address).into_result()
}

/// Stores eight bytes at `address`, which need not be aligned.
///
/// # Panics
///
/// Where the bytes would be the program's own.
pub fn store(address: u64, value: u64) -> Result<()> {
    let (image, last) = (image::range(), address.saturating_add(size_of_val(&value) as u64 - 1));
    assert!(last < image.start || image.end <= address, "a store at {address:#x} would hit the program itself");
    arch::probe::store(address, value).into_result().map(drop)
}

/// Calls the code at `address`.
pub fn execute(address: u64) -> Result<()> {
    arch::probe::execute(address).into_result().map(drop)
}

/// Loads the eight bytes at `address` from EL0, by running [`LOAD_AND_SVC`], which lies at `code`.
pub fn load_at_el0(code: u64, address: u64) -> Result<u64> {
    arch::probe::run_at_el0(code, address).into_result()
}

/// Executes `HVC #1`.
pub fn hvc_1() -> Result<()> {
    arch::probe::hvc_1().into_result().map(drop)
}

/// Asks for a file to be opened for reading, by semihosting. Returns its handle, or `None` where nobody answers or there is no
/// such file.
pub fn open_by_semihosting(path: &CStr) -> Result<Option<u64>> {
    // The operation is the low half of x0; what is above it tells an answer from none.
    const SYS_OPEN: u64 = 0x5555_5555 << 32 | 1;
    const READ: u64 = 0;
    let block = [path.as_ptr().addr() as u64, READ, path.count_bytes() as u64];
    let answer = arch::probe::semihosting(SYS_OPEN, &block).into_result()?;
    Ok(Some(answer).filter(|answer| ![SYS_OPEN, u64::MAX].contains(answer)))
}
