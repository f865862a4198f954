//! `cargo xtask survivors`: cargo-mutants over the crates that the rules are made of, and the reasons of what it finds.
//!
//! It changes an operator, a constant or a whole function of the sources at a time, and runs the tests: first those that are
//! about the crate and take a second, and for what survives them all suites that can reach it. What survives both has a reason
//! in `tests/survivors.json`, or fails. A change costs a build and a second of tests, about ten seconds: `--shard` and `--file`
//! take a part of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::cargo;

/// Tests that are run for a change: of which packages, and which of them.
struct Tests {
    packages: &'static str,
    arguments: &'static [&'static str],
}

/// The crates whose every line is changed, each with the tests that notice most of it in a second.
const CRATES: [(&str, Tests); 3] = [
    ("vmsa", Tests { packages: "vmsa", arguments: &[] }),
    (
        "stage2",
        Tests {
            packages: "stage2,tests",
            arguments: &[
                "--lib",
                "--test",
                "tables",
                "--",
                "--skip",
                "small_scope",
                "--skip",
                "random",
                "--skip",
                "verdicts",
            ],
        },
    ),
    (
        "oracle",
        Tests {
            packages: "judge",
            arguments: &["--tests", "--", "--skip", "generated::sequence", "--skip", "programs"],
        },
    ),
];
/// The tests that are run for what those let pass.
const SUITES: Tests = Tests { packages: "vmsa,stage2,judge,tests", arguments: &[] };
/// How many times as long as without a change the tests may take with one, and how long at least.
const SLOWER: u32 = 5;
const LEAST_TIME: Duration = Duration::from_secs(20);
/// What cargo-mutants ends with when all are caught, when some are missed, and when some run too long.
const CAUGHT: i32 = 0;
const MISSED: i32 = 2;
const TIMED_OUT: i32 = 3;

/// Changes the sources, one place at a time, and lists the changes that no test notices and that have no reason
#[derive(Args)]
pub(crate) struct Options {
    /// Further arguments for cargo-mutants: `-- --file hypervisor/vmsa/src/tlbi.rs`, `-- --shard 1/8`
    #[arg(last = true, value_name = "ARGUMENT")]
    further: Vec<String>,
}

/// Why a survivor is none of the tests' business: its name and its line have these parts.
struct Reason {
    name: String,
    line: String,
}

/// A change that no test noticed, as `FILE:LINE:COLUMN: NAME`.
struct Survivor {
    file: PathBuf,
    line: usize,
    name: String,
}

/// Runs cargo-mutants, and says what came of it as a test's executable does.
///
/// # Errors
///
/// cargo-mutants fails by itself, or a file cannot be read.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !is_installed() {
        println!("test survivors ... ignored, cargo-mutants is not installed: cargo install cargo-mutants --locked");
        return Ok(ExitCode::SUCCESS);
    }
    let reasons = read_reasons(&cargo::workspace().join("tests").join("survivors.json"))?;
    let mut survivors = Vec::new();
    for (package, first) in &CRATES {
        survivors.extend(survivors_of(package, first, &options.further)?);
    }
    let unexplained: Vec<&Survivor> = survivors.iter().filter(|survivor| !has_reason(survivor, &reasons)).collect();
    for Survivor { file, line, name } in &unexplained {
        println!("no test notices, and no reason is given: {}:{line}: {name}", file.display());
    }
    println!("note: {} survive, {} of them without a reason", survivors.len(), unexplained.len());
    println!("test result: {}", if unexplained.is_empty() { "ok. 1 passed" } else { "FAILED" });
    Ok(ExitCode::from(u8::from(!unexplained.is_empty())))
}

