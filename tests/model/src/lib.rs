//! What Zircon's calls mean, as plain data: maps from page numbers to pages, a tree of lists, a map of handles. To be read
//! beside the contract (`hypervisor/abi/CONTRACT.md`): one function a call, its checks in their order, both dialects.
//!
//! It shares no code with the hypervisor but the contract's types. Where the contract leaves a result open (the value of a
//! handle, the place of a region, a koid), the model takes what the implementation chose, once it has checked that it might.
//!
//! - `handles`, `vmar`, `mapping`, `op_range`, `vmo`, `child`, `vmo_op`, `info`, `property` and `pin` are the calls;
//! - `memory` has the pages, `access` what a guest's loads, stores and buffers find.
//! - [`program`] is a sequence of calls and accesses as text, [`Generator`] makes such sequences up.

mod access;
mod arguments;
mod child;
mod generate;
mod handles;
mod info;
mod likely;
mod mapping;
mod memory;
mod op_range;
mod pin;
mod place;
pub mod program;
mod property;
mod random;
mod shape;
mod vmar;
mod vmo;
mod vmo_op;

use std::collections::{BTreeMap, HashMap};

use abi::{Call, RAM_BASE, Status, VmoOptions};

pub use access::Access;
pub use generate::{Generator, World};
pub use memory::PageView;
pub use random::Random;
pub use shape::{HandleKind, Region};

use arguments::Arguments;
use handles::Handle;
use mapping::{Mapping, Stretch};
use memory::Memory;
use pin::Pin;
use vmar::{Child, Vmar};
use vmo::Vmo;

/// The bytes of a page.
pub const P: u64 = abi::PAGE_SIZE;

/// The values of handles begin here where no implementation chooses them.
const OWN_HANDLES: u32 = 0x7ead_0003;

/// The number of an object, given to no other.
pub(crate) type Koid = u64;

/// Which reading of the calls a VM has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// What the published pages say.
    Documented,
    /// What Zircon's kernel does.
    Kernel,
}

/// The VM that is modelled.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How it reads the calls.
    pub dialect: Dialect,
    /// The bytes of its RAM.
    pub ram_bytes: u64,
    /// The bytes of its address space.
    pub space_bytes: u64,
    /// First address and bytes of the device memory that it is granted.
    pub mmio: Option<(u64, u64)>,
}

/// What a call comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// `x0`.
    pub status: Status,
    /// `x1` and on, as many as there are.
    pub results: Vec<u64>,
    /// The IPAs at which the call has written a koid. The model has its own koids there.
    pub koids: Vec<u64>,
    /// The IPAs at which the call has written a physical address, each with the page that must lie there. The model has 0 there.
    pub addresses: Vec<(u64, PageView)>,
    /// What is wrong with what the implementation chose.
    pub complaints: Vec<String>,
}

impl Answer {
    const fn nothing() -> Self {
        Self {
            status: Status::OK,
            results: Vec::new(),
            koids: Vec::new(),
            addresses: Vec::new(),
            complaints: Vec::new(),
        }
    }
}

/// A VM and all of its objects.
pub struct Model {
    config: Config,
    pub(crate) handles: HashMap<u32, Handle>,
    pub(crate) vmars: BTreeMap<Koid, Vmar>,
    pub(crate) vmos: BTreeMap<Koid, Vmo>,
    pub(crate) memories: BTreeMap<u64, Memory>,
    pub(crate) pins: BTreeMap<Koid, Pin>,
    pub(crate) root: Koid,
    pub(crate) ram: Koid,
    vm: Koid,
    resource: Koid,
    next_koid: Koid,
    next_handle: u32,
    offered: Option<[u64; 3]>,
    answer: Answer,
}

/// Results of a call, and a status where it is an error that has results.
pub(crate) struct Reply {
    status: Status,
    results: Vec<u64>,
}

impl Reply {
    pub(crate) const DONE: Self = Self { status: Status::OK, results: Vec::new() };

    pub(crate) fn with(results: &[u64]) -> Self {
        Self { status: Status::OK, results: results.to_vec() }
    }
}

pub(crate) type Result<T, E = Status> = core::result::Result<T, E>;

/// Returns the error unless the condition holds.
pub(crate) const fn ensure(condition: bool, otherwise: Status) -> Result<()> {
    if condition { Ok(()) } else { Err(otherwise) }
}

