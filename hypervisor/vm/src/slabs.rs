//! Frames named by small numbers, each with a header that says how many objects are in it: what an arena is made of, whatever
//! its objects are.

use core::num::NonZeroUsize;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vmsa::Hpa;

use crate::Machine;
use crate::frames::Use;
use crate::radix::{Radix, Taken};
use crate::supply::{Supply, node};
use crate::system::VmId;

/// What stands at the beginning of a slab's frame.
#[repr(C)]
pub(crate) struct Header {
    /// How many objects are in it.
    used: u16,
    /// Whose account the frame is charged to.
    payer: VmId,
}

/// The slabs of an arena.
pub(crate) struct Slabs {
    /// By the number of a slab the slab's frame.
    frames: Radix,
    /// Where slab 0 is, and the words of the first 512, if there are others. Most objects are in slab 0: what leads to the others
    /// stands in one place, and not in 400, which took 16 KiB.
    first: Option<NonZeroUsize>,
    near: &'static [AtomicU64],
    /// How many there are, and how many of them have no object.
    count: u32,
    empty: u32,
    /// No number below it is free.
    next_number: u32,
}

impl Slabs {
    pub(crate) const fn new() -> Self {
        Self { frames: Radix::new(), first: None, near: &[], count: 0, empty: 0, next_number: 0 }
    }

    /// Returns whether there is a slab with nothing in it, and another slab besides.
    #[inline]
    pub(crate) const fn have_spare(&self) -> bool {
        self.empty > 0 && self.count > 1
    }

    /// Adds a slab whose number is at most `most`, and returns that. It reads as zero but for its header.
    pub(crate) fn add<M: Machine>(&mut self, supply: Supply<'_, M>, most: u32) -> Option<u32> {
        let number = (self.next_number..=most).find(|number| self.at(*number).is_none())?;
        let frame = supply.take(Use::Node)?;
        if self.frames.insert(supply, u64::from(number), frame).is_err() {
            supply.give(frame);
            return None;
        }
        self.note_places();
        self.next_number = number + 1;
        self.count += 1;
        self.empty += 1;
        let header = NonNull::with_exposed_provenance(address_of(frame)?);
        // SAFETY: the frame is new, ours alone, and seen at its physical address by the duties of `Frames::new`.
        unsafe { header.write(Header { used: 0, payer: supply.vm }) };
        Some(number)
    }

    /// Returns the number of the first slab with nothing in it, and whose account it is charged to. Not inlined: calls rarely leave
    /// one.
    #[inline(never)]
    pub(crate) fn first_empty(&mut self) -> Option<(u32, VmId)> {
        let mut from = 0;
        while let Some(number) = self.next(from) {
            let Header { used, payer } = *self.header(number)?;
            if used == 0 {
                return Some((number, payer));
            }
            from = number + 1;
        }
        None
    }

    /// Gives back a slab with nothing in it, which no free place is in.
    pub(crate) fn give_back<M: Machine>(&mut self, supply: Supply<'_, M>, number: u32) {
        self.frames.take(supply, u64::from(number), u64::from(number) + 1, |taken| {
            if let Taken::Page(frame) = taken {
                supply.give(frame);
            }
        });
        self.note_places();
        self.count -= 1;
        self.empty -= 1;
        self.next_number = self.next_number.min(number);
    }

    /// Returns the number of the first slab from this number on.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        Some(self.frames.next(from.into(), u64::MAX)?.0 as u32)
    }

    /// Notes that an object was made in a slab.
    #[inline]
    pub(crate) fn note_used(&mut self, number: u32) {
        let Some(slab) = self.header(number) else { return };
        slab.used += 1;
        if slab.used == 1 {
            self.empty -= 1;
        }
    }

    /// Notes that an object of a slab is gone.
    #[inline]
    pub(crate) fn note_free(&mut self, number: u32) {
        let Some(slab) = self.header(number) else { return };
        slab.used -= 1;
        if slab.used == 0 {
            self.empty += 1;
        }
    }

    /// Returns where the slab of that number is, if there is one.
    #[inline]
    pub(crate) fn at(&self, number: u32) -> Option<NonZeroUsize> {
        if number == 0 { self.first } else { self.behind_first(number) }
    }

    #[inline(never)]
    fn behind_first(&self, number: u32) -> Option<NonZeroUsize> {
        match self.near.get(number as usize) {
            Some(word) => NonZeroUsize::new(word.load(Relaxed) as usize),
            None => self.far(number),
        }
    }

    #[inline(never)]
    fn far(&self, number: u32) -> Option<NonZeroUsize> {
        self.frames.get(u64::from(number)).and_then(address_of)
    }

    fn note_places(&mut self) {
        self.first = self.far(0);
        self.near = self.frames.leaf_node(0).map_or(&[], |frame| node(frame));
    }

    #[inline]
    fn header(&mut self, number: u32) -> Option<&mut Header> {
        let mut pointer = NonNull::with_exposed_provenance(self.at(number)?);
        // SAFETY: a slab's frame is ours alone, seen at its physical address by the duties of `Frames::new`, and begins with a
        // header since it was added; objects lie behind that; the borrow of `self` is the only one.
        Some(unsafe { pointer.as_mut() })
    }
}

/// Returns the address at which this program sees a frame. None is at address 0.
fn address_of(frame: Hpa) -> Option<NonZeroUsize> {
    NonZeroUsize::new(frame.0 as usize)
}
