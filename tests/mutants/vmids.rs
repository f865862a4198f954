//! More trees than VMIDs on two CPUs: those that are in use keep theirs, and nobody sees what is another's.

use std::collections::HashSet;

use checked::Checked;
use oracle::Event;
use stage2::{Mmu, Run as Pages, Stage2, Tables, Vmids};
use tests::{CheckedTables, Seen as Access, Sim, put_in_use};
use vmsa::{Attributes, Features, Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms, Vmid};

use crate::run::{Gate, Run, Seen};

const TREES: usize = 14;
const TURNS: usize = 60;
/// How many VMIDs of a generation trees have had that came and went.
const GONE: usize = 245;
const PAGE: Ipa = Ipa(0x8000_0000);
const OUTPUT: Hpa = Hpa(0x10_0000_0000);

struct Host<'c> {
    checked: &'c Checked<Sim>,
    vmids: Vmids,
    trees: Vec<Stage2>,
    loaded: [usize; 2],
}

/// Puts trees in use in turn, over several rollovers.
pub(crate) fn run(run: &mut Run) -> Result<(), Seen> {
    let checked = Sim::new(Features { pa_bits: 48, ..Features::default() }, 8 << 20).checked();
    let mut host = Host::new(&checked);
    for turn in 0..TURNS {
        // CPU 1 stays with a tree for a while, over rollovers of CPU 0's.
        if turn % 17 == 0 {
            host.load(1, turn * 7 % TREES);
        }
        host.load(0, turn % TREES);
        run.after(host.said(run.gate))?;
    }
    Ok(())
}

impl<'c> Host<'c> {
    fn new(checked: &'c Checked<Sim>) -> Self {
        let mut tables = CheckedTables::new(checked, checked.inner().memory().range().start);
        let mut vmids = Vmids::new(checked.features());
        vmids.roll_over(checked, []);
        (0..GONE).for_each(|_| _ = vmids.take());
        let trees = (0..TREES).map(|number| tree(checked, &mut tables, number)).collect();
        Self { checked, vmids, trees, loaded: [0; 2] }
    }

    fn load(&mut self, cpu: usize, number: usize) {
        Sim::run_on(cpu);
        if self.trees[number].vmid().is_none() {
            let vmid = self.vmids.take().unwrap_or_else(|| self.roll_over());
            self.checked.inner().own_vmid(vmid, number as u16);
            self.trees[number].set_vmid(self.checked, Some(vmid));
        }
        put_in_use(self.checked, self.trees[number].geometry(), self.trees[number].vttbr());
        self.checked.told(Event::Eret { vm: self.trees[number].number(), vcpu: cpu as u32 });
        self.loaded[cpu] = number;
        Sim::run_on(0);
    }

    fn roll_over(&mut self) -> Vmid {
        for (number, tree) in self.trees.iter_mut().enumerate() {
            if !self.loaded.contains(&number) {
                tree.set_vmid(self.checked, None);
            }
        }
        let kept: HashSet<Vmid> = self.loaded.iter().filter_map(|number| self.trees[*number].vmid()).collect();
        self.vmids.roll_over(self.checked, kept);
        let vmid = self.vmids.take().expect("a new generation has VMIDs");
        (0..GONE).for_each(|_| _ = self.vmids.take());
        vmid
    }

    fn said(&mut self, gate: Gate) -> Vec<String> {
        match gate {
            Gate::Oracle => self.checked.inner().verdicts(),
            Gate::Model => {
                let seen = (0..2).filter_map(|cpu| self.fault_on(cpu));
                seen.chain(crate::objections(self.checked.inner())).collect()
            }
        }
    }

    fn fault_on(&self, cpu: usize) -> Option<String> {
        let number = self.loaded[cpu];
        let tree = &self.trees[number];
        let seen = self.checked.inner().access(cpu, tree.vttbr(), tree.geometry(), PAGE);
        let expected = Access::Page(frame(number), Perms::READ);
        let is_right = seen == HashSet::from([expected]);
        (!is_right).then(|| format!("tree {number} on CPU {cpu}: expected {expected:?}, sees {seen:?}"))
    }
}

fn tree(checked: &Checked<Sim>, tables: &mut CheckedTables<'_>, number: usize) -> Stage2 {
    let geometry = Geometry::new(39, checked.features()).expect("a width that the machine has");
    let root = tables.allocate().expect("tables enough");
    let mut tree = Stage2::new(geometry, checked.features(), root).numbered(number as u32 + 1);
    let page = Pages { output: frame(number), len: PAGE_SIZE, attributes: Attributes::normal(Perms::READ) };
    checked.inner().own(page.output, number as u16);
    let _ = tree.map(checked, tables, IpaRange::page(PAGE), |_| Some(page)).expect("tables enough");
    tree
}

fn frame(number: usize) -> Hpa {
    OUTPUT.add(number as u64 * PAGE_SIZE)
}
