//! The machine's sides, each of whose doings is an event.

use abi::{AccessKind, Status};
use oracle::{Event, Frames, Register};
use stage2::{Mmu, Order};
use vm::{ExitCause, Lock, Machine, Owner, Taken, VmId, Work};
use vmsa::{BbmLevel, Dc, Dsb, Features, Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms, Scope, Tlbi};

use crate::{Bench, Checked, words};

/// Zeroing is done, and told of, in pieces of so many pages: it takes its time, and other CPUs wait for the oracle meanwhile.
const MOST_CLEARED: u64 = 512;

impl<M: Machine + Bench> Mmu for Checked<M> {
    fn features(&self) -> &Features {
        self.inner.features()
    }

    fn read(&self, slot: Hpa) -> u64 {
        self.inner.read(slot)
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        // One slot of every table, so that the oracle knows the others.
        if planted::is(107) && order == Order::Release && slot.0 % PAGE_SIZE == 24 {
            return self.inner.write(slot, descriptor, order);
        }
        self.tell(words::store(slot, descriptor, order), || self.inner.write(slot, descriptor, order));
    }

    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64> {
        let now = if planted::is(105) { self.inner.read(slot) } else { old };
        self.tell_if_done(words::exchange(slot, old, new), slot, now, || self.inner.exchange(slot, now, new))
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        self.tell(words::tlbi(op, scope), || self.inner.tlbi(op, scope));
    }

    fn dsb(&self, kind: Dsb) {
        self.tell(words::dsb(kind), || self.inner.dsb(kind));
    }

    fn isb(&self) {
        self.tell(Event::Isb, || self.inner.isb());
    }

    fn vttbr(&self) -> u64 {
        self.inner.vttbr()
    }

    fn set_vttbr(&self, vttbr: u64) {
        self.tell(Event::Msr(Register::VttbrEl2, vttbr), || self.inner.set_vttbr(vttbr));
    }

    fn set_vtcr(&self, vtcr: u64) {
        self.tell(Event::Msr(Register::VtcrEl2, vtcr), || self.inner.set_vtcr(vtcr));
    }

    fn set_hcr(&self, hcr: u64) {
        self.tell(Event::Msr(Register::HcrEl2, hcr), || self.inner.set_hcr(hcr));
    }

    fn root_made(&self, number: u32, vttbr: u64, geometry: Geometry, bbm: BbmLevel) {
        let less = (bbm < self.inner.features().bbm).then_some(words::bbm(bbm));
        let event = Event::Vm { vm: number, vttbr, bbm: less };
        self.tell(event, || self.inner.root_made(number, vttbr, geometry, bbm));
    }

    /// A VMID of 0 is none.
    fn root_idle(&self, number: u32, root: Hpa) {
        let event = Event::Vm { vm: number, vttbr: root.0, bbm: None };
        self.tell(event, || self.inner.root_idle(number, root));
    }
}

impl<M: Machine + Bench> Machine for Checked<M> {
    fn clear(&self, frame: Hpa, pages: u64) {
        for done in (0..pages).step_by(MOST_CLEARED as usize) {
            let (first, count) = (frame.add(done * PAGE_SIZE), MOST_CLEARED.min(pages - done));
            self.tell(Event::Zero(Frames::new(first, count)), || self.inner.clear(first, count));
        }
    }

    fn copy_from(&self, from: Hpa, into: &mut [u8]) {
        self.inner.copy_from(from, into);
    }

    fn copy_to(&self, to: Hpa, from: &[u8]) {
        self.inner.copy_to(to, from);
    }

    fn dc(&self, op: Dc, start: Hpa, len: u64) {
        self.tell(words::dc(op, start, len), || self.inner.dc(op, start, len));
    }

    fn ic(&self) {
        self.tell(Event::Ic { is_broadcast: true }, || self.inner.ic());
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    fn console_write(&self, bytes: &[u8]) {
        self.inner.console_write(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        self.inner.console_read(into)
    }

    fn translate(&self, address: Ipa, access: AccessKind) -> Result<u64, Status> {
        self.inner.translate(address, access)
    }

    fn relax(&self) {
        self.inner.relax();
    }

    fn cpu(&self) -> usize {
        self.inner.cpu()
    }

    fn told_taken(&self, frame: Hpa, pages: u64, taken_as: Taken) {
        self.tell(words::taken(frame, pages, taken_as), || self.inner.told_taken(frame, pages, taken_as));
    }

    fn told_owner(&self, frame: Hpa, pages: u64, owner: Owner) {
        self.tell(words::owner(frame, pages, owner), || self.inner.told_owner(frame, pages, owner));
    }

    fn told_given_back(&self, frame: Hpa, pages: u64) {
        self.tell(Event::Free(Frames::new(frame, pages)), || self.inner.told_given_back(frame, pages));
    }

    fn told_locked(&self, lock: Lock) {
        if planted::is(104) {
            return;
        }
        self.tell(words::locked(lock), || self.inner.told_locked(lock));
    }

    fn told_unlocked(&self, lock: Lock) {
        if planted::is(104) {
            return;
        }
        self.tell(words::unlocked(lock), || self.inner.told_unlocked(lock));
    }

    fn told_begun(&self, work: Work, vm: VmId, range: IpaRange, perms: Option<Perms>) {
        self.tell(words::begun(work, vm, range, perms), || self.inner.told_begun(work, vm, range, perms));
    }

    fn told_ended(&self, status: Status) {
        self.tell(Event::End { status: status.to_register() }, || self.inner.told_ended(status));
    }

    fn told_entering(&self, vm: VmId, vcpu: usize) {
        let event = Event::Eret { vm: vm.number(), vcpu: vcpu as u32 };
        self.tell(event, || self.inner.told_entering(vm, vcpu));
    }

    fn told_left(&self, vm: VmId, vcpu: usize, cause: ExitCause) {
        self.tell(words::left(vm, vcpu, cause), || self.inner.told_left(vm, vcpu, cause));
    }
}
