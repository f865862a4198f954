//! Buffers of guests: checked as a whole before anything is done, then copied, each byte once. Another vCPU may change the
//! space at any time: a copy that finds the buffer gone says so, and nothing is ever borrowed.

use abi::{PAGE_SIZE, Status};
use vmsa::Perms;

use crate::Machine;
use crate::locks::lock;
use crate::memory::MemoryId;
use crate::space::Space;
use crate::system::{System, VmId};
use crate::vmo::Vmos;
use crate::vmo_ops::{demand_cached, demand_frames};

/// A buffer that a call reads.
pub(crate) struct Reader<'a, M> {
    system: &'a System<M>,
    vm: VmId,
    base: u64,
}

/// A buffer that a call writes. The pages that it will write are there from the start, so that no result is lost for want of
/// memory.
pub(crate) struct Writer<'a, M> {
    system: &'a System<M>,
    vm: VmId,
    base: u64,
}

impl<'a, M: Machine> Reader<'a, M> {
    /// Returns a buffer of `len` bytes at `base`. One of length 0 is not looked at.
    ///
    /// # Errors
    ///
    /// INVALID_ARGS: not all of it is mapped readable.
    pub(crate) fn new(system: &'a System<M>, vm: VmId, base: u64, len: u64) -> Result<Self, Status> {
        let space = lock(&system.vm(vm).space);
        check(&space, &system.lock_vmos(), base, len, Perms::READ)?;
        Ok(Self { system, vm, base })
    }

    /// Copies from the buffer, from `offset` on.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Status> {
        let mut at = self.base + offset;
        let mut rest = into;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(in_page(at, rest.len()));
            let space = lock(&self.system.vm(self.vm).space);
            let vmos = self.system.lock_vmos();
            let (memory, memory_offset) = locate(&space, &vmos, at, Perms::READ)?;
            self.system.read_page(&vmos, memory, memory_offset, now);
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

impl<'a, M: Machine> Writer<'a, M> {
    /// Returns a buffer of `len` bytes at `base`, of which at most the first `used` will be written. One of length 0 is not
    /// looked at.
    ///
    /// # Errors
    ///
    /// - INVALID_ARGS: not all of it is mapped writable.
    /// - NO_MEMORY: there is no frame for one of its pages.
    pub(crate) fn new(system: &'a System<M>, vm: VmId, base: u64, len: u64, used: u64) -> Result<Self, Status> {
        check(&lock(&system.vm(vm).space), &system.lock_vmos(), base, len, Perms::WRITE)?;
        let mut at = base;
        while at < base + used.min(len) {
            let space = lock(&system.vm(vm).space);
            let mut vmos = system.lock_vmos();
            let (memory, offset) = locate(&space, &vmos, at, Perms::WRITE)?;
            system.page_for_write(&mut vmos, memory, offset / PAGE_SIZE)?;
            at = (at + 1).next_multiple_of(PAGE_SIZE);
        }
        Ok(Self { system, vm, base })
    }

    /// Copies to the buffer, from `offset` on.
    pub(crate) fn write(&self, offset: u64, from: &[u8]) -> Result<(), Status> {
        let mut at = self.base + offset;
        let mut rest = from;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(in_page(at, rest.len()));
            let space = lock(&self.system.vm(self.vm).space);
            let mut vmos = self.system.lock_vmos();
            let (memory, memory_offset) = locate(&space, &vmos, at, Perms::WRITE)?;
            self.system.write_page(&mut vmos, memory, memory_offset, now)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

/// Returns how many of `len` bytes from `at` on are in the same page.
fn in_page(at: u64, len: usize) -> usize {
    len.min((PAGE_SIZE - at % PAGE_SIZE) as usize)
}

/// Checks that the guest itself could access the whole range.
fn check(space: &Space, vmos: &Vmos, base: u64, len: u64, perms: Perms) -> Result<(), Status> {
    let end = base.checked_add(len).ok_or(Status::INVALID_ARGS)?;
    let mut at = base;
    while at < end {
        let (id, region, mapping) = space.mapping_at(at).ok_or(Status::INVALID_ARGS)?;
        let to = region.end().min(end);
        let mut stretches = space.stretches(id, at).take_while(|stretch| stretch.base < to);
        let last = mapping.vmo_offset.saturating_add(to - 1 - region.base);
        let view = vmos.view(mapping.vmo);
        // EL2 looks at memory through its caches: what a guest sees without them is no buffer, nor is a device.
        let is_seen_alike = demand_frames(vmos, view).and_then(|()| demand_cached(vmos, view.memory));
        if !stretches.all(|stretch| stretch.perms.contains(perms)) || last >= view.size || is_seen_alike.is_err() {
            return Err(Status::INVALID_ARGS);
        }
        at = to;
    }
    Ok(())
}

/// Returns the memory and the offset in it that the guest's address leads to.
fn locate(space: &Space, vmos: &Vmos, at: u64, perms: Perms) -> Result<(MemoryId, u64), Status> {
    check(space, vmos, at, 1, perms)?;
    let (_, region, mapping) = space.mapping_at(at).ok_or(Status::INVALID_ARGS)?;
    let view = vmos.view(mapping.vmo);
    Ok((view.memory, view.offset + mapping.vmo_offset + (at - region.base)))
}
