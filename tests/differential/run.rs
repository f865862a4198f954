//! One program, on the hypervisor and on the model at once.

use std::collections::HashMap;
use std::mem::offset_of;

use abi::{Call, InfoMaps, InfoVmo, Status, Topic, VmarOp, VmoOp};
use model::program::{Action, Argument, Given, Step};
use model::{Access, Config, Dialect, Model, P};
use tests::{Answer, Guest};
use vmsa::{BbmLevel, DirtyLevel, Features, Hpa};

use crate::coverage::Coverage;

/// The bytes of the VM's address space.
pub(crate) const SPACE: u64 = 1 << 39;
/// The bytes of its RAM.
pub(crate) const RAM: u64 = 4 << 20;

/// Device memory that it is granted.
const MMIO: (u64, u64) = (0x900_0000, 4 * P);

/// What kind of VM runs the programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) dialect: Dialect,
    /// How many frames the VM may hold, where that is little: a call may fail for want of memory then.
    pub(crate) quota: Option<u64>,
    pub(crate) machine: Features,
}

/// The machines: one without optional features, one that has all, and one in between.
pub(crate) const MACHINES: [Features; 3] = [PLAIN, FULL, Features { bbm: BbmLevel::NoTranslationCaching, ..SOME }];

const PLAIN: Features = Features {
    pa_bits: 48,
    vmid16: false,
    dirty: DirtyLevel::None,
    forced_write_back: false,
    level_hint: false,
    bbm: BbmLevel::BreakFirst,
    tlbi_range: false,
    execute_per_level: false,
    no_clean_for_fetch: false,
    no_invalidate_for_fetch: false,
    dcache_line: 64,
    pan: false,
    sve: false,
};
const SOME: Features = Features { dirty: DirtyLevel::AccessFlag, tlbi_range: true, ..PLAIN };
const FULL: Features = Features {
    vmid16: true,
    dirty: DirtyLevel::Dirty,
    forced_write_back: true,
    level_hint: true,
    bbm: BbmLevel::Direct,
    tlbi_range: true,
    execute_per_level: true,
    no_clean_for_fetch: true,
    no_invalidate_for_fetch: true,
    ..PLAIN
};

impl Setting {
    pub(crate) fn guest(self) -> Guest {
        let dialect = if self.dialect == Dialect::Kernel { "kernel" } else { "documented" };
        let quota = self.quota.map_or(String::new(), |frames| format!("quota={}K", frames * 4));
        let arguments =
            format!("dialect={dialect} ram={}M seed=5 mmio={:#x}+{}K {quota}", RAM >> 20, MMIO.0, MMIO.1 >> 10);
        Guest::on(self.machine, &arguments, 64 << 20)
    }

    pub(crate) const fn config(self) -> Config {
        Config { dialect: self.dialect, ram_bytes: RAM, space_bytes: SPACE, mmio: Some(MMIO) }
    }
}

/// Why a program cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The two differ.
    Differs(String),
    /// For want of memory something is half done, which the contract allows: what is where is not known any more.
    HalfDone,
}

