//! What each CPU has for itself: stacks, and a few notes. TPIDR_EL2 holds the address of the notes.

use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use aarch64_cpu::registers::{Readable, TPIDR_EL2};
use hypervisor::MAX_CPUS;
use hypervisor::exits::Exits;

const PAGE: usize = 4096;
/// Room for boot, which moves the whole system through its frames a few times.
const STACK: usize = 128 << 10;
const EMERGENCY_STACK: usize = 8 << 10;

/// The notes of a CPU.
pub(crate) struct PerCpu {
    /// The CPU's number, which is the one of its vCPU.
    pub(crate) index: AtomicUsize,
    /// The last exits of its vCPU.
    pub(crate) exits: Exits,
    /// The CPU is telling of a panic: another is not told of.
    pub(crate) is_panicking: AtomicBool,
    /// The CPU is ending the machine: an exception means that the way it took leads nowhere.
    pub(super) is_ending: AtomicBool,
}

/// The memory of a CPU. Stacks grow down into a guard page, which is not mapped.
///
/// The emergency stack ends where the notes begin, so that a CPU whose stack is gone finds it from TPIDR_EL2 alone.
#[repr(C, align(4096))]
pub(super) struct CpuMemory {
    guard: Uninitialized<PAGE>,
    stack: Uninitialized<STACK>,
    emergency_guard: Uninitialized<PAGE>,
    emergency_stack: Uninitialized<EMERGENCY_STACK>,
    notes: PerCpu,
}

struct Uninitialized<const LEN: usize>(UnsafeCell<[u8; LEN]>);

// SAFETY: nothing in Rust reads or writes the bytes; they are the stack of one CPU.
unsafe impl<const LEN: usize> Sync for Uninitialized<LEN> {}

impl<const LEN: usize> Uninitialized<LEN> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; LEN]))
    }
}

impl CpuMemory {
    /// Where the emergency guard page lies in it; the other lies at the start.
    pub(super) const EMERGENCY_GUARD: usize = offset_of!(Self, emergency_guard);
    /// Where the notes lie in it.
    pub(super) const NOTES: usize = offset_of!(Self, notes);
    /// How far below the notes the stack begins.
    pub(super) const STACK_BELOW_NOTES: usize = Self::NOTES - Self::EMERGENCY_GUARD;

    const fn new() -> Self {
        Self {
            guard: Uninitialized::new(),
            stack: Uninitialized::new(),
            emergency_guard: Uninitialized::new(),
            emergency_stack: Uninitialized::new(),
            notes: PerCpu {
                index: AtomicUsize::new(0),
                exits: Exits::new(),
                is_panicking: AtomicBool::new(false),
                is_ending: AtomicBool::new(false),
            },
        }
    }
}

/// The memory of every CPU. It is all zeros, so that it takes no room in the file.
pub(super) static CPUS: [CpuMemory; MAX_CPUS] = [const { CpuMemory::new() }; MAX_CPUS];

/// Returns this CPU's notes.
#[inline]
pub(crate) fn this_cpu() -> &'static PerCpu {
    let notes = core::ptr::with_exposed_provenance::<PerCpu>(TPIDR_EL2.get() as usize);
    // SAFETY: the boot code puts the address of this CPU's `CpuMemory::notes`, a static, into TPIDR_EL2 before any Rust runs,
    // and nobody writes the register again; the notes are atomics.
    unsafe { &*notes }
}

/// Returns this CPU's number.
#[inline]
pub(crate) fn cpu_index() -> usize {
    this_cpu().index.load(Relaxed)
}

/// Notes this CPU's number, which is 0 until then.
pub(crate) fn set_cpu_index(index: usize) {
    this_cpu().index.store(index, Relaxed);
}

/// Tells whether the address is below a stack.
pub(crate) fn is_stack_guard(address: u64) -> bool {
    let is_in =
        |guard: &Uninitialized<PAGE>| address.wrapping_sub(core::ptr::from_ref(guard).addr() as u64) < PAGE as u64;
    CPUS.iter().any(|cpu| is_in(&cpu.guard) || is_in(&cpu.emergency_guard))
}
