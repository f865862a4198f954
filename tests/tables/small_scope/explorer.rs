//! Runs a pair of operations over and over, with another choice of accesses each time.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::ops::AddAssign;

use stage2::Mmu;
use tests::{Seen, Sim};
use vmsa::{Codec, Dirty, DirtyLevel, Entry, Features, Geometry, Hpa, Ipa, IpaRange, Level, Perms};

use super::operation::Operation;
use super::{Scope, memory};
use crate::flat::Flat;
use crate::world::{Announced, Heard, World, access, entry_at, is_permitted, members_at, touch, words};

/// How much was explored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pairs: usize,
    states: usize,
    transitions: usize,
    runs: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.states += other.states;
        self.transitions += other.transitions;
        self.runs += other.runs;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, states, transitions, runs } = self;
        write!(f, "{pairs} pairs, {states} states, {transitions} transitions, {runs} runs")
    }
}

/// An access, and how it goes.
#[derive(Clone, Copy, Debug)]
struct Access {
    cpu: usize,
    ipa: Ipa,
    perms: Perms,
    way: usize,
}

/// Which accesses are made before which events, in order.
type Script = Vec<(u32, Access)>;

/// What is known of a pair so far.
#[derive(Default)]
struct Found {
    states: HashSet<u64>,
    /// States to go on from, and how they are reached.
    open: VecDeque<(u64, Script)>,
    transitions: usize,
}

pub(super) fn explore(features: Features, scope: &Scope, layout: &[(IpaRange, Perms)], pair: [&Operation; 2]) -> Count {
    let found = RefCell::new(Found::default());
    let mut count = Count { pairs: 1, ..Count::default() };
    let mut script = Some(Script::new());
    while let Some(next) = script {
        let faults = run(features, scope, layout, pair, next.clone(), &found);
        assert!(faults.is_empty(), "{features:?}, {layout:?}, {pair:?}, {next:?}:\n{}", faults.join("\n"));
        count.runs += 1;
        let mut found = found.borrow_mut();
        let Found { states, open, .. } = &mut *found;
        script = std::iter::from_fn(|| open.pop_front()).find(|(key, _)| !states.contains(key)).map(|next| next.1);
    }
    let found = found.into_inner();
    Count { states: found.states.len(), transitions: found.transitions, ..count }
}

/// Runs both operations, with the accesses of the script; from its end on, looks for others.
fn run(
    features: Features,
    scope: &Scope,
    layout: &[(IpaRange, Perms)],
    pair: [&Operation; 2],
    script: Script,
    found: &RefCell<Found>,
) -> Vec<String> {
    let sim = Sim::new(features, 2 << 20);
    let geometry = Geometry::starting_at(32, Level::L2, &features).expect("a shape that there is");
    let mut world = World::new(&sim, geometry);
    layout.iter().for_each(|(range, perms)| world.map(*range, memory(*perms)));
    let onlooker = Onlooker::new(&world, scope, script, found);
    for (cpu, operation) in pair.into_iter().enumerate() {
        onlooker.begin(&world, operation);
        Sim::run_on(cpu);
        let told = operation.carry_out(&mut world, &Announced { sim: &sim, hear: |heard| onlooker.hear(heard) });
        Sim::run_on(0);
        if onlooker.is_known.get() {
            return [onlooker.faults.into_inner(), sim.violations()].concat();
        }
        world.flat = onlooker.end(operation, &told);
        let errors = scope.pages.iter().flat_map(|ipa| world.errors_at(*ipa));
        onlooker.faults.borrow_mut().extend(errors);
        onlooker.faults.borrow_mut().extend(world.faults_in_tables());
    }
    sim.check_groups();
    let faults = scope.pages.iter().flat_map(|ipa| world.faults_at(*ipa)).collect::<Vec<_>>();
    [onlooker.faults.into_inner(), faults, sim.violations()].concat()
}

