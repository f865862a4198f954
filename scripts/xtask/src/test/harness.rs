//! The tests in test executables: libtest's, and those that libtest-mimic makes look alike.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::runner::{Judge, Test, ignored_reason};
use crate::cargo::{self, Executable};

/// The package whose tests boot machines.
const BOOT_TESTS: &str = "boot-tests";
/// Starts the reason of a test that is ignored for the time that it takes.
const FULL: &str = "full:";
const TIME_LIMIT: Duration = Duration::from_secs(600);
const FULL_TIME_LIMIT: Duration = Duration::from_secs(3600);

/// Builds the test executables and returns their tests; those that boot come last, and only where there are `images`.
pub(super) fn list_all(images: Option<&Path>, full: bool) -> Result<Vec<Test>> {
    let mut executables = cargo::build(&["test", "--no-run"])?;
    executables.retain(|executable| executable.is_test);
    executables.sort_by_key(|executable| (executable.package == BOOT_TESTS, executable.package.clone()));
    let mut tests = Vec::new();
    for executable in executables {
        let boots = executable.package == BOOT_TESTS;
        if !boots || images.is_some() {
            tests.extend(Harness { executable, images: images.filter(|_| boots) }.list(full)?);
        }
    }
    Ok(tests)
}

/// Returns the test that fuzzes for a while, where cargo-fuzz is installed.
pub(super) fn fuzzer() -> Test {
    let mut command = cargo::this_program();
    command.arg("fuzz");
    Test { name: "host/fuzz/hypercalls".into(), command, judge: Judge::Harness, time_limit: FULL_TIME_LIMIT }
}

struct Harness<'a> {
    executable: Executable,
    images: Option<&'a Path>,
}

impl Harness<'_> {
    /// Lists the tests. Those that are kept for `full` runs are left out of others, and not counted as skipped.
    fn list(&self, full: bool) -> Result<Vec<Test>> {
        let ignored = self.names(&["--ignored"])?;
        let mut tests = Vec::new();
        for name in self.names(&[])? {
            let is_full = ignored.contains(&name) && self.reason(&name)?.starts_with(FULL);
            match (is_full, full) {
                (true, false) => {}
                (true, true) => tests.push(self.test(&name, &["--ignored"], FULL_TIME_LIMIT)),
                (false, _) => tests.push(self.test(&name, &[], TIME_LIMIT)),
            }
        }
        Ok(tests)
    }

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let listed = self.ask(&[&["--list", "--format", "terse"], arguments].concat())?;
        Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(String::from).collect())
    }

    fn reason(&self, name: &str) -> Result<String> {
        let said = self.ask(&["--exact", name])?;
        Ok(ignored_reason(&said).unwrap_or_default().into())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let path = self.executable.path.display();
        let output = self.command().args(arguments).output().with_context(|| format!("{path} cannot be started"))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{path} {} failed: {complaint}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn test(&self, name: &str, arguments: &[&str], time_limit: Duration) -> Test {
        let Executable { package, target, is_integration_test, .. } = &self.executable;
        let family = match (package.as_str(), is_integration_test) {
            (BOOT_TESTS, _) => "qemu".into(),
            (_, true) => format!("host/{package}/{target}"),
            (_, false) => format!("host/{package}"),
        };
        let mut command = self.command();
        command.args(["--exact", name]).args(arguments);
        if package != BOOT_TESTS {
            // What a test notes is shown even if it passes.
            command.arg("--show-output");
        }
        Test { name: format!("{family}/{name}"), command, judge: Judge::Harness, time_limit }
    }

    /// Returns the executable, in the surroundings in which cargo would run it.
    fn command(&self) -> Command {
        let Executable { package_dir, path, .. } = &self.executable;
        let mut command = Command::new(path);
        command.current_dir(package_dir).env("CARGO_MANIFEST_DIR", package_dir);
        if let Some(images) = self.images {
            command.env("STAGECRAFT_IMAGES", images);
        }
        command
    }
}
