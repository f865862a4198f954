//! Invalidations and barriers: how facts go.

use vmsa::{Hpa, Ipa, IpaRange, PAGE_SIZE};

use crate::Oracle;
use crate::cpu::{Early, Flush, MOST_CPUS, bit};
use crate::descriptor::Entry;
use crate::event::{Accesses, Domain, Target, TlbiOp};
use crate::fact::{Fact, Visible, Wasted};
use crate::facts::Pool;
use crate::note::{Notes, OutOfRoom, State};
use crate::operand::{Named, named};
use crate::rule::Rule;
use crate::tree::Control;
use crate::violation::Finding;

/// HCR_EL2.E2H and TGE: EL2 is a host, and stage-1 invalidations are its own.
const HOST: u64 = 1 << 34 | 1 << 27;

impl<N: Notes, P: Pool> Oracle<N, P> {
    pub(crate) fn tlbi(
        &mut self,
        cpu: usize,
        op: TlbiOp,
        operand: Option<u64>,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), OutOfRoom> {
        self.judge_instruction(op);
        let wasted = |rule| Wasted { rule, op, operand, cpu: cpu as u8, when: self.now };
        let hcr = self.cpus[cpu].hcr.effective.unwrap_or(0);
        let is_host = hcr & HOST == HOST && op.target == Target::Stage1;
        match op.target {
            Target::El2 => self.waste(cpu, wasted(Rule::El2Regime)),
            Target::Stage1Some => {}
            _ if is_host => self.waste(cpu, wasted(Rule::HostRegime)),
            Target::Ipa | Target::Range => self.by_ipa(cpu, op, operand.unwrap_or(0), read)?,
            Target::Stage1 | Target::Vmid | Target::All => self.by_vmid(cpu, op),
        }
        Ok(())
    }

    /// The CPU has the instruction at all.
    fn judge_instruction(&mut self, op: TlbiOp) {
        let machine = &self.machine;
        let missing = match op {
            TlbiOp { target: Target::Range, .. } if !machine.tlbi_range => Some((Rule::RangeOperand, "FEAT_TLBIRANGE")),
            TlbiOp { domain: Domain::Outer, .. } if !machine.tlbi_outer => Some((Rule::RangeOperand, "FEAT_TLBIOS")),
            TlbiOp { is_nxs: true, .. } if !machine.xs => Some((Rule::Nxs, "FEAT_XS")),
            _ => None,
        };
        if let Some((rule, feature)) = missing {
            self.findings.add(Finding::new(rule).with_detail(feature));
        }
    }

    /// Keeps why an invalidation did nothing for facts that this CPU has made.
    fn waste(&mut self, cpu: usize, wasted: Wasted) {
        self.facts.iter_mut().filter(|fact| usize::from(fact.writer) == cpu).for_each(|fact| fact.waste(wasted));
    }

    fn by_vmid(&mut self, cpu: usize, op: TlbiOp) {
        let (vmid, now) = (self.cpus[cpu].vmid(), self.now);
        let is_all = op.target == Target::All;
        let wasted = |rule| Wasted { rule, op, operand: None, cpu: cpu as u8, when: now };
        let mut names_any = false;
        for fact in self.facts.iter_mut() {
            if is_all || vmid == Some(fact.vmid) {
                names_any = true;
                fact.hear(cpu, op, None, now);
            } else if usize::from(fact.writer) == cpu {
                fact.waste(wasted(Rule::WrongVmid));
            }
        }
        let range = IpaRange { start: Ipa(0), end: Ipa(u64::MAX) };
        let vmid_named = if is_all { None } else { vmid };
        let early = Early { vmid: vmid_named, range, wasted: wasted(Rule::StoreFirst) };
        self.cpus[cpu].early = Some(early).filter(|_| !names_any);
        if (is_all || vmid.is_some()) && !op.is_nxs {
            let is_stage1 = op.target == Target::Stage1;
            let vmid = if is_all { None } else { vmid };
            self.cpus[cpu].flush(Flush { vmid, domain: op.domain, is_stage1 });
        }
    }

