//! Machines with a planted bug: what the oracle in the hypervisor says, and what a guest notices without it.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use qemu::{Case, Emulator, Ended, Machine, Transcript, read_cases};

/// The status with which the machine ends when the oracle says that a rule is broken.
const RULE_BROKEN: i32 = 103;
/// The status with which a case of the conformance guest ends that does not hold.
const CASE_FAILED: i32 = 1;
/// Nearly all machines end within a second; what goes on for ever is noticed by that.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A case of the conformance guest on a CPU model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Boot {
    cpu: &'static str,
    case: &'static str,
}

impl Boot {
    const fn of(case: &'static str) -> Self {
        Self { cpu: "max", case }
    }

    /// Returns the same case on another CPU model.
    pub(crate) const fn on(self, cpu: &'static str) -> Self {
        Self { cpu, ..self }
    }
}

pub(crate) const UNMAP: Boot = Boot::of("T01_unmapped_page_is_gone_at_once");
pub(crate) const CODE: Boot = Boot::of("T03_protect_against_execution_is_effective_at_once");
pub(crate) const RIGHTS: Boot = Boot::of("T03_protect_to_read_only_is_effective_at_once");
pub(crate) const MANY_PAGES: Boot = Boot::of("T01_every_page_of_a_large_unmap_is_gone_at_once");
pub(crate) const STAGE_1: Boot = Boot::of("T02_stage1_tables_unmapped_under_the_guest");
pub(crate) const TWO_CPUS: Boot = Boot::of("T10_unmapped_page_is_gone_on_another_vcpu_at_once");
pub(crate) const BLOCKS: Boot = Boot::of("S2_11_unmapped_page_splits_its_block_alone");
pub(crate) const WHOLE_BLOCK: Boot = Boot::of("S2_13_protected_block_stays_a_block");
pub(crate) const BLOCKS_BROKEN: Boot =
    Boot::of("S2_11_unmapped_page_splits_its_block_alone_where_entries_are_broken_first");
pub(crate) const BLOCKS_UNCACHED: Boot =
    Boot::of("S2_11_unmapped_page_splits_its_block_alone_where_blocks_are_made_uncacheable_first");
pub(crate) const BLOCKS_MERGED: Boot = Boot::of("S2_12_protected_page_splits_its_block_where_entries_are_broken_first");
pub(crate) const GROUPS: Boot = Boot::of("S2_14_group_of_16_pages_has_its_hint_while_they_are_alike");
pub(crate) const LARGEST_BLOCK: Boot = Boot::of("S2_15_page_of_a_block_of_a_gib");
pub(crate) const NEIGHBOURS: Boot = Boot::of("S2_20_neighbours_of_what_changes_are_untouched");
pub(crate) const DECOMMIT: Boot = Boot::of("T04_decommitted_page_reads_zero_at_once");
pub(crate) const DECOMMIT_TWO: Boot = Boot::of("T10_decommitted_page_reads_zero_on_another_vcpu_at_once");
pub(crate) const FRESH: Boot = Boot::of("P13_page_that_is_written_shows_nothing_of_its_last_use");
pub(crate) const NOTHING_THERE: Boot = Boot::of("D02_unmap_of_an_empty_vmar_documented");
pub(crate) const END_OF_40_BITS: Boot = Boot::of("S2_02_walk_agrees_with_the_cpu_at_the_end_of_40_bits");
pub(crate) const HOLE: Boot = Boot::of("T01_unmapped_pages_behind_a_hole_are_gone_at_once");
pub(crate) const NO_LENGTH: Boot = Boot::of("S06_unmap_invalid_args_for_a_len_of_zero");
pub(crate) const WRAPPING_LENGTH: Boot = Boot::of("C063_protect_of_a_len_that_rounds_to_zero");
pub(crate) const ARGUMENTS: Boot = Boot::of("C052_misaligned_address_leaves_the_mapping");
pub(crate) const TAIL: Boot = Boot::of("S2_12_protected_page_splits_its_block_until_it_is_like_the_others");

/// What a boot came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Came {
    /// The oracle ended the machine: what it said.
    Judged(Vec<String>),
    /// The guest found something: the last that it said.
    Failed(String),
    /// The guest does not come to an end, or to none of its own.
    Stuck,
    /// Nobody noticed anything.
    Unnoticed,
    /// Something else: the end, and the last of the log.
    Otherwise(String),
}

/// What there is to boot: the hypervisor with planted bugs, and the conformance guest with its cases.
pub(crate) struct Images {
    hypervisor: PathBuf,
    guest: PathBuf,
    cases: Vec<Case>,
    emulator: Emulator,
}

impl Images {
    /// Finds the images where there are any.
    ///
    /// # Errors
    ///
    /// The guest's cases cannot be read.
    pub(crate) fn from_env() -> Result<Option<Self>> {
        let Some(dir) = env::var_os("STAGECRAFT_IMAGES").map(PathBuf::from) else { return Ok(None) };
        let guest = dir.join("conformance");
        let cases = read_cases(&guest)?;
        let hypervisor = dir.join("planted").join("hypervisor");
        Ok(Some(Self { hypervisor, guest, cases, emulator: Emulator::from_env() }))
    }

    /// Boots the case with a planted bug, and has the oracle say what it thinks of it.
    ///
    /// # Errors
    ///
    /// There is no such case, or QEMU cannot be started.
    pub(crate) fn boot_judged(&self, boot: Boot, bug: u32) -> Result<Came> {
        self.boot(boot, format!("planted={bug}"))
    }

    /// Boots the case with a planted bug, and without rules.
    ///
    /// # Errors
    ///
    /// As for [`Images::boot_judged`].
    pub(crate) fn boot_unjudged(&self, boot: Boot, bug: u32) -> Result<Came> {
        self.boot(boot, format!("planted={bug} rules=off"))
    }

    fn boot(&self, boot: Boot, append: String) -> Result<Came> {
        let case = self.cases.iter().find(|case| case.name == boot.case);
        let case = case.with_context(|| format!("the conformance guest has no case {}", boot.case))?;
        let machine = Machine {
            append,
            cpu: boot.cpu.into(),
            time_limit: Some(TIME_LIMIT),
            ..case.machine(&self.hypervisor, &self.guest)
        };
        Ok(what_came(&machine.capture(&self.emulator)?))
    }
}

fn what_came(said: &Transcript) -> Came {
    let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    match said.ended {
        Ended::Exited(0) => Came::Unnoticed,
        Ended::Exited(RULE_BROKEN) => Came::Judged(verdicts(&said.log)),
        Ended::Exited(CASE_FAILED) => Came::Failed(last(&said.console)),
        Ended::TimedOut(_) => Came::Stuck,
        // The hypervisor gives a guest up that can take no exception.
        Ended::Exited(_) if said.log.contains("the guest cannot take an exception") => Came::Stuck,
        ended => Came::Otherwise(format!("{ended}: {}", last(&said.log))),
    }
}

/// Returns what the oracle said: the parts of lines of the log that begin with a rule's number.
fn verdicts(log: &str) -> Vec<String> {
    let words = |line: &str| line.match_indices('R').map(|(at, _)| line[at..].to_owned()).collect::<Vec<_>>();
    log.lines().flat_map(words).filter(|words| rule_of(words).is_some()).collect()
}

/// Returns the rule that a verdict begins with: `R11: …`.
pub(crate) fn rule_of(verdict: &str) -> Option<&str> {
    let (rule, _) = verdict.split_once(':')?;
    let number = rule.strip_prefix("warning ").unwrap_or(rule);
    let is_rule = number.strip_prefix('R').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    is_rule.then_some(number)
}
