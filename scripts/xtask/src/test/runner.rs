//! Running tests, each a process of its own with a time limit, as many at a time as there are workers.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A test that has not run yet.
#[derive(Debug)]
pub(super) struct Test {
    /// Its name, which no other test has.
    pub(super) name: String,
    /// What to run.
    pub(super) command: Command,
    /// How to tell what came of it.
    pub(super) judge: Judge,
    /// How long it may run.
    pub(super) time_limit: Duration,
}

/// How a test's process says what came of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Judge {
    /// By its exit status.
    ExitStatus,
    /// As libtest does, which also says that it ran nothing.
    Harness,
}

/// What came of a test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// It did what it should.
    Passed,
    /// It did not, for this reason.
    Failed(String),
    /// It was not to be had, for this reason.
    Skipped(String),
}

/// A test that has run.
#[derive(Debug)]
pub(super) struct Finished {
    /// The test's name.
    pub(super) name: String,
    /// What came of it.
    pub(super) outcome: Outcome,
    /// All that it said.
    pub(super) log: String,
    /// How long it took.
    pub(super) time: Duration,
}

/// Runs the tests and hands each on as it finishes.
pub(super) fn run_all(tests: Vec<Test>, workers: usize, mut finished: impl FnMut(Finished)) {
    let queue = Mutex::new(tests.into_iter());
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || {
                let next = || queue.lock().expect("no worker panics with the queue").next();
                while let Some(test) = next() {
                    sender.send(run_one(test)).expect("results are read until all workers are done");
                }
            });
        }
        drop(sender);
        results.iter().for_each(&mut finished);
    });
}

fn run_one(test: Test) -> Finished {
    let started = Instant::now();
    let Test { name, command, judge, time_limit } = test;
    let (outcome, log) = match spawn(command).and_then(|(child, output)| follow(child, output, time_limit)) {
        Ok((true, log)) => (judge.read(&log), log),
        Ok((false, log)) => (Outcome::Failed("failed".into()), log),
        Err(error) => (Outcome::Failed(error.to_string()), String::new()),
    };
    Finished { name, outcome, log, time: started.elapsed() }
}

/// Starts the command with both its output streams in one pipe, so that their lines stay in order.
fn spawn(mut command: Command) -> io::Result<(Child, io::PipeReader)> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    Ok((command.spawn()?, reader))
}

/// Waits for the process, and returns whether it succeeded and what it said.
fn follow(mut child: Child, output: io::PipeReader, time_limit: Duration) -> io::Result<(bool, String)> {
    let (sender, closed) = mpsc::channel();
    let reader = thread::spawn(move || read_all(output, sender));
    let timed_out = closed.recv_timeout(time_limit) == Err(mpsc::RecvTimeoutError::Timeout);
    if timed_out {
        child.kill()?;
    }
    let status = child.wait()?;
    let mut log = reader.join().expect("a reader does not panic")?;
    if timed_out {
        log += &format!("\nended at its time limit of {} s\n", time_limit.as_secs());
    } else if status.code().is_none() {
        log += &format!("\nended by a signal: {status}\n");
    }
    Ok((status.success(), log))
}

/// Reads to the end, and then drops what says so.
fn read_all(mut output: io::PipeReader, _closed: mpsc::Sender<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Judge {
    /// Tells what came of a process that succeeded.
    fn read(self, log: &str) -> Outcome {
        match (self, ignored_reason(log)) {
            (Self::ExitStatus, _) => Outcome::Passed,
            (Self::Harness, Some(reason)) => Outcome::Skipped(reason.into()),
            (Self::Harness, None) if log.contains("test result: ok. 1 passed") => Outcome::Passed,
            (Self::Harness, None) => Outcome::Failed("ran no test of this name".into()),
        }
    }
}

/// Returns why a test's executable says that it ignored the one test that it was asked for, or `None` where it did not.
/// libtest prints `ignored, REASON`, libtest-mimic `ignored (REASON)`.
pub(super) fn ignored_reason(log: &str) -> Option<&str> {
    let line = log.lines().find(|line| line.starts_with("test ") && line.contains(" ... ignored"))?;
    let (_, reason) = line.split_once(" ... ignored")?;
    let in_parentheses = reason.strip_prefix(" (").and_then(|reason| reason.strip_suffix(')'));
    Some(in_parentheses.or(reason.strip_prefix(", ")).unwrap_or("no reason given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(script: &str, judge: Judge) -> Finished {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run_one(Test { name: "a test".into(), command, judge, time_limit: Duration::from_secs(1) })
    }

    #[test]
    fn what_a_harness_says_of_its_one_test_is_the_outcome() {
        let said = |text: &str| outcome_of(&format!("printf '{text}'"), Judge::Harness).outcome;
        assert_eq!(said("test a ... ok\\n\\ntest result: ok. 1 passed; 0 failed"), Outcome::Passed);
        assert_eq!(said("test a ... ignored, full: long\\n"), Outcome::Skipped("full: long".into()));
        assert_eq!(said("test a ... ignored (no such CPU)\\n"), Outcome::Skipped("no such CPU".into()));
        assert_eq!(said("test a ... ignored\\n"), Outcome::Skipped("no reason given".into()));
        assert!(matches!(said("test result: ok. 0 passed; 0 failed"), Outcome::Failed(_)));
    }

    #[test]
    fn a_process_that_fails_or_crashes_is_a_failure_with_its_log() {
        let failed = outcome_of("echo out; echo err >&2; exit 3", Judge::ExitStatus);
        assert_eq!((failed.outcome, failed.log.as_str()), (Outcome::Failed("failed".into()), "out\nerr\n"));
        assert!(outcome_of("kill -SEGV $$", Judge::Harness).log.contains("ended by a signal"));
        assert_eq!(outcome_of("exit 0", Judge::ExitStatus).outcome, Outcome::Passed);
    }

    #[test]
    fn a_process_is_ended_at_its_time_limit() {
        let ended = outcome_of("echo started; exec sleep 60", Judge::Harness);
        assert!(matches!(ended.outcome, Outcome::Failed(_)));
        assert!(ended.log.contains("started") && ended.log.contains("time limit of 1 s"), "{}", ended.log);
    }

    #[test]
    fn each_test_runs_once_whatever_the_number_of_workers() {
        for workers in [1, 3, 8] {
            let make = |index: usize| Test {
                name: index.to_string(),
                command: Command::new("true"),
                judge: Judge::ExitStatus,
                time_limit: Duration::from_secs(10),
            };
            let mut names = Vec::new();
            run_all((0..5).map(make).collect(), workers, |finished| names.push(finished.name));
            names.sort();
            assert_eq!(names, ["0", "1", "2", "3", "4"]);
        }
    }
}