    fn by_ipa(&mut self, cpu: usize, op: TlbiOp, operand: u64, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let meant = named(op.target, operand, &self.machine);
        if !meant.is_clean {
            let detail = "reserved bits of the operand are set";
            self.findings.add(Finding::new(Rule::LevelHint).with_detail(detail));
        }
        let (vmid, now) = (self.cpus[cpu].vmid(), self.now);
        let wasted = |rule| Wasted { rule, op, operand: Some(operand), cpu: cpu as u8, when: now };
        let names = |fact: &Fact| vmid == Some(fact.vmid) && fact.named_by(meant).is_some();
        let early = Early { vmid, range: meant.range, wasted: wasted(Rule::StoreFirst) };
        self.cpus[cpu].early = Some(early).filter(|_| !self.facts.iter().any(names));
        let is_way = |fact: &&Fact| fact.is_table() && fact.stage2.on != 0 && names(fact);
        let way = self.facts.iter().find(is_way).map(|fact| fact.range);
        self.waste_rest(cpu, meant, vmid, way, wasted);
        let notes = &self.notes;
        let comes_back = |fact: &Fact| {
            op.leaf_only && way.is_some_and(|way| way.covers(fact.range)) && is_still_there(fact, notes, read)
        };
        let part = |fact: &Fact| fact.named_by(meant);
        self.facts.split(part, |fact, is_named| match is_named {
            _ if vmid != Some(fact.vmid) => fact.waste(wasted(Rule::WrongVmid)),
            true if comes_back(fact) => fact.waste(wasted(Rule::LeafForm)),
            true => match miss(fact, op, meant) {
                Some(rule) => fact.waste(wasted(rule)),
                None => fact.hear(cpu, op, Some(operand), now),
            },
            false if fact.is_contiguous() => fact.waste(wasted(Rule::GroupInvalidation)),
            false if op.target == Target::Range => fact.waste(wasted(Rule::RangeOperand)),
            false => {}
        })
    }

    /// Keeps why facts that an invalidation by IPA does not name are left, as far as it seems to have been meant for them: a
    /// range for all that this CPU took, one for a table for the leaves `below` it.
    fn waste_rest(
        &mut self,
        cpu: usize,
        meant: Named,
        vmid: Option<u16>,
        below: Option<IpaRange>,
        wasted: impl Fn(Rule) -> Wasted,
    ) {
        let is_range = meant.range.len() > PAGE_SIZE;
        let its = |fact: &&mut Fact| vmid == Some(fact.vmid) && usize::from(fact.writer) == cpu;
        for fact in self.facts.iter_mut().filter(its).filter(|fact| fact.named_by(meant).is_none()) {
            match below {
                _ if is_range => fact.waste(wasted(Rule::RangeOperand)),
                Some(range) if range.covers(fact.range) => fact.waste(wasted(Rule::LeafForm)),
                _ => {}
            }
        }
    }

    pub(crate) fn dmb(&mut self, cpu: usize, domain: Domain, accesses: Accesses) {
        if accesses.has_stores() && self.reaches_walks(domain) {
            self.cpus[cpu].ordered = self.now;
        }
    }

    /// Tells whether a barrier of the domain is one for the walks of every CPU.
    fn reaches_walks(&self, domain: Domain) -> bool {
        domain >= Domain::Inner || self.machine.cpus == 1
    }

    pub(crate) fn dsb(&mut self, cpu: usize, domain: Domain, accesses: Accesses, is_nxs: bool) {
        self.dmb(cpu, domain, accesses);
        self.cpus[cpu].has_no_walks |= accesses != Accesses::Stores;
        if accesses.has_stores() {
            self.publish(cpu, domain);
        }
        if accesses == Accesses::Full {
            self.facts.retain(|fact| fact.after_dsb(cpu, domain, is_nxs));
            self.complete(cpu, domain, is_nxs);
        }
    }

    /// The CPU's stores, and those of others that it has seen, come to the walks.
    fn publish(&mut self, cpu: usize, domain: Domain) {
        let is_for_all = self.reaches_walks(domain);
        if is_for_all {
            self.cpus[cpu].unpublished = None;
        }
        let seen = self.cpus[cpu].seen;
        for fact in self.facts.iter_mut().filter(|fact| fact.visible != Visible::Everywhere) {
            let writer = usize::from(fact.writer);
            match () {
                () if is_for_all && (writer == cpu || seen[writer] >= fact.when) => fact.publish(),
                () if writer == cpu => fact.visible = Visible::Locally,
                () => {}
            }
        }
        self.facts.retain(|fact| fact.is_left());
    }

