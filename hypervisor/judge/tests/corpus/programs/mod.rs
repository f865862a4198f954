//! Random programs for several VMs on several CPUs, and the same with one step spoiled.
//!
//! What a program does is right by construction: each operation is a sequence that the cases by hand have as right, with its
//! parameters at random, and two CPUs that serve two VMs do so at the same time. So the judge must find nothing. Every step without
//! which a program is wrong is marked when it is written; spoiling one of them must be found.

mod blocks;
mod cells;
mod flush;
mod guests;
mod mangle;
mod pages;
mod plan;
mod player;
mod spoil;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::RngSeed;

use crate::scene::judged;
use mangle::{Mangle, mangles};
use plan::{Plan, plans};
use player::Player;
use spoil::Spoiled;

fn judge_right(plan: &Plan) -> Result<(), TestCaseError> {
    let program = Player::play(plan);
    let found = judged(&program.text());
    let first = found.violations.iter().chain(&found.warnings).next();
    let told = first.map(|found| format!("line {}: {}: {}", found.line, found.rule, found.text));
    prop_assert!(told.is_none(), "{}\n{}", told.unwrap_or_default(), program.text());
    Ok(())
}

fn judge_spoiled(plan: &Plan, which: usize, how: usize) -> Result<(), TestCaseError> {
    let program = Player::play(plan);
    let Some(Spoiled { text, what, line, rules }) = program.spoil(which, how) else { return Ok(()) };
    let found = judged(&text).violations;
    let Some(first) = found.first() else { return Err(TestCaseError::fail(format!("not found: {what}\n{text}"))) };
    prop_assert!(first.line >= line, "found before it was there, {what}: {first:?}\n{text}");
    let mut at_first = found.iter().filter(|found| found.line == first.line);
    prop_assert!(at_first.any(|found| rules.contains(&found.rule)), "not {rules:?}, {what}: {first:?}\n{text}");
    Ok(())
}

/// The judge comes to an end with it, counts what it tells, and names a line where it gives up.
fn survive(plan: &Plan, mangles: &[Mangle]) -> Result<(), TestCaseError> {
    let mut lines: Vec<_> = Player::play(plan).text().lines().map(String::from).collect();
    mangles.iter().for_each(|mangle| mangle.apply(&mut lines));
    let (mut told, text) = (0, lines.join("\n"));
    match judge::judge(text.as_bytes(), |_| told += 1) {
        Ok(summary) => prop_assert_eq!(summary.violations + summary.warnings, told),
        Err(error) => prop_assert!(error.line as usize <= lines.len() && !error.why.is_empty(), "{:?}", error),
    }
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    // The same programs every day: what nobody has seen yet is searched for by `--full`.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..cases(2000) })]

    #[test]
    fn right_programs_are_found_right(plan in plans(12)) {
        judge_right(&plan)?;
    }

    #[test]
    fn spoiled_programs_are_found_wrong(plan in plans(8), which: usize, how: usize) {
        judge_spoiled(&plan, which, how)?;
    }

    #[test]
    fn mangled_programs_are_survived(plan in plans(8), mangles in mangles()) {
        survive(&plan, &mangles)?;
    }
}

proptest! {
    #![proptest_config(cases(100_000))]

    #[test]
    #[ignore = "full: a hundred thousand programs"]
    fn right_programs_are_found_right_full(plan in plans(30)) {
        judge_right(&plan)?;
    }

    #[test]
    #[ignore = "full: a hundred thousand programs"]
    fn mangled_programs_are_survived_full(plan in plans(12), mangles in mangles()) {
        survive(&plan, &mangles)?;
    }

    #[test]
    #[ignore = "full: a hundred thousand programs"]
    fn spoiled_programs_are_found_wrong_full(plan in plans(12), which: usize, how: usize) {
        judge_spoiled(&plan, which, how)?;
    }
}

/// Each kind of step is marked, and spoiled, by some program: none of them is out of reach.
#[test]
fn every_kind_of_step_is_spoiled_by_some_program() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let plan = plans(10).new_tree(&mut runner).expect("a plan can be made").current();
        seen.extend(Player::play(&plan).marks());
    }
    let missing: Vec<_> = spoil::Mark::ALL.iter().filter(|mark| !seen.contains(mark)).collect();
    assert!(missing.is_empty(), "never marked: {missing:?}");
}
