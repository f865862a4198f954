//! Frames that are taken, written, given to a VM, and given back (R32 to R37).

use vmsa::{Hpa, PAGE_SIZE};

use crate::event::{DcOp, FrameKind, Frames};
use crate::facts::Pool;
use crate::note::{Note, Notes, OutOfRoom, Stamp, State};
use crate::rule::Rule;
use crate::store::Write;
use crate::tables::short;
use crate::violation::Finding;
use crate::{Oracle, event::Order};

impl<N: Notes, P: Pool> Oracle<N, P> {
    pub(crate) fn alloc(&mut self, frames: Frames, kind: FrameKind) -> Result<(), OutOfRoom> {
        self.judge_reuse(frames);
        self.judge_mapped(frames);
        if let Some(first) = self.first_where(frames, |note| note.is_allocated()) {
            self.find_frame(Rule::DoubleOwner, "it is taken already", first);
        }
        let state = if kind == FrameKind::Table { State::Table } else { State::Guest };
        // What was overwritten since it was given back need not be again.
        self.notes.change_all(frames, |_, note| {
            let kept = if note.is_allocated() { Note { leaves: note.leaves, ..Note::default() } } else { *note };
            *note = Note { state, ..kept };
        })
    }

    pub(crate) fn zero(&mut self, cpu: usize, frames: Frames) -> Result<(), OutOfRoom> {
        // A page that is still mapped may be overwritten for the VM that has it.
        if !self.notes.has_leaf(frames) {
            self.judge_reuse(frames);
            self.judge_taken_back(frames);
        }
        if let Some(first) = self.first_where(frames, |note| note.state == State::Linked) {
            self.find_frame(Rule::TableLifetime, "it is overwritten in its tree", first);
        }
        let stamp = Stamp::new(cpu, self.now);
        self.notes.change_all(frames, |_, note| {
            let is_kept = note.is_used && note.leaves != 0;
            *note = Note {
                is_filled: true,
                cleaned: 0,
                cleaned_for_fetch: 0,
                user: if is_kept { note.user } else { 0 },
                stamp,
                ..*note
            };
        })
    }

    pub(crate) fn own(&mut self, frames: Frames, vm: u32, is_shared: bool) -> Result<(), OutOfRoom> {
        let is_new = |note: Note| note.owner != short(vm) || is_shared && !note.is_shared;
        if self.first_where(frames, is_new).is_some() {
            self.judge_reuse(frames);
        }
        let is_others = |note: Note| note.owner != 0 && note.owner != short(vm) && !is_shared;
        if let Some(first) = self.first_where(frames, is_others).filter(|_| self.notes.has_leaf(frames)) {
            self.find_frame(Rule::DoubleOwner, "it gets another owner while a tree leads there", first);
        }
        self.notes.change_all(frames, |_, note| (note.owner, note.is_shared) = (short(vm), is_shared))
    }

    pub(crate) fn free(&mut self, frames: Frames, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        self.judge_reuse(frames);
        self.judge_mapped(frames);
        self.judge_taken_back(frames);
        if let Some(first) = self.first_where(frames, |note| note.state == State::Free) {
            self.find_frame(Rule::DoubleOwner, "it is given back twice", first);
        }
        while let Some(table) = self.first_where(frames, |note| note.state == State::Linked) {
            self.drop_table(table, read)?;
        }
        self.notes.change_all(frames, |_, note| {
            *note = Note { leaves: note.leaves, ..Note::taken(State::Free) };
        })
    }

    /// A table is given back with its tree: nobody may be using that.
    fn drop_table(&mut self, table: Hpa, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let note = self.notes.get(table);
        let (index, level) = (note.tree, note.table_level());
        if self.trees.of_tree(index).any(|context| context.loaded != 0) {
            self.find_frame(Rule::TableLifetime, "its tree is in use", table);
        }
        let Some(&tree) = self.trees.get(index) else {
            return self.notes.change(table, |note| note.state = State::Table);
        };
        // As if the entry that leads there had been cleared: a root has none.
        let above = vmsa::Level::from_number(level.number().wrapping_sub(1));
        let place = self.place(index, note.base(), above.unwrap_or(level), table);
        let (control, bbm) = (tree.control, tree.bbm);
        let write = Write { cpu: 0, tree: index, control, bbm, place, order: Order::Release, was: 0, new: 0 };
        match above {
            Some(_) => self.unlink(&write, table, place, read)?,
            None => self.notes.change(table, |note| note.state = State::Table)?,
        }
        if table == tree.root {
            self.trees.forget_root(index);
        }
        Ok(())
    }

