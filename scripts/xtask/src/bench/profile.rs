//! `scripts/bench --profile`: which functions of the hypervisor the instructions of a work are in.
//!
//! QEMU tells of every instruction that it executes, one a line. Those between the guest's last two reads of its counter are the
//! work's; an address leads to a function by the debug information of the hypervisor.

mod code;
mod symbols;
mod trace;

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use anyhow::{Context, Result};
use qemu::{Machine, Refused, Version};

use super::figures::{Amount, Figure};
use super::lines::Lines;
use super::measure::{BOOT, Subject};
use symbols::{Named, Symbols};
use trace::{Counts, Measured, Tracer};

/// A work, of one of its sizes or of all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Choice {
    work: String,
    n: Option<u64>,
}

impl FromStr for Choice {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let (work, n) = text.split_once(':').map_or((text, None), |(work, n)| (work, Some(n)));
        let wrong = || Refused::new(format!("{text:?} is no work to profile; it is WORK or WORK:N, as in unmap:512"));
        let is_name = !work.is_empty() && work.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let n = n.map(str::parse).transpose().map_err(|_| wrong())?;
        if is_name { Ok(Self { work: work.into(), n }) } else { Err(wrong()) }
    }
}

impl Choice {
    /// Returns the guest's boot arguments. Where no size is named, it is the smallest.
    fn arguments(&self) -> String {
        format!("work={} n={}", self.work, self.n.unwrap_or(1))
    }
}

/// Where the instructions of a work are.
pub(crate) struct Profile {
    /// What the guest measured.
    figure: Figure,
    /// The instructions that it counted.
    counted: u64,
    /// Instructions of the hypervisor's, by function.
    functions: Vec<(String, u64)>,
    /// The same by function as it was compiled, with what was inlined into it.
    compiled: Vec<(String, u64)>,
    /// Instructions of the guest's.
    guest: u64,
    /// Instructions that the trace has.
    traced: u64,
}

/// Since this version QEMU takes it from an accelerator's property.
const ONE_A_BLOCK: Version = Version(8, 1);

/// Boots, with every instruction told.
///
/// # Errors
///
/// The machine does not start or end well, or its trace cannot be read.
pub(crate) fn measure(subject: &Subject, choice: &Choice) -> Result<Profile> {
    // A trace can take minutes, so what has none to show is told by a run without.
    subject.measure(&choice.arguments())?.iter().try_for_each(|figure| counted(figure).map(drop))?;
    let one_a_block: &[&str] = match subject.emulator.version()? < ONE_A_BLOCK {
        true => &["-singlestep"],
        false => &["-accel", "tcg,one-insn-per-tb=on"],
    };
    let extra = one_a_block.iter().chain(&["-d", "exec,nochain"]).map(|word| String::from(*word)).collect();
    let machine = Machine { extra, ..subject.machine(&choice.arguments())? };
    let symbols = Symbols::read(&subject.hypervisor)?;
    let mut tracer = Tracer::new(code::counter_reads(&subject.guest)?, symbols.code().to_vec());
    let mut complaint = String::new();
    let mut lines = Lines::new(|line: &str| {
        if !tracer.take(line) {
            complaint = line.to_owned();
        }
    });
    let said = subject.listen(&machine, &mut lines);
    drop(lines);
    let said = if complaint.is_empty() { said } else { said.with_context(|| format!("QEMU says: {complaint}")) }?;
    let figure = said.figures.into_iter().next_back().context("the guest measured nothing")?;
    let from_reset = figure.work == BOOT;
    let counts = tracer.finish(from_reset).context("the trace does not have the guest's reads of its counter")?;
    Profile::new(&symbols, figure, &counts)
}

/// Returns the instructions that a work has counted, and refuses one that counts something else.
fn counted(figure: &Figure) -> Result<u64, Refused> {
    match figure.amount {
        Amount::Instructions(counted) => Ok(counted),
        other => Err(Refused::new(format!(
            "{} counts {}, and no instructions that could be profiled",
            figure.work,
            other.unit()
        ))),
    }
}

