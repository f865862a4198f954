//! Which VM is loaded on which CPU, and the VMIDs that trees have meanwhile.
//!
//! A tree keeps its VMID until there are no more. Then all trees lose theirs but those of the VMs that are loaded, every TLB is
//! emptied, and VMIDs are given anew: a VM whose tree has none gets one when it is loaded.

use stage2::Vmids;
use vmsa::Vmid;

use crate::Machine;
use crate::locks::lock;
use crate::system::{System, VmId};
use crate::told::{Lock, Told};

/// How many CPUs there can be, by number from 0.
pub(crate) const MAX_CPUS: usize = 8;

/// What [`System::loads`] guards. Trees get and lose VMIDs under that lock only.
pub(crate) struct Loads {
    vmids: Vmids,
    /// By CPU the VMs that its VTTBR_EL2 may name, as bits: while it goes from one to another, both.
    loaded: [u64; MAX_CPUS],
}

impl Loads {
    /// Returns the state of a machine that runs no VM, and drops what its TLBs hold from before.
    pub(crate) fn new(machine: &impl Machine) -> Self {
        let mut vmids = Vmids::new(machine.features());
        vmids.roll_over(machine, []);
        Self { vmids, loaded: [0; MAX_CPUS] }
    }

    fn is_loaded(&self, id: VmId) -> bool {
        self.loaded.iter().any(|vms| vms & 1 << id.index() != 0)
    }
}

impl<M: Machine> System<M> {
    /// Takes note that the CPU, counted from 0, is about to load the VM, and returns what VTTBR_EL2 is to hold. That does not
    /// change until the VM is [unloaded](System::unload), which is done once VTTBR_EL2 names another.
    pub fn load(&self, id: VmId, cpu: usize) -> u64 {
        let mut loads = self.lock_loads();
        let vttbr = self.with_vmid(&mut loads, id);
        loads.loaded[cpu] |= 1 << id.index();
        vttbr
    }

    /// Takes note that VTTBR_EL2 of the CPU does not name the VM any more.
    pub fn unload(&self, id: VmId, cpu: usize) {
        self.lock_loads().loaded[cpu] &= !(1 << id.index());
    }

    /// Returns what VTTBR_EL2 would hold if the VM were loaded now. Once it is that stays true; before, it may change.
    pub fn vttbr(&self, id: VmId) -> u64 {
        self.with_vmid(&mut self.lock_loads(), id)
    }

    /// Takes the VMID of a VM that will not run for long: what becomes of its tables then costs no invalidation. It gets another
    /// when it is loaded next. One that is loaded keeps its VMID.
    pub fn put_aside(&self, id: VmId) {
        let loads = self.lock_loads();
        if !loads.is_loaded(id) {
            self.tree(id).set_vmid(&self.machine, None);
        }
    }

    fn lock_loads(&self) -> Told<'_, M, Loads> {
        Told::new(&self.machine, Lock::Vmids, lock(&self.loads))
    }

    /// Gives the VM's tree a VMID if it has none; returns what puts it in use.
    fn with_vmid(&self, loads: &mut Loads, id: VmId) -> u64 {
        let has_one = self.tree(id).vmid().is_some();
        let new = (!has_one).then(|| self.take_vmid(loads));
        let mut tree = self.tree(id);
        if new.is_some() {
            tree.set_vmid(&self.machine, new);
        }
        tree.vttbr()
    }

    fn take_vmid(&self, loads: &mut Loads) -> Vmid {
        loads.vmids.take().unwrap_or_else(|| {
            self.roll_over(loads);
            let Some(vmid) = loads.vmids.take() else { unreachable!("more VMs are loaded than there are VMIDs") };
            vmid
        })
    }

    /// Takes all VMIDs but those of loaded VMs from their trees, one tree after the other, and makes them free.
    fn roll_over(&self, loads: &mut Loads) {
        let vms = || VmId::all().filter(|id| self.has_vm(*id));
        for id in vms().filter(|id| !loads.is_loaded(*id)) {
            self.tree(id).set_vmid(&self.machine, None);
        }
        let kept = vms().filter_map(|id| self.tree(id).vmid());
        loads.vmids.roll_over(&self.machine, kept);
    }
}
