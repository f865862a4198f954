//! Programs, written out.

use super::cells::Cells;
use super::flush::Form;
use super::plan::{Content, Plan, Turn, Work};
use super::spoil::{Line, Mark, Program};
use crate::scene::{IPA, Machine, PAGE, Scene, VALID, Vm, span};

/// A program that is being written.
pub(super) struct Player {
    pub(super) s: Scene,
    pub(super) vms: Vec<Cells>,
    /// Tables that mean nothing, for CPUs that wait.
    pub(super) nobody: Vm,
    /// Which VM each CPU has loaded.
    pub(super) loaded: Vec<usize>,
    /// Which VMs some CPU has had loaded since everything was invalidated.
    pub(super) used: [bool; 2],
    /// Single frames that were given back.
    pub(super) free: Vec<u64>,
    /// Those that were given back by a turn that may be under way still.
    pub(super) just_freed: Vec<u64>,
    marks: Vec<(usize, Mark)>,
    /// Another CPU has the VM's tables in use, and may hold what there is.
    is_for_others: bool,
}

impl Player {
    /// Writes a program.
    pub(super) fn play(plan: &Plan) -> Program {
        let mut player = Self::new(plan);
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

    fn new(plan: &Plan) -> Self {
        let (machine, (bits, start)) = (plan.machine, plan.shape);
        let mut s = Scene::new(machine);
        let [first, second, nobody] = [1, 2, 63].map(|id| s.tree(id, id.into(), bits, start));
        let vms = [first, second].map(|vm| {
            s.enter_everywhere(vm);
            Cells::new(vm)
        });
        Self {
            s,
            vms: vms.into(),
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
    pub(super) fn serve(&mut self, cpu: usize, number: usize) -> usize {
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
            Work::Map(pages, content) => self.map(turn, pages, content),
            Work::MapGroup(number) => self.map_group(turn, number),
            Work::Unmap(pages) => self.take(turn, "unmap", pages),
            Work::Decommit(pages) => self.take(turn, "decommit", pages),
            Work::Remap(pages) => self.remap(turn, pages),
            Work::Protect(pages, is_writable) => self.protect(turn, pages, is_writable),
            Work::Harvest(pages) => self.harvest(turn, pages),
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

    pub(super) fn open(&mut self, work: &str, turn: &Turn, ipa: u64, pages: u64) -> Vm {
        let vm = self.vms[turn.vm].vm;
        self.s.begin(work, vm.id, ipa, pages).lock(vm.lock());
        vm
    }

    /// Takes a frame for a VM, one that was given back where there is one.
    pub(super) fn frame(&mut self, vm: Vm) -> u64 {
        let pa = self.free.pop().unwrap_or_else(|| self.s.frames_address(1));
        self.s.alloc(pa, 1, "guest");
        self.contents(vm, pa, 1)
    }

    pub(super) fn frames(&mut self, vm: Vm, pages: u64) -> u64 {
        let pa = self.s.raw_frames(pages);
        self.contents(vm, pa, pages)
    }

    pub(super) fn contents(&mut self, vm: Vm, pa: u64, pages: u64) -> u64 {
        self.s.zero(pa, pages);
        self.mark(Some(Mark::Zero));
        if !self.machine().fwb {
            self.s.dc("civac", pa, pages * PAGE).dsb("ish");
        }
        self.s.owner(pa, pages, vm.id);
        pa
    }

    /// Orders what frames hold before the entries that show them.
    pub(super) fn data_barrier(&mut self) {
        self.s.dsb("ishst");
        let is_alone = self.machine().fwb;
        self.mark(is_alone.then_some(Mark::DataBarrier));
    }

    /// Returns the slot of a level, and marks the store that links the last table on the way.
    pub(super) fn slot(&mut self, vm: Vm, ipa: u64, level: u8) -> u64 {
        let before = self.s.lines_mut().len();
        let slot = self.s.slot(vm, ipa, level);
        if self.s.lines_mut().len() > before {
            self.mark(Some(Mark::Link));
        }
        slot
    }

    pub(super) fn publish(&mut self, is_new: bool) {
        self.s.dsb("ishst");
        self.mark(is_new.then_some(Mark::Publish));
        self.s.isb();
    }

    /// Changes a live entry, atomically where a walk may change it too.
    pub(super) fn change(&mut self, slot: u64, word: u64) {
        let order = if self.machine().hafdbs > 0 { "rmw" } else { "plain" };
        self.s.store(slot, word, order);
    }

    /// The VM has tables besides its root, so that there is something for TLBs to hold.
    pub(super) fn has_tables(&self, vm: usize) -> bool {
        self.s.read(self.vms[vm].vm.root + 8 * (IPA / span(self.vms[vm].vm.start))) & VALID != 0
    }
}

/// Two turns may be under way at the same time if nothing is common to them.
fn may_overlap(before: &Turn, turn: &Turn) -> bool {
    // What invalidates everything does so for the other as well, and would cover up what the other leaves out.
    let is_alone =
        |turn: &Turn| turn.flush.form == Form::All || matches!(turn.work, Work::RollOver | Work::Map(_, Content::Code));
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
