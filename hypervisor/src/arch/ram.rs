//! The RAM: each byte of it has one user, who borrows it for good or is given it.

use hypervisor::region::{Region, Regions, TooMany};
use vm::{MemoryRange, System};
use vmsa::{Hpa, Level};

use super::stage1::{CannotMap, IMAGE_START, RAM_START, map_ram};
use super::watched::{Recorder, Watched, new_system};

unsafe extern "C" {
    /// The address past the image.
    #[link_name = "__image_end"]
    static IMAGE_END: u8;
}

/// RAM that is mapped and that nobody uses.
pub(crate) struct Ram {
    all: Regions,
    free: Regions,
}

/// Why there is no memory to use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RamError {
    /// It could not be mapped.
    CannotMap(Region),
    /// It is in too many pieces.
    TooManyPieces,
    /// This part of it is not there, or somebody else's.
    Taken(Region),
}

impl From<TooMany> for RamError {
    fn from(_: TooMany) -> Self {
        Self::TooManyPieces
    }
}

/// Returns the 2 MiB below the image, where the loader leaves the device tree.
pub(crate) fn tree_memory() -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(RAM_START as usize);
    // SAFETY: the boot code has mapped the 2 MiB, read-only, and they are no part of what `Ram` gives away.
    unsafe { core::slice::from_raw_parts(start, (IMAGE_START - RAM_START) as usize) }
}

impl Ram {
    /// Maps the RAM, in whole units of 2 MiB. The one caller has read where it is in the machine's device tree, whose word is
    /// taken for it.
    pub(crate) fn map(memory: &Regions) -> Result<Self, RamError> {
        let mut all = Regions::new();
        for region in memory.as_slice() {
            let region = region.shrunk_to(Level::L2.entry_span());
            map_ram(region).map_err(|CannotMap(region)| RamError::CannotMap(region))?;
            all.push(region)?;
        }
        let image_end = Hpa((&raw const IMAGE_END).addr() as u64);
        let free = all.without(Region { start: Hpa(RAM_START), end: image_end })?;
        Ok(Self { all, free })
    }

    /// Borrows a part of the RAM that is free and keeps what it holds.
    pub(crate) fn borrow(&mut self, region: Region) -> Result<&'static [u8], RamError> {
        if !self.free.as_slice().iter().any(|free| free.covers(region)) {
            return Err(RamError::Taken(region));
        }
        self.free = self.free.without(region.grown_to(vmsa::PAGE_SIZE))?;
        let start = core::ptr::with_exposed_provenance(region.start.0 as usize);
        // SAFETY: the region is mapped, and no longer free: nobody else is given it.
        Ok(unsafe { core::slice::from_raw_parts(start, region.len() as usize) })
    }

    /// Makes a system of all that is left, for a machine with so many CPUs, or returns `None` where that is too little.
    pub(crate) fn into_system(self, cpus: usize, recorder: Option<Recorder>) -> Option<System<Watched>> {
        // SAFETY: (1) the RAM was mapped by `map`, `borrow` took out what is in use, and the rest is given up here.
        unsafe { new_system(&self.all, &self.free, cpus as u32, recorder) }
    }
}

/// Returns the regions as `vm` takes them, and after them empty ranges.
pub(super) fn memory_ranges(regions: &Regions) -> [MemoryRange; Regions::CAPACITY] {
    let mut ranges = [MemoryRange { start: Hpa(0), end: Hpa(0) }; Regions::CAPACITY];
    for (range, region) in ranges.iter_mut().zip(regions.as_slice()) {
        *range = MemoryRange { start: region.start, end: region.end };
    }
    ranges
}
