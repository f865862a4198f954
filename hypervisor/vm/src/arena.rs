//! Objects of one type in frames, named by numbers: trees and lists of them need no pointers, and making one can fail but
//! never aborts.

use core::marker::PhantomData;
use core::num::{NonZeroU32, NonZeroUsize};
use core::ops::{Index, IndexMut};
use core::ptr::NonNull;

use vmsa::PAGE_SIZE;

use crate::Machine;
use crate::slabs::{Header, Slabs};
use crate::supply::Supply;
use crate::system::VmId;

/// The name of an object in the arena that made it.
pub(crate) struct Id<T> {
    number: NonZeroU32,
    of: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// Returns the name of the object at the place `number`, which is not 0.
    pub(crate) fn at(number: u32) -> Option<Self> {
        Some(Self { number: NonZeroU32::new(number)?, of: PhantomData })
    }

    /// Returns the number of the object's place: small numbers, used again after the object is gone.
    pub(crate) const fn number(self) -> u32 {
        self.number.get()
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

/// Objects of one type, in slabs of a frame each. A slab that becomes empty is given back by [`Arena::trim`], but for the last.
///
/// The number of an object is that of its slab and, in the lower bits, that of its slot, of which the first is 1: in the place
/// of slot 0 a slab says how many of its slots are used.
pub(crate) struct Arena<T> {
    slabs: Slabs,
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
        assert!(size_of::<Header>() <= size_of::<Slot<T>>() && align_of::<Slot<T>>() <= PAGE_SIZE as usize);
        (PAGE_SIZE as usize / size_of::<Slot<T>>()) as u32 - 1
    };
    /// How many bits of a number are the slot's.
    const SLOT_BITS: u32 = Self::PER_SLAB.ilog2() + 1;
    const SLOT_MASK: u32 = (1 << Self::SLOT_BITS) - 1;

    /// Returns how many objects there can be if their numbers are to have no more than so many bits.
    pub(crate) const fn most(bits: u32) -> u32 {
        Self::PER_SLAB << (bits - Self::SLOT_BITS)
    }

    /// Returns an arena with nothing in it.
    pub(crate) const fn new() -> Self {
        Self { slabs: Slabs::new(), free: None, free_count: 0, used: 0, of: PhantomData }
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
        let slot = self.slot_mut(id);
        let Slot::Free(next) = *slot else { unreachable!("a place is free and used") };
        *slot = Slot::Used(object);
        self.free = next;
        self.free_count -= 1;
        self.used += 1;
        self.slabs.note_used(Self::slab_number(id));
        id
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, id: Id<T>) -> T {
        let free = Slot::Free(self.free);
        match core::mem::replace(self.slot_mut(id), free) {
            Slot::Used(object) => {
                self.note_free(id);
                object
            }
            Slot::Free(_) => gone(id.number()),
        }
    }

    /// Takes an object away that nobody needs: it is not moved, which is half of what [`Arena::remove`] costs.
    pub(crate) fn discard(&mut self, id: Id<T>) {
        let free = Slot::Free(self.free);
        let slot = self.slot_mut(id);
        if matches!(slot, Slot::Free(_)) {
            gone(id.number());
        }
        *slot = free;
        self.note_free(id);
    }

    #[inline]
    fn note_free(&mut self, id: Id<T>) {
        self.free = Some(id);
        self.free_count += 1;
        self.used -= 1;
        self.slabs.note_free(Self::slab_number(id));
    }

    /// Returns the object, if there is one at that place.
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        let slot = id.number() & Self::SLOT_MASK;
        if slot == 0 || slot > Self::PER_SLAB {
            return None;
        }
        self.slabs.at(Self::slab_number(id))?;
        match self.slot(id) {
            Slot::Used(object) => Some(object),
            Slot::Free(_) => None,
        }
    }

