//! The simulated machine: CPUs that share RAM, each with a TLB that keeps whatever it ever may.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use checked::{Bench, Checked};
use oracle::{FrameNote, Violation};
use stage2::{Mmu, Order};
use vm::Machine;
use vmsa::{
    Codec, Dsb, ENTRIES, Entry, Features, Geometry, Hpa, Ipa, IpaRange, Level, PAGE_SIZE, Perms, Scope, Tlbi, Vmid,
};

use crate::memory::Memory;
use crate::tlb::{Replaced, Seen, Tlbs};

thread_local! {
    /// The simulated CPU that the test's thread is.
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// A machine of `cpus` CPUs.
pub struct Sim {
    features: Features,
    memory: Memory,
    cpus: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tlbs: Tlbs,
    /// Pages that are, or may still be used as, tables.
    tables: HashMap<Hpa, Table>,
    /// By page how many entries of trees lead there.
    mapped: HashMap<Hpa, usize>,
    /// Slots that became valid, and may not be visible to walks yet.
    unpublished: HashSet<Hpa>,
    /// VTTBR_EL2 by CPU: what was written, and what is in effect.
    vttbr: HashMap<usize, (u64, u64)>,
    console: Vec<u8>,
    input: Vec<u8>,
    violations: Vec<String>,
    tlbis: Vec<Tlbi>,
    now: u64,
}

#[derive(Clone, Copy, Debug)]
struct Table {
    vmid: Vmid,
    level: Level,
    base: Ipa,
}

impl Sim {
    /// Returns a machine with two CPUs and `bytes` of RAM, a multiple of 2 MiB.
    pub fn new(features: Features, bytes: usize) -> Self {
        Self { features, memory: Memory::new(bytes), cpus: 2, state: Mutex::default() }
    }

    /// Returns the machine with the oracle on it.
    pub fn checked(self) -> Checked<Self> {
        let ram = self.memory.range();
        let frames = (ram.end.0 - ram.start.0) / PAGE_SIZE;
        let notes = vec![FrameNote::default(); frames as usize].leak();
        Checked::new(self, ram.start, notes)
    }

    /// Returns the RAM.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Lets the calling thread be another CPU.
    pub fn run_on(cpu: usize) {
        CPU.set(cpu);
    }

    fn watch(&self, vttbr: u64, geometry: Geometry) {
        let vmid = Vmid((vttbr >> 48) as u16);
        let root = Hpa(vttbr & 0x0000_ffff_ffff_f000);
        let mut state = self.state.lock().unwrap();
        for number in 0..geometry.root_tables() as u64 {
            let base = Ipa(number * geometry.start().table_span());
            state.tables.insert(root.add(number << 12), Table { vmid, level: geometry.start(), base });
        }
    }

    /// Returns all that an access of a CPU may find at `ipa` of the VM whose root `vttbr` names.
    pub fn access(&self, cpu: usize, vttbr: u64, geometry: Geometry, ipa: Ipa) -> HashSet<Seen> {
        let state = self.state.lock().unwrap();
        let vmid = Vmid((vttbr >> 48) as u16);
        let root = Hpa(vttbr & 0x0000_ffff_ffff_f000);
        let table = root.add((ipa.0 / geometry.start().table_span()) << 12);
        let mut seen = HashSet::new();
        self.walk(&state, table, geometry.start(), ipa, &mut seen);
        for fact in state.tlbs.held(cpu, vmid, ipa) {
            match fact.was.entry {
                Entry::Table(below) => {
                    let level = fact.was.level.next().expect("a table's level has one below");
                    self.walk(&state, below, level, ipa, &mut seen);
                }
                entry => {
                    seen.insert(found(entry, fact.was.level, ipa));
                }
            }
        }
        seen
    }

    fn walk(&self, state: &State, table: Hpa, level: Level, ipa: Ipa, seen: &mut HashSet<Seen>) {
        if !self.memory.holds(table) {
            seen.insert(Seen::Anything);
            return;
        }
        let slot = table.add(8 * level.index(ipa) as u64);
        if state.unpublished.contains(&slot) {
            seen.insert(Seen::Nothing);
        }
        match (self.codec().decode(self.memory.word(slot), level), level.next()) {
            (Entry::Table(below), Some(next)) => self.walk(state, below, next, ipa, seen),
            (entry, _) => {
                seen.insert(found(entry, level, ipa));
            }
        }
    }

    fn codec(&self) -> Codec {
        Codec { forced_write_back: self.features.forced_write_back }
    }

    /// Returns what was done that the architecture forbids.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().unwrap().violations.clone()
    }

    /// Returns the invalidations since the last time, and forgets them.
    pub fn take_tlbis(&self) -> Vec<Tlbi> {
        std::mem::take(&mut self.state.lock().unwrap().tlbis)
    }

    /// Returns what was written to the console since the last time, and forgets it.
    pub fn take_console(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.lock().unwrap().console)
    }

    /// Lets bytes wait at the console.
    pub fn type_in(&self, bytes: &[u8]) {
        self.state.lock().unwrap().input.extend_from_slice(bytes);
    }

    /// Puts a VM's tables in use on this CPU.
    pub fn set_vttbr_now(&self, vttbr: u64) {
        self.set_vttbr(vttbr);
        self.isb();
    }

    /// Takes note that a frame changes hands; nobody may reach it by what its last use left in a TLB.
    pub fn handed_over(&self, frame: Hpa) {
        let mut state = self.state.lock().unwrap();
        if let Some(fact) = state.tlbs.reaching(frame) {
            let message = format!("{frame} is used anew while a TLB may lead there: {fact:?}");
            state.violations.push(message);
        }
        if state.mapped.contains_key(&frame) {
            state.violations.push(format!("{frame} is used anew while a tree leads there"));
        }
        state.tables.remove(&frame);
    }

    /// Counts the pages that an entry leads to, at any depth, as mapped or as no longer mapped.
    fn count(&self, state: &mut State, entry: Entry, level: Level, is_mapped: bool) {
        match (entry, level.next()) {
            (Entry::Leaf(leaf), _) if is_mapped => *state.mapped.entry(leaf.output).or_default() += 1,
            (Entry::Leaf(leaf), _) => state.unmapped(leaf.output),
            (Entry::Table(table), Some(below)) if self.memory.holds(table) => {
                for slot in (0..ENTRIES as u64).map(|index| table.add(8 * index)) {
                    self.count(state, self.codec().decode(self.memory.word(slot), below), below, is_mapped);
                }
            }
            _ => {}
        }
    }
}

