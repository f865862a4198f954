//! Xen's hypercalls, as its public headers have them: those for memory, and what makes a domain to do it in.

use core::arch::asm;
use core::fmt;
use core::ptr;

use peers::Failure;

/// `memory_op`.
const MEMORY_OP: u64 = 12;
/// `xen_version`, whose command 0 asks for the version: nothing is read or written for it.
const XEN_VERSION: u64 = 17;
/// `console_io`, whose command 0 writes.
const CONSOLE_IO: u64 = 18;
/// `sched_op`, whose command 2 shuts the domain down.
const SCHED_OP: u64 = 29;
/// `domctl`.
const DOMCTL: u64 = 36;
/// A number that is no hypercall's.
const UNKNOWN: u64 = 63;

/// `XEN_DOMCTL_INTERFACE_VERSION` of Xen 4.17. Another Xen refuses it.
const DOMCTL_VERSION: u32 = 0x15;

/// What a hypercall came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// What it returned: a count or an error, by its own rules.
    pub(crate) value: i64,
    /// How many instructions it took, `HVC` among them.
    pub(crate) instructions: u64,
}

/// Makes a hypercall, and counts by the two instructions next to it.
///
/// # Safety
///
/// 1. The hypercall leaves the memory alone that this program is in, but for what `arguments` point to.
unsafe fn hypercall(number: u64, arguments: [u64; 3]) -> Outcome {
    let [a, b, c] = arguments;
    let (value, before, after): (i64, u64, u64);
    // SAFETY: Xen changes x0 to x5 and x16 at most, and memory as the caller answers for (1).
    unsafe {
        asm!(
            "mrs {before}, cntvct_el0",
            "hvc #0xea1",
            "mrs {after}, cntvct_el0",
            before = out(reg) before,
            after = lateout(reg) after,
            inout("x0") a => value,
            inout("x1") b => _,
            inout("x2") c => _,
            out("x3") _,
            out("x4") _,
            out("x5") _,
            inout("x16") number => _,
            options(nostack),
        );
    }
    // The first of the two reads lies in what they span.
    Outcome { value, instructions: after - before - 1 }
}

/// Asks for Xen's version: the least that a hypercall of its does.
pub(crate) fn xen_version() -> Outcome {
    // SAFETY: (1) it touches no memory.
    unsafe { hypercall(XEN_VERSION, [0; 3]) }
}

/// Makes a hypercall that there is not.
pub(crate) fn unknown() -> Outcome {
    // SAFETY: (1) it touches no memory.
    unsafe { hypercall(UNKNOWN, [0; 3]) }
}

/// Powers the machine off, as dom0's end does.
pub(crate) fn power_off() -> ! {
    let reason: u32 = 0;
    loop {
        // SAFETY: (1) it reads the reason and ends the program.
        unsafe { hypercall(SCHED_OP, [2, ptr::from_ref(&reason).addr() as u64, 0]) };
    }
}

/// Xen's console.
#[derive(Debug)]
pub(crate) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: (1) it reads the text.
        unsafe { hypercall(CONSOLE_IO, [0, text.len() as u64, text.as_ptr().addr() as u64]) };
        Ok(())
    }
}

/// Whose memory a call is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(transparent)]
pub(crate) struct DomainId(pub(crate) u16);

impl DomainId {
    /// The domain that asks.
    pub(crate) const OWN: Self = Self(0x7ff0);
    /// This program's, by its number.
    pub(crate) const ZERO: Self = Self(0);
}

/// How large the extents of a reservation are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Extent {
    /// 4 KiB.
    Page = 0,
    /// 2 MiB.
    Block = 9,
}

/// `struct xen_memory_reservation`.
#[repr(C)]
struct Reservation {
    extent_start: u64,
    extents: u64,
    order: u32,
    flags: u32,
    domain: DomainId,
}

/// What is done to a reservation.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Change {
    /// `XENMEM_decrease_reservation`.
    Decrease = 1,
    /// `XENMEM_populate_physmap`.
    Populate = 6,
}

/// Takes away or fills in the extents that begin at the frames `frames`, and returns the instructions.
///
/// # Errors
///
/// How many extents Xen did, where that is not all of them.
///
/// # Safety
///
/// 1. Nothing of this program is in those extents.
pub(crate) unsafe fn change(change: Change, domain: DomainId, extent: Extent, frames: &[u64]) -> Result<u64, Failure> {
    let reservation = Reservation {
        extent_start: frames.as_ptr().addr() as u64,
        extents: frames.len() as u64,
        order: extent as u32,
        flags: 0,
        domain,
    };
    // SAFETY: (1) Xen reads the reservation and the frames, and the caller answers for the rest.
    let outcome = unsafe { hypercall(MEMORY_OP, [change as u64, ptr::from_ref(&reservation).addr() as u64, 0]) };
    let what = match change {
        Change::Decrease => "XENMEM_decrease_reservation did, of its extents",
        Change::Populate => "XENMEM_populate_physmap did, of its extents",
    };
    if outcome.value == frames.len() as i64 { Ok(outcome.instructions) } else { Err(Failure::new(what, outcome.value)) }
}

