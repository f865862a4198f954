//! The real machine, as `stage2` and `vm` ask for it.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use core::{ptr, slice};

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{HCR_EL2, Readable, VTCR_EL2, VTTBR_EL2, Writeable};
use checked::{Checked, Recorder, Room};
use hypervisor::region::{Region, Regions};
use hypervisor::wire::send_console;
use oracle::{Held, LiveNotes, Note};
use stage2::{Mmu, Order};
use vm::{Machine, MemoryRange, System};
use vmsa::{Dc, Dsb, Features, Hpa, PAGE_SIZE, Scope, Tlbi};

use super::{caches, cpu, memory, per_cpu, tlb, uart};

/// The machine that this program runs on. EL2 sees all RAM at its physical address.
#[derive(Debug)]
pub(crate) struct RealMmu {
    features: Features,
    /// What `DC ZVA` zeroes, where there is one.
    zeroing_block: Option<u64>,
}

/// The machine, with the oracle watching what is done to tables and frames.
pub(crate) type Watched = Checked<RealMmu>;

/// How many facts the oracle can remember at once: what TLBs may hold though the tables say otherwise.
const FACTS: usize = 4096;

// The oracle takes at most a sixteenth of the RAM: half of that for its notes, a fixed size each frame; and of the smallest
// machine's 256 MiB at most the other half for its facts.
const _: () = assert!(size_of::<Note>() as u64 <= PAGE_SIZE / 32 && FACTS * size_of::<Held>() <= 8 << 20);

/// Makes a system of what is free of `ram`, or returns `None` where that is too little. What the oracle works with comes out of
/// it first.
///
/// # Safety
///
/// 1. The regions in `free` are RAM that EL2 has mapped, that do not overlap, and that nobody uses.
pub(crate) unsafe fn new_system(
    ram: &Regions,
    free: &Regions,
    cpus: u32,
    recorder: Option<Recorder>,
) -> Option<System<Watched>> {
    let mut store = [NO_MEMORY; Regions::CAPACITY];
    for (range, region) in store.iter_mut().zip(free.as_slice()) {
        *range = MemoryRange { start: region.start, end: region.end };
    }
    let ranges = store.get_mut(..free.as_slice().len())?;
    // SAFETY: (1) is the same.
    let room = unsafe { take_room(ram, ranges) }?;
    let machine = RealMmu { features: cpu::features().memory, zeroing_block: caches::zeroing_block() };
    let watched = Checked::new(machine, cpus, room, recorder);
    keep_others(&watched, ram, ranges)?;
    // SAFETY: both duties are (1); RAM stays mapped for good, and no allocation of Rust's gave the addresses a provenance.
    unsafe { System::new(watched, ranges) }
}

const NO_MEMORY: MemoryRange = MemoryRange { start: Hpa(0), end: Hpa(0) };

/// Takes what the oracle needs to watch `ram` out of the free memory.
///
/// # Safety
///
/// 1. The ranges are RAM that EL2 has mapped, that do not overlap, and that nobody uses.
unsafe fn take_room(ram: &Regions, free: &mut [MemoryRange]) -> Option<Room> {
    let first = ram.as_slice().iter().map(|region| region.start.page_base()).min()?;
    let end = ram.as_slice().iter().map(|region| region.end).max()?;
    let frames = ((end.0 - first.0) / PAGE_SIZE) as usize;
    // SAFETY: (1) is the same.
    let judge = unsafe { take_places(free, 1) }?.first_mut()?;
    // SAFETY: as above.
    let notes = unsafe { take_slice(free, frames) }?;
    // SAFETY: as above.
    let blocks = unsafe { take_slice(free, LiveNotes::counts(frames)) }?;
    // SAFETY: as above.
    let facts = unsafe { take_slice(free, FACTS) }?;
    Some(Room { judge, first, notes, blocks, facts })
}

