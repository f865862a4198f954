//! What the machine knows besides its RAM: TLBs, registers, which frames are tables, and what was done that may not be.

use std::collections::{HashMap, HashSet};

use vmsa::{Dsb, Entry, Features, Geometry, Hpa, Ipa, Level, Scope, Tlbi, Vmid};

use crate::contexts::Contexts;
use crate::fact::{Cpus, MOST_CPUS, shown};
use crate::said::{GROUP, Said};
use crate::tlb::Tlbs;
use crate::view::View;

/// A frame that is, or was, a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) root: Hpa,
    pub(crate) level: Level,
    pub(crate) base: Ipa,
    /// A tree leads there.
    pub(crate) is_linked: bool,
}

/// An entry that became valid, until every CPU's walks see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hidden {
    pub(crate) writer: usize,
    /// Who may not see it.
    pub(crate) from: Cpus,
}

#[derive(Default)]
pub(crate) struct State {
    cpus: usize,
    pub(crate) tlbs: Tlbs,
    pub(crate) contexts: Contexts,
    pub(crate) tables: HashMap<Hpa, Table>,
    /// By page or block, and level, how many entries of trees lead there.
    pub(crate) mapped: HashMap<(Hpa, u8), usize>,
    pub(crate) unpublished: HashMap<Hpa, Hidden>,
    /// The first slots of the groups in which some entry has, or had, the contiguous hint.
    pub(crate) hinted: HashSet<Hpa>,
    pub(crate) owners: HashMap<Hpa, u16>,
    pub(crate) vmid_owners: HashMap<Vmid, u16>,
    pub(crate) violations: Vec<String>,
    pub(crate) tlbis: Vec<Tlbi>,
}

impl State {
    pub(crate) fn new(cpus: usize) -> Self {
        Self { cpus, ..Self::default() }
    }

    /// Returns a bit for each CPU.
    pub(crate) const fn every_cpu(&self) -> Cpus {
        Cpus::MAX >> (MOST_CPUS - self.cpus)
    }

    /// Takes note of a broken rule.
    pub(crate) fn accuse(&mut self, rule: &str, what: &str) {
        self.violations.push(format!("{rule}: {what}"));
    }

    /// The same for what is found at every look: once.
    pub(crate) fn accuse_once(&mut self, rule: &str, what: &str) {
        let violation = format!("{rule}: {what}");
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// Takes note of a tree.
    pub(crate) fn announce(&mut self, view: View<'_>, vttbr: u64, geometry: Geometry) {
        let (context, is_new) = self.contexts.announce(vttbr, geometry);
        let start = geometry.start();
        for number in 0..geometry.root_tables() as u64 {
            let (table, base) = (context.root.add(number << 12), Ipa(number * start.table_span()));
            self.tables.insert(table, Table { root: context.root, level: start, base, is_linked: true });
            if is_new && view.memory.holds(table) {
                let linked = view.table(table, start, base);
                linked.iter().for_each(|said| self.link(view, context.root, said));
            }
        }
    }

    /// Tells whether a walk of the CPU may find nothing in a slot that says something.
    pub(crate) fn is_hidden(&self, cpu: usize, slot: Hpa) -> bool {
        self.unpublished.get(&slot).is_some_and(|hidden| hidden.from & 1 << cpu != 0)
    }

    /// Tells whether any entry ever had the contiguous hint.
    pub(crate) fn has_hints(&self) -> bool {
        !self.hinted.is_empty()
    }

    /// Tells whether any entry of the slot's group ever had the contiguous hint.
    pub(crate) fn has_hint(&self, slot: Hpa) -> bool {
        self.has_hints() && self.hinted.contains(&Hpa(slot.0 & !(8 * GROUP - 1)))
    }

    /// Returns a slot of each group that may be misprogrammed.
    pub(crate) fn groups(&self, view: View<'_>) -> Vec<Said> {
        let linked = |slot: &Hpa| self.tables.get(&slot.page_base()).filter(|table| table.is_linked);
        self.hinted
            .iter()
            .filter_map(|slot| linked(slot).map(|table| view.look(*slot, table.level, table.base)))
            .collect()
    }

    /// Takes note that a frame changes hands.
    pub(crate) fn handed_over(&mut self, view: View<'_>, frame: Hpa) {
        if let Some(fact) = self.tlbs.reaching(frame) {
            let rule = if let Entry::Table(_) = fact.was.entry { "R32" } else { "R33" };
            let message = format!("{frame} is used anew while a TLB may lead there: {fact:?}");
            self.accuse(rule, &message);
        }
        let is_mapped = |level: Level| {
            let base = Hpa(frame.0 & !(level.entry_span() - 1));
            self.mapped.contains_key(&(base, level.number()))
        };
        if [Level::L1, Level::L2, Level::L3].into_iter().any(is_mapped) {
            self.accuse("R35", &format!("{frame} is used anew while a tree leads there"));
        }
        if let Some(table) = self.tables.remove(&frame).filter(|table| table.is_linked) {
            self.dropped(view, frame, table);
        }
        self.contexts.forget(frame);
        self.owners.remove(&frame);
    }

    /// Takes note that a table is used anew that was not taken out of its tree: nobody may be using the tree.
    fn dropped(&mut self, view: View<'_>, frame: Hpa, table: Table) {
        if self.contexts.may_be_walked(table.root) {
            self.accuse("R32", &format!("{frame} is used anew while a tree leads there that is in use"));
        }
        for said in view.table(frame, table.level, table.base) {
            self.unlink(view, &said);
        }
    }

    pub(crate) fn tlbi(&mut self, features: &Features, cpu: usize, op: Tlbi, scope: Scope) {
        let has_hint = matches!(op, Tlbi::Ipa { level: Some(_), .. });
        if matches!(op, Tlbi::Range { .. }) && !features.tlbi_range {
            return self.accuse("R25", &format!("{op:?} on a machine without FEAT_TLBIRANGE"));
        }
        if has_hint && !features.level_hint {
            self.accuse("R16", &format!("{op:?} on a machine without FEAT_TTL"));
        }
        let vmid = self.contexts.vmid(cpu);
        self.tlbs.tlbi(cpu, vmid, op, scope);
        self.contexts.tlbi(cpu, vmid, op, scope);
        self.tlbis.push(op);
    }

    pub(crate) fn dsb(&mut self, cpu: usize, kind: Dsb) {
        self.tlbs.dsb(cpu, kind);
        self.contexts.dsb(cpu, kind);
        self.unpublished.retain(|_, hidden| {
            if hidden.writer == cpu {
                hidden.from &= !shown(kind, cpu);
            }
            hidden.from != 0
        });
    }

    /// Puts in effect what was written to VTTBR_EL2: a VMID may lead to one tree only.
    pub(crate) fn isb(&mut self, cpu: usize) {
        let Some(context) = self.contexts.synchronize(cpu).filter(|context| context.vmid != Vmid(0)) else {
            return;
        };
        if let Some(rival) = self.contexts.rival(context) {
            self.accuse("R27", &format!("{context:?} is in effect while a TLB may hold parts of {rival:?}"));
        } else if let Some(fact) = self.tlbs.of_another_tree(context.vmid, context.root) {
            let message = format!("{context:?} is in effect while a TLB may hold {:?} of another tree", fact.was);
            self.accuse("R27", &message);
        }
    }
}
