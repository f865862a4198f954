//! What the oracle has to say, the moments at which it is told of the guest, and how what it heard comes to its end.

use core::fmt::Display;

use ::log::{error, info, warn};
use checked::{Bench, Totals};
use oracle::{Finding, Severity};
use vm::{ExitCause, Machine};
use vmsa::Syndrome;

use super::{end, host};
use crate::arch::{RealMmu, Watched, abort_registers, cpu_index, this_cpu};

/// The status with which the machine ends when a rule of the architecture was broken.
const RULE_BROKEN: u8 = 103;

/// The status with which it ends when all else is well, and the trace that was asked for lacks something.
const TRACE_LOST: u8 = 104;

impl Bench for RealMmu {
    fn found(&self, finding: &Finding) {
        if planted::is_unjudged() {
            return;
        }
        match finding.severity {
            Severity::Error => error!("{finding}"),
            Severity::Warning => warn!("{finding}"),
        }
    }

    fn explain(&self, course: &dyn Display) {
        if planted::is_unjudged() {
            return;
        }
        error!("{course}");
        error!("the last exits of the vCPU, the latest at the end:");
        for noted in this_cpu().exits.iter() {
            error!("  {noted}");
        }
    }

    /// The tables are in a state that the architecture forbids: nothing that runs on them can be trusted any more.
    fn condemn(&self) {
        if !planted::is_unjudged() {
            end(RULE_BROKEN)
        }
    }

    fn trace_lost(&self) {
        end(TRACE_LOST)
    }
}

/// Tells that this CPU goes on in its vCPU.
#[inline]
pub(super) fn entering() {
    let host = host();
    host.system.machine().told_entering(host.vm, cpu_index());
}

/// Tells that this CPU has come back from its vCPU by a synchronous exception.
#[inline]
pub(super) fn left(syndrome: Syndrome) {
    let (far, hpfar) = abort_registers(syndrome);
    left_for(ExitCause { esr: syndrome.0, far, hpfar });
}

/// Tells that it has come back by an interrupt or an SError, of which no register tells.
pub(super) fn left_asynchronously() {
    left_for(ExitCause { esr: 0, far: 0, hpfar: 0 });
}

#[inline]
fn left_for(cause: ExitCause) {
    let host = host();
    host.system.machine().told_left(host.vm, cpu_index(), cause);
}

/// What became of all that the oracle heard.
pub(super) struct Account {
    totals: Option<Totals>,
    is_recorded: bool,
}

impl Account {
    /// Has nothing more happen, and the trace end.
    pub(super) fn close(machine: &Watched) -> Self {
        Self { totals: machine.close(), is_recorded: machine.is_recorded() }
    }

    /// Tells whether the trace, if there is one, lacks something.
    pub(super) fn is_cut(&self) -> bool {
        self.is_recorded && self.totals.is_none_or(|totals| totals.recorded.is_none())
    }

    /// Returns the status with which the machine ends that would have ended with `status`.
    pub(super) fn status(&self, status: u8) -> u8 {
        match status {
            0 if self.totals.is_some_and(|totals| totals.is_broken) && !planted::is_unjudged() => RULE_BROKEN,
            0 if self.is_cut() => TRACE_LOST,
            status => status,
        }
    }

    /// Logs how many events there were.
    pub(super) fn log(&self) {
        if let Some(Totals { judged, recorded, .. }) = self.totals {
            info!("the oracle judged {judged} events");
            if let Some(recorded) = recorded {
                info!("the trace has {recorded} events");
            }
        }
        if self.is_cut() {
            error!("{CUT}");
        }
    }
}

/// What is said of a trace that lacks something.
pub(super) const CUT: &str =
    "the trace is cut short: its channel takes no more, or a CPU stopped in the middle of an event";
