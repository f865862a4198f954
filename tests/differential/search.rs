//! Many programs, one after the other on one VM; what fails is made small.

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::program::{Action, Step, parse, render};
use model::{Dialect, Generator, Random, World};
use tests::Guest;

use crate::coverage::Coverage;
use crate::run::{MACHINES, Run, Setting, Stop};

/// The most steps that a program has.
const MOST_STEPS: u64 = 90;

const WORLD: World = World { without: &[], is_inside: false };

/// Compares random programs until so many calls have been made.
pub(crate) fn search(setting: Setting, seed: u64, calls: u64, coverage: &mut Coverage) {
    let mut random = Random(seed);
    let mut guest = setting.guest();
    let mut held = 0;
    let most = coverage.calls() + calls;
    while coverage.calls() < most {
        coverage.programs += 1;
        let mut steps = Vec::new();
        let outcome = play(&guest, setting, coverage, |run| make_up(run, &mut random, &mut steps));
        if let Err(why) = outcome {
            fail(setting, &steps, &why);
        }
        let now = guest.system.frames_held(guest.id);
        if now > held && held > 0 {
            check_for_leak(&guest, setting, &steps, now);
        }
        held = guest.system.frames_held(guest.id);
        let _ = guest.sim().take_tlbis();
        if coverage.programs.is_multiple_of(2000) {
            (guest, held) = (setting.guest(), 0);
        }
    }
}

/// Runs a program of text, and panics where the two differ.
pub(crate) fn replay(dialect: Dialect, quota: Option<u64>, text: &str) {
    let setting = Setting { dialect, quota, machine: MACHINES[0] };
    let steps = parse(text).unwrap_or_else(|line| panic!("{line:?} is no step"));
    if let Err(why) = attempt(setting, &steps) {
        panic!("{why}\n{}", render(&steps));
    }
}

/// Makes a program up while it runs.
fn make_up(run: &mut Run<'_>, random: &mut Random, steps: &mut Vec<Step>) -> Result<(), Stop> {
    let mut prologue = Generator::prologue(WORLD, true).into_iter();
    let count = 10 + random.below(MOST_STEPS - 10);
    for id in 0..count as u32 {
        let action = prologue.next().unwrap_or_else(|| generated(run, random));
        steps.push(Step { id, action });
        run.step(&steps[steps.len() - 1])?;
    }
    Ok(())
}

fn generated(run: &Run<'_>, random: &mut Random) -> Action {
    Generator { random, model: &run.model, given: &run.given, world: WORLD }.step()
}

/// Runs what `work` does, compares everything, and closes everything.
fn play(
    guest: &Guest,
    setting: Setting,
    coverage: &mut Coverage,
    work: impl FnOnce(&mut Run<'_>) -> Result<(), Stop>,
) -> Result<(), String> {
    let mut run = Run::new(guest, setting, coverage);
    let whole = || {
        let worked = work(&mut run);
        run.is_ending = true;
        let compared = worked.and_then(|()| run.compare_all());
        match compared {
            Ok(()) => run.close_all(),
            Err(Stop::HalfDone) => run.close_all(),
            differs => differs,
        }
    };
    match catch_unwind(AssertUnwindSafe(whole)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Stop::Differs(why))) => Err(why),
        Ok(Err(Stop::HalfDone)) => Err("memory ran out while everything was closed".into()),
        Err(panic) => Err(format!("panicked: {}", message(&*panic))),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
        .lines()
        .take(12)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs a program on a new VM.
fn attempt(setting: Setting, steps: &[Step]) -> Result<(), String> {
    run_steps(&setting.guest(), setting, steps)
}

fn run_steps(guest: &Guest, setting: Setting, steps: &[Step]) -> Result<(), String> {
    let mut coverage = Coverage::default();
    play(guest, setting, &mut coverage, |run| steps.iter().try_for_each(|step| run.step(step)))
}

/// The VM holds more than before the program: its arenas may have grown, which a second time they do not.
fn check_for_leak(guest: &Guest, setting: Setting, steps: &[Step], held: u64) {
    for _ in 0..3 {
        if let Err(why) = run_steps(guest, setting, steps) {
            fail(setting, steps, &format!("the second time: {why}"));
        }
        if guest.system.frames_held(guest.id) == held {
            return;
        }
    }
    let now = guest.system.frames_held(guest.id);
    panic!("{setting:?}: every run of this program leaves frames behind ({held}, then {now})\n{}", render(steps));
}

/// Makes the program small, and shows it.
fn fail(setting: Setting, steps: &[Step], why: &str) -> ! {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let small = shrink(setting, steps);
    std::panic::set_hook(hook);
    match small {
        Some((small, why)) => panic!("{setting:?}: {why}\n{}", render(&small)),
        None => panic!("{setting:?}: {why}, and not on a VM of its own\n{}", render(steps)),
    }
}

/// Leaves steps out as long as the program fails: halves, quarters, at last one by one.
fn shrink(setting: Setting, steps: &[Step]) -> Option<(Vec<Step>, String)> {
    let mut why = attempt(setting, steps).err()?;
    let mut steps = steps.to_vec();
    let mut size = steps.len().div_ceil(2);
    loop {
        let mut at = 0;
        let before = steps.len();
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match attempt(setting, &fewer) {
                Err(other) => (steps, why) = (fewer, other),
                Ok(()) => at += size,
            }
        }
        if size == 1 && steps.len() == before {
            return Some((steps, why));
        }
        size = (size / 2).max(1);
    }
}
