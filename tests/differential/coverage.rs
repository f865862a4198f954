//! How often each call came to each status.

use std::collections::BTreeMap;

use abi::{Call, Status};

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) steps: u64,
    pub(crate) programs: u64,
    calls: BTreeMap<(u32, i32), u64>,
}

impl Coverage {
    pub(crate) fn note(&mut self, call: Call, status: Status) {
        *self.calls.entry((call.into(), status.into_raw())).or_default() += 1;
    }

    /// Returns how many calls were compared.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Prints the counts as notes.
    pub(crate) fn tell(&self, name: &str) {
        println!("note: {name}: {} programs, {} calls and {} steps compared", self.programs, self.calls(), self.steps);
        for call in self.seen() {
            let counts: Vec<String> = self.of(call).map(|(status, count)| format!("{status:?} {count}")).collect();
            println!("note:   {call:?}: {}", counts.join(", "));
        }
    }

    /// Checks that every call was seen to succeed and to fail.
    pub(crate) fn insist_on(&self, calls: impl Iterator<Item = Call>) {
        for call in calls {
            assert!(self.of(call).any(|(status, _)| status == Status::OK), "{call:?} has never succeeded");
            assert!(self.of(call).any(|(status, _)| status != Status::OK), "{call:?} has never failed");
        }
    }

    fn seen(&self) -> Vec<Call> {
        let mut calls: Vec<u32> = self.calls.keys().map(|(call, _)| *call).collect();
        calls.dedup();
        calls.into_iter().filter_map(|call| Call::try_from(call).ok()).collect()
    }

    fn of(&self, call: Call) -> impl Iterator<Item = (Status, u64)> {
        let call: u32 = call.into();
        let is_of = move |((other, _), _): &(&(u32, i32), &u64)| *other == call;
        self.calls.iter().filter(is_of).map(|((_, status), count)| (Status::from_raw(*status), *count))
    }
}