impl Model {
    /// Returns a VM as it starts: a root VMAR, and the RAM mapped in it.
    pub fn new(config: Config) -> Self {
        let mut model = Self {
            config,
            handles: HashMap::new(),
            vmars: BTreeMap::new(),
            vmos: BTreeMap::new(),
            memories: BTreeMap::new(),
            pins: BTreeMap::new(),
            root: 0,
            ram: 0,
            vm: 0,
            resource: 0,
            next_koid: 1,
            next_handle: OWN_HANDLES,
            offered: None,
            answer: Answer::nothing(),
        };
        model.root = model.new_koid();
        model.vm = model.new_koid();
        model.resource = model.new_koid();
        model.vmars.insert(model.root, Vmar::root(config.space_bytes));
        let memory = model.add_memory(Memory::paged(config.ram_bytes));
        model.ram = model.add_vmo(Vmo::new(memory, VmoOptions::empty()));
        model.vmo_mut(model.ram).name[..3].copy_from_slice(b"ram");
        let perms = shape::ALL;
        let stretches = vec![Stretch { base: RAM_BASE, end: RAM_BASE + config.ram_bytes, perms }];
        let mapping = Mapping { vmo: model.ram, vmo_offset: 0, caps: perms, made: abi::VmOptions::SPECIFIC, stretches };
        model.insert_child(model.root, Child::Mapping(mapping));
        model
    }

    /// Returns the VM's configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Carries out a call with `x1` to `x8`. `offered` is what the implementation has returned in `x1` to `x3`, where it
    /// succeeded: what is free is taken from there.
    pub fn call(&mut self, call: Call, args: &[u64; 8], offered: Option<[u64; 3]>) -> Answer {
        self.offered = offered;
        self.answer = Answer::nothing();
        let reply = self.carry_out(call, Arguments(args));
        self.bury();
        let reply = reply.unwrap_or_else(|status| Reply { status, results: Vec::new() });
        let answer = std::mem::replace(&mut self.answer, Answer::nothing());
        Answer { status: reply.status, results: reply.results, ..answer }
    }

    fn carry_out(&mut self, call: Call, args: Arguments<'_>) -> Result<Reply> {
        match call {
            Call::StartupHandle => self.startup_handle(args),
            Call::HandleClose => self.handle_close(args),
            Call::HandleCloseMany => self.handle_close_many(args),
            Call::HandleDuplicate => self.handle_duplicate(args),
            Call::HandleReplace => self.handle_replace(args),
            Call::ObjectGetInfo => self.object_get_info(args),
            Call::ObjectGetProperty => self.object_get_property(args),
            Call::ObjectSetProperty => self.object_set_property(args),
            Call::ObjectWaitOne => self.object_wait_one(args),
            Call::VmarAllocate => self.vmar_allocate(args),
            Call::VmarMap => self.vmar_map(args),
            Call::VmarUnmap => self.vmar_unmap(args),
            Call::VmarProtect => self.vmar_protect(args),
            Call::VmarDestroy => self.vmar_destroy(args),
            Call::VmarOpRange => self.vmar_op_range(args),
            Call::VmoCreate => self.vmo_create(args),
            Call::VmoCreateChild => self.vmo_create_child(args),
            Call::VmoRead => self.vmo_read(args),
            Call::VmoWrite => self.vmo_write(args),
            Call::VmoGetSize => self.vmo_get_size(args),
            Call::VmoSetSize => self.vmo_set_size(args),
            Call::VmoOpRange => self.vmo_op_range(args),
            Call::VmoCreateContiguous => self.vmo_create_contiguous(args),
            Call::VmoReplaceAsExecutable => self.vmo_replace_as_executable(args),
            Call::VmoSetCachePolicy => self.vmo_set_cache_policy(args),
            Call::VmoCreatePhysical => self.vmo_create_physical(args),
            Call::BtiCreate => self.bti_create(args),
            Call::BtiPin => self.bti_pin(args),
            Call::PmtUnpin => self.pmt_unpin(args),
            Call::Exit
            | Call::DebugWrite
            | Call::DebugRead
            | Call::ClockGetMonotonic
            | Call::Nanosleep
            | Call::Yield
            | Call::Stage2Walk
            | Call::Stage2Stats
            | Call::Stage2Translate => panic!("{call:?} is not modelled"),
        }
    }

    pub(crate) fn new_koid(&mut self) -> Koid {
        self.next_koid += 1;
        self.next_koid
    }

    /// Returns what the implementation returned in one of `x1` to `x3`.
    pub(crate) fn offer(&self, number: usize) -> Option<u64> {
        self.offered.map(|results| results[number])
    }

    pub(crate) fn complain(&mut self, what: String) {
        self.answer.complaints.push(what);
    }
}
