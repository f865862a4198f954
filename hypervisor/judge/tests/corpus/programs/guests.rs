//! What guests do, and what CPUs do for them.

use super::cells::Cells;
use super::plan::Turn;
use super::player::Player;
use super::spoil::Mark;
use crate::scene::{ACCESSED, DIRTY_MANAGED, VALID, WRITE};

impl Player {
    /// The guest touches a page: the walk or the hypervisor sets its flag, or it is not there.
    pub(super) fn touch(&mut self, turn: &Turn, number: u64) {
        let vm = self.vms[turn.vm].vm;
        let word = self.vms[turn.vm].word(number);
        self.s.resume(vm);
        if word & (VALID | ACCESSED) == VALID {
            self.set_flag(turn, number);
        } else if word & (VALID | DIRTY_MANAGED | WRITE) == VALID | DIRTY_MANAGED {
            self.set_dirty(turn, number);
        } else if word & VALID == 0 {
            self.s.abort(vm.id, turn.cpu as u32, 0x07, Cells::ipa(number));
            self.s.begin("fault", vm.id, Cells::ipa(number), 1).lock(vm.lock()).unlock(vm.lock()).end(1);
        } else {
            self.s.stop(vm);
        }
    }

    pub(super) fn set_flag(&mut self, turn: &Turn, number: u64) {
        let vm = self.vms[turn.vm].vm;
        let word = self.vms[turn.vm].word(number) | ACCESSED;
        let slot = self.slot(vm, Cells::ipa(number), 3);
        self.vms[turn.vm].words[number as usize] = word;
        if self.machine().hafdbs > 0 {
            self.s.hwupd(slot, word).stop(vm);
            return;
        }
        self.s.abort(vm.id, turn.cpu as u32, 0x0b, Cells::ipa(number));
        self.s.begin("fault", vm.id, Cells::ipa(number), 1).lock(vm.lock()).w(slot, word);
        self.publish(false);
        self.s.close(vm);
    }

    pub(super) fn run(&mut self, turn: &Turn) {
        let vm = self.vms[turn.vm].vm;
        self.s.resume(vm).stop(vm);
    }

    /// Every CPU leaves its VM; all is invalidated; the VMIDs change places; every CPU comes back.
    pub(super) fn roll_over(&mut self) {
        let (cpus, nobody) = (self.machine().cpus, self.nobody);
        for cpu in 0..cpus {
            self.s.on(cpu).lock(0x99).switch(nobody).unlock(0x99);
        }
        self.s.on(0).lock(0x99).dsb("ish").tlbi("alle1is");
        let matters = (0..2).any(|vm| self.loaded.contains(&vm) && self.used[1 - vm] && self.has_tables(1 - vm));
        self.mark(matters.then_some(Mark::RollOver));
        self.used = [0, 1].map(|vm| self.loaded.contains(&vm));
        self.s.dsb("ish").isb().unlock(0x99);
        let vmids = [self.vms[1].vm.vmid, self.vms[0].vm.vmid];
        for (cells, vmid) in self.vms.iter_mut().zip(vmids) {
            cells.vm = cells.vm.renumbered(vmid);
            self.s.bind(cells.vm);
        }
        for cpu in 0..cpus {
            let vm = self.vms[self.loaded[cpu]].vm;
            self.s.on(cpu).lock(0x99).switch(vm).unlock(0x99).resume(vm).stop(vm);
        }
    }

    /// The guest writes to a page that walks keep the dirty state of.
    fn set_dirty(&mut self, turn: &Turn, number: u64) {
        let vm = self.vms[turn.vm].vm;
        let word = self.vms[turn.vm].word(number) | WRITE;
        let slot = self.slot(vm, Cells::ipa(number), 3);
        self.vms[turn.vm].words[number as usize] = word;
        self.s.hwupd(slot, word).stop(vm);
    }
}
