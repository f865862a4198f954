//! `cargo xtask report`: a trace as a page to look at.

mod costs;
mod data;
mod kind;
mod memory;
mod operations;
mod page;
mod roots;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use qemu::Refused;

use data::{Data, Finding};

const EXAMPLES: &str = "\
The page shows what each CPU did, the tables before and after each operation, what operations cost, and where the Arm rules
were violated, as cargo xtask judge finds it. It is one file, which needs no network and no other file.

In the page's timeline: drag to move, + and - to zoom, arrow keys for the next event or CPU, N and P for the next and previous
violation, O and Shift+O for operations. The page's address with #line=N opens it at a line of the trace.

Examples:
  cargo xtask report run.trace                 writes run.html
  cargo xtask report run.trace -o page.html    writes page.html

What cannot be read is told in one line, with its place, and gives 2.";

/// Turns a trace into one HTML page
#[derive(Args)]
#[command(override_usage = "cargo xtask report FILE [-o OUT.html]", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The trace, one event a line
    #[arg(value_name = "FILE")]
    trace: PathBuf,
    /// The page [without it: the trace's name, ending in .html]
    #[arg(short, long, value_name = "OUT.html")]
    output: Option<PathBuf>,
}

/// Writes the page and prints where it is.
///
/// # Errors
///
/// The trace cannot be read, or the page cannot be written.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let path = &options.trace;
    let output = options.output.clone().unwrap_or_else(|| path.with_extension("html"));
    if output == *path {
        return Err(Refused::new(format!("{} would be overwritten; -o names another file", path.display())).into());
    }
    let trace = fs::read_to_string(path)
        .map_err(|error| Refused::new(format!("{} cannot be read: {error}", path.display())))?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string());
    let data = Data::new(&name, &trace, judge(&name, &trace)?)?;
    fs::write(&output, page::render(&name, &data)?)
        .with_context(|| format!("{} cannot be written", output.display()))?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

/// Returns how it came to a finding, without what the page shows anyway: the finding itself, and the events before it.
fn course(explanation: &str) -> String {
    let lines = explanation.lines().skip(1).take_while(|line| !line.starts_with("the last events"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns what the judge finds.
fn judge(name: &str, trace: &str) -> Result<Vec<Finding>, Refused> {
    let mut findings = Vec::new();
    let found = |found: &judge::Found| {
        findings.push(Finding {
            line: found.line,
            is_warning: found.is_warning,
            rule: found.rule.into(),
            text: found.text.clone(),
            explanation: course(&found.explanation),
        });
    };
    judge::judge(trace.as_bytes(), found)
        .map_err(|error| Refused::new(format!("{name}, line {}: {}", error.line, error.why)))?;
    Ok(findings)
}
