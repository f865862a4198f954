//! `vmar_op_range`: an operation on the VMOs that are mapped in a range.

use abi::{PAGE_SIZE, Rights, Status, VmarOp, VmoOp};
use vmsa::{Ipa, IpaRange, Perms};

use super::{Caller, Reply, demand};
use crate::Dialect;
use crate::Machine;
use crate::region::RegionId;
use crate::space::whole_pages;
use crate::told::Work;
use crate::vmar::Locked;
use crate::vmo::VmoId;

/// The call's arguments, once they are known to be good.
#[derive(Clone, Copy)]
struct Operation {
    op: VmarOp,
    vmar: RegionId,
    koid: u64,
    rights: Rights,
    end: u64,
}

/// The part of the range that one mapping shows.
#[derive(Clone, Copy)]
struct Part {
    vmo: VmoId,
    vmo_offset: u64,
    base: u64,
    end: u64,
}

impl<M: Machine> Caller<'_, M> {
    /// vmar_op_range(vmar, op, addr, size, buffer, buffer size):
    ///
    /// | step | check | status |
    /// | --- | --- | --- |
    /// | 1, 2 | the handle | BAD_HANDLE, WRONG_TYPE |
    /// | 3 | `op` is an operation of this dialect | INVALID_ARGS |
    /// | 4 | (documented) the handle has WRITE, for COMMIT, DECOMMIT and ZERO | ACCESS_DENIED |
    /// | 5 | there is no buffer | INVALID_ARGS |
    /// | 6 | `addr` aligned, `size` not 0 and rounded up to pages | INVALID_ARGS |
    /// | 7 | the range lies in the VMAR | OUT_OF_RANGE |
    /// | 8 | the VMAR lives | BAD_STATE |
    /// | 10a, 11 | no gap before the next mapping, or at the end | BAD_STATE |
    /// | 10b | (kernel) the mapping may be reached through this handle | INVALID_ARGS |
    /// | 10e | the mapping could be writable (COMMIT, DECOMMIT, ZERO) or readable (PREFETCH) | ACCESS_DENIED |
    /// | 10f | what the VMO says | as it says |
    ///
    /// Mappings are worked on in ascending order, and those before a failing one keep what was done. The space is unlocked
    /// while a VMO is worked on, and between mappings: what another vCPU changes ahead is seen as it is then.
    pub(super) fn vmar_op_range(&self) -> Result<Reply, Status> {
        let locked = self.lock();
        let (operation, base) = self.operation(&locked)?;
        let mut at = self.one_part(&operation, locked, base)?;
        while at < operation.end {
            at = self.one_part(&operation, self.lock_alive(&operation)?, at)?;
        }
        Ok(Reply::DONE)
    }

    /// Checks the arguments; returns the operation, and where it begins.
    fn operation(&self, locked: &Locked<'_, M>) -> Result<(Operation, u64), Status> {
        let (base, len, buffer, buffer_size) = (self.arg(2), self.arg(3), self.arg(4), self.arg(5));
        let dialect = self.dialect();
        let (vmar, rights) = self.vmar(locked, 0)?;
        let op = VmarOp::try_from(self.word(1)?).map_err(|_| Status::INVALID_ARGS)?;
        if op == VmarOp::Zero && !dialect.op_range_zeroes {
            return Err(Status::INVALID_ARGS);
        }
        if dialect.op_range_tests_write && changes_contents(op) {
            demand(rights, Rights::WRITE)?;
        }
        if buffer != 0 || buffer_size != 0 || !base.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_ARGS);
        }
        let size = whole_pages(len).ok_or(Status::INVALID_ARGS)?;
        if !locked.space.regions[vmar].holds(base, size) {
            return Err(Status::OUT_OF_RANGE);
        }
        let object = locked.space.vmar(vmar);
        if !object.is_alive {
            return Err(Status::BAD_STATE);
        }
        Ok((Operation { op, vmar, koid: object.koid, rights, end: base + size }, base))
    }

    /// Locks the space, in which the VMAR of the operation still lives.
    fn lock_alive(&self, operation: &Operation) -> Result<Locked<'_, M>, Status> {
        let locked = self.lock();
        locked.check_alive(operation.vmar, operation.koid)?;
        Ok(locked)
    }

    /// Works on the mapping at `at`; returns where it ends.
    fn one_part(&self, operation: &Operation, locked: Locked<'_, M>, at: u64) -> Result<u64, Status> {
        let (mapping, part) = self.next_part(operation, &locked, at)?;
        let Some(op) = vmo_op(operation.op) else {
            return self.enter(&locked, Work::Map, mapping, part);
        };
        self.system.lock_vmos()[part.vmo].retain();
        drop(locked);
        let result = self.work(operation.op, op, part);
        self.system.release_vmo(part.vmo);
        self.lock_alive(operation)?;
        result.map(|()| part.end)
    }

    /// Finds the mapping at `at`, and checks that the operation may be done to it.
    fn next_part(&self, operation: &Operation, locked: &Locked<'_, M>, at: u64) -> Result<(RegionId, Part), Status> {
        let space = &locked.space;
        let found = space.next_mapping(operation.vmar, at).filter(|id| space.regions[*id].base <= at);
        let id = found.ok_or(Status::BAD_STATE)?;
        let region = &space.regions[id];
        if region.parent != Some(operation.vmar) && !may_reach(self.dialect(), operation) {
            return Err(Status::INVALID_ARGS);
        }
        let mapping = space.mapping(id);
        if !mapping.caps.contains(needed(operation.op)) {
            return Err(Status::ACCESS_DENIED);
        }
        space.note_found(id);
        let (vmo, vmo_offset) = (mapping.vmo, mapping.vmo_offset + (at - region.base));
        Ok((id, Part { vmo, vmo_offset, base: at, end: region.end().min(operation.end) }))
    }

    /// Works on the VMO of a part, which is held fast, with the space unlocked.
    fn work(&self, op: VmarOp, vmo_op: VmoOp, part: Part) -> Result<(), Status> {
        self.system.vmo_operation(part.vmo, vmo_op, part.vmo_offset, part.end - part.base)?;
        match op {
            VmarOp::Commit => self.enter_anew(Work::Commit, part),
            VmarOp::AlwaysNeed | VmarOp::Prefetch => self.enter_anew(Work::Map, part),
            _ => Ok(()),
        }
    }

    /// Enters the part's pages in the tables, if a mapping still shows them there: perhaps another one, which fused with it.
    fn enter_anew(&self, work: Work, part: Part) -> Result<(), Status> {
        let locked = self.lock();
        let (id, region, mapping) = locked.space.mapping_at(part.base).ok_or(Status::BAD_STATE)?;
        let is_shown = mapping.vmo == part.vmo
            && mapping.vmo_offset + (part.base - region.base) == part.vmo_offset
            && part.end <= region.end();
        if !is_shown {
            return Err(Status::BAD_STATE);
        }
        self.enter(&locked, work, id, part).map(drop)
    }

    /// Enters the pages in the tables that are there of a part, which the mapping shows; returns where it ends.
    fn enter(&self, locked: &Locked<'_, M>, work: Work, mapping: RegionId, part: Part) -> Result<u64, Status> {
        let range = IpaRange { start: Ipa(part.base), end: Ipa(part.end) };
        self.system.operate(work, self.id, range, None, || locked.map_present(mapping, part.base, part.end))?;
        Ok(part.end)
    }
}

