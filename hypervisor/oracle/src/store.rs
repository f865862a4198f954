//! A store to a table: what it may not be, and what TLBs may hold since.

use vmsa::{Hpa, Ipa, IpaRange, Level};

use crate::descriptor::{Change, Entry, Leaf, flaw, forbidden, is_hardware_update, piece};
use crate::event::Order;
use crate::fact::{Cause, Fact, Left, Visible};
use crate::facts::Pool;
use crate::note::{Note, Notes, OutOfRoom, Stamp, State};
use crate::operation::Operation;
use crate::rule::Rule;
use crate::tree::{Context, Control};
use crate::violation::{Finding, Place};
use crate::{Oracle, slots, weight};

/// A store to an entry of a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) cpu: usize,
    pub(crate) tree: u8,
    pub(crate) control: Control,
    /// How much of FEAT_BBM the tree may use.
    pub(crate) bbm: u8,
    pub(crate) place: Place,
    pub(crate) order: Order,
    pub(crate) was: u64,
    pub(crate) new: u64,
}

impl Write {
    pub(crate) const fn old_entry(&self) -> Entry {
        Entry::of(self.was, self.place.level)
    }

    pub(crate) const fn new_entry(&self) -> Entry {
        Entry::of(self.new, self.place.level)
    }

    pub(crate) const fn range(&self) -> IpaRange {
        IpaRange::new(self.place.ipa, self.place.level.entry_span())
    }
}

impl<N: Notes, P: Pool> Oracle<N, P> {
    pub(crate) fn store(
        &mut self,
        cpu: usize,
        slot: Hpa,
        new: u64,
        order: Order,
        believed: Option<u64>,
        read: &impl Fn(Hpa) -> u64,
    ) -> Result<(), OutOfRoom> {
        let (frame, was) = (slot.page_base(), read(slot));
        let note = self.notes.get(frame);
        let Some(write) = self.write_to(cpu, slot, &note, order, was, new) else {
            self.judge_belief(believed, was, None, slot);
            return self.store_unlinked(cpu, slot);
        };
        self.judge_belief(believed, was, Some(&write), slot);
        if note.state != State::Linked {
            return self.store_detached(&write, read);
        }
        self.judge_order(&write);
        self.judge_form(&write);
        self.judge_change(&write, read);
        self.judge_stale(&write)?;
        self.touch(&write, read)?;
        self.take_out(&write, read)?;
        self.put_in(&write, read)?;
        self.notes.change(frame, |note| {
            note.sum = note.sum.wrapping_sub(weight(slot, was)).wrapping_add(weight(slot, new));
        })
    }

    /// Returns the store, if it is to a table of a tree, or to one that walks may still come to.
    fn write_to(&self, cpu: usize, slot: Hpa, note: &Note, order: Order, was: u64, new: u64) -> Option<Write> {
        let frame = slot.page_base();
        let is_held = || self.facts.iter().any(|fact| fact.is_table() && fact.frames().first == frame);
        if note.state != State::Linked && !(note.state == State::Table && is_held()) {
            return None;
        }
        let (level, tree) = (note.table_level(), self.trees.get(note.tree)?);
        let ipa = Ipa(note.base().0 + (slot.0 % 4096 / 8) * level.entry_span());
        let place = self.place(note.tree, ipa, level, slot);
        Some(Write { cpu, tree: note.tree, control: tree.control, bbm: tree.bbm, place, order, was, new })
    }

    /// A store to a table that is in no tree.
    fn store_unlinked(&mut self, cpu: usize, slot: Hpa) -> Result<(), OutOfRoom> {
        let stamp = Stamp::new(cpu, self.now);
        self.notes.change(slot.page_base(), |note| {
            note.stamp = stamp;
            note.stores = note.stores.saturating_add(1);
        })
    }

    /// A store to a table that was taken out and that walks may still come to: what it says, and what it said, may be kept
    /// beside what the tree says.
    fn store_detached(&mut self, write: &Write, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        self.judge_change(write, read);
        self.judge_stale(write)?;
        let new = write.new_entry();
        if new.is_cached(write.control) && new != write.old_entry() {
            self.judge_beside(write, read);
            self.end_entry(write, write.new, write.place, Cause::Broken)?;
        }
        self.store_unlinked(write.cpu, write.place.slot)
    }

