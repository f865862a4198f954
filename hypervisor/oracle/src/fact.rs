//! Facts: what a TLB may hold although the tables say otherwise, and how far each is on its way out.

use vmsa::{Hpa, Ipa, IpaRange, Level};

use crate::cpu::{Cpus, bit};
use crate::descriptor::{Entry, Leaf};
use crate::event::{Domain, Frames, Target, TlbiOp};
use crate::operand::Named;
use crate::rule::Rule;

/// Why what a TLB may hold is not what the tables say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Cause {
    /// The entry is not valid any more, or leads elsewhere.
    #[default]
    Broken,
    /// It grants less.
    Tightened,
    /// Its access flag was cleared.
    Aged,
    /// Its dirty state was.
    Cleaned,
    /// It is not cached any more (nT), or has another size.
    Resized,
}

/// An invalidation that named a fact, or was meant for it, and did not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wasted {
    pub(crate) rule: Rule,
    pub(crate) op: TlbiOp,
    pub(crate) operand: Option<u64>,
    pub(crate) cpu: u8,
    pub(crate) when: u64,
}

/// Who can see the store that made a fact.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Visible {
    /// Perhaps nobody's walks.
    #[default]
    No,
    /// The walks of the writer.
    Locally,
    /// Everybody's.
    Everywhere,
}

/// The CPUs whose entries of one kind may be left, and the invalidations that are under way for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Left {
    pub(crate) on: Cpus,
    /// Who issued one for itself, one for all CPUs, and one of the form that asks for the outer shareable domain.
    local: Cpus,
    inner: Cpus,
    outer: Cpus,
    /// On whom those for all CPUs count.
    reach: Cpus,
}

impl Left {
    /// Returns what is left on CPUs that hold an entry.
    pub(crate) const fn held_by(on: Cpus) -> Self {
        Self { on, local: 0, inner: 0, outer: 0, reach: Cpus::MAX }
    }

    /// Takes note of an invalidation that counts on the CPUs in `reach`.
    const fn issued(&mut self, cpu: usize, domain: Domain, reach: Cpus) {
        // A later one counts on as many CPUs, or on more: then it takes the place of those that are under way.
        if !matches!(domain, Domain::Local) && reach != self.reach {
            (self.inner, self.outer, self.reach) = (0, 0, reach);
        }
        let issuers = match domain {
            Domain::Local => &mut self.local,
            Domain::Inner => &mut self.inner,
            Domain::Outer | Domain::System => &mut self.outer,
        };
        *issuers |= bit(cpu);
    }

    /// Returns who issued one for all CPUs, and has had no DSB since.
    const fn broadcast(&self) -> Cpus {
        self.inner | self.outer
    }

    /// Takes out what a DSB of loads and stores on the CPU completes.
    const fn completed(&mut self, cpu: usize, domain: Domain) {
        let this = bit(cpu);
        let done = match domain {
            Domain::Local => 0,
            Domain::Inner => self.inner & this,
            Domain::Outer | Domain::System => self.broadcast() & this,
        };
        // Of what it has asked all CPUs for, any DSB waits for its own part.
        if self.local & this != 0 || self.broadcast() & self.reach & this != 0 {
            self.on &= !this;
        }
        if done != 0 {
            self.on &= !self.reach;
        }
        self.local &= !this;
        self.inner &= !done;
        self.outer &= !done;
    }

    const fn is_issued(&self) -> bool {
        self.broadcast() != 0 || self.local != 0
    }
}

/// Something that TLBs may hold for a range of addresses though the tables say otherwise. Neighbours that are equally far, and
/// lead to neighbours, are one fact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fact {
    pub(crate) vmid: u16,
    pub(crate) tree: u8,
    pub(crate) level: Level,
    pub(crate) cause: Cause,
    pub(crate) range: IpaRange,
    /// The first entry's address, what it said, and what it says since.
    pub(crate) slot: Hpa,
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) writer: u8,
    pub(crate) when: u64,
    pub(crate) visible: Visible,
    /// No TLB keeps it, and walks use it as long as they do not see the store: an entry with nT.
    pub(crate) is_passing: bool,
    /// Stage-2 entries.
    pub(crate) stage2: Left,
    /// Combined entries.
    pub(crate) combined: Left,
    pub(crate) wasted: Option<Wasted>,
    /// Nobody could use it then: its VMID was no tree's.
    pub(crate) is_dormant: bool,
    /// It was told of.
    pub(crate) is_told: bool,
}

impl Fact {
    pub(crate) const fn entry(&self) -> Entry {
        Entry::of(self.old, self.level)
    }

