//! Counting what a piece of work costs.

use core::fmt;

use abi::stats::Counter;
use guest::counter;
use zx::inspect::{self, Stats};
use zx::{Result, Vm};

/// What some work has cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Instructions at EL1 and EL2.
    pub(crate) instructions: u64,
    /// What was done to the stage-2 tables.
    pub(crate) stats: Stats,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instructions, stats } = self;
        let [stores, stage1, dsb] = [Counter::Stores, Counter::TlbiStage1, Counter::Dsb].map(|counter| stats[counter]);
        write!(f, "instructions={instructions} stores={stores} tlbi={} stage1={stage1} dsb={dsb}", stats.stage2_tlbis())
    }
}

/// Measures.
pub(crate) struct Meter {
    vm: Vm,
    /// What measuring nothing takes.
    empty: u64,
}

impl Meter {
    pub(crate) fn new() -> Result<Self> {
        let meter = Self { vm: Vm::current()?, empty: 0 };
        let empty = meter.measure(|| Ok(()))?.instructions;
        Ok(Self { empty, ..meter })
    }

    /// Does the work, and returns what it cost.
    pub(crate) fn measure(&self, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
        let before = inspect::stats(&self.vm)?;
        let start = counter::read();
        let done = work();
        let end = counter::read();
        done?;
        Ok(Cost { instructions: end - start - self.empty, stats: inspect::stats(&self.vm)?.since(&before) })
    }

    /// Returns how many frames the VM holds.
    pub(crate) fn frames(&self) -> Result<u64> {
        Ok(inspect::stats(&self.vm)?[Counter::Frames])
    }
}
