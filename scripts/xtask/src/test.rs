//! `scripts/test`: every check and every test, by name.

mod bench;
mod checks;
mod harness;
mod mutants;
mod report;
mod runner;
mod selection;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::Result;
use clap::Args;

use crate::images;
use report::Report;
use runner::Test;
use selection::Selection;

const NAMES: &str = "\
A test's name starts with what it is part of:
  bench/   what calls cost, held to the baseline and to limits
  check/   formatting, clippy and documentation, for the host, the hypervisor and the guest
  host/    tests that run here: host/PACKAGE/…
  mutants/ planted bugs, each of which the tests must notice
  qemu/    tests that boot a machine: qemu/tour/CPU, qemu/conformance/CPU/CASE, …

A test whose needs the machine lacks is skipped, by name and with the reason. With CI set in the environment that counts as
a failure. The last line says how many passed, failed and were skipped.

scripts/test mutants [NUMBER]… prints who notices each planted bug, by which rule, after how many operations.

Examples:
  scripts/test                        everything
  scripts/test qemu/tour unmap        what has one of these in its name
  scripts/test --list qemu/           the names of all that boots
  scripts/test --junit results.xml    everything, with results for a CI to read";

/// Runs the project's tests: all of them, or those with one of the NAMEs in their names
#[derive(Args)]
#[command(override_usage = "scripts/test [NAME]… [OPTIONS]", after_help = NAMES)]
pub(crate) struct Options {
    /// A part of the names of the tests to run
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Lists the tests instead of running them
    #[arg(long)]
    list: bool,
    /// Writes the results to FILE, as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Adds what takes too long for every day: longer searches, and Miri
    #[arg(long)]
    full: bool,
}

/// Runs, or lists, what the options select.
///
/// # Errors
///
/// The tests do not build, or the results cannot be written. A test that fails is no error but an exit code.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if mutants::is_asked_for(&options.names) && !options.list {
        return mutants::print(&options.names[1..]);
    }
    let selection = Selection::new(&options.names);
    let mut checks = checks::all(options.full);
    checks.retain(|check| selection.has(&check.name));
    if options.list {
        let (tests, _) = collect(&selection, options.full)?;
        let names = checks.iter().chain(&tests).map(|test| test.name.as_str());
        let bugs = [Some(mutants::name()), options.full.then_some(mutants::SURVIVORS)];
        let bugs = bugs.into_iter().flatten().filter(|name| selection.has(name));
        let costs = bench::names(&selection);
        names.chain(bugs).chain(costs.iter().map(String::as_str)).for_each(|name| println!("{name}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::new();
    // One at a time: each of them is a cargo, which has all cores busy and the target folder locked.
    runner::run_all(checks, 1, |finished| report.add(finished));
    let (mut tests, images) = collect(&selection, options.full)?;
    if let Some(images) = images {
        if selection.has(mutants::name()) {
            tests.push(mutants::test(&images, options.full)?);
        }
        if !bench::names(&selection).is_empty() {
            // First: one of them is the longest of all.
            tests.splice(..0, bench::all(&selection, &images)?);
        }
        images::build_hypervisor_for_tests(&images)?;
    }
    runner::run_all(tests, thread::available_parallelism().map_or(1, NonZeroUsize::get), |finished| {
        report.add(finished)
    });
    if options.full && selection.has(mutants::SURVIVORS) {
        // After everything else: it has all cores busy for hours.
        runner::run_all(vec![mutants::survivors()], 1, |finished| report.add(finished));
    }
    if let Some(path) = &options.junit {
        report.write_junit(path)?;
    }
    Ok(report.conclude())
}

/// Builds the tests that the selection may want, and returns those that it does want, with the folder of what they boot, if they
/// boot anything. The hypervisor is not there yet.
fn collect(selection: &Selection, full: bool) -> Result<(Vec<Test>, Option<PathBuf>)> {
    let (wants_host, wants_qemu) = (selection.may_have("host/"), selection.may_have("qemu/"));
    let boots_others = selection.has(mutants::name()) || !bench::names(selection).is_empty();
    let images = (wants_qemu || boots_others).then(images::build_guests_for_tests).transpose()?;
    let mut tests = if wants_host || wants_qemu { harness::list_all(images.as_deref(), full)? } else { Vec::new() };
    if full && wants_host {
        tests.push(harness::fuzzer());
    }
    tests.retain(|test| selection.has(&test.name));
    let boots = boots_others || tests.iter().any(|test| test.name.starts_with("qemu/"));
    Ok((tests, images.filter(|_| boots)))
}
