//! More trees than VMIDs: those that are in use keep theirs, and what the others leave in TLBs is nobody's.

use std::collections::HashSet;

use stage2::{Mmu, Run, Stage2, Tables, Vmids};
use tests::{Fault, Faulty, Seen, Sim, SimTables};
use vmsa::{Attributes, Features, Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Vmid};

use crate::bench::{FRAMES, READ_WRITE};

const TREES: u64 = 300;
const CPUS: usize = 2;
const PAGE: Ipa = Ipa(0x8000_0000);

/// Two CPUs, and more trees than the smaller VMIDs can tell apart. Each has a page of its own, at the same address.
struct Host<'s> {
    sim: &'s Sim,
    vmids: Vmids,
    tables: SimTables<'s>,
    trees: Vec<Stage2>,
    /// What each CPU has in use.
    loaded: [Option<usize>; CPUS],
    /// How often each tree's page was replaced.
    versions: Vec<u64>,
}

impl<'s> Host<'s> {
    fn new(sim: &'s Sim) -> Self {
        let tables = SimTables::new(sim, sim.memory().range().start);
        let vmids = Vmids::new(sim.features());
        let mut host = Self { sim, vmids, tables, trees: Vec::new(), loaded: [None; CPUS], versions: Vec::new() };
        (0..TREES).for_each(|_| host.add());
        host
    }

    fn add(&mut self) {
        let number = self.trees.len();
        let geometry = Geometry::new(39, self.sim.features()).expect("a width that the machine has");
        let root = self.tables.allocate().expect("tables enough");
        self.trees.push(Stage2::new(geometry, self.sim.features(), root));
        self.versions.push(0);
        let run = Run { output: self.frame(number), len: PAGE_SIZE, attributes: Attributes::normal(READ_WRITE) };
        self.sim.own(run.output, number as u16);
        let range = IpaRange::page(PAGE);
        let _ = self.trees[number].map(self.sim, &mut self.tables, range, |_| Some(run)).expect("tables enough");
    }

    fn frame(&self, number: usize) -> Hpa {
        FRAMES.add((self.versions[number] * TREES + number as u64) * PAGE_SIZE)
    }

    /// Puts a tree in use on a CPU, `mmu` being what a rollover is done on.
    fn load(&mut self, cpu: usize, number: usize, mmu: &impl Mmu) {
        Sim::run_on(cpu);
        if self.trees[number].vmid().is_none() {
            let vmid = self.vmids.take().unwrap_or_else(|| self.roll_over(mmu));
            assert_ne!(vmid, Vmid(0));
            self.sim.own_vmid(vmid, number as u16);
            self.trees[number].set_vmid(self.sim, Some(vmid));
        }
        self.sim.set_vttbr_now(self.trees[number].vttbr());
        self.loaded[cpu] = Some(number);
        Sim::run_on(0);
    }

    fn roll_over(&mut self, mmu: &impl Mmu) -> Vmid {
        let generation = self.vmids.generation();
        let loaded = self.loaded;
        for (number, tree) in self.trees.iter_mut().enumerate() {
            if !loaded.contains(&Some(number)) {
                tree.set_vmid(self.sim, None);
            }
        }
        let kept: HashSet<Vmid> = loaded.into_iter().flatten().filter_map(|number| self.trees[number].vmid()).collect();
        self.vmids.roll_over(mmu, kept.iter().copied());
        assert_eq!(self.vmids.generation(), generation + 1);
        let vmid = self.vmids.take().expect("a new generation has VMIDs");
        assert!(!kept.contains(&vmid), "{vmid:?} is in use");
        vmid
    }

    /// Returns what is wrong with what a CPU sees of the tree that it has in use.
    fn faults_on(&self, cpu: usize) -> Vec<String> {
        let number = self.loaded[cpu].expect("a tree is in use");
        let tree = &self.trees[number];
        let seen = self.sim.access(cpu, tree.vttbr(), tree.geometry(), PAGE);
        let expected = Seen::Page(self.frame(number), READ_WRITE);
        let mut faults = self.sim.violations();
        if seen != HashSet::from([expected]) {
            faults.push(format!("tree {number} on CPU {cpu}: expected {expected:?}, sees {seen:?}"));
        }
        faults
    }