    /// Gives back slabs with nothing in them, but for the last slab, as long as there is room for `reserved` objects more.
    #[inline]
    pub(crate) fn trim<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>, reserved: u32) {
        while self.slabs.have_spare() && self.free_count >= reserved + Self::PER_SLAB {
            let Some((number, payer)) = self.slabs.first_empty() else { return };
            self.forget_places_in(number);
            self.slabs.give_back(supply(payer), number);
        }
    }

    /// Takes the places of a slab with nothing in it out of the free ones.
    #[cold]
    fn forget_places_in(&mut self, number: u32) {
        let mut at = self.free.take();
        while let Some(id) = at {
            let Slot::Free(next) = *self.slot(id) else { unreachable!("{id:?} is free and used") };
            if Self::slab_number(id) != number {
                *self.slot_mut(id) = Slot::Free(self.free);
                self.free = Some(id);
            }
            at = next;
        }
        self.free_count -= Self::PER_SLAB;
    }

    /// Returns all objects.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let slabs = core::iter::successors(self.slabs.next(0), |number| self.slabs.next(number + 1));
        let places = slabs.flat_map(|number| (1..=Self::PER_SLAB).map(move |slot| number << Self::SLOT_BITS | slot));
        places.filter_map(|number| self.get(Id::at(number)?))
    }

    fn grow<M: Machine>(&mut self, supply: Supply<'_, M>) -> Result<(), OutOfSlots> {
        let number = self.slabs.add(supply, u32::MAX >> Self::SLOT_BITS).ok_or(OutOfSlots)?;
        for slot in (1..=Self::PER_SLAB).rev() {
            let Some(id) = Id::at(number << Self::SLOT_BITS | slot) else { return Err(OutOfSlots) };
            // SAFETY: the slot lies in the new slab, behind its header, where nobody has looked.
            unsafe { self.pointer(id).write(Slot::Free(self.free)) };
            self.free = Some(id);
            self.free_count += 1;
        }
        Ok(())
    }

    const fn slab_number(id: Id<T>) -> u32 {
        id.number() >> Self::SLOT_BITS
    }

    /// Returns where the slab is that the object is in.
    #[inline]
    fn slab_of(&self, id: Id<T>) -> NonZeroUsize {
        match self.slabs.at(Self::slab_number(id)) {
            Some(address) => address,
            None => gone(id.number()),
        }
    }

    /// Returns where the slot is. Its slab exists.
    #[inline]
    fn pointer(&self, id: Id<T>) -> NonNull<Slot<T>> {
        let offset = (id.number() & Self::SLOT_MASK) as usize * size_of::<Slot<T>>();
        // The slab begins at a page.
        NonNull::with_exposed_provenance(self.slab_of(id) | offset)
    }

    #[inline]
    fn slot(&self, id: Id<T>) -> &Slot<T> {
        let pointer = self.pointer(id);
        // SAFETY: the slab's frame is ours alone and all its slots are initialised; numbers lead to slots, for ids are made here,
        // or looked at by `get`; by the duties of `Frames::new` the frame is seen at its physical address; the borrow of `self`
        // keeps others from changing it.
        unsafe { pointer.as_ref() }
    }

    #[inline]
    fn slot_mut(&mut self, id: Id<T>) -> &mut Slot<T> {
        let mut pointer = self.pointer(id);
        // SAFETY: as above; the borrow of `self` is the only one.
        unsafe { pointer.as_mut() }
    }
}

/// Ends the program: an object was named that is gone.
#[cold]
#[inline(never)]
fn gone(number: u32) -> ! {
    unreachable!("object #{number} is gone")
}

impl<T> Index<Id<T>> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: Id<T>) -> &T {
        match self.slot(id) {
            Slot::Used(object) => object,
            Slot::Free(_) => gone(id.number()),
        }
    }
}

impl<T> IndexMut<Id<T>> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        match self.slot_mut(id) {
            Slot::Used(object) => object,
            Slot::Free(_) => gone(id.number()),
        }
    }
}
