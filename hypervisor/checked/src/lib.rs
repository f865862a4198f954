//! The oracle at the seam: a machine that shows everything that is done to tables and frames to the oracle, records it where
//! that is asked for, and then does it.
//!
//! It is on in every build but the benchmark's. Everything goes through one function, under one lock, so that the order of a
//! trace is the order in which events were judged, and that in which they happened. Lock order: that lock is the last of all,
//! and what is done under it takes none of this program's.
#![no_std]
#![forbid(unsafe_code)]

mod machine;
mod recorder;
mod words;

use core::fmt::Display;
use core::mem::MaybeUninit;

use oracle::{Event, Finding, Held, LiveNotes, Note, Oracle, Severity};
use spin::{Mutex, MutexGuard};
use vm::{Machine, Owner, Taken};
use vmsa::{Hpa, PAGE_SIZE};

pub use recorder::{Channel, ChannelFailed, Recorder};

/// How often [`Checked::close`] tries to get the lock. Others hold it for one event at a time; only who stopped in the middle of
/// one holds it for longer.
const PATIENCE: u32 = 20_000_000;

/// What becomes of the oracle's findings, and of a trace that cannot go on.
pub trait Bench {
    /// Hears of a broken rule, or of what is only not as it should be. No event may come of it.
    fn found(&self, finding: &Finding);

    /// Hears how it came to the first broken rule of those that one event has brought to light, in several lines.
    fn explain(&self, course: &dyn Display);

    /// Ends the run, for a rule was broken. At EL2 this does not return.
    fn condemn(&self);

    /// Hears that the trace's channel takes no more. At EL2 this does not return.
    fn trace_lost(&self);
}

/// The oracle of a machine that runs.
pub type Judge = Oracle<LiveNotes<'static>, &'static mut [Held]>;

/// The memory that the oracle works with.
pub struct Room {
    /// Where the oracle itself goes: it is too large for a stack to pass it on.
    pub judge: &'static mut MaybeUninit<Judge>,
    /// The first frame that it knows.
    pub first: Hpa,
    /// A note for that and each frame after it.
    pub notes: &'static mut [Note],
    /// As many counts as [`LiveNotes::counts`] says.
    pub blocks: &'static mut [u32],
    /// Places for what TLBs may hold though the tables say otherwise.
    pub facts: &'static mut [Held],
}

/// What happened in all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Totals {
    /// How many events the oracle has judged.
    pub judged: u64,
    /// How many are in the trace, where there is one that is whole.
    pub recorded: Option<u64>,
    /// A rule was broken by what was not done in the end.
    pub is_broken: bool,
}

/// A machine under the oracle's eyes.
pub struct Checked<M> {
    inner: M,
    watch: Mutex<Watch>,
    is_recorded: bool,
}

struct Watch {
    oracle: &'static mut Judge,
    recorder: Option<Recorder>,
}

impl Watch {
    fn record(&mut self, cpu: usize, event: &Event) -> Result<(), ChannelFailed> {
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.record(cpu, event))
    }
}

impl<M: Machine + Bench> Checked<M> {
    /// Returns the machine with so many CPUs, watched with the memory in `room`, and recorded where there is a recorder.
    pub fn new(inner: M, cpus: u32, room: Room, mut recorder: Option<Recorder>) -> Self {
        let machine = words::machine(inner.features(), cpus);
        let begun = recorder.as_mut().map_or(Ok(()), |recorder| recorder.begin(&machine));
        if begun.is_err() {
            inner.trace_lost();
        }
        let notes = LiveNotes::new(room.first, room.notes, room.blocks);
        let oracle = room.judge.write(Oracle::new(&machine, notes, room.facts));
        let is_recorded = recorder.is_some();
        Self { inner, watch: Mutex::new(Watch { oracle, recorder }), is_recorded }
    }

    /// Returns the machine itself.
    pub const fn inner(&self) -> &M {
        &self.inner
    }

    /// Tells of memory between two addresses that is the hypervisor's for good: no guest may ever map it.
    pub fn keep(&self, start: Hpa, end: Hpa) {
        let first = start.page_base();
        let pages = (end.0 - first.0).div_ceil(PAGE_SIZE);
        self.told_taken(first, pages, Taken::Memory);
        self.told_owner(first, pages, Owner::Hypervisor);
    }

    /// Is told of an event that the machine's sides have no word for.
    pub fn told(&self, event: Event) {
        self.tell(event, || {});
    }

    /// Tells whether there is a trace.
    pub const fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Ends the trace, and returns what happened in all. From now on no event happens any more: a CPU that wants to do something
    /// that is one waits for ever. Returns `None` where some CPU stopped in the middle of one.
    pub fn close(&self) -> Option<Totals> {
        let mut watch = self.last_lock()?;
        let is_found = watch.oracle.finish(|slot| self.inner.read(slot));
        let is_broken = is_found && self.tell_findings(&watch);
        let judged = watch.oracle.events();
        let recorded = watch.recorder.as_mut().and_then(|recorder| recorder.end().ok());
        core::mem::forget(watch);
        Some(Totals { judged, recorded, is_broken })
    }

    fn last_lock(&self) -> Option<MutexGuard<'_, Watch>> {
        (0..PATIENCE).find_map(|_| {
            core::hint::spin_loop();
            self.watch.try_lock()
        })
    }

    /// Shows the event to the oracle, records it, and does it.
    fn tell<R>(&self, event: Event, work: impl FnOnce() -> R) -> R {
        let mut watch = self.watch.lock();
        let cpu = self.inner.cpu();
        let is_found = watch.oracle.observe(cpu, &event, |slot| self.inner.read(slot));
        let recorded = watch.record(cpu, &event);
        let result = work();
        if is_found || recorded.is_err() {
            self.act(watch, is_found, recorded);
        }
        result
    }

    /// Does what changes the word in a slot from `old` and may fail, and tells of it where it did not: what the oracle would read
    /// is changed by then.
    fn tell_if_done<E>(
        &self,
        event: Event,
        slot: Hpa,
        old: u64,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut watch = self.watch.lock();
        work()?;
        let cpu = self.inner.cpu();
        let read = |at: Hpa| if at == slot { old } else { self.inner.read(at) };
        let is_found = watch.oracle.observe(cpu, &event, read);
        let recorded = watch.record(cpu, &event);
        if is_found || recorded.is_err() {
            self.act(watch, is_found, recorded);
        }
        Ok(())
    }

    #[cold]
    fn act(&self, watch: MutexGuard<'_, Watch>, is_found: bool, recorded: Result<(), ChannelFailed>) {
        let is_broken = is_found && self.tell_findings(&watch);
        drop(watch);
        if recorded.is_err() {
            self.inner.trace_lost();
        }
        if is_broken {
            self.inner.condemn();
        }
    }

    /// Tells of what was found; returns whether a rule was broken.
    fn tell_findings(&self, watch: &Watch) -> bool {
        watch.oracle.findings().for_each(|finding| self.inner.found(finding));
        let first = watch.oracle.findings().find(|finding| finding.severity == Severity::Error);
        if let Some(first) = first {
            self.inner.explain(&watch.oracle.explain(first));
        }
        first.is_some()
    }
}