/// Returns a hash of what a hash is of, and of a word.
const fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_add(1)
}

/// Hears of every event, and makes accesses before it.
struct Onlooker<'o> {
    sim: &'o Sim,
    vttbr: u64,
    shape: (Hpa, Geometry),
    pages: &'o [Ipa],
    used: &'o [Ipa],
    found: &'o RefCell<Found>,
    script: RefCell<Script>,
    /// How many of the script's accesses have been made.
    made: Cell<usize>,
    point: Cell<u32>,
    /// A hash of all that was read since the operation began, and of what it found.
    history: Cell<u64>,
    /// The state was seen before, and its successors with it.
    is_known: Cell<bool>,
    /// The entries that the pages' walks ended in when the operation began.
    slots: RefCell<Vec<Hpa>>,
    flats: RefCell<(Flat, Flat)>,
    /// Pages that were dirty since this was last told: a bit for each.
    stored: Cell<u32>,
    /// Those of them that were when the operation began.
    stored_before: Cell<u32>,
    faults: RefCell<Vec<String>>,
}

impl<'o> Onlooker<'o> {
    fn new(world: &World<'o>, scope: &'o Scope, script: Script, found: &'o RefCell<Found>) -> Self {
        Self {
            sim: world.sim,
            vttbr: world.tree.vttbr(),
            shape: (world.tree.root(), world.tree.geometry()),
            pages: &scope.pages,
            used: &scope.used,
            found,
            script: RefCell::new(script),
            made: Cell::default(),
            point: Cell::default(),
            history: Cell::default(),
            is_known: Cell::default(),
            slots: RefCell::default(),
            flats: RefCell::new((world.flat.clone(), world.flat.clone())),
            stored: Cell::default(),
            stored_before: Cell::default(),
            faults: RefCell::default(),
        }
    }

    fn begin(&self, world: &World<'_>, operation: &Operation) {
        self.history.set(self.hash_of_tables(world));
        self.look_for_stores();
        self.stored_before.set(self.stored.get());
        *self.slots.borrow_mut() = self.walked_slots();
        *self.flats.borrow_mut() = (world.flat.clone(), operation.expect(&world.flat));
    }

    /// Returns a hash of all that the tables say, and of what CPUs may find, which what was done before is forgotten for.
    fn hash_of_tables(&self, world: &World<'_>) -> u64 {
        let mut hash = 0;
        for (table, (_, live)) in world.reachable() {
            hash = mix(hash, u64::from(live));
            let said = words(self.sim, table).enumerate().filter(|(_, raw)| *raw != 0);
            hash = said.fold(hash, |hash, (index, raw)| mix(mix(hash, index as u64), self.relative(raw)));
        }
        for ipa in self.pages {
            for cpu in 0..self.sim.cpus() {
                hash = self.access(cpu, *ipa).map(hash_of).fold(hash, |hash, seen| hash.wrapping_add(seen));
            }
            hash = mix(hash, ipa.0);
        }
        hash
    }

    /// Returns a descriptor as it would be if RAM began at 0: each run has another RAM.
    fn relative(&self, raw: u64) -> u64 {
        let ram = self.sim.memory().range();
        let address = raw & 0x0000_ffff_ffff_f000;
        if (ram.start.0..ram.end.0).contains(&address) { raw - ram.start.0 } else { raw }
    }

    /// Compares what the operation told of with what was stored to; returns the flat map that is right now. A harvest may leave
    /// a page dirty that was stored to meanwhile.
    fn end(&self, operation: &Operation, told: &[IpaRange]) -> Flat {
        let range = operation.range();
        let must = if operation.forgets() { self.stored.get() } else { self.stored_before.get() };
        for (number, ipa) in self.pages.iter().enumerate().filter(|(_, ipa)| range.covers(IpaRange::page(**ipa))) {
            let is_told = told.iter().any(|told| told.covers(IpaRange::page(*ipa)));
            if operation.tells() && must & 1 << number != 0 && !is_told {
                self.faults.borrow_mut().push(format!("{ipa} was stored to, and {operation:?} does not tell"));
            }
            if is_told || operation.forgets() {
                self.stored.set(self.stored.get() & !(1 << number));
            }
        }
        self.faults.borrow_mut().extend(self.lost_stores());
        self.look_for_stores();
        self.flats.borrow().1.clone()
    }

