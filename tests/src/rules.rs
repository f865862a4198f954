//! What the architecture says about an entry that is made while TLBs may hold another for the same addresses.

use vmsa::{BbmLevel, ENTRIES, Entry, Hpa, MemoryType, Perms};

use crate::said::Said;
use crate::view::View;

/// How the new entry came to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// Of one that said the same or differed in permissions only: TLBs may still hold entries from before those changed.
    InPlace,
    /// Of nothing, or of what it is compared with.
    Anew,
}

impl View<'_> {
    /// Returns the rule that is broken when `new` is made while TLBs may hold `old`.
    pub(crate) fn broken_rule(&self, old: &Said, new: &Said, manner: Manner) -> Option<&'static str> {
        match (old.entry, new.entry) {
            (Entry::Leaf(_), Entry::Leaf(_)) => self.leaf_by_leaf(old, new, manner),
            (Entry::Leaf(_), Entry::Table(table)) if old.reach().covers(new.span) => {
                self.is_resized(old, table, new, manner).then_some("R5")
            }
            (Entry::Table(table), Entry::Leaf(_)) if new.reach().covers(old.span) => {
                self.is_resized(new, table, old, manner).then_some("R5")
            }
            (Entry::Table(old_table), Entry::Table(table)) => {
                (old.span == new.span && old_table != table).then_some("R5")
            }
            _ => None,
        }
    }

    fn leaf_by_leaf(&self, old: &Said, new: &Said, manner: Manner) -> Option<&'static str> {
        let common = old.reach().intersection(new.reach());
        let (was, is) = (old.leaf()?.attributes, new.leaf()?.attributes);
        if common.is_empty() {
            return None;
        }
        if old.page(common.start) != new.page(common.start) {
            return Some("R1");
        }
        if was.memory != is.memory {
            return Some("R2");
        }
        if old.level != new.level {
            let is_same = manner == Manner::InPlace || was.perms == is.perms;
            return (!is_same || !self.may_resize(old, new)).then_some("R5");
        }
        let is_same = if was.contiguous == is.contiguous {
            !was.contiguous || was.perms == is.perms && was.uncached == is.uncached
        } else {
            self.bbm == BbmLevel::Direct
        };
        (!is_same).then_some("R18")
    }

    /// Tells whether a leaf and the table that takes its place, or whose place it takes, are a change that is not allowed: each
    /// address has to be translated as it was.
    fn is_resized(&self, leaf: &Said, table: Hpa, entry: &Said, manner: Manner) -> bool {
        !self.may_resize(leaf, entry) || !self.covers_equally(leaf, table, entry, manner)
    }

    /// FEAT_BBM: at level 1 one of both is not held, at level 2 both may be.
    fn may_resize(&self, one: &Said, other: &Said) -> bool {
        let is_untranslated = |said: &Said| said.leaf().is_some_and(|leaf| leaf.attributes.uncached);
        match self.bbm {
            BbmLevel::BreakFirst => false,
            BbmLevel::NoTranslationCaching => is_untranslated(one) || is_untranslated(other),
            BbmLevel::Direct => true,
        }
    }

    /// Tells whether what is below the table translates each address as the leaf does.
    fn covers_equally(&self, leaf: &Said, table: Hpa, entry: &Said, manner: Manner) -> bool {
        let below = self.entries(table, entry);
        let is_equal = |said: &Said| {
            let ((memory, perms), other) = (kind(said), kind(leaf));
            memory == other.0 && (manner == Manner::InPlace || perms == other.1)
        };
        below.len() == ENTRIES
            && below.iter().all(|said| match said.entry {
                Entry::Table(table) => self.covers_equally(leaf, table, said, manner),
                _ => said.page(said.span.start) == leaf.page(said.span.start) && is_equal(said),
            })
    }

    /// Tells whether the slot is in a group of which some members say that they translate as one, and not all do (DDI 0487,
    /// D8.5, "Contiguous bit"). The access flag, the dirty state and bits of software's may differ.
    pub(crate) fn is_misprogrammed(&self, of: &Said) -> bool {
        let members: Vec<Said> = self.members(of).collect();
        let Some(hinted) = members.iter().find(|member| member.is_hinted()) else {
            return false;
        };
        let group = hinted.group();
        let is_aligned = hinted.page(group.start).is_some_and(|first| first.0.is_multiple_of(group.len()));
        let agrees = |member: &Said| {
            member.is_hinted()
                && member.page(group.start) == hinted.page(group.start)
                && kind(member) == kind(hinted)
                && member.leaf().map(|leaf| leaf.attributes.uncached)
                    == hinted.leaf().map(|leaf| leaf.attributes.uncached)
        };
        !is_aligned || !members.iter().all(agrees)
    }
}

fn kind(said: &Said) -> (Option<MemoryType>, Option<Perms>) {
    let attributes = said.leaf().map(|leaf| leaf.attributes);
    (attributes.map(|a| a.memory), attributes.map(|a| a.perms))
}
