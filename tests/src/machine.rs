//! The machine as the objects and the oracle see it: memory, time, a console.

use std::fmt::Display;

use abi::{AccessKind, Status};
use checked::Bench;
use oracle::{Finding, Severity};
use vm::Machine;
use vmsa::{Dc, Hpa, Ipa};

use crate::Sim;
use crate::sim::lock;

/// What is not the MMU.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    console: Vec<u8>,
    input: Vec<u8>,
    pub(crate) verdicts: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) course: Option<String>,
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
    fn found(&self, finding: &Finding) {
        if finding.severity == Severity::Error {
            let verdict = finding.to_string();
            self.state().violations.push(verdict.clone());
            lock(&self.devices).verdicts.push(verdict);
        } else {
            lock(&self.devices).warnings.push(format!("warning {finding}"));
        }
    }

    /// A test that fails shows how it came to the first broken rule.
    fn explain(&self, course: &dyn Display) {
        lock(&self.devices).course.get_or_insert_with(|| course.to_string());
    }

    fn condemn(&self) {}

    fn trace_lost(&self) {}
}

impl Machine for Sim {
    fn clear(&self, frame: Hpa, pages: u64) {
        for number in 0..pages {
            self.handed_over(frame.add(number << 12));
        }
        self.memory().zero(frame, (pages << 12) as usize);
    }

    fn told_given_back(&self, frame: Hpa, pages: u64) {
        for number in 0..pages {
            self.handed_over(frame.add(number << 12));
        }
    }

    fn copy_from(&self, from: Hpa, into: &mut [u8]) {
        self.memory().read(from, into);
    }

    fn copy_to(&self, to: Hpa, from: &[u8]) {
        self.memory().write(to, from);
    }

    fn dc(&self, _op: Dc, _start: Hpa, _len: u64) {}

    fn ic(&self) {}

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

    fn translate(&self, _address: Ipa, _access: AccessKind) -> Result<u64, Status> {
        Err(Status::NOT_SUPPORTED)
    }

    fn relax(&self) {}

    fn cpu(&self) -> usize {
        Self::this_cpu()
    }
}
