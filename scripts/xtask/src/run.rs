//! `scripts/run`: the tour, or another guest.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use qemu::{Emulator, Machine, Memory, check_guest, count_trace, create_trace};

use crate::images;

/// The boot arguments without which the tour could not show the tables.
const TOUR_BOOTARGS: &str = "inspect=on";

const EXAMPLES: &str = "\
The guest's console is standard input and output, the hypervisor's log goes to standard error, and the VM's exit status
becomes this program's: 0 for status 0. What was asked for wrongly is told in one line and gives 2. QEMU is
qemu-system-aarch64, or what the environment's QEMU names.

Examples:
  scripts/run                                       the tour
  scripts/run --cpu cortex-a57 --log debug          the tour on an older CPU, with the hypervisor's log
  scripts/run --guest my.elf --append 'ram=128M'    a guest of yours, with boot arguments of its own
  scripts/run --trace tour.trace                    the tour, with every event recorded
  scripts/run --gdb                                 the tour, once a debugger says so
  scripts/run --icount --qemu-args '-d int'         each instruction counted, each exception told by QEMU

How to write a guest, and the boot arguments there are: README.md and hypervisor/abi/CONTRACT.md.";

/// Builds the hypervisor and boots a guest on it: the tour, or the one that is named
#[derive(Args)]
#[command(override_usage = "scripts/run [--guest FILE] [OPTIONS]", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The guest: an ELF64 executable for AArch64, or a Linux arm64 Image
    #[arg(long, value_name = "FILE")]
    guest: Option<PathBuf>,
    /// The CPU model, as QEMU's -cpu takes it
    #[arg(long, value_name = "MODEL", default_value = "max")]
    cpu: String,
    /// How many CPUs the machine has, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    smp: u8,
    /// How much RAM the machine has, 256M to 64G
    #[arg(long, value_name = "SIZE", default_value_t)]
    memory: Memory,
    /// Boot arguments for the guest, one string
    #[arg(long, value_name = "GUEST ARGS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    append: String,
    /// What the hypervisor logs: messages of this level and graver ones
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: Level,
    /// Records every event that the oracle judges in FILE, for `cargo xtask judge`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Counts instructions, so that two runs are alike
    #[arg(long)]
    icount: bool,
    /// Waits for a debugger before the first instruction
    #[arg(long)]
    gdb: bool,
    /// More arguments for QEMU, separated by blanks
    #[arg(long, value_name = "ARGS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    qemu_args: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Boots the guest and returns the VM's exit status.
///
/// # Errors
///
/// What was asked for cannot be had, does not build, or does not start.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let emulator = Emulator::from_env();
    emulator.check_version()?;
    emulator.check_cpu(&options.cpu)?;
    if let Some(guest) = &options.guest {
        check_guest(guest, options.memory)?;
    }
    if let Some(trace) = &options.trace {
        create_trace(trace)?;
    }
    let machine = assemble(options)?;
    if options.gdb {
        eprintln!("QEMU waits for a debugger: {}", Machine::debugger_command(&machine.hypervisor));
    }
    let code = machine.run(&emulator)?.code();
    Ok(ExitCode::from(match &options.trace {
        Some(trace) => code_with_trace(code, trace),
        None => code,
    }))
}

/// Returns the exit code of a run that was recorded: what is lost of a trace is told, and is no success.
fn code_with_trace(code: u8, trace: &Path) -> u8 {
    match count_trace(trace) {
        Ok(_) => code,
        Err(cut) => {
            eprintln!("scripts/run: {cut}");
            code.max(1)
        }
    }
}

fn assemble(options: &Options) -> Result<Machine> {
    let (guest, own_bootargs) = match &options.guest {
        Some(guest) => (guest.clone(), ""),
        None => (images::build_tour()?, TOUR_BOOTARGS),
    };
    let level = options.log.to_possible_value().expect("no level is hidden");
    Ok(Machine {
        bootargs: [own_bootargs, options.append.as_str()].join(" ").trim().into(),
        cpu: options.cpu.clone(),
        smp: options.smp,
        memory: options.memory,
        log: level.get_name().into(),
        trace: options.trace.clone(),
        icount: options.icount,
        gdb: options.gdb,
        extra: options.qemu_args.split_whitespace().map(String::from).collect(),
        ..Machine::new(images::build_hypervisor()?, guest)
    })
}
