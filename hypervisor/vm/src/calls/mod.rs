//! The vendor calls: arguments are looked at here, in the order that Zircon looks at them, and refused before anything has
//! changed.

mod device;
mod handle;
mod info;
mod maps;
mod object;
mod op_range;
mod vmar;
mod vmo;
mod world;

use abi::{Call, RawHandle, Rights, Status};

use crate::handles::{Entry, Object};
use crate::region::RegionId;
use crate::system::{System, VmId};
use crate::vmar::Locked;
use crate::vmo::VmoId;
use crate::{Dialect, Machine};

/// What a call came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The guest goes on: `x0` is the status, and as many results as `count` says are `x1` and on; what is not a result keeps
    /// the caller's value.
    Return {
        /// `x0`.
        status: Status,
        /// `x1` to `x3`.
        results: [u64; 3],
        /// How many of them are results.
        count: usize,
    },
    /// The VM ends with this status.
    Exit(i32),
}

/// A call's status and results.
#[derive(Clone, Copy, Debug, Default)]
struct Reply {
    status: Option<Status>,
    results: [u64; 3],
    count: usize,
}

impl Reply {
    const DONE: Self = Self { status: None, results: [0; 3], count: 0 };

    const fn one(x1: u64) -> Self {
        Self { status: None, results: [x1, 0, 0], count: 1 }
    }

    const fn two(x1: u64, x2: u64) -> Self {
        Self { status: None, results: [x1, x2, 0], count: 2 }
    }

    const fn three(results: [u64; 3]) -> Self {
        Self { status: None, results, count: 3 }
    }

    /// An error that has results all the same.
    const fn with_status(self, status: Status) -> Self {
        Self { status: Some(status), ..self }
    }
}

impl From<Result<Reply, Status>> for Outcome {
    fn from(result: Result<Reply, Status>) -> Self {
        let reply = result.unwrap_or_else(|status| Reply::DONE.with_status(status));
        Self::Return { status: reply.status.unwrap_or(Status::OK), results: reply.results, count: reply.count }
    }
}

/// A call under way: who makes it, and `x1` to `x8`.
struct Caller<'a, M> {
    system: &'a System<M>,
    id: VmId,
    args: &'a [u64; 8],
}

/// What serves a call.
type Handler<'a, M> = fn(&Caller<'a, M>) -> Outcome;

/// Returns what serves a call. Each is a function of its own, so that none pays for the registers and the room on the stack that
/// another needs: 30 instructions a call.
fn handler<'a, M: Machine>(call: Call) -> Handler<'a, M> {
    macro_rules! reply {
        ($handler:ident) => {
            |caller| caller.$handler().into()
        };
    }
    match call {
        Call::Exit => |caller| Outcome::Exit(caller.args[0] as i32),
        Call::StartupHandle => reply!(startup_handle),
        Call::DebugWrite => reply!(debug_write),
        Call::DebugRead => reply!(debug_read),
        Call::ClockGetMonotonic => reply!(clock_get_monotonic),
        Call::Nanosleep => reply!(nanosleep),
        Call::Yield => reply!(yield_now),
        Call::HandleClose => reply!(handle_close),
        Call::HandleCloseMany => reply!(handle_close_many),
        Call::HandleDuplicate => reply!(handle_duplicate),
        Call::HandleReplace => reply!(handle_replace),
        Call::ObjectGetInfo => reply!(object_get_info),
        Call::ObjectGetProperty => reply!(object_get_property),
        Call::ObjectSetProperty => reply!(object_set_property),
        Call::ObjectWaitOne => reply!(object_wait_one),
        Call::VmarAllocate => reply!(vmar_allocate),
        Call::VmarMap => reply!(vmar_map),
        Call::VmarUnmap => reply!(vmar_unmap),
        Call::VmarProtect => reply!(vmar_protect),
        Call::VmarDestroy => reply!(vmar_destroy),
        Call::VmarOpRange => reply!(vmar_op_range),
        Call::VmoCreate => reply!(vmo_create),
        Call::VmoCreateChild => reply!(vmo_create_child),
        Call::VmoRead => reply!(vmo_read),
        Call::VmoWrite => reply!(vmo_write),
        Call::VmoGetSize => reply!(vmo_get_size),
        Call::VmoSetSize => reply!(vmo_set_size),
        Call::VmoOpRange => reply!(vmo_op_range),
        Call::VmoCreateContiguous => reply!(vmo_create_contiguous),
        Call::VmoReplaceAsExecutable => reply!(vmo_replace_as_executable),
        Call::VmoSetCachePolicy => reply!(vmo_set_cache_policy),
        Call::VmoCreatePhysical => reply!(vmo_create_physical),
        Call::BtiCreate => reply!(bti_create),
        Call::BtiPin => reply!(bti_pin),
        Call::PmtUnpin => reply!(pmt_unpin),
        Call::Stage2Walk => |caller| caller.inspect(Caller::stage2_walk).into(),
        Call::Stage2Stats => |caller| caller.inspect(Caller::stage2_stats).into(),
        // What a CPU makes of an address is told at EL2, where there is one.
        Call::Stage2Translate => |caller| caller.inspect(|_| Err(Status::NOT_SUPPORTED)).into(),
    }
}

