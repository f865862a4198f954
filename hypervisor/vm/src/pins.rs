//! Pinned pages: those that a device was told the addresses of. They stay where they are until they are unpinned.

use abi::{PAGE_SIZE, PinOptions, Status};
use vmsa::Hpa;

use crate::Machine;
use crate::arena::Id;
use crate::memory::{Backing, MemoryId};
use crate::pages::chunks;
use crate::system::System;
use crate::vmo::{VmoId, Vmos};

pub(crate) type PinId = Id<Pin>;

/// Pages that a device may use.
pub(crate) struct Pin {
    pub(crate) koid: u64,
    vmo: VmoId,
    memory: MemoryId,
    /// The first page's number.
    first: u64,
    /// The number of the page behind the last.
    end: u64,
    next: Option<PinId>,
    previous: Option<PinId>,
}

/// Something that reaches memory by itself (Zircon's bus transaction initiator).
pub(crate) struct Bti {
    pub(crate) koid: u64,
    pub(crate) handle_count: u32,
}

impl Vmos {
    /// Tells whether a page of the memory from number `first` to `end` is pinned.
    pub(crate) fn is_pinned(&self, id: MemoryId, first: u64, end: u64) -> bool {
        let next = |pin: &&Pin| pin.next.map(|next| &self.pins[next]);
        let mut pins = core::iter::successors(self[id].first_pin.map(|first| &self.pins[first]), next);
        pins.any(|pin| pin.first < end && first < pin.end)
    }

    /// Checks that a range of the VMO can be pinned.
    ///
    /// # Errors
    ///
    /// - OUT_OF_RANGE: not all of it is in the VMO.
    /// - INVALID_ARGS: CONTIGUOUS, and the VMO is not.
    pub(crate) fn check_pin(&self, vmo: VmoId, options: PinOptions, offset: u64, size: u64) -> Result<(), Status> {
        let view = self.view(vmo);
        if options.contains(PinOptions::CONTIGUOUS) && self[view.memory].backing == Backing::Paged {
            return Err(Status::INVALID_ARGS);
        }
        if view.holds(offset, size) { Ok(()) } else { Err(Status::OUT_OF_RANGE) }
    }

    fn pin_reserved(&mut self, koid: u64, vmo: VmoId, first: u64, end: u64) -> PinId {
        let memory = self[vmo].memory;
        let next = self[memory].first_pin;
        let pin = self.pins.insert_reserved(Pin { koid, vmo, memory, first, end, next, previous: None });
        if let Some(next) = next {
            self.pins[next].previous = Some(pin);
        }
        self[memory].first_pin = Some(pin);
        self[vmo].retain();
        pin
    }

    /// Takes note that there is a handle less to the BTI.
    pub(crate) fn close_bti(&mut self, id: Id<Bti>) {
        self.btis[id].handle_count -= 1;
        if self.btis[id].handle_count == 0 {
            self.btis.remove(id);
        }
    }

    /// Forgets a pin. Its reference to the VMO is still to be [released](System::release_vmo).
    fn unpin(&mut self, id: PinId) -> VmoId {
        let pin = self.pins.remove(id);
        match pin.previous {
            Some(previous) => self.pins[previous].next = pin.next,
            None => self[pin.memory].first_pin = pin.next,
        }
        if let Some(next) = pin.next {
            self.pins[next].previous = pin.previous;
        }
        pin.vmo
    }
}

impl<M: Machine> System<M> {
    /// Pins pages of the VMO, which all get frames of their own first. The range is a multiple of pages and not empty.
    ///
    /// # Errors
    ///
    /// - As [`Vmos::check_pin`] says.
    /// - NO_MEMORY: there is no frame for a page, or for the bookkeeping.
    pub(crate) fn pin(
        &self,
        vmos: &mut Vmos,
        vmo: VmoId,
        options: PinOptions,
        offset: u64,
        size: u64,
    ) -> Result<PinId, Status> {
        vmos.check_pin(vmo, options, offset, size)?;
        let view = vmos.view(vmo);
        let supply = self.supply(vmos[view.memory].payer);
        vmos.pins.reserve(supply, 1)?;
        let (first, end) = (view.page(offset), view.page(offset) + size / PAGE_SIZE);
        for (first, end) in chunks(first, end) {
            self.commit(vmos, view.memory, first, end)?;
        }
        let koid = self.next_koid();
        Ok(vmos.pin_reserved(koid, vmo, first, end))
    }

    /// Returns where the pinned page is, counted from the pin's first.
    pub(crate) fn pinned_page(&self, vmos: &Vmos, id: PinId, index: u64) -> Option<Hpa> {
        let pin = &vmos.pins[id];
        vmos[pin.memory].page(pin.first + index)
    }

    /// Ends a pin.
    pub(crate) fn unpin(&self, id: PinId) {
        let vmo = self.lock_vmos().unpin(id);
        self.release_vmo(vmo);
    }
}
