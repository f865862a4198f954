//! The last exits from the guest, kept for whoever reads a panic.

use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use abi::{Call, Status};
use vmsa::{ExceptionClass, Syndrome};

use crate::words::Words;

const KEPT: usize = 32;

/// What a call's result is before it has one: no call returns it.
const UNDER_WAY: u64 = 1 << 63;

/// An exit from the guest, and what came of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Exit {
    /// ESR_EL2.
    pub syndrome: u64,
    /// ELR_EL2.
    pub pc: u64,
    /// FAR_EL2 of an abort, `x1` of a call.
    pub address: u64,
    /// `x0` before.
    pub function: u64,
    /// `x0` after, where there is an after.
    pub result: Option<u64>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let syndrome = Syndrome(self.syndrome);
        match syndrome.class() {
            ExceptionClass::Hvc(0) => self.describe_call(f)?,
            _ => write!(f, "{}, FAR {:#x}", Words(syndrome), self.address)?,
        }
        write!(f, " at {:#x}", self.pc)
    }
}

impl Exit {
    fn describe_call(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = Call::from_function_id(self.function as u32);
        match call {
            Some(call) => write!(f, "{call:?}({:#x}, ..)", self.address)?,
            None => write!(f, "call {:#x}({:#x}, ..)", self.function as u32, self.address)?,
        }
        match (self.result, call) {
            (None, _) => f.write_str(" under way"),
            (Some(result), Some(_)) => write!(f, " = {}", Status::from_register(result)),
            (Some(result), None) => write!(f, " = {result:#x}"),
        }
    }
}

/// The last exits of one CPU. Only that CPU writes, so nothing is ordered.
#[derive(Debug)]
pub struct Exits {
    count: AtomicUsize,
    repeats: AtomicUsize,
    slots: [Slot; KEPT],
}

/// A place where an exit is kept.
#[derive(Debug)]
pub struct Slot {
    syndrome: AtomicU64,
    pc: AtomicU64,
    address: AtomicU64,
    function: AtomicU64,
    result: AtomicU64,
}

impl Slot {
    const fn new() -> Self {
        Self {
            syndrome: AtomicU64::new(0),
            pc: AtomicU64::new(0),
            address: AtomicU64::new(0),
            function: AtomicU64::new(0),
            result: AtomicU64::new(0),
        }
    }

    fn load(&self) -> Exit {
        Exit {
            syndrome: self.syndrome.load(Relaxed),
            pc: self.pc.load(Relaxed),
            address: self.address.load(Relaxed),
            function: self.function.load(Relaxed),
            result: Some(self.result.load(Relaxed)).filter(|result| *result != UNDER_WAY),
        }
    }

    /// Notes what came of the exit.
    #[inline]
    pub fn set_result(&self, result: u64) {
        self.result.store(result, Relaxed);
    }
}

impl Exits {
    /// Returns a record of nothing.
    pub const fn new() -> Self {
        Self { count: AtomicUsize::new(0), repeats: AtomicUsize::new(0), slots: [const { Slot::new() }; KEPT] }
    }

    /// Notes an exit, in place of the oldest.
    #[inline]
    pub fn note(&self, exit: Exit) -> &Slot {
        let count = self.count.load(Relaxed);
        let slot = &self.slots[count % KEPT];
        slot.syndrome.store(exit.syndrome, Relaxed);
        slot.pc.store(exit.pc, Relaxed);
        slot.address.store(exit.address, Relaxed);
        slot.function.store(exit.function, Relaxed);
        slot.result.store(exit.result.unwrap_or(UNDER_WAY), Relaxed);
        self.count.store(count.wrapping_add(1), Relaxed);
        slot
    }

    /// Notes an exit that the guest is told of by an exception, and returns how often it came before, with nothing in between.
    pub fn note_exception(&self, exit: Exit) -> usize {
        let latest = self.count.load(Relaxed).checked_sub(1).map(|index| self.slots[index % KEPT].load());
        let is_again = latest == Some(exit);
        let repeats = if is_again { self.repeats.load(Relaxed) + 1 } else { 0 };
        self.repeats.store(repeats, Relaxed);
        self.note(exit);
        repeats
    }

    /// Returns the exits that are still known, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Exit> {
        let count = self.count.load(Relaxed);
        let known = count.min(KEPT);
        (count - known..count).map(|index| self.slots[index % KEPT].load())
    }
}

impl Default for Exits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn the_last_exits_are_kept_in_their_order() {
        let exits = Exits::new();
        assert_eq!(exits.iter().count(), 0);
        for pc in 0..40 {
            exits.note(Exit { pc, ..Exit::default() });
        }
        let kept: Vec<u64> = exits.iter().map(|exit| exit.pc).collect();
        assert_eq!(kept, (8..40).collect::<Vec<_>>());
    }

    #[test]
    fn exceptions_are_counted_while_nothing_else_happens() {
        let exits = Exits::new();
        let exit = Exit { pc: 4, ..Exit::default() };
        assert_eq!([exits.note_exception(exit), exits.note_exception(exit), exits.note_exception(exit)], [0, 1, 2]);
        exits.note(Exit::default());
        assert_eq!(exits.note_exception(exit), 0);
    }

    #[test]
    fn calls_are_named_and_aborts_explained() {
        let hvc = Exit { syndrome: 0x5a00_0000, pc: 0x4000_0004, address: 3, ..Exit::default() };
        let call = Exit { function: 0xc600_0032, result: Some(Status::BAD_HANDLE.to_register()), ..hvc };
        assert_eq!(call.to_string(), "VmarUnmap(0x3, ..) = BAD_HANDLE at 0x40000004");
        let unknown = Exit { function: 0x8400_0000, result: Some(0x1_0001), ..hvc };
        assert_eq!(unknown.to_string(), "call 0x84000000(0x3, ..) = 0x10001 at 0x40000004");
        let exits = Exits::new();
        exits.note(Exit { result: None, ..call });
        assert!(exits.iter().any(|exit| exit.to_string() == "VmarUnmap(0x3, ..) under way at 0x40000004"));
        let abort = Exit { syndrome: 0x9200_0007, address: 0x100, ..hvc };
        assert!(abort.to_string().contains("translation fault at level 3 of a load, FAR 0x100 at 0x40000004"));
    }
}
