//! The planted bugs: one bug after the other under every gate, by `tests/mutants`.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::runner::{Judge, Test};
use crate::cargo;
use crate::images;

/// The word that selects the matrix, and the name of the test that prints it.
pub(super) const WORD: &str = "mutants";
const NAME: &str = "mutants/matrix";
/// The test of every line of the sources.
pub(super) const SURVIVORS: &str = "mutants/survivors";
const SURVIVORS_TIME_LIMIT: Duration = Duration::from_secs(48 * 3600);
/// All rows with all their machines, on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Tells whether the names ask for the matrix itself: `scripts/test mutants 13 70`.
pub(super) fn is_asked_for(names: &[String]) -> bool {
    names.first().is_some_and(|name| name == WORD)
}

/// Prints the matrix of the bugs with these numbers, or of all, as it comes.
///
/// # Errors
///
/// A name is no number, or what is needed does not build.
pub(super) fn print(names: &[String]) -> Result<ExitCode> {
    if let Some(wrong) = names.iter().find(|name| name.parse::<u32>().is_err()) {
        bail!("{wrong} is no number of a planted bug: scripts/test mutants takes numbers");
    }
    let images = images::build_guests_for_tests()?;
    let status = command(&images)?.args(names).status().context("the matrix cannot be started")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// Returns the test of the whole matrix, with all its machines in a `full` run, and else with a few.
///
/// # Errors
///
/// It does not build.
pub(super) fn test(images: &Path, full: bool) -> Result<Test> {
    let mut command = command(images)?;
    command.args((!full).then_some("--few-boots"));
    Ok(Test { name: NAME.into(), command, judge: Judge::ExitStatus, time_limit: TIME_LIMIT })
}

/// Returns the test that changes the sources themselves, one place at a time: for hours, and where cargo-mutants is installed.
pub(super) fn survivors() -> Test {
    let mut command = cargo::this_program();
    command.arg("survivors");
    Test { name: SURVIVORS.into(), command, judge: Judge::Harness, time_limit: SURVIVORS_TIME_LIMIT }
}

/// Returns the name of the matrix's test.
pub(super) const fn name() -> &'static str {
    NAME
}

/// Builds the host's half and the hypervisor with planted bugs, apart from everything else: nothing else may have them.
fn command(images: &Path) -> Result<Command> {
    images::build_planted_hypervisor(images)?;
    let built = cargo::build(&["test", "--no-run", "--package", "tests", "--test", WORD, "--features", "armed"])?;
    let matrix = built.into_iter().find(|built| built.target == WORD).context("there is no test of planted bugs")?;
    let mut command = Command::new(matrix.path);
    command.current_dir(matrix.package_dir).env("STAGECRAFT_IMAGES", images);
    Ok(command)
}
