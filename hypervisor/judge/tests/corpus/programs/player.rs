//! Programs, written out.

use super::cells::{BLOCK, Block, Cells, is_cached};
use super::flush::{Flush, Form, Gone};
use super::plan::{Pages, Plan, Turn, Work};
use super::spoil::{Line, Mark, Program};
use crate::scene::{
    ACCESSED, CONTIGUOUS, GIB, IPA, MIB, Machine, NO_CACHING, OUTPUT, PAGE, Scene, VALID, Vm, WRITE, table,
};

/// A program that is being written.
pub(super) struct Player {
    pub(super) s: Scene,
    vms: Vec<Cells>,
    /// Tables that mean nothing, for CPUs that wait.
    nobody: Vm,
    /// Which VM each CPU has loaded.
    loaded: Vec<usize>,
    /// Which VMs some CPU has had loaded since everything was invalidated.
    used: [bool; 2],
    /// Single frames that were given back.
    free: Vec<u64>,
    /// Those that were given back by a turn that may be under way still.
    just_freed: Vec<u64>,
    marks: Vec<(usize, Mark)>,
    /// Another CPU has the VM's tables in use, and may hold what there is.
    is_for_others: bool,
}

impl Player {
    /// Writes a program.
    pub(super) fn play(plan: &Plan) -> Program {
        let mut player = Self::new(plan.machine);
        let mut lines = player.take_lines();
        let mut before: Option<(Turn, Vec<Line>)> = None;
        for turn in &plan.turns {
            let is_concurrent = before.as_ref().is_some_and(|(other, _)| may_overlap(other, turn));
            if !is_concurrent {
                player.settle();
            }
            player.turn(turn);
            let now = player.take_lines();
            let done = match before.take() {
                Some((_, earlier)) if is_concurrent => shuffle(earlier, now, &plan.order),
                Some((_, earlier)) => {
                    lines.extend(earlier);
                    before = Some((turn.clone(), now));
                    continue;
                }
                None => {
                    before = Some((turn.clone(), now));
                    continue;
                }
            };
            lines.extend(done);
        }
        lines.extend(before.into_iter().flat_map(|(_, earlier)| earlier));
        Program { lines }
    }

    fn new(machine: Machine) -> Self {
        let mut s = Scene::new(machine);
        let vms = vec![Cells::new(s.vm(1)), Cells::new(s.vm(2))];
        let nobody = s.tree(63, 63, 39, 1);
        Self {
            s,
            vms,
            nobody,
            loaded: vec![1; machine.cpus],
            used: [false, true],
            free: Vec::new(),
            just_freed: Vec::new(),
            marks: Vec::new(),
            is_for_others: false,
        }
    }

    pub(super) const fn machine(&self) -> Machine {
        self.s.machine()
    }

    /// Marks the last line.
    pub(super) fn mark(&mut self, mark: Option<Mark>) {
        let last = self.s.lines_mut().len() - 1;
        self.marks.extend(mark.map(|mark| (last, mark)));
    }

    fn take_lines(&mut self) -> Vec<Line> {
        let texts = std::mem::take(self.s.lines_mut());
        let mut lines: Vec<_> =
            texts.into_iter().map(|text| Line { text, mark: None, is_for_others: self.is_for_others }).collect();
        for (at, mark) in self.marks.drain(..) {
            lines[at].mark = Some(mark);
        }
        lines
    }

    /// What was given back may be taken again.
    fn settle(&mut self) {
        self.free.append(&mut self.just_freed);
    }

    fn turn(&mut self, turn: &Turn) {
        self.s.on(turn.cpu);
        self.is_for_others = (0..self.loaded.len()).any(|cpu| cpu != turn.cpu && self.loaded[cpu] == turn.vm);
        let served = self.loaded[turn.cpu];
        let borrowed = (served != turn.vm).then(|| self.serve(turn.cpu, turn.vm));
        let marks = self.marks.len();
        self.work(turn);
        // Without others that may hold it, nobody does until the VMID is in effect here.
        if let Some(isb) = borrowed.filter(|_| self.is_for_others && self.invalidates_by_vmid(marks)) {
            self.marks.push((isb, Mark::Borrow));
        }
        if served != turn.vm && turn.goes_back && !matches!(turn.work, Work::RollOver) {
            self.serve(turn.cpu, served);
        }
    }

