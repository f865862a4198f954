//! The oracle at the seam: a machine that shows everything that is done to tables and frames to the oracle, and then does it.
//!
//! It is on in every build but the benchmark's. Lock order: the oracle's lock is the last of all, and what is done under it
//! takes no other; events are judged in the order in which they happen.
#![no_std]
#![forbid(unsafe_code)]

use oracle::old::{Event, FrameNote, Oracle, Store, Violation};
use spin::Mutex;
use stage2::{Mmu, Order};
use vm::Machine;
use vmsa::{BbmLevel, Dsb, Features, Geometry, Hpa, Scope, Tlbi};

/// What becomes of a violation.
pub trait Bench {
    /// Hears of a broken rule. At EL2 this does not return.
    fn broken(&self, violation: &Violation);
}

/// A machine under the oracle's eyes.
pub struct Checked<M> {
    inner: M,
    oracle: Mutex<Oracle<'static>>,
}

impl<M: Machine + Bench> Checked<M> {
    /// Returns the machine, whose memory begins at `first_frame`, with a note for each of its frames.
    pub fn new(inner: M, first_frame: Hpa, notes: &'static mut [FrameNote]) -> Self {
        let oracle = Mutex::new(Oracle::new(inner.features(), first_frame, notes));
        Self { inner, oracle }
    }

    /// Returns the machine itself.
    pub const fn inner(&self) -> &M {
        &self.inner
    }

    /// Is told that this CPU goes on in a guest, VTTBR_EL2 in effect.
    pub fn resume(&self) {
        self.judge(Event::Resume, || {});
    }

    /// Does what may fail, and shows it to the oracle where it did not.
    fn judge_if_done<E>(&self, event: Event, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut oracle = self.oracle.lock();
        work()?;
        let verdict = oracle.observe(self.inner.cpu(), event, |slot| self.inner.read(slot));
        drop(oracle);
        if let Err(violation) = verdict {
            self.inner.broken(&violation);
        }
        Ok(())
    }

    /// Shows the event to the oracle, and does it.
    fn judge<R>(&self, event: Event, work: impl FnOnce() -> R) -> R {
        let mut oracle = self.oracle.lock();
        let verdict = oracle.observe(self.inner.cpu(), event, |slot| self.inner.read(slot));
        let result = work();
        drop(oracle);
        if let Err(violation) = verdict {
            self.inner.broken(&violation);
        }
        result
    }
}

impl<M: Machine + Bench> Mmu for Checked<M> {
    fn features(&self) -> &Features {
        self.inner.features()
    }

    fn read(&self, slot: Hpa) -> u64 {
        self.inner.read(slot)
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        let old = self.inner.read(slot);
        let store = Store { slot, old, new: descriptor, is_release: order == Order::Release };
        self.judge(Event::Store(store), || self.inner.write(slot, descriptor, order));
    }

    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64> {
        let store = Store { slot, old, new, is_release: true };
        self.judge_if_done(Event::Store(store), || self.inner.exchange(slot, old, new))
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        self.judge(Event::Tlbi(op, scope), || self.inner.tlbi(op, scope));
    }

    fn dsb(&self, kind: Dsb) {
        self.judge(Event::Dsb(kind), || self.inner.dsb(kind));
    }

    fn isb(&self) {
        self.judge(Event::Isb, || self.inner.isb());
    }

    fn vttbr(&self) -> u64 {
        self.inner.vttbr()
    }

    fn set_vttbr(&self, vttbr: u64) {
        self.judge(Event::Vttbr(vttbr), || self.inner.set_vttbr(vttbr));
    }

    fn root_made(&self, vttbr: u64, geometry: Geometry, bbm: BbmLevel) {
        self.judge(Event::Root { vttbr, geometry, bbm }, || self.inner.root_made(vttbr, geometry, bbm));
    }
}

impl<M: Machine + Bench> Machine for Checked<M> {
    fn zero(&self, frame: Hpa, pages: u64) {
        self.judge(Event::Filled { frame, pages }, || ());
        self.inner.zero(frame, pages);
    }

    fn given_back(&self, frame: Hpa, pages: u64) {
        self.judge(Event::Freed { frame, pages }, || self.inner.given_back(frame, pages));
    }

    fn read_memory(&self, from: Hpa, into: &mut [u8]) {
        self.inner.read_memory(from, into);
    }

    fn write_memory(&self, to: Hpa, from: &[u8]) {
        self.inner.write_memory(to, from);
    }

    fn clean_caches(&self, from: Hpa, len: u64, invalidate: bool) {
        self.inner.clean_caches(from, len, invalidate);
    }

    fn sync_instructions(&self) {
        self.inner.sync_instructions();
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    fn console_write(&self, bytes: &[u8]) {
        self.inner.console_write(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        self.inner.console_read(into)
    }

    fn relax(&self) {
        self.inner.relax();
    }

    fn cpu(&self) -> usize {
        self.inner.cpu()
    }
}
