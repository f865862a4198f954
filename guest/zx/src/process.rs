//! What the VM as a whole can do: speak, listen, wait and end.

use crate::sys::{address_of, address_of_mut, hypercall};
use abi::{Call, Result};

/// Writes bytes to the VM's console, as they are (`zx_debug_write`).
///
/// # Errors
///
/// INVALID_ARGS: the bytes are not mapped to be read; none were written.
pub fn debug_write(bytes: &[u8]) -> Result<()> {
    hypercall(Call::DebugWrite, [address_of(bytes), bytes.len() as u64]).status().ok()
}

/// Reads bytes that wait at the VM's console, and returns how many there were; it does not wait for any (`zx_debug_read`).
///
/// # Errors
///
/// INVALID_ARGS: the buffer is not mapped to be written.
pub fn debug_read(buffer: &mut [u8]) -> Result<usize> {
    let registers = hypercall(Call::DebugRead, [address_of_mut(buffer), buffer.len() as u64]).ok()?;
    Ok(registers.x1 as usize)
}

/// Ends the VM with the given status, as `zx_process_exit` ends a process.
pub fn exit(status: i32) -> ! {
    loop {
        hypercall(Call::Exit, [u64::from(status as u32)]);
    }
}

/// Returns the time since some moment before the VM began, in nanoseconds (`zx_clock_get_monotonic`).
///
/// # Errors
///
/// None.
pub fn clock_get_monotonic_ns() -> Result<u64> {
    Ok(hypercall(Call::ClockGetMonotonic, []).ok()?.x1)
}

/// Waits until the monotonic clock shows `deadline_ns` (`zx_nanosleep`).
///
/// # Errors
///
/// None.
pub fn nanosleep_until_ns(deadline_ns: u64) -> Result<()> {
    hypercall(Call::Nanosleep, [deadline_ns]).status().ok()
}

/// Lets other vCPUs run (`zx_thread_legacy_yield`).
///
/// # Errors
///
/// None.
pub fn yield_now() -> Result<()> {
    hypercall(Call::Yield, []).status().ok()
}
