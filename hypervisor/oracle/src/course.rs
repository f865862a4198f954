//! The course of things: operations, guests that run and stop, locks (R17, R18, R26 to R28, R39 to R41, R48, R50 to R52).

use vmsa::{Hpa, Ipa, IpaRange, Perms};

use crate::cpu::{Exit, Lock, MOST_CPUS, Ran, bit};
use crate::descriptor::Entry;
use crate::event::Work;
use crate::fact::{Cause, Fact};
use crate::facts::Pool;
use crate::invalidate::agreed;
use crate::note::{Notes, OutOfRoom, State};
use crate::operation::Operation;
use crate::rule::Rule;
use crate::store::Write;
use crate::tree::root_of;
use crate::violation::{Finding, Place};
use crate::{Oracle, event::Order, syndrome};

impl<N: Notes, P: Pool> Oracle<N, P> {
    pub(crate) fn begin(&mut self, cpu: usize, work: Work, vm: u32, range: IpaRange, perms: Option<Perms>) {
        if let (Work::Fault, Some(ipa)) =
            (work, self.cpus[cpu].exit.and_then(|exit| syndrome::ipa(exit.esr, exit.hpfar)))
            && !(range.start <= ipa && ipa < range.end)
        {
            self.findings.add(Finding::new(Rule::FaultAddress).about(Hpa(ipa.0)));
        }
        self.cpus[cpu].early = None;
        self.cpus[cpu].operation = Some(Operation::new(work, vm, range, perms, self.now));
    }

    /// An operation says that it is done: nothing of what it took is left, and all that it made is there.
    pub(crate) fn end(&mut self, cpu: usize, status: u64, read: &impl Fn(Hpa) -> u64) {
        self.judge_groups(cpu, read);
        let Some(operation) = self.cpus[cpu].operation.take() else { return };
        let Some(tree) = self.trees.of_vm(operation.vm) else { return };
        self.judge_neighbours(tree, &operation, read);
        if status != 0 {
            return self.judge_refusal(cpu, tree, &operation, read);
        }
        self.judge_marks(&operation, read);
        self.judge_left(cpu, tree, &operation);
        self.judge_result(tree, &operation, read);
        self.judge_published(cpu);
    }

    /// What TLBs may hold of the range (R13, R20, R23, R33a, R50, R52).
    fn judge_left(&mut self, cpu: usize, tree: u8, operation: &Operation) {
        // What another CPU took since this one let the tree go is that one's business.
        let (began, let_go) = (operation.began, self.cpus[cpu].released);
        let is_its = |fact: &Fact| usize::from(fact.writer) == cpu || let_go < began || fact.when < let_go;
        let range = operation.range;
        let is_in = |fact: &Fact| fact.tree == tree && !fact.range.intersection(range).is_empty() && is_its(fact);
        if operation.work == Work::Age {
            let aged = |fact: &&mut Fact| is_in(fact) && !fact.is_told && fact.cause == Cause::Aged;
            if let Some(fact) = self.facts.iter_mut().find(aged) {
                self.findings.add(Finding::new(Rule::Aged).of(*fact).warned());
            }
        }
        // An access flag may be cleared lazily: only where nothing may be left is what it leaves owed.
        let matters = |fact: &Fact| is_in(fact) && (fact.cause != Cause::Aged || operation.work == Work::Unmap);
        if operation.was_left {
            self.tell_of(Rule::Continuation, None, |fact| matters(fact) && usize::from(fact.writer) == cpu);
        }
        self.tell_of(Rule::EmptyIsNotDone, None, |fact| {
            matters(fact) && operation.work == Work::Unmap && usize::from(fact.writer) != cpu
        });
        let relied = match operation.work {
            Work::Protect => Rule::Tightened,
            Work::Harvest => Rule::Harvest,
            _ => Rule::Contract,
        };
        self.tell_of(relied, None, matters);
    }

