//! A trace, taken apart: what the page's scripts are given.

use std::collections::BTreeSet;

use anyhow::Result;
use oracle::text::{Line, Policy, parse};
use oracle::{Event, Machine};
use qemu::Refused;
use serde::Serialize;

use super::costs::{self, Row, TLBIS};
use super::kind::{Kind, Legend};
use super::memory::Memory;
use super::operations::{Operation, Operations};
use super::roots::{Root, Roots};

/// What was found at a line of the trace.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// The line.
    pub(super) line: u64,
    /// It is no violation, but worth a look.
    pub(super) is_warning: bool,
    /// The rule.
    pub(super) rule: String,
    /// One line that says what is wrong.
    pub(super) text: String,
    /// Several that say why.
    pub(super) explanation: String,
}

/// Events as columns, which take less room than rows.
#[derive(Debug, Default, Serialize)]
struct Events {
    kind: Vec<u8>,
    cpu: Vec<usize>,
    line: Vec<u64>,
    /// The events' lines, as they stand in the trace, but for the CPU.
    text: String,
}

/// All that the page shows.
#[derive(Debug, Serialize)]
pub(super) struct Data {
    name: String,
    machine: Vec<String>,
    kinds: [Legend; Kind::LEGEND.len()],
    tlbis: [&'static str; TLBIS.len()],
    /// The CPUs that something happens on: a lane each.
    cpus: Vec<usize>,
    events: Events,
    memory: Memory,
    roots: Vec<Root>,
    operations: Vec<Operation>,
    pub(super) costs: Vec<Row>,
    findings: Vec<Finding>,
}

impl Data {
    /// Takes the trace of that name apart.
    ///
    /// # Errors
    ///
    /// A line cannot be read, or nothing happens.
    pub(super) fn new(name: &str, trace: &str, findings: Vec<Finding>) -> Result<Self> {
        let mut reader = Reader::default();
        for (number, line) in (1..).zip(trace.lines()) {
            let said = parse(line).map_err(|error| Refused::new(format!("{name}, line {number}: {error}")))?;
            reader.read(number, line, said);
        }
        if reader.events.line.is_empty() {
            return Err(Refused::new(format!("{name} has no events: there is nothing to show")).into());
        }
        Ok(reader.finish(name, findings))
    }
}

#[derive(Default)]
struct Reader {
    machine: Vec<String>,
    cpus: BTreeSet<usize>,
    events: Events,
    memory: Memory,
    roots: Roots,
    operations: Operations,
}

impl Reader {
    fn read(&mut self, number: u64, line: &str, said: Line) {
        match said {
            Line::Nothing => {}
            Line::Policy(policy) => self.machine.extend(describe_policy(policy)),
            Line::Machine(machine) => self.machine.splice(0..0, describe_machine(&machine)).for_each(drop),
            Line::Event(cpu, event) => self.event(number, line, cpu, &event),
        }
    }

    fn event(&mut self, line_number: u64, line: &str, cpu: usize, event: &Event) {
        let number = self.events.line.len();
        self.cpus.insert(cpu);
        self.events.kind.push(Kind::of(event) as u8);
        self.events.cpu.push(cpu);
        self.events.line.push(line_number);
        self.events.text += without_cpu(line);
        self.events.text.push('\n');
        self.roots.see(number, cpu, event);
        self.memory.see(number, event, self.roots.forces_write_back());
        self.operations.see(number, cpu, event);
    }

    fn finish(self, name: &str, findings: Vec<Finding>) -> Data {
        let (operations, outside) = self.operations.finish();
        Data {
            name: name.into(),
            machine: self.machine,
            kinds: Kind::LEGEND,
            tlbis: TLBIS,
            cpus: self.cpus.into_iter().collect(),
            events: self.events,
            memory: self.memory,
            roots: self.roots.finish(),
            costs: costs::table(&operations, outside),
            operations,
            findings,
        }
    }
}

fn without_cpu(line: &str) -> &str {
    let line = line.trim();
    match line.split_once(char::is_whitespace) {
        Some((first, rest)) if first.starts_with("cpu=") => rest.trim_start(),
        _ => line,
    }
}

fn describe_machine(machine: &Machine) -> Vec<String> {
    let features = [
        (machine.tlbi_range, "TLBI by range"),
        (machine.tlbi_outer, "TLBI for the outer domain"),
        (machine.level_hint, "TLBI level hints"),
        (machine.forced_write_back, "forced write-back"),
        (machine.hafdbs >= 1, "access flag by hardware"),
        (machine.hafdbs >= 2, "dirty state by hardware"),
        (machine.execute_per_level, "execute rights per level"),
        (machine.xs, "FEAT_XS"),
        (machine.ets2, "FEAT_ETS2"),
        (machine.idc, "IDC"),
        (machine.dic, "DIC"),
    ];
    let vmid_bits = if machine.vmid16 { 16 } else { 8 };
    let mut words = vec![
        format!("{} CPU{}", machine.cpus, if machine.cpus == 1 { "" } else { "s" }),
        format!("FEAT_BBM level {}", machine.bbm),
        format!("{}-bit physical addresses", machine.pa_bits),
        format!("{vmid_bits}-bit VMIDs"),
    ];
    words.extend(features.iter().filter(|(has, _)| *has).map(|(_, word)| String::from(*word)));
    words
}

fn describe_policy(policy: Policy) -> Option<String> {
    policy.bbm.map(|level| format!("judged as with FEAT_BBM level {level}"))
}