/// `struct xen_add_to_physmap_batch`.
#[repr(C)]
struct Batch {
    domain: DomainId,
    space: u16,
    pages: u16,
    foreign: DomainId,
    indices: u64,
    frames: u64,
    errors: u64,
}

/// `XENMAPSPACE_gmfn_foreign`: another domain's pages.
const FOREIGN: u16 = 4;
/// `XENMEM_add_to_physmap_batch`.
const ADD_BATCH: u64 = 23;

/// Maps pages of another domain, by its frame numbers `theirs`, at the frames `ours`, and returns the instructions.
///
/// # Errors
///
/// Xen's, or the first of a page's.
pub(crate) fn map_foreign(domain: DomainId, theirs: &[u64], ours: &[u64], errors: &mut [i32]) -> Result<u64, Failure> {
    errors.fill(0);
    let batch = Batch {
        domain: DomainId::OWN,
        space: FOREIGN,
        pages: theirs.len().min(ours.len()).min(errors.len()) as u16,
        foreign: domain,
        indices: theirs.as_ptr().addr() as u64,
        frames: ours.as_ptr().addr() as u64,
        errors: errors.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: (1) Xen writes the errors, and maps where this program has nothing.
    let outcome = unsafe { hypercall(MEMORY_OP, [ADD_BATCH, ptr::from_ref(&batch).addr() as u64, 0]) };
    let error = errors.iter().map(|error| i64::from(*error)).find(|error| *error != 0).unwrap_or(outcome.value);
    if error == 0 { Ok(outcome.instructions) } else { Err(Failure::new("XENMEM_add_to_physmap_batch", error)) }
}

/// `struct xen_domctl` with its largest member as words.
#[repr(C)]
struct Domctl {
    command: u32,
    version: u32,
    domain: DomainId,
    padding: [u16; 3],
    arguments: [u64; 16],
}

/// The commands of `domctl` that are made here.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Command {
    CreateDomain = 1,
    MaxMem = 11,
    MemoryMapping = 39,
    SetPagingMempoolSize = 86,
}

fn domctl<const N: usize>(command: Command, domain: &mut DomainId, arguments: [u64; N]) -> Outcome {
    let mut words = [0; 16];
    words[..N].copy_from_slice(&arguments);
    let mut domctl =
        Domctl { command: command as u32, version: DOMCTL_VERSION, domain: *domain, padding: [0; 3], arguments: words };
    // SAFETY: (1) Xen writes its answer to the structure; none of the commands changes memory that this program is in.
    let outcome = unsafe { hypercall(DOMCTL, [ptr::from_mut(&mut domctl).expose_provenance() as u64, 0, 0]) };
    *domain = domctl.domain;
    outcome
}

/// Creates a domain without vCPUs, which may have `pages` pages, and memory for their tables.
///
/// # Errors
///
/// Xen's, and which call it was.
pub(crate) fn create_domain(pages: u64) -> Result<DomainId, Failure> {
    const HVM_AND_HAP: u64 = 0b11;
    let mut domain = DomainId::ZERO;
    // Two 32-bit fields a word: ssidref and the UUID; then flags and IOMMU's options, vCPUs and event channels, the limits on
    // grants (-1 for Xen's own), their version and no trace, CPU pool 0 and the native GIC with no TEE, no SPIs.
    let words = [0, 0, HVM_AND_HAP << 32, 1 << 32, 16 | 0xffff_ffff << 32, 0xffff_ffff | 1 << 32, 0, 0, 0];
    succeeded("XEN_DOMCTL_createdomain", domctl(Command::CreateDomain, &mut domain, words))?;
    succeeded("XEN_DOMCTL_max_mem", domctl(Command::MaxMem, &mut domain, [pages * 4]))?;
    let tables_bytes = (pages / 128).next_multiple_of(512) * 4096;
    let set = domctl(Command::SetPagingMempoolSize, &mut domain, [tables_bytes]);
    succeeded("XEN_DOMCTL_set_paging_mempool_size", set).map(|_| domain)
}

/// How a range of registers changes.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Mapping {
    /// It goes.
    Remove = 0,
    /// It comes.
    Add = 1,
}

/// The most pages that Xen takes in one call for a range of registers.
pub(crate) const MOST_MMIO_PAGES: u64 = 64;

/// Maps this domain's frames from `frame` on to the machine's from `machine` on, or unmaps them, and returns the instructions.
///
/// # Errors
///
/// Xen's.
pub(crate) fn map_registers(mapping: Mapping, frame: u64, machine: u64, pages: u64) -> Result<u64, Failure> {
    let words = [frame, machine, pages, mapping as u64];
    succeeded("XEN_DOMCTL_memory_mapping", domctl(Command::MemoryMapping, &mut { DomainId::ZERO }, words))
}

fn succeeded(what: &'static str, outcome: Outcome) -> Result<u64, Failure> {
    if outcome.value == 0 { Ok(outcome.instructions) } else { Err(Failure::new(what, outcome.value)) }
}
