//! What the oracle knows of each CPU: its registers, its barriers, what it has under way.

use vmsa::{Hpa, IpaRange};

use crate::event::Domain;
use crate::fact::{Fact, Wasted};
use crate::note::Stamp;
use crate::operation::Operation;
use crate::tree::{Control, vmid_of};
use crate::violation::Place;

/// How many CPUs the oracle can tell apart.
pub const MOST_CPUS: usize = 16;
/// A bit for each CPU.
pub(crate) type Cpus = u16;

/// Returns the CPU's bit.
pub(crate) const fn bit(cpu: usize) -> Cpus {
    1 << cpu
}

/// A system register: what it was set to, and what is in effect.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Synchronized {
    pub(crate) written: Option<u64>,
    pub(crate) effective: Option<u64>,
}

impl Synchronized {
    pub(crate) const fn write(&mut self, value: u64) {
        self.written = Some(value);
    }

    /// Puts in effect what was written; tells whether that changes anything.
    pub(crate) fn synchronize(&mut self) -> bool {
        let changed = self.written != self.effective;
        self.effective = self.written;
        changed
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.written != self.effective
    }
}

/// An invalidation of whole VMIDs that waits for its DSB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flush {
    /// Of one VMID, or of all.
    pub(crate) vmid: Option<u16>,
    pub(crate) domain: Domain,
    /// Stage-1 and combined entries only.
    pub(crate) is_stage1: bool,
}

/// An invalidation that named nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Early {
    pub(crate) vmid: Option<u16>,
    pub(crate) range: IpaRange,
    pub(crate) wasted: Wasted,
}

impl Early {
    pub(crate) fn names(&self, fact: &Fact) -> bool {
        self.vmid.is_none_or(|vmid| vmid == fact.vmid) && !self.range.intersection(fact.range).is_empty()
    }
}

/// How many of them a CPU may have under way; more are not counted.
const MOST_FLUSHES: usize = 16;

/// A vCPU that ran.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ran {
    pub(crate) vm: u32,
    pub(crate) vcpu: u32,
    pub(crate) when: u64,
}

/// What came of the last exit from a guest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exit {
    pub(crate) esr: u64,
    pub(crate) hpfar: u64,
}

/// How many vCPUs that last ran on a CPU, one of each VM, are remembered.
const MOST_RAN: usize = 16;

/// A CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) vttbr: Synchronized,
    pub(crate) vtcr: Synchronized,
    pub(crate) hcr: Synchronized,
    /// When it last ordered its stores before those that follow.
    pub(crate) ordered: u64,
    /// When it last let a lock go: what it stored before is before what the next holder does.
    pub(crate) released: u64,
    /// By CPU, up to when this one has seen what that one did.
    pub(crate) seen: [u64; MOST_CPUS],
    /// No walk of the VMID that is loaded can be under way: a DSB has waited for them, and none has begun since.
    pub(crate) has_no_walks: bool,
    /// The first entry that was made and may not be visible to walks.
    pub(crate) unpublished: Option<Place>,
    pub(crate) flushes: [Option<Flush>; MOST_FLUSHES],
    /// The last invalidation that was for nothing, as far as is known: perhaps it came too early.
    pub(crate) early: Option<Early>,
    /// Instruction caches were invalidated then, which waits for a DSB.
    pub(crate) fetches: Option<u64>,
    pub(crate) operation: Option<Operation>,
    pub(crate) exit: Option<Exit>,
    /// By VM, the vCPU that last ran here, as long as its entries may be left.
    pub(crate) ran: [Option<Ran>; MOST_RAN],
}

impl Cpu {
    pub(crate) const NEW: Self = Self {
        vttbr: Synchronized { written: None, effective: None },
        vtcr: Synchronized { written: None, effective: None },
        hcr: Synchronized { written: None, effective: None },
        ordered: 0,
        released: 0,
        seen: [0; MOST_CPUS],
        has_no_walks: true,
        unpublished: None,
        flushes: [None; MOST_FLUSHES],
        early: None,
        fetches: None,
        operation: None,
        exit: None,
        ran: [None; MOST_RAN],
    };

    pub(crate) fn has_stage2(&self) -> bool {
        self.hcr.effective.is_none_or(|hcr| hcr & 1 != 0)
    }

    /// Returns the VMID that invalidations are for, or `None` while that is being changed.
    pub(crate) fn vmid(&self) -> Option<u16> {
        self.vttbr.effective.filter(|_| !self.vttbr.is_pending()).map(vmid_of)
    }

    /// Tells whether what was stamped is ordered before what this CPU stores now; `others` is the CPU that did it.
    pub(crate) const fn follows(&self, stamp: Stamp, this: usize, writer: &Self, is_release: bool) -> bool {
        if stamp.when() == 0 {
            return true;
        }
        if stamp.cpu() == this {
            return is_release || self.ordered > stamp.when();
        }
        writer.ordered > stamp.when() || writer.released > stamp.when()
    }

    pub(crate) fn flush(&mut self, flush: Flush) {
        if let Some(place) = self.flushes.iter_mut().find(|place| place.is_none()) {
            *place = Some(flush);
        }
    }

    /// Takes the flushes that a barrier of the domain completes.
    pub(crate) fn completed(&mut self, domain: Domain) -> [Option<Flush>; MOST_FLUSHES] {
        let taken = self.flushes.map(|flush| flush.filter(|flush| domain >= flush.domain));
        self.flushes = self.flushes.map(|flush| flush.filter(|flush| domain < flush.domain));
        taken
    }

    /// Returns what controls translation here, if nothing of it is about to change.
    pub(crate) fn settled(&self) -> Option<Control> {
        let hcr = self.hcr.effective.unwrap_or(1);
        let is_changing = self.vtcr.is_pending() || self.hcr.is_pending();
        self.vtcr.effective.filter(|_| !is_changing).map(|vtcr| Control::new(vtcr, hcr))
    }

    /// Returns where the vCPU of the VM that last ran here is kept; the first of the others makes room.
    pub(crate) fn ran(&mut self, vm: u32) -> &mut Option<Ran> {
        let its = self.ran.iter().position(|ran| ran.is_some_and(|ran| ran.vm == vm));
        let place = its.or_else(|| self.ran.iter().position(Option::is_none)).unwrap_or(0);
        &mut self.ran[place]
    }
}

/// A lock, as far as order between CPUs comes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lock {
    pub(crate) id: u64,
    pub(crate) root: Option<Hpa>,
    pub(crate) holder: Option<usize>,
    /// By CPU, up to when whoever takes it has seen what that one did.
    pub(crate) seen: [u64; MOST_CPUS],
}
