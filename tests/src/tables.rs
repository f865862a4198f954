//! Tables for trees that are tested without the objects: frames of the machine's RAM, given out in order, and given back.

use std::collections::HashMap;

use stage2::Tables;
use vm::Machine;
use vmsa::Hpa;

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

impl Tables for SimTables<'_> {
    fn allocate(&mut self) -> Option<Hpa> {
        self.limit = self.limit.checked_sub(1)?;
        // What was freed last is used first: a table that is freed too early is found out.
        let table = self.freed.pop().unwrap_or_else(|| {
            let table = self.fresh;
            self.fresh = table.add(4096);
            table
        });
        self.sim.zero(table, 1);
        self.notes.insert(table, (0, None));
        Some(table)
    }

    fn free(&mut self, table: Hpa) {
        self.sim.handed_over(table);
        self.notes.remove(&table).expect("a table that is in use");
        self.freed.push(table);
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
