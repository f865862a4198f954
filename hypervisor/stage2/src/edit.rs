//! One operation under way, and what it may do to an entry: the rules of when a change needs a break.
//!
//! | change | how |
//! | --- | --- |
//! | nothing to something | at once, by a store-release |
//! | something to nothing | at once; invalidated at the end |
//! | permissions, flags | in place, unless the leaf is one of a contiguous group; invalidated at the end where something was taken away |
//! | output, memory type; permissions in a group | by a break: the successor waits for the invalidation |
//! | block to table or back, hint on or off | as FEAT_BBM allows: level 0 by a break, 1 with nT (blocks), 2 in place |
//!
//! What the hardware may still update (the access flag or the dirty state of a leaf, FEAT_HAFDBS) changes its size or its hint
//! only by a break, whatever the level: what the break found last is what goes into the new entries.

use vmsa::{Attributes, Dirty, DirtyLevel, Dsb, Entry, Hpa, Ipa, IpaRange, Leaf, Level, Perms};

use crate::change::{Held, Idle, Live, Place, Prepared, Reach, Slot, Slots, Vacancies, Vacant, Via};
use crate::gather::{Flushed, Gather, Stale};
use crate::invalidate::invalidate;
use crate::tree::free_subtree;
use crate::walk::{Done, Enter, Next, Visitor, Walker};
use crate::{Mmu, Stage2, Tables, spoiled};

/// No frame was to be had for a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfTables;

/// One operation under way: the tree, what it needs, and what it has broken.
pub(crate) struct Edit<'e, M, T> {
    pub(crate) tree: &'e mut Stage2,
    pub(crate) mmu: &'e M,
    pub(crate) tables: &'e mut T,
    pub(crate) gather: Gather,
    /// A block was made that is not cached, to change a size, with an invalidation of its own.
    pub(crate) has_resized: bool,
    /// Tables that were taken for splits to come, each noting the next.
    spare: Option<Hpa>,
    /// The range that was last looked at for splits, and its entries if they stand in one table of the last level.
    found: Option<(IpaRange, Option<Slots>)>,
}

impl<'e, M: Mmu, T: Tables> Edit<'e, M, T> {
    pub(crate) fn new(tree: &'e mut Stage2, mmu: &'e M, tables: &'e mut T) -> Self {
        Self { tree, mmu, tables, gather: Gather::default(), has_resized: false, spare: None, found: None }
    }