    /// No block that was marked with nT keeps it: it would never be cached (R5a).
    fn judge_marks(&mut self, operation: &Operation, read: &impl Fn(Hpa) -> u64) {
        let is_left = |place: &&Place| match Entry::of(read(place.slot), place.level) {
            Entry::Leaf(leaf) => leaf.has_nt() && self.notes.get(place.slot.page_base()).state == State::Linked,
            _ => false,
        };
        if let Some(&place) = operation.marked.iter().flatten().find(is_left) {
            self.findings.add(Finding::new(Rule::SizeChangeNt).with_detail("nT is left in the block").at(place));
        }
    }

    /// What the tables say of the range (R50).
    fn judge_result(&mut self, tree: u8, operation: &Operation, read: &impl Fn(Hpa) -> u64) {
        let control = self.trees.get(tree).map(|tree| tree.control).unwrap_or_default();
        let left = match (operation.work, operation.perms) {
            (Work::Unmap, _) => self.leaf_in(tree, operation.range, read, |_| true),
            (Work::Protect, Some(perms)) => {
                let is_more = |granted: Perms| {
                    let rest = granted - perms;
                    rest.intersects(Perms::READ | Perms::WRITE)
                        || rest.intersects(Perms::EXECUTE) && !perms.intersects(Perms::EXECUTE)
                };
                self.leaf_in(tree, operation.range, read, |leaf| is_more(leaf.most_perms(control)))
            }
            _ => None,
        };
        if let Some(place) = left {
            let detail = "the tables still say what the operation should have taken";
            self.findings.add(Finding::new(Rule::Contract).with_detail(detail).at(place));
        }
    }

    /// What is outside the range (R51).
    fn judge_neighbours(&mut self, tree: u8, operation: &Operation, read: &impl Fn(Hpa) -> u64) {
        let range = operation.range;
        for (number, touched) in operation.touched().enumerate() {
            // What was there first counts.
            let is_older = |ipa: Ipa| operation.touched().take(number).any(|older| older.holds(ipa));
            let before = IpaRange { start: touched.range.start, end: touched.range.end.min(range.start) };
            let after = IpaRange { start: touched.range.start.max(range.end), end: touched.range.end };
            for part in [before, after] {
                let mut ipa = part.start;
                while ipa < part.end {
                    let Some((entry, place)) = self.walk(tree, ipa, read) else { break };
                    if !is_older(ipa) && !touched.is_kept(ipa, entry) {
                        self.findings.add(Finding::new(Rule::Neighbours).at(place));
                        break;
                    }
                    ipa = place.ipa.add(place.level.entry_span());
                }
            }
        }
    }

    /// A fault that ends in an error although the tables allow the access (R39).
    fn judge_refusal(&mut self, cpu: usize, tree: u8, operation: &Operation, read: &impl Fn(Hpa) -> u64) {
        let wanted = self.cpus[cpu].exit.map_or(Perms::READ, |exit| syndrome::access(exit.esr));
        if operation.work != Work::Fault || !syndrome::is_retried(self.cpus[cpu].exit.map_or(0, |exit| exit.esr)) {
            return;
        }
        let control = self.trees.get(tree).map(|tree| tree.control).unwrap_or_default();
        if let Some((entry @ Entry::Leaf(leaf), place)) = self.walk(tree, operation.range.start, read)
            && entry.is_cached(control)
            && leaf.most_perms(control).contains(wanted)
        {
            self.findings.add(Finding::new(Rule::SpuriousFault).at(place));
        }
    }

    /// New entries are visible to walks before anything relies on them (R28).
    fn judge_published(&mut self, cpu: usize) {
        if let Some(place) = self.cpus[cpu].unpublished.take() {
            self.findings.add(Finding::new(Rule::Publication).at(place));
        }
    }

    pub(crate) fn eret(&mut self, cpu: usize, vm: u32, vcpu: u32, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        self.synchronize(cpu, read)?;
        self.judge_published(cpu);
        self.judge_groups(cpu, read);
        self.judge_hcr(cpu, vm, vcpu);
        self.judge_tree(cpu, vm);
        self.judge_context(cpu);
        self.judge_vcpu(cpu, vm, vcpu);
        let this = &mut self.cpus[cpu];
        this.exit = None;
        if let Some(operation) = &mut this.operation {
            operation.was_left = true;
        }
        Ok(())
    }

