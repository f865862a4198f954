//! VTTBR_EL2, VTCR_EL2 and HCR_EL2: which tree a CPU uses, under which VMID, and how (R26, R27, R38, R45 to R48).

use vmsa::Hpa;

use crate::Oracle;
use crate::cpu::bit;
use crate::event::Register;
use crate::facts::Pool;
use crate::note::{Notes, OutOfRoom};
use crate::rule::Rule;
use crate::tree::{Control, Tree, root_of, vmid_of, vtcr_flaw, walks_are_coherent};
use crate::violation::Finding;

const HCR_VM: u64 = 1;
const HCR_FWB: u64 = 1 << 46;

impl<N: Notes, P: Pool> Oracle<N, P> {
    pub(crate) fn set_register(&mut self, cpu: usize, register: Register, value: u64) {
        match register {
            Register::VttbrEl2 => {
                self.judge_borrowing(cpu, value);
                self.cpus[cpu].vttbr.write(value);
            }
            Register::VtcrEl2 => self.cpus[cpu].vtcr.write(value),
            Register::HcrEl2 => self.cpus[cpu].hcr.write(value),
            Register::Other => {}
        }
    }

    /// Walks that are under way for the old VMID end before it is not there any more (R27c).
    fn judge_borrowing(&mut self, cpu: usize, value: u64) {
        let this = &self.cpus[cpu];
        let is_used = self.trees.contexts().any(|context| context.loaded & bit(cpu) != 0);
        if is_used && !this.has_no_walks && this.vttbr.effective != Some(value) {
            self.findings.add(Finding::new(Rule::Borrowed).about(root_of(value)));
        }
    }

    /// A context synchronization event: what was written to registers is in effect.
    pub(crate) fn synchronize(&mut self, cpu: usize, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let this = &mut self.cpus[cpu];
        let changed = [this.vttbr.synchronize(), this.vtcr.synchronize(), this.hcr.synchronize()];
        if changed == [false; 3] {
            return Ok(());
        }
        if let Some(hcr) = this.hcr.effective {
            self.forces_write_back = hcr & HCR_FWB != 0;
        }
        self.unload(cpu);
        let this = &self.cpus[cpu];
        let (Some(vtcr), Some(vttbr)) = (this.vtcr.effective, this.vttbr.effective.filter(|vttbr| *vttbr != 0)) else {
            return Ok(());
        };
        let control = Control::new(vtcr, this.hcr.effective.unwrap_or(self.supposed_hcr()));
        if !this.has_stage2() {
            return Ok(());
        }
        self.judge_control(control, vttbr);
        self.load(cpu, control, vttbr, read)
    }

    /// Returns what HCR_EL2 has for translations on a CPU that has not said: what others have, or what there is.
    const fn supposed_hcr(&self) -> u64 {
        if self.forces_write_back { HCR_VM | HCR_FWB } else { HCR_VM }
    }

    /// The CPU does not use the tree that it has used.
    fn unload(&mut self, cpu: usize) {
        self.trees.contexts_mut().for_each(|context| context.loaded &= !bit(cpu));
    }

    fn load(&mut self, cpu: usize, control: Control, vttbr: u64, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let tree = self.tree_at(root_of(vttbr), control)?;
        self.shape(cpu, tree, control, read)?;
        let is_live = self.trees.get(tree).is_some_and(|tree| tree.live != 0);
        let vmid = vmid_of(vttbr);
        self.trees.give_vmid(tree, vmid);
        let context = self.trees.context(vmid, tree, control).ok_or(OutOfRoom)?;
        context.loaded |= bit(cpu);
        if context.holders == 0 {
            (context.control, context.is_spoiled) = (control, false);
        }
        if is_live {
            context.holders |= bit(cpu);
        }
        self.cpus[cpu].has_no_walks = false;
        Ok(())
    }

    fn tree_at(&mut self, root: Hpa, control: Control) -> Result<u8, OutOfRoom> {
        let bbm = self.machine.bbm;
        let new = Tree {
            root,
            control,
            vmid: None,
            vm: None,
            bbm,
            live: 0,
            written: None,
            lock: None,
            is_adopted: false,
            is_gone: false,
        };
        self.trees.at(root).or_else(|| self.trees.make(new)).ok_or(OutOfRoom)
    }

    /// Takes a tree in as the registers shape it, when they first do.
    fn shape(&mut self, cpu: usize, tree: u8, control: Control, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let Some(its) = self.trees.get_mut(tree) else { return Ok(()) };
        its.control = control;
        if core::mem::replace(&mut its.is_adopted, true) {
            return Ok(());
        }
        self.adopt(cpu, tree, read)
    }

    /// Judges values that come into effect (R23, R27a, R38, R45, R47).
    fn judge_control(&mut self, control: Control, vttbr: u64) {
        let machine = &self.machine;
        let limit = control.output_bits().min(48);
        let found = [
            vtcr_flaw(control, machine).map(|detail| (Rule::Geometry, detail)),
            (control.sets_access_flag() && machine.hafdbs == 0).then_some((Rule::Harvest, "HA without FEAT_HAFDBS")),
            (control.vtcr & 1 << 22 != 0 && machine.hafdbs < 2)
                .then_some((Rule::Harvest, "HD on a CPU that does not keep dirty state")),
            (control.vtcr & (1 << 21 | 1 << 22) == 1 << 22).then_some((Rule::Harvest, "HD without HA")),
            (control.has_wide_vmids() && !machine.vmid16).then_some((Rule::VmidWidth, "VS without FEAT_VMID16")),
            (!control.has_wide_vmids() && vttbr >> 56 != 0).then_some((Rule::VmidWidth, "bits 63:56 without VS")),
            (!walks_are_coherent(control, machine.cpus)).then_some((Rule::WalkAttributes, "")),
            (vttbr & 0xffe != 0).then_some((Rule::RootAddress, "bits 11:1 are set")),
            (root_of(vttbr).0 >> limit != 0).then_some((Rule::RootAddress, "it is beyond VTCR_EL2.PS")),
        ];
        for (rule, detail) in found.into_iter().flatten() {
            self.findings.add(Finding::new(rule).with_detail(detail).about(root_of(vttbr)));
        }
    }

    /// A VM gets a tree and a VMID.
    pub(crate) fn bind(
        &mut self,
        vm: u32,
        vttbr: u64,
        bbm: Option<u8>,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), OutOfRoom> {
        let hcr = self.supposed_hcr();
        let vtcr = self.cpus.iter().find_map(|cpu| cpu.vtcr.written);
        let tree = self.tree_at(root_of(vttbr), Control::new(vtcr.unwrap_or(0), hcr))?;
        if let Some(before) = self.trees.of_vm(vm).and_then(|before| self.trees.get_mut(before)) {
            before.vm = None;
        }
        if let Some(its) = self.trees.get_mut(tree) {
            its.vm = Some(vm);
            its.vmid = None;
            its.bbm = bbm.map_or(its.bbm, |bbm| bbm.min(self.machine.bbm));
        }
        // A VMID of 0 is none: it was taken from the VM.
        if vmid_of(vttbr) != 0 {
            self.trees.give_vmid(tree, vmid_of(vttbr));
        }
        match vtcr {
            Some(vtcr) => self.shape_early(tree, Control::new(vtcr, hcr), read),
            None => Ok(()),
        }
    }

    fn shape_early(&mut self, tree: u8, control: Control, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        match self.trees.get(tree) {
            Some(its) if !its.is_adopted => self.shape(0, tree, control, read),
            _ => Ok(()),
        }
    }
}