    /// What walks may come to beside the tree is what the tree says.
    fn judge_beside(&mut self, write: &Write, read: &impl Fn(Hpa) -> u64) {
        let Entry::Leaf(beside) = write.new_entry() else { return };
        if let Some((Entry::Leaf(leaf), place)) = self.walk(write.tree, write.place.ipa, read)
            && forbidden(beside, cut(leaf, beside.level, write.place.ipa)).is_some()
        {
            self.findings.add(Finding::new(Rule::TableLifetime).at(place).about(write.place.slot.page_base()));
        }
    }

    /// What the writer believed was there was there (R43), but for what the walk has set since (R22).
    fn judge_belief(&mut self, believed: Option<u64>, was: u64, write: Option<&Write>, slot: Hpa) {
        let Some(believed) = believed.filter(|believed| *believed != was) else { return };
        let is_update = write.is_some_and(|write| is_hardware_update(believed, was, write.control));
        let rule = if is_update { Rule::HardwareFlags } else { Rule::StaleWrite };
        let finding = Finding::new(rule).about(slot);
        self.findings.add(write.map_or(finding, |write| finding.at(write.place)));
    }

    fn judge_form(&mut self, write: &Write) {
        if let Some(detail) = flaw(write.new, write.place.level, write.control, &self.machine) {
            self.findings.add(Finding::new(Rule::WellFormed).with_detail(detail).at(write.place));
        }
        let is_live_leaf = matches!(write.old_entry(), Entry::Leaf(_));
        if is_live_leaf && write.control.sets_access_flag() && write.order != Order::Atomic && write.was != write.new {
            self.findings.add(Finding::new(Rule::HardwareFlags).at(write.place));
        }
        if let (Entry::Invalid, Entry::Leaf(leaf)) = (write.old_entry(), write.new_entry())
            && self.machine.must_set_access_flag
            && !leaf.is_accessed()
            && !write.control.sets_access_flag()
        {
            let detail = "the access flag is clear, and neither the walk nor anybody else sets it";
            self.findings.add(Finding::new(Rule::WellFormed).with_detail(detail).at(write.place));
        }
    }

    /// A live entry that TLBs may hold becomes another (R1 to R5, R18).
    fn judge_change(&mut self, write: &Write, read: &impl Fn(Hpa) -> u64) {
        let (old, new) = (write.old_entry(), write.new_entry());
        if !old.is_used(write.control) || old == new {
            return;
        }
        let rule = match (old, new) {
            (Entry::Leaf(old), Entry::Leaf(new)) => leaf_change(old, new, write.bbm),
            (Entry::Table(_), Entry::Table(_)) => Some(Rule::SizeChange),
            (Entry::Leaf(block), Entry::Table(table)) | (Entry::Table(table), Entry::Leaf(block)) => {
                let unlike = || (!fits(block, table, read)).then_some(Rule::SizeChangeDirect);
                let is_void = || matches!(new, Entry::Table(table) if slots(table).all(|slot| read(slot) & 1 == 0));
                resize(block, write.bbm).or_else(unlike).or_else(|| is_void().then_some(Rule::ChildFirst))
            }
            (Entry::Invalid, _) | (_, Entry::Invalid) => None,
        };
        if let Some(rule) = rule {
            self.findings.add(Finding::new(rule).at(write.place));
        }
    }

    /// An entry that walks use is written where TLBs may hold something else. What they hold and the entry could have become in
    /// place is no more stale.
    pub(crate) fn judge_stale(&mut self, write: &Write) -> Result<(), OutOfRoom> {
        let new = write.new_entry();
        if self.facts.len() == 0 || !new.is_used(write.control) {
            return Ok(());
        }
        let range = write.range();
        let trees = &self.trees;
        let its = |fact: &Fact| fact.tree == write.tree && !fact.range.intersection(range).is_empty();
        let matters = |fact: &Fact| {
            its(fact) && !fact.is_told && !may_meet(fact, new, write) && trees.is_usable(fact.vmid, fact.tree)
        };
        for fact in self.facts.iter_mut().filter(|fact| matters(fact)) {
            fact.is_told = true;
            let is_nt = write.bbm == 1 && fact.cause == Cause::Resized;
            let rule = if is_nt { Rule::SizeChangeNt } else { fact.missing() };
            self.findings.add(Finding::new(rule).of(*fact).at(write.place));
        }
        let Entry::Leaf(leaf) = new else { return Ok(()) };
        let is_whole = |fact: &Fact| fact.level == write.place.level && its(fact);
        let is_within = |held| cause(Entry::Leaf(held), new, write).is_none() && leaf.is_accessed();
        let is_again = |fact: &Fact| is_whole(fact) && fact.leaf_at(range.start).is_some_and(is_within);
        if self.facts.iter().any(is_again) {
            let named = |fact: &Fact| is_again(fact).then(|| fact.range.intersection(range));
            let end = |fact: &mut Fact, is_it: bool| {
                if is_it {
                    (fact.stage2, fact.combined) = (Left::held_by(0), Left::held_by(0));
                }
            };
            self.facts.split(named, end)?;
            self.facts.retain(|fact| fact.is_left());
        }
        Ok(())
    }

