//! The ways that the tables and the TLBs leave an access.

use vmsa::{Attributes, Dirty, Entry, Geometry, Hpa, Ipa, Level, Perms};

use crate::contexts::Context;
use crate::said::Said;
use crate::state::State;
use crate::view::View;

/// What an access may find.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Seen {
    /// A translation fault.
    Nothing,
    /// A page, and what may be done to it: nothing where the access flag is clear and walks do not set it.
    Page(Hpa, Perms),
    /// The same by a TLB entry from when the page was dirty, while the tables say that it is clean: a store goes unnoticed.
    Unnoted(Hpa, Perms),
    /// A page whose owner is not the VM's.
    Foreign(Hpa),
    /// A TLB conflict abort: two entries of different size or output for the address.
    Conflict,
    /// Whatever lies at an address that is no table's: the walk went through a table that is something else by now.
    Anything,
}

/// One way for an access to go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Fault,
    Outside,
    /// A leaf that a walk reads now.
    Walked(Said),
    /// A leaf that a TLB may hold.
    Held(Said),
}

impl Way {
    pub(crate) const fn said(&self) -> Option<&Said> {
        match self {
            Self::Walked(said) | Self::Held(said) => Some(said),
            Self::Fault | Self::Outside => None,
        }
    }
}

/// An access of a CPU.
pub(crate) struct Look<'s> {
    pub(crate) view: View<'s>,
    state: &'s State,
    cpu: usize,
    context: Context,
    ipa: Ipa,
    pub(crate) ways: Vec<Way>,
}

impl<'s> Look<'s> {
    /// Returns the access with all its ways. The first is the walk of the tables as they are.
    pub(crate) fn new(view: View<'s>, state: &'s State, cpu: usize, vttbr: u64, geometry: Geometry, ipa: Ipa) -> Self {
        let mut look = Self { view, state, cpu, context: Context::of(vttbr), ipa, ways: Vec::new() };
        look.tree(look.context.root, geometry);
        for fact in state.tlbs.held(cpu, look.context.vmid, ipa) {
            match (fact.was.entry, fact.was.level.next()) {
                (Entry::Table(table), Some(level)) => look.walk(table, level, fact.was.span.start),
                _ if fact.is_cacheable => look.ways.push(Way::Held(fact.was)),
                _ => look.ways.push(Way::Walked(fact.was)),
            }
        }
        for (root, geometry) in state.contexts.others(cpu, look.context) {
            look.tree(root, geometry);
        }
        look
    }

    fn tree(&mut self, root: Hpa, geometry: Geometry) {
        let start = geometry.start();
        if self.ipa >= geometry.limit() {
            return self.ways.push(Way::Fault);
        }
        let number = self.ipa.0 / start.table_span();
        self.walk(root.add(number << 12), start, Ipa(number * start.table_span()));
    }

    /// Walks from a table whose addresses begin at `base`.
    fn walk(&mut self, table: Hpa, level: Level, base: Ipa) {
        if !self.view.memory.holds(table) {
            return self.ways.push(Way::Outside);
        }
        let said = self.view.look(table.add(8 * level.index(self.ipa) as u64), level, base);
        match (said.entry, level.next()) {
            (Entry::Table(below), Some(next)) => self.walk(below, next, said.span.start),
            (Entry::Leaf(_), _) => self.ways.push(Way::Walked(said)),
            _ => self.ways.push(Way::Fault),
        }
        if self.is_faulting(&said) {
            self.ways.push(Way::Fault);
        }
        if self.state.has_hint(said.slot) {
            let is_other = |other: &Said| other.is_hinted() && !other.translates_as(&said, self.ipa);
            let others = self.view.members(&said).filter(is_other);
            let held = others.filter(|other| self.view.flags.becomes_cacheable(other.entry));
            self.ways.extend(held.map(Way::Held));
        }
    }

    /// Tells whether a walk may fault though the descriptor says something: it may not be visible, or not be used.
    fn is_faulting(&self, said: &Said) -> bool {
        let is_untranslated = said.leaf().is_some_and(|leaf| self.view.flags.is_untranslated(leaf.attributes));
        is_untranslated || self.state.is_hidden(self.cpu, said.slot)
    }

    fn live(&self) -> Option<&Said> {
        self.ways[0].said()
    }

    /// Tells whether a TLB may hold two entries for the address that do not go together.
    pub(crate) fn has_conflict(&self) -> bool {
        let cached = self.ways.iter().filter_map(Way::said);
        let cached = cached.filter(|said| self.view.flags.becomes_cacheable(said.entry));
        let mut kinds = cached.map(|said| (said.reach().len(), said.page(self.ipa)));
        kinds.next().is_some_and(|first| kinds.any(|other| other != first))
    }

    pub(crate) fn seen(&self, way: &Way) -> Seen {
        let (said, perms) = match way {
            Way::Fault => return Seen::Nothing,
            Way::Outside => return Seen::Anything,
            Way::Walked(said) => (said, self.view.flags.allowed(attributes(said))),
            Way::Held(said) => (said, self.allowed_by_tlb(said)),
        };
        let page = said.page(self.ipa).expect("the way ends in a leaf");
        if self.is_foreign(page) {
            Seen::Foreign(page)
        } else if matches!(way, Way::Held(_)) && self.is_unnoted(said, page, perms) {
            Seen::Unnoted(page, perms)
        } else {
            Seen::Page(page, perms)
        }
    }

    /// Returns what an entry in a TLB lets an access do. A store to one that says clean looks at the descriptor again.
    fn allowed_by_tlb(&self, said: &Said) -> Perms {
        let attributes = attributes(said);
        if attributes.dirty != Dirty::Clean {
            return attributes.perms;
        }
        let flags = self.view.flags;
        let live = self.live().filter(|live| flags.sets_dirty() && live.page(self.ipa) == said.page(self.ipa));
        let again = live.and_then(Said::leaf).map_or(Perms::empty(), |leaf| flags.allowed(leaf.attributes));
        (attributes.perms - Perms::WRITE) | (again & attributes.perms & Perms::WRITE)
    }

    /// Tells whether a store by an entry of a TLB that says dirty would leave no trace: the tables say that the page is clean.
    fn is_unnoted(&self, said: &Said, page: Hpa, perms: Perms) -> bool {
        let is_clean = |live: &Said| live.page(self.ipa) == Some(page) && dirty(live) == Some(Dirty::Clean);
        let is_noted = |live: &Said| live.is_hinted() && self.view.members(live).any(|member| is_noted_at(&member));
        perms.contains(Perms::WRITE)
            && dirty(said) != Some(Dirty::Clean)
            && self.live().is_some_and(|live| is_clean(live) && !is_noted(live))
    }

    fn is_foreign(&self, page: Hpa) -> bool {
        let vmid = self.context.vmid;
        let number = Some(vmid.0).filter(|number| *number != 0);
        let owner = self.state.vmid_owners.get(&vmid).copied().or(number);
        owner.is_some_and(|owner| self.state.owners.get(&page).is_some_and(|tag| *tag != owner))
    }
}

/// Tells whether a member says dirty, which it says for its whole group.
fn is_noted_at(member: &Said) -> bool {
    member.is_hinted() && dirty(member) == Some(Dirty::Dirty)
}

fn dirty(said: &Said) -> Option<Dirty> {
    said.leaf().map(|leaf| leaf.attributes.dirty)
}

/// Returns the attributes of a leaf.
pub(crate) fn attributes(said: &Said) -> Attributes {
    said.leaf().expect("a way ends in a leaf").attributes
}
