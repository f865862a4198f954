//! What calls cost, held to the baseline, to itself and to its limits, by `scripts/bench`.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::runner::{Judge, Test};
use super::selection::Selection;
use crate::bench::{Check, IMAGES};
use crate::{cargo, images};

/// A machine that counts instructions, with another one beside it on a slow host.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Returns the names of the tests that are wanted.
pub(super) fn names(selection: &Selection) -> Vec<String> {
    let names = Check::value_variants().iter().map(|check| format!("bench/{}", word(*check)));
    names.filter(|name| selection.has(name)).collect()
}

/// Builds the hypervisor that is measured, and returns the tests that are wanted.
///
/// # Errors
///
/// It does not build.
pub(super) fn all(selection: &Selection, images: &Path) -> Result<Vec<Test>> {
    images::build_unwatched_hypervisor(images)?;
    Ok(names(selection).into_iter().map(|name| test(name, images)).collect())
}

fn test(name: String, images: &Path) -> Test {
    let mut command = cargo::this_program();
    let check = name.rsplit('/').next().unwrap_or_default();
    command.args(["bench", "--check", check]).env(IMAGES, images);
    Test { name, command, judge: Judge::Harness, time_limit: TIME_LIMIT }
}

fn word(check: Check) -> String {
    check.to_possible_value().expect("no check is hidden").get_name().into()
}
