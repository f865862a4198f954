//! Traces, written event by event.

mod events;
mod layout;
mod machine;
mod sequences;
mod verdict;
mod words;

use std::collections::BTreeMap;
use std::fmt::Display;

pub(crate) use layout::{Page, Vm};
pub(crate) use machine::Machine;
pub(crate) use verdict::judged;
pub(crate) use words::*;

/// A trace that is being written. Events are those of one CPU at a time; [`Scene::on`] changes it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    lines: Vec<String>,
    machine: Machine,
    cpu: usize,
    /// What the tables hold.
    memory: BTreeMap<u64, u64>,
    next_table: u64,
    next_frame: u64,
}

impl Scene {
    /// Starts the trace of a machine whose hypervisor has just flushed whatever the TLBs held.
    pub(crate) fn new(machine: Machine) -> Self {
        let mut scene = Self {
            lines: vec![machine.to_string()],
            machine,
            cpu: 0,
            memory: BTreeMap::new(),
            next_table: 0x4010_0000,
            next_frame: 0x4800_0000,
        };
        scene.dsb("ishst").tlbi("alle1is").dsb("ish").isb();
        scene
    }

    /// Starts a trace in which VM 1 has run on every CPU of the machine.
    pub(crate) fn with_vm(machine: Machine) -> (Self, Vm) {
        let mut scene = Self::new(machine);
        let vm = scene.vm(1);
        (scene, vm)
    }

    /// Starts a trace in which VM 1 has run on every CPU, and has a page.
    pub(crate) fn with_page(machine: Machine) -> (Self, Page) {
        Self::with_leaf(machine, 3)
    }

    /// Starts a trace in which VM 1 has run on every CPU, and has a leaf of the level.
    pub(crate) fn with_leaf(machine: Machine, level: u8) -> (Self, Page) {
        let (mut scene, vm) = Self::with_vm(machine);
        let page = scene.map(vm, IPA, level);
        (scene, page)
    }

    /// The next events are this CPU's.
    pub(crate) fn on(&mut self, cpu: usize) -> &mut Self {
        self.cpu = cpu;
        self
    }

    /// Writes an event of the present CPU.
    pub(crate) fn say(&mut self, event: impl Display) -> &mut Self {
        self.lines.push(format!("cpu={:#x} {event}", self.cpu));
        self
    }

    /// Writes a line that is no CPU's.
    pub(crate) fn line(&mut self, line: impl Into<String>) -> &mut Self {
        self.lines.push(line.into());
        self
    }

    /// Puts a line before all others.
    pub(crate) fn policy(&mut self, policy: &str) -> &mut Self {
        self.lines.insert(0, format!("policy {policy}"));
        self
    }

    /// Returns what the machine is.
    pub(crate) const fn machine(&self) -> Machine {
        self.machine
    }

    /// Returns what a slot holds.
    pub(crate) fn read(&self, slot: u64) -> u64 {
        self.memory.get(&slot).copied().unwrap_or(0)
    }

    /// Returns the lines, to be taken apart and put together in another order.
    pub(crate) const fn lines_mut(&mut self) -> &mut Vec<String> {
        &mut self.lines
    }

    /// Returns the whole trace.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }
}
