//! What came of the tests, for people as they run and for a CI in the end.

use std::env;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::runner::{Finished, Outcome};

/// Collects outcomes and shows each as it comes.
pub(super) struct Report {
    finished: Vec<Finished>,
    may_skip: bool,
}

impl Report {
    /// Makes an empty report. Where `CI` is set in the environment a skipped test counts as failed.
    pub(super) fn new() -> Self {
        let is_ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        Self { finished: Vec::new(), may_skip: !is_ci }
    }

    /// Shows the outcome on a line of its own, and the log of what failed.
    pub(super) fn add(&mut self, mut finished: Finished) {
        if let (Outcome::Skipped(reason), false) = (&finished.outcome, self.may_skip) {
            finished.outcome = Outcome::Failed(format!("skipped, which is not allowed where CI is set: {reason}"));
        }
        let (name, seconds) = (&finished.name, finished.time.as_secs_f64());
        match &finished.outcome {
            Outcome::Passed => {
                println!("ok      {name} ({seconds:.2} s)");
                notes(&finished.log).for_each(|note| println!("        {note}"));
            }
            Outcome::Skipped(reason) => println!("skipped {name}: {reason}"),
            Outcome::Failed(reason) => {
                println!("FAILED  {name} ({seconds:.2} s): {reason}");
                finished.log.lines().for_each(|line| println!("    | {line}"));
            }
        }
        self.finished.push(finished);
    }

    /// Writes the outcomes as JUnit XML, one suite for each family of tests.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn write_junit(&self, path: &Path) -> Result<()> {
        let mut report = quick_junit::Report::new("stagecraft");
        for family in ["bench", "check", "host", "mutants", "qemu"] {
            let mut suite = TestSuite::new(family);
            let of_family = |finished: &&Finished| finished.name.split('/').next() == Some(family);
            suite.add_test_cases(self.finished.iter().filter(of_family).map(junit_case));
            report.add_test_suite(suite);
        }
        let cannot = || format!("{} cannot be written", path.display());
        report.serialize(File::create(path).with_context(cannot)?).with_context(cannot)
    }

    /// Prints the names of what failed, and the counts, and returns the exit code that says whether anything did.
    pub(super) fn conclude(&self) -> ExitCode {
        let count = |is_counted: fn(&Outcome) -> bool| {
            let outcomes = self.finished.iter().map(|finished| &finished.outcome);
            outcomes.filter(|outcome| is_counted(outcome)).count()
        };
        let passed = count(|outcome| matches!(outcome, Outcome::Passed));
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        println!();
        for finished in &self.finished {
            if matches!(finished.outcome, Outcome::Failed(_)) {
                println!("FAILED  {}", finished.name);
            }
        }
        if self.finished.is_empty() {
            println!("no test has such a name; scripts/test --list lists them");
        }
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        ExitCode::from(u8::from(failed > 0 || self.finished.is_empty()))
    }
}

/// Returns what a test that passed has to tell: the lines of its log that begin with `note: `.
fn notes(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| line.strip_prefix("note: "))
}

fn junit_case(finished: &Finished) -> TestCase {
    let status = match &finished.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed(reason) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(reason.as_str());
            status
        }
        Outcome::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
    };
    let mut case = TestCase::new(finished.name.as_str(), status);
    case.set_time(finished.time);
    if finished.outcome != Outcome::Passed || notes(&finished.log).next().is_some() {
        case.set_system_out(finished.log.as_str());
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn finished(outcome: Outcome) -> Finished {
        Finished { name: "qemu/x".into(), outcome, log: "a log".into(), time: Duration::from_millis(1500) }
    }

    #[test]
    fn a_skipped_test_fails_only_where_nothing_may_be_skipped() {
        for (may_skip, expected) in [(true, ExitCode::SUCCESS), (false, ExitCode::FAILURE)] {
            let mut report = Report { finished: Vec::new(), may_skip };
            report.add(finished(Outcome::Skipped("no such CPU".into())));
            assert_eq!(report.conclude(), expected);
        }
    }

    #[test]
    fn what_a_test_notes_is_told() {
        let log = "running 1 test\nnote: 12 states\nnotes\n  note: x\nnote: 3 s\n";
        assert_eq!(notes(log).collect::<Vec<_>>(), ["12 states", "3 s"]);
    }

    #[test]
    fn a_run_without_tests_is_no_success() {
        assert_eq!(Report { finished: Vec::new(), may_skip: true }.conclude(), ExitCode::FAILURE);
    }

    #[test]
    fn junit_carries_time_reason_and_log() {
        let mut suite = TestSuite::new("qemu");
        suite.add_test_case(junit_case(&finished(Outcome::Failed("time".into()))));
        suite.add_test_case(junit_case(&finished(Outcome::Passed)));
        let mut report = quick_junit::Report::new("stagecraft");
        report.add_test_suite(suite);
        let xml = report.to_string().unwrap();
        for part in [r#"failures="1""#, r#"time="1.500""#, r#"<failure message="time""#, "a log"] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }
}
