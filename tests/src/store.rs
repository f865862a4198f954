//! Stores to tables: what may not be done, what is left behind, and what trees lead to since.

use vmsa::{Entry, Hpa, Vmid};

use crate::fact::{Fact, Holds};
use crate::rules::Manner;
use crate::said::{Flags, Said};
use crate::state::{Hidden, State, Table};
use crate::view::View;

/// How a descriptor is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    Plain,
    Release,
    Atomic,
}

/// Whose facts a store leaves, and by whom.
#[derive(Clone, Copy)]
struct Leaves {
    vmid: Vmid,
    root: Hpa,
    writer: usize,
}

impl State {
    /// Judges a store of a CPU to a slot that may be a table's, before it is done, and records what it leaves behind.
    pub(crate) fn store(&mut self, view: View<'_>, writer: usize, slot: Hpa, raw: u64, how: How) {
        let Some(table) = self.tables.get(&slot.page_base()).copied() else {
            return;
        };
        let old = view.look(slot, table.level, table.base);
        let new = view.meaning(slot, table.level, table.base, raw);
        let is_walked = table.is_linked || self.tlbs.has_table(slot.page_base());
        if let Some(vmid) = self.contexts.vmid_of(table.root).filter(|_| is_walked) {
            self.judge_form(view, &old, &new, how);
            self.judge_change(view, vmid, &old, &new);
            self.leave(view, Leaves { vmid, root: table.root, writer }, &old, &new);
        }
        if table.is_linked && old.entry != new.entry {
            self.unlink(view, &old);
            self.link(view, table.root, &new);
        }
    }

    /// Judges what a store alone can do wrong.
    fn judge_form(&mut self, view: View<'_>, old: &Said, new: &Said, how: How) {
        if old.leaf().is_some() && view.flags.sets_accessed() && how != How::Atomic {
            self.accuse("R22", &format!("{old:?} is written over without looking at the flags that walks set"));
        }
        if matches!(new.entry, Entry::Table(_)) && how == How::Plain {
            self.accuse("R29", &format!("{new:?} links a table without ordering its contents before"));
        }
        if let Entry::Malformed(_) = new.entry {
            self.accuse("R31", &format!("{new:?} means nothing"));
        }
    }

    /// Judges a new entry, and all that it leads to, by what TLBs may hold, the old entry included.
    fn judge_change(&mut self, view: View<'_>, vmid: Vmid, old: &Said, new: &Said) {
        if !new.entry.is_live() || old.entry == new.entry {
            return;
        }
        // What walks neither use nor keep can be anything; an entry that they only do not keep can not.
        let is_used = view.flags.is_cacheable(old.entry) || old.leaf().is_some_and(|leaf| leaf.attributes.accessed);
        let rule = is_used.then(|| view.broken_rule(old, new, Manner::Anew)).flatten();
        if let Some(rule) = rule {
            self.accuse(rule, &format!("{old:?} becomes {new:?} without a break"));
        }
        if self.tlbs.is_empty() || rule.is_some() {
            return;
        }
        let manner = if old.entry.is_live() { Manner::InPlace } else { Manner::Anew };
        for said in std::iter::once(*new).chain(view.below(new)) {
            let facts = self.tlbs.meeting(vmid, said.reach()).map(|(_, fact)| fact).filter(|fact| fact.is_cacheable);
            let mut judged = facts.filter_map(|fact| Some((view.broken_rule(&fact.was, &said, manner)?, fact.was)));
            if let Some((rule, was)) = judged.next() {
                drop(judged);
                return self.accuse(rule, &format!("{said:?} is made while a TLB may hold {was:?}"));
            }
        }
    }

    /// Records what CPUs may hold, or still see, of the old entry and of all that it led to.
    fn leave(&mut self, view: View<'_>, leaves: Leaves, old: &Said, new: &Said) {
        if old.entry.is_live() && old.entry != new.entry {
            self.leave_one(view.flags, leaves, old, view.flags.is_cacheable(old.entry));
            for below in view.below(old) {
                self.leave_one(view.flags, leaves, &below, view.flags.becomes_cacheable(below.entry));
            }
        }
        if new.entry.is_live() && !old.entry.is_live() {
            self.unpublished.insert(new.slot, Hidden { writer: leaves.writer, from: self.every_cpu() });
        } else if !new.entry.is_live() {
            self.unpublished.remove(&new.slot);
        }
    }

    fn leave_one(&mut self, flags: Flags, leaves: Leaves, was: &Said, is_cacheable: bool) {
        let Leaves { vmid, root, writer } = leaves;
        // A walk that would have to set the flag of what is no longer there starts again.
        let is_restarted = was.leaf().is_some_and(|leaf| !leaf.attributes.accessed) && flags.sets_accessed();
        if is_cacheable || !is_restarted {
            let holds = Holds::unseen(self.every_cpu());
            self.tlbs.replaced(Fact { vmid, root, was: *was, is_cacheable, writer, holds });
        }
    }

    /// Takes note that a tree leads to what an entry says, and to all below.
    pub(crate) fn link(&mut self, view: View<'_>, root: Hpa, entry: &Said) {
        for said in std::iter::once(*entry).chain(view.below(entry)) {
            match (said.entry, said.level.next()) {
                (Entry::Leaf(leaf), _) => {
                    *self.mapped.entry((leaf.output, said.level.number())).or_default() += 1;
                    if said.is_hinted() {
                        self.hinted.insert(said.first_of_group());
                    }
                }
                (Entry::Table(table), Some(level)) => {
                    let linked = Table { root, level, base: said.span.start, is_linked: true };
                    if self.tables.insert(table, linked).is_some_and(|before| before.is_linked) {
                        self.accuse("R30", &format!("{said:?} links a table that is linked already"));
                    }
                }
                _ => {}
            }
        }
    }

    pub(crate) fn unlink(&mut self, view: View<'_>, entry: &Said) {
        for said in std::iter::once(*entry).chain(view.below(entry)) {
            match said.entry {
                Entry::Leaf(leaf) => self.unmapped((leaf.output, said.level.number())),
                Entry::Table(table) => {
                    if let Some(table) = self.tables.get_mut(&table) {
                        table.is_linked = false;
                    }
                }
                _ => {}
            }
        }
    }

    fn unmapped(&mut self, page: (Hpa, u8)) {
        match self.mapped.get_mut(&page) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.mapped.remove(&page),
        }
    }
}
