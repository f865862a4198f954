use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{Ended, follow};
use crate::{Emulator, Memory};

/// Where the guest's image lies, from the start of RAM: above the hypervisor, and within the smallest machine.
pub(crate) const GUEST_OFFSET: u64 = 0x0800_0000;
/// Where the RAM of the `virt` machine starts.
const RAM_BASE: u64 = 0x4000_0000;

/// A machine to boot: the hypervisor at EL2, a guest beside it, and what they run on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The hypervisor's ELF file.
    pub hypervisor: PathBuf,
    /// The guest's image.
    pub guest: PathBuf,
    /// The guest's boot arguments.
    pub bootargs: OsString,
    /// The CPU model, as `-cpu` takes it.
    pub cpu: String,
    /// How many CPUs there are.
    pub smp: u8,
    /// How much RAM there is.
    pub memory: Memory,
    /// Further boot arguments for the hypervisor.
    pub append: String,
    /// The least severe level that the hypervisor logs: `error`, `warn`, `info`, `debug` or `trace`.
    pub log: String,
    /// The file that the hypervisor's trace of all events goes to.
    pub trace: Option<PathBuf>,
    /// Whether instructions are counted, which makes two runs alike.
    pub icount: bool,
    /// Whether QEMU waits for a debugger on TCP port 1234 before the first instruction.
    pub gdb: bool,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
    /// How long the machine may run.
    pub time_limit: Option<Duration>,
}

/// What a machine said, and how it ended.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// How the machine ended.
    pub ended: Ended,
    /// The guest's console.
    pub console: String,
    /// The hypervisor's log, and after it what QEMU itself complained of.
    pub log: String,
}

impl Machine {
    /// Describes a machine with one `max` CPU and the default amount of RAM, and no limit in time.
    pub fn new(hypervisor: impl Into<PathBuf>, guest: impl Into<PathBuf>) -> Self {
        Self {
            hypervisor: hypervisor.into(),
            guest: guest.into(),
            bootargs: OsString::new(),
            cpu: "max".into(),
            smp: 1,
            memory: Memory::default(),
            append: String::new(),
            log: "warn".into(),
            trace: None,
            icount: false,
            gdb: false,
            extra: Vec::new(),
            time_limit: None,
        }
    }

    /// Runs the machine on this process's standard streams: the guest's console on input and output, the hypervisor's
    /// log on the error stream.
    ///
    /// # Errors
    ///
    /// QEMU cannot be started, or nobody takes the output any more; QEMU has been ended then.
    pub fn run(&self, emulator: &Emulator) -> Result<Ended> {
        let mut child = self.start(emulator, console_input()?, Stdio::inherit())?;
        if let Some(mut input) = child.stdin.take() {
            // Not joined: it sits in a read until the process exits.
            thread::spawn(move || io::copy(&mut io::stdin(), &mut input));
        }
        let ended = follow(&mut child, self.time_limit, &mut io::stdout(), &mut io::stderr());
        ended.context("the machine's output cannot be passed on")
    }

    /// Runs the machine with nothing on the guest's console input, and returns all that it said.
    ///
    /// # Errors
    ///
    /// QEMU cannot be started.
    pub fn capture(&self, emulator: &Emulator) -> Result<Transcript> {
        let (mut console, mut log, mut complaints) = (Vec::new(), Vec::new(), Vec::new());
        let ended = self.listen(emulator, &mut console, &mut log, &mut complaints)?;
        log.extend(complaints);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Transcript { ended, console: text(console), log: text(log) })
    }

    /// Runs the machine with nothing on the guest's console input, and passes on all that it says as it comes: the guest's
    /// console, the hypervisor's log, and what QEMU itself complains of, which is also where it traces to.
    ///
    /// # Errors
    ///
    /// QEMU cannot be started, or one of the three takes no more; QEMU has been ended then.
    pub fn listen(
        &self,
        emulator: &Emulator,
        console: &mut (dyn Write + Send),
        log: &mut (dyn Write + Send),
        complaints: &mut (dyn Write + Send),
    ) -> Result<Ended> {
        let mut child = self.start(emulator, Stdio::null(), Stdio::piped())?;
        let mut errors = child.stderr.take().context("QEMU has no error stream")?;
        thread::scope(|scope| {
            // When it fails it closes the pipe, by which QEMU ends at its next complaint.
            let reader = scope.spawn(move || io::copy(&mut errors, complaints).map(drop));
            let ended = follow(&mut child, self.time_limit, console, log);
            reader
                .join()
                .expect("a reader does not panic")
                .and(ended)
                .context("the machine's output cannot be passed on")
        })
    }

    fn start(&self, emulator: &Emulator, input: Stdio, errors: Stdio) -> Result<Child> {
        let mut command = Command::new(emulator.program());
        command.args(self.arguments()).stdin(input).stdout(Stdio::piped()).stderr(errors);
        end_with_parent(&mut command);
        command.spawn().with_context(|| format!("{} cannot be started", emulator.program().display()))
    }

    fn arguments(&self) -> Vec<OsString> {
        let memory = self.memory;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        add("-M", machine_type().into());
        if RESERVES_NOTHING {
            add("-object", format!("memory-backend-ram,id=ram,size={memory},reserve=off").into());
        }
        add("-m", memory.to_string().into());
        add("-cpu", self.cpu.clone().into());
        add("-smp", self.smp.to_string().into());
        add("-kernel", self.hypervisor.clone().into());
        let trace = if self.trace.is_some() { " trace=on" } else { "" };
        add("-append", format!("log={}{trace} {}", self.log, self.append).trim_end().into());
        add("-device", self.guest_loader());
        if self.icount {
            add("-icount", "shift=0,sleep=off".into());
        }
        arguments.extend(FIXED.split(' ').map(OsString::from));
        if let Some(trace) = &self.trace {
            arguments.extend(TRACE_CONSOLE.split(' ').map(OsString::from));
            arguments.extend(["-chardev".into(), trace_file(trace)]);
        }
        if self.gdb {
            arguments.extend(["-s".into(), "-S".into()]);
        }
        arguments.extend(self.extra.iter().map(OsString::from));
        arguments
    }

    /// Has QEMU put the image into RAM and a module node into the device tree.
    fn guest_loader(&self) -> OsString {
        let mut device = OsString::from(format!("guest-loader,addr={:#x},kernel=", RAM_BASE + GUEST_OFFSET));
        device.push(quote(self.guest.as_os_str()));
        if !self.bootargs.is_empty() {
            device.push(",bootargs=");
            device.push(quote(&self.bootargs));
        }
        device
    }

    /// Returns what to type to debug the machine, once it waits for a debugger.
    pub fn debugger_command(hypervisor: &Path) -> String {
        format!("gdb-multiarch -ex 'target remote :1234' '{}'", hypervisor.display())
    }
}

