//! What an entry leads to: pages, and tables that come into a tree and go out of it.

use vmsa::{Hpa, IpaRange, Level, PAGE_SIZE, Perms};

use crate::descriptor::{Entry, Leaf, flaw};
use crate::event::Order;
use crate::fact::Cause;
use crate::facts::Pool;
use crate::note::{Note, Notes, OutOfRoom, State};
use crate::rule::Rule;
use crate::store::{Write, leaf_frames};
use crate::violation::{Finding, Place};
use crate::{Frames, Oracle, slots, weight};

impl<N: Notes, P: Pool> Oracle<N, P> {
    /// Judges a leaf that becomes valid, or says more of the page that it leads to (R29a, R30, R34 to R37). `before` is what led
    /// there from the same place.
    pub(crate) fn judge_page(&mut self, write: &Write, leaf: Leaf, before: Option<Leaf>) -> Result<(), OutOfRoom> {
        let vm = self.trees.get(write.tree).and_then(|tree| tree.vm);
        let (frames, place) = (leaf_frames(leaf), write.place);
        let executes = |leaf: Leaf| leaf.perms().intersects(Perms::EXECUTE);
        let is_fetched = executes(leaf) && !before.is_some_and(executes) && !self.is_brought_back(write, leaf);
        let mut found = None;
        self.notes.each(frames, |run, note| {
            let judge = || match note.state {
                State::Guest if is_fetched && self.may_be_fetched_stale(&note) => Some(Rule::Instructions),
                State::Guest => {
                    self.contents(write, &note, vm, leaf).filter(|rule| before.is_none() || *rule == Rule::Contents)
                }
                _ => None,
            };
            let rule = found.is_none().then(|| whose(&note, vm).or_else(judge)).flatten();
            found = found.or_else(|| rule.map(|rule| (rule, run.first)));
        });
        if let Some((rule, frame)) = found {
            self.findings.add(Finding::new(rule).at(place).about(frame));
        }
        let may_write = leaf.most_perms(write.control).contains(Perms::WRITE);
        self.notes.change_all(frames, |_, note| use_page(note, vm, may_write))
    }

    /// Tells whether the leaf leads where one led that was executable, that the operation under way broke, and that reached beyond
    /// its range. What was executable is not made so now, whatever else it may be used for from now on.
    fn is_brought_back(&self, write: &Write, leaf: Leaf) -> bool {
        let operation = self.cpus[write.cpu].operation.as_ref();
        let mut touched = operation.into_iter().flat_map(|operation| operation.touched());
        touched.any(|touched| touched.holds(write.place.ipa) && touched.was_fetched(write.place.ipa, leaf))
    }

    /// Tells whether instruction fetches may find what was there before (R37).
    fn may_be_fetched_stale(&self, note: &Note) -> bool {
        !self.machine.idc && !note.is_clean_for_fetch() || !self.machine.dic && self.fetched <= note.stamp.when()
    }

    /// Returns the rule that mapping a page with these contents breaks, if any.
    fn contents(&self, write: &Write, note: &Note, vm: Option<u32>, leaf: Leaf) -> Option<Rule> {
        let (user, is_others) = (note.user, vm.is_some_and(|vm| note.user != 0 && note.user != short(vm)));
        let is_unwritten = !note.is_filled && user == 0;
        let cpu = &self.cpus[write.cpu];
        let writer = self.cpus.get(note.stamp.cpu()).unwrap_or(cpu);
        let is_ordered = cpu.follows(note.stamp, write.cpu, writer, write.order != Order::Plain);
        let is_looked_past = !self.forces_write_back || leaf.is_guests_choice();
        match () {
            () if is_unwritten || is_others && !note.is_shared => Some(Rule::Contents),
            () if user == 0 && is_looked_past && !note.is_clean() => Some(Rule::Coherency),
            () if user == 0 && !is_ordered => Some(Rule::DataFirst),
            () => None,
        }
    }