    /// DC: what of each frame is maintained, from its first byte on; a part that comes before its turn does not count.
    pub(crate) fn maintain(&mut self, cpu: usize, op: DcOp, start: Hpa, len: u64) -> Result<(), OutOfRoom> {
        let end = Hpa(start.0.saturating_add(len));
        let first_whole = end.min(Hpa(start.0.next_multiple_of(PAGE_SIZE)));
        let past_whole = first_whole.max(end.page_base());
        let whole = Frames::new(first_whole, (past_whole.0 - first_whole.0) / PAGE_SIZE);
        self.maintain_part(cpu, op, start, first_whole)?;
        self.maintain_frames(cpu, op, whole, 0, PAGE_SIZE as u16)?;
        self.maintain_part(cpu, op, past_whole, end)
    }

    fn maintain_part(&mut self, cpu: usize, op: DcOp, start: Hpa, end: Hpa) -> Result<(), OutOfRoom> {
        if start == end {
            return Ok(());
        }
        let frame = Frames::new(start.page_base(), 1);
        let (from, to) = (start.0 - frame.first.0, end.0 - frame.first.0);
        self.maintain_frames(cpu, op, frame, from as u16, to as u16)
    }

    fn maintain_frames(&mut self, cpu: usize, op: DcOp, frames: Frames, from: u16, to: u16) -> Result<(), OutOfRoom> {
        let stamp = Stamp::new(cpu, self.now);
        let is_mapped = self.notes.has_leaf(frames);
        let reach = |done: &mut u16| *done = if from <= *done { to.max(*done) } else { *done };
        self.notes.change_all(frames, |_, note| {
            let cleans = matches!(op, DcOp::Clean | DcOp::CleanInvalidate);
            if cleans {
                reach(&mut note.cleaned);
            }
            if cleans || op == DcOp::CleanToUnification {
                reach(&mut note.cleaned_for_fetch);
            }
            if matches!(op, DcOp::Invalidate | DcOp::CleanInvalidate) && !is_mapped {
                reach(&mut note.invalidated);
                note.is_used &= note.invalidated != PAGE_SIZE as u16;
            }
            note.stamp = stamp;
        })
    }

    pub(crate) const fn invalidate_fetches(&mut self, cpu: usize, is_broadcast: bool) {
        if is_broadcast || self.machine.cpus == 1 {
            self.cpus[cpu].fetches = Some(self.now);
        }
    }

    /// Nothing that TLBs may hold leads to frames that change hands: tables (R32) and pages (R33).
    fn judge_reuse(&mut self, frames: Frames) {
        if self.facts.len() == 0 {
            return;
        }
        let leads_there = |fact: &crate::fact::Fact| fact.frames().meets(frames);
        self.tell_of(Rule::TableLifetime, Some(frames.first), |fact| fact.is_table() && leads_there(fact));
        self.tell_of(Rule::PageLifetime, Some(frames.first), |fact| !fact.is_table() && leads_there(fact));
    }

    /// No tree leads to frames that are given away (R35).
    fn judge_mapped(&mut self, frames: Frames) {
        if self.notes.has_leaf(frames) {
            self.find_frame(Rule::DoubleOwner, "a tree leads there", frames.first);
        }
    }

    /// What a guest could write without the caches is not shadowed by them (R36).
    fn judge_taken_back(&mut self, frames: Frames) {
        if self.forces_write_back {
            return;
        }
        if let Some(first) = self.first_where(frames, |note| note.is_used) {
            self.find_frame(Rule::Coherency, "a guest had it, and it was not cleaned and invalidated since", first);
        }
    }

    fn find_frame(&mut self, rule: Rule, detail: &'static str, frame: Hpa) {
        self.findings.add(Finding::new(rule).with_detail(detail).about(frame));
    }

    fn first_where(&self, frames: Frames, wanted: impl Fn(Note) -> bool) -> Option<Hpa> {
        let mut found = None;
        self.notes.each(frames, |run, note| found = found.or_else(|| wanted(note).then_some(run.first)));
        found
    }
}