    pub(crate) const fn walker(&self) -> Walker<'e, M> {
        Walker::of(self.tree, self.mmu)
    }

    pub(crate) fn look(&self, slot: Slot) -> Place {
        slot.look(self.mmu, self.tree.codec)
    }

    /// Makes what was made visible and what was broken unreachable, on every CPU; puts what waited for that in its place; and
    /// gives the tables back that are out of the tree.
    pub(crate) fn close(&mut self) -> Flushed {
        let proof = self.flush();
        if self.gather.has_waiting() {
            self.settle(&proof);
        }
        self.publish();
        for (level, first) in self.gather.take_detached(&proof) {
            self.tree.stats.tables -= first.map_or(0, |first| self.free_detached(level, first));
        }
        while let Some(table) = self.take_spare() {
            self.tables.free(table);
        }
        proof
    }

    /// Gives back tables that are out of the tree, from the first on, with all below them; returns how many they are.
    fn free_detached(&mut self, level: Level, first: Hpa) -> u64 {
        if level == Level::L3 {
            return self.tables.free_list(first);
        }
        let (mut next, mut count) = (Some(first), 0);
        while let Some(table) = next {
            next = self.tables.next(table);
            count += free_subtree(self.mmu, self.tables, table, level);
        }
        count
    }

    /// Takes the tables that a change to the leaves of `range` that `changes` names needs for splits, at both of its ends.
    pub(crate) fn reserve(&mut self, range: IpaRange, changes: impl Fn(Leaf) -> bool) -> Result<(), OutOfTables> {
        let first = self.walker().find(range.start);
        let entries = first.0.entries_for(range);
        self.found = Some((range, entries));
        if entries.is_some() { Ok(()) } else { self.reserve_for_blocks(range, first, &changes) }
    }

    /// The same where the range is not in one table of the last level. `first` is what a walk to its first address ended at. It
    /// stands in one place for all operations: 2.6 KiB less, for some 15 instructions.
    #[inline(never)]
    fn reserve_for_blocks(
        &mut self,
        range: IpaRange,
        first: (Slot, u64),
        changes: &dyn Fn(Leaf) -> bool,
    ) -> Result<(), OutOfTables> {
        for _ in 0..self.cut(range, first, changes) {
            let table = self.tables.allocate_to_fill().ok_or(OutOfTables)?;
            self.tables.set_next(table, self.spare);
            self.spare = Some(table);
        }
        Ok(())
    }

    fn take_spare(&mut self) -> Option<Hpa> {
        let table = self.spare?;
        self.spare = self.tables.next(table);
        Some(table)
    }

    /// Takes a table to fill: one that was reserved, if there is one.
    pub(crate) fn take_table(&mut self) -> Result<Hpa, OutOfTables> {
        self.take_spare().or_else(|| self.tables.allocate_to_fill()).ok_or(OutOfTables)
    }

    /// Returns how many tables the blocks take that `range` cuts: what it cuts has its first address in the midst, or the one
    /// behind its last.
    fn cut(&self, range: IpaRange, first: (Slot, u64), changes: &dyn Fn(Leaf) -> bool) -> u64 {
        let first = self.changing_block(first, changes);
        let has_second =
            range.end < self.tree.geometry().limit() && first.is_none_or(|(span, _)| span.end <= range.end);
        let second = if has_second { self.changing_block(self.walker().find(range.end), changes) } else { None };
        first.into_iter().chain(second).map(|(span, level)| tables_for(span, level, span.intersection(range))).sum()
    }

    /// Returns the addresses that the block is for that a walk ended at, if it changes, and its level.
    fn changing_block(&self, found: (Slot, u64), changes: &dyn Fn(Leaf) -> bool) -> Option<(IpaRange, Level)> {
        let (slot, raw) = found;
        if slot.level() == Level::LEAF {
            return None;
        }
        match self.tree.codec.decode(raw, slot.level()) {
            Entry::Leaf(leaf) if changes(leaf) => Some((slot.span(), slot.level())),
            _ => None,
        }
    }

    /// Begins another part of the operation, whose addresses may be far from the last one's. What waits in earlier parts is
    /// settled first where there is no room to wait for more.
    pub(crate) fn begin_part(&mut self) {
        if !self.gather.has_room() {
            let proof = if planted::is(139) { self.gather.forget_broken() } else { self.flush() };
            self.settle(&proof);
        }
        self.gather.begin_part();
    }

    /// Invalidates what was broken so far.
    pub(crate) fn flush(&mut self) -> Flushed {
        let Some(broken) = self.gather.broken() else { return Flushed::now() };
        // Without a VMID nothing of the tree is in any TLB.
        if self.tree.vmid.is_some() {
            self.tree.under_own_vmid(self.mmu, |issue| invalidate(issue, broken));
            // Its first barrier was for all stores.
            self.gather.take_unpublished();
        }
        self.gather.forget_broken()
    }

    fn publish(&mut self) {
        if self.gather.take_unpublished() && !planted::is(90) {
            self.mmu.dsb(Dsb::Ishst);
            self.tree.stats.dsb += 1;
        }
    }

    fn settle(&mut self, proof: &Flushed) {
        for range in self.gather.take_waiting() {
            let Ok(()) = self.walker().walk(range, &mut Settle { edit: self, proof });
        }
    }

    pub(crate) const fn stored(&mut self) {
        self.tree.stats.stores += 1;
    }

    /// Gives an entry that says nothing a meaning.
    pub(crate) fn make(&mut self, vacant: Vacant, entry: Entry) {
        vacant.make(self.mmu, self.tree.codec, entry);
        self.stored();
        self.gather.publish();
    }

    /// Gives entries that say nothing adjacent leaves for a meaning, of which `leaf` is the first.
    pub(crate) fn make_leaves(&mut self, vacant: Vacancies, leaf: Leaf) -> Done {
        let (leaf, count) = (self.tree.sayable(leaf), vacant.count());
        vacant.make(self.mmu, self.tree.codec, leaf, self.may_group(leaf.attributes));
        self.tree.stats.stores += count;
        self.gather.publish();
        Done { passed: count, delta: count as i32 }
    }

    /// Lets walks see what was prepared here.
    pub(crate) fn make_prepared(&mut self, prepared: Prepared) -> Next {
        prepared.make(self.mmu);
        self.stored();
        self.gather.publish();
        Next::Made
    }

    /// Takes a leaf away; returns what it said at last.
    pub(crate) fn remove(&mut self, held: Held, leaf: Leaf) -> Leaf {
        self.stored();
        match held {
            Held::Idle(idle) => {
                idle.clear(self.mmu);
                leaf
            }
            Held::Live(live) => {
                if !spoiled::is_forgotten_member(live.slot(), leaf) {
                    self.gather.stale_leaf(live.slot());
                }
                if planted::is(9) {
                    let _ = self.flush();
                }
                match live.clear(self.mmu, self.tree.codec) {
                    Entry::Leaf(last) => last,
                    _ => leaf,
                }
            }
        }
    }

    /// Takes leaves and whole tables away, up to what has to be looked at by itself.
    pub(crate) fn remove_run(&mut self, run: Slots) -> Done {
        let mut done = self.remove_leaves(run);
        loop {
            let tables = self.detach_tables(run.part(done.passed..run.count));
            if tables == 0 {
                return done;
            }
            done = done.and(Done { passed: tables, delta: -(tables as i32) });
            done = done.and(self.remove_leaves(run.part(done.passed..run.count)));
        }
    }

    /// Takes tables out of the tree, from the first entry on; returns how many there were. Saves two thirds of what a table
    /// costs by itself.
    fn detach_tables(&mut self, run: Slots) -> u64 {
        let Some(below) = run.first.level().next().filter(|_| run.first.is_linked()) else { return 0 };
        let count = run.take_tables(self.mmu, |table| self.gather.detach(self.tables, table, below));
        if count != 0 {
            self.tree.stats.stores += count;
            let range = run.part(0..count).span();
            self.gather.stale_table_of(Stale { range, level: Level::LEAF, is_uniform: false });
        }
        count
    }

    /// Takes leaves away, up to what has to be looked at by itself.
    pub(crate) fn remove_leaves(&mut self, run: Slots) -> Done {
        if spoiled::is_one_by_one() {
            return Done::default();
        }
        let cleared = run.clear(self.mmu);
        if cleared.gone != 0 {
            self.tree.stats.stores += cleared.gone;
            if run.first.is_linked() {
                self.gather.stale_leaves(run.cleared_span(cleared), run.first.level());
            }
        }
        Done { passed: cleared.passed, delta: -(cleared.gone as i32) }
    }

    /// Takes a table out of the tree, with all that is below it: that is [`Edit::all_within`].
    pub(crate) fn detach(&mut self, via: &Via, all: Stale) -> Enter {
        if let Some(is_live) = self.cut_off(via) {
            if is_live {
                self.gather.stale_table_of(all);
            }
            return Enter::Gone;
        }
        Enter::Pass
    }

    /// Returns where the leaves below a table are, if all of them are in `part`. Found by the fewest looks at entries: those
    /// outside are all vacant, or as many inside are leaves as the table has live entries.
    pub(crate) fn all_within(&self, via: &Via, part: IpaRange) -> Option<Stale> {
        let Via { slot, table, .. } = *via;
        let level = slot.level().next().filter(|below| part.len() >= below.entry_span())?;
        let all = Stale { range: part, level: Level::LEAF, is_uniform: false };
        if part == slot.span() {
            return Some(all);
        }
        let entries = Slots::of_table(table, level, slot.span().start, Reach::Own);
        let inside = entries.numbers_in(part);
        let count = inside.end - inside.start;
        let live = u64::from(self.tables.live_entries(table));
        if count < live {
            return None;
        }
        if entries.count - count <= count {
            let is_vacant = |numbers| entries.part(numbers).are_vacant(self.mmu);
            return (is_vacant(0..inside.start) && is_vacant(inside.end..entries.count)).then_some(all);
        }
        (entries.part(inside).leaves(self.mmu) == live).then_some(Stale { level, ..all })
    }

    /// Takes the entry away that leads to a table; tells whether walks could reach it, or nothing if there is no table.
    fn cut_off(&mut self, via: &Via) -> Option<bool> {
        let Place::Table(held, table) = self.look(via.slot) else { return None };
        let is_live = matches!(held, Held::Live(_));
        match held {
            Held::Idle(idle) => idle.clear(self.mmu),
            Held::Live(live) => _ = live.clear(self.mmu, self.tree.codec),
        }
        self.stored();
        if let Some(below) = via.slot.level().next() {
            self.gather.detach(self.tables, table, below);
        }
        Some(is_live)
    }

    /// Takes a table out of the tree if it has no entries left.
    pub(crate) fn drop_if_empty(&mut self, via: &Via) -> Next {
        if self.tables.live_entries(via.table) != 0 {
            return Next::Same;
        }
        match self.cut_off(via) {
            None => return Next::Same,
            Some(true) => self.gather.stale_empty_table(via.slot),
            Some(false) => {}
        }
        Next::Gone
    }

    /// Changes what a leaf says.
    pub(crate) fn change(&mut self, held: Held, leaf: Leaf, change: impl Fn(Leaf) -> Leaf) {
        let new = change(leaf);
        let codec = self.tree.codec;
        let changed = |entry| match entry {
            Entry::Leaf(leaf) => Entry::Leaf(change(leaf)),
            other => other,
        };
        match held {
            Held::Idle(idle) => idle.rewrite(self.mmu, codec, Entry::Leaf(new)),
            Held::Live(live) if may_change_in_place(leaf, new) => {
                self.note_change(Slots { first: live.slot(), count: 1 }, leaf, new);
                live.change(self.mmu, codec, changed);
            }
            Held::Live(live) => _ = self.replace(live, changed),
        }
        self.stored();
    }

    /// Changes what the first of some live leaves says, which may become `new` in place, and the others that say the same but lead
    /// elsewhere. Returns how many of them, from the first on, say what they are to say.
    pub(crate) fn change_alike(&mut self, run: Slots, first: &Live, leaf: Leaf, new: Leaf) -> u64 {
        debug_assert!(may_change_in_place(leaf, new), "{leaf:?} to {new:?} takes a break");
        let passed = run.change_alike(self.mmu, self.tree.codec, first, leaf, new);
        if passed != 0 {
            self.tree.stats.stores += passed;
            self.note_change(run.part(0..passed), leaf, new);
        }
        passed
    }

    fn note_change(&mut self, changed: Slots, old: Leaf, new: Leaf) {
        if is_relaxed(old.attributes, new.attributes) {
            self.gather.publish();
        } else {
            self.gather.stale_leaves(changed.span(), changed.first.level());
        }
    }

    /// Breaks an entry, and leaves its successor waiting for the invalidation; returns what the entry said at last.
    pub(crate) fn replace(&mut self, live: Live, successor: impl Fn(Entry) -> Entry) -> Entry {
        let slot = live.slot();
        let last = live.replace(self.mmu, self.tree.codec, successor);
        match last {
            Entry::Table(_) => self.gather.stale_table(slot),
            _ => self.gather.stale_leaf(slot),
        }
        self.gather.wait(slot);
        last
    }

    /// Returns the entries for a range, if they stand in one table of the last level that will keep others: an operation that can
    /// do without the tables above does so, which saves it half of its time for a page.
    pub(crate) fn entries_among_others(&mut self, range: IpaRange) -> Option<Slots> {
        // Another part of the operation may take the table away.
        let entries = match self.found.take() {
            Some((found, entries)) if found == range => entries?,
            _ => self.walker().last_entries(range)?,
        };
        (entries.count < u64::from(self.tables.live_entries(entries.first.table()))).then_some(entries)
    }

    pub(crate) fn note(&mut self, table: Hpa, delta: i32) {
        let count = i32::from(self.tables.live_entries(table)) + delta;
        self.tables.set_live_entries(table, count as u16);
    }

    /// Tells whether leaves that say this may translate as one. Where faults note the first store, the permission to store is
    /// one page's, and the members of a group have one permission.
    pub(crate) fn may_group(&self, attributes: Attributes) -> bool {
        attributes.dirty == Dirty::Untracked || self.mmu.features().dirty == DirtyLevel::Dirty
    }

    /// Tells whether walks leave the leaf's flags alone: there is none that they would set.
    pub(crate) fn is_settled(&self, attributes: Attributes) -> bool {
        let is_counted = attributes.dirty == Dirty::Clean && attributes.perms.contains(Perms::WRITE);
        self.mmu.features().dirty == DirtyLevel::None || attributes.accessed && !is_counted
    }
}

