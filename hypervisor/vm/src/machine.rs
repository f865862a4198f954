//! What the objects need of a machine besides its MMU.

use abi::{AccessKind, Status};
use stage2::Mmu;
use vmsa::{Dc, Dsb, Features, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms};

use crate::VmId;
use crate::told::{ExitCause, Lock, Owner, Taken, Work};

/// A machine: at EL2 the real one, in tests a simulation. Physical addresses are those of memory that [`crate::System`] was
/// given and nothing else; lengths never cross the end of what was given. This program sees that memory at addresses equal to
/// the physical ones.
///
/// The provided methods are what memory and caches need so that every observer sees the same. Those with `told` in their names
/// do nothing: they are for machines that watch their memory, and hear of everything in the order in which it happens.
pub trait Machine: Mmu + Sync {
    /// Writes zeros over `pages` pages from `frame` on.
    fn clear(&self, frame: Hpa, pages: u64);

    /// Copies from memory that a guest may be writing.
    fn copy_from(&self, from: Hpa, into: &mut [u8]);

    /// Copies to memory that a guest may be reading.
    fn copy_to(&self, to: Hpa, from: &[u8]);

    /// Maintains the data cache lines of `len` bytes from `start` on. It is done after the next [`Dsb::Sy`].
    fn dc(&self, op: Dc, start: Hpa, len: u64);

    /// Has every CPU forget the instructions that it has fetched: `IC IALLUIS`, without barriers.
    fn ic(&self);

    /// Returns the nanoseconds since the machine was started.
    fn now_ns(&self) -> u64;

    /// Writes bytes to the console.
    fn console_write(&self, bytes: &[u8]);

    /// Reads bytes that wait at the console, without waiting; returns how many.
    fn console_read(&self, into: &mut [u8]) -> usize;

    /// Returns what PAR_EL1 says after this CPU has translated an address for its vCPU's access, by the tables and the registers that
    /// are in effect.
    ///
    /// # Errors
    ///
    /// - [`Status::BAD_STATE`]: the vCPU's stage 1 is on, and makes something else of the address.
    /// - [`Status::NOT_SUPPORTED`]: there is no such CPU.
    fn translate(&self, address: Ipa, access: AccessKind) -> Result<u64, Status>;

    /// Lets some time pass, without promising how much.
    fn relax(&self);

    /// Returns the number of this CPU.
    fn cpu(&self) -> usize;

    /// Makes `pages` pages from `frame` on read as zero, to every observer: a guest with its caches off, and instruction
    /// fetches, included.
    fn zero(&self, frame: Hpa, pages: u64) {
        self.clear(frame, pages);
        self.settle(frame, pages * PAGE_SIZE);
        self.sync_instructions();
    }

    /// Reads memory that a guest may have written, caches on or off.
    fn read_memory(&self, from: Hpa, into: &mut [u8]) {
        self.settle(from, into.len() as u64);
        self.copy_from(from, into);
    }

    /// Writes memory that a guest may read, caches on or off. A line that is written in part is fetched first, and may have been
    /// fetched before a guest with its caches off wrote the rest of it: it is dropped before as well.
    fn write_memory(&self, to: Hpa, from: &[u8]) {
        self.settle(to, from.len() as u64);
        self.copy_to(to, from);
        self.settle(to, from.len() as u64);
    }

    /// Copies a page to another one, for every observer to see: a guest with its caches off, and instruction fetches, included.
    fn copy(&self, to: Hpa, from: Hpa) {
        let mut part = [0; 512];
        self.settle(from, PAGE_SIZE);
        for offset in (0..PAGE_SIZE).step_by(part.len()) {
            self.copy_from(from.add(offset), &mut part);
            self.copy_to(to.add(offset), &part);
        }
        self.settle(to, PAGE_SIZE);
        self.sync_instructions();
    }

    /// Brings memory and caches together where EL2 and a guest may not see the same, so that neither has what the other has not.
    fn settle(&self, start: Hpa, len: u64) {
        if must_clean(self.features()) && !planted::is(66) {
            self.clean_caches(start, len, Dc::CleanInvalidate);
        }
    }

    /// Maintains the lines of the memory, to the point of coherency, and waits for it.
    fn clean_caches(&self, from: Hpa, len: u64, op: Dc) {
        self.dc(op, from, len);
        // SY: who reads past the point of coherency may be no CPU.
        self.dsb(Dsb::Sy);
    }

    /// Makes what was written to memory visible to instruction fetches of every CPU, where the CPUs do not do that themselves.
    fn sync_instructions(&self) {
        if !self.features().no_invalidate_for_fetch && !planted::is(123) {
            // Instructions are fetched again from memory, which the first barrier makes current.
            self.dsb(Dsb::Ish);
            self.ic();
            self.dsb(Dsb::Ish);
            self.isb();
        }
    }

    /// Hears that frames have left the allocator; what is in them is whatever was there before.
    fn told_taken(&self, _frame: Hpa, _pages: u64, _taken_as: Taken) {}

    /// Hears whose memory frames are from now on.
    fn told_owner(&self, _frame: Hpa, _pages: u64, _owner: Owner) {}

    /// Hears that frames go back to the allocator.
    fn told_given_back(&self, _frame: Hpa, _pages: u64) {}

    /// Hears that this CPU has taken a lock.
    fn told_locked(&self, _lock: Lock) {}

    /// Hears that this CPU is about to let go of a lock.
    fn told_unlocked(&self, _lock: Lock) {}

    /// Hears that this CPU begins to work on a range of a VM's memory. It does one such work at a time.
    fn told_begun(&self, _work: Work, _vm: VmId, _range: IpaRange, _perms: Option<Perms>) {}

    /// Hears how that work ended.
    fn told_ended(&self, _status: Status) {}

    /// Hears that this CPU is about to go on in a guest, as that vCPU.
    fn told_entering(&self, _vm: VmId, _vcpu: usize) {}

    /// Hears that this CPU has come back from a guest, and why.
    fn told_left(&self, _vm: VmId, _vcpu: usize, _cause: ExitCause) {}
}

/// Tells whether what EL2 writes has to leave the data caches before everybody sees it: a guest with its caches off does not look
/// there without FEAT_S2FWB, instruction fetches do not without CTR_EL0.IDC.
const fn must_clean(features: &Features) -> bool {
    !features.forced_write_back || !features.no_clean_for_fetch
}
