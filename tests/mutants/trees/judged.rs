//! A tree on a simulated machine with the oracle on it, and guests that use their pages in the midst of operations.

use std::cell::Cell;

use checked::Checked;
use oracle::{Event, Work};
use stage2::{Mmu, Stage2};
use tests::{CheckedTables, Seen, Sim, put_in_use};
use vm::{Lock, Machine, Status, Taken, VmId};
use vmsa::{Geometry, Ipa, IpaRange, Perms, Vmid};

use super::player::carry_out;
use super::program::{Step, Turn};
use super::raced::Raced;

/// The VM whose tree it is, and the one that the last of three CPUs has.
const OWN: u32 = VmId::FIRST.number();
const OTHER: u32 = OWN + 1;

pub(super) struct Judged<'c> {
    checked: &'c Checked<Sim>,
    raced: Raced<'c>,
    tree: Stage2,
    tables: CheckedTables<'c>,
}

impl<'c> Judged<'c> {
    /// Returns an empty tree, which all CPUs have in use but the last of three.
    pub(super) fn new(checked: &'c Checked<Sim>, geometry: Geometry) -> Self {
        let root = checked.inner().memory().range().start;
        let [tree, other] = [(OWN, 1), (OTHER, 7)].map(|(vm, vmid)| {
            let root = root.add(u64::from(vm - OWN) * geometry.root_bytes());
            checked.told_taken(root, geometry.root_tables() as u64, Taken::Table);
            checked.zero(root, geometry.root_tables() as u64);
            let mut tree = Stage2::new(geometry, checked.features(), root).numbered(vm);
            tree.set_vmid(checked, Some(Vmid(vmid)));
            tree
        });
        for cpu in (0..checked.inner().cpus()).rev() {
            Sim::run_on(cpu);
            put_in_use(checked, geometry, if cpu < 2 { tree.vttbr() } else { other.vttbr() });
            enter(checked, cpu);
        }
        let tables = CheckedTables::new(checked, root.add(2 * geometry.root_bytes()));
        Self { checked, raced: Raced::new(checked), tree, tables }
    }

    /// Takes a turn; returns what the oracle says of it, and of the CPUs' going on in their guests.
    pub(super) fn take(&mut self, (cpu, step, seed): &Turn) -> Vec<String> {
        if let Step::Access(cpu, ipa, perms) = step {
            self.access(*cpu, *ipa, *perms, *seed as usize);
        } else {
            self.use_meanwhile(step, *seed);
            Sim::run_on(*cpu);
            let Self { checked, raced, tree, tables } = self;
            under_lock(checked, tree.root(), || {
                checked.told(begin(step));
                let _ = carry_out((tree, tables), step, raced);
                checked.told_ended(Status::OK);
            });
            self.checked.inner().no_more_events();
        }
        for cpu in 0..3 {
            Sim::run_on(cpu);
            enter(self.checked, cpu);
        }
        Sim::run_on(0);
        [self.checked.inner().verdicts(), self.checked.inner().warnings()].concat()
    }

    /// Has a guest use a page at an end of what the operation changes, at every event.
    fn use_meanwhile(&self, step: &Step, seed: u64) {
        let ranges = step.ranges();
        let (vttbr, geometry) = (self.tree.vttbr(), self.tree.geometry());
        let count = Cell::new(seed as usize);
        self.checked.inner().on_event(move |sim, _| {
            let number = count.get();
            count.set(number.wrapping_add(1));
            let range = ranges[number / 2 % ranges.len()];
            let ipa = if number.is_multiple_of(2) { range.start } else { Ipa(range.end.0 - 4096) };
            sim.touch(number % 2, vttbr, geometry, ipa, Perms::WRITE, |ways| number / 2 % ways);
        });
    }

    fn access(&mut self, cpu: usize, ipa: Ipa, perms: Perms, seed: usize) {
        let (vttbr, geometry) = (self.tree.vttbr(), self.tree.geometry());
        let seen = self.checked.inner().touch(cpu, vttbr, geometry, ipa, perms, |ways| seed % ways);
        if !matches!(seen, Seen::Page(_, allowed) if allowed.contains(perms)) {
            Sim::run_on(cpu);
            let Self { checked, tree, .. } = self;
            under_lock(checked, tree.root(), || {
                let _ = tree.touch(*checked, ipa, perms);
                tree.refresh(*checked, ipa);
            });
        }
    }
}

/// Does work on a tree as who has its lock.
fn under_lock(checked: &Checked<Sim>, root: vmsa::Hpa, work: impl FnOnce()) {
    checked.told_locked(Lock::Tree(VmId::FIRST, root));
    work();
    checked.told_unlocked(Lock::Tree(VmId::FIRST, root));
}

/// Has this CPU go on in its guest.
fn enter(checked: &Checked<Sim>, cpu: usize) {
    checked.told(Event::Eret { vm: if cpu < 2 { OWN } else { OTHER }, vcpu: cpu as u32 });
}

/// Returns what a step says that it does. One to several ranges is told as one that takes frames back from all between them.
fn begin(step: &Step) -> Event {
    let ranges = step.ranges();
    let range = ranges.iter().copied().reduce(IpaRange::hull).expect("a step has a range");
    let (work, perms) = match step {
        Step::Map(..) | Step::Put(..) | Step::Access(..) => (Work::Map, None),
        Step::Unmap(_) | Step::UnmapAndTell(_) if ranges.len() > 1 => (Work::Decommit, None),
        Step::Unmap(_) | Step::UnmapAndTell(_) => (Work::Unmap, None),
        Step::Protect(_, perms) | Step::Own(_, _, perms) => (Work::Protect, Some(*perms)),
        Step::Share(_) => (Work::Protect, None),
        Step::Age(_) => (Work::Age, None),
        Step::Harvest(_) => (Work::Harvest, None),
    };
    Event::Begin { work, vm: OWN, range, perms }
}
