//! Operations on tables and blocks.

use super::cells::{BLOCK, Block};
use super::flush::{Flush, Form, Gone};
use super::plan::{CELLS, Pages, Turn};
use super::player::Player;
use crate::scene::{IPA, MIB, NO_CACHING, OUTPUT, PAGE, table};

impl Player {
    /// Unlinks the table of the pages with all that is in it.
    pub(super) fn drop_table(&mut self, turn: &Turn) {
        let all = Pages { first: 0, count: CELLS };
        let numbers = self.vms[turn.vm].mapped(all);
        if numbers.is_empty() {
            return;
        }
        let vm = self.open("unmap", turn, IPA, 512);
        let parent = self.slot(vm, IPA, 2);
        let child = self.s.read(parent) & OUTPUT;
        self.s.w(parent, 0);
        self.flush_vmid(turn, true);
        self.s.free(child, 1);
        for number in numbers {
            let pa = self.forget(turn, number);
            self.give_back(pa, 1, false);
        }
        self.s.close(vm);
    }

    pub(super) fn flush_vmid(&mut self, turn: &Turn, matters: bool) {
        let gone = Gone { ipa: IPA, level: 3, is_cached: matters };
        self.flush(Flush { form: Form::Vmid, ..turn.flush }, &[gone]);
    }

    pub(super) fn map_block(&mut self, turn: &Turn) {
        if self.vms[turn.vm].block != Block::Nothing {
            return;
        }
        let vm = self.open("map", turn, BLOCK, 512);
        let pa = self.frames(vm, 512);
        let slot = self.slot(vm, BLOCK, 2);
        self.data_barrier();
        let word = self.s.leaf(pa, 2);
        self.s.w(slot, word);
        self.publish(true);
        self.s.close(vm);
        self.vms[turn.vm].block = Block::Whole { word };
    }

    pub(super) fn split(&mut self, turn: &Turn) {
        let Block::Whole { word } = self.vms[turn.vm].block else { return };
        let vm = self.open("protect", turn, BLOCK, 512);
        let slot = self.slot(vm, BLOCK, 2);
        let child = self.s.raw_table();
        for number in 0..512 {
            self.s.w(child + 8 * number, (word | 0b10) + number * PAGE);
        }
        self.replace(turn, slot, word, table(child));
        self.s.close(vm);
        self.vms[turn.vm].block = Block::Split { word, child };
    }

    pub(super) fn replace(&mut self, turn: &Turn, slot: u64, block: u64, new: u64) {
        let bbm = self.machine().bbm;
        match bbm {
            0 => self.change(slot, 0),
            1 => self.change(slot, block | NO_CACHING),
            _ => self.change_after_all(slot, new),
        }
        self.flush_vmid(turn, bbm < 2);
        if bbm < 2 {
            self.change_after_all(slot, new);
            self.publish(true);
        }
    }

    /// Changes an entry, maybe a live one, after all stores before.
    pub(super) fn change_after_all(&mut self, slot: u64, word: u64) {
        self.s.dmb("ishst");
        self.change(slot, word);
    }

    pub(super) fn merge(&mut self, turn: &Turn) {
        let Block::Split { word, child } = self.vms[turn.vm].block else { return };
        let vm = self.open("map", turn, BLOCK, 512);
        let slot = self.slot(vm, BLOCK, 2);
        self.replace(turn, slot, word, word);
        self.s.free(child, 1).close(vm);
        self.vms[turn.vm].block = Block::Whole { word };
    }

    pub(super) fn unmap_block(&mut self, turn: &Turn) {
        let (word, child) = match self.vms[turn.vm].block {
            Block::Nothing => return,
            Block::Whole { word } => (word, None),
            Block::Split { word, child } => (word, Some(child)),
        };
        let vm = self.open("decommit", turn, BLOCK, 2 * MIB / PAGE);
        let slot = self.slot(vm, BLOCK, 2);
        self.change(slot, 0);
        self.flush_vmid(turn, true);
        if let Some(child) = child {
            self.s.free(child, 1);
        }
        self.give_back(word & OUTPUT, 512, false);
        self.s.close(vm);
        self.vms[turn.vm].block = Block::Nothing;
    }
}