fn found(entry: Entry, level: Level, ipa: Ipa) -> Seen {
    match entry {
        Entry::Leaf(leaf) => {
            let offset = ipa.page_base().0 & (level.entry_span() - 1);
            Seen::Page(leaf.output.add(offset), leaf.attributes.perms)
        }
        _ => Seen::Nothing,
    }
}

impl State {
    /// Checks a store to a table that walks can reach, and records what it leaves behind.
    fn stored(&mut self, slot: Hpa, old: Entry, new: Entry, table: Table, cpus: usize, order: Order) {
        let index = (slot.0 & 0xfff) / 8;
        let span = IpaRange::new(table.base.add(index * table.level.entry_span()), table.level.entry_span());
        if new.is_live()
            && let Some(fact) = self.tlbs.of_slot(slot)
            && !is_in_place(fact.was.entry, new)
        {
            let message = format!("{slot} is made {new:?} while a TLB may hold {fact:?}");
            self.violations.push(message);
        }
        if old.is_live() && new.is_live() && !is_in_place(old, new) {
            self.violations.push(format!("{slot} is changed from {old:?} to {new:?} without a break"));
        }
        if old.is_live() && old != new {
            let was = Replaced { vmid: table.vmid, span, level: table.level, entry: old, slot };
            self.tlbs.replaced(cpus, CPU.get(), was);
        }
        if new.is_live() && !old.is_live() {
            self.unpublished.insert(slot);
        }
        if let Entry::Table(below) = new
            && let Some(level) = table.level.next()
        {
            if order != Order::Release {
                self.violations.push(format!("{slot} links a table without ordering its contents before"));
            }
            self.tables.insert(below, Table { vmid: table.vmid, level, base: span.start });
        }
    }

    fn unmapped(&mut self, page: Hpa) {
        match self.mapped.get_mut(&page) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.mapped.remove(&page),
        }
    }

    fn effective_vmid(&self, cpu: usize) -> Vmid {
        Vmid((self.vttbr.get(&cpu).map_or(0, |(_, effective)| *effective) >> 48) as u16)
    }
}