    /// Takes note of what an operation touches outside its range.
    fn touch(&mut self, write: &Write, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let Some(operation) = &mut self.cpus[write.cpu].operation else { return Ok(()) };
        if self.trees.get(write.tree).and_then(|tree| tree.vm).is_some_and(|vm| vm != operation.vm) {
            self.findings.add(Finding::new(Rule::Neighbours).with_detail("it is another VM's").at(write.place));
            return Ok(());
        }
        // Within its range all is its business, whatever a table there holds.
        if operation.range.covers(write.range()) {
            return Ok(());
        }
        let touched = match (write.old_entry(), write.new_entry()) {
            (Entry::Leaf(leaf), _) => operation.touch(write.range(), Some(leaf)),
            (Entry::Invalid, Entry::Leaf(_)) => operation.touch(write.range(), None),
            (Entry::Table(table), new) if new != write.old_entry() => {
                touch_below(operation, &self.notes, table, write.place, read)
            }
            _ => Some(()),
        };
        touched.ok_or(OutOfRoom)
    }

    /// What was there is taken out: leaves lead nowhere, tables are in no tree, and TLBs may hold it all.
    fn take_out(&mut self, write: &Write, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let (old, new) = (write.old_entry(), write.new_entry());
        if old == new {
            return Ok(());
        }
        if old.is_used(write.control)
            && let Some(cause) = cause(old, new, write)
        {
            self.end_entry(write, write.was, write.place, cause)?;
        }
        match old {
            Entry::Leaf(leaf) => {
                self.notes.count_leaf(leaf_frames(leaf), false)?;
                self.touch_group(write, leaf, true, read);
            }
            Entry::Table(table) => self.unlink(write, table, write.place, read)?,
            Entry::Invalid => {}
        }
        self.count_root_entry(write, false);
        Ok(())
    }

    /// Takes note that TLBs may hold an entry that is not there any more.
    pub(crate) fn end_entry(&mut self, write: &Write, was: u64, place: Place, cause: Cause) -> Result<(), OutOfRoom> {
        let mut entry = Fact {
            vmid: 0,
            tree: write.tree,
            level: place.level,
            cause,
            range: IpaRange::new(place.ipa, place.level.entry_span()),
            slot: place.slot,
            old: was,
            new: write.new,
            writer: write.cpu as u8,
            when: self.now,
            visible: Visible::No,
            is_passing: !Entry::of(was, place.level).is_cached(write.control),
            stage2: Left::held_by(0),
            combined: Left::held_by(0),
            wasted: None,
            is_dormant: false,
            is_told: false,
        };
        let held = |context: &&Context| context.holders != 0;
        if !self.facts.reserve(self.trees.of_tree(write.tree).filter(held).count()) {
            self.make_room();
        }
        for context in self.trees.of_tree(write.tree).filter(held) {
            let left = Left::held_by(context.holders);
            (entry.vmid, entry.is_dormant) = (context.vmid, !self.trees.is_usable(context.vmid, write.tree));
            (entry.stage2, entry.combined) = (left, left);
            entry.wasted = self.cpus[write.cpu].early.filter(|early| early.names(&entry)).map(|early| early.wasted);
            self.facts.add(entry)?;
        }
        Ok(())
    }

    /// Makes room by what nobody can use: of VMIDs that are no tree's it is only remembered that TLBs hold something.
    fn make_room(&mut self) {
        let trees = &mut self.trees;
        self.facts.retain(|fact| {
            let is_usable = trees.is_usable(fact.vmid, fact.tree);
            let its = trees.contexts_mut().filter(|context| !is_usable && context.vmid == fact.vmid);
            its.for_each(|context| context.is_spoiled = true);
            is_usable
        });
    }

