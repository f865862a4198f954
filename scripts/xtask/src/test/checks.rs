//! What cargo itself checks: formatting, lints, documentation.

use std::time::Duration;

use super::runner::{Judge, Test};
use crate::cargo::{self, MACHINE_TARGET};

/// The two sides of `HVC`, checked for their target and one without the other, as they are built: together they would
/// get the same features of what both depend on.
const HYPERVISOR: &[&str] = &["--package", "hypervisor"];
const GUEST: &[&str] = &["--package", "guest", "--package", "zx"];

const FOR_MACHINE: &[&str] = &["--release", "--target", MACHINE_TARGET];
const DENY: &[&str] = &["--", "--deny", "warnings"];

/// How long a check may take, from an empty target folder on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Returns the checks, cheapest first.
pub(super) fn all() -> Vec<Test> {
    let clippy = |packages| [&["clippy"], FOR_MACHINE, packages, DENY].concat();
    let doc = |packages| [&["doc", "--no-deps"], FOR_MACHINE, packages].concat();
    vec![
        check("format", &["fmt", "--all", "--check", "--", "--color", "never"]),
        check("clippy-host", &[&["clippy", "--all-targets"], DENY].concat()),
        check("clippy-hypervisor", &clippy(HYPERVISOR)),
        check("clippy-guest", &clippy(GUEST)),
        check("doc-host", &["doc", "--no-deps"]),
        check("doc-hypervisor", &doc(HYPERVISOR)),
        check("doc-guest", &doc(GUEST)),
        check("doc-examples", &["test", "--doc", "--quiet"]),
    ]
}

fn check(name: &str, arguments: &[&str]) -> Test {
    let mut command = cargo::cargo();
    command.args(arguments).env("RUSTDOCFLAGS", "--deny warnings");
    Test { name: format!("check/{name}"), command, judge: Judge::ExitStatus, time_limit: TIME_LIMIT }
}
