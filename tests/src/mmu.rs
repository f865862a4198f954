//! The machine as the tables' code sees it.

use stage2::{Mmu, Order};
use vmsa::{BbmLevel, Dsb, Features, Geometry, Hpa, Scope, Tlbi};

use crate::Sim;
use crate::store::How;

impl Sim {
    /// Puts a VM's tables in use on this CPU.
    pub fn set_vttbr_now(&self, vttbr: u64) {
        self.set_vttbr(vttbr);
        self.isb();
    }
}

/// HCR_EL2 as EL2 has it for a guest: VM, SWIO, RW, and FWB where there is that.
const HCR: u64 = 1 | 1 << 1 | 1 << 31;
const HCR_FWB: u64 = 1 << 46;

/// Puts a VM's tables in use on this CPU as EL2 does, with all the registers that shape them.
pub fn put_in_use(machine: &impl Mmu, geometry: Geometry, vttbr: u64) {
    // Walks that are under way for another VM end before its VMID is gone.
    machine.dsb(Dsb::Ish);
    machine.set_vtcr(geometry.vtcr(machine.features()));
    machine.set_vttbr(vttbr);
    machine.set_hcr(if machine.features().forced_write_back { HCR | HCR_FWB } else { HCR });
    machine.isb();
}

impl Mmu for Sim {
    fn features(&self) -> &Features {
        &self.features
    }

    fn read(&self, slot: Hpa) -> u64 {
        self.event();
        if !self.memory().holds(slot) {
            self.state().accuse_once("R30", "a table is looked for where there is no RAM");
            return 0;
        }
        self.memory().word(slot)
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        self.event();
        let how = if order == Order::Release { How::Release } else { How::Plain };
        let mut state = self.state();
        state.store(self.view(), Self::this_cpu(), slot, descriptor, how);
        self.memory().set_word(slot, descriptor);
    }

    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64> {
        self.event();
        let mut state = self.state();
        let now = self.memory().word(slot);
        if now != old {
            return Err(now);
        }
        state.store(self.view(), Self::this_cpu(), slot, new, How::Atomic);
        self.memory().set_word(slot, new);
        Ok(())
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        self.event();
        // One of EL2's own translation does nothing for a guest's.
        if planted::is(31) {
            return;
        }
        self.state().tlbi(&self.features, Self::this_cpu(), op, scope);
    }

    fn dsb(&self, kind: Dsb) {
        self.event();
        let kind = if planted::is(109) && kind == Dsb::Ish { Dsb::Ishst } else { kind };
        self.state().dsb(Self::this_cpu(), kind);
    }

    fn isb(&self) {
        self.event();
        self.state().isb(Self::this_cpu());
    }

    fn vttbr(&self) -> u64 {
        self.state().contexts.written(Self::this_cpu())
    }

    fn set_vttbr(&self, vttbr: u64) {
        self.event();
        let mut state = self.state();
        if vttbr >> 56 != 0 && !self.features.vmid16 {
            state.accuse("R27", &format!("VTTBR_EL2 {vttbr:#x} has a VMID of 16 bits, the machine has 8"));
        }
        state.contexts.write(Self::this_cpu(), vttbr);
    }

    /// The shape of a tree is told with its root.
    fn set_vtcr(&self, _vtcr: u64) {}

    fn set_hcr(&self, _hcr: u64) {}

    fn root_made(&self, _number: u32, vttbr: u64, geometry: Geometry, _bbm: BbmLevel) {
        self.state().announce(self.view(), vttbr, geometry);
    }
}
