//! What cargo itself checks: formatting, lints, documentation.

use std::process::Command;
use std::time::Duration;

use super::runner::{Judge, Test};
use crate::cargo::{self, MACHINE_TARGET};

/// The two sides of `HVC`, checked for their target and one without the other, as they are built: together they would
/// get the same features of what both depend on.
const HYPERVISOR: &[&str] = &["--package", "hypervisor"];
const GUEST: &[&str] = &["--package", "guest", "--package", "zx", "--package", "peers"];

/// What has planted bugs.
const ARMED: &[&str] = &["--features", "armed"];
/// What has no oracle.
const UNWATCHED: &[&str] = &["--features", "unwatched"];

const FOR_MACHINE: &[&str] = &["--release", "--target", MACHINE_TARGET];
const DENY: &[&str] = &["--", "--deny", "warnings"];

/// How long a check may take, from an empty target folder on a slow machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// The crates that everything stands on, and those that hold `unsafe` and can run on a host.
const FOR_MIRI: &[&str] = &["--package", "vmsa", "--package", "stage2", "--package", "oracle", "--package", "vm"];

/// Returns the checks, cheapest first; for `full` runs Miri too, which takes minutes, and a nightly toolchain that has it.
pub(super) fn all(full: bool) -> Vec<Test> {
    let clippy = |packages: &[&'static str]| [&["clippy"], FOR_MACHINE, packages, DENY].concat();
    let doc = |packages| [&["doc", "--no-deps"], FOR_MACHINE, packages].concat();
    let mut checks = vec![
        check("format", &["fmt", "--all", "--check", "--", "--color", "never"]),
        check("clippy-host", &[&["clippy", "--all-targets"], DENY].concat()),
        check("clippy-mutants", &[&["clippy", "--package", "tests", "--test", "mutants"], ARMED, DENY].concat()),
        check("clippy-hypervisor", &clippy(HYPERVISOR)),
        check("clippy-hypervisor-with-planted-bugs", &clippy(&[HYPERVISOR, ARMED].concat())),
        check("clippy-hypervisor-without-oracle", &clippy(&[HYPERVISOR, UNWATCHED].concat())),
        check("clippy-guest", &clippy(GUEST)),
        check("doc-host", &["doc", "--no-deps"]),
        check("doc-hypervisor", &doc(HYPERVISOR)),
        check("doc-guest", &doc(GUEST)),
        check("doc-examples", &["test", "--doc", "--quiet"]),
    ];
    if full {
        checks.push(miri());
    }
    checks
}

/// Runs unit tests under Miri. The cases of a property are few there: each step takes a thousand times as long.
fn miri() -> Test {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "miri", "test", "--lib"]).args(FOR_MIRI).current_dir(cargo::workspace());
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "8");
    // What this cargo was told by the one that started it is for another toolchain.
    for name in ["RUSTC", "RUSTDOC", "CARGO", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    Test { name: "check/miri".into(), command, judge: Judge::ExitStatus, time_limit: TIME_LIMIT }
}

fn check(name: &str, arguments: &[&str]) -> Test {
    let mut command = cargo::cargo();
    command.args(arguments).env("RUSTDOCFLAGS", "--deny warnings");
    Test { name: format!("check/{name}"), command, judge: Judge::ExitStatus, time_limit: TIME_LIMIT }
}