    /// Has the CPU use a VM's tables and VMID, and returns the line by which they are in effect.
    fn serve(&mut self, cpu: usize, number: usize) -> usize {
        let vm = self.vms[number].vm;
        self.s.switch(vm);
        self.loaded[cpu] = number;
        self.used[number] = true;
        self.s.lines_mut().len() - 1
    }

    /// Since that mark there was an invalidation that matters and depends on the VMID in use.
    fn invalidates_by_vmid(&mut self, since: usize) -> bool {
        let marks: Vec<_> = self.marks[since..].iter().map(|(at, _)| *at).collect();
        marks.into_iter().any(|at| self.s.lines_mut()[at].contains("op=vm"))
    }

    fn work(&mut self, turn: &Turn) {
        match turn.work {
            Work::Map(pages) => self.map(turn, pages),
            Work::MapGroup(number) => self.map_group(turn, number),
            Work::Unmap(pages) => self.take(turn, "unmap", pages),
            Work::Decommit(pages) => self.take(turn, "decommit", pages),
            Work::Remap(pages) => self.remap(turn, pages),
            Work::Protect(pages, is_writable) => self.protect(turn, pages, is_writable),
            Work::Age(pages) => self.age(turn, pages),
            Work::Touch(number) => self.touch(turn, number),
            Work::Drop => self.drop_table(turn),
            Work::MapBlock => self.map_block(turn),
            Work::Split => self.split(turn),
            Work::Merge => self.merge(turn),
            Work::UnmapBlock => self.unmap_block(turn),
            Work::Run => self.run(turn),
            Work::RollOver => self.roll_over(),
        }
    }

    fn open(&mut self, work: &str, turn: &Turn, ipa: u64, pages: u64) -> Vm {
        let vm = self.vms[turn.vm].vm;
        self.s.begin(work, vm.id, ipa, pages).lock(vm.lock());
        vm
    }

    /// Takes a frame for a VM, one that was given back where there is one.
    fn frame(&mut self, vm: Vm) -> u64 {
        let pa = self.free.pop().unwrap_or_else(|| self.s.frames_address(1));
        self.s.alloc(pa, 1, "guest");
        self.contents(vm, pa, 1)
    }

    fn frames(&mut self, vm: Vm, pages: u64) -> u64 {
        let pa = self.s.raw_frames(pages);
        self.contents(vm, pa, pages)
    }

    fn contents(&mut self, vm: Vm, pa: u64, pages: u64) -> u64 {
        self.s.zero(pa, pages);
        self.mark(Some(Mark::Zero));
        if !self.machine().fwb {
            self.s.dc("civac", pa, pages * PAGE).dsb("ish");
        }
        self.s.owner(pa, pages, vm.id);
        pa
    }

    /// Orders what frames hold before the entries that show them.
    fn data_barrier(&mut self) {
        self.s.dsb("ishst");
        let is_alone = self.machine().fwb;
        self.mark(is_alone.then_some(Mark::DataBarrier));
    }

    /// Returns the slot of a level, and marks the store that links the last table on the way.
    fn slot(&mut self, vm: Vm, ipa: u64, level: u8) -> u64 {
        let before = self.s.lines_mut().len();
        let slot = self.s.slot(vm, ipa, level);
        if self.s.lines_mut().len() > before {
            self.mark(Some(Mark::Link));
        }
        slot
    }

    fn publish(&mut self, is_new: bool) {
        self.s.dsb("ishst");
        self.mark(is_new.then_some(Mark::Publish));
        self.s.isb();
    }

