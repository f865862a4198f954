//! The machine as the objects and the oracle see it: memory, time, a console.

use checked::Bench;
use oracle::old::Violation;
use vm::Machine;
use vmsa::Hpa;

use crate::Sim;
use crate::sim::lock;

/// What is not the MMU.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    console: Vec<u8>,
    input: Vec<u8>,
    pub(crate) verdicts: Vec<String>,
    now: u64,
}

impl Sim {
    /// Returns what was written to the console since the last time, and forgets it.
    pub fn take_console(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.devices).console)
    }

    /// Lets bytes wait at the console.
    pub fn type_in(&self, bytes: &[u8]) {
        lock(&self.devices).input.extend_from_slice(bytes);
    }
}

impl Bench for Sim {
    fn broken(&self, violation: &Violation) {
        let verdict = violation.to_string();
        self.state().violations.push(verdict.clone());
        lock(&self.devices).verdicts.push(verdict);
    }
}

impl Machine for Sim {
    fn zero(&self, frame: Hpa, pages: u64) {
        for number in 0..pages {
            self.handed_over(frame.add(number << 12));
        }
        self.memory().zero(frame, (pages << 12) as usize);
    }

    fn given_back(&self, frame: Hpa, pages: u64) {
        for number in 0..pages {
            self.handed_over(frame.add(number << 12));
        }
    }

    fn read_memory(&self, from: Hpa, into: &mut [u8]) {
        self.memory().read(from, into);
    }

    fn write_memory(&self, to: Hpa, from: &[u8]) {
        self.memory().write(to, from);
    }

    fn clean_caches(&self, _from: Hpa, _len: u64, _invalidate: bool) {}

    fn sync_instructions(&self) {}

    fn now_ns(&self) -> u64 {
        let mut devices = lock(&self.devices);
        devices.now += 1;
        devices.now
    }

    fn console_write(&self, bytes: &[u8]) {
        lock(&self.devices).console.extend_from_slice(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let mut devices = lock(&self.devices);
        let count = into.len().min(devices.input.len());
        into[..count].copy_from_slice(&devices.input[..count]);
        devices.input.drain(..count);
        count
    }

    fn relax(&self) {}

    fn cpu(&self) -> usize {
        Self::this_cpu()
    }
}
