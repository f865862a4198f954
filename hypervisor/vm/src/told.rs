//! What a machine that watches its memory is told of, besides what it does itself: whose frames are, which locks are held, and
//! what is done to a VM's memory.

use core::ops::{Deref, DerefMut};

use abi::Status;
use spin::MutexGuard;
use stage2::Stage2;
use vmsa::{Hpa, IpaRange, Perms};

use crate::Machine;
use crate::locks::lock;
use crate::system::{System, VmId};
use crate::vmo::Vmos;

/// What a frame is taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// A stage-2 table.
    Table,
    /// Anything else: a guest's page, or the hypervisor's own.
    Memory,
}

/// Whose memory a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// Nobody's that is a guest.
    Hypervisor,
    /// This VM's.
    Vm(VmId),
    /// Every VM's, to read: the page of zeros.
    Everyone,
}

/// A lock that orders what is done to tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lock {
    /// That of a VM's tree, whose root is at this address.
    Tree(VmId, Hpa),
    /// That of the VMIDs.
    Vmids,
    /// That of the VMOs: under it pages get their frames, and their contents.
    Vmos,
}

/// Work on a range of a VM's memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// It becomes a window on a VMO, or the VMO's pages are entered in the tables.
    Map,
    /// It is no window any more.
    Unmap,
    /// It has other permissions from now on.
    Protect,
    /// The pages behind it get frames.
    Commit,
    /// The frames behind it are taken back.
    Decommit,
    /// A guest's access to it is served.
    Fault,
}

/// Why a CPU has come back from a guest, as its registers tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExitCause {
    /// ESR_EL2.
    pub esr: u64,
    /// FAR_EL2, after an abort.
    pub far: u64,
    /// HPFAR_EL2, after an abort.
    pub hpfar: u64,
}

/// What a lock guards, with the machine told of the lock's taking and leaving.
pub(crate) struct Told<'a, M: Machine, T> {
    // Told before the guard goes: fields are dropped after `drop` has run.
    guard: MutexGuard<'a, T>,
    machine: &'a M,
    lock: Lock,
}

impl<'a, M: Machine, T> Told<'a, M, T> {
    /// Tells of a lock that was just taken.
    pub(crate) fn new(machine: &'a M, lock: Lock, guard: MutexGuard<'a, T>) -> Self {
        machine.told_locked(lock);
        Self { guard, machine, lock }
    }
}

impl<M: Machine, T> Drop for Told<'_, M, T> {
    fn drop(&mut self) {
        self.machine.told_unlocked(self.lock);
    }
}

impl<M: Machine, T> Deref for Told<'_, M, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<M: Machine, T> DerefMut for Told<'_, M, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<M: Machine> System<M> {
    /// Locks a VM's tree.
    pub(crate) fn tree(&self, id: VmId) -> Told<'_, M, Stage2> {
        let tree = lock(&self.vm(id).tree);
        let lock = Lock::Tree(id, tree.root());
        Told::new(&self.machine, lock, tree)
    }

    /// Locks the VMOs.
    pub(crate) fn lock_vmos(&self) -> Told<'_, M, Vmos> {
        Told::new(&self.machine, Lock::Vmos, lock(&self.vmos))
    }

    /// Works on a range of a VM's memory. `perms` are those that protection leaves.
    pub(crate) fn operate<R>(
        &self,
        work: Work,
        id: VmId,
        range: IpaRange,
        perms: Option<Perms>,
        carry_out: impl FnOnce() -> Result<R, Status>,
    ) -> Result<R, Status> {
        self.machine.told_begun(work, id, range, perms);
        let result = carry_out();
        self.machine.told_ended(result.as_ref().map_or_else(|status| *status, |_| Status::OK));
        result
    }

    /// Works on several ranges at once. Only one range can be told of at a time: where there are more, all of it is done first, and
    /// then each is told of as one where nothing is left to do.
    pub(crate) fn operate_on_each<R, I: Iterator<Item = IpaRange> + Clone>(
        &self,
        work: Work,
        id: VmId,
        mut ranges: I,
        carry_out: impl FnOnce(Ranges<I>) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let mut others = ranges.clone();
        let only = others.next().filter(|_| others.next().is_none());
        let Some(range) = only else {
            let result = carry_out(Ranges::All(ranges.clone()))?;
            ranges.try_for_each(|range| self.operate(work, id, range, None, || Ok(())))?;
            return Ok(result);
        };
        self.operate(work, id, range, None, || carry_out(Ranges::Only(only)))
    }
}

/// Ranges that take a search each: where there is only one, it is not looked for again.
#[derive(Clone)]
pub(crate) enum Ranges<I> {
    Only(Option<IpaRange>),
    All(I),
}

impl<I: Iterator<Item = IpaRange>> Iterator for Ranges<I> {
    type Item = IpaRange;

    fn next(&mut self) -> Option<IpaRange> {
        match self {
            Self::Only(range) => range.take(),
            Self::All(ranges) => ranges.next(),
        }
    }
}
