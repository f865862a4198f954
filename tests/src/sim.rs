//! The simulated machine: CPUs that share RAM, each with a TLB that keeps whatever it ever may.
//!
//! - `said` is a descriptor's meaning and place, `view` the tables as they are; `fact` is one thing that TLBs may hold and its
//!   way out, `tlb` all of them, and `named` what an invalidation is for.
//! - `contexts` is VTTBR_EL2 of every CPU, `state` all that the machine knows, `store` what a store does, `rules` what it may not.
//! - `walker` finds the ways that an access may go, `access` answers with the set of all that the architecture permits; `mmu`
//!   and `machine` are the machine's sides towards the tables' code and the objects'.
//!
//! What the architecture forbids is recorded, with the number of its rule in front, and the machine goes on.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use checked::{Checked, Room};
use oracle::{Held, LiveNotes, Note};
use vmsa::{Features, Hpa, PAGE_SIZE, Tlbi, Vmid};

use crate::fact::MOST_CPUS;
use crate::machine::Devices;
use crate::memory::Memory;
use crate::state::State;
use crate::view::View;

thread_local! {
    /// The simulated CPU that the test's thread is.
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// What is called before each event, with the CPU that it is of.
type Hook = Box<dyn FnMut(&Sim, usize) + Send>;

/// How many facts the oracle can remember.
const FACTS: usize = 4096;

/// A machine.
pub struct Sim {
    pub(crate) features: Features,
    memory: Memory,
    cpus: usize,
    state: Mutex<State>,
    pub(crate) devices: Mutex<Devices>,
    hook: Mutex<Option<Hook>>,
}

impl Sim {
    /// Returns a machine with two CPUs and `bytes` of RAM, a multiple of 2 MiB.
    pub fn new(features: Features, bytes: usize) -> Self {
        Self::with_cpus(features, bytes, 2)
    }

    /// Returns a machine with up to 8 CPUs and `bytes` of RAM, a multiple of 2 MiB.
    pub fn with_cpus(features: Features, bytes: usize, cpus: usize) -> Self {
        assert!((1..=MOST_CPUS).contains(&cpus), "{cpus} CPUs");
        Self {
            features,
            memory: Memory::new(bytes),
            cpus,
            state: Mutex::new(State::new(cpus)),
            devices: Mutex::default(),
            hook: Mutex::default(),
        }
    }

    /// Returns the machine with the oracle on it.
    pub fn checked(self) -> Checked<Self> {
        self.checked_in(FACTS)
    }

    /// Returns the machine with an oracle on it that has room for so many facts.
    pub fn checked_in(self, facts: usize) -> Checked<Self> {
        let ram = self.memory.range();
        let frames = ((ram.end.0 - ram.start.0) / PAGE_SIZE) as usize;
        let room = Room {
            judge: Box::leak(Box::new_uninit()),
            first: ram.start,
            notes: vec![Note::default(); frames].leak(),
            blocks: vec![0; LiveNotes::counts(frames)].leak(),
            facts: vec![Held::default(); facts].leak(),
        };
        let cpus = self.cpus as u32;
        Checked::new(self, cpus, room, None)
    }

    /// Returns the RAM.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns how many CPUs there are.
    pub const fn cpus(&self) -> usize {
        self.cpus
    }

    /// Lets the calling thread be another CPU.
    pub fn run_on(cpu: usize) {
        CPU.set(cpu);
    }

    /// Returns the CPU that the calling thread is.
    pub fn this_cpu() -> usize {
        CPU.get()
    }

    /// Calls `hook` before each event: a read or a write of a table, an invalidation, a barrier, a write of VTTBR_EL2. It is
    /// told which CPU's event it is; it may let other CPUs access pages, and must not cause events.
    pub fn on_event(&self, hook: impl FnMut(&Self, usize) + Send + 'static) {
        *lock(&self.hook) = Some(Box::new(hook));
    }

    /// Calls nothing any more.
    pub fn no_more_events(&self) {
        *lock(&self.hook) = None;
    }

    /// Begins an event. The hook is out of its place for the time that it runs: what another thread does meanwhile goes unheard.
    pub(crate) fn event(&self) {
        let hook = lock(&self.hook).take();
        if let Some(mut hook) = hook {
            hook(self, CPU.get());
            lock(&self.hook).get_or_insert(hook);
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::of(&self.memory, &self.features)
    }

    /// Returns what was done that the architecture forbids, and what the oracle on the machine said, in order.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Returns what the oracle on the machine said.
    pub fn verdicts(&self) -> Vec<String> {
        lock(&self.devices).verdicts.clone()
    }

    /// Returns how it came to the first broken rule that the oracle told of, if there is one.
    pub fn course(&self) -> Option<String> {
        lock(&self.devices).course.clone()
    }

    /// Returns what the oracle on the machine warned of.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.devices).warnings.clone()
    }

    /// Returns the invalidations since the last time, and forgets them.
    pub fn take_tlbis(&self) -> Vec<Tlbi> {
        std::mem::take(&mut self.state().tlbis)
    }

    /// Takes note that a frame changes hands; nobody may reach it by what its last use left in a TLB. It is nobody's then.
    pub fn handed_over(&self, frame: Hpa) {
        self.state().handed_over(self.view(), frame);
    }

    /// Takes note of what may not be.
    pub(crate) fn accuse(&self, rule: &str, what: &str) {
        self.state().accuse(rule, what);
    }

    /// Takes note whose a frame is: a VM that is another's may not reach it. Frames of which nothing is known are anybody's.
    pub fn own(&self, frame: Hpa, owner: u16) {
        self.state().owners.insert(frame, owner);
    }

    /// Takes note whose a VMID is. Until it is said, it is that of the owner of the same number.
    pub fn own_vmid(&self, vmid: Vmid, owner: u16) {
        self.state().vmid_owners.insert(vmid, owner);
    }
}

/// Locks what a test that failed may have left locked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