    /// Puts another page in a tree's page's place, whether or not the tree has a VMID.
    fn replace_page(&mut self, number: usize) {
        self.versions[number] += 1;
        let frame = self.frame(number);
        self.sim.own(frame, number as u16);
        let page = (frame, Attributes::normal(READ_WRITE));
        let _ = self.trees[number].map_page(self.sim, &mut self.tables, PAGE, page).expect("tables enough");
    }

    /// Tells the VMIDs that no two trees have.
    fn assert_vmids_differ(&self) {
        let mut seen = HashSet::new();
        let mut vmids = self.trees.iter().filter_map(Stage2::vmid);
        assert!(vmids.all(|vmid| seen.insert(vmid)), "two trees have a VMID");
    }
}

fn machine(vmid16: bool) -> Sim {
    Sim::with_cpus(Features { pa_bits: 48, vmid16, ..Features::default() }, 8 << 20, CPUS)
}

/// Puts trees in use in turn, each now and then with another page, until what is wrong shows.
fn rounds(host: &mut Host<'_>, mmu: &impl Mmu, turns: usize) -> Vec<String> {
    for turn in 0..turns {
        // CPU 1 stays with a tree for a while, over rollovers of CPU 0's.
        if turn % 70 == 0 {
            host.load(1, turn * 7 % TREES as usize, mmu);
        }
        let number = turn % TREES as usize;
        host.load(0, number, mmu);
        let faults = [host.faults_on(0), host.faults_on(1)].concat();
        if !faults.is_empty() {
            return faults;
        }
        if turn % 3 == 0 {
            host.replace_page((number + 5) % TREES as usize);
        }
    }
    host.assert_vmids_differ();
    Vec::new()
}

#[test]
fn more_trees_than_vmids_never_see_each_others_pages() {
    let sim = machine(false);
    let mut host = Host::new(&sim);
    assert_eq!(rounds(&mut host, &sim, 1200), Vec::<String>::new());
    assert!(host.vmids.generation() >= 4, "{}", host.vmids.generation());
}

#[test]
fn vmids_of_16_bits_roll_over_too() {
    let sim = machine(true);
    let mut host = Host::new(&sim);
    host.load(0, 0, &sim);
    // Trees that came and went have had most of them.
    assert_eq!(std::iter::from_fn(|| host.vmids.take()).take(65_300).count(), 65_300);
    assert_eq!(rounds(&mut host, &sim, 700), Vec::<String>::new());
    assert_eq!(host.vmids.generation(), 2);
}

#[test]
fn a_generation_has_every_vmid_but_0_and_those_that_are_kept() {
    for (vmid16, last) in [(false, 255u16), (true, u16::MAX)] {
        let sim = machine(vmid16);
        let mut vmids = Vmids::new(sim.features());
        assert_eq!((vmids.generation(), vmids.take()), (0, None), "before the TLBs were emptied");
        for (generation, kept) in [(1, vec![]), (2, vec![1, 2]), (3, vec![5, 7, last]), (4, vec![last - 1])] {
            vmids.roll_over(&sim, kept.iter().copied().map(Vmid));
            let given: Vec<u16> = std::iter::from_fn(|| vmids.take()).map(|vmid| vmid.0).collect();
            let expected: Vec<u16> = (1..=last).filter(|number| !kept.contains(number)).collect();
            assert!(given == expected, "generation {generation}: {} VMIDs, {kept:?} kept", given.len());
            assert_eq!(vmids.generation(), generation);
        }
    }
}

#[test]
fn a_rollover_that_does_not_empty_every_tlb_shows() {
    for fault in [Fault::NoTlbi, Fault::LocalTlbi, Fault::WeakCompletion, Fault::LocalBarrier] {
        let sim = machine(false);
        let mut host = Host::new(&sim);
        let faults = rounds(&mut host, &Faulty::new(&sim, fault), 900);
        assert!(!faults.is_empty(), "{fault:?} does not show");
    }
}
