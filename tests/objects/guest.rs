//! A guest without instructions: it calls, and touches memory, through the hypervisor's own entries.

use std::ops::Deref;

use abi::stats::{COUNT, Counter};
use abi::{Call, ChildOptions, InfoVmo, Rights, Startup, Status, VmOptions, VmarOp, VmoOp};
use tests::Answer;
use zerocopy::FromBytes;

pub(crate) const P: u64 = 4096;

pub(crate) const RW: VmOptions = VmOptions::PERM_READ.union(VmOptions::PERM_WRITE);
pub(crate) const R: VmOptions = VmOptions::PERM_READ;
pub(crate) const PLACED: VmOptions = VmOptions::SPECIFIC;
/// What a VMAR of the tests may do.
pub(crate) const CAN_ALL: VmOptions = VmOptions::CAN_MAP_ACCESS.union(VmOptions::CAN_MAP_SPECIFIC);

/// A guest, with calls for tests.
pub(crate) struct Guest(tests::Guest);

impl Deref for Guest {
    type Target = tests::Guest;

    fn deref(&self) -> &tests::Guest {
        &self.0
    }
}

pub(crate) fn documented() -> Guest {
    Guest::new("dialect=documented inspect=on seed=1")
}

pub(crate) fn kernel() -> Guest {
    Guest::new("dialect=kernel inspect=on seed=1")
}

/// Runs a test of what is the same in both dialects.
pub(crate) fn both(test: impl Fn(&Guest)) {
    test(&documented());
    test(&kernel());
}

/// The rights of the root VMAR's first handle.
pub(crate) const VMAR_RIGHTS: Rights = Rights::DEFAULT_VMAR.union(Rights::ACCESS);

impl Guest {
    pub(crate) fn new(arguments: &str) -> Self {
        Self::with_memory(arguments, 16 << 20)
    }

    /// Makes a guest on a machine with `bytes` of memory.
    pub(crate) fn with_memory(arguments: &str, bytes: usize) -> Self {
        Self(tests::Guest::new(arguments, bytes))
    }

    /// Calls with `x1` to `x8`, the rest of them 0.
    pub(crate) fn call(&self, call: Call, arguments: &[u64]) -> Result<[u64; 3], Status> {
        let mut args = [0; 8];
        args[..arguments.len()].copy_from_slice(arguments);
        let Some(Answer { status, results, .. }) = self.hypercall(call, &args) else {
            panic!("{call:?} ended the VM");
        };
        status.ok().map(|()| results)
    }

    pub(crate) fn root(&self) -> u64 {
        self.call(Call::StartupHandle, &[u64::from(u32::from(Startup::RootVmar))]).unwrap()[0]
    }

    pub(crate) fn vmo(&self, pages: u64) -> u64 {
        self.call(Call::VmoCreate, &[pages * P, 0]).unwrap()[0]
    }

    /// Makes a VMAR at `offset` of its parent.
    pub(crate) fn vmar(&self, parent: u64, offset: u64, pages: u64) -> (u64, u64) {
        let options = u64::from((PLACED | CAN_ALL).bits());
        let [handle, base, _] = self.call(Call::VmarAllocate, &[parent, options, offset, pages * P]).unwrap();
        (handle, base)
    }

    pub(crate) fn try_map(
        &self,
        vmar: u64,
        options: VmOptions,
        offset: u64,
        vmo: u64,
        vmo_offset: u64,
        len: u64,
    ) -> Result<u64, Status> {
        let options = u64::from(options.bits());
        self.call(Call::VmarMap, &[vmar, options, offset, vmo, vmo_offset, len]).map(|results| results[0])
    }

    /// Maps `pages` pages of the VMO's start at `offset` of the VMAR, readable and writable.
    pub(crate) fn map(&self, vmar: u64, offset: u64, vmo: u64, pages: u64) -> u64 {
        self.try_map(vmar, RW | PLACED, offset, vmo, 0, pages * P).unwrap()
    }

    pub(crate) fn unmap(&self, vmar: u64, base: u64, len: u64) -> Result<(), Status> {
        self.call(Call::VmarUnmap, &[vmar, base, len]).map(drop)
    }

    pub(crate) fn op_range(&self, vmar: u64, op: VmarOp, base: u64, len: u64) -> Result<(), Status> {
        self.call(Call::VmarOpRange, &[vmar, u64::from(u32::from(op)), base, len]).map(drop)
    }