impl<M: Machine> System<M> {
    /// Carries out a vendor call of a VM. `args` are `x1` to `x8`.
    #[inline]
    pub fn call(&self, id: VmId, call: Call, args: &[u64; 8]) -> Outcome {
        handler(call)(&Caller { system: self, id, args })
    }
}

impl<'a, M: Machine> Caller<'a, M> {
    /// Looks into the hypervisor, which not every VM may do.
    fn inspect(&self, look: impl FnOnce(&Self) -> Result<Reply, Status>) -> Result<Reply, Status> {
        if self.system.vm(self.id).config.can_inspect { look(self) } else { Err(Status::ACCESS_DENIED) }
    }

    const fn arg(&self, number: usize) -> u64 {
        self.args[number]
    }

    /// Returns a 32-bit argument.
    const fn word(&self, number: usize) -> Result<u32, Status> {
        match self.args[number] {
            word if word >> 32 == 0 => Ok(word as u32),
            _ => Err(Status::INVALID_ARGS),
        }
    }

    /// Returns an argument that is to be a handle.
    const fn raw_handle(&self, number: usize) -> Result<RawHandle, Status> {
        match self.args[number] {
            word if word >> 32 == 0 => Ok(RawHandle(word as u32)),
            _ => Err(Status::BAD_HANDLE),
        }
    }

    fn lock(&self) -> Locked<'a, M> {
        Locked::new(self.system, self.id)
    }

    fn dialect(&self) -> &'a Dialect {
        &self.system.vm(self.id).config.dialect
    }

    fn entry(&self, locked: &Locked<'_, M>, number: usize) -> Result<Entry, Status> {
        locked.space.handles.get(self.raw_handle(number)?)
    }

    /// Returns the VMAR that an argument names, and the handle's rights.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE, in this order.
    fn vmar(&self, locked: &Locked<'_, M>, number: usize) -> Result<(RegionId, Rights), Status> {
        match self.entry(locked, number)? {
            Entry { object: Object::Vmar(id), rights, .. } => Ok((id, rights)),
            _ => Err(Status::WRONG_TYPE),
        }
    }

    /// Returns the VMO that an argument names, and the handle's rights.
    ///
    /// # Errors
    ///
    /// BAD_HANDLE, WRONG_TYPE, in this order.
    fn vmo(&self, locked: &Locked<'_, M>, number: usize) -> Result<(VmoId, Rights), Status> {
        match self.entry(locked, number)? {
            Entry { object: Object::Vmo(id), rights, .. } => Ok((id, rights)),
            _ => Err(Status::WRONG_TYPE),
        }
    }

    /// Makes a handle, in room that was reserved. The object counts it already.
    fn give(&self, locked: &mut Locked<'_, M>, object: Object, rights: Rights) -> u64 {
        u64::from(locked.space.handles.insert_reserved(object, rights).0)
    }

    /// Does `work` with a VMO that an argument names, held fast while the space is unlocked. `check` looks at the handle's
    /// rights.
    fn with_vmo<R>(
        &self,
        check: impl FnOnce(Rights) -> Result<(), Status>,
        work: impl FnOnce(VmoId, Rights) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let (vmo, rights) = {
            let locked = self.lock();
            let (vmo, rights) = self.vmo(&locked, 0)?;
            check(rights)?;
            self.system.lock_vmos()[vmo].retain();
            (vmo, rights)
        };
        let result = work(vmo, rights);
        self.system.release_vmo(vmo);
        result
    }
}

/// Returns an error unless the handle's rights hold all of `wanted`.
fn demand(rights: Rights, wanted: Rights) -> Result<(), Status> {
    if rights.contains(wanted) { Ok(()) } else { Err(Status::ACCESS_DENIED) }
}
