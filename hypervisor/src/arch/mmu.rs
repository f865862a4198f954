//! The real machine, as `stage2` and `vm` ask for it.

use core::sync::atomic::{AtomicU64, Ordering};
use core::{ptr, slice};

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{Readable, VTTBR_EL2, Writeable};
use checked::Checked;
use hypervisor::wire::send_console;
use oracle::old::FrameNote;
use stage2::{Mmu, Order};
use vm::{Machine, MemoryRange, System};
use vmsa::{Dsb, Features, Hpa, PAGE_SIZE, Scope, Tlbi};

use super::caches::{self, Maintenance};
use super::{cpu, memory, per_cpu, tlb, uart};

/// The machine that this program runs on. EL2 sees all RAM at its physical address.
#[derive(Debug)]
pub(crate) struct RealMmu {
    features: Features,
    /// What `DC ZVA` zeroes, where there is one.
    zeroing_block: Option<u64>,
}

/// The machine, with the oracle watching what is done to tables and frames.
pub(crate) type Watched = Checked<RealMmu>;

/// Makes a system of the memory, or returns `None` where it is too little. The oracle's notes, a word for each frame, come out
/// of it first.
///
/// # Safety
///
/// 1. The ranges are RAM that EL2 has mapped, that do not overlap, and that nobody uses.
pub(crate) unsafe fn new_system(free: &mut [MemoryRange]) -> Option<System<Watched>> {
    let machine = RealMmu { features: cpu::features().memory, zeroing_block: caches::zeroing_block() };
    let first = free.iter().map(|range| range.start.page_base()).min()?;
    let end = free.iter().map(|range| range.end).max()?;
    let count = ((end.0 - first.0) / PAGE_SIZE) as usize;
    let pages = ((count * size_of::<FrameNote>()) as u64).div_ceil(PAGE_SIZE);
    let largest = free.iter_mut().max_by_key(|range| range.end.0 - range.start.0)?;
    let notes = Hpa(largest.end.page_base().0.checked_sub(pages * PAGE_SIZE)?);
    if notes <= largest.start {
        return None;
    }
    largest.end = notes;
    machine.zero(notes, pages);
    let pointer = ptr::with_exposed_provenance_mut::<FrameNote>(notes.0 as usize);
    // SAFETY: by (1) the memory is RAM that is mapped and nobody's, and it was just taken out of what is given on; a note of
    // zeros is a note.
    let notes = unsafe { slice::from_raw_parts_mut(pointer, count) };
    // SAFETY: both duties are (1); RAM stays mapped for good, and no allocation of Rust's gave the addresses a provenance.
    unsafe { System::new(Checked::new(machine, first, notes), free) }
}

fn slot<'a>(at: Hpa) -> &'a AtomicU64 {
    let pointer = ptr::with_exposed_provenance::<AtomicU64>(at.0 as usize);
    // SAFETY: `Mmu` is asked only for slots of tables, which are words of frames that `vm` has taken for tables; all RAM is
    // mapped, and tables are only ever accessed as atomics.
    unsafe { &*pointer }
}

impl Mmu for RealMmu {
    #[inline]
    fn features(&self) -> &Features {
        &self.features
    }

    #[inline]
    fn read(&self, at: Hpa) -> u64 {
        slot(at).load(Ordering::Relaxed)
    }

    #[inline]
    fn write(&self, at: Hpa, descriptor: u64, order: Order) {
        let order = match order {
            Order::Plain => Ordering::Relaxed,
            Order::Release => Ordering::Release,
        };
        slot(at).store(descriptor, order);
    }

    #[inline]
    fn exchange(&self, at: Hpa, old: u64, new: u64) -> Result<(), u64> {
        slot(at).compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).map(drop)
    }

    #[inline]
    fn tlbi(&self, op: Tlbi, scope: Scope) {
        tlb::invalidate(op, scope);
    }

    #[inline]
    fn dsb(&self, kind: Dsb) {
        match kind {
            Dsb::Nsh => barrier::dsb(barrier::NSH),
            Dsb::Nshst => barrier::dsb(barrier::NSHST),
            Dsb::Ishst => barrier::dsb(barrier::ISHST),
            Dsb::Ish => barrier::dsb(barrier::ISH),
        }
    }

    #[inline]
    fn isb(&self) {
        barrier::isb(barrier::SY);
    }

    fn vttbr(&self) -> u64 {
        VTTBR_EL2.get()
    }

    fn set_vttbr(&self, vttbr: u64) {
        VTTBR_EL2.set(vttbr);
    }
}

impl RealMmu {
    /// Tells whether what EL2 writes has to leave the data caches before everybody sees it: a guest with its caches off does
    /// not look there without FEAT_S2FWB, instruction fetches do not without CTR_EL0.IDC.
    const fn must_clean(&self) -> bool {
        !self.features.forced_write_back || !self.features.no_clean_for_fetch
    }

    /// Brings memory and caches together, so that neither has what the other has not.
    fn settle(&self, start: Hpa, len: u64) {
        if self.must_clean() {
            // SAFETY: (1) `vm` asks only for memory that it was given, and all of that is mapped.
            unsafe { caches::maintain(&self.features, start, len, Maintenance::CleanAndInvalidate) };
        }
    }
}

impl Machine for RealMmu {
    fn zero(&self, frame: Hpa, pages: u64) {
        match self.zeroing_block {
            // SAFETY: (1) `vm` asks only for frames that it was given and that are not in use; (2) it is that number.
            Some(block) => unsafe { caches::zero_pages(frame, pages, block) },
            None => {
                let start = ptr::with_exposed_provenance_mut::<u8>(frame.0 as usize);
                // SAFETY: as above; zeros are valid bytes.
                unsafe { start.write_bytes(0, (pages * PAGE_SIZE) as usize) };
            }
        }
        self.settle(frame, pages * PAGE_SIZE);
        self.sync_instructions();
    }

    fn read_memory(&self, from: Hpa, into: &mut [u8]) {
        self.settle(from, into.len() as u64);
        // SAFETY: (1) `vm` asks only for memory that it was given, which is RAM and never borrowed.
        unsafe { memory::copy_from(from, into) };
    }

    /// A line that is written in part is fetched first, and may have been fetched before a guest with its caches off wrote the
    /// rest of it: it is dropped before as well.
    fn write_memory(&self, to: Hpa, from: &[u8]) {
        self.settle(to, from.len() as u64);
        // SAFETY: (1) as above.
        unsafe { memory::copy_to(to, from) };
        self.settle(to, from.len() as u64);
    }

    fn clean_caches(&self, from: Hpa, len: u64, invalidate: bool) {
        let how = if invalidate { Maintenance::CleanAndInvalidate } else { Maintenance::Clean };
        // SAFETY: (1) `vm` asks only for memory that it was given.
        unsafe { caches::maintain(&self.features, from, len, how) };
    }

    fn sync_instructions(&self) {
        if !self.features.no_invalidate_for_fetch {
            caches::invalidate_instructions();
        }
    }

    fn now_ns(&self) -> u64 {
        cpu::now_ns()
    }

    fn console_write(&self, bytes: &[u8]) {
        uart::with_port(|port| send_console(port, bytes));
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let waiting = |port: &mut uart::Port| {
            into.iter_mut().map_while(|byte| port.receive().map(|received| *byte = received)).count()
        };
        uart::with_port(waiting).unwrap_or(0)
    }

    fn relax(&self) {
        core::hint::spin_loop();
    }

    #[inline]
    fn cpu(&self) -> usize {
        per_cpu::cpu_index()
    }
}
