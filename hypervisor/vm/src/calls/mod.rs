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

use abi::{Call, RawHandle, Rights, Status, VENDOR_BASE};

use crate::handles::{Entry, Object};
use crate::region::RegionId;
use crate::system::{System, VmId};
use crate::vmar::Locked;
use crate::vmo::VmoId;
use crate::{Dialect, Machine};

/// What a call came to. It fits a register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The guest goes on.
    Return {
        /// `x0`.
        status: Status,
        /// How many registers from `x1` on are results; the others are as they were.
        count: u8,
    },
    /// The VM ends with this status.
    Exit(i32),
}

/// A call's status and results.
#[derive(Clone, Copy, Debug, Default)]
struct Reply {
    status: Option<Status>,
    results: [u64; 3],
    count: u8,
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

const _: () = assert!(size_of::<Outcome>() <= size_of::<u64>());

/// Puts what a call came to where the guest finds it.
fn answer(result: Result<Reply, Status>, registers: &mut [u64; 8]) -> Outcome {
    let reply = result.unwrap_or_else(|status| Reply::DONE.with_status(status));
    for (register, result) in registers.iter_mut().zip(reply.results).take(reply.count.into()) {
        *register = result;
    }
    Outcome::Return { status: reply.status.unwrap_or(Status::OK), count: reply.count }
}

/// A call under way: who makes it, and `x1` to `x8`.
struct Caller<'a, M> {
    system: &'a System<M>,
    id: VmId,
    args: &'a [u64; 8],
}

/// What serves a call: of a VM, with `x1` to `x8`, the first of which take the results.
pub type Handler<M> = fn(&System<M>, VmId, &mut [u64; 8]) -> Outcome;

/// How many numbers calls can have. They fill the low bits of a function id.
const NUMBERS: usize = 0x100;

const _: () = assert!((VENDOR_BASE as usize).is_multiple_of(NUMBERS));

impl<M: Machine> System<M> {
    /// What serves each call, by its number. Each is a function of its own, so that none pays for the registers and the room on the
    /// stack that another needs: 30 instructions a call. A table of numbers saves 25 more over a match of names.
    const HANDLERS: [Option<Handler<M>>; NUMBERS] = {
        macro_rules! table {
            ($($call:ident => $handler:ident),* $(,)?) => {{
                let mut handlers: [Option<Handler<M>>; NUMBERS] = [None; NUMBERS];
                $(handlers[Call::$call as usize] =
                    Some(|system, id, args| answer(Caller { system, id, args }.$handler(), args));)*
                handlers
            }};
        }
        let mut handlers = table! {
            StartupHandle => startup_handle,
            DebugWrite => debug_write,
            DebugRead => debug_read,
            ClockGetMonotonic => clock_get_monotonic,
            Nanosleep => nanosleep,
            Yield => yield_now,
            HandleClose => handle_close,
            HandleCloseMany => handle_close_many,
            HandleDuplicate => handle_duplicate,
            HandleReplace => handle_replace,
            ObjectGetInfo => object_get_info,
            ObjectGetProperty => object_get_property,
            ObjectSetProperty => object_set_property,
            ObjectWaitOne => object_wait_one,
            VmarAllocate => vmar_allocate,
            VmarMap => vmar_map,
            VmarUnmap => vmar_unmap,
            VmarProtect => vmar_protect,
            VmarDestroy => vmar_destroy,
            VmarOpRange => vmar_op_range,
            VmoCreate => vmo_create,
            VmoCreateChild => vmo_create_child,
            VmoRead => vmo_read,
            VmoWrite => vmo_write,
            VmoGetSize => vmo_get_size,
            VmoSetSize => vmo_set_size,
            VmoOpRange => vmo_op_range,
            VmoCreateContiguous => vmo_create_contiguous,
            VmoReplaceAsExecutable => vmo_replace_as_executable,
            VmoSetCachePolicy => vmo_set_cache_policy,
            VmoCreatePhysical => vmo_create_physical,
            BtiCreate => bti_create,
            BtiPin => bti_pin,
            PmtUnpin => pmt_unpin,
            Stage2Walk => stage2_walk,
            Stage2Translate => stage2_translate,
            Stage2Stats => stage2_stats,
        };
        handlers[Call::Exit as usize] = Some(|_, _, args| Outcome::Exit(args[0] as i32));
        handlers
    };

    /// Returns what serves the vendor call that the function id names, if there is one.
    #[inline]
    pub fn handler(function_id: u32) -> Option<Handler<M>> {
        let number = function_id % NUMBERS as u32;
        if function_id - number == VENDOR_BASE { Self::HANDLERS[number as usize] } else { None }
    }

    /// Carries out a vendor call of a VM. `args` are `x1` to `x8`, the first of which take the results.
    pub fn call(&self, id: VmId, call: Call, args: &mut [u64; 8]) -> Outcome {
        match Self::handler(call.function_id()) {
            Some(handler) => handler(self, id, args),
            None => unreachable!("{call:?} is served by nobody"),
        }
    }
}

impl<'a, M: Machine> Caller<'a, M> {
    /// Checks that the VM may look into the hypervisor.
    fn demand_inspection(&self) -> Result<(), Status> {
        if self.system.vm(self.id).config.can_inspect { Ok(()) } else { Err(Status::ACCESS_DENIED) }
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
