//! Accesses: what one may find, and what one does.

use std::collections::HashSet;

use vmsa::{Dirty, Entry, Geometry, Hpa, Ipa, Leaf, Perms};

use crate::Sim;
use crate::said::Said;
use crate::state::State;
use crate::walker::{Look, Seen, Way, attributes};

impl Sim {
    /// Returns all that an access of a CPU may find at `ipa` of the VM whose root `vttbr` names.
    pub fn access(&self, cpu: usize, vttbr: u64, geometry: Geometry, ipa: Ipa) -> HashSet<Seen> {
        let mut state = self.state();
        let look = Look::new(self.view(), &state, cpu, vttbr, geometry, ipa);
        let mut seen: HashSet<Seen> = look.ways.iter().map(|way| look.seen(way)).collect();
        if look.has_conflict() {
            seen.insert(Seen::Conflict);
        }
        for page in &seen {
            accuse_foreign(&mut state, cpu, ipa, page);
        }
        seen
    }

    /// Returns what every CPU sees at `ipa`, or `None` where they may disagree; but CPUs other than the first may not have noticed
    /// yet that the page allows more. For when no operation is under way: a group of which the address is one, and that does not
    /// go together then, is a violation.
    pub fn agreed(&self, vttbr: u64, geometry: Geometry, ipa: Ipa) -> Option<Option<(Hpa, Perms)>> {
        let first = self.access(0, vttbr, geometry, ipa);
        let others: HashSet<Seen> = (1..self.cpus()).flat_map(|cpu| self.access(cpu, vttbr, geometry, ipa)).collect();
        self.check_group(vttbr, geometry, ipa);
        let [seen] = first.into_iter().collect::<Vec<_>>().try_into().ok()?;
        if !others.iter().all(|other| *other == seen || is_behind(other, &seen)) {
            return None;
        }
        match seen {
            Seen::Nothing => Some(None),
            Seen::Page(frame, perms) => Some(Some((frame, perms))),
            _ => None,
        }
    }

    /// Accesses `ipa` as a CPU does, for `perms`, and sets the flags that walks of this machine set. Of the ways that the access
    /// can go, whose number it is told, `choose` picks one; 0 is the walk of the tables as they are, and others follow what
    /// stores and invalidations under way leave. The access is let through if the result is a page with `perms`. `choose` must
    /// not use the machine.
    pub fn touch(
        &self,
        cpu: usize,
        vttbr: u64,
        geometry: Geometry,
        ipa: Ipa,
        perms: Perms,
        mut choose: impl FnMut(usize) -> usize,
    ) -> Seen {
        let mut state = self.state();
        let look = Look::new(self.view(), &state, cpu, vttbr, geometry, ipa);
        let count = look.ways.len() + usize::from(look.has_conflict());
        let number = choose(count);
        assert!(number < count, "way {number} of {count}");
        let Some(mut way) = look.ways.get(number) else {
            return Seen::Conflict;
        };
        if let Way::Held(said) = way
            && perms.contains(Perms::WRITE)
            && attributes(said).dirty == Dirty::Clean
            && look.view.flags.sets_dirty()
        {
            // The hardware would write the descriptor, finds that it says something else, and walks again.
            way = &look.ways[0];
        }
        let seen = look.seen(way);
        if let (Way::Walked(said), Seen::Page(_, allowed)) = (way, seen) {
            self.set_flags(said, allowed, perms);
        }
        accuse_foreign(&mut state, cpu, ipa, &seen);
        seen
    }

    /// Sets the access flag of a leaf that a walk reads, and the dirty state where a store is let through. The descriptor was
    /// read under the lock that all stores take: it still says the same, if it is in the table at all.
    fn set_flags(&self, said: &Said, allowed: Perms, perms: Perms) {
        let (view, Some(leaf)) = (self.view(), said.leaf()) else {
            return;
        };
        let mut attributes = leaf.attributes;
        attributes.accessed |= view.flags.sets_accessed();
        let is_stored = perms.contains(Perms::WRITE) && allowed.contains(perms);
        if is_stored && attributes.dirty == Dirty::Clean && view.flags.sets_dirty() {
            attributes.dirty = Dirty::Dirty;
        }
        let codec = view.codec;
        if codec.decode(self.memory().word(said.slot), said.level) == said.entry {
            let marked = Entry::Leaf(Leaf { attributes, ..leaf });
            self.memory().set_word(said.slot, codec.encode(marked, said.level));
        }
    }

    /// Takes note of every group of a tree that does not go together. For when no operation is under way.
    pub fn check_groups(&self) {
        let mut state = self.state();
        let groups = state.groups(self.view());
        for said in groups.iter().filter(|said| self.view().is_misprogrammed(said)) {
            state.accuse_once("R17", &misprogrammed(said));
        }
    }

    fn check_group(&self, vttbr: u64, geometry: Geometry, ipa: Ipa) {
        let mut state = self.state();
        if !state.has_hints() {
            return;
        }
        let look = Look::new(self.view(), &state, 0, vttbr, geometry, ipa);
        let mut groups: Vec<Said> =
            look.ways.iter().filter_map(Way::said).filter(|said| said.is_hinted()).copied().collect();
        groups.dedup_by_key(|said| said.first_of_group());
        for said in groups.iter().filter(|said| self.view().is_misprogrammed(said)) {
            state.accuse_once("R17", &misprogrammed(said));
        }
    }
}

/// Tells whether one who sees this page sees the same page, and less of what it allows.
fn is_behind(other: &Seen, seen: &Seen) -> bool {
    match (other, seen) {
        (Seen::Page(frame, fewer), Seen::Page(same, perms)) => frame == same && perms.contains(*fewer),
        _ => false,
    }
}

fn misprogrammed(said: &Said) -> String {
    let group = said.group();
    format!("the group of 16 at {}, of entries of {:?}, does not go together", group.start, said.level)
}

fn accuse_foreign(state: &mut State, cpu: usize, ipa: Ipa, seen: &Seen) {
    if let Seen::Foreign(page) = seen {
        state.accuse_once("R33", &format!("CPU {cpu} may reach {page} at {ipa}, which is another's"));
    }
}