    /// Returns a copy of the handle without some of its rights.
    pub(crate) fn without(&self, handle: u64, rights: Rights, gone: Rights) -> u64 {
        self.call(Call::HandleDuplicate, &[handle, u64::from((rights - gone).bits())]).unwrap()[0]
    }

    /// Returns the level of the entry that the walk of `ipa` ends at, and whether that is a leaf.
    pub(crate) fn walk(&self, ipa: u64) -> (u64, bool) {
        let [descriptor, level, _] = self.call(Call::Stage2Walk, &[self.root(), ipa]).unwrap();
        (level, descriptor & 1 != 0)
    }

    pub(crate) fn vmo_op(&self, vmo: u64, op: VmoOp, offset: u64, len: u64) -> Result<(), Status> {
        self.call(Call::VmoOpRange, &[vmo, u64::from(u32::from(op)), offset, len]).map(drop)
    }

    /// Commits pages of a new VMO, one at a time, until the VM's quota is used up but for `left` frames.
    pub(crate) fn use_up_quota(&self, left: u64) {
        let vmo = self.vmo(1 << 20);
        let first = (0..).find(|page| self.vmo_op(vmo, VmoOp::Commit, page * P, P).is_err());
        assert!(first.is_some_and(|page| page > left));
        self.vmo_op(vmo, VmoOp::Decommit, 0, left * P).unwrap();
    }

    /// Returns one of the tables' counters.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        let vm = self.call(Call::StartupHandle, &[u64::from(u32::from(Startup::Vm))]).unwrap()[0];
        let index = Counter::ALL.iter().position(|other| *other == counter).unwrap();
        let buffer = abi::RAM_BASE + P;
        self.call(Call::Stage2Stats, &[vm, buffer, 8 * COUNT as u64]).unwrap();
        self.load(buffer + 8 * index as u64).unwrap()
    }

    /// Tells of each page from `base` on whether it can be read: '1' and '0', page 0 left.
    pub(crate) fn bitmap(&self, base: u64, pages: u64) -> String {
        (0..pages).map(|page| if self.load(base + page * P).is_some() { '1' } else { '0' }).collect()
    }

    pub(crate) fn committed_pages(&self, vmo: u64) -> u64 {
        self.info(vmo).committed_bytes / P
    }

    pub(crate) fn info(&self, vmo: u64) -> InfoVmo {
        // RAM lies at 1 GiB; its second page is the buffer.
        let buffer = abi::RAM_BASE + P;
        let topic = u64::from(u32::from(abi::Topic::Vmo));
        let size = size_of::<InfoVmo>() as u64;
        self.call(Call::ObjectGetInfo, &[vmo, topic, buffer, size]).unwrap();
        let bytes: Vec<u8> =
            (0..size / 8).flat_map(|word| self.load(buffer + 8 * word).unwrap().to_le_bytes()).collect();
        InfoVmo::read_from_bytes(&bytes).unwrap()
    }

    /// Makes a child of a VMO.
    pub(crate) fn try_child(&self, vmo: u64, options: ChildOptions, offset: u64, size: u64) -> Result<u64, Status> {
        self.call(Call::VmoCreateChild, &[vmo, options.bits().into(), offset, size]).map(|results| results[0])
    }

    /// Makes a copy of the first pages of a VMO.
    pub(crate) fn snapshot(&self, vmo: u64, pages: u64) -> u64 {
        self.try_child(vmo, ChildOptions::SNAPSHOT, 0, pages * P).unwrap()
    }

    pub(crate) fn close(&self, handle: u64) {
        self.call(Call::HandleClose, &[handle]).unwrap();
    }

    /// Writes a word to a VMO, by way of the RAM's third page.
    pub(crate) fn write(&self, vmo: u64, offset: u64, value: u64) {
        let buffer = abi::RAM_BASE + 2 * P;
        assert!(self.store(buffer, value));
        self.call(Call::VmoWrite, &[vmo, buffer, offset, 8]).unwrap();
    }

    /// Reads a word of a VMO.
    pub(crate) fn read(&self, vmo: u64, offset: u64) -> u64 {
        let buffer = abi::RAM_BASE + 2 * P;
        self.call(Call::VmoRead, &[vmo, buffer, offset, 8]).unwrap();
        self.load(buffer).unwrap()
    }
}
