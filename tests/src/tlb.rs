//! TLBs that keep everything that they ever may.
//!
//! What a walk could use at some time is a *fact* that a CPU may hold until an invalidation removes it for certain. Facts of
//! what is still in the tables need no record; one is made when its descriptor is written over, and with a table's those of all
//! that the table led to. A block may be held in pieces of any size, and a member of a contiguous group as an entry for the
//! whole group: a fact translates all its reach, and goes when its own slot's addresses are named.

use std::collections::{BTreeMap, HashMap};
use std::ops::{RangeBounds, RangeInclusive};

use vmsa::{Dsb, Entry, Hpa, Ipa, IpaRange, Scope, Tlbi, Vmid};

use crate::fact::{Fact, Holds, reached};
use crate::named::Named;
use crate::said::Said;

/// The base-two logarithms of what entries reach: pages, blocks, entries of level 0, and groups of 16.
const SHIFTS: [u32; 7] = [12, 16, 21, 25, 30, 34, 39];

/// VMID, logarithm of the reach, where it starts, and a number that tells facts apart.
type Key = (u16, u32, u64, u64);

/// The facts of all CPUs.
#[derive(Debug, Default)]
pub(crate) struct Tlbs {
    facts: BTreeMap<Key, Fact>,
    number: u64,
    /// By table how many facts lead there.
    tables: HashMap<Hpa, usize>,
}

impl Tlbs {
    pub(crate) fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Records what was written over. What was there before, and is again, is held anew.
    pub(crate) fn replaced(&mut self, fact: Fact) {
        let same = self.meeting(fact.vmid, fact.was.span).find(|(_, old)| old.root == fact.root && old.was == fact.was);
        if let Some(key) = same.map(|(key, _)| key) {
            self.facts.insert(key, fact);
            return;
        }
        if let Entry::Table(table) = fact.was.entry {
            *self.tables.entry(table).or_default() += 1;
        }
        let reach = fact.was.reach();
        self.number += 1;
        self.facts.insert((fact.vmid.0, reach.len().trailing_zeros(), reach.start.0, self.number), fact);
    }

    /// Returns the facts of a VMID whose reach has an address in `span`.
    pub(crate) fn meeting(&self, vmid: Vmid, span: IpaRange) -> impl Iterator<Item = (Key, &Fact)> {
        let ranges = SHIFTS.into_iter().map(move |shift| keys(vmid, shift, span));
        ranges.flat_map(|range| self.facts.range(range)).map(|(key, fact)| (*key, fact))
    }

    /// Returns what the CPU may hold for an address.
    pub(crate) fn held(&self, cpu: usize, vmid: Vmid, ipa: Ipa) -> impl Iterator<Item = &Fact> {
        self.meeting(vmid, IpaRange::page(ipa)).map(|(_, fact)| fact).filter(move |fact| fact.holds.is_on(cpu))
    }

    /// Returns a fact of the VMID that is of another tree.
    pub(crate) fn of_another_tree(&self, vmid: Vmid, root: Hpa) -> Option<&Fact> {
        self.facts.range(all(vmid)).map(|(_, fact)| fact).find(|fact| fact.root != root)
    }

    /// Returns a fact by which some CPU may reach the frame, as a table or as memory.
    pub(crate) fn reaching(&self, frame: Hpa) -> Option<&Fact> {
        self.facts.values().find(|fact| match fact.was.entry {
            Entry::Table(table) => table == frame,
            _ => fact.was.leads_to(frame),
        })
    }

    /// Tells whether some CPU may walk through the table by what it holds.
    pub(crate) fn has_table(&self, table: Hpa) -> bool {
        self.tables.contains_key(&table)
    }

    /// Issues an invalidation on a CPU, for a VMID if one is in effect there for certain.
    pub(crate) fn tlbi(&mut self, issuer: usize, vmid: Option<Vmid>, op: Tlbi, scope: Scope) {
        let cpus = reached(scope, issuer);
        match (op, vmid, Named::by(op)) {
            (Tlbi::All, ..) => self.forget(.., |_, holds| holds.forget_all(issuer, cpus)),
            (Tlbi::Vmid, Some(vmid), _) => self.forget(all(vmid), |_, holds| holds.forget_all(issuer, cpus)),
            (Tlbi::Stage1, Some(vmid), _) => self.forget(all(vmid), |_, holds| holds.forget_combined(issuer, cpus)),
            (_, Some(vmid), Some(named)) => {
                let forget = |was: &Said, holds: &mut Holds| {
                    if named.names(was) {
                        holds.forget_stage2(issuer, cpus);
                    }
                };
                SHIFTS.into_iter().for_each(|shift| self.forget(keys(vmid, shift, named.range), forget));
            }
            _ => {}
        }
    }

    fn forget(&mut self, keys: impl RangeBounds<Key>, forget: impl Fn(&Said, &mut Holds)) {
        for (_, fact) in self.facts.range_mut(keys) {
            forget(&fact.was, &mut fact.holds);
        }
    }

    /// Completes what a barrier of the CPU completes.
    pub(crate) fn dsb(&mut self, issuer: usize, kind: Dsb) {
        let tables = &mut self.tables;
        self.facts.retain(|_, fact| {
            fact.dsb(issuer, kind);
            let is_held = fact.holds.cpus() != 0;
            if let (Entry::Table(table), false) = (fact.was.entry, is_held) {
                match tables.get_mut(&table) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => _ = tables.remove(&table),
                }
            }
            is_held
        });
    }
}

/// Returns the keys of a VMID's facts.
fn all(vmid: Vmid) -> RangeInclusive<Key> {
    (vmid.0, 0, 0, 0)..=(vmid.0, u32::MAX, u64::MAX, u64::MAX)
}

/// Returns the keys of the facts that reach `1 << shift` bytes, some of them in `span`.
fn keys(vmid: Vmid, shift: u32, span: IpaRange) -> RangeInclusive<Key> {
    let first = span.start.0 >> shift << shift;
    (vmid.0, shift, first, 0)..=(vmid.0, shift, span.end.0 - 1, u64::MAX)
}
