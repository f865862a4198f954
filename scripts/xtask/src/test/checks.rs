//! What cargo itself checks: formatting, lints, documentation.

use std::time::Duration;

use super::runner::{Judge, Test};
use crate::cargo::{self, MACHINE_TARGET};

/// What runs in the machine and is therefore checked for its target; the default members are checked for the host.
const MACHINE_PACKAGES: &[&str] = &["--package", "hypervisor", "--package", "guest", "--package", "zx"];

/// How long a check may take, from an empty target folder on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Returns the checks, cheapest first.
pub(super) fn all() -> Vec<Test> {
    let machine = |task| [&[task, "--release", "--target", MACHINE_TARGET], MACHINE_PACKAGES].concat();
    let deny = ["--", "--deny", "warnings"];
    vec![
        check("format", &["fmt", "--all", "--check", "--", "--color", "never"]),
        check("clippy-host", &[&["clippy", "--all-targets"], &deny[..]].concat()),
        check("clippy-machine", &[&machine("clippy"), &deny[..]].concat()),
        check("doc-host", &["doc", "--no-deps"]),
        check("doc-machine", &[&machine("doc"), &["--no-deps"][..]].concat()),
        check("doc-examples", &["test", "--doc", "--quiet"]),
    ]
}

fn check(name: &str, arguments: &[&str]) -> Test {
    let mut command = cargo::cargo();
    command.args(arguments).env("RUSTDOCFLAGS", "--deny warnings");
    Test { name: format!("check/{name}"), command, judge: Judge::ExitStatus, time_limit: TIME_LIMIT }
}
