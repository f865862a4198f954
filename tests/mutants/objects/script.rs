//! What the guests do, and what comes of it.

use abi::{Status, VmOptions, VmarOp, VmoOp};
use vmsa::{Access, FaultKind};

use super::scene::{Complaint, Scene};

/// An operation, with what it must come to.
type Step = fn(&mut Scene) -> Result<(), Complaint>;

const P: u64 = 4096;
const A: u64 = 0x8000_0000;
const B: u64 = 0x9000_0000;
/// Where a chunk can be a block.
const C: u64 = 0xa000_0000;
const CHUNK: u64 = 512;
/// Where the second table of the root begins.
const SECOND_ROOT: u64 = 1 << 39;

const R: VmOptions = VmOptions::PERM_READ;
const RW: VmOptions = R.union(VmOptions::PERM_WRITE);

/// The script.
pub(super) const STEPS: &[Step] = &[
    // A root has all of its tables: 16 of 43 bits, one of 39.
    |s| s.root_takes(43, 39, 15),
    // Two guests' RAM is apart.
    |s| s.store(0, Scene::ram(0), 0x100, true),
    |s| s.load(1, Scene::ram(0), Some(0)),
    |s| s.store(1, Scene::ram(0), 0x200, true),
    |s| s.load(0, Scene::ram(0), Some(0x100)),
    // Pages come and go.
    |s| s.vmo(0, 8),
    |s| s.map(0, A, 8, RW),
    |s| (0..8).try_for_each(|page| s.store(0, A + page * P, page + 1, true)),
    |s| s.unmap(0, A + 2 * P, 2 * P, Ok(())),
    |s| s.loads(0, A, &[Some(1), Some(2), None, None, Some(5), Some(6), Some(7), Some(8)]),
    // What is asked for wrongly is refused, in the order of the checks, and changes nothing.
    |s| s.unmap(0, A + 2 * P, P, Err(Status::NOT_FOUND)),
    |s| s.unmap(0, A + 1, P, Err(Status::INVALID_ARGS)),
    |s| s.unmap(0, A, 0, Err(Status::INVALID_ARGS)),
    |s| s.unmap(0, A, !(P - 1), Err(Status::INVALID_ARGS)),
    |s| s.protect_bytes(0, A, u64::MAX, R, Err(Status::INVALID_ARGS)),
    |s| s.loads(0, A, &[Some(1), Some(2), None]),
    |s| s.store(0, A, 1, true),
    // Rights are one page's.
    |s| s.protect(0, A + 6 * P, 1, R),
    |s| s.store(0, A + 6 * P, 9, false),
    |s| s.protect(0, A + 5 * P, 1, R),
    |s| s.protect(0, A + 5 * P, 1, RW),
    |s| s.store(0, A + 6 * P, 9, false),
    |s| s.store(0, A + 5 * P, 16, true),
    // Faults that are late.
    |s| s.fault_late(0, A + 5 * P, Access::Read, FaultKind::Translation),
    |s| s.fault_late(0, A + 5 * P, Access::Write, FaultKind::Permission),
    // A range that begins with a hole.
    |s| s.unmap(0, A, P, Ok(())),
    |s| s.unmap(0, A, 3 * P, Ok(())),
    |s| s.loads(0, A, &[None, None, None, None, Some(5), Some(16)]),
    // A page that is decommitted reads as zero, and its frame has nothing of it for the next.
    |s| s.vmo_op(0, VmoOp::Decommit, 4, 2),
    |s| s.loads(0, A + 4 * P, &[Some(0), Some(0), Some(7)]),
    |s| s.store(0, A + 4 * P + 8, 1, true),
    |s| s.load(0, A + 4 * P, Some(0)),
    |s| s.store(1, Scene::ram(9) + 8, 1, true),
    |s| s.load(1, Scene::ram(9), Some(0)),
    |s| s.unmap(0, A + 4 * P, 4 * P, Ok(())),
    |s| s.close(0),
    // The room for bookkeeping is there by now.
    |s| s.note_held(0),
    // More mappings of a page than are invalidated one by one.
    |s| s.vmo(0, 1),
    |s| (0..6).try_for_each(|window| s.map(0, B + 10 * window * P, 1, RW)),
    |s| s.store(0, B, 0x77, true),
    |s| (0..6).try_for_each(|window| s.load(0, B + 10 * window * P, Some(0x77))),
    |s| s.vmo_op(0, VmoOp::Decommit, 0, 1),
    |s| (0..6).try_for_each(|window| s.load(0, B + 10 * window * P, Some(0))),
    |s| (0..6).try_for_each(|window| s.unmap(0, B + 10 * window * P, P, Ok(()))),
    |s| s.close(0),
    // A chunk, as a block and in pieces.
    |s| s.vmo(0, CHUNK),
    |s| s.map(0, C, CHUNK, RW),
    |s| s.op_range(0, VmarOp::Commit, C, CHUNK),
    |s| s.op_range(0, VmarOp::MapRange, C, CHUNK),
    |s| (0..CHUNK).try_for_each(|page| s.store(0, C + page * P, page | 0x1000, true)),
    |s| s.protect(0, C + 7 * P, 1, R),
    |s| s.loads(0, C + 6 * P, &[Some(0x1006), Some(0x1007), Some(0x1008)]),
    |s| s.store(0, C + 7 * P, 0, false),
    |s| s.store(0, C + 8 * P, 0x1008, true),
    |s| s.vmo_op(0, VmoOp::Decommit, 0, CHUNK),
    |s| (0..CHUNK).try_for_each(|page| s.load(0, C + page * P, Some(0))),
    |s| s.op_range(0, VmarOp::Commit, C, CHUNK),
    |s| s.op_range(0, VmarOp::MapRange, C, CHUNK),
    |s| (0..CHUNK).try_for_each(|page| s.load(0, C + page * P, Some(0))),
    |s| s.unmap(0, C + 100 * P, P, Ok(())),
    |s| s.loads(0, C + 99 * P, &[Some(0), None, Some(0)]),
    |s| s.unmap(0, C, 512 * P, Ok(())),
    |s| s.close(0),
    |s| s.holds_as_noted(0),
    // Across the tables of a concatenated root.
    |s| s.vmo(0, 2),
    |s| s.map(0, SECOND_ROOT - P, 2, RW),
    |s| s.store(0, SECOND_ROOT, 0x55, true),
    |s| s.loads(0, SECOND_ROOT - P, &[Some(0), Some(0x55)]),
    |s| s.unmap(0, SECOND_ROOT - P, 2 * P, Ok(())),
    |s| s.close(0),
    |s| s.holds_as_noted(0),
    // The other guest has seen nothing of all that.
    |s| s.load(1, Scene::ram(0), Some(0x200)),
    |s| s.load(0, Scene::ram(0), Some(0x100)),
];