    /// Returns the pages that were stored to, of which neither anybody was told nor the tables tell.
    fn lost_stores(&self) -> Vec<String> {
        let stored = self.pages.iter().enumerate().filter(|(number, _)| self.stored.get() & 1 << number != 0);
        let is_lost = |ipa: &Ipa| members_at(self.sim, self.shape, *ipa).iter().all(|a| a.dirty != Dirty::Dirty);
        stored.map(|(_, ipa)| *ipa).filter(is_lost).map(|ipa| format!("a store to {ipa} is lost")).collect()
    }

    fn hear(&self, heard: Heard) {
        match heard {
            _ if self.is_known.get() => {}
            Heard::Got(raw) => self.history.set(mix(self.history.get(), self.relative(raw))),
            // What no access can change, or be changed by, may as well come a moment later.
            Heard::Hidden => {}
            Heard::Read(slot) | Heard::Change(slot) if !self.walked_slots().contains(&slot) => {}
            Heard::Read(_) | Heard::Change(_) | Heard::Next => self.before_event(),
        }
    }

    fn before_event(&self) {
        self.point.set(self.point.get() + 1);
        self.look_for_stores();
        while let Some((point, access)) = self.script.borrow().get(self.made.get()).copied()
            && point == self.point.get()
        {
            self.made.set(self.made.get() + 1);
            self.make(access);
            self.look_for_stores();
        }
        if self.made.get() == self.script.borrow().len() {
            self.visit();
        }
    }

    /// Looks at a state, if it is new: what each CPU may find, and which accesses lead to other states.
    fn visit(&self) {
        let mut slots = [self.walked_slots(), self.slots.borrow().clone()].concat();
        slots.dedup();
        let key = self.key(&slots);
        if !self.found.borrow_mut().states.insert(key) {
            return self.is_known.set(true);
        }
        self.check();
        let mut successors = self.successors(&slots);
        let mut found = self.found.borrow_mut();
        found.transitions += 1 + successors.len();
        successors.retain(|(key, _)| !found.states.contains(key));
        for (key, access) in successors {
            let mut script = self.script.borrow().clone();
            script.push((self.point.get(), access));
            found.open.push_back((key, script));
        }
    }

    /// Returns a hash of the state; `slots` are the entries that accesses may change.
    fn key(&self, slots: &[Hpa]) -> u64 {
        let words = slots.iter().map(|slot| self.relative(self.sim.memory().word(*slot)));
        let so_far = mix(mix(self.history.get(), u64::from(self.point.get())), u64::from(self.stored.get()));
        words.fold(so_far, mix)
    }

    fn walked_slots(&self) -> Vec<Hpa> {
        self.pages.iter().map(|ipa| entry_at(self.sim, self.shape, *ipa).0).collect()
    }

    /// A page that is dirty may have been stored to this moment.
    fn look_for_stores(&self) {
        for (number, ipa) in self.pages.iter().enumerate() {
            if let (_, _, Entry::Leaf(leaf)) = entry_at(self.sim, self.shape, *ipa)
                && leaf.attributes.dirty == Dirty::Dirty
            {
                self.stored.set(self.stored.get() | 1 << number);
            }
        }
    }

    fn access(&self, cpu: usize, ipa: Ipa) -> impl Iterator<Item = Seen> {
        access(self.sim, cpu, self.vttbr, self.shape.1, ipa).into_iter()
    }

