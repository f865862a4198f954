//! Tables for trees that are tested without the objects: frames of the machine's RAM, given out in order, and given back.

use std::collections::HashMap;

use checked::Checked;
use stage2::Tables;
use vm::{Machine, Taken};
use vmsa::{ENTRIES, Hpa};

use crate::Sim;

/// Frames for tables.
pub struct SimTables<'s> {
    sim: &'s Sim,
    fresh: Hpa,
    freed: Vec<Hpa>,
    notes: HashMap<Hpa, (u16, Option<Hpa>)>,
    /// How many tables may still be had.
    pub limit: usize,
}

impl<'s> SimTables<'s> {
    /// Returns the frames from `first` on.
    pub fn new(sim: &'s Sim, first: Hpa) -> Self {
        Self { sim, fresh: first, freed: Vec::new(), notes: HashMap::new(), limit: usize::MAX }
    }

    /// Returns how many tables are in use.
    pub fn in_use(&self) -> usize {
        self.notes.len()
    }
}

/// What is left in a frame of its last use: a leaf of level 3, and a table of the others.
const REMAINS: u64 = 0x0040_0000_0000_07ff;

impl SimTables<'_> {
    fn take(&mut self) -> Option<Hpa> {
        self.limit = self.limit.checked_sub(1)?;
        // What was freed last is used first: a table that is freed too early is found out.
        let table = self.freed.pop().unwrap_or_else(|| {
            let table = self.fresh;
            self.fresh = table.add(4096);
            table
        });
        self.notes.insert(table, (0, None));
        Some(table)
    }
}

impl Tables for SimTables<'_> {
    fn allocate(&mut self) -> Option<Hpa> {
        let table = self.take()?;
        self.sim.zero(table, 1);
        Some(table)
    }

    fn allocate_to_fill(&mut self) -> Option<Hpa> {
        let table = self.take()?;
        (0..ENTRIES as u64).for_each(|number| self.sim.memory().set_word(table.add(8 * number), REMAINS));
        Some(table)
    }

    fn free(&mut self, table: Hpa) {
        self.sim.handed_over(table);
        match self.notes.remove(&table) {
            Some(_) => self.freed.push(table),
            None => self.sim.accuse("R32", &format!("{table} is given back, and is no table")),
        }
    }

    fn live_entries(&self, table: Hpa) -> u16 {
        self.notes.get(&table).map_or(0, |note| note.0)
    }

    fn set_live_entries(&mut self, table: Hpa, count: u16) {
        if let Some(note) = self.notes.get_mut(&table) {
            note.0 = count;
        }
    }

    fn next(&self, table: Hpa) -> Option<Hpa> {
        self.notes.get(&table).and_then(|note| note.1)
    }

    fn set_next(&mut self, table: Hpa, next: Option<Hpa>) {
        if let Some(note) = self.notes.get_mut(&table) {
            note.1 = next;
        }
    }
}

/// Tables that tell the oracle when they are zeroed and when they go back.
pub struct CheckedTables<'c> {
    checked: &'c Checked<Sim>,
    inner: SimTables<'c>,
}

impl<'c> CheckedTables<'c> {
    /// Returns the frames from `first` on.
    pub fn new(checked: &'c Checked<Sim>, first: Hpa) -> Self {
        Self { checked, inner: SimTables::new(checked.inner(), first) }
    }
}

impl Tables for CheckedTables<'_> {
    fn allocate(&mut self) -> Option<Hpa> {
        let table = self.inner.allocate()?;
        self.checked.told_taken(table, 1, Taken::Table);
        self.checked.zero(table, 1);
        Some(table)
    }

    fn allocate_to_fill(&mut self) -> Option<Hpa> {
        let table = self.inner.allocate_to_fill()?;
        self.checked.told_taken(table, 1, Taken::Table);
        Some(table)
    }

    fn free(&mut self, table: Hpa) {
        self.checked.told_given_back(table, 1);
        self.inner.free(table);
    }

    fn live_entries(&self, table: Hpa) -> u16 {
        self.inner.live_entries(table)
    }

    fn set_live_entries(&mut self, table: Hpa, count: u16) {
        self.inner.set_live_entries(table, count);
    }

    fn next(&self, table: Hpa) -> Option<Hpa> {
        self.inner.next(table)
    }

    fn set_next(&mut self, table: Hpa, next: Option<Hpa>) {
        self.inner.set_next(table, next);
    }
}