/// What no option changes: no devices but the serial line, and the VM's status as QEMU's own. That comes by semihosting, which
/// no hypervisor can keep from EL1: so all of it but the exit is left to a debugger, and not to the host's files and shell.
const FIXED: &str = "-nodefaults -display none -serial stdio -no-reboot -semihosting-config enable=on,target=gdb";

/// The device that a trace leaves the machine by: only the hypervisor has it mapped, and all that it can reach is one file. What
/// is written is out of QEMU's hands when the device has been notified: no thread of its own has to come to it first.
const TRACE_CONSOLE: &str = "-global virtio-mmio.force-legacy=off -global virtio-mmio.ioeventfd=off \
    -device virtio-serial-device,max_ports=1 -device virtconsole,chardev=trace";

/// Whether the host can hand out memory that it does not have until it is touched. Without that, a machine with more RAM
/// than the host has does not start; only Linux does it.
const RESERVES_NOTHING: bool = cfg!(target_os = "linux");

fn trace_file(path: &Path) -> OsString {
    let mut file = OsString::from("file,id=trace,path=");
    file.push(quote(path.as_os_str()));
    file
}

fn machine_type() -> String {
    let backend = if RESERVES_NOTHING { ",memory-backend=ram" } else { "" };
    format!("virt,virtualization=on,gic-version=3{backend}")
}

/// Doubles the commas, as a value within an option of QEMU's has them.
fn quote(value: &OsStr) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = value.as_bytes().iter().flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b',')));
    OsString::from_vec(bytes.collect())
}

/// Returns what QEMU reads the guest's input from. QEMU makes it non-blocking, for every holder of the same open file:
/// a terminal is therefore opened anew, or our own output to it would fail, and anything else goes through a pipe.
fn console_input() -> Result<Stdio> {
    match io::stdin().is_terminal() {
        true => Ok(File::open("/dev/tty").context("the terminal cannot be opened")?.into()),
        false => Ok(Stdio::piped()),
    }
}

/// Has QEMU ended when we die in a way that leaves us no time to do it. Elsewhere only ctrl-C ends both.
#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    let in_child = || Ok(set_parent_process_death_signal(Some(Signal::TERM))?);
    // SAFETY: what runs between fork and exec is one system call: it takes no lock and allocates nothing.
    unsafe { command.pre_exec(in_child) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_names_and_boot_arguments_are_doubled() {
        let machine = Machine { bootargs: "case=a,b ram=1G".into(), ..Machine::new("h.elf", "dir,1/g.elf") };
        let device = machine.guest_loader();
        assert_eq!(device, "guest-loader,addr=0x48000000,kernel=dir,,1/g.elf,bootargs=case=a,,b ram=1G");
        assert_eq!(Machine::new("h.elf", "g.elf").guest_loader(), "guest-loader,addr=0x48000000,kernel=g.elf");
    }

    #[test]
    fn every_choice_reaches_qemu() {
        let machine = Machine {
            cpu: "cortex-a57".into(),
            smp: 4,
            memory: "1536M".parse().unwrap(),
            append: "planted=6".into(),
            log: "trace".into(),
            trace: Some("a,b.trace".into()),
            icount: true,
            gdb: true,
            extra: vec!["-d".into(), "int".into()],
            ..Machine::new("h.elf", "g.elf")
        };
        let line = machine.arguments().join(OsStr::new(" ")).into_string().unwrap();
        for part in [
            "-cpu cortex-a57",
            "-smp 4",
            "-m 1536M",
            "log=trace trace=on planted=6",
            "-device virtconsole,chardev=trace -chardev file,id=trace,path=a,,b.trace",
            "-icount shift=0,sleep=off",
            "-s -S",
            "-d int",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}