    fn make(&self, Access { cpu, ipa, perms, way }: Access) -> usize {
        let mut ways = 0;
        let _ = touch(self.sim, cpu, (self.vttbr, self.shape.1), (ipa, perms), |count| {
            ways = count;
            way.min(count - 1)
        });
        ways
    }

    fn check(&self) {
        let flats = self.flats.borrow();
        for ipa in self.pages {
            for cpu in 0..self.sim.cpus() {
                let wrong =
                    self.access(cpu, *ipa).find(|seen| !is_permitted(self.sim, (&flats.0, &flats.1), *ipa, *seen));
                if let Some(seen) = wrong {
                    let point = self.point.get();
                    self.faults.borrow_mut().push(format!("{ipa}: CPU {cpu} may see {seen:?} before event {point}"));
                }
            }
        }
    }

    /// Returns the accesses that change something, each with the state that it leads to. Everything is put back.
    fn successors(&self, slots: &[Hpa]) -> Vec<(u64, Access)> {
        let mut successors = vec![];
        if self.sim.features().dirty == DirtyLevel::None {
            return successors;
        }
        let here = self.key(slots);
        for ipa in self.used.iter().copied() {
            for perms in self.changing(ipa) {
                // The walk of the tables as they are, the first of the ways, is the same on each CPU.
                for (cpu, first) in [(0, 0), (1, 1)] {
                    let (mut way, mut ways) = (first, first + 1);
                    while way < ways {
                        let access = Access { cpu, ipa, perms, way };
                        let (key, count) = self.successor(slots, access);
                        if key != here && successors.iter().all(|(known, _)| *known != key) {
                            successors.push((key, access));
                        }
                        (way, ways) = (way + 1, count);
                    }
                }
            }
        }
        successors
    }

    /// Makes an access and takes it back; returns the state that it leads to, and how many ways there are.
    fn successor(&self, slots: &[Hpa], access: Access) -> (u64, usize) {
        let memory = self.sim.memory();
        let (words, stored): (Vec<u64>, u32) =
            (slots.iter().map(|slot| memory.word(*slot)).collect(), self.stored.get());
        let ways = self.make(access);
        self.look_for_stores();
        let key = self.key(slots);
        slots.iter().zip(words).for_each(|(slot, raw)| memory.set_word(*slot, raw));
        self.stored.set(stored);
        (key, ways)
    }

    /// Returns the accesses to a page that may set a flag: in the entry that it leads to, or that it led to before.
    fn changing(&self, ipa: Ipa) -> Vec<Perms> {
        let number = self.pages.iter().position(|page| *page == ipa);
        let before = number.and_then(|number| self.slots.borrow().get(number).copied());
        let (slot, level, _) = entry_at(self.sim, self.shape, ipa);
        let codec = Codec::of(self.sim.features());
        let leaves = [Some(slot), before].into_iter().flatten().filter_map(|slot| {
            match codec.decode(self.sim.memory().word(slot), level) {
                Entry::Leaf(leaf) => Some(leaf.attributes),
                _ => None,
            }
        });
        let leaves: Vec<_> = leaves.collect();
        let is_idle = leaves.iter().any(|attributes| !attributes.accessed);
        let is_clean = leaves.iter().any(|attributes| attributes.dirty == Dirty::Clean);
        let may_change = [(Perms::READ, is_idle), (Perms::WRITE, is_idle || is_clean)];
        may_change.into_iter().filter(|(_, may)| *may).map(|(perms, _)| perms).collect()
    }
}

fn hash_of(seen: Seen) -> u64 {
    match seen {
        Seen::Nothing => 1,
        Seen::Page(frame, perms) => mix(frame.0, u64::from(perms.bits())),
        Seen::Unnoted(frame, perms) => mix(frame.0, 1 << 8 | u64::from(perms.bits())),
        Seen::Foreign(frame) => mix(frame.0, 1 << 9),
        Seen::Conflict => 2,
        Seen::Anything => 3,
    }
}