/// Takes `count` default values out of the end of the largest range.
///
/// # Safety
///
/// 1. The ranges are RAM that EL2 has mapped, that do not overlap, and that nobody uses.
unsafe fn take_slice<T: Copy + Default>(free: &mut [MemoryRange], count: usize) -> Option<&'static mut [T]> {
    // SAFETY: (1) is the same.
    let places = unsafe { take_places(free, count) }?;
    places.fill(MaybeUninit::new(T::default()));
    // SAFETY: every element has just been written.
    Some(unsafe { places.assume_init_mut() })
}

/// Takes room for `count` values out of the end of the largest range.
///
/// # Safety
///
/// 1. The ranges are RAM that EL2 has mapped, that do not overlap, and that nobody uses.
unsafe fn take_places<T>(free: &mut [MemoryRange], count: usize) -> Option<&'static mut [MaybeUninit<T>]> {
    let pages = ((count * size_of::<T>()) as u64).div_ceil(PAGE_SIZE);
    let largest = free.iter_mut().max_by_key(|range| range.end.0 - range.start.0)?;
    let start = Hpa(largest.end.page_base().0.checked_sub(pages * PAGE_SIZE)?);
    if start <= largest.start {
        return None;
    }
    largest.end = start;
    let pointer = ptr::with_exposed_provenance_mut::<MaybeUninit<T>>(start.0 as usize);
    // SAFETY: by (1) the memory is RAM that is mapped and nobody's, and it was just taken out of what is given on; it is aligned
    // to a page, and what is in it need not be a value.
    Some(unsafe { slice::from_raw_parts_mut(pointer, count) })
}

/// Tells of all RAM that is not free: the image with its heap and stacks, the device tree, the guest's file, the oracle's room.
fn keep_others(watched: &Watched, ram: &Regions, free: &[MemoryRange]) -> Option<()> {
    let mut kept = ram.clone();
    for range in free {
        kept = kept.without(Region { start: range.start, end: range.end }).ok()?;
    }
    kept.as_slice().iter().for_each(|region| watched.keep(region.start, region.end));
    Some(())
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
        // One of EL2's own translation does nothing for a guest's.
        if !planted::is(31) {
            tlb::invalidate(op, scope);
        }
    }

    #[inline]
    fn dsb(&self, kind: Dsb) {
        match kind {
            Dsb::Nsh => barrier::dsb(barrier::NSH),
            Dsb::Nshst => barrier::dsb(barrier::NSHST),
            Dsb::Ishst => barrier::dsb(barrier::ISHST),
            Dsb::Ish => barrier::dsb(barrier::ISH),
            Dsb::Sy => barrier::dsb(barrier::SY),
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

    fn set_vtcr(&self, vtcr: u64) {
        VTCR_EL2.set(vtcr);
    }

    fn set_hcr(&self, hcr: u64) {
        HCR_EL2.set(hcr);
    }
}

impl Machine for RealMmu {
    fn clear(&self, frame: Hpa, pages: u64) {
        match self.zeroing_block {
            // SAFETY: (1) `vm` asks only for frames that it was given and that are not in use; (2) it is that number.
            Some(block) => unsafe { caches::zero_pages(frame, pages, block) },
            None => {
                let start = ptr::with_exposed_provenance_mut::<u8>(frame.0 as usize);
                // SAFETY: as above; zeros are valid bytes.
                unsafe { start.write_bytes(0, (pages * PAGE_SIZE) as usize) };
            }
        }
    }

    fn copy_from(&self, from: Hpa, into: &mut [u8]) {
        // SAFETY: (1) `vm` asks only for memory that it was given, which is RAM and never borrowed.
        unsafe { memory::copy_from(from, into) };
    }

    fn copy_to(&self, to: Hpa, from: &[u8]) {
        // SAFETY: (1) as above.
        unsafe { memory::copy_to(to, from) };
    }

    fn dc(&self, op: Dc, start: Hpa, len: u64) {
        // SAFETY: (1) `vm` asks only for memory that it was given, and all of that is mapped.
        unsafe { caches::maintain(self.features.dcache_line as u64, start, len, op) };
    }

    fn ic(&self) {
        caches::invalidate_instructions();
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
