//! Counting what a piece of work costs.

use core::fmt;

use abi::stats::Counter;
use guest::counter;
use zx::inspect::{self, Stats};
use zx::{Result, Vm};

/// What some work has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    amount: Amount,
    /// What was done to the stage-2 tables.
    stats: Stats,
}

/// A number and what it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    /// Instructions at EL1 and EL2.
    Instructions(u64),
    /// Frames of 4 KiB.
    Frames(u64),
}

impl Cost {
    /// Returns the cost of what is no operation on the tables.
    pub(crate) fn plain(amount: Amount) -> Self {
        Self { amount, stats: Stats::default() }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { amount, stats } = self;
        let [stores, stage1, dsb] = [Counter::Stores, Counter::TlbiStage1, Counter::Dsb].map(|counter| stats[counter]);
        write!(f, "{amount} stores={stores} tlbi={} stage1={stage1} dsb={dsb}", stats.stage2_tlbis())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions(count) => write!(f, "instructions={count}"),
            Self::Frames(count) => write!(f, "frames={count}"),
        }
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
        let vm = Vm::current()?;
        let (empty, _) = count(&vm, || Ok(()))?;
        Ok(Self { vm, empty })
    }

    /// Does the work, and returns what it cost.
    pub(crate) fn measure(&self, work: impl FnOnce() -> Result<()>) -> Result<Cost> {
        let (instructions, stats) = count(&self.vm, work)?;
        Ok(Cost { amount: Amount::Instructions(instructions - self.empty), stats })
    }

    /// Returns how many frames the VM holds.
    pub(crate) fn frames(&self) -> Result<u64> {
        Ok(inspect::stats(&self.vm)?[Counter::Frames])
    }
}

/// Does the work, and returns the instructions that it took, those of counting among them, and what was done to the tables.
fn count(vm: &Vm, work: impl FnOnce() -> Result<()>) -> Result<(u64, Stats)> {
    let before = inspect::stats(vm)?;
    let start = counter::read();
    let done = work();
    let end = counter::read();
    done?;
    Ok((end - start, inspect::stats(vm)?.since(&before)))
}