    /// Judges the link of a table (R29, R30, R32).
    pub(crate) fn judge_link(&mut self, write: &Write, table: Hpa) {
        let note = self.notes.get(table);
        let cpu = &self.cpus[write.cpu];
        let writer = self.cpus.get(note.stamp.cpu()).unwrap_or(cpu);
        let is_ordered = cpu.follows(note.stamp, write.cpu, writer, write.order != Order::Plain);
        let is_written = note.is_filled || note.stores >= 512 || note.state == State::Unknown;
        let rule = match note.state {
            State::Linked => Some(Rule::OneParent),
            State::Guest => Some(Rule::OneParent),
            State::Free => Some(Rule::TableLifetime),
            _ if self.notes.has_leaf(Frames::new(table, 1)) => Some(Rule::OneParent),
            _ if !is_written || !is_ordered => Some(Rule::ChildFirst),
            _ => None,
        };
        if let Some(rule) = rule {
            self.findings.add(Finding::new(rule).at(write.place).about(table));
        }
        let here = (write.tree, write.range());
        self.tell_of(Rule::TableLifetime, Some(table), |fact| {
            fact.is_table() && fact.frames().first == table && (fact.tree, fact.range) != here
        });
    }

    /// Takes a table, and all that it leads to, into the tree: as if each entry had been written now.
    pub(crate) fn link(&mut self, write: &Write, table: Hpa, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let Some(level) = write.place.level.next() else { return Ok(()) };
        let sum = self.take_in(write, table, level, read)?;
        self.touch_groups(write.cpu, table, level, read);
        let (tree, base) = (write.tree, write.place.ipa.0 >> 12);
        self.notes.change(table, |note| {
            *note = Note { state: State::Linked, tree, level: level.number(), base, sum, ..*note };
        })
    }

