//! The oracle's verdicts, and the moments at which it is asked.

use ::log::error;
use checked::Bench;
use oracle::old::Violation;

use super::{RULE_BROKEN, host};
use crate::arch::{RealMmu, exit, this_cpu};

impl Bench for RealMmu {
    /// The tables are in a state that the architecture forbids: nothing that runs on them can be trusted any more.
    fn broken(&self, violation: &Violation) {
        error!("{violation}");
        error!("the last exits of the vCPU, the latest at the end:");
        for noted in this_cpu().exits.iter() {
            error!("  {noted}");
        }
        exit(RULE_BROKEN)
    }
}

/// Asks whether all that was done on this CPU is complete, before it goes on in the guest.
#[inline]
pub(super) fn resume() {
    host().system.machine().resume();
}
