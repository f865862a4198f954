//! Bugs under the gates on the host, each in a process of its own: what a bug makes panic, or go on for ever, ends with it.

use std::env;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::run::{Gate, Outcome, Sighting, run};

/// The first argument of such a process; the bug's number follows.
pub(crate) const CHILD: &str = "--child";
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How much of what a gate said is handed on.
const SHOWN: usize = 6;

/// What the gates on the host made of a bug.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) model: Outcome,
    pub(crate) oracle: Outcome,
}

/// Does the work of such a process: a line for each gate and panic, with tabs in it.
pub(crate) fn serve(number: u32) {
    planted::choose(number);
    for (name, gate) in [("model", Gate::Model), ("oracle", Gate::Oracle)] {
        let outcome = run(gate);
        for panic in &outcome.panics {
            println!("{name}\tpanic\t0\t{}", panic.replace('\n', " "));
        }
        let said = outcome.sighting.as_ref().map_or(&[][..], |sighting| &sighting.said);
        let after = outcome.sighting.as_ref().map_or(outcome.operations, |sighting| sighting.after);
        for what in said.iter().take(SHOWN) {
            println!("{name}\tseen\t{after}\t{}", what.replace('\n', " "));
        }
        println!("{name}\tover\t{after}\t");
        // A bug may end the process at any time.
        let _ = std::io::stdout().flush();
    }
}

/// Has a process look at a bug.
///
/// # Errors
///
/// It cannot be started.
pub(crate) fn look(number: u32) -> Result<Seen> {
    let mut command = Command::new(env::current_exe()?);
    command.args([CHILD, &number.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("a process for a bug cannot be started")?;
    let mut output = child.stdout.take().context("it has no output")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let is_in_time = wait(&mut child)?;
    let text = reader.join().expect("a reader does not panic")?;
    Ok(read(&text, is_in_time))
}

fn wait(child: &mut Child) -> Result<bool> {
    let started = Instant::now();
    while child.try_wait()?.is_none() {
        if started.elapsed() > TIME_LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}

fn read(text: &str, is_in_time: bool) -> Seen {
    let mut seen = Seen::default();
    let mut is_over = [false; 2];
    for line in text.lines() {
        let mut fields = line.splitn(4, '\t');
        let mut next = || fields.next().unwrap_or_default();
        let (gate, what, after, words) = (next(), next(), next().parse().unwrap_or(0), next().to_owned());
        let outcome = if gate == "model" { &mut seen.model } else { &mut seen.oracle };
        outcome.operations = after;
        match what {
            "panic" => outcome.panics.push(words),
            "seen" => outcome.sighting.get_or_insert(Sighting { after, said: Vec::new() }).said.push(words),
            _ => is_over[usize::from(gate != "model")] = true,
        }
    }
    let end = if is_in_time { "the process ended by itself" } else { "it went on for ever" };
    for (outcome, _) in [&mut seen.model, &mut seen.oracle].into_iter().zip(is_over).filter(|(_, is_over)| !is_over) {
        outcome.panics.push(end.into());
    }
    seen
}
