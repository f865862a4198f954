//! TLBs that keep everything that they ever may.
//!
//! What a walk could use at some time is a *fact* that a CPU may hold until an invalidation removes it for certain. Facts of
//! what is still in the tables need no record; a fact is recorded when its descriptor is written over, for every CPU. It goes
//! through stages: the store must reach the walks (`DSB` on the writing CPU) before an invalidation counts; an invalidation
//! counts at a `DSB` of the CPU that issued it; and an invalidation by IPA leaves the combined entries, which only one of
//! stage 1 that is issued after that `DSB` removes.
//!
//! This first machine has no conflicts, no contiguous groups and no hardware updates: the tables under test use none.

use vmsa::{Dsb, Entry, Hpa, Ipa, IpaRange, Level, Scope, Tlbi, Vmid};

/// What an access may find.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Seen {
    /// A translation fault.
    Nothing,
    /// A page, and what may be done to it.
    Page(Hpa, vmsa::Perms),
    /// Whatever lies at an address that is no table's: the walk went through a table that is something else by now.
    Anything,
}

/// How far a fact is on its way out of one CPU's TLB.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The store that replaced the descriptor may not be visible to this CPU's walks: it may still be read from the table.
    Unseen,
    /// Only the TLB can hold it.
    Held,
    /// An invalidation of everything was issued by this CPU.
    Going(usize),
    /// An invalidation by IPA was issued by this CPU.
    GoingByIpa(usize),
    /// Stage 2 is clean; combined entries remain.
    Combined,
    /// An invalidation of stage 1 was issued by this CPU.
    GoingCombined(usize),
}

/// A descriptor that was written over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replaced {
    pub(crate) vmid: Vmid,
    pub(crate) span: IpaRange,
    pub(crate) level: Level,
    pub(crate) entry: Entry,
    pub(crate) slot: Hpa,
}

/// Something that a CPU may hold though the tables say otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    cpu: usize,
    writer: usize,
    pub(crate) was: Replaced,
    stage: Stage,
}

/// The facts of all CPUs.
#[derive(Debug, Default)]
pub(crate) struct Tlbs {
    facts: Vec<Fact>,
}

impl Tlbs {
    /// Records what a CPU wrote over, for every CPU.
    pub(crate) fn replaced(&mut self, cpus: usize, writer: usize, was: Replaced) {
        self.facts.extend((0..cpus).map(|cpu| Fact { cpu, writer, was, stage: Stage::Unseen }));
    }

    /// Returns what the CPU may hold for an address.
    pub(crate) fn held(&self, cpu: usize, vmid: Vmid, ipa: Ipa) -> impl Iterator<Item = &Fact> {
        let page = IpaRange::page(ipa);
        self.facts.iter().filter(move |fact| fact.cpu == cpu && fact.was.vmid == vmid && fact.was.span.covers(page))
    }

    /// Returns what any CPU may hold of a slot.
    pub(crate) fn of_slot(&self, slot: Hpa) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.was.slot == slot)
    }

    /// Returns a fact by which some CPU may reach the frame, as a table or as memory.
    pub(crate) fn reaching(&self, frame: Hpa) -> Option<&Fact> {
        self.facts.iter().find(|fact| match fact.was.entry {
            Entry::Table(table) => table == frame,
            Entry::Leaf(leaf) => {
                let end = leaf.output.add(fact.was.level.entry_span());
                (leaf.output..end).contains(&frame)
            }
            Entry::Invalid | Entry::Malformed(_) => false,
        })
    }

    /// Issues an invalidation on a CPU whose VMID is `vmid`.
    pub(crate) fn tlbi(&mut self, cpu: usize, vmid: Vmid, op: Tlbi, scope: Scope) {
        for fact in &mut self.facts {
            if scope == Scope::Local && fact.cpu != cpu || fact.was.vmid != vmid && op != Tlbi::All {
                continue;
            }
            fact.stage = match (op, fact.stage) {
                (Tlbi::All | Tlbi::Vmid, Stage::Held | Stage::GoingByIpa(_) | Stage::Combined) => Stage::Going(cpu),
                (Tlbi::Ipa { .. } | Tlbi::Range { .. }, Stage::Held) if names(op, fact) => Stage::GoingByIpa(cpu),
                (Tlbi::Stage1, Stage::Combined) => Stage::GoingCombined(cpu),
                (_, stage) => stage,
            };
        }
    }

    /// Completes what a barrier of the CPU completes.
    pub(crate) fn dsb(&mut self, cpu: usize, kind: Dsb) {
        for fact in &mut self.facts {
            let is_wide = matches!(kind, Dsb::Ish | Dsb::Ishst) || fact.cpu == cpu;
            let completes = kind == Dsb::Ish || kind == Dsb::Nsh && fact.cpu == cpu;
            fact.stage = match fact.stage {
                Stage::Unseen if fact.writer == cpu && is_wide => Stage::Held,
                Stage::GoingByIpa(issuer) if issuer == cpu && completes => Stage::Combined,
                stage => stage,
            };
        }
        let completes = |fact: &Fact| kind == Dsb::Ish || kind == Dsb::Nsh && fact.cpu == cpu;
        self.facts.retain(|fact| {
            let is_gone = matches!(fact.stage, Stage::Going(issuer) | Stage::GoingCombined(issuer) if issuer == cpu);
            !(is_gone && completes(fact))
        });
    }
}

/// Tells whether an invalidation by IPA or range names the fact: its address, its level where a hint is given, and tables only
/// in the form for all levels. The operand is decoded as the hardware decodes it.
fn names(op: Tlbi, fact: &Fact) -> bool {
    let is_table = matches!(fact.was.entry, Entry::Table(_));
    let operand = op.operand().unwrap_or_default();
    match op {
        Tlbi::Ipa { leaf_only, .. } => {
            let ipa = Ipa((operand & ((1 << 36) - 1)) << 12);
            fact.was.span.covers(IpaRange::page(ipa))
                && !(leaf_only && is_table)
                && hint_allows(operand >> 44 & 0xf, fact)
        }
        Tlbi::Range { leaf_only, .. } => {
            let (num, scale) = (operand >> 39 & 0x1f, operand >> 44 & 3);
            let is_4k = operand >> 46 & 3 == 1;
            let pages = (num + 1) << (5 * scale + 1);
            let named = IpaRange::new(Ipa((operand & ((1 << 37) - 1)) << 12), pages << 12);
            let level = operand >> 37 & 3;
            let hint = if level == 0 { 0 } else { 4 | level };
            is_4k
                && !named.intersection(fact.was.span).is_empty()
                && !(leaf_only && is_table)
                && hint_allows(hint, fact)
        }
        Tlbi::Stage1 | Tlbi::Vmid | Tlbi::All => false,
    }
}

/// A hint of another level may keep the invalidation from finding the entry.
fn hint_allows(ttl: u64, fact: &Fact) -> bool {
    ttl == 0 || ttl == 4 | u64::from(fact.was.level.number())
}