/// A program under way.
pub(crate) struct Run<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) model: Model,
    pub(crate) given: Given,
    /// The hypervisor's koids by the model's, and the other way round.
    koids: [HashMap<u64, u64>; 2],
    coverage: &'a mut Coverage,
    can_run_out: bool,
    /// It is not known any more how many pages VMOs have: some came before memory ran out.
    has_run_out: bool,
    /// The program itself is over: what is called now does not count.
    pub(crate) is_ending: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(guest: &'a Guest, setting: Setting, coverage: &'a mut Coverage) -> Self {
        let model = Model::new(setting.config());
        let (given, koids) = (Given::default(), Default::default());
        Self {
            guest,
            model,
            given,
            koids,
            coverage,
            can_run_out: setting.quota.is_some(),
            has_run_out: false,
            is_ending: false,
        }
    }

    /// Carries a step out on both.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), Stop> {
        self.coverage.steps += 1;
        match &step.action {
            Action::Load(at) => self.load(self.given.value(*at) & !7),
            Action::Store(at, value) => self.store(self.given.value(*at) & !7, *value),
            Action::Fetch(at) => self.touch(self.given.value(*at), Access::Execute),
            Action::CloseMany(at, handles) => self.close_many(self.given.value(*at) & !3, handles),
            Action::Call(call, arguments) => {
                let values = self.given.values(arguments);
                let results = self.call(*call, &values)?;
                if let Some(results) = results {
                    self.given.note(step.id, *call, &results);
                }
                Ok(())
            }
        }
    }

    fn load(&mut self, ipa: u64) -> Result<(), Stop> {
        let (seen, expected) = (self.guest.load(ipa), self.model.load(ipa));
        if seen == expected || self.can_run_out && seen.is_none() {
            return Ok(());
        }
        differ(format!("the load at {ipa:#x} finds {seen:x?}, expected {expected:x?}"))
    }

    fn store(&mut self, ipa: u64, value: u64) -> Result<(), Stop> {
        let is_done = self.guest.store(ipa, value);
        if !is_done && self.can_run_out {
            self.has_run_out = true;
            return Ok(());
        }
        let expected = self.model.store(ipa, value);
        if is_done == expected {
            return Ok(());
        }
        differ(format!("the store at {ipa:#x} is done: {is_done}, expected {expected}"))
    }

    /// Checks that an access is allowed by both or by none.
    pub(crate) fn touch(&mut self, ipa: u64, access: Access) -> Result<(), Stop> {
        let is_done = self.guest.touch(ipa, machine_access(access));
        if !is_done && self.can_run_out {
            self.has_run_out = true;
            return Ok(());
        }
        let expected = self.model.touch(ipa, access);
        if is_done == expected {
            return Ok(());
        }
        differ(format!("{access:?} at {ipa:#x} is allowed: {is_done}, expected {expected}"))
    }

    /// Makes a call on both; returns the results where it succeeds.
    pub(crate) fn call(&mut self, call: Call, values: &[u64; 8]) -> Result<Option<[u64; 3]>, Stop> {
        let Some(Answer { status, results, count }) = self.guest.hypercall(call, values) else {
            return differ(format!("{call:?} ended the VM"));
        };
        if self.can_run_out && status == Status::NO_MEMORY {
            self.note(call, status);
            self.has_run_out = true;
            return if is_half_done(call, values) { Err(Stop::HalfDone) } else { Ok(None) };
        }
        let is_ok = status == Status::OK;
        let answer = self.model.call(call, values, is_ok.then_some(results));
        self.note(call, answer.status);
        if (status, &results[..count]) != (answer.status, &answer.results[..]) {
            let (seen, expected) = (&results[..count], &answer.results);
            let status = (status, answer.status);
            return differ(format!(
                "{call:?} {values:x?}: {:?} {seen:x?}, expected {:?} {expected:x?}",
                status.0, status.1
            ));
        }
        if let Some(complaint) = answer.complaints.first() {
            return differ(format!("{call:?} {values:x?}: {complaint}"));
        }
        for ipa in &answer.koids {
            self.name_koid(*ipa)?;
        }
        self.check_addresses(&answer.addresses)?;
        if is_ok && self.has_run_out && call == Call::ObjectGetInfo {
            self.forget_commitment(values, results[0]);
        }
        if is_ok && let Some((buffer, len)) = written(call, values) {
            self.compare_bytes(buffer, len)?;
        }
        Ok(is_ok.then_some(results))
    }

    fn note(&mut self, call: Call, status: Status) {
        if !self.is_ending {
            self.coverage.note(call, status);
        }
    }

    /// Has zeros on both sides in the place of how much memory there is, where some of it came before memory ran out.
    fn forget_commitment(&mut self, values: &[u64; 8], records: u64) {
        let (buffer, size) = (values[2], values[3]);
        let known = offset_of!(InfoVmo, committed_bytes) as u64;
        let range = match u32::try_from(values[1]).ok().and_then(|topic| Topic::try_from(topic).ok()) {
            Some(Topic::VmarMaps) => 0..records * size_of::<InfoMaps>() as u64,
            Some(Topic::VmoV1 | Topic::VmoV2 | Topic::VmoV3 | Topic::Vmo) => known..size.min(176),
            _ => 0..0,
        };
        let zeros = vec![0; range.end.saturating_sub(range.start) as usize];
        self.poke(buffer + range.start, &zeros);
        self.model.poke(buffer + range.start, &zeros);
    }

    /// Puts the model's koid in the place of the hypervisor's, which must always be the same.
    fn name_koid(&mut self, ipa: u64) -> Result<(), Stop> {
        if self.can_run_out && self.peek(ipa, 8).is_none() {
            return Err(Stop::HalfDone);
        }
        let [seen, expected] = [self.peek(ipa, 8), self.model.peek(ipa, 8)]
            .map(|bytes| bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes));
        if seen == 0 && expected == 0 {
            return Ok(());
        }
        let there = *self.koids[0].entry(expected).or_insert(seen);
        let back = *self.koids[1].entry(seen).or_insert(expected);
        if (there, back) != (seen, expected) || seen == 0 || expected == 0 {
            return differ(format!(
                "the koid at {ipa:#x} is {seen}, which is not that of the model's object {expected}"
            ));
        }
        self.poke(ipa, &expected.to_le_bytes());
        Ok(())
    }

    /// Checks that what lies at physical addresses that a call has written is the pages that it speaks of.
    fn check_addresses(&mut self, addresses: &[(u64, model::PageView)]) -> Result<(), Stop> {
        let mut frames = Vec::new();
        for (ipa, _) in addresses {
            if self.can_run_out && self.peek(*ipa, 8).is_none() {
                return Err(Stop::HalfDone);
            }
            let bytes = self.peek(*ipa, 8).and_then(|bytes| bytes.try_into().ok());
            frames.push(Hpa(bytes.map_or(0, u64::from_le_bytes)));
            self.poke(*ipa, &[0; 8]);
        }
        for (frame, (_, page)) in frames.into_iter().zip(addresses) {
            let is_page = frame.0.is_multiple_of(P) && frame.0 > 0;
            if !is_page || !page.is(&self.frame_bytes(frame)) {
                return differ(format!("the address {frame} is not the pinned page's"));
            }
        }
        Ok(())
    }

    fn close_many(&mut self, buffer: u64, handles: &[Argument]) -> Result<(), Stop> {
        let handles: Vec<u64> = handles.iter().map(|handle| self.given.value(*handle) & 0xffff_ffff).collect();
        let mut stored = Vec::new();
        for (at, handle) in (buffer..).step_by(4).zip(handles.iter().copied()) {
            let bytes = (handle as u32).to_le_bytes();
            if self.poke(at, &bytes) && self.model.poke(at, &bytes) {
                stored.push(at);
            }
        }
        let mut args = [0; 8];
        (args[0], args[1]) = (buffer, handles.len() as u64);
        self.call(Call::HandleCloseMany, &args)?;
        for at in stored {
            self.poke(at, &[0; 4]);
            self.model.poke(at, &[0; 4]);
        }
        Ok(())
    }

    pub(crate) fn compare_bytes(&mut self, ipa: u64, len: u64) -> Result<(), Stop> {
        let (seen, expected) = (self.peek(ipa, len), self.model.peek(ipa, len));
        if seen == expected || self.can_run_out && seen.is_none() {
            return Ok(());
        }
        let (Some(seen), Some(expected)) = (seen, expected) else {
            return differ(format!("only one of the two can read {len:#x} bytes at {ipa:#x}"));
        };
        let at = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected).unwrap_or(0) / 8 * 8;
        let word = |bytes: &[u8]| bytes[at..bytes.len().min(at + 8)].to_vec();
        differ(format!("at {ipa:#x}+{at:#x}: {:02x?}, expected {:02x?}", word(&seen), word(&expected)))
    }

    pub(crate) const fn can_run_out(&self) -> bool {
        self.can_run_out
    }

    /// Returns what the guest reads.
    pub(crate) fn peek(&self, ipa: u64, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        let mut done = 0;
        while done < len {
            let at = ipa + done;
            let part = (P - at % P).min(len - done);
            let frame = self.guest.find(at, vmsa::Access::Read)?;
            let into = &mut bytes[done as usize..(done + part) as usize];
            self.guest.read(frame.add(at % P), into);
            done += part;
        }
        Some(bytes)
    }

    fn poke(&self, ipa: u64, bytes: &[u8]) -> bool {
        bytes.iter().zip(ipa..).all(|(byte, at)| {
            let frame = self.guest.find(at, vmsa::Access::Write);
            frame.inspect(|frame| self.guest.write(frame.add(at % P), &[*byte])).is_some()
        })
    }

    fn frame_bytes(&self, frame: Hpa) -> [u8; P as usize] {
        let mut bytes = [0; P as usize];
        self.guest.read(frame, &mut bytes);
        bytes
    }
}

pub(crate) fn differ<T>(what: String) -> Result<T, Stop> {
    Err(Stop::Differs(what))
}

const fn machine_access(access: Access) -> vmsa::Access {
    match access {
        Access::Read => vmsa::Access::Read,
        Access::Write => vmsa::Access::Write,
        Access::Execute => vmsa::Access::Execute,
    }
}

/// Returns the buffer that a call has written.
fn written(call: Call, values: &[u64; 8]) -> Option<(u64, u64)> {
    match call {
        Call::VmoRead => Some((values[1], values[3])),
        Call::ObjectGetInfo => Some((values[2], values[3])),
        Call::ObjectGetProperty => Some((values[2], 32)),
        _ => None,
    }
}

/// Tells whether a call that memory does not suffice for may have done a part of what it does, with effects that can be read.
fn is_half_done(call: Call, values: &[u64; 8]) -> bool {
    let is = |number: u32| values[1] == u64::from(number);
    match call {
        Call::VmoWrite => true,
        Call::VmoOpRange => is(VmoOp::Decommit.into()) || is(VmoOp::Zero.into()),
        Call::VmarOpRange => is(VmarOp::Decommit.into()) || is(VmarOp::Zero.into()),
        _ => false,
    }
}
