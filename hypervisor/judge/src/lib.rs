//! The oracle over a trace that somebody has recorded: the third of its gates. The same judge as on a host and in the
//! hypervisor, with memory that grows with the tables that are alive and not with the trace.

#![forbid(unsafe_code)]

mod notes;
mod shadow;

use std::io::BufRead;

pub use notes::SparseNotes;
use oracle::text::{Line, Policy, parse};
use oracle::{Event, Finding, Held, MOST_CPUS, Machine, Oracle, Pool, Severity};
use shadow::Shadow;

/// A rule that a trace breaks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The line, from 1, on which it shows.
    pub line: u64,
    /// The severity is a warning.
    pub is_warning: bool,
    /// The rule's number, as `R11`.
    pub rule: &'static str,
    /// The rule in a sentence, and where, in one line without the number.
    pub text: String,
    /// How it came so, and what would have been right, in several lines.
    pub explanation: String,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// How many events.
    pub events: u64,
    /// How many violations were found.
    pub violations: u64,
    /// How many warnings.
    pub warnings: u64,
    /// How many tables were known at most at a time.
    pub most_tables: u64,
}

/// Why a trace cannot be judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Unreadable {}

/// Judges a trace, and tells of each rule that it breaks as soon as that shows.
///
/// # Errors
///
/// A line is not one of a trace.
pub fn judge(mut input: impl BufRead, mut found: impl FnMut(&Found)) -> Result<Summary, Unreadable> {
    let mut trace = Trace::default();
    let mut text = String::new();
    loop {
        text.clear();
        trace.line += 1;
        match input.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => trace.read(&text, &mut found)?,
            Err(error) => return Err(trace.unreadable(error.to_string())),
        }
    }
    trace.finish(&mut found)
}

/// Room for facts, as many as there are.
#[derive(Debug, Default)]
pub struct Growing(Vec<Held>);

impl Pool for Growing {
    fn places(&self) -> &[Held] {
        &self.0
    }

    fn places_mut(&mut self) -> &mut [Held] {
        &mut self.0
    }

    fn grow(&mut self) -> bool {
        self.0.resize((self.0.len() * 2).max(64), Held::default());
        true
    }
}

/// A trace, as far as it was read.
#[derive(Default)]
struct Trace {
    line: u64,
    policy: Option<Policy>,
    court: Option<Court>,
    summary: Summary,
}

/// The judge, and the tables that it looks at.
struct Court {
    oracle: Box<Oracle<SparseNotes, Growing>>,
    shadow: Shadow,
    cpus: usize,
}

impl Trace {
    fn unreadable(&self, why: impl Into<String>) -> Unreadable {
        Unreadable { line: self.line, why: why.into() }
    }

    fn read(&mut self, text: &str, found: &mut impl FnMut(&Found)) -> Result<(), Unreadable> {
        match parse(text).map_err(|malformed| self.unreadable(malformed.to_string()))? {
            Line::Nothing => Ok(()),
            Line::Policy(policy) => self.set_policy(policy),
            Line::Machine(machine) => self.set_machine(machine),
            Line::Event(cpu, event) => self.hear(cpu, &event, found),
        }
    }

    fn set_policy(&mut self, policy: Policy) -> Result<(), Unreadable> {
        if self.court.is_some() || self.policy.is_some() {
            return Err(self.unreadable("a policy stands before the machine, once"));
        }
        self.policy = Some(policy);
        Ok(())
    }

    fn set_machine(&mut self, mut machine: Machine) -> Result<(), Unreadable> {
        let cpus = machine.cpus as usize;
        if self.court.is_some() {
            return Err(self.unreadable("there is one machine"));
        }
        if cpus == 0 || cpus > MOST_CPUS {
            return Err(self.unreadable(format!("`cpus` is {cpus}; it can be 1 to {MOST_CPUS}")));
        }
        machine.bbm = self.policy.and_then(|policy| policy.bbm).unwrap_or(machine.bbm);
        let oracle = Box::new(Oracle::new(&machine, SparseNotes::default(), Growing::default()));
        self.court = Some(Court { oracle, shadow: Shadow::default(), cpus });
        Ok(())
    }

    fn hear(&mut self, cpu: usize, event: &Event, found: &mut impl FnMut(&Found)) -> Result<(), Unreadable> {
        let Some(court) = &mut self.court else { return Err(self.unreadable("`machine` comes before all events")) };
        if cpu >= court.cpus {
            let cpus = court.cpus;
            return Err(self.unreadable(format!("there is no CPU {cpu}: the machine has {cpus}, counted from 0")));
        }
        self.summary.events += 1;
        let shadow = &court.shadow;
        if court.oracle.observe(cpu, event, |slot| shadow.read(slot)) {
            tell(court, self.line, &mut self.summary, found);
        }
        court.shadow.follow(event);
        self.summary.most_tables = self.summary.most_tables.max(court.shadow.tables());
        Ok(())
    }

    fn finish(mut self, found: &mut impl FnMut(&Found)) -> Result<Summary, Unreadable> {
        let Some(court) = &mut self.court else { return Err(self.unreadable("there is no `machine` line")) };
        let shadow = &court.shadow;
        if court.oracle.finish(|slot| shadow.read(slot)) {
            tell(court, self.line - 1, &mut self.summary, found);
        }
        Ok(self.summary)
    }
}

fn tell(court: &Court, line: u64, summary: &mut Summary, found: &mut impl FnMut(&Found)) {
    for finding in court.oracle.findings() {
        let is_warning = finding.severity == Severity::Warning;
        *(if is_warning { &mut summary.warnings } else { &mut summary.violations }) += 1;
        found(&Found {
            line,
            is_warning,
            rule: finding.rule.label(),
            text: without_label(finding),
            explanation: court.oracle.explain(finding).to_string(),
        });
    }
}

fn without_label(finding: &Finding) -> String {
    let text = finding.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.into())
}
