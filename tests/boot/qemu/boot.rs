//! Booting a machine and judging what it said.

use std::time::Duration;

use libtest_mimic::{Completion, Failed};
use qemu::{Emulator, Ended, Machine, Transcript};

/// The CPU models that everything has to work on: no optional feature (a57), flags kept by hardware (n1), a small physical
/// space (a710), and all that QEMU has (max).
pub(crate) const CPUS: [&str; 4] = ["cortex-a57", "neoverse-n1", "cortex-a710", "max"];

/// How long a machine may run. Nearly all of them need less than a second.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What comes of a test.
pub(crate) type Verdict = Result<Completion, Failed>;

/// Boots the machine and has its transcript judged: `Err` says what is wrong with it. Skips a CPU model that QEMU lacks.
pub(crate) fn boot(machine: &Machine, judge: impl FnOnce(&Transcript) -> Result<(), String>) -> Verdict {
    let emulator = Emulator::from_env();
    let limited = Machine { time_limit: Some(TIME_LIMIT), ..machine.clone() };
    let transcript = limited.capture(&emulator).map_err(|error| format!("{error:#}"))?;
    let Err(why) = judge(&transcript) else { return Ok(Completion::Completed) };
    // Asked only now: asking takes QEMU nearly as long as booting.
    match emulator.check_cpu(&machine.cpu) {
        Err(refused) => Ok(Completion::ignored_with(refused)),
        Ok(()) => Err(tell(&why, &transcript)),
    }
}

/// Judges a VM that should end with status 0 and have these lines, or parts of lines, on its console.
pub(crate) fn succeeds_with(transcript: &Transcript, parts: &[&str]) -> Result<(), String> {
    if transcript.ended != Ended::Exited(0) {
        return Err(format!("{}, expected status 0", transcript.ended));
    }
    match parts.iter().find(|part| !transcript.console.contains(**part)) {
        Some(missing) => Err(format!("the console lacks {missing:?}")),
        None => Ok(()),
    }
}

fn tell(why: &str, transcript: &Transcript) -> Failed {
    let Transcript { ended, console, log } = transcript;
    format!("{why}\n--- console\n{console}\n--- log of the hypervisor and QEMU\n{log}\n--- {ended}").into()
}
