//! Memory of devices, and memory for devices: physical VMOs, pins.

use abi::{PAGE_SIZE, PinOptions, RawHandle, Rights, Status, VmoOptions};
use vmsa::Hpa;

use super::{Caller, Reply, demand};
use crate::Machine;
use crate::handles::{Entry, Object};
use crate::memory::Backing;
use crate::pins::{Bti, PinId};
use crate::system::VmId;
use crate::user::Writer;
use crate::vmar::Locked;
use crate::vmo::VmoId;

/// What a pin is asked for.
struct PinRequest {
    vmo: VmoId,
    options: PinOptions,
    offset: u64,
    size: u64,
    /// How many addresses are told.
    addresses: u64,
}

impl<M: Machine> Caller<'_, M> {
    /// vmo_create_physical(resource, physical address, size): x1 handle.
    pub(super) fn vmo_create_physical(&self) -> Result<Reply, Status> {
        let (address, size) = (self.arg(1), self.arg(2));
        let owner = self.resource(&self.lock(), 0)?;
        if size == 0 || !address.is_multiple_of(PAGE_SIZE) || !size.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        let granted = self.system.vm(owner).config.mmio.ok_or(Status::OUT_OF_RANGE)?;
        let end = address.checked_add(size).ok_or(Status::OUT_OF_RANGE)?;
        if address < granted.start.0 || end > granted.end.0 {
            return Err(Status::OUT_OF_RANGE);
        }
        let supply = self.system.supply(self.id);
        let backing = Backing::Device(Hpa(address));
        let made = self.system.create_vmo(&mut self.system.lock_vmos(), supply, size, VmoOptions::empty(), backing)?;
        self.give_vmo(made, Rights::DEFAULT_VMO)
    }

    /// bti_create(resource): x1 handle.
    pub(super) fn bti_create(&self) -> Result<Reply, Status> {
        let mut locked = self.lock();
        self.resource(&locked, 0)?;
        locked.reserve_handle()?;
        let bti = Bti { koid: self.system.next_koid(), handle_count: 1 };
        let bti = self.system.lock_vmos().btis.insert(self.system.supply(self.id), bti)?;
        Ok(Reply::one(self.give(&mut locked, Object::Bti(bti), Rights::DEFAULT_BTI)))
    }

    /// bti_pin(bti, options, vmo, offset, size, buf of u64 addresses, count): x1 handle of the pinned memory.
    pub(super) fn bti_pin(&self) -> Result<Reply, Status> {
        let (buffer, count) = (self.arg(5), self.arg(6));
        let request = self.pin_request()?;
        let result = self.pin(&request, buffer, count);
        self.system.release_vmo(request.vmo);
        result
    }

    /// Checks the arguments of a pin, and holds the VMO fast.
    fn pin_request(&self) -> Result<PinRequest, Status> {
        let (offset, size) = (self.arg(3), self.arg(4));
        let locked = self.lock();
        match self.entry(&locked, 0)? {
            Entry { object: Object::Bti(_), rights, .. } => demand(rights, Rights::MAP)?,
            _ => return Err(Status::WRONG_TYPE),
        }
        let (vmo, rights) = self.vmo(&locked, 2)?;
        demand(rights, Rights::MAP)?;
        let options = PinOptions::from_bits(self.word(1)?).ok_or(Status::INVALID_ARGS)?;
        demand(rights, rights_for(options)?)?;
        if size == 0 || !offset.is_multiple_of(PAGE_SIZE) || !size.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        let addresses = match options.intersection(PinOptions::COMPRESS | PinOptions::CONTIGUOUS) {
            PinOptions::CONTIGUOUS => 1,
            kind if kind == PinOptions::COMPRESS | PinOptions::CONTIGUOUS => return Err(Status::INVALID_ARGS),
            _ => size / PAGE_SIZE,
        };
        self.system.lock_vmos()[vmo].retain();
        Ok(PinRequest { vmo, options, offset, size, addresses })
    }

    fn pin(&self, request: &PinRequest, buffer: u64, count: u64) -> Result<Reply, Status> {
        if count != request.addresses {
            return Err(Status::INVALID_ARGS);
        }
        let len = count.checked_mul(8).ok_or(Status::INVALID_ARGS)?;
        let PinRequest { vmo, options, offset, size, .. } = *request;
        // The buffer takes memory, and a call that is refused takes none.
        self.system.lock_vmos().check_pin(vmo, options, offset, size)?;
        let buffer = Writer::new(self.system, self.id, buffer, len, len)?;
        let pin = self.system.pin(&mut self.system.lock_vmos(), vmo, options, offset, size)?;
        let handle = self.give_pin(pin).inspect_err(|_| self.system.unpin(pin))?;
        if let Err(status) = self.tell_addresses(pin, count, &buffer) {
            self.close(self.lock(), handle)?;
            return Err(status);
        }
        Ok(Reply::one(handle.0.into()))
    }

    fn tell_addresses(&self, pin: PinId, count: u64, buffer: &Writer<'_, M>) -> Result<(), Status> {
        (0..count).try_for_each(|index| {
            let page = self.system.pinned_page(&self.system.lock_vmos(), pin, index).ok_or(Status::BAD_STATE)?;
            buffer.write(index * 8, &page.0.to_le_bytes())
        })
    }

    fn give_pin(&self, pin: PinId) -> Result<RawHandle, Status> {
        let mut locked = self.lock();
        locked.reserve_handle()?;
        Ok(locked.space.handles.insert_reserved(Object::Pmt(pin), Rights::TRANSFER | Rights::INSPECT))
    }

    /// pmt_unpin(handle): the handle is gone.
    pub(super) fn pmt_unpin(&self) -> Result<Reply, Status> {
        let locked = self.lock();
        let Object::Pmt(_) = self.entry(&locked, 0)?.object else { return Err(Status::WRONG_TYPE) };
        self.close(locked, self.raw_handle(0)?).map(|()| Reply::DONE)
    }

    /// Returns whose device memory the resource that an argument names stands for.
    fn resource(&self, locked: &Locked<'_, M>, number: usize) -> Result<VmId, Status> {
        match self.entry(locked, number)?.object {
            Object::Resource(id) => Ok(id),
            _ => Err(Status::WRONG_TYPE),
        }
    }
}

/// Returns the rights that a VMO's handle must have for what a device may do.
fn rights_for(options: PinOptions) -> Result<Rights, Status> {
    const ACCESS: PinOptions = PinOptions::PERM_READ.union(PinOptions::PERM_WRITE).union(PinOptions::PERM_EXECUTE);
    if !options.intersects(ACCESS) {
        return Err(Status::INVALID_ARGS);
    }
    let mut rights = Rights::empty();
    rights.set(Rights::READ, options.intersects(PinOptions::PERM_READ | PinOptions::PERM_EXECUTE));
    rights.set(Rights::WRITE, options.contains(PinOptions::PERM_WRITE));
    Ok(rights)
}