    /// What is there now is put in: leaves lead somewhere, tables belong to the tree, and CPUs may fill their TLBs with it.
    fn put_in(&mut self, write: &Write, read: &impl Fn(Hpa) -> u64) -> Result<(), OutOfRoom> {
        let (old, new) = (write.old_entry(), write.new_entry());
        if !new.is_valid() || old == new {
            return Ok(());
        }
        if !old.is_cached(write.control) {
            self.cpus[write.cpu].unpublished.get_or_insert(write.place);
        }
        match new {
            Entry::Leaf(leaf) => {
                if let Some(operation) = self.cpus[write.cpu].operation.as_mut().filter(|_| leaf.has_nt()) {
                    operation.mark(write.place);
                }
                let before = if let Entry::Leaf(old) = old { Some(old) } else { None };
                self.judge_page(write, leaf, before.filter(|before| before.output() == leaf.output()))?;
                self.notes.count_leaf(leaf_frames(leaf), true)?;
                self.touch_group(write, leaf, false, read);
            }
            Entry::Table(table) => {
                self.judge_link(write, table);
                self.link(write, table, read)?;
            }
            Entry::Invalid => {}
        }
        self.count_root_entry(write, true);
        for context in self.trees.contexts_mut().filter(|context| context.tree == write.tree && context.loaded != 0) {
            context.holders |= context.loaded;
        }
        Ok(())
    }

    fn count_root_entry(&mut self, write: &Write, is_new: bool) {
        let Some(tree) = self.trees.get_mut(write.tree) else { return };
        let is_root = write.place.level == tree.start();
        let is_counted = if is_new { write.new_entry().is_valid() } else { write.old_entry().is_valid() };
        if is_root && is_counted {
            tree.live = if is_new { tree.live + 1 } else { tree.live.saturating_sub(1) };
        }
    }
}

/// Returns the frames that a leaf leads to.
pub(crate) const fn leaf_frames(leaf: Leaf) -> crate::Frames {
    crate::Frames::new(leaf.output(), leaf.level.entry_span() >> 12)
}

/// Returns the rule that a change of a leaf in place breaks, if any. With FEAT_BBM level 1 a block may get, and lose, nT; with
/// level 2 a leaf its contiguous bit.
fn leaf_change(old: Leaf, new: Leaf, bbm: u8) -> Option<Rule> {
    match forbidden(old, new) {
        Some(Change::Output) => Some(Rule::OutputChange),
        Some(Change::Type) => Some(Rule::TypeChange),
        Some(Change::Cacheability) => Some(Rule::CacheabilityChange),
        Some(Change::Shareability) => Some(Rule::ShareabilityChange),
        None if old.is_contiguous() != new.is_contiguous() && bbm < 2 => Some(Rule::GroupChange),
        None => None,
    }
}

/// Returns the rule that a change of size in place breaks, if any. With FEAT_BBM level 1 the block has nT; whether TLBs still
/// hold it from before is another question.
fn resize(block: Leaf, bbm: u8) -> Option<Rule> {
    match bbm {
        0 => Some(Rule::SizeChange),
        1 if block.has_nt() => None,
        1 => Some(Rule::SizeChangeNt),
        _ => None,
    }
}

/// Tells whether the leaves of a table lead where the block does, as memory of its kind.
fn fits(block: Leaf, table: Hpa, read: &impl Fn(Hpa) -> u64) -> bool {
    let Some(level) = block.level.next() else { return true };
    slots(table).enumerate().all(|(index, slot)| match Entry::of(read(slot), level) {
        Entry::Leaf(leaf) => forbidden(piece(block, level, index as u64 * level.entry_span()), leaf).is_none(),
        _ => true,
    })
}

