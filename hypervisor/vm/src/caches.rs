//! Free frames that each CPU keeps for itself, so that taking one and giving one back costs no walk to what all CPUs share.
//!
//! Locks: a CPU's own is taken before the allocator's, and before those of the machine's, which are the last. Who finds nothing
//! left takes what the others keep.

use spin::Mutex;
use vmsa::Hpa;

use crate::frame_lists::FrameStack;
use crate::frames::Frames;
use crate::loads::MAX_CPUS;
use crate::locks::lock;

/// How many frames a CPU keeps at the most.
const MOST: u32 = 64;
/// How many it takes or gives back at a time.
const BATCH: u16 = 32;

/// The CPUs' frames.
pub(crate) struct Caches([Mutex<FrameStack>; MAX_CPUS]);

impl Caches {
    pub(crate) const fn new() -> Self {
        Self([const { Mutex::new(FrameStack::new()) }; MAX_CPUS])
    }

    /// Takes a frame.
    pub(crate) fn take(&self, frames: &Frames, cpu: usize) -> Option<Hpa> {
        let own = &self.0[cpu % MAX_CPUS];
        let cached = lock(own).pop(frames);
        cached.or_else(|| self.refill(frames, own))
    }

    /// Gives free frames back, a batch at the most: others may wait for the lock. Returns how many.
    pub(crate) fn give(&self, frames: &Frames, cpu: usize, free: impl IntoIterator<Item = Hpa>) -> u64 {
        let mut own = lock(&self.0[cpu % MAX_CPUS]);
        let mut given = 0;
        for frame in free.into_iter().take(usize::from(BATCH)) {
            own.push(frames, frame);
            given += 1;
        }
        if own.count() > MOST {
            frames.give_back(&mut own, u32::from(BATCH));
        }
        given
    }

    #[cold]
    fn refill(&self, frames: &Frames, own: &Mutex<FrameStack>) -> Option<Hpa> {
        let deal = |count| {
            let mut own = lock(own);
            frames.deal(&mut own, count);
            own.pop(frames)
        };
        deal(BATCH).or_else(|| {
            self.drain(frames);
            deal(1)
        })
    }

    /// Gives everything back that the CPUs keep.
    #[cold]
    pub(crate) fn drain(&self, frames: &Frames) {
        for cache in &self.0 {
            let mut cache = lock(cache);
            frames.give_back(&mut cache, u32::MAX);
        }
    }
}