    /// Judges and counts the entries of a table; returns their sum.
    pub(crate) fn take_in(
        &mut self,
        write: &Write,
        table: Hpa,
        level: Level,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<u64, OutOfRoom> {
        let mut sum = 0u64;
        for (index, slot) in slots(table).enumerate() {
            let new = read(slot);
            sum = sum.wrapping_add(weight(slot, new));
            if new & 1 == 0 {
                continue;
            }
            let entry = Entry::of(new, level);
            let place =
                Place { ipa: write.place.ipa.add(index as u64 * level.entry_span()), level, slot, ..write.place };
            let below = Write { place, new, ..*write };
            if let Some(detail) = flaw(new, level, write.control, &self.machine) {
                self.findings.add(Finding::new(Rule::WellFormed).with_detail(detail).at(place));
            }
            self.judge_stale(&below)?;
            match entry {
                Entry::Leaf(leaf) => {
                    self.judge_page(&below, leaf, None)?;
                    self.notes.count_leaf(leaf_frames(leaf), true)?;
                }
                Entry::Table(next) => {
                    self.judge_link(&below, next);
                    self.link(&below, next, read)?;
                }
                Entry::Invalid => {}
            }
        }
        Ok(sum)
    }

    /// Takes a table, and all that it leads to, out of the tree. TLBs may hold its leaves, and the tables below it.
    pub(crate) fn unlink(
        &mut self,
        write: &Write,
        table: Hpa,
        place: Place,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), OutOfRoom> {
        let Some(level) = place.level.next() else { return Ok(()) };
        let note = self.notes.get(table);
        if note.state != State::Linked {
            return Ok(());
        }
        self.notes.change(table, |note| note.state = State::Table)?;
        let mut sum = 0u64;
        for (index, slot) in slots(table).enumerate() {
            let was = read(slot);
            sum = sum.wrapping_add(weight(slot, was));
            let ipa = place.ipa.add(index as u64 * level.entry_span());
            let below = Place { ipa, level, slot, ..place };
            let entry = Entry::of(was, level);
            if entry.is_used(write.control) {
                let cause = if write.new_entry().is_valid() { Cause::Resized } else { Cause::Broken };
                self.end_entry(write, was, below, cause)?;
            }
            match entry {
                Entry::Leaf(leaf) => self.notes.count_leaf(leaf_frames(leaf), false)?,
                Entry::Table(next) => self.unlink(write, next, below, read)?,
                Entry::Invalid => {}
            }
        }
        self.judge_sum(&note, sum, place, table);
        Ok(())
    }

    /// Compares a table with what was seen written there (R53).
    fn judge_sum(&mut self, note: &Note, sum: u64, place: Place, table: Hpa) {
        if note.sum != sum {
            let detail = "an entry of the table was written behind the oracle's back";
            self.findings.add(Finding::new(Rule::SelfCheck).with_detail(detail).at(place).about(table));
        }
    }

    /// Takes the tables of a tree's root in: it is about to be used, or was given to a VM.
    pub(crate) fn adopt(&mut self, cpu: usize, tree: u8, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let Some(&made) = self.trees.get(tree) else { return Ok(()) };
        let level = made.start();
        self.judge_root(made.root, made.root_tables());
        let mut live = 0;
        for number in 0..made.root_tables() {
            let table = made.root.add(number * PAGE_SIZE);
            let ipa = vmsa::Ipa(number * level.table_span());
            // The root has no entry that leads there: its place is that of its first entry.
            let place = self.place(tree, ipa, level, table);
            let (control, bbm) = (made.control, made.bbm);
            let write = Write { cpu, tree, control, bbm, place, order: Order::Release, was: 0, new: 0 };
            let sum = self.take_in(&write, table, level, read)?;
            live += slots(table).filter(|slot| Entry::of(read(*slot), level).is_valid()).count() as u32;
            self.notes.change(table, |note| {
                *note = Note { state: State::Linked, tree, level: level.number(), base: ipa.0 >> 12, sum, ..*note };
            })?;
        }
        if let Some(tree) = self.trees.get_mut(tree) {
            tree.live = live;
        }
        Ok(())
    }

    /// All of a root is there, written, in no other tree, and aligned to its size (R29, R30, R46).
    fn judge_root(&mut self, root: Hpa, tables: u64) {
        let first = self.notes.get(root);
        let mut rule = (!root.0.is_multiple_of(tables * PAGE_SIZE) && tables > 1).then_some(Rule::Concatenated);
        self.notes.each(Frames::new(root, tables), |_, note| {
            let place = match note.state {
                State::Linked => Some(Rule::OneParent),
                State::Table => None,
                _ => first.is_allocated().then_some(Rule::Concatenated),
            };
            let is_written = note.is_filled || note.stores >= 512 || !note.is_allocated();
            rule = rule.or(place).or((!is_written).then_some(Rule::ChildFirst));
        });
        if let Some(rule) = rule {
            self.findings.add(Finding::new(rule).with_detail("a root").about(root));
        }
    }

    /// Returns the ranges of the tree's memory that a leaf serves in `range`, with the leaf and the addresses that it is for.
    pub(crate) fn leaf_in(
        &self,
        tree: u8,
        range: IpaRange,
        read: &impl Fn(Hpa) -> u64,
        wanted: impl Fn(Leaf) -> bool,
    ) -> Option<Place> {
        let mut ipa = range.start;
        while ipa < range.end {
            let (entry, place) = self.walk(tree, ipa, read)?;
            if let Entry::Leaf(leaf) = entry
                && wanted(leaf)
            {
                return Some(place);
            }
            ipa = place.ipa.add(place.level.entry_span());
        }
        None
    }

    /// Returns what a walk for an address ends at, and where; `None` beyond the tree.
    pub(crate) fn walk(&self, tree: u8, ipa: vmsa::Ipa, read: &impl Fn(Hpa) -> u64) -> Option<(Entry, Place)> {
        let of = self.trees.get(tree)?;
        let (mut level, mut slot) = (of.start(), of.root_slot(ipa)?);
        loop {
            let entry = Entry::of(read(slot), level);
            match (entry, level.next()) {
                (Entry::Table(table), Some(next)) => {
                    level = next;
                    slot = table.add(8 * next.index(ipa) as u64);
                }
                _ => {
                    let first = vmsa::Ipa(ipa.0 & !(level.entry_span() - 1));
                    return Some((entry, self.place(tree, first, level, slot)));
                }
            }
        }
    }
}

/// Returns a VM's number as notes keep it: 0 is nobody.
pub(crate) const fn short(vm: u32) -> u16 {
    vm.saturating_add(1) as u16
}

/// Returns the rule that mapping the frame into a VM breaks by what it is, if any.
fn whose(note: &Note, vm: Option<u32>) -> Option<Rule> {
    let is_others = vm.is_some_and(|vm| note.owner != 0 && note.owner != short(vm));
    match note.state {
        State::Table | State::Linked => Some(Rule::OneParent),
        State::Free => Some(Rule::DoubleOwner),
        _ if note.owner == short(0) && !note.is_shared => Some(Rule::OneParent),
        _ if is_others && !note.is_shared => Some(Rule::DoubleOwner),
        _ => None,
    }
}

/// Takes note that a VM can reach a page.
fn use_page(note: &mut Note, vm: Option<u32>, may_write: bool) {
    if note.state == State::Guest {
        (note.is_used, note.invalidated) = (true, 0);
        if let Some(vm) = vm.filter(|_| may_write && !note.is_shared) {
            note.user = short(vm);
        }
    }
}