/// Tells whether the operation may be done to mappings in sub-regions.
const fn may_reach(dialect: &Dialect, operation: &Operation) -> bool {
    let is_forbidden = matches!(operation.op, VmarOp::Commit | VmarOp::Decommit | VmarOp::Prefetch);
    !dialect.op_range_guards_children || !is_forbidden && operation.rights.contains(Rights::OP_CHILDREN)
}

const fn changes_contents(op: VmarOp) -> bool {
    matches!(op, VmarOp::Commit | VmarOp::Decommit | VmarOp::Zero)
}

/// Returns what a mapping must be able to allow, whatever it allows now.
const fn needed(op: VmarOp) -> Perms {
    match op {
        VmarOp::Prefetch => Perms::READ,
        op if changes_contents(op) => Perms::WRITE,
        _ => Perms::empty(),
    }
}

/// Returns what is done to the VMO; to map its pages, nothing is.
const fn vmo_op(op: VmarOp) -> Option<VmoOp> {
    match op {
        VmarOp::Commit => Some(VmoOp::Commit),
        VmarOp::Decommit => Some(VmoOp::Decommit),
        VmarOp::MapRange => None,
        VmarOp::Zero => Some(VmoOp::Zero),
        VmarOp::DontNeed => Some(VmoOp::DontNeed),
        VmarOp::AlwaysNeed => Some(VmoOp::AlwaysNeed),
        VmarOp::Prefetch => Some(VmoOp::Prefetch),
    }
}