/// Takes note of what is in a table of a tree that the entry at a place leads to, and in those below. `None` where there is no room
/// for it.
fn touch_below(
    operation: &mut Operation,
    notes: &impl Notes,
    table: Hpa,
    place: Place,
    read: &impl Fn(Hpa) -> u64,
) -> Option<()> {
    let Some(level) = place.level.next() else { return Some(()) };
    // What was written behind the oracle's back may lead anywhere.
    if notes.get(table).state != State::Linked {
        return Some(());
    }
    for (range, was) in directly_in(table, place.ipa, level, read) {
        match was {
            Entry::Table(child) => {
                touch_below(operation, notes, child, Place { ipa: range.start, level, ..place }, read)?
            }
            Entry::Leaf(leaf) => operation.touch(range, Some(leaf))?,
            Entry::Invalid => operation.touch(range, None)?,
        }
    }
    Some(())
}

/// Returns what is directly in a table of `level`, with its addresses; neighbours that follow each other are one, for each takes
/// room.
fn directly_in<'r>(
    table: Hpa,
    from: Ipa,
    level: Level,
    read: &'r impl Fn(Hpa) -> u64,
) -> impl Iterator<Item = (IpaRange, Entry)> + 'r {
    let entry = move |index: u64| Entry::of(read(table.add(8 * index)), level);
    let mut index = 0;
    core::iter::from_fn(move || {
        if index == 512 {
            return None;
        }
        let (first, start) = (entry(index), index);
        index += 1;
        let follows = |at: u64| match (first, entry(at)) {
            (Entry::Leaf(leaf), Entry::Leaf(next)) => leaf.moved((at - start) * level.entry_span()) == next,
            (Entry::Invalid, Entry::Invalid) => true,
            _ => false,
        };
        while index < 512 && follows(index) {
            index += 1;
        }
        let range = IpaRange::new(from.add(start * level.entry_span()), (index - start) * level.entry_span());
        Some((range, first))
    })
}

/// Returns why TLBs may hold what they should not when an entry becomes another, or `None` where they may: it grants more.
fn cause(old: Entry, new: Entry, write: &Write) -> Option<Cause> {
    let (Entry::Leaf(old), Entry::Leaf(new)) = (old, new) else {
        return Some(if new.is_valid() { Cause::Resized } else { Cause::Broken });
    };
    let lost = old.most_perms(write.control) - new.most_perms(write.control);
    match () {
        () if forbidden(old, new).is_some() => Some(Cause::Broken),
        () if new.has_nt() != old.has_nt() || new.is_contiguous() != old.is_contiguous() => Some(Cause::Resized),
        () if !lost.is_empty() => Some(Cause::Tightened),
        () if !(old.perms() - new.perms()).is_empty() => Some(Cause::Cleaned),
        () if old.is_accessed() && !new.is_accessed() => Some(Cause::Aged),
        () => None,
    }
}

/// Returns the leaf, or the part of it that an entry of a level below would be, for an address.
fn cut(leaf: Leaf, level: Level, ipa: Ipa) -> Leaf {
    let offset = ipa.0 & (leaf.level.entry_span() - 1) & !(level.entry_span() - 1);
    if leaf.level >= level { leaf } else { piece(leaf, level, offset) }
}

/// Tells whether TLBs may hold the fact and the new entry at once: they lead to the same memory of the same kind, and differ in
/// size only where FEAT_BBM allows it.
fn may_meet(fact: &Fact, new: Entry, write: &Write) -> bool {
    let is_direct = write.bbm >= 2;
    let place = write.place;
    match (fact.entry(), new) {
        (Entry::Leaf(_), Entry::Leaf(new)) => {
            let ipa = fact.range.start.max(place.ipa);
            let Some(held) = fact.leaf_at(ipa) else { return true };
            let smaller = held.level.max(new.level);
            let is_one_size = held.level == new.level && held.is_contiguous() == new.is_contiguous();
            let may_differ = is_one_size || is_direct || fact.is_passing || write.bbm == 1 && new.has_nt();
            forbidden(cut(held, smaller, ipa), cut(new, smaller, ipa)).is_none() && may_differ
        }
        (Entry::Table(held), Entry::Table(new)) if fact.level == place.level => held == new,
        // What is below a table is judged entry by entry.
        (Entry::Leaf(held), Entry::Table(_)) if held.level > place.level || fact.is_passing => true,
        (Entry::Table(_), Entry::Table(_)) => true,
        (Entry::Table(_), Entry::Leaf(_)) if fact.level < place.level => true,
        (Entry::Leaf(_), Entry::Table(_)) | (Entry::Table(_), Entry::Leaf(_)) => is_direct,
        (Entry::Invalid, _) | (_, Entry::Invalid) => true,
    }
}