fn is_installed() -> bool {
    let mut command = cargo::cargo();
    command.args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Returns the changes of a crate that no test notices.
fn survivors_of(package: &str, first: &Tests, further: &[String]) -> Result<Vec<Survivor>> {
    let out = cargo::workspace().join("target").join("survivors").join(package);
    // What an earlier run has caught would not be tried again.
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let missed = out.join("mutants.out").join("missed.txt");
    mutate(&out, package, first, further)?;
    if missed.exists() && !read_survivors(&missed)?.is_empty() {
        mutate(&out, package, &SUITES, &[&["--iterate".to_owned()], further].concat())?;
    }
    if missed.exists() { read_survivors(&missed) } else { Ok(Vec::new()) }
}

/// Has the changes of a crate tested.
fn mutate(out: &Path, package: &str, tests: &Tests, further: &[String]) -> Result<()> {
    println!("note: the changes of `{package}`, by the tests of {}", tests.packages);
    let time_limit = pass(tests)? * SLOWER + LEAST_TIME;
    let mut command: Command = cargo::cargo();
    command.args(["mutants", "--no-shuffle", "--cap-lints", "true", "--output"]).arg(out);
    command.args(["--baseline", "skip", "--timeout", &time_limit.as_secs().to_string()]);
    command.args(["--package", package, "--test-package", tests.packages]).args(further);
    if !tests.arguments.is_empty() {
        command.arg("--").args(tests.arguments);
    }
    // The target folder of the changed copy is its own; nobody looks at what it holds with a debugger.
    command.env_remove("CARGO_TARGET_DIR").env("CARGO_PROFILE_DEV_DEBUG", "none");
    let status = command.status().context("cargo-mutants cannot be started")?;
    match status.code() {
        Some(CAUGHT | MISSED | TIMED_OUT) => Ok(()),
        _ => bail!("cargo-mutants ended with {status}"),
    }
}

/// Has the tests pass without a change, and returns how long that takes. cargo-mutants itself would run those of the changed package
/// alone for that, which need not have the tests that are named.
fn pass(tests: &Tests) -> Result<Duration> {
    let run = |further: &[&str]| -> Result<()> {
        let mut command = cargo::cargo();
        command.arg("test").args(tests.packages.split(',').flat_map(|package| ["--package", package]));
        command.args(further).args(tests.arguments).stdout(Stdio::null());
        ensure!(command.status()?.success(), "the tests of {} fail without a change", tests.packages);
        Ok(())
    };
    run(&["--no-run"])?;
    let started = Instant::now();
    run(&[])?;
    Ok(started.elapsed())
}

fn read_reasons(path: &Path) -> Result<Vec<Reason>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    let list = list.as_array().with_context(|| format!("{} is no list", path.display()))?;
    list.iter().map(read_reason).collect()
}

fn read_reason(entry: &Value) -> Result<Reason> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let (name, line) = (text("name"), text("line"));
    ensure!(!text("why").is_empty(), "{entry} gives no reason");
    ensure!(!name.is_empty() || !line.is_empty(), "{entry} is for everything");
    Ok(Reason { name, line })
}

fn read_survivors(path: &Path) -> Result<Vec<Survivor>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    text.lines().map(|line| read_survivor(line).with_context(|| format!("{line} names no change"))).collect()
}

fn read_survivor(text: &str) -> Option<Survivor> {
    let mut fields = text.splitn(4, ':');
    let (file, line, _column, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(Survivor { file: file.into(), line: line.parse().ok()?, name: name.trim().into() })
}

fn has_reason(survivor: &Survivor, reasons: &[Reason]) -> bool {
    let source = fs::read_to_string(cargo::workspace().join(&survivor.file)).unwrap_or_default();
    let line = source.lines().nth(survivor.line - 1).unwrap_or_default();
    let name = format!("{}: {}", survivor.file.display(), survivor.name);
    reasons.iter().any(|reason| name.contains(&reason.name) && line.contains(&reason.line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_read_from_what_cargo_mutants_writes() {
        let survivor = read_survivor("hypervisor/vmsa/src/tlbi.rs:52:34: replace | with ^ in Tlbi::operand").unwrap();
        assert_eq!(survivor.file, Path::new("hypervisor/vmsa/src/tlbi.rs"));
        assert_eq!((survivor.line, survivor.name.as_str()), (52, "replace | with ^ in Tlbi::operand"));
        assert!(read_survivor("nothing").is_none());
    }

    #[test]
    fn a_reason_is_for_a_name_and_a_line() {
        let survivor = Survivor { file: "Cargo.toml".into(), line: 1, name: "replace | with ^ in f".into() };
        let reason = |name: &str, line: &str| vec![Reason { name: name.into(), line: line.into() }];
        assert!(has_reason(&survivor, &reason("Cargo.toml: replace | with ^", "")));
        assert!(has_reason(&survivor, &reason("", "[workspace]")));
        assert!(!has_reason(&survivor, &reason("replace | with ^", "planted::is(")));
        assert!(!has_reason(&survivor, &reason("replace & with |", "")));
    }

    #[test]
    fn every_reason_in_the_file_says_why() {
        let reasons = read_reasons(&cargo::workspace().join("tests/survivors.json")).unwrap();
        assert!(!reasons.is_empty());
    }
}
