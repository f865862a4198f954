//! Operations on pages.

use super::cells::{Cells, is_cached};
use super::flush::Gone;
use super::plan::{Content, Pages, Turn};
use super::player::Player;
use super::spoil::Mark;
use crate::scene::{ACCESSED, CONTIGUOUS, DIRTY_MANAGED, EXECUTE_NEVER, Machine, OUTPUT, PAGE, Vm, WRITE};

impl Player {
    pub(super) fn map(&mut self, turn: &Turn, pages: Pages, content: Content) {
        let vm = self.open("map", turn, Cells::ipa(pages.first), pages.count);
        let holes = self.vms[turn.vm].holes(pages);
        let frames: Vec<_> = holes.iter().map(|_| self.frame(vm)).collect();
        let slots: Vec<_> = holes.iter().map(|number| self.slot(vm, Cells::ipa(*number), 3)).collect();
        self.prepare(&frames, content);
        for ((number, pa), slot) in holes.iter().zip(frames).zip(slots) {
            let word = self.word(pa, content);
            self.s.w(slot, word);
            self.vms[turn.vm].words[*number as usize] = word;
        }
        self.publish(!holes.is_empty());
        self.s.close(vm);
    }

    const fn word(&self, pa: u64, content: Content) -> u64 {
        let word = self.s.leaf(pa, 3);
        match content {
            Content::Code => word & !EXECUTE_NEVER,
            Content::Tracked if self.machine().hafdbs == 2 => word & !WRITE | DIRTY_MANAGED,
            Content::Data | Content::Tracked => word,
        }
    }

    /// Orders what frames hold before the entries that show them, for fetches too where they are code.
    fn prepare(&mut self, frames: &[u64], content: Content) {
        let Machine { idc, dic, .. } = self.machine();
        let is_synced = content == Content::Code && !(idc && dic);
        match frames {
            [] => {}
            _ if is_synced => self.sync(frames, idc, dic),
            _ => self.data_barrier(),
        }
    }

    fn sync(&mut self, frames: &[u64], idc: bool, dic: bool) {
        if !idc {
            frames.iter().for_each(|pa| _ = self.s.dc("cvau", *pa, PAGE));
        }
        self.s.dsb("ish");
        if !dic {
            self.s.ic("ialluis");
            self.mark(Some(Mark::Fetch));
            self.s.dsb("ish");
        }
        self.s.isb();
    }

    pub(super) fn map_group(&mut self, turn: &Turn, number: u64) {
        let pages = Pages { first: 16 * number, count: 16 };
        if self.vms[turn.vm].holes(pages).len() < 16 {
            return;
        }
        let vm = self.open("map", turn, Cells::ipa(pages.first), 16);
        let pa = self.frames(vm, 16);
        let slot = self.slot(vm, Cells::ipa(pages.first), 3);
        self.data_barrier();
        for member in 0..16 {
            let word = self.s.leaf(pa + member * PAGE, 3) | CONTIGUOUS;
            self.s.w(slot + 8 * member, word);
            self.vms[turn.vm].words[(pages.first + member) as usize] = word;
        }
        self.publish(true);
        self.s.close(vm);
    }

    /// Returns what is gone when these pages are broken.
    pub(super) fn gone(&self, turn: &Turn, numbers: &[u64]) -> Vec<Gone> {
        let cells = &self.vms[turn.vm];
        let gone = |number: &u64| Gone {
            ipa: Cells::ipa(*number),
            level: 3,
            is_cached: is_cached(self.machine(), cells.word(*number)),
        };
        numbers.iter().map(gone).collect()
    }

    pub(super) fn take(&mut self, turn: &Turn, work: &str, pages: Pages) {
        let pages = self.vms[turn.vm].with_groups(pages);
        let vm = self.open(work, turn, Cells::ipa(pages.first), pages.count);
        let numbers = self.vms[turn.vm].mapped(pages);
        let gone = self.gone(turn, &numbers);
        for number in &numbers {
            let slot = self.slot(vm, Cells::ipa(*number), 3);
            self.change(slot, 0);
        }
        if !numbers.is_empty() {
            self.flush_with_lock(turn, vm, &gone);
        }
        for (number, gone) in numbers.into_iter().zip(gone) {
            let pa = self.forget(turn, number);
            if work == "decommit" {
                self.give_back(pa, 1, gone.is_cached);
            }
        }
        self.s.close(vm);
    }

    /// Invalidates, with the lock or after it was dropped.
    fn flush_with_lock(&mut self, turn: &Turn, vm: Vm, gone: &[Gone]) {
        if turn.flush.is_deferred {
            self.s.unlock(vm.lock());
        }
        self.flush(turn.flush, gone);
        if turn.flush.is_deferred {
            self.s.lock(vm.lock());
        }
    }

