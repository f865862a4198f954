//! What a descriptor says, and for which addresses.

use vmsa::{Attributes, BbmLevel, DirtyLevel, Entry, Features, Hpa, Ipa, IpaRange, Leaf, Level, Perms};

/// How many entries translate as one where they say so (4 KiB granule, every level).
pub(crate) const GROUP: u64 = 16;

/// A descriptor's meaning, and its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) slot: Hpa,
    pub(crate) level: Level,
    /// The addresses that the slot is for: what an invalidation by IPA has to name.
    pub(crate) span: IpaRange,
    pub(crate) entry: Entry,
}

impl Said {
    pub(crate) const fn leaf(&self) -> Option<Leaf> {
        match self.entry {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    pub(crate) fn is_hinted(&self) -> bool {
        self.leaf().is_some_and(|leaf| leaf.attributes.contiguous)
    }

    /// Returns the addresses of the aligned group that the slot is one of.
    pub(crate) fn group(&self) -> IpaRange {
        let len = GROUP * self.level.entry_span();
        IpaRange::new(Ipa(self.span.start.0 & !(len - 1)), len)
    }

    /// Returns the addresses that a TLB entry made of the descriptor may translate: with the contiguous hint the whole group's.
    pub(crate) fn reach(&self) -> IpaRange {
        if self.is_hinted() { self.group() } else { self.span }
    }

    /// Returns the page that a leaf leads an address in its reach to; the other members' by the leaf's own arithmetic.
    pub(crate) fn page(&self, ipa: Ipa) -> Option<Hpa> {
        let offset = ipa.page_base().0.wrapping_sub(self.span.start.0);
        self.leaf().map(|leaf| Hpa(leaf.output.0.wrapping_add(offset)))
    }

    /// Returns the slot of the group's first member.
    pub(crate) const fn first_of_group(&self) -> Hpa {
        Hpa(self.slot.0 & !(8 * GROUP - 1))
    }

    /// Tells whether an entry of a TLB that is made of the one says the same about an address as of the other.
    pub(crate) fn translates_as(&self, other: &Self, ipa: Ipa) -> bool {
        let attributes = |said: &Self| said.leaf().map(|leaf| leaf.attributes);
        self.level == other.level && attributes(self) == attributes(other) && self.page(ipa) == other.page(ipa)
    }

    /// Tells whether a leaf's reach leads to the frame.
    pub(crate) fn leads_to(&self, frame: Hpa) -> bool {
        let reach = self.reach();
        self.page(reach.start).is_some_and(|first| (first..first.add(reach.len())).contains(&frame))
    }
}

/// What the CPUs do with flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    dirty: DirtyLevel,
    bbm: BbmLevel,
}

impl Flags {
    pub(crate) const fn of(features: &Features) -> Self {
        Self { dirty: features.dirty, bbm: features.bbm }
    }

    /// Tells whether walks set the access flag.
    pub(crate) fn sets_accessed(self) -> bool {
        self.dirty >= DirtyLevel::AccessFlag
    }

    /// Tells whether walks set the dirty state.
    pub(crate) fn sets_dirty(self) -> bool {
        self.dirty >= DirtyLevel::Dirty
    }

    /// Tells whether nT keeps the leaf out of TLBs; without FEAT_BBM the bit says nothing.
    pub(crate) fn is_untranslated(self, attributes: Attributes) -> bool {
        attributes.uncached && self.bbm >= BbmLevel::NoTranslationCaching
    }

    /// Tells whether a TLB may keep what a descriptor says as it stands.
    pub(crate) fn is_cacheable(self, entry: Entry) -> bool {
        match entry {
            Entry::Table(_) => true,
            Entry::Leaf(leaf) => leaf.attributes.accessed && !self.is_untranslated(leaf.attributes),
            Entry::Invalid | Entry::Malformed(_) => false,
        }
    }

    /// Tells whether a TLB may keep what a descriptor says once a walk has gone through it, which may set its access flag.
    pub(crate) fn becomes_cacheable(self, entry: Entry) -> bool {
        match entry {
            Entry::Leaf(leaf) if self.sets_accessed() => !self.is_untranslated(leaf.attributes),
            entry => self.is_cacheable(entry),
        }
    }

    /// Returns what a leaf that a walk has just read lets an access do, flags that the walk sets being set.
    pub(crate) fn allowed(self, attributes: Attributes) -> Perms {
        if !attributes.accessed && !self.sets_accessed() {
            return Perms::empty();
        }
        if self.is_trap(attributes) { attributes.perms - Perms::WRITE } else { attributes.perms }
    }

    /// Tells whether a store to the leaf faults so that software notes it.
    fn is_trap(self, attributes: Attributes) -> bool {
        attributes.dirty == vmsa::Dirty::Clean && !self.sets_dirty()
    }
}
