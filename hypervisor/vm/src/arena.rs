//! Objects of one type in frames, named by numbers: trees and lists of them need no pointers, and making one can fail but
//! never aborts.

use core::marker::PhantomData;
use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};
use core::ptr::NonNull;

use vmsa::PAGE_SIZE;

use crate::Machine;
use crate::frames::Use;
use crate::radix::Radix;
use crate::supply::Supply;

/// The name of an object in the arena that made it.
pub(crate) struct Id<T> {
    number: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Returns the name of the object at the place `index`.
    pub(crate) fn at(index: u32) -> Option<Self> {
        Some(Self { number: NonZeroU32::new(index.checked_add(1)?)?, of: PhantomData })
    }

    /// Returns the object's place: small numbers, used again after the object is gone.
    pub(crate) const fn index(self) -> u32 {
        self.number.get() - 1
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Id<T> {}

impl<T> core::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}", self.number)
    }
}

enum Slot<T> {
    Free(Option<Id<T>>),
    Used(T),
}

/// Objects of one type. Frames that it grew to stay with it.
pub(crate) struct Arena<T> {
    /// By the number of a slab the slab's frame, which holds `PER_SLAB` slots, all initialised.
    slabs: Radix,
    slab_count: u32,
    free: Option<Id<T>>,
    free_count: u32,
    used: u32,
    of: PhantomData<T>,
}

/// No frame was to be had for another object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutOfSlots;

impl<T> Arena<T> {
    const PER_SLAB: u32 = {
        assert!(align_of::<Slot<T>>() <= PAGE_SIZE as usize);
        (PAGE_SIZE as usize / size_of::<Slot<T>>()) as u32
    };

    /// Returns an arena with nothing in it.
    pub(crate) const fn new() -> Self {
        Self { slabs: Radix::new(), slab_count: 0, free: None, free_count: 0, used: 0, of: PhantomData }
    }

    /// Returns how many objects there are.
    pub(crate) const fn len(&self) -> u32 {
        self.used
    }

    /// Makes room for `count` more objects, which [`Arena::insert_reserved`] then cannot fail to make.
    pub(crate) fn reserve<M: Machine>(&mut self, supply: Supply<'_, M>, count: u32) -> Result<(), OutOfSlots> {
        while self.free_count < count {
            self.grow(supply)?;
        }
        Ok(())
    }

    /// Makes an object.
    pub(crate) fn insert<M: Machine>(&mut self, supply: Supply<'_, M>, object: T) -> Result<Id<T>, OutOfSlots> {
        self.reserve(supply, 1)?;
        Ok(self.insert_reserved(object))
    }

    /// Makes an object in room that was reserved.
    pub(crate) fn insert_reserved(&mut self, object: T) -> Id<T> {
        let Some(id) = self.free else { unreachable!("an object was made without room for it") };
        let Slot::Free(next) = core::mem::replace(self.slot_mut(id), Slot::Used(object)) else {
            unreachable!("{id:?} is free and used");
        };
        self.free = next;
        self.free_count -= 1;
        self.used += 1;
        id
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, id: Id<T>) -> T {
        let free = self.free;
        let Slot::Used(object) = core::mem::replace(self.slot_mut(id), Slot::Free(free)) else {
            unreachable!("{id:?} is removed twice");
        };
        self.free = Some(id);
        self.free_count += 1;
        self.used -= 1;
        object
    }

    /// Returns the object, if there is one at that place.
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        if id.index() >= self.slab_count * Self::PER_SLAB {
            return None;
        }
        match self.slot(id) {
            Slot::Used(object) => Some(object),
            Slot::Free(_) => None,
        }
    }

    fn grow<M: Machine>(&mut self, supply: Supply<'_, M>) -> Result<(), OutOfSlots> {
        let first = self.slab_count.checked_mul(Self::PER_SLAB).ok_or(OutOfSlots)?;
        first.checked_add(Self::PER_SLAB + 1).ok_or(OutOfSlots)?;
        let frame = supply.take(Use::Node).ok_or(OutOfSlots)?;
        if self.slabs.insert(supply, u64::from(self.slab_count), frame).is_err() {
            supply.give(frame);
            return Err(OutOfSlots);
        }
        self.slab_count += 1;
        for index in (first..first + Self::PER_SLAB).rev() {
            let Some(id) = Id::at(index) else { return Err(OutOfSlots) };
            // SAFETY: the slot lies in the new slab, which nobody has looked at.
            unsafe { self.pointer(id).write(Slot::Free(self.free)) };
            self.free = Some(id);
            self.free_count += 1;
        }
        Ok(())
    }

    /// Returns where the slot is. Its slab exists.
    fn pointer(&self, id: Id<T>) -> NonNull<Slot<T>> {
        let slab = self.slabs.get(u64::from(id.index() / Self::PER_SLAB));
        let Some(frame) = slab else { unreachable!("{id:?} is in no slab") };
        let address = frame.0 as usize + (id.index() % Self::PER_SLAB) as usize * size_of::<Slot<T>>();
        let Some(pointer) = NonNull::new(core::ptr::with_exposed_provenance_mut(address)) else {
            unreachable!("a slab at address 0")
        };
        pointer
    }

    fn slot(&self, id: Id<T>) -> &Slot<T> {
        let pointer = self.pointer(id);
        // SAFETY: the slab's frame is ours alone and all its slots are initialised; by the duties of `Frames::new` it is seen at
        // its physical address; the borrow of `self` keeps others from changing it.
        unsafe { pointer.as_ref() }
    }

    fn slot_mut(&mut self, id: Id<T>) -> &mut Slot<T> {
        let mut pointer = self.pointer(id);
        // SAFETY: as above; the borrow of `self` is the only one.
        unsafe { pointer.as_mut() }
    }
}

impl<T> Index<Id<T>> for Arena<T> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        match self.slot(id) {
            Slot::Used(object) => object,
            Slot::Free(_) => unreachable!("{id:?} is gone"),
        }
    }
}

impl<T> IndexMut<Id<T>> for Arena<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.slot_mut(id) {
            Slot::Used(object) => object,
            Slot::Free(_) => unreachable!("{id:?} is gone"),
        }
    }
}