    pub(crate) fn exc(
        &mut self,
        cpu: usize,
        esr: u64,
        hpfar: u64,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), OutOfRoom> {
        self.synchronize(cpu, read)?;
        self.cpus[cpu].has_no_walks = false;
        self.cpus[cpu].early = None;
        self.cpus[cpu].exit = Some(Exit { esr, hpfar });
        Ok(())
    }

    /// The guest is confined (R48).
    fn judge_hcr(&mut self, cpu: usize, vm: u32, vcpu: u32) {
        const VM: u64 = 1;
        const SWIO: u64 = 1 << 1;
        const FB: u64 = 1 << 9;
        const RW: u64 = 1 << 31;
        let Some(hcr) = self.cpus[cpu].hcr.effective else { return };
        let missing = [(VM, "VM is clear"), (SWIO, "SWIO is clear"), (RW, "RW is clear")];
        for (_, detail) in missing.into_iter().filter(|(bit, _)| hcr & bit == 0) {
            self.findings.add(Finding::new(Rule::HypervisorControl).with_detail(detail));
        }
        let here = (*self.cpus[cpu].ran(vm)).filter(|ran| ran.vcpu == vcpu);
        let moved =
            |there: Ran| there.vm == vm && there.vcpu == vcpu && here.is_some_and(|here| here.when < there.when);
        let used = self.cpus.iter().enumerate().filter(|(cpu, _)| self.used & bit(*cpu) != 0);
        if hcr & FB == 0 && used.flat_map(|(_, other)| &other.ran).flatten().any(|there| moved(*there)) {
            let detail = "FB is clear, and the vCPU comes back to a CPU that has its old entries";
            self.findings.add(Finding::new(Rule::HypervisorControl).with_detail(detail));
        }
    }

    /// VTTBR_EL2 holds the VM's tree (R27b).
    fn judge_tree(&mut self, cpu: usize, vm: u32) {
        let Some(vttbr) = self.cpus[cpu].vttbr.effective else { return };
        let (bound, loaded) = (self.trees.of_vm(vm), self.trees.at(root_of(vttbr)));
        match (bound, loaded.and_then(|loaded| self.trees.get_mut(loaded))) {
            (None, Some(tree)) if tree.vm.is_none() => tree.vm = Some(vm),
            _ if bound == loaded => {}
            _ => self
                .findings
                .add(Finding::new(Rule::WrongVmid).with_detail("it names another tree").about(root_of(vttbr))),
        }
    }

    /// TLBs hold nothing of the VMID that is not this tree's, and as it is controlled now (R26, R27).
    fn judge_context(&mut self, cpu: usize) {
        let its = |context: &&crate::tree::Context| context.loaded & bit(cpu) != 0;
        let Some(&context) = self.trees.contexts().find(its) else { return };
        let Some(&tree) = self.trees.get(context.tree) else { return };
        let place = self.place(context.tree, Ipa(0), tree.start(), tree.root);
        let vmid = context.vmid;
        if vmid == 0 {
            let detail = "VMID 0 stands for no guest, by custom";
            self.findings.add(Finding::new(Rule::VmidWidth).with_detail(detail).at(place).warned());
        }
        self.tell_of(Rule::VmidReuse, None, |fact| fact.vmid == vmid && (fact.is_dormant || fact.tree != context.tree));
        let is_live = |tree: u8| self.trees.get(tree).is_some_and(|tree| tree.live != 0);
        let others = |other: &&crate::tree::Context| other.vmid == vmid && other.tree != context.tree;
        let is_rival = |other: &crate::tree::Context| {
            other.loaded != 0 || other.holders != 0 && (is_live(other.tree) || other.is_spoiled)
        };
        let is_spoiled = context.is_spoiled || self.trees.is_spoiled(vmid);
        if self.trees.contexts().filter(others).any(is_rival) || is_spoiled {
            self.findings.add(Finding::new(Rule::VmidReuse).at(place));
            let is_common = self.cpus[cpu].vttbr.effective.is_some_and(|vttbr| vttbr & 1 != 0);
            if is_common {
                self.findings.add(Finding::new(Rule::CommonNotPrivate).at(place));
            }
        }
        let control = self.cpus[cpu].settled();
        let is_alone = agreed(&self.cpus, context.loaded).is_some();
        if !is_alone || context.holders != 0 && control.is_some_and(|control| control != context.control) {
            self.findings.add(Finding::new(Rule::Control).at(place));
        }
    }

