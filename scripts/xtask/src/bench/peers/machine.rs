//! The machines that the peers run on: QEMU with the flags that this project's own measuring has, and a console.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use qemu::Emulator;

use super::child::follow;
use super::lines::Line;

/// How long a machine may run: twenty times what it takes where nothing else runs.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Where the guest of Xen lies until Xen has copied it: QEMU has put nothing there.
const MODULE: u64 = 0x6000_0000;

/// What all of them have: one CPU, each instruction counted, and nothing that differs from one run to the next.
const FLAGS: &str = "-M virt,virtualization=on,gic-version=3,dtb-randomness=off -m 2G -smp 1 -icount shift=0,sleep=off \
    -nodefaults -display none -serial stdio -no-reboot";

/// The kernel's console, its log, and an end for a kernel that panics.
const LINUX: &str = "console=ttyAMA0 loglevel=7 panic=-1 nokaslr";

/// What is booted.
#[derive(Clone, Debug)]
pub(super) enum Boot {
    /// Xen, with a dom0.
    Xen {
        /// Xen's own image.
        xen: PathBuf,
        /// dom0's.
        guest: PathBuf,
    },
    /// Linux, with a first process.
    Linux {
        /// The kernel's image.
        kernel: PathBuf,
        /// The archive with its first process.
        initramfs: PathBuf,
        /// Further boot arguments.
        append: &'static str,
    },
}

impl Boot {
    fn name(&self) -> &'static str {
        match self {
            Self::Xen { .. } => "Xen",
            Self::Linux { .. } => "Linux with KVM",
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Xen { xen, guest } => {
                let mut module = OsString::from(format!("guest-loader,addr={MODULE:#x},bootargs=none,kernel="));
                module.push(guest);
                // Its console waits, so that no interrupt of the serial line's comes while something is measured.
                let append = "dom0_mem=1024M console=dtuart dtuart=/pl011@9000000 sync_console";
                vec!["-kernel".into(), xen.into(), "-append".into(), append.into(), "-device".into(), module]
            }
            Self::Linux { kernel, initramfs, append } => {
                let append = format!("{LINUX} {append}").trim_end().into();
                vec!["-kernel".into(), kernel.into(), "-initrd".into(), initramfs.into(), "-append".into(), append]
            }
        }
    }
}

/// Returns the CPU model with a counter that ticks once an instruction, whatever the model's own does.
fn with_counter(cpu: &str) -> String {
    match cpu.contains("cntfrq=") {
        true => cpu.into(),
        false => format!("{cpu},cntfrq=1000000000"),
    }
}

/// Boots a machine, shows `listen` each line of its console that is not the guest's, and returns the guest's figures, which are
/// in [`Line::Figure`]. The console's text is kept in `log`.
///
/// # Errors
///
/// The machine does not start, does not end, or ends before the guest is done.
pub(super) fn measure(boot: &Boot, cpu: &str, log: &Path, mut listen: impl FnMut(&str)) -> Result<Vec<Line>> {
    let mut command = Command::new(Emulator::from_env().program());
    command.args(FLAGS.split_whitespace()).args(["-cpu", &with_counter(cpu)]).args(boot.arguments());
    let mut text = create(log)?;
    let mut run = Run { name: boot.name(), figures: Vec::new(), outcome: None };
    let ended = follow(command, TIME_LIMIT, |line| {
        // What is missing of the log is no reason to go without the figures.
        let _ = writeln!(text, "{line}");
        match Line::read(line) {
            Ok(None) => listen(line),
            Ok(Some(line)) => run.take(line),
            Err(line) => run.outcome = Some(Err(anyhow!("its guest said what means nothing: {line:?}"))),
        }
    });
    let outcome = match (run.outcome, ended) {
        (Some(outcome), _) => outcome,
        (None, Err(error)) => Err(error),
        (None, Ok(status)) => Err(anyhow!("QEMU ended ({status}) before the guest was done")),
    };
    outcome.with_context(|| format!("{} cannot be measured; its console is in {}", run.name, log.display()))?;
    if run.figures.is_empty() {
        bail!("{} was measured without a figure; its console is in {}", run.name, log.display());
    }
    Ok(run.figures)
}

fn create(log: &Path) -> Result<File> {
    let made = log.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(log));
    made.with_context(|| format!("{} cannot be written", log.display()))
}

/// What is known of a run so far.
struct Run {
    name: &'static str,
    figures: Vec<Line>,
    outcome: Option<Result<()>>,
}

impl Run {
    fn take(&mut self, line: Line) {
        match line {
            Line::Figure { .. } => self.figures.push(line),
            Line::Doing(step) => eprintln!("    {}: {step}", self.name),
            Line::Failed(why) => self.outcome = Some(Err(anyhow!("its guest gave up: {why}"))),
            // What failed before stays failed.
            Line::Done => self.outcome = self.outcome.take().or(Some(Ok(()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_asked_for_once() {
        assert_eq!(with_counter("max"), "max,cntfrq=1000000000");
        assert_eq!(with_counter("max,cntfrq=1000000000"), "max,cntfrq=1000000000");
    }

    #[test]
    fn what_failed_before_the_end_stays_failed() {
        let mut run = Run { name: "a peer", figures: Vec::new(), outcome: None };
        run.take(Line::Failed("a call: -22".into()));
        run.take(Line::Done);
        assert!(run.outcome.unwrap().is_err());
    }

    #[test]
    fn a_kernel_gets_its_own_arguments_after_those_of_all() {
        let boot = Boot::Linux { kernel: "k".into(), initramfs: "i".into(), append: "kvm-arm.mode=nvhe" };
        let arguments = boot.arguments().join(std::ffi::OsStr::new(" ")).into_string().unwrap();
        assert!(arguments.ends_with("nokaslr kvm-arm.mode=nvhe"), "{arguments}");
        let boot = Boot::Xen { xen: "x".into(), guest: "g".into() };
        let arguments = boot.arguments().join(std::ffi::OsStr::new(" ")).into_string().unwrap();
        assert!(arguments.ends_with("guest-loader,addr=0x60000000,bootargs=none,kernel=g"), "{arguments}");
    }
}
