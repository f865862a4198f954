//! `cargo xtask judge`: the oracle over a recorded trace.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use judge::{Found, Summary, Unreadable};

/// The exit code for a trace that breaks a rule.
const BROKEN: u8 = 1;
/// The exit code for a trace that cannot be read.
const UNREADABLE: u8 = 2;

const EXAMPLES: &str = "\
Prints a line for each broken rule, `line N: R11: ...`, and for each warning, `line N: warning R20: ...`; then how many rules
were broken. Ends with 0 for none, 1 for some, 2 for a file that is not a trace.

Examples:
  scripts/run --trace run.trace && cargo xtask judge run.trace
  cargo xtask judge --explain run.trace               what was stale since when, and what would have been right

The rules by number: hypervisor/oracle/RULES.md. The format: hypervisor/oracle/TRACE.md.";

/// Judges a trace by the Arm rules
#[derive(Args)]
#[command(override_usage = "cargo xtask judge [--explain] FILE", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The trace
    file: PathBuf,
    /// Tells of each broken rule at length
    #[arg(long)]
    explain: bool,
}

/// Judges the trace.
///
/// # Errors
///
/// What is found cannot be told: nobody reads it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut out = Teller { out: BufWriter::new(io::stdout().lock()), is_explained: options.explain, failed: Ok(()) };
    let name = options.file.display();
    let judged = File::open(&options.file)
        .map_err(|error| format!("{name} cannot be read: {error}"))
        .and_then(|file| judge(&file, &mut out).map_err(|unreadable| format!("{name}: {unreadable}")));
    match judged {
        Ok(Summary { violations, .. }) => {
            out.failed?;
            writeln!(out.out, "violations: {violations}")?;
            out.out.flush()?;
            Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
        }
        Err(why) => {
            out.out.flush()?;
            eprintln!("cargo xtask judge: {why}");
            Ok(ExitCode::from(UNREADABLE))
        }
    }
}

fn judge(file: &File, out: &mut Teller<impl Write>) -> std::result::Result<Summary, Unreadable> {
    judge::judge(BufReader::with_capacity(1 << 20, file), |found| out.tell(found))
}

/// Tells what is found, until nobody listens.
struct Teller<W> {
    out: W,
    is_explained: bool,
    failed: io::Result<()>,
}

impl<W: Write> Teller<W> {
    fn tell(&mut self, found: &Found) {
        if self.failed.is_ok() {
            self.failed = self.write(found);
        }
    }

    fn write(&mut self, found: &Found) -> io::Result<()> {
        let severity = if found.is_warning { "warning " } else { "" };
        writeln!(self.out, "line {}: {severity}{}: {}", found.line, found.rule, found.text)?;
        let mut explanation = found.explanation.lines().skip(1).filter(|_| self.is_explained);
        explanation.try_for_each(|line| writeln!(self.out, "    {line}"))
    }
}
