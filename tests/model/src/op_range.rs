//! vmar_op_range (semantics 3.6).

use abi::{Rights, Status, VmarOp, VmoOp};

use crate::arguments::Arguments;
use crate::shape::{Perms, lies_in, whole_pages};
use crate::{Dialect, Model, P, Reply, Result, ensure};

impl Model {
    /// vmar_op_range(vmar, operation, address, size, buffer, buffer size): the steps of 3.6.
    pub(crate) fn vmar_op_range(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (base, len) = (args.get(2), args.get(3));
        let is_documented = self.config().dialect == Dialect::Documented;
        let (vmar, handle) = self.vmar_handle(args, 0)?; // 1, 2
        let op = VmarOp::try_from(args.word(1)?).map_err(|_| Status::INVALID_ARGS)?; // 3
        ensure(is_documented || op != VmarOp::Zero, Status::INVALID_ARGS)?;
        if is_documented && needed(op) == Perms::PERM_WRITE {
            handle.demand(Rights::WRITE)?; // 4
        }
        ensure(args.get(4) == 0 && args.get(5) == 0, Status::INVALID_ARGS)?; // 5
        let size = whole_pages(len).ok_or(Status::INVALID_ARGS)?; // 6
        ensure(base.is_multiple_of(P), Status::INVALID_ARGS)?;
        ensure(lies_in(base, size, self.vmar(vmar).base, self.vmar(vmar).size), Status::OUT_OF_RANGE)?; // 7
        ensure(self.vmar(vmar).is_alive, Status::BAD_STATE)?; // 8
        let is_far = matches!(op, VmarOp::Commit | VmarOp::Decommit | VmarOp::Prefetch);
        let may_nest = is_documented || !is_far && handle.rights.contains(Rights::OP_CHILDREN);
        let mut at = base;
        while at < base + size {
            let (parent, mapping) = self.mapping_below(vmar, at).ok_or(Status::BAD_STATE)?; // 10a, 11
            ensure(parent == vmar || may_nest, Status::INVALID_ARGS)?; // 10b
            ensure(mapping.caps.contains(needed(op)), Status::ACCESS_DENIED)?; // 10e
            let (vmo, offset, end) = (mapping.vmo, mapping.offset_at(at), mapping.end().min(base + size));
            if let Some(op) = vmo_op(op) {
                self.operate(vmo, op, offset, end - at)?; // 10f, 10h
            }
            at = end;
        }
        Ok(Reply::DONE)
    }
}

/// Returns what a mapping must be able to allow, whatever it allows now.
const fn needed(op: VmarOp) -> Perms {
    match op {
        VmarOp::Commit | VmarOp::Decommit | VmarOp::Zero => Perms::PERM_WRITE,
        VmarOp::Prefetch => Perms::PERM_READ,
        VmarOp::MapRange | VmarOp::DontNeed | VmarOp::AlwaysNeed => Perms::empty(),
    }
}

/// Returns what is done to the VMO. MAP_RANGE changes nothing that a guest could see.
const fn vmo_op(op: VmarOp) -> Option<VmoOp> {
    match op {
        VmarOp::Commit => Some(VmoOp::Commit),
        VmarOp::Decommit => Some(VmoOp::Decommit),
        VmarOp::Zero => Some(VmoOp::Zero),
        VmarOp::Prefetch => Some(VmoOp::Prefetch),
        VmarOp::MapRange | VmarOp::DontNeed | VmarOp::AlwaysNeed => None,
    }
}
