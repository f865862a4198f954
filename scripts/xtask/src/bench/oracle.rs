//! What the oracle costs: the conformance guest's cases, each booted with it and without.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use anyhow::{Result, ensure};
use qemu::{Case, Ended, Machine, read_cases};

use super::measure::{Progress, Subject};

/// How many times as many instructions the cases may take with it, together.
pub(crate) const MOST: f64 = 5.0;
/// How many of the cases are told of that it costs most.
const TOLD: usize = 10;
/// The boot argument that has a case say what it took, and how it says so.
const COUNT: &str = "count=on";
const COUNTED: &str = "instructions=";

/// What a case takes, from reset to its end.
#[derive(Clone, Debug, PartialEq)]
struct Cost {
    case: String,
    with: u64,
    without: u64,
}

impl Cost {
    fn ratio(&self) -> f64 {
        self.with as f64 / self.without as f64
    }
}

/// What cases take, those first that it costs most.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Costs(Vec<Cost>);

impl Costs {
    fn of(mut costs: Vec<Cost>, cases: usize) -> Result<Self> {
        let counted = costs.len();
        ensure!(counted > 0 && counted * 10 >= cases * 9, "only {counted} of {cases} cases say what they took");
        costs.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()).then_with(|| a.case.cmp(&b.case)));
        Ok(Self(costs))
    }

    /// Returns how many times as many instructions all of them take.
    pub(crate) fn ratio(&self) -> f64 {
        let sum = |of: fn(&Cost) -> u64| self.0.iter().map(of).sum::<u64>() as f64;
        sum(|cost| cost.with) / sum(|cost| cost.without)
    }

    fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).map_or(f64::NAN, Cost::ratio)
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "With the oracle {} cases take {:.2} times the instructions, from reset to their end: half of them at most {:.2} times.\n\
             It costs most in",
            self.0.len(),
            self.ratio(),
            self.median()
        )?;
        for cost in self.0.iter().take(TOLD) {
            writeln!(f, "  {:5.2}  {} ({} and {})", cost.ratio(), cost.case, cost.with, cost.without)?;
        }
        Ok(())
    }
}

/// Measures each `step`-th of the cases. Those on several CPUs are left out: their CPUs wait for each other, and the instructions of
/// waiting say nothing. So are those that end the machine before they could say anything.
///
/// # Errors
///
/// The guest has no list of cases, or a machine does not start or does not end well.
pub(crate) fn measure(subject: &Subject, step: usize) -> Result<Costs> {
    let mut cases = read_cases(&subject.conformance)?;
    cases.retain(|case| case.smp == 1);
    let chosen: Vec<(usize, &Case)> = cases.iter().step_by(step).enumerate().collect();
    let progress = Progress::new(&subject.cpu);
    let (queue, costs) = (Mutex::new(chosen.iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("nobody panics with the queue").next();
    let work = || -> Result<()> {
        while let Some((number, case)) = next() {
            progress.write(&format!("case {} of {}", number + 1, chosen.len()));
            let cost = cost(subject, case)?;
            costs.lock().expect("nobody panics with the results").extend(cost);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker returns its error"))
    })?;
    Costs::of(costs.into_inner().expect("nobody panics with the results"), chosen.len())
}

fn cost(subject: &Subject, case: &Case) -> Result<Option<Cost>> {
    let with = count(subject, case, &subject.watched)?;
    let without = count(subject, case, &subject.hypervisor)?;
    ensure!(with.is_some() == without.is_some(), "{} says what it took in one of its two runs only", case.name);
    Ok(with.zip(without).map(|(with, without)| Cost { case: case.name.clone(), with, without }))
}

/// Returns what the case says that it took, if it comes to that.
fn count(subject: &Subject, case: &Case, hypervisor: &Path) -> Result<Option<u64>> {
    let machine = Machine {
        bootargs: format!("{} {COUNT}", case.bootargs).into(),
        memory: case.memory,
        hypervisor: hypervisor.into(),
        guest: subject.conformance.clone(),
        ..subject.machine("")?
    };
    let said = machine.capture(&subject.emulator)?;
    ensure!(said.ended == Ended::Exited(0), "{}: {}; it said:\n{}{}", case.name, said.ended, said.console, said.log);
    Ok(read(&said.console))
}

fn read(console: &str) -> Option<u64> {
    console.lines().find_map(|line| line.strip_prefix(COUNTED)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(case: &str, with: u64, without: u64) -> Cost {
        Cost { case: case.into(), with, without }
    }

    #[test]
    fn what_a_case_took_is_read_from_its_console() {
        assert_eq!(read("PASS C001\ninstructions=1234\n"), Some(1234));
        assert_eq!(read("PASS C001\n"), None);
    }

    #[test]
    fn that_cases_do_not_say_what_they_took_is_an_error() {
        assert!(Costs::of(Vec::new(), 0).is_err() && Costs::of(vec![cost("a", 2, 1)], 2).is_err());
        assert!(Costs::of(vec![cost("a", 2, 1); 9], 10).is_ok());
    }

    #[test]
    fn the_ratio_is_of_the_sums_and_the_median_of_the_cases() {
        let costs = Costs::of(vec![cost("a", 20, 10), cost("b", 60, 10), cost("c", 30, 10)], 3).unwrap();
        assert_eq!((costs.ratio(), costs.median()), (110.0 / 30.0, 3.0));
        assert_eq!(costs.0[0].case, "b");
        let text = costs.to_string();
        assert!(text.contains("3 cases take 3.67 times") && text.contains("half of them at most 3.00 times"), "{text}");
        assert!(text.find(" b ").unwrap() < text.find(" c ").unwrap(), "{text}");
    }
}
