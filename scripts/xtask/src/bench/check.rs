//! What `scripts/test` has checked: each by booting, and told as a test's executable does.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use qemu::Version;

use super::figures::{self, Figure};
use super::measure::Subject;
use super::{baseline, goals, oracle, profile};

/// A check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Check {
    /// No figure is worse than the one in the repository
    Baseline,
    /// Two runs agree to the last digit
    Repeat,
    /// What must not be exceeded is not: invalidations, memory
    Limits,
    /// A profile accounts for every instruction
    Profile,
    /// The oracle costs no more than it may
    Oracle,
}

/// The oldest QEMU whose `max` CPU costs what is in the baseline: older ones say that their caches have to be maintained by address,
/// which the hypervisor then does.
const BASELINE_QEMU: Version = Version(10, 0);

/// The largest size of what is measured twice.
const REPEATED_MOST: u64 = 4096;

/// Of so many cases one tells what the oracle costs.
const ORACLE_STEP: usize = 16;

/// Checks, and prints what is wrong.
///
/// # Errors
///
/// A machine does not start, or does not end well.
pub(crate) fn run(check: Check, subject: &Subject) -> Result<ExitCode> {
    let wrong = match check {
        Check::Baseline if subject.emulator.version()? < BASELINE_QEMU => {
            println!("test baseline ... ignored, the baseline is of QEMU {BASELINE_QEMU} or newer");
            return Ok(ExitCode::SUCCESS);
        }
        Check::Baseline => against_baseline(subject)?,
        Check::Repeat => repeat(subject)?,
        Check::Limits => limits(subject)?,
        Check::Profile => account(subject)?,
        Check::Oracle => oracle(subject)?,
    };
    wrong.iter().for_each(|line| println!("{line}"));
    println!("test result: {}", if wrong.is_empty() { "ok. 1 passed" } else { "FAILED" });
    Ok(ExitCode::from(u8::from(!wrong.is_empty())))
}

fn against_baseline(subject: &Subject) -> Result<Vec<String>> {
    let changes = baseline::compare(&figures::read(&baseline::path())?, &subject.measure_all()?);
    if !changes.better.is_empty() {
        println!(
            "note: {} figures are better than the baseline: scripts/bench --update-baseline",
            changes.better.len()
        );
    }
    Ok(changes.worse)
}

fn repeat(subject: &Subject) -> Result<Vec<String>> {
    let arguments = format!("most={REPEATED_MOST}");
    let (first, second) = (subject.measure(&arguments)?, subject.measure(&arguments)?);
    Ok(differences(&first, &second))
}

fn differences(first: &[Figure], second: &[Figure]) -> Vec<String> {
    if first.len() != second.len() {
        return vec![format!("{} figures, and then {}", first.len(), second.len())];
    }
    let pairs = first.iter().zip(second).filter(|(first, second)| first != second);
    pairs.map(|(first, second)| format!("first {first:?}, then {second:?}")).collect()
}

/// The bounds that hold exactly, and on every CPU: none of them is a matter of speed.
fn limits(subject: &Subject) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (cpu, most) in [("max", goals::TLBIS_WITH_RANGE), ("cortex-a57", goals::TLBIS_WITHOUT_RANGE)] {
        let subject = Subject { cpu: cpu.into(), ..subject.clone() };
        for work in ["unmap", "unmap-block"] {
            let too_many = goals::too_many_tlbis(&subject.measure(&format!("work={work}"))?, most);
            wrong.extend(too_many.iter().map(|line| format!("{cpu}: {line}")));
        }
    }
    let memory = ["memory-pages", "memory-blocks"].into_iter().map(|work| subject.measure(&format!("work={work}")));
    let memory = memory.collect::<Result<Vec<_>>>()?.concat();
    wrong.extend(memory.iter().chain([&subject.measure_bookkeeping()?]).filter_map(exceeds));
    Ok(wrong)
}

fn exceeds(figure: &Figure) -> Option<String> {
    let goal = goals::of(figure)?;
    let (value, unit) = (figure.amount.value(), figure.amount.unit());
    (!goal.is_reached(figure)).then(|| format!("{} of {}: {value} {unit}, may be {}", figure.work, figure.n, goal.most))
}

/// What is traced is as much as the guest counts, of a work that traps again and again.
fn account(subject: &Subject) -> Result<Vec<String>> {
    let profile = profile::measure(subject, &"touch:16".parse()?)?;
    let nothing = profile.is_empty().then(|| "nothing of the hypervisor's was traced".into());
    Ok(nothing.into_iter().chain(profile.unaccounted()).collect())
}

/// The oracle costs the cases what it may, as far as some of them tell.
fn oracle(subject: &Subject) -> Result<Vec<String>> {
    let ratio = oracle::measure(subject, ORACLE_STEP)?.ratio();
    println!("note: {ratio:.2} times the instructions");
    let is_too_much = ratio > oracle::MOST;
    Ok(is_too_much.then(|| format!("{ratio:.2} times the instructions, may be {}", oracle::MOST)).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::figure;

    #[test]
    fn one_digit_makes_two_runs_differ() {
        let first = [figure("map", 1, 100), figure("map", 2, 200)];
        assert_eq!(differences(&first, &first), Vec::<String>::new());
        let second = [figure("map", 1, 100), figure("map", 2, 201)];
        assert_eq!(differences(&first, &second).len(), 1);
        assert_eq!(differences(&first, &first[..1]), ["2 figures, and then 1"]);
    }

    #[test]
    fn what_exceeds_its_bound_is_named() {
        let image = |bytes| Figure::plain("image", 1, figures::Amount::Bytes(bytes));
        assert_eq!(exceeds(&image(256 << 10)), None);
        let expected = "image of 1: 262145 bytes, may be at most 262144";
        assert_eq!(exceeds(&image((256 << 10) + 1)).as_deref(), Some(expected));
    }
}
