//! What QEMU says of the instructions that it executes, and which of them are between two reads of the guest's counter.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// How often the instruction at each address was executed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts(HashMap<u64, u64>);

impl Counts {
    /// Returns all addresses, each with its number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(address, count)| (*address, *count))
    }

    /// Returns how many instructions there are.
    pub(super) fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

/// What was between two reads.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The work.
    pub(super) work: Counts,
    /// What lies between two reads with nothing between them; `None` for what began at reset.
    pub(super) empty: Option<Counts>,
}

/// Reads a trace, and keeps of it what may yet be needed.
pub(super) struct Tracer {
    markers: HashSet<u64>,
    /// Where the hypervisor's code is.
    hypervisor: Vec<Range<u64>>,
    /// The guest's instruction that was last, and whether the hypervisor has run since.
    guest_was_at: Option<u64>,
    is_in_hypervisor: bool,
    /// Since the last read.
    current: Counts,
    /// How many reads there have been.
    reads: u32,
    /// Up to the first read.
    boot: Counts,
    /// Up to the last read.
    work: Counts,
    empty: Option<Counts>,
}

/// The guest reads its counter when it starts, and then twice for nothing.
const EMPTY_ENDS_AT: u32 = 3;

impl Tracer {
    /// Makes one for a guest that reads its counter at these addresses, on a hypervisor with its code there.
    pub(super) fn new(markers: HashSet<u64>, hypervisor: Vec<Range<u64>>) -> Self {
        let (boot, work, current) = Default::default();
        let (guest_was_at, is_in_hypervisor, empty) = (None, false, None);
        Self { markers, hypervisor, guest_was_at, is_in_hypervisor, current, reads: 0, boot, work, empty }
    }

    /// Takes a line, and tells whether it is one of a trace.
    pub(super) fn take(&mut self, line: &str) -> bool {
        match read(line) {
            Some(Event::Executed(address)) => self.execute(address),
            Some(Event::Stopped(address)) => self.take_back(address),
            None => return false,
        }
        true
    }

    fn execute(&mut self, address: u64) {
        self.note_place(address);
        *self.current.0.entry(address).or_default() += 1;
        if self.markers.contains(&address) {
            self.reads += 1;
            let counts = std::mem::take(&mut self.current);
            match self.reads {
                1 => self.boot = counts,
                EMPTY_ENDS_AT => self.empty = Some(counts),
                _ => self.work = counts,
            }
        }
    }

    /// An instruction that traps is told of before it does, and again when the guest comes back to it: it is executed once.
    fn note_place(&mut self, address: u64) {
        if self.hypervisor.iter().any(|range| range.contains(&address)) {
            self.is_in_hypervisor = true;
            return;
        }
        if self.is_in_hypervisor && self.guest_was_at == Some(address) {
            self.take_back(address);
        }
        (self.guest_was_at, self.is_in_hypervisor) = (Some(address), false);
    }

    fn take_back(&mut self, address: u64) {
        if let Some(count) = self.current.0.get_mut(&address) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns what is between the last two reads, or between reset and the guest's first instruction. `None` where the guest did
    /// not read its counter so often.
    pub(super) fn finish(self, from_reset: bool) -> Option<Measured> {
        match from_reset {
            true => (self.reads > 0).then_some(Measured { work: self.boot, empty: None }),
            false => (self.reads > EMPTY_ENDS_AT).then_some(Measured { work: self.work, empty: self.empty }),
        }
    }
}

/// What a line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Event {
    /// The instruction is next.
    Executed(u64),
    /// The instruction that was next is not executed yet: QEMU has something else to do before, and then says again that it is next.
    Stopped(u64),
}

/// Reads `Trace CPU: HOST [BASE/ADDRESS/FLAGS/FLAGS] SYMBOL`, or `Stopped execution of TB chain before HOST [ADDRESS] SYMBOL`.
fn read(line: &str) -> Option<Event> {
    let bracketed = || Some(line.split_once('[')?.1.split_once(']')?.0);
    if line.starts_with("Trace ") {
        let address = bracketed()?.split('/').nth(1)?;
        return u64::from_str_radix(address, 16).ok().map(Event::Executed);
    }
    line.strip_prefix("Stopped ")?;
    u64::from_str_radix(bracketed()?, 16).ok().map(Event::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executed(address: u64) -> String {
        format!("Trace 0: 0x7f9a94000100 [00000000/{address:016x}/00000461/ff022201] _start")
    }

    #[test]
    fn lines_are_read_as_either_qemu_writes_them() {
        assert_eq!(read(&executed(0x4020_0004)), Some(Event::Executed(0x4020_0004)));
        let older = "Trace 0: 0x7f73e8000100 [0000000000000000/0000000040200000/00000061/ff020201] ";
        assert_eq!(read(older), Some(Event::Executed(0x4020_0000)));
        let stopped = "Stopped execution of TB chain before 0x7f73e80 [0000000040200008] _start";
        assert_eq!(read(stopped), Some(Event::Stopped(0x4020_0008)));
        for other in ["", "qemu: warning: [0/1/2/3]", "Trace 0: 0x7f [zz/yy]", "Trace 0: 0x7f"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    fn trace(addresses: &[u64]) -> Tracer {
        let mut tracer = Tracer::new([8].into(), vec![100..300, 300..1000]);
        assert!(addresses.iter().all(|address| tracer.take(&executed(*address))));
        tracer
    }

    /// From reset, by way of measuring nothing, to before what is measured.
    const BEFORE: [u64; 7] = [100, 104, 8, 12, 8, 12, 8];

    #[test]
    fn the_work_is_between_the_last_two_reads_and_booting_before_the_first() {
        let tracer = || trace(&[&BEFORE[..], &[300, 8, 200, 204, 204, 8, 400]].concat());
        let Measured { work, empty } = tracer().finish(false).unwrap();
        assert_eq!(work, Counts([(200, 1), (204, 2), (8, 1)].into()));
        assert_eq!(work.sum(), 4);
        assert_eq!(empty, Some(Counts([(12, 1), (8, 1)].into())));
        let Measured { work, empty } = tracer().finish(true).unwrap();
        assert_eq!((work, empty), (Counts([(100, 1), (104, 1), (8, 1)].into()), None));
    }

    #[test]
    fn what_qemu_stops_before_is_executed_once() {
        let mut tracer = trace(&[&BEFORE[..], &[8, 200]].concat());
        assert!(tracer.take("Stopped execution of TB chain before 0x7f [00000000000000c8] f"));
        assert!(tracer.take(&executed(200)) && tracer.take(&executed(8)));
        assert_eq!(tracer.finish(false).unwrap().work, Counts([(200, 1), (8, 1)].into()));
    }

    #[test]
    fn what_traps_and_is_tried_again_is_executed_once() {
        let tracer = trace(&[&BEFORE[..], &[8, 20, 100, 20, 24, 100, 28, 28, 8]].concat());
        let work = Counts([(20, 1), (100, 2), (24, 1), (28, 2), (8, 1)].into());
        assert_eq!(tracer.finish(false).unwrap().work, work);
    }

    #[test]
    fn a_trace_without_reads_measures_nothing() {
        assert!(trace(&[100]).finish(true).is_none());
        assert!(trace(&BEFORE[..5]).finish(false).is_none());
        assert!(!trace(&[]).take("something else"));
    }
}