    /// Changes a live entry, atomically where a walk may change it too.
    fn change(&mut self, slot: u64, word: u64) {
        let order = if self.machine().hafdbs > 0 { "rmw" } else { "plain" };
        self.s.store(slot, word, order);
    }

    fn map(&mut self, turn: &Turn, pages: Pages) {
        let vm = self.open("map", turn, Cells::ipa(pages.first), pages.count);
        let holes = self.vms[turn.vm].holes(pages);
        let frames: Vec<_> = holes.iter().map(|_| self.frame(vm)).collect();
        let slots: Vec<_> = holes.iter().map(|number| self.slot(vm, Cells::ipa(*number), 3)).collect();
        self.data_barrier_for(&holes);
        for ((number, pa), slot) in holes.iter().zip(frames).zip(slots) {
            let word = self.s.leaf(pa, 3);
            self.s.w(slot, word);
            self.vms[turn.vm].words[*number as usize] = word;
        }
        self.publish(!holes.is_empty());
        self.s.close(vm);
    }

    fn data_barrier_for(&mut self, numbers: &[u64]) {
        if !numbers.is_empty() {
            self.data_barrier();
        }
    }

    fn map_group(&mut self, turn: &Turn, number: u64) {
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
    fn gone(&self, turn: &Turn, numbers: &[u64]) -> Vec<Gone> {
        let cells = &self.vms[turn.vm];
        let gone = |number: &u64| Gone {
            ipa: Cells::ipa(*number),
            level: 3,
            is_cached: is_cached(self.machine(), cells.word(*number)),
        };
        numbers.iter().map(gone).collect()
    }

    fn take(&mut self, turn: &Turn, work: &str, pages: Pages) {
        let pages = self.vms[turn.vm].with_groups(pages);
        let vm = self.open(work, turn, Cells::ipa(pages.first), pages.count);
        let numbers = self.vms[turn.vm].mapped(pages);
        let gone = self.gone(turn, &numbers);
        for number in &numbers {
            let slot = self.slot(vm, Cells::ipa(*number), 3);
            self.change(slot, 0);
        }
        if !numbers.is_empty() {
            self.flush(turn.flush, &gone);
        }
        for (number, gone) in numbers.into_iter().zip(gone) {
            let pa = self.forget(turn, number);
            if work == "decommit" {
                self.give_back(pa, 1, gone.is_cached);
            }
        }
        self.s.close(vm);
    }

    fn forget(&mut self, turn: &Turn, number: u64) -> u64 {
        std::mem::take(&mut self.vms[turn.vm].words[number as usize]) & OUTPUT
    }

    fn give_back(&mut self, pa: u64, pages: u64, was_cached: bool) {
        if !self.machine().fwb {
            self.s.dc("civac", pa, pages * PAGE).dsb("ish");
        }
        self.s.owner(pa, pages, 0);
        self.s.free(pa, pages);
        self.mark(was_cached.then_some(Mark::Free));
        self.just_freed.extend((pages == 1).then_some(pa));
    }

    fn remap(&mut self, turn: &Turn, pages: Pages) {
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

    fn protect(&mut self, turn: &Turn, pages: Pages, is_writable: bool) {
        let pages = self.vms[turn.vm].with_groups(pages);
        let vm = self.open("protect", turn, Cells::ipa(pages.first), pages.count);
        let (machine, mut gone) = (self.machine(), Vec::new());
        for number in self.vms[turn.vm].mapped(pages) {
            let old = self.vms[turn.vm].word(number);
            let word = if is_writable { old | WRITE } else { old & !WRITE };
            let slot = self.slot(vm, Cells::ipa(number), 3);
            self.change(slot, word);
            self.vms[turn.vm].words[number as usize] = word;
            let is_cached = is_cached(machine, old) && old & !word & WRITE != 0;
            gone.push(Gone { ipa: Cells::ipa(number), level: 3, is_cached });
        }
        self.flush_or_publish(turn, &gone, !is_writable);
        self.s.close(vm);
    }

    fn flush_or_publish(&mut self, turn: &Turn, gone: &[Gone], takes: bool) {
        if takes && !gone.is_empty() {
            self.flush(turn.flush, gone);
        } else {
            self.publish(false);
        }
    }

    fn age(&mut self, turn: &Turn, pages: Pages) {
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

    /// The guest touches a page: the walk or the hypervisor sets its flag, or it is not there.
    fn touch(&mut self, turn: &Turn, number: u64) {
        let vm = self.vms[turn.vm].vm;
        let word = self.vms[turn.vm].word(number);
        self.s.resume(vm);
        if word & (VALID | ACCESSED) == VALID {
            self.set_flag(turn, number);
        } else if word & VALID == 0 {
            self.s.abort(vm.id, turn.cpu as u32, 0x07, Cells::ipa(number));
            self.s.begin("fault", vm.id, Cells::ipa(number), 1).lock(vm.lock()).unlock(vm.lock()).end(1);
        } else {
            self.s.stop(vm);
        }
    }

    fn set_flag(&mut self, turn: &Turn, number: u64) {
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

    /// Unlinks the table of the pages with all that is in it.
    fn drop_table(&mut self, turn: &Turn) {
        let all = Pages { first: 0, count: super::plan::CELLS };
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

    fn flush_vmid(&mut self, turn: &Turn, matters: bool) {
        let gone = Gone { ipa: IPA, level: 3, is_cached: matters };
        self.flush(Flush { form: Form::Vmid, ..turn.flush }, &[gone]);
    }

    fn map_block(&mut self, turn: &Turn) {
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

    fn split(&mut self, turn: &Turn) {
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

    fn replace(&mut self, turn: &Turn, slot: u64, block: u64, new: u64) {
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
    fn change_after_all(&mut self, slot: u64, word: u64) {
        self.s.dmb("ishst");
        self.change(slot, word);
    }

    fn merge(&mut self, turn: &Turn) {
        let Block::Split { word, child } = self.vms[turn.vm].block else { return };
        let vm = self.open("map", turn, BLOCK, 512);
        let slot = self.slot(vm, BLOCK, 2);
        self.replace(turn, slot, word, word);
        self.s.free(child, 1).close(vm);
        self.vms[turn.vm].block = Block::Whole { word };
    }

    fn unmap_block(&mut self, turn: &Turn) {
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

    fn run(&mut self, turn: &Turn) {
        let vm = self.vms[turn.vm].vm;
        self.s.resume(vm).stop(vm);
    }

    /// Every CPU leaves its VM; all is invalidated; the VMIDs change places; every CPU comes back.
    fn roll_over(&mut self) {
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

    /// The VM has tables besides its root, so that there is something for TLBs to hold.
    fn has_tables(&self, vm: usize) -> bool {
        self.s.read(self.vms[vm].vm.root + 8 * (IPA / GIB)) & VALID != 0
    }
}

/// Two turns may be under way at the same time if nothing is common to them.
fn may_overlap(before: &Turn, turn: &Turn) -> bool {
    // What invalidates everything does so for the other as well, and would cover up what the other leaves out.
    let is_alone = |turn: &Turn| matches!(turn.work, Work::RollOver) || turn.flush.form == Form::All;
    turn.is_concurrent && before.cpu != turn.cpu && before.vm != turn.vm && !is_alone(before) && !is_alone(turn)
}

/// Puts the lines of two CPUs into one order.
fn shuffle(first: Vec<Line>, second: Vec<Line>, order: &[bool]) -> Vec<Line> {
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    let mut lines = Vec::new();
    let mut order = order.iter().cycle();
    while first.peek().is_some() || second.peek().is_some() {
        let prefers_first = order.next().copied().unwrap_or(true);
        let line =
            if prefers_first { first.next().or_else(|| second.next()) } else { second.next().or_else(|| first.next()) };
        lines.extend(line);
    }
    lines
}