/// Tells whether one entry may become the other without a break: the same page, of the same type.
fn is_in_place(old: Entry, new: Entry) -> bool {
    match (old, new) {
        (Entry::Leaf(old), Entry::Leaf(new)) => {
            old.output == new.output && old.attributes.memory == new.attributes.memory
        }
        (Entry::Table(old), Entry::Table(new)) => old == new,
        _ => false,
    }
}

impl Mmu for Sim {
    fn features(&self) -> &Features {
        &self.features
    }

    fn read(&self, slot: Hpa) -> u64 {
        self.memory.word(slot)
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        let mut state = self.state.lock().unwrap();
        if let Some(table) = state.tables.get(&slot.page_base()).copied() {
            let decode = |raw| self.codec().decode(raw, table.level);
            let (old, new) = (decode(self.memory.word(slot)), decode(descriptor));
            state.stored(slot, old, new, table, self.cpus, order);
            if old != new {
                self.count(&mut state, new, table.level, true);
                self.count(&mut state, old, table.level, false);
            }
        }
        self.memory.set_word(slot, descriptor);
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        let mut state = self.state.lock().unwrap();
        let vmid = state.effective_vmid(CPU.get());
        state.tlbs.tlbi(CPU.get(), vmid, op, scope);
        state.tlbis.push(op);
    }

    fn dsb(&self, kind: Dsb) {
        let mut state = self.state.lock().unwrap();
        state.tlbs.dsb(CPU.get(), kind);
        if matches!(kind, Dsb::Ish | Dsb::Ishst) {
            state.unpublished.clear();
        }
    }

    fn isb(&self) {
        let mut state = self.state.lock().unwrap();
        if let Some((written, effective)) = state.vttbr.get_mut(&CPU.get()) {
            *effective = *written;
        }
    }

    fn vttbr(&self) -> u64 {
        self.state.lock().unwrap().vttbr.get(&CPU.get()).map_or(0, |(written, _)| *written)
    }

    fn set_vttbr(&self, vttbr: u64) {
        self.state.lock().unwrap().vttbr.entry(CPU.get()).or_default().0 = vttbr;
    }

    fn root_made(&self, vttbr: u64, geometry: Geometry) {
        self.watch(vttbr, geometry);
    }
}

impl Bench for Sim {
    fn broken(&self, violation: &Violation) {
        self.state.lock().unwrap().violations.push(violation.to_string());
    }
}

impl Machine for Sim {
    fn zero(&self, frame: Hpa, pages: u64) {
        for number in 0..pages {
            self.handed_over(frame.add(number << 12));
        }
        self.memory.zero(frame, (pages << 12) as usize);
    }

    fn given_back(&self, frame: Hpa, pages: u64) {
        for number in 0..pages {
            self.handed_over(frame.add(number << 12));
        }
    }

    fn read_memory(&self, from: Hpa, into: &mut [u8]) {
        self.memory.read(from, into);
    }

    fn write_memory(&self, to: Hpa, from: &[u8]) {
        self.memory.write(to, from);
    }

    fn clean_caches(&self, _from: Hpa, _len: u64, _invalidate: bool) {}

    fn sync_instructions(&self) {}

    fn now_ns(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.now += 1;
        state.now
    }

    fn console_write(&self, bytes: &[u8]) {
        self.state.lock().unwrap().console.extend_from_slice(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let mut state = self.state.lock().unwrap();
        let count = into.len().min(state.input.len());
        into[..count].copy_from_slice(&state.input[..count]);
        state.input.drain(..count);
        count
    }

    fn relax(&self) {}

    fn cpu(&self) -> usize {
        CPU.get()
    }
}

impl Sim {
    /// Returns the permissions that every CPU sees at `ipa`, or `None` where they may disagree.
    pub fn agreed(&self, vttbr: u64, geometry: Geometry, ipa: Ipa) -> Option<Option<(Hpa, Perms)>> {
        let mut all = HashSet::new();
        for cpu in 0..self.cpus {
            all.extend(self.access(cpu, vttbr, geometry, ipa));
        }
        match all.into_iter().collect::<Vec<_>>().as_slice() {
            [Seen::Nothing] => Some(None),
            [Seen::Page(frame, perms)] => Some(Some((*frame, *perms))),
            _ => None,
        }
    }
}