    /// What the CPU has issued for whole VMIDs is complete, and its instruction invalidation.
    fn complete(&mut self, cpu: usize, domain: Domain, is_nxs: bool) {
        if self.reaches_walks(domain)
            && let Some(when) = self.cpus[cpu].fetches.take()
        {
            self.fetched = when;
        }
        if is_nxs {
            return;
        }
        let mut flushes = self.cpus[cpu].completed(domain);
        flushes.iter_mut().filter_map(Option::take).for_each(|flush| self.flushed(cpu, flush));
    }

    /// TLBs hold of the VMID only what they may have filled in since.
    fn flushed(&mut self, cpu: usize, flush: Flush) {
        let targets = if flush.domain == Domain::Local { bit(cpu) } else { u16::MAX };
        (0..MOST_CPUS).filter(|of| targets & bit(*of) != 0).for_each(|of| self.forget_vcpus(of, flush.vmid));
        if flush.is_stage1 {
            return;
        }
        if flush.domain != Domain::Local {
            self.trees.unspoil(flush.vmid);
        }
        let (trees, cpus) = (&mut self.trees, &self.cpus);
        let is_live = |tree: u8, trees: &crate::tree::Trees| trees.get(tree).is_some_and(|tree| tree.live != 0);
        let live: u64 =
            (0..crate::tree::MOST_TREES).filter(|tree| is_live(*tree as u8, trees)).map(|tree| 1 << tree).sum();
        for context in trees.contexts_mut().filter(|context| flush.vmid.is_none_or(|vmid| vmid == context.vmid)) {
            let refilled = if live & 1 << context.tree != 0 { context.loaded & targets } else { 0 };
            context.holders = context.holders & !targets | refilled;
            context.is_spoiled &= context.holders & !refilled != 0;
            // Whoever has it loaded has filled its TLB as its registers say now.
            if context.holders & !refilled == 0
                && let Some(control) = agreed(cpus, context.loaded)
            {
                context.control = control;
            }
        }
    }

    /// What the vCPUs that ran on a CPU have left in its TLB is gone.
    fn forget_vcpus(&mut self, cpu: usize, vmid: Option<u16>) {
        let trees = &self.trees;
        let is_its = |vm: u32| {
            let its = |context: &crate::tree::Context| trees.get(context.tree).is_some_and(|tree| tree.vm == Some(vm));
            trees.contexts().any(|context| vmid.is_none_or(|vmid| vmid == context.vmid) && its(context))
        };
        for ran in &mut self.cpus[cpu].ran {
            if ran.is_some_and(|ran| is_its(ran.vm)) {
                *ran = None;
            }
        }
    }
}

/// Returns how translation is controlled on the CPUs, if that is the same on all of them and none is changing it.
pub(crate) fn agreed(cpus: &[crate::cpu::Cpu], on: u16) -> Option<Control> {
    let mut its = cpus.iter().enumerate().filter(|(cpu, _)| on & bit(*cpu) != 0).map(|(_, cpu)| cpu);
    let first = its.next()?.settled()?;
    its.all(|cpu| cpu.settled() == Some(first)).then_some(first)
}

/// Tells whether the leaf is still in a table that was unlinked: walks that come to it by a way that is left fetch it again.
fn is_still_there(fact: &Fact, notes: &impl Notes, read: &impl Fn(Hpa) -> u64) -> bool {
    let mut slots = (0..fact.range.len() / fact.level.entry_span()).map(|index| fact.slot.add(8 * index));
    notes.get(fact.slot.page_base()).state == State::Table
        && slots.any(|slot| Entry::of(read(slot), fact.level).is_valid())
}

/// Returns the rule by which an invalidation that names the addresses of a fact is not for it, if one is.
fn miss(fact: &Fact, op: TlbiOp, meant: Named) -> Option<Rule> {
    match meant.level {
        _ if !meant.is_of_granule && op.target == Target::Range => Some(Rule::RangeOperand),
        _ if !meant.is_of_granule => Some(Rule::LevelHint),
        _ if op.leaf_only && fact.is_table() => Some(Rule::LeafForm),
        // The hint is the level of a leaf: where a table was taken out there is none to be had.
        Some(level) if level != fact.level || fact.is_table() => Some(Rule::LevelHint),
        _ => None,
    }
}
