//! Recorded runs: every event of a machine in a file, as many as were judged live, and judged the same there.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use judge::Summary;
use libtest_mimic::{Failed, Trial};
use qemu::{Machine, Transcript, count_trace};

use crate::boot::{CPUS, Verdict, boot, succeeds_with};
use crate::images::Images;
use crate::tour;

/// Returns the trials. The conformance guest is recorded by its own: each case of it.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let tours = CPUS.into_iter().map(|cpu| {
        let machine = Machine { cpu: cpu.into(), ..tour::machine(images) };
        let boots = move || boot_recorded(&machine, |said| succeeds_with(said, tour::FACTS));
        Trial::ignorable_test(format!("trace/tour/{cpu}"), boots)
    });
    let tour = tour::machine(images);
    let spoiled = Trial::ignorable_test("trace/judged-without-its-invalidations", move || judge_spoiled(&tour));
    tours.chain([spoiled]).collect()
}

/// Boots the machine with a trace. Its transcript is judged, and then the trace.
pub(crate) fn boot_recorded(machine: &Machine, judge: impl FnOnce(&Transcript) -> Result<(), String>) -> Verdict {
    let dir = tempfile::tempdir()?;
    let trace = dir.path().join("run.trace");
    let recorded = Machine { trace: Some(trace.clone()), log: "info".into(), ..machine.clone() };
    boot(&recorded, |said| judge(said).and_then(|()| is_clean(&trace, said)))
}

fn is_clean(trace: &Path, said: &Transcript) -> Result<(), String> {
    let recorded = count_trace(trace).map_err(|cut| cut.to_string())?;
    let live = events_judged(&said.log).ok_or("the log does not tell how many events were judged")?;
    let (Summary { events, .. }, found) = judge_file(trace)?;
    if (recorded, events) != (live, live) {
        return Err(format!("{live} events were judged live, the trace has {recorded}, of which {events} were judged"));
    }
    if found.is_empty() { Ok(()) } else { Err(format!("the trace breaks rules:\n{}", found.join("\n"))) }
}

/// Reads the line in which the hypervisor tells it.
fn events_judged(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.split_once("the oracle judged "))?.1;
    line.strip_suffix(" events")?.parse().ok()
}

/// Judges a trace; returns what there is in it, and the rules that it breaks.
fn judge_file(trace: &Path) -> Result<(Summary, Vec<String>), String> {
    let mut found = Vec::new();
    let file = File::open(trace).map_err(|error| error.to_string())?;
    let summary = judge::judge(BufReader::new(file), |one| found.push(format!("{}: {}", one.rule, one.text)));
    Ok((summary.map_err(|unreadable| unreadable.to_string())?, found))
}

/// The tour's trace without a single TLBI breaks rules: what shows that a clean one is worth something.
fn judge_spoiled(tour: &Machine) -> Verdict {
    let dir = tempfile::tempdir()?;
    let trace = dir.path().join("run.trace");
    let verdict = boot(&Machine { trace: Some(trace.clone()), ..tour.clone() }, |said| succeeds_with(said, &[]))?;
    let lines = fs::read_to_string(&trace)?;
    let spoiled: String = lines.lines().filter(|line| !line.contains(" TLBI ")).flat_map(|line| [line, "\n"]).collect();
    fs::write(&trace, spoiled)?;
    let (summary, found) = judge_file(&trace)?;
    match summary.violations {
        0 => Err(Failed::from("nothing is found in a trace without invalidations")),
        _ if found.iter().any(|one| one.starts_with("R8:")) => Ok(verdict),
        _ => Err(Failed::from(format!("expected R8, found {found:#?}"))),
    }
}
