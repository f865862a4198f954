//! What the objects need of a machine besides its MMU.

use stage2::Mmu;
use vmsa::Hpa;

/// A machine: at EL2 the real one, in tests a simulation. Physical addresses are those of memory that [`crate::System`] was
/// given and nothing else; lengths never cross the end of what was given. This program sees that memory at addresses equal to
/// the physical ones.
pub trait Machine: Mmu + Sync {
    /// Makes `pages` pages from `frame` on read as zero, to every observer: a guest with its caches off, and instruction
    /// fetches, included.
    fn zero(&self, frame: Hpa, pages: u64);

    /// Is told that frames go back to the allocator. For machines that watch their memory.
    fn given_back(&self, _frame: Hpa, _pages: u64) {}

    /// Reads memory that a guest may have written, caches on or off.
    fn read_memory(&self, from: Hpa, into: &mut [u8]);

    /// Writes memory that a guest may read, caches on or off.
    fn write_memory(&self, to: Hpa, from: &[u8]);

    /// Writes dirty lines of the memory back to the point of coherency, and drops them where `invalidate` says so.
    fn clean_caches(&self, from: Hpa, len: u64, invalidate: bool);

    /// Makes what was written to memory visible to instruction fetches of every CPU, where the CPUs do not do that themselves.
    fn sync_instructions(&self);

    /// Returns the nanoseconds since the machine was started.
    fn now_ns(&self) -> u64;

    /// Writes bytes to the console.
    fn console_write(&self, bytes: &[u8]);

    /// Reads bytes that wait at the console, without waiting; returns how many.
    fn console_read(&self, into: &mut [u8]) -> usize;

    /// Lets some time pass, without promising how much.
    fn relax(&self);

    /// Returns the number of this CPU.
    fn cpu(&self) -> usize;
}
