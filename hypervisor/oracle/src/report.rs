//! A finding told so that one learns from it: what was stale since when, what was done about it, and what would have been right.

use core::fmt::{Display, Formatter, Result};

use crate::fact::{Fact, Visible, Wasted};
use crate::facts::Pool;
use crate::note::Notes;
use crate::violation::Finding;
use crate::{Oracle, Rule};

/// A finding, with all that the oracle knows of it.
pub struct Explained<'o, N, P> {
    oracle: &'o Oracle<N, P>,
    finding: &'o Finding,
}

impl<N: Notes, P: Pool> Oracle<N, P> {
    /// Returns a finding of this oracle's to be printed at length: right after the event that brought it to light.
    pub const fn explain<'o>(&'o self, finding: &'o Finding) -> Explained<'o, N, P> {
        Explained { oracle: self, finding }
    }
}

impl<N, P> Display for Explained<'_, N, P> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{}", self.finding)?;
        if let Some(fact) = &self.finding.fact {
            since(f, fact)?;
        }
        writeln!(f, "right: {}", self.finding.rule.remedy())?;
        writeln!(f, "the last events, the latest at the end:")?;
        write!(f, "{}", self.oracle.history)
    }
}

fn since(f: &mut Formatter<'_>, fact: &Fact) -> Result {
    let Fact { when, writer, slot, old, new, .. } = fact;
    writeln!(f, "stale since event {when}: CPU {writer} wrote {new:#x} over {old:#x} at {slot}")?;
    let visible = match fact.visible {
        Visible::No => "no DSB of stores has followed on that CPU: walks need not see the store",
        Visible::Locally => "a DSB has made it visible to that CPU's own walks only",
        Visible::Everywhere => "a DSB has made it visible to all walks",
    };
    writeln!(f, "since then: {visible}")?;
    match fact.wasted {
        Some(wasted) => not_counted(f, &wasted)?,
        None if fact.stage2.on == 0 => {
            writeln!(f, "since then: a TLBI by IPA took the stage-2 entries, and is complete")?
        }
        None if !fact.is_issued() => writeln!(f, "since then: no TLBI for it")?,
        None => {}
    }
    if fact.is_issued() {
        writeln!(
            f,
            "since then: a TLBI for it, and no DSB of loads and stores as wide as that on the CPU that issued it"
        )?;
    }
    let what = match (fact.stage2.on, fact.combined.on) {
        (0, _) => "combined entries",
        _ => "stage-2 entries, and what was combined of them",
    };
    writeln!(f, "left: {what}, on the CPUs of the set {:#b}", fact.stage2.on | fact.combined.on)
}

fn not_counted(f: &mut Formatter<'_>, wasted: &Wasted) -> Result {
    let Wasted { rule, op, operand, cpu, when } = wasted;
    write!(f, "since then: event {when}, CPU {cpu}: TLBI {op}")?;
    if let Some(operand) = operand {
        write!(f, " {operand:#x}")?;
    }
    let why = if *rule == Rule::Completion { "it reaches, or has reached, too few CPUs" } else { rule.text() };
    writeln!(f, " did not count ({rule}): {why}")
}