impl Profile {
    fn new(symbols: &Symbols, figure: Figure, counts: &Measured) -> Result<Self> {
        let counted = counted(&figure)?;
        let (mut functions, mut compiled, mut guest) = (HashMap::new(), HashMap::new(), 0);
        for (address, count) in counts.work.iter() {
            match symbols.find(address) {
                Some(Named { function, compiled_into }) => {
                    *functions.entry(function).or_default() += count;
                    *compiled.entry(compiled_into).or_default() += count;
                }
                None => guest += count,
            }
        }
        // The guest takes what measuring nothing costs off its figures: it is the guest's own.
        let empty = counts.empty.as_ref().map_or(0, Counts::sum);
        let traced = counts.work.sum().saturating_sub(empty);
        let guest = u64::saturating_sub(guest, empty);
        Ok(Self { figure, counted, functions: sorted(functions), compiled: sorted(compiled), guest, traced })
    }

    /// Tells whether nothing of the hypervisor's was seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Returns what the guest counted and the trace has not, or the other way round, as a line.
    pub(crate) fn unaccounted(&self) -> Option<String> {
        let Self { counted, traced, .. } = self;
        (counted != traced).then(|| format!("{counted} instructions were counted, and {traced} traced"))
    }

    /// Renders the tables.
    pub(crate) fn render(&self) -> String {
        let Figure { work, n, .. } = &self.figure;
        let mut text = format!("{work} of {n}: {} instructions\n", self.counted);
        if let Some(unaccounted) = self.unaccounted() {
            let _ = writeln!(text, "beware: {unaccounted}");
        }
        text += "\ninstructions   share  function, without what is inlined into it\n";
        self.write_rows(&mut text, &self.functions);
        text += "\ninstructions   share  function, with what is inlined into it\n";
        self.write_rows(&mut text, &self.compiled);
        text
    }

    fn write_rows(&self, text: &mut String, functions: &[(String, u64)]) {
        let guest = ("the guest".to_owned(), self.guest);
        let (shown, rest) = functions.split_at(functions.len().min(SHOWN));
        let others = (format!("{} others", rest.len()), rest.iter().map(|(_, count)| count).sum());
        let others = Some(&others).filter(|_| !rest.is_empty());
        for (name, count) in shown.iter().chain(others).chain([&guest]) {
            let share = *count as f64 * 100.0 / self.traced.max(1) as f64;
            let _ = writeln!(text, "{count:>12} {share:>5.1} %  {name}");
        }
    }
}

/// How many functions are shown.
const SHOWN: usize = 40;

/// Returns the largest first, and those alike by name.
fn sorted(counts: HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(name, count), (other_name, other)| other.cmp(count).then_with(|| name.cmp(other_name)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::figure;

    #[test]
    fn a_work_is_chosen_with_or_without_a_size() {
        let arguments = |text: &str| text.parse::<Choice>().map(|choice| choice.arguments());
        assert_eq!(arguments("unmap:512"), Ok("work=unmap n=512".into()));
        assert_eq!(arguments("touch-among"), Ok("work=touch-among n=1".into()));
        for wrong in ["", ":1", "unmap:", "unmap:x", "un map", "Unmap", "unmap,n=2", "unmap:-1"] {
            assert!(arguments(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_work_that_counts_no_instructions_is_refused() {
        assert_eq!(counted(&figure("unmap", 1, 7)), Ok(7));
        let refused = counted(&Figure::plain("memory-pages", 1, Amount::Frames(7))).unwrap_err();
        let expected = "memory-pages counts frames, and no instructions that could be profiled";
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn rows_are_in_the_order_of_their_instructions_and_none_is_lost() {
        let functions: HashMap<String, u64> = (0..50).map(|number| (format!("f{number:02}"), 100 + number)).collect();
        let traced = functions.values().sum::<u64>() + 7;
        let functions = sorted(functions);
        let profile = Profile {
            figure: figure("map", 1, traced),
            counted: traced,
            compiled: functions.clone(),
            functions,
            guest: 7,
            traced,
        };
        let text = profile.render();
        assert!(text.contains("         149   2.4 %  f49\n         148"), "{text}");
        assert!(text.contains("        1045  16.8 %  10 others\n           7   0.1 %  the guest\n"), "{text}");
        assert!(!text.contains("beware"));
        let short = Profile { traced: traced - 1, ..profile };
        assert!(
            short.render().contains("beware: 6232 instructions were counted, and 6231 traced"),
            "{}",
            short.render()
        );
    }
}
