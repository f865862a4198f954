//! A VM's handles: numbers that lead to objects, with what they allow.
//!
//! A value is the entry's place and its generation, mixed by a permutation that the VM's seed chooses: one handle tells
//! nothing of another, and a closed handle's value comes back only after its place was used 65,536 times.

use abi::{RawHandle, Rights, Status};

use crate::Machine;
use crate::arena::{Arena, Id};
use crate::pins::{Bti, PinId};
use crate::region::RegionId;
use crate::supply::Supply;
use crate::system::VmId;
use crate::vmo::VmoId;

/// Handles have 30 bits that are not fixed: 14 for the place, 16 for the generation.
const PLACE_BITS: u32 = 14;
const HALF_BITS: u32 = 15;
const HALF_MASK: u32 = (1 << HALF_BITS) - 1;

/// What a handle leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Object {
    Vmar(RegionId),
    Vmo(VmoId),
    Vm(VmId),
    /// The device memory that a VM was granted.
    Resource(VmId),
    Bti(Id<Bti>),
    /// Its only handle: the pin ends with it.
    Pmt(PinId),
}

/// A handle, seen from inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) object: Object,
    pub(crate) rights: Rights,
    generation: u16,
}

pub(crate) struct Handles {
    entries: Arena<Entry>,
    generation: u16,
    keys: [u32; 4],
}

impl Handles {
    pub(crate) const fn new(seed: u64) -> Self {
        let keys = [seed as u32, (seed >> 16) as u32, (seed >> 32) as u32, (seed >> 48) as u32];
        Self { entries: Arena::new(), generation: 0, keys }
    }

    /// Makes room for one more handle.
    pub(crate) fn reserve<M: Machine>(&mut self, supply: Supply<'_, M>) -> Result<(), Status> {
        if self.entries.len() >= Arena::<Entry>::most(PLACE_BITS) {
            return Err(Status::NO_MEMORY);
        }
        Ok(self.entries.reserve(supply, 1)?)
    }

    /// Gives back what is not needed. Nothing is reserved now.
    pub(crate) fn trim<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>) {
        self.entries.trim(supply, 0);
    }

    /// Makes a handle, in room that was reserved.
    pub(crate) fn insert_reserved(&mut self, object: Object, rights: Rights) -> RawHandle {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let id = self.entries.insert_reserved(Entry { object, rights, generation });
        self.raw(id, generation)
    }

    /// Returns the handle of that value.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE: there is none.
    pub(crate) fn get(&self, raw: RawHandle) -> Result<Entry, Status> {
        Ok(*self.find(raw)?.1)
    }

    /// Returns how many of the handles lead to the object.
    pub(crate) fn count(&self, object: Object) -> u32 {
        self.entries.iter().map(|entry| u32::from(entry.object == object)).sum()
    }

    /// Takes the handle of that value away.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE: there is none.
    pub(crate) fn remove(&mut self, raw: RawHandle) -> Result<Entry, Status> {
        let id = self.find(raw)?.0;
        Ok(self.entries.remove(id))
    }

    fn find(&self, raw: RawHandle) -> Result<(Id<Entry>, &Entry), Status> {
        if raw.0 & RawHandle::FIXED_BITS != RawHandle::FIXED_BITS {
            return Err(Status::BAD_HANDLE);
        }
        let mixed = self.unmix(raw.0 >> 2);
        let id = Id::at(mixed & ((1 << PLACE_BITS) - 1)).ok_or(Status::BAD_HANDLE)?;
        let entry = self.entries.get(id).ok_or(Status::BAD_HANDLE)?;
        if u32::from(entry.generation) == mixed >> PLACE_BITS { Ok((id, entry)) } else { Err(Status::BAD_HANDLE) }
    }

    fn raw(&self, id: Id<Entry>, generation: u16) -> RawHandle {
        let value = self.mix(id.number() | u32::from(generation) << PLACE_BITS);
        RawHandle(value << 2 | RawHandle::FIXED_BITS)
    }

    /// A Feistel network over two halves of 15 bits: a permutation, whatever the keys are.
    fn mix(&self, value: u32) -> u32 {
        let (left, right) = self
            .keys
            .iter()
            .fold((value >> HALF_BITS, value & HALF_MASK), |(left, right), key| (right, left ^ scramble(right, *key)));
        left << HALF_BITS | right
    }

    fn unmix(&self, value: u32) -> u32 {
        let (left, right) =
            self.keys.iter().rev().fold((value >> HALF_BITS, value & HALF_MASK), |(left, right), key| {
                (right ^ scramble(left, *key), left)
            });
        left << HALF_BITS | right
    }
}

const fn scramble(half: u32, key: u32) -> u32 {
    let product = (half ^ key).wrapping_mul(0x9e37_79b1);
    (product >> 13 ^ product >> 3) & HALF_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_can_be_undone_and_spreads() {
        let handles = Handles::new(0x0123_4567_89ab_cdef);
        for value in (0..1 << 30).step_by(9973) {
            assert_eq!(handles.unmix(handles.mix(value)), value);
        }
        let (one, two) = (handles.mix(1 << PLACE_BITS), handles.mix(1 << PLACE_BITS | 1));
        assert_ne!(one + 1, two);
    }
}