    pub(super) fn forget(&mut self, turn: &Turn, number: u64) -> u64 {
        std::mem::take(&mut self.vms[turn.vm].words[number as usize]) & OUTPUT
    }

    pub(super) fn give_back(&mut self, pa: u64, pages: u64, was_cached: bool) {
        if !self.machine().fwb {
            self.s.dc("civac", pa, pages * PAGE).dsb("ish");
        }
        self.s.owner(pa, pages, 0);
        self.s.free(pa, pages);
        self.mark(was_cached.then_some(Mark::Free));
        self.just_freed.extend((pages == 1).then_some(pa));
    }

    pub(super) fn remap(&mut self, turn: &Turn, pages: Pages) {
        let pages = self.vms[turn.vm].with_groups(pages);
        let vm = self.open("map", turn, Cells::ipa(pages.first), pages.count);
        let numbers = self.vms[turn.vm].mapped(pages);
        let gone = self.gone(turn, &numbers);
        let frames: Vec<_> = numbers.iter().map(|_| self.frame(vm)).collect();
        let slots: Vec<_> = numbers.iter().map(|number| self.slot(vm, Cells::ipa(*number), 3)).collect();
        for (slot, gone) in slots.iter().zip(&gone) {
            self.change(*slot, 0);
            self.mark(gone.is_cached.then_some(Mark::Break));
        }
        if !numbers.is_empty() {
            self.flush(turn.flush, &gone);
        }
        let mut old = Vec::new();
        for ((number, pa), slot) in numbers.iter().zip(frames).zip(slots) {
            old.push(self.forget(turn, *number));
            let word = self.s.leaf(pa, 3);
            self.s.w(slot, word);
            self.vms[turn.vm].words[*number as usize] = word;
        }
        // Where frames are cleaned when they come back, the barrier for that publishes too.
        self.publish(!numbers.is_empty() && self.machine().fwb);
        // The new entries have relied on the invalidation already.
        old.into_iter().for_each(|pa| self.give_back(pa, 1, false));
        self.s.close(vm);
    }

    pub(super) fn protect(&mut self, turn: &Turn, pages: Pages, is_writable: bool) {
        let pages = self.vms[turn.vm].with_groups(pages);
        let vm = self.open("protect", turn, Cells::ipa(pages.first), pages.count);
        let (machine, mut gone) = (self.machine(), Vec::new());
        for number in self.vms[turn.vm].mapped(pages) {
            let old = self.vms[turn.vm].word(number);
            let word = if is_writable { old | WRITE } else { old & !(WRITE | DIRTY_MANAGED) };
            let slot = self.slot(vm, Cells::ipa(number), 3);
            self.change(slot, word);
            self.vms[turn.vm].words[number as usize] = word;
            let is_cached = is_cached(machine, old) && old & !word & (WRITE | DIRTY_MANAGED) != 0;
            gone.push(Gone { ipa: Cells::ipa(number), level: 3, is_cached });
        }
        self.flush_or_publish(turn, &gone, !is_writable);
        self.s.close(vm);
    }

    pub(super) fn flush_or_publish(&mut self, turn: &Turn, gone: &[Gone], takes: bool) {
        if takes && !gone.is_empty() {
            self.flush(turn.flush, gone);
        } else {
            self.publish(false);
        }
    }

    /// Finds out which pages were written to, and makes them clean again.
    pub(super) fn harvest(&mut self, turn: &Turn, pages: Pages) {
        let vm = self.open("harvest", turn, Cells::ipa(pages.first), pages.count);
        let mut gone = Vec::new();
        for number in self.vms[turn.vm].mapped(pages) {
            let old = self.vms[turn.vm].word(number);
            if old & (WRITE | DIRTY_MANAGED) == WRITE | DIRTY_MANAGED {
                let slot = self.slot(vm, Cells::ipa(number), 3);
                self.change(slot, old & !WRITE);
                self.vms[turn.vm].words[number as usize] = old & !WRITE;
                gone.push(Gone { ipa: Cells::ipa(number), level: 3, is_cached: true });
            }
        }
        self.flush_or_publish(turn, &gone, true);
        self.s.close(vm);
    }

    pub(super) fn age(&mut self, turn: &Turn, pages: Pages) {
        let pages = self.vms[turn.vm].with_groups(pages);
        let vm = self.open("age", turn, Cells::ipa(pages.first), pages.count);
        let mut gone = Vec::new();
        for number in self.vms[turn.vm].mapped(pages) {
            let word = self.vms[turn.vm].word(number) & !ACCESSED;
            let slot = self.slot(vm, Cells::ipa(number), 3);
            self.change(slot, word);
            self.vms[turn.vm].words[number as usize] = word;
            // Ageing without an invalidation is legal.
            gone.push(Gone { ipa: Cells::ipa(number), level: 3, is_cached: false });
        }
        self.flush_or_publish(turn, &gone, true);
        self.s.close(vm);
    }
}