    /// The CPU's TLB holds nothing of another vCPU of the VM: their address space identifiers are their own (R27e).
    fn judge_vcpu(&mut self, cpu: usize, vm: u32, vcpu: u32) {
        let when = self.now;
        self.used |= bit(cpu);
        let ran = self.cpus[cpu].ran(vm);
        let is_other = ran.is_some_and(|ran| ran.vm == vm && ran.vcpu != vcpu);
        *ran = Some(Ran { vm, vcpu, when });
        if is_other {
            self.findings.add(Finding::new(Rule::VcpuSwitch));
        }
    }

    pub(crate) fn lock(&mut self, cpu: usize, id: u64, root: Option<Hpa>) {
        if let Some(tree) = root.and_then(|root| self.trees.at(root)).and_then(|tree| self.trees.get_mut(tree)) {
            tree.lock = Some(id);
        }
        let Some(lock) = self.lock_of(id) else {
            // It is not told apart from others: it orders this CPU after all of them.
            self.cpus[cpu].seen = [self.now; MOST_CPUS];
            return;
        };
        (lock.holder, lock.root) = (Some(cpu), root.or(lock.root));
        let before = lock.seen;
        for (seen, before) in self.cpus[cpu].seen.iter_mut().zip(before) {
            *seen = before.max(*seen);
        }
    }

    pub(crate) fn unlock(&mut self, cpu: usize, id: u64) {
        self.cpus[cpu].released = self.now;
        self.cpus[cpu].seen[cpu] = self.now;
        let seen = self.cpus[cpu].seen;
        if let Some(lock) = self.lock_of(id) {
            (lock.seen, lock.holder) = (seen, None);
        }
    }

    /// Returns the lock of a number, or `None` where there are too many.
    fn lock_of(&mut self, id: u64) -> Option<&mut Lock> {
        let known = self.locks.iter().position(|lock| lock.is_some_and(|lock| lock.id == id));
        let index = known.or_else(|| self.locks.iter().position(Option::is_none))?;
        Some(self.locks[index].get_or_insert(Lock { id, root: None, holder: None, seen: [0; MOST_CPUS] }))
    }

    /// Writes of one tree follow each other (R41), by its lock, or by any that is handed from CPU to CPU.
    pub(crate) fn judge_order(&mut self, write: &Write) {
        let Some(&tree) = self.trees.get(write.tree) else { return };
        let named = |lock: &&Lock| Some(lock.id) == tree.lock || lock.root == Some(tree.root);
        let guard = self.locks.iter().flatten().find(named);
        let seen = &self.cpus[write.cpu].seen;
        let is_ordered = match (guard, tree.written) {
            (Some(lock), _) => lock.holder == Some(write.cpu),
            (None, Some((writer, when))) => writer == write.cpu || seen[writer] >= when,
            (None, None) => true,
        };
        if !is_ordered && write.order != Order::Atomic {
            self.findings.add(Finding::new(Rule::Serial).at(write.place));
        }
        if let Some(tree) = self.trees.get_mut(write.tree) {
            tree.written = Some((write.cpu, self.now));
        }
    }

    /// The walk has set flags of a leaf (R53): it may, and nothing else.
    pub(crate) fn hardware_update(
        &mut self,
        slot: Hpa,
        old: u64,
        new: u64,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), OutOfRoom> {
        let note = self.notes.get(slot.page_base());
        let control = self.trees.get(note.tree).map(|tree| tree.control).unwrap_or_default();
        let is_legal = read(slot) == old && crate::descriptor::is_hardware_update(old, new, control);
        if note.state == State::Linked && !is_legal {
            let detail = "the walk cannot have made this change";
            self.findings.add(Finding::new(Rule::SelfCheck).with_detail(detail).about(slot));
        }
        Ok(())
    }
}
