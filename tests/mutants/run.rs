//! One bug under one gate: programmes of operations, until something is seen.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{decoding, objects, overflow, shortage, trees, vmids};

/// Who watches the programmes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gate {
    /// The reference: a flat map, a guest's memory, tables of what calls return; and the simulated machine's own objections.
    Model,
    /// The oracle on the simulated machine.
    Oracle,
}

/// What a gate saw first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sighting {
    /// After how many operations.
    pub(crate) after: u32,
    /// What it said of that one.
    pub(crate) said: Vec<String>,
}

/// The programme's end: a gate has seen something.
#[derive(Debug)]
pub(crate) struct Seen;

/// A run of the programmes.
pub(crate) struct Run {
    pub(crate) gate: Gate,
    operations: u32,
    first: Option<Sighting>,
}

impl Run {
    /// Counts an operation, with what the gate has to say of it.
    pub(crate) fn after(&mut self, said: Vec<String>) -> Result<(), Seen> {
        self.operations += 1;
        if said.is_empty() {
            return Ok(());
        }
        self.first = Some(Sighting { after: self.operations, said });
        Err(Seen)
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// What was seen, if anything was.
    pub(crate) sighting: Option<Sighting>,
    /// How many operations were done.
    pub(crate) operations: u32,
    /// Programmes that panicked, which is no sighting.
    pub(crate) panics: Vec<String>,
}

type Programme = fn(&mut Run) -> Result<(), Seen>;

const PROGRAMMES: [(&str, Programme); 6] = [
    ("trees", trees::run),
    ("shortage", shortage::run),
    ("objects", objects::run),
    ("decoding", decoding::run),
    ("vmids", vmids::run),
    ("overflow", overflow::run),
];

/// Runs the programmes under a gate until it sees something. The bug is chosen already.
pub(crate) fn run(gate: Gate) -> Outcome {
    let mut run = Run { gate, operations: 0, first: None };
    let mut panics = Vec::new();
    for (name, programme) in PROGRAMMES {
        let ended = catch_unwind(AssertUnwindSafe(|| programme(&mut run)));
        tests::Sim::run_on(0);
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(Seen)) => break,
            Err(payload) => panics.push(format!("{name}: {}", message(&*payload))),
        }
    }
    Outcome { sighting: run.first, operations: run.operations, panics }
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}