/// Puts what waits for an invalidation in its place.
struct Settle<'s, 'e, M, T> {
    edit: &'s mut Edit<'e, M, T>,
    proof: &'s Flushed,
}

impl<M: Mmu, T: Tables> Settle<'_, '_, M, T> {
    fn make(&mut self, idle: Idle) -> Next {
        if idle.is_pending() {
            idle.make(self.edit.mmu, self.proof);
            self.edit.stored();
            self.edit.gather.publish();
        }
        Next::Same
    }
}

impl<M: Mmu, T: Tables> Visitor for Settle<'_, '_, M, T> {
    type Error = core::convert::Infallible;

    fn visit(&mut self, place: Place, _part: IpaRange) -> Result<Next, Self::Error> {
        Ok(match place {
            Place::Table(Held::Idle(idle), _) | Place::Leaf(Held::Idle(idle), _) => self.make(idle),
            Place::Table(held, table) => Next::Descend(held.via(table)),
            Place::Vacant(_) | Place::Prepared(_) | Place::Leaf(..) => Next::Same,
        })
    }
}

/// Returns how many tables a leaf of `level` takes that becomes smaller ones, of which `part` is apart from the rest: one for
/// each entry that is cut, level by level. An entry that begins where `part` ends has no share in it, and takes none.
fn tables_for(span: IpaRange, level: Level, part: IpaRange) -> u64 {
    let Some(below) = level.next().filter(|_| part != span && !part.is_empty()) else { return 0 };
    if below == Level::LEAF {
        return 1;
    }
    let child = |ipa: Ipa| IpaRange::new(Ipa(ipa.0 & !(below.entry_span() - 1)), below.entry_span());
    let (first, last) = (child(part.start), child(part.end));
    let of = |child: IpaRange| tables_for(child, below, part.intersection(child));
    1 + of(first) + if last == first { 0 } else { of(last) }
}

/// Tells whether a leaf may become the other without a break (DDI 0487, D8.14 "Using break-before-make when updating
/// translation table entries"): permissions and flags only; in a group, flags only.
fn may_change_in_place(old: Leaf, new: Leaf) -> bool {
    let (a, b) = (old.attributes, new.attributes);
    let is_same_output = old.output == new.output || planted::is(36);
    let is_same_type = a.memory == b.memory || spoiled::is_retyped_in_place(b.memory);
    let is_same_memory = is_same_output && is_same_type && a.contiguous == b.contiguous;
    is_same_memory && (!a.contiguous || a.perms == b.perms)
}

/// Tells whether the new leaf allows all that the old one did. What TLBs hold of it may cost a fault, which is tried again.
fn is_relaxed(old: Attributes, new: Attributes) -> bool {
    // A leaf that becomes clean is no longer to be stored to unnoticed.
    let is_cleaned = old.dirty != Dirty::Clean && new.dirty == Dirty::Clean && !planted::is(72);
    let is_aged = old.accessed && !new.accessed && !planted::is(75);
    new.perms.contains(spoiled::guarded(old.perms)) && !is_aged && !is_cleaned
}
