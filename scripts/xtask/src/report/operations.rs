//! Operations: what lies between a begin and its end, CPU by CPU.

use std::collections::BTreeMap;

use oracle::{Event, Work};
use serde::Serialize;
use vmsa::Perms;

use super::costs::Costs;

/// An operation of the tables' owner.
#[derive(Debug, Serialize)]
pub(super) struct Operation {
    /// What it is.
    pub(super) name: &'static str,
    /// Its CPU.
    pub(super) cpu: usize,
    /// The VM whose tables it is about.
    pub(super) vm: u32,
    /// The first address.
    pub(super) ipa: u64,
    /// How many pages.
    pub(super) pages: u64,
    /// The rights that are to remain.
    pub(super) rights: Option<String>,
    /// The event that begins it.
    pub(super) begin: usize,
    /// The event that ends it, unless the trace ends first.
    pub(super) end: Option<usize>,
    /// What it came to.
    pub(super) status: Option<i64>,
    /// What it cost, less what operations within it did.
    pub(super) costs: Costs,
}

/// Operations as they come.
#[derive(Debug, Default)]
pub(super) struct Operations {
    all: Vec<Operation>,
    open: BTreeMap<usize, Vec<usize>>,
    outside: Costs,
}

impl Operations {
    /// Takes the event of that number, which happens on a CPU.
    pub(super) fn see(&mut self, number: usize, cpu: usize, event: &Event) {
        match *event {
            Event::Begin { work, vm, range, perms } => {
                self.open.entry(cpu).or_default().push(self.all.len());
                let (name, ipa, pages) = (name(work), range.start.0, range.pages());
                let (rights, costs) = (perms.map(rights), Costs::default());
                let (begin, end, status) = (number, None, None);
                self.all.push(Operation { name, cpu, vm, ipa, pages, rights, begin, end, status, costs });
            }
            Event::End { status } => self.close(number, cpu, status),
            _ => self.innermost(cpu).count(event),
        }
    }

    /// Returns the operations, in the order in which they began, and what was done outside of them.
    pub(super) fn finish(self) -> (Vec<Operation>, Costs) {
        (self.all, self.outside)
    }

    fn close(&mut self, number: usize, cpu: usize, status: u64) {
        let closed = self.open.get_mut(&cpu).and_then(Vec::pop);
        if let Some(operation) = closed.and_then(|place| self.all.get_mut(place)) {
            (operation.end, operation.status) = (Some(number), Some(signed(status)));
        }
    }

    fn innermost(&mut self, cpu: usize) -> &mut Costs {
        let open = self.open.get(&cpu).and_then(|open| open.last());
        match open.and_then(|place| self.all.get_mut(*place)) {
            Some(operation) => &mut operation.costs,
            None => &mut self.outside,
        }
    }
}

/// A status is a signed number of 32 bits, which some write with the upper half clear.
const fn signed(status: u64) -> i64 {
    if status <= u32::MAX as u64 { status as u32 as i32 as i64 } else { status as i64 }
}

const fn name(work: Work) -> &'static str {
    match work {
        Work::Map => "map",
        Work::Unmap => "unmap",
        Work::Protect => "protect",
        Work::Commit => "commit",
        Work::Decommit => "decommit",
        Work::Age => "age",
        Work::Harvest => "harvest",
        Work::Fault => "fault",
    }
}

/// Returns rights as three letters.
pub(super) fn rights(perms: Perms) -> String {
    let letter = |perm, letter| if perms.intersects(perm) { letter } else { '-' };
    [letter(Perms::READ, 'r'), letter(Perms::WRITE, 'w'), letter(Perms::EXECUTE, 'x')].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_signed_however_wide_they_are_written() {
        assert_eq!([0, 1, 0xffff_fff6, 0xffff_ffff_ffff_fff6].map(signed), [0, 1, -10, -10]);
    }

    #[test]
    fn what_one_cpu_does_is_no_cost_of_another_ones_operation() {
        let mut operations = Operations::default();
        let range = vmsa::IpaRange::new(vmsa::Ipa(0x8000_0000), 0x2000);
        let begin = Event::Begin { work: Work::Protect, vm: 1, range, perms: Some(Perms::READ) };
        let steps = [(0, begin), (1, Event::Isb), (0, Event::Isb), (0, Event::End { status: 0 }), (0, Event::Isb)];
        for (number, (cpu, event)) in steps.iter().enumerate() {
            operations.see(number, *cpu, event);
        }
        let (all, outside) = operations.finish();
        assert_eq!((all[0].costs.isbs, outside.isbs), (1, 2));
        assert_eq!((all[0].begin, all[0].end, all[0].status), (0, Some(3), Some(0)));
        assert_eq!((all[0].pages, all[0].rights.as_deref()), (2, Some("r--")));
    }

    #[test]
    fn an_operation_within_another_has_its_own_costs_and_the_outer_one_goes_on() {
        let mut operations = Operations::default();
        let range = vmsa::IpaRange::new(vmsa::Ipa(0), 0x1000);
        let begin = |work| Event::Begin { work, vm: 1, range, perms: None };
        let end = Event::End { status: 0 };
        let steps = [begin(Work::Fault), Event::Isb, begin(Work::Commit), Event::Isb, Event::Isb, end, Event::Isb];
        for (number, event) in steps.iter().enumerate() {
            operations.see(number, 0, event);
        }
        let (all, _) = operations.finish();
        assert_eq!([all[0].costs.isbs, all[1].costs.isbs], [2, 2]);
        assert_eq!([all[0].end, all[1].end], [None, Some(5)]);
    }
}
