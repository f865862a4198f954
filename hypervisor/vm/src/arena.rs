//! Objects of one type in frames, named by numbers: trees and lists of them need no pointers, and making one can fail but
//! never aborts.

use core::marker::PhantomData;
use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};
use core::ptr::NonNull;

use vmsa::PAGE_SIZE;

use crate::Machine;
use crate::frames::Use;
use crate::radix::{Radix, Taken};
use crate::supply::Supply;
use crate::system::VmId;

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

/// Objects of one type, in slabs of a frame each. A slab that becomes empty is given back by [`Arena::trim`], but for the last.
pub(crate) struct Arena<T> {
    /// By the number of a slab the slab's frame: `PER_SLAB` slots, all initialised, and at its end how many are used.
    slabs: Radix,
    /// How many there are, and how many of them have no object.
    slab_count: u32,
    empty_slabs: u32,
    /// No number below it is free for a slab.
    next_number: u32,
    free: Option<Id<T>>,
    free_count: u32,
    used: u32,
    of: PhantomData<T>,
}

/// No frame was to be had for another object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutOfSlots;

/// What stands at the end of a slab's frame.
#[repr(C)]
struct Trailer {
    /// How many of its slots are used.
    used: u16,
    /// Whose account the frame is charged to.
    payer: VmId,
}

impl<T> Arena<T> {
    const PER_SLAB: u32 = {
        assert!(align_of::<Slot<T>>() <= PAGE_SIZE as usize);
        ((PAGE_SIZE as usize - size_of::<Trailer>()) / size_of::<Slot<T>>()) as u32
    };

    /// Returns an arena with nothing in it.
    pub(crate) const fn new() -> Self {
        Self {
            slabs: Radix::new(),
            slab_count: 0,
            empty_slabs: 0,
            next_number: 0,
            free: None,
            free_count: 0,
            used: 0,
            of: PhantomData,
        }
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
        let slab = self.trailer(id);
        slab.used += 1;
        if slab.used == 1 {
            self.empty_slabs -= 1;
        }
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
        let slab = self.trailer(id);
        slab.used -= 1;
        if slab.used == 0 {
            self.empty_slabs += 1;
        }
        object
    }

    /// Returns the object, if there is one at that place.
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        self.slabs.get(u64::from(id.index() / Self::PER_SLAB))?;
        match self.slot(id) {
            Slot::Used(object) => Some(object),
            Slot::Free(_) => None,
        }
    }

    /// Gives back slabs with nothing in them, but for the last slab, as long as there is room for `reserved` objects more.
    #[inline]
    pub(crate) fn trim<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>, reserved: u32) {
        while self.empty_slabs > 0 && self.slab_count > 1 && self.free_count >= reserved + Self::PER_SLAB {
            self.give_back_empty(&supply);
        }
    }

    /// Gives back the first slab with nothing in it. There is one, and another slab besides.
    #[cold]
    fn give_back_empty<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>) {
        let Some((number, payer)) = self.first_empty() else { return };
        let supply = supply(payer);
        let is_in_slab = |id: &Id<T>| id.index() / Self::PER_SLAB == number;
        let mut at = self.free.take();
        while let Some(id) = at {
            let Slot::Free(next) = *self.slot(id) else { unreachable!("{id:?} is free and used") };
            if !is_in_slab(&id) {
                *self.slot_mut(id) = Slot::Free(self.free);
                self.free = Some(id);
            }
            at = next;
        }
        self.slabs.take(supply, u64::from(number), u64::from(number) + 1, |taken| {
            if let Taken::Page(frame) = taken {
                supply.give(frame);
            }
        });
        self.slab_count -= 1;
        self.empty_slabs -= 1;
        self.free_count -= Self::PER_SLAB;
        self.next_number = self.next_number.min(number);
    }

    fn first_empty(&mut self) -> Option<(u32, VmId)> {
        let mut from = 0;
        while let Some((number, _)) = self.slabs.next(from) {
            let first = Id::at(number as u32 * Self::PER_SLAB)?;
            let Trailer { used, payer } = *self.trailer(first);
            if used == 0 {
                return Some((number as u32, payer));
            }
            from = number + 1;
        }
        None
    }

    /// Returns all objects.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let numbers = core::iter::successors(self.slabs.next(0), |(number, _)| self.slabs.next(number + 1));
        let places =
            numbers.flat_map(|(number, _)| (0..Self::PER_SLAB).map(move |slot| number as u32 * Self::PER_SLAB + slot));
        places.filter_map(|index| self.get(Id::at(index)?))
    }

    fn grow<M: Machine>(&mut self, supply: Supply<'_, M>) -> Result<(), OutOfSlots> {
        let number = (self.next_number..).find(|number| self.slabs.get(u64::from(*number)).is_none());
        let number = number.ok_or(OutOfSlots)?;
        let first = number.checked_mul(Self::PER_SLAB).ok_or(OutOfSlots)?;
        first.checked_add(Self::PER_SLAB + 1).ok_or(OutOfSlots)?;
        let frame = supply.take(Use::Node).ok_or(OutOfSlots)?;
        if self.slabs.insert(supply, u64::from(number), frame).is_err() {
            supply.give(frame);
            return Err(OutOfSlots);
        }
        self.next_number = number + 1;
        self.slab_count += 1;
        self.empty_slabs += 1;
        for index in (first..first + Self::PER_SLAB).rev() {
            let Some(id) = Id::at(index) else { return Err(OutOfSlots) };
            // SAFETY: the slot lies in the new slab, which nobody has looked at.
            unsafe { self.pointer(id).write(Slot::Free(self.free)) };
            self.free = Some(id);
            self.free_count += 1;
        }
        let Some(id) = Id::at(first) else { return Err(OutOfSlots) };
        let trailer = self.place(id, PAGE_SIZE as usize - size_of::<Trailer>());
        // SAFETY: it lies in the new slab, behind the slots.
        unsafe { trailer.write(Trailer { used: 0, payer: supply.vm }) };
        Ok(())
    }

    /// Returns where the slot is. Its slab exists.
    fn pointer(&self, id: Id<T>) -> NonNull<Slot<T>> {
        self.place(id, (id.index() % Self::PER_SLAB) as usize * size_of::<Slot<T>>())
    }

    /// Returns where in the object's slab something lies that many bytes from its beginning.
    fn place<U>(&self, id: Id<T>, offset: usize) -> NonNull<U> {
        let slab = self.slabs.get(u64::from(id.index() / Self::PER_SLAB));
        let Some(frame) = slab else { unreachable!("{id:?} is in no slab") };
        let Some(pointer) = NonNull::new(core::ptr::with_exposed_provenance_mut(frame.0 as usize + offset)) else {
            unreachable!("a slab at address 0")
        };
        pointer
    }

    fn trailer(&mut self, id: Id<T>) -> &mut Trailer {
        let mut pointer = self.place(id, PAGE_SIZE as usize - size_of::<Trailer>());
        // SAFETY: as for a slot: it lies behind the slots, and was initialised with them.
        unsafe { pointer.as_mut() }
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
