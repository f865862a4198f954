//! The conformance guest's cases, each booted on its own, and recorded: every event of it is judged live and in the trace.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use qemu::{Case, Machine};

use crate::boot::{CPUS, succeeds_with};
use crate::images::Images;
use crate::trace::boot_recorded;

/// Returns a trial for each case and CPU model, or one that fails where the guest does not list its cases.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    match images.cases() {
        Ok(cases) => {
            let booted = CPUS.iter().flat_map(|cpu| cases.iter().map(|case| trial(images, cpu, case)));
            booted.chain([rows(&cases)]).collect()
        }
        Err(error) => vec![Trial::test("conformance", move || Err(Failed::from(format!("{error:#}"))))],
    }
}

fn trial(images: &Images, cpu: &str, case: &Case) -> Trial {
    let machine = Machine { cpu: cpu.into(), ..case.machine(&images.hypervisor(), &images.conformance()) };
    let passed = format!("PASS {}\n", case.name);
    let name = format!("conformance/{cpu}/{}", case.name);
    Trial::ignorable_test(name, move || boot_recorded(&machine, |said| succeeds_with(said, &[&passed])))
}

/// Where the rows of Zircon's tests are listed, and those that are no cases.
const ROWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest/src/bin/conformance/ROWS.md");

/// Returns the trial that boots nothing: every row is a case, or has a reason not to be one.
fn rows(cases: &[Case]) -> Trial {
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    Trial::test("conformance/rows", move || {
        let text = fs::read_to_string(ROWS)?;
        account_for_rows(&text, &names).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn account_for_rows(text: &str, names: &[String]) -> Result<()> {
    let (excused, listed) = text.split_once("## All rows").context("ROWS.md does not list all rows")?;
    let listed = ids(listed)?;
    let cells = excused.lines().filter(|line| line.starts_with("| C")).filter_map(|line| line.split('|').nth(1));
    let excused = cells.map(ids).collect::<Result<Vec<_>>>()?.concat();
    let excused: BTreeSet<u32> = excused.into_iter().collect();
    let covered: BTreeSet<u32> =
        names.iter().filter_map(|name| name.get(1..4).filter(|_| name.starts_with('C'))?.parse().ok()).collect();
    ensure!(listed.len() > 200, "ROWS.md lists {} rows", listed.len());
    for id in &listed {
        ensure!(
            covered.contains(id) != excused.contains(id),
            "C{id:03} must be either a case or in the table of ROWS.md"
        );
    }
    let unknown: Vec<&u32> = excused.iter().filter(|id| !listed.contains(id)).collect();
    ensure!(unknown.is_empty(), "the table of ROWS.md has {unknown:?}, which are no rows");
    Ok(())
}

/// Reads ids and ranges of them: `C001 C003-C005`.
fn ids(text: &str) -> Result<Vec<u32>> {
    let number = |id: &str| id.strip_prefix('C')?.parse::<u32>().ok();
    let mut ids = Vec::new();
    for word in text.split_whitespace().filter(|word| word.starts_with('C')) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = number(first).zip(number(last)).with_context(|| format!("{word} is no id"))?;
        ids.extend(first..=last);
    }
    Ok(ids)
}
