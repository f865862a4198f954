//! What the parts of this crate run out of, as the status that a guest gets: the one place where that is decided.

use abi::Status;
use stage2::OutOfTables;

use crate::arena::OutOfSlots;
use crate::radix::OutOfNodes;

impl From<OutOfNodes> for Status {
    fn from(_: OutOfNodes) -> Self {
        Self::NO_MEMORY
    }
}

impl From<OutOfSlots> for Status {
    fn from(_: OutOfSlots) -> Self {
        Self::NO_MEMORY
    }
}

/// Orphan rules keep this from being a `From`: neither type is of this crate.
pub(crate) const fn out_of_tables(_: OutOfTables) -> Status {
    Status::NO_MEMORY
}