    pub(crate) fn leaf(&self) -> Option<Leaf> {
        match self.entry() {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    pub(crate) const fn is_table(&self) -> bool {
        matches!(self.entry(), Entry::Table(_))
    }

    pub(crate) fn is_contiguous(&self) -> bool {
        self.leaf().is_some_and(Leaf::is_contiguous)
    }

    /// Returns the frames that the entries lead to: a table, or pages.
    pub(crate) const fn frames(&self) -> Frames {
        match self.entry() {
            Entry::Leaf(leaf) => Frames::new(leaf.output(), self.range.pages()),
            Entry::Table(table) => Frames::new(table, 1),
            Entry::Invalid => Frames::new(Hpa(0), 0),
        }
    }

    /// Returns the leaf that TLBs may hold for an address of the range.
    pub(crate) fn leaf_at(&self, ipa: Ipa) -> Option<Leaf> {
        self.leaf().map(|leaf| leaf.moved((ipa.0 & !(self.level.entry_span() - 1)) - self.range.start.0))
    }

    /// Tells whether the next fact may be one with this: behind it, leading behind where it leads, and alike.
    pub(crate) fn joins(&self, next: &Self) -> bool {
        let Some(leaf) = self.leaf() else { return false };
        let continued = leaf.moved(self.range.len()).raw;
        self.range.end == next.range.start
            && *next
                == Self { range: next.range, slot: next.slot, old: continued, new: next.new, when: next.when, ..*self }
            && self.level == next.level
    }

    /// Returns the same fact for a part of its range.
    pub(crate) fn part(&self, range: IpaRange) -> Self {
        let ahead = range.start.0 - self.range.start.0;
        let old = self.leaf().filter(|_| ahead != 0).map_or(self.old, |leaf| leaf.moved(ahead).raw);
        Self { range, old, slot: self.slot.add(ahead / self.level.entry_span() * 8), ..*self }
    }

    /// Tells what an invalidation that names this whole fact does to it: it counts, or is wasted by a rule.
    pub(crate) fn hear(&mut self, cpu: usize, op: TlbiOp, operand: Option<u64>, when: u64) {
        // One of stage 1 alone says nothing of an entry that stage 2 still has.
        let is_beside = op.target == Target::Stage1 && self.stage2.on != 0 && !self.stage2.is_issued();
        if let Err(rule) = self.count(cpu, op)
            && !is_beside
        {
            self.waste(Wasted { rule, op, operand, cpu: cpu as u8, when });
        }
    }

    /// Keeps why an invalidation did not count. A later reason says more, but that it was only for some.
    pub(crate) const fn waste(&mut self, wasted: Wasted) {
        self.wasted = Some(wasted);
    }

    fn count(&mut self, cpu: usize, op: TlbiOp) -> Result<(), Rule> {
        let is_writer = cpu == usize::from(self.writer);
        // Where only the writer's walks see the store, others may fill their TLBs again.
        let domain = match self.visible {
            Visible::Everywhere => op.domain,
            Visible::Locally if is_writer => Domain::Local,
            _ if is_writer => return Err(Rule::StoreFirst),
            _ => return Err(Rule::OtherCpu),
        };
        if op.is_nxs && self.leaf().is_some_and(Leaf::may_be_xs) {
            return Err(Rule::Nxs);
        }
        match op.target {
            Target::Stage1 => self.count_stage1(cpu, domain)?,
            Target::Ipa | Target::Range => self.stage2.issued(cpu, domain, Cpus::MAX),
            _ => {
                self.stage2.issued(cpu, domain, Cpus::MAX);
                self.combined.issued(cpu, domain, Cpus::MAX);
            }
        }
        match (self.stage2.on | self.combined.on) & !bit(cpu) {
            0 => Ok(()),
            _ if domain < op.domain => Err(Rule::StoreFirst),
            _ if domain == Domain::Local => Err(Rule::Completion),
            _ => Ok(()),
        }
    }

    /// Combined entries can be made anew of stage-2 entries that are left.
    const fn count_stage1(&mut self, cpu: usize, domain: Domain) -> Result<(), Rule> {
        let named = if matches!(domain, Domain::Local) { bit(cpu) } else { Cpus::MAX };
        if self.combined.on & named & !self.stage2.on != 0 {
            self.combined.issued(cpu, domain, !self.stage2.on);
        }
        if self.stage2.on & named == 0 { Ok(()) } else { Err(Rule::CombinedLast) }
    }

    /// Every walk sees the store from now on.
    pub(crate) fn publish(&mut self) {
        self.visible = Visible::Everywhere;
        if self.is_passing {
            (self.stage2, self.combined) = (Left::held_by(0), Left::held_by(0));
        }
    }

    /// Tells whether any TLB may hold it.
    pub(crate) const fn is_left(&self) -> bool {
        self.stage2.on | self.combined.on != 0
    }

    /// Takes a DSB into account; returns whether anything of the fact is left.
    pub(crate) fn after_dsb(&mut self, cpu: usize, domain: Domain, is_nxs: bool) -> bool {
        let waits_for_it = !(is_nxs && self.leaf().is_some_and(Leaf::may_be_xs));
        if waits_for_it {
            self.stage2.completed(cpu, domain);
            self.combined.completed(cpu, domain);
        }
        self.is_left()
    }

    /// Tells whether an invalidation that counts waits for its DSB.
    pub(crate) const fn is_issued(&self) -> bool {
        self.stage2.is_issued() || self.combined.is_issued()
    }

    /// Returns the rule that names the step that is missing.
    pub(crate) fn missing(&self) -> Rule {
        match (self.wasted, self.cause) {
            _ if self.is_issued() => Rule::Completion,
            (Some(wasted), _) if self.stage2.on != 0 || wasted.rule == Rule::Completion => wasted.rule,
            (Some(Wasted { rule: rule @ (Rule::HostRegime | Rule::Nxs), .. }), _) => rule,
            _ if self.stage2.on == 0 => Rule::CombinedLast,
            (_, Cause::Broken | Cause::Resized) => Rule::Sequence,
            (_, Cause::Tightened) => Rule::Tightened,
            (_, Cause::Aged) => Rule::Aged,
            (_, Cause::Cleaned) => Rule::Harvest,
        }
    }

    /// Returns the part of the fact that an operand by IPA names: entries of the level that it claims, whole.
    pub(crate) fn named_by(&self, named: Named) -> Option<IpaRange> {
        let span = self.level.entry_span();
        let start = Ipa(named.range.start.0 & !(span - 1));
        let end = Ipa(named.range.end.0.saturating_add(span - 1) & !(span - 1));
        let part = IpaRange { start, end }.intersection(self.range);
        (!part.is_empty()).then_some(part)
    }
}
