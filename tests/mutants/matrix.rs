//! The matrix: a line for each bug, a column for each gate.

use std::process::ExitCode;

use anyhow::Result;

use crate::boots::{Came, Images, rule_of};
use crate::children::{self, Seen};
use crate::rows::Row;
use crate::run::Outcome;

const WHAT_WIDTH: usize = 62;

/// Prints lines as they come, and remembers what is wrong.
pub(crate) struct Matrix {
    is_verbose: bool,
    wrong: Vec<String>,
    killed: usize,
    booted: usize,
}

/// What a gate made of a bug.
struct Cell {
    text: String,
    /// Why that is wrong.
    wrong: Option<String>,
}

impl Cell {
    fn blank() -> Self {
        Self { text: "-".into(), wrong: None }
    }

    fn right(text: impl Into<String>) -> Self {
        Self { text: text.into(), wrong: None }
    }

    fn wrong(text: impl Into<String>, why: impl Into<String>) -> Self {
        Self { text: text.into(), wrong: Some(why.into()) }
    }
}

impl Matrix {
    /// Begins a matrix; a verbose one has all that the gates said.
    pub(crate) fn new(is_verbose: bool) -> Self {
        println!("{}", line("bug", "what is spoiled", ["model", "oracle", "live oracle", "guest"]));
        Self { is_verbose, wrong: Vec::new(), killed: 0, booted: 0 }
    }

    /// Has the gates look at a bug; machines are booted where there are images.
    ///
    /// # Errors
    ///
    /// A machine cannot be booted.
    pub(crate) fn add(&mut self, row: &Row, images: Option<&Images>) -> Result<()> {
        if row.absent.is_some() {
            return Ok(());
        }
        let Seen { model, oracle } = children::look(row.number)?;
        let cells = [of_model(row, &model), of_oracle(row, &oracle), live(row, images)?, guest(row, images)?];
        println!("{}", line(&row.number.to_string(), row.what, [0, 1, 2, 3].map(|gate| cells[gate].text.as_str())));
        if self.is_verbose {
            tell("model", &model);
            tell("oracle", &oracle);
        }
        let wrong: Vec<String> = cells.into_iter().filter_map(|cell| cell.wrong).collect();
        self.killed += usize::from(wrong.is_empty());
        self.booted += usize::from(images.is_some() && (row.live.is_some() || row.guest.is_some()));
        self.wrong.extend(wrong.into_iter().map(|why| format!("{}: {why}", row.number)));
        Ok(())
    }

    /// Prints the bugs that this code cannot have, what is wrong, and the counts; returns the exit code.
    pub(crate) fn conclude(&self, rows: &[Row]) -> ExitCode {
        let absent: Vec<&Row> = rows.iter().filter(|row| row.absent.is_some()).collect();
        println!("\nNot applicable:");
        for row in &absent {
            println!("{:>4}  {}: {}", row.number, row.what, row.absent.unwrap_or_default());
        }
        println!();
        self.wrong.iter().for_each(|wrong| println!("NOT KILLED  {wrong}"));
        let planted = rows.len() - absent.len();
        println!(
            "note: {} of {planted} planted bugs are killed, each by its rules, {} of them in QEMU too; {} do not apply",
            self.killed,
            self.booted,
            absent.len()
        );
        ExitCode::from(u8::from(!self.wrong.is_empty()))
    }
}

fn line(number: &str, what: &str, cells: [&str; 4]) -> String {
    let [model, oracle, live, guest] = cells;
    format!("{number:>4}  {what:<WHAT_WIDTH$}  {model:<8}  {oracle:<12}  {live:<12}  {guest:<8}").trim_end().into()
}

fn tell(gate: &str, outcome: &Outcome) {
    match &outcome.sighting {
        Some(sighting) => sighting.said.iter().for_each(|said| println!("        {gate}: {said}")),
        None => println!("        {gate}: nothing in {} operations", outcome.operations),
    }
    outcome.panics.iter().for_each(|panic| println!("        {gate}: panic: {panic}"));
}

fn of_model(row: &Row, outcome: &Outcome) -> Cell {
    match (&outcome.sighting, row.model) {
        (Some(sighting), true) => Cell::right(sighting.after.to_string()),
        (Some(sighting), false) => Cell::right(format!("({})", sighting.after)),
        (None, false) => Cell::blank(),
        (None, true) => Cell::wrong("MISSED", format!("the model saw nothing{}", panicked(outcome))),
    }
}

fn of_oracle(row: &Row, outcome: &Outcome) -> Cell {
    match (&outcome.sighting, row.oracle) {
        (None, false) => Cell::blank(),
        (None, true) => Cell::wrong("MISSED", format!("the oracle saw nothing{}", panicked(outcome))),
        (Some(sighting), true) => named(row, &sighting.said, &format!(" {}", sighting.after)),
        (Some(sighting), false) => {
            let rule = sighting.said.first().and_then(|verdict| rule_of(verdict)).unwrap_or("?");
            Cell::right(format!("({rule} {})", sighting.after))
        }
    }
}

fn panicked(outcome: &Outcome) -> String {
    outcome.panics.first().map(|panic| format!(", and there was a panic: {panic}")).unwrap_or_default()
}

/// Returns the cell of verdicts, of which one must be by a rule that the row names.
fn named(row: &Row, verdicts: &[String], after: &str) -> Cell {
    let rules: Vec<&str> = verdicts.iter().filter_map(|verdict| rule_of(verdict)).collect();
    match rules.iter().find(|rule| row.rules.contains(rule)) {
        Some(rule) => Cell::right(format!("{rule}{after}")),
        None => Cell::wrong(
            format!("{}{after}!", rules.first().unwrap_or(&"?")),
            format!("expected one of {:?}, the oracle says {verdicts:?}", row.rules),
        ),
    }
}

fn live(row: &Row, images: Option<&Images>) -> Result<Cell> {
    let (Some(boot), Some(images)) = (row.live, images) else { return Ok(Cell::blank()) };
    Ok(match images.boot_judged(boot, row.number)? {
        Came::Judged(verdicts) => named(row, &verdicts, ""),
        other => Cell::wrong("MISSED", format!("the oracle in the hypervisor: {other:?}")),
    })
}

fn guest(row: &Row, images: Option<&Images>) -> Result<Cell> {
    let (Some(boot), Some(images)) = (row.guest, images) else { return Ok(Cell::blank()) };
    Ok(match images.boot_unjudged(boot, row.number)? {
        Came::Failed(_) => Cell::right("fails"),
        Came::Stuck => Cell::right("no end"),
        other => Cell::wrong("MISSED", format!("the guest: {other:?}")),
    })
}
