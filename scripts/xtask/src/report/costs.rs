//! What operations cost: stores, invalidations, barriers.

use std::ops::AddAssign;

use oracle::{Event, Target};
use serde::Serialize;

use super::operations::Operation;

/// What invalidations are about, in the order of [`Costs::tlbis`].
pub(super) const TLBIS: [&str; 7] =
    ["by IPA", "by range", "VMID", "every VMID", "stage 1", "stage 1, by address or ASID", "EL2"];

/// What was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(super) struct Costs {
    /// Events of any kind; those that mark an operation are none of its costs.
    pub(super) events: u64,
    /// Descriptors that software stored.
    pub(super) stores: u64,
    /// Invalidations, by what they are about.
    pub(super) tlbis: [u64; TLBIS.len()],
    /// `DSB`s.
    pub(super) dsbs: u64,
    /// `ISB`s.
    pub(super) isbs: u64,
}

impl Costs {
    /// Counts an event.
    pub(super) fn count(&mut self, event: &Event) {
        self.events += 1;
        match event {
            Event::Store { .. } => self.stores += 1,
            Event::Tlbi(op, _) => self.tlbis[place(op.target)] += 1,
            Event::Dsb { .. } => self.dsbs += 1,
            Event::Isb => self.isbs += 1,
            _ => {}
        }
    }
}

impl AddAssign for Costs {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.stores += other.stores;
        self.tlbis.iter_mut().zip(other.tlbis).for_each(|(sum, more)| *sum += more);
        self.dsbs += other.dsbs;
        self.isbs += other.isbs;
    }
}

const fn place(target: Target) -> usize {
    match target {
        Target::Ipa => 0,
        Target::Range => 1,
        Target::Vmid => 2,
        Target::All => 3,
        Target::Stage1 => 4,
        Target::Stage1Some => 5,
        Target::El2 => 6,
    }
}

/// A row of the table of costs.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(super) struct Row {
    /// What is counted.
    pub(super) name: &'static str,
    /// How many operations there were, where it is operations.
    pub(super) count: Option<u64>,
    /// How many of them ended with a status other than 0.
    pub(super) refused: u64,
    /// What they cost, all together.
    pub(super) costs: Costs,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self { name, count: Some(0), refused: 0, costs: Costs::default() }
    }

    fn add(&mut self, operation: &Operation) {
        self.count = self.count.map(|count| count + 1);
        self.refused += u64::from(operation.status.is_some_and(|status| status != 0));
        self.costs += operation.costs;
    }
}

/// Returns a row for each kind of operation, in the order in which they first appear, then those for all operations and for
/// what was done outside of them.
pub(super) fn table(operations: &[Operation], outside: Costs) -> Vec<Row> {
    let (mut rows, mut all) = (Vec::<Row>::new(), Row::new("all operations"));
    for operation in operations {
        let known = rows.iter().position(|row| row.name == operation.name);
        let place = known.unwrap_or(rows.len());
        if known.is_none() {
            rows.push(Row::new(operation.name));
        }
        rows[place].add(operation);
        all.add(operation);
    }
    rows.extend([all, Row { count: None, costs: outside, ..Row::new("outside operations") }]);
    rows
}
