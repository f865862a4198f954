//! The judge: events in, findings out.

use vmsa::{Hpa, Ipa, Level};

use crate::cpu::{Cpu, Cpus, Lock, MOST_CPUS};
use crate::event::{Event, Machine};
use crate::fact::Fact;
use crate::facts::{Facts, Pool};
use crate::groups::Groups;
use crate::history::History;
use crate::note::{Notes, OutOfRoom};
use crate::rule::Rule;
use crate::tree::Trees;
use crate::violation::{Finding, Findings, Place};

/// How many locks are told apart; those that come after are taken to order everything.
pub(crate) const MOST_LOCKS: usize = 64;

/// The judge of one machine.
pub struct Oracle<N, P> {
    pub(crate) machine: Machine,
    pub(crate) notes: N,
    pub(crate) facts: Facts<P>,
    pub(crate) trees: Trees,
    pub(crate) cpus: [Cpu; MOST_CPUS],
    /// The CPUs on which vCPUs ran.
    pub(crate) used: Cpus,
    pub(crate) locks: [Option<Lock>; MOST_LOCKS],
    pub(crate) groups: Groups,
    /// How many events there were: the time.
    pub(crate) now: u64,
    /// Instruction caches were last invalidated everywhere then.
    pub(crate) fetched: u64,
    /// HCR_EL2.FWB, as it was last put in effect anywhere.
    pub(crate) forces_write_back: bool,
    pub(crate) findings: Findings,
    pub(crate) history: History,
}

impl<N: Notes, P: Pool> Oracle<N, P> {
    /// Returns the judge of a machine, which keeps what it knows of frames in `notes`, and what TLBs may hold in `facts`.
    pub fn new(machine: &Machine, notes: N, facts: P) -> Self {
        Self {
            machine: *machine,
            notes,
            facts: Facts::new(facts),
            trees: Trees::new(),
            cpus: [Cpu::NEW; MOST_CPUS],
            used: 0,
            locks: [None; MOST_LOCKS],
            groups: Groups::default(),
            now: 0,
            fetched: 0,
            forces_write_back: machine.forced_write_back,
            findings: Findings::default(),
            history: History::new(),
        }
    }

    /// Judges what a CPU does; tells whether a rule is broken, and [`Self::findings`] which. `read` reads a word of a table as it
    /// is before the event. What the oracle knows afterwards is as if the event had been allowed.
    pub fn observe(&mut self, cpu: usize, event: &Event, read: impl Fn(Hpa) -> u64) -> bool {
        self.findings.clear();
        self.now += 1;
        self.history.add(cpu, event);
        if cpu >= MOST_CPUS {
            self.findings
                .add(Finding::new(Rule::SelfCheck).with_detail("there are more CPUs than the oracle can tell apart"));
        } else if let Err(OutOfRoom) = self.judge(cpu, event, &read)
            && !planted::is(110)
        {
            self.findings.add(Finding::new(Rule::SelfCheck).with_detail("the oracle has no room to remember more"));
        }
        !self.findings.is_empty()
    }

    /// Judges what is left when nothing more happens.
    pub fn finish(&mut self, read: impl Fn(Hpa) -> u64) -> bool {
        self.findings.clear();
        (0..MOST_CPUS).for_each(|cpu| self.judge_groups(cpu, &read));
        !self.findings.is_empty()
    }

    /// Returns what the last event has brought to light.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Returns how many events were judged.
    pub const fn events(&self) -> u64 {
        self.now
    }

    fn judge(&mut self, cpu: usize, event: &Event, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        match *event {
            Event::Vm { vm, vttbr, bbm } => self.bind(vm, vttbr, bbm, read)?,
            Event::Msr(register, value) => self.set_register(cpu, register, value),
            Event::Isb => self.synchronize(cpu, read)?,
            Event::Store { slot, new, order, old } => self.store(cpu, slot, new, order, old, read)?,
            Event::Dsb { domain, accesses, is_nxs } => self.dsb(cpu, domain, accesses, is_nxs),
            Event::Dmb { domain, accesses } => self.dmb(cpu, domain, accesses),
            Event::Tlbi(op, operand) => self.tlbi(cpu, op, operand, read)?,
            Event::HardwareUpdate { slot, old, new } => self.hardware_update(slot, old, new, read)?,
            Event::Dc { op, start, len } => self.maintain(cpu, op, start, len)?,
            Event::Ic { is_broadcast } => self.invalidate_fetches(cpu, is_broadcast),
            Event::Alloc(frames, kind) => self.alloc(frames, kind)?,
            Event::Zero(frames) => self.zero(cpu, frames)?,
            Event::Owner { frames, vm, is_shared } => self.own(frames, vm, is_shared)?,
            Event::Free(frames) => self.free(frames, read)?,
            Event::Lock { id, root } => self.lock(cpu, id, root),
            Event::Unlock { id } => self.unlock(cpu, id),
            Event::Begin { work, vm, range, perms } => self.begin(cpu, work, vm, range, perms),
            Event::End { status } => self.end(cpu, status, read),
            Event::Eret { vm, vcpu } => self.eret(cpu, vm, vcpu, read)?,
            Event::Exc { esr, hpfar, .. } => self.exc(cpu, esr, hpfar, read)?,
        }
        Ok(())
    }

    /// Returns the place of an entry of a tree, under the first VMID that it is held under.
    pub(crate) fn place(&self, tree: u8, ipa: Ipa, level: Level, slot: Hpa) -> Place {
        let vmid = self.trees.of_tree(tree).next().map_or(0, |context| context.vmid);
        Place { vmid, ipa, level, slot }
    }

    /// Tells of each fact that is `left` where it must not be, once: the step that is missing, and the rule that relied on it.
    /// What nobody can use does not matter yet: its VMID is no tree's.
    pub(crate) fn tell_of(&mut self, relied: Rule, frame: Option<Hpa>, left: impl Fn(&Fact) -> bool) {
        let trees = &self.trees;
        let matters = |fact: &Fact| !fact.is_told && left(fact) && trees.is_usable(fact.vmid, fact.tree);
        for fact in self.facts.iter_mut().filter(|fact| matters(fact)) {
            fact.is_told = true;
            let finding = Finding { frame, ..Finding::new(fact.missing()) };
            self.findings.add(finding.of(*fact));
            self.findings.add(Finding { rule: relied, ..finding }.of(*fact));
        }
    }
}
