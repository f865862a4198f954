//! The machine with the oracle at its side.

use core::mem::MaybeUninit;
use core::{ptr, slice};

use checked::{Checked, Room};
use hypervisor::region::{Region, Regions};
use oracle::{Held, LiveNotes, Note};
use vm::{MemoryRange, System};
use vmsa::{Hpa, PAGE_SIZE};

use super::mmu::RealMmu;
use super::ram::memory_ranges;

pub(crate) use super::virtio::open_recorder;
pub(crate) use checked::Recorder;

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
    let mut store = memory_ranges(free);
    let ranges = store.get_mut(..free.as_slice().len())?;
    // SAFETY: (1) is the same.
    let room = unsafe { take_room(ram, ranges) }?;
    let watched = Checked::new(RealMmu::new(), cpus, room, recorder);
    keep_others(&watched, ram, ranges)?;
    // SAFETY: both duties are (1); RAM stays mapped for good, and no allocation of Rust's gave the addresses a provenance.
    unsafe { System::new(watched, ranges) }
}

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
