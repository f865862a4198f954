//! `scripts/bench`: what the hypervisor's calls cost, beside what they shall cost and what peers need.

mod baseline;
mod check;
mod figures;
mod goals;
mod lines;
mod measure;
mod oracle;
mod peer_figure;
mod peers;
mod plot;
mod profile;
mod published;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use qemu::Emulator;

use crate::{cargo, images};
pub(crate) use check::Check;
use figures::Figure;
use measure::Subject;
use peer_figure::PeerFigure;
use peers::Unavailable;

/// Names the folder of the images where they are built already, as they are for `scripts/test`.
pub(crate) const IMAGES: &str = "STAGECRAFT_IMAGES";

const EXAMPLES: &str = "\
Instructions are counted by QEMU, exactly: two runs agree to the last digit, on any host. The figures are also written to
target/bench.json, and drawn in target/bench.svg.

Examples:
  scripts/bench                            every work at all its sizes, a minute or less
  scripts/bench --cpu cortex-a57           on a CPU without range TLBIs, and without flags kept by hardware
  scripts/bench --peers                    measures Xen and KVM too, which takes some minutes and Debian's packages
  scripts/bench --profile unmap:512        the functions that unmapping 512 pages spends its instructions in
  scripts/bench --oracle                   what the oracle adds, in a minute or two
  scripts/bench --update-baseline          has scripts/test hold later changes to what is measured now";

/// Counts what the hypervisor's calls cost, and compares it with goals, with the repository's baseline and with peers
#[derive(Args)]
#[command(override_usage = "scripts/bench [OPTIONS]", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The CPU model
    #[arg(long, value_name = "MODEL", default_value = "max")]
    cpu: Cpu,
    /// Fetches Debian's Xen and Linux, and measures what they take for the same, in place of published figures
    #[arg(long, conflicts_with = "profile")]
    peers: bool,
    /// Prints the functions by their instructions in WORK of size 1, or N; a large N takes minutes
    #[arg(long, value_name = "WORK[:N]")]
    profile: Option<profile::Choice>,
    /// Boots the conformance guest's cases with the oracle and without, and prints how many times as much they take with it
    #[arg(long, conflicts_with_all = ["profile", "peers"])]
    oracle: bool,
    /// Writes what is measured to tests/bench/baseline.json
    #[arg(long, conflicts_with_all = ["profile", "peers", "oracle"])]
    update_baseline: bool,
    /// Checks what scripts/test has checked
    #[arg(long, hide = true)]
    check: Option<Check>,
}

/// The CPU models that are measured: all that QEMU has (max), no optional feature (a57), a small physical space (a710), flags kept
/// by hardware (n1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Cpu {
    Max,
    CortexA57,
    CortexA710,
    NeoverseN1,
}

impl Cpu {
    const fn name(self) -> &'static str {
        match self {
            Self::Max => baseline::CPU,
            Self::CortexA57 => "cortex-a57",
            Self::CortexA710 => "cortex-a710",
            Self::NeoverseN1 => "neoverse-n1",
        }
    }
}

/// Measures, and shows it.
///
/// # Errors
///
/// QEMU or the CPU model is not to be had, the images do not build, or a machine does not end well.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let emulator = Emulator::from_env();
    emulator.check_version()?;
    emulator.check_cpu(options.cpu.name())?;
    ensure!(!options.update_baseline || options.cpu == Cpu::Max, "the baseline is of --cpu {}", baseline::CPU);
    let images = std::env::var_os(IMAGES).map(|dir| Ok(PathBuf::from(dir))).unwrap_or_else(images::build_for_bench)?;
    let subject = Subject::new(emulator, &images, options.cpu.name());
    match (options.check, &options.profile) {
        (Some(check), _) => check::run(check, &subject),
        (None, Some(choice)) => {
            print!("{}", profile::measure(&subject, choice)?.render());
            Ok(ExitCode::SUCCESS)
        }
        (None, None) if options.oracle => {
            print!("{}", oracle::measure(&subject, 1)?);
            Ok(ExitCode::SUCCESS)
        }
        (None, None) => show(options, &subject),
    }
}

fn show(options: &Options, subject: &Subject) -> Result<ExitCode> {
    let figures = subject.measure_all()?;
    let peers = peers(options)?;
    print!("{}", table::render(&figures, &peers));
    if options.cpu == Cpu::Max {
        tell_changes(&figures);
    }
    write_files(options, &figures, &peers)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what the peers take: as it is measured now where that is asked for and can be done, and otherwise as it was published.
fn peers(options: &Options) -> Result<Vec<PeerFigure>> {
    if !options.peers {
        println!("{}", published::PUBLISHED);
        return Ok(published::published());
    }
    match peers::measure(options.cpu.name()) {
        Ok(measured) => {
            print!("{measured}");
            Ok(measured.to_compare())
        }
        Err(error) if error.is::<Unavailable>() => {
            println!("{error}\n{}", published::PUBLISHED);
            Ok(published::published())
        }
        Err(error) => Err(error),
    }
}

/// Says how the figures differ from the baseline, where there is one.
fn tell_changes(figures: &[Figure]) {
    println!("\nagainst {}", baseline::path().display());
    match figures::read(&baseline::path()) {
        Ok(was) => {
            let changes = baseline::compare(&was, figures);
            changes.worse.iter().for_each(|line| println!("  worse:  {line}"));
            changes.better.iter().for_each(|line| println!("  better: {line}"));
            if changes == baseline::Changes::default() {
                println!("  nothing is worse by more than 1 %, and nothing is better");
            }
        }
        Err(error) => println!("  nothing to compare with: {error:#}"),
    }
}

fn write_files(options: &Options, figures: &[Figure], peers: &[PeerFigure]) -> Result<()> {
    let dir = cargo::workspace().join("target");
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let (json, picture) = (dir.join("bench.json"), dir.join("bench.svg"));
    figures::write(&json, figures)?;
    plot::write(&picture, options.cpu.name(), figures, peers)?;
    println!("\nwritten: {} and {}", json.display(), picture.display());
    if options.update_baseline {
        let path = baseline::path();
        figures::write(&path, figures)?;
        // The README shows it.
        plot::write(&path.with_extension("svg"), options.cpu.name(), figures, peers)?;
        println!("written: {}, and its picture", path.display());
    }
    Ok(())
}
