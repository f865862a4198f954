//! Booting the guest that measures, and reading what it says.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::{SHF_ALLOC, SHT_NOBITS};
use elf::endian::LittleEndian;
use qemu::{Emulator, Ended, Machine, Memory, Refused};

use super::figures::{Amount, Figure};
use super::lines::Lines;
use crate::images;

/// What the largest works need.
const MEMORY: &str = "3G";
/// The machines that are booted to see what RAM adds to booting.
const BOOT_MEMORY: [&str; 2] = ["1G", "2G"];
/// The work from reset to the guest's first instruction.
pub(crate) const BOOT: &str = "boot";
const FRAME_BYTES: u64 = 4096;
/// A counter that counts once an instruction, as the CPU does one a nanosecond where instructions are counted.
const COUNTER: &str = "cntfrq=1000000000";
/// How the guest says that it was asked for what it does not have; the works that it has follow.
const NO_WORK: &str = "no work of that name and size; there are:\n";
/// How long a machine may run. It takes less than a minute where nothing else runs.
const TIME_LIMIT: Duration = Duration::from_secs(1200);

/// What is measured, and on what.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) emulator: Emulator,
    /// The hypervisor without oracle.
    pub(crate) hypervisor: PathBuf,
    /// The guest that measures.
    pub(crate) guest: PathBuf,
    /// The hypervisor with the oracle.
    pub(crate) watched: PathBuf,
    /// The guest whose cases are booted on both.
    pub(crate) conformance: PathBuf,
    /// The CPU model.
    pub(crate) cpu: String,
}

impl Subject {
    /// Takes what was built into the folder.
    pub(crate) fn new(emulator: Emulator, images: &Path, cpu: &str) -> Self {
        let (hypervisor, watched) = (images::unwatched_hypervisor(images), images::hypervisor(images));
        let (guest, conformance) = (images::guest(images, "bench"), images::guest(images, "conformance"));
        Self { emulator, hypervisor, guest, watched, conformance, cpu: cpu.into() }
    }

    /// Measures everything.
    ///
    /// # Errors
    ///
    /// A machine does not start, or does not end well.
    pub(crate) fn measure_all(&self) -> Result<Vec<Figure>> {
        let mut figures = self.measure_boots()?;
        figures.extend(self.measure("")?.into_iter().filter(|figure| figure.work != BOOT));
        figures.push(self.measure_bookkeeping()?);
        figures.push(self.measure_image()?);
        Ok(figures)
    }

    /// Measures what the guest's boot arguments choose.
    pub(crate) fn measure(&self, arguments: &str) -> Result<Vec<Figure>> {
        Ok(self.boot(&self.machine(arguments)?)?.figures)
    }

    /// Measures booting, on machines with more and more RAM.
    pub(crate) fn measure_boots(&self) -> Result<Vec<Figure>> {
        BOOT_MEMORY.into_iter().map(|memory| self.measure_boot(memory.parse()?)).collect()
    }

    fn measure_boot(&self, memory: Memory) -> Result<Figure> {
        let machine = Machine { memory, ..self.machine("work=boot")? };
        let boot = self.boot(&machine)?.figures.pop().context("the guest does not say what booting costs")?;
        Ok(Figure::plain(BOOT, memory.bytes() / FRAME_BYTES, boot.amount))
    }

    /// Measures what the hypervisor keeps of each frame, which it logs.
    pub(crate) fn measure_bookkeeping(&self) -> Result<Figure> {
        let machine = Machine { log: "info".into(), ..self.machine("work=null")? };
        let log = self.boot(&machine)?.log;
        let (frames, bytes) = log.lines().find_map(read_records).context("the log does not tell of records")?;
        Ok(Figure::plain("bookkeeping", frames, Amount::Bytes(bytes)))
    }

    /// Measures the hypervisor's file: its text and its data, as they lie in memory.
    pub(crate) fn measure_image(&self) -> Result<Figure> {
        let name = self.hypervisor.display();
        let file = fs::read(&self.hypervisor).with_context(|| format!("{name} cannot be read"))?;
        let bytes = image_bytes(&file).with_context(|| format!("{name} is no ELF file"))?;
        Ok(Figure::plain("image", 1, Amount::Bytes(bytes)))
    }

    /// Returns the machine that everything is measured on.
    pub(crate) fn machine(&self, arguments: &str) -> Result<Machine> {
        Ok(Machine {
            bootargs: format!("inspect=on {arguments}").trim_end().into(),
            cpu: format!("{},{COUNTER}", self.cpu),
            memory: MEMORY.parse()?,
            icount: true,
            time_limit: Some(TIME_LIMIT),
            ..Machine::new(&self.hypervisor, &self.guest)
        })
    }

    fn boot(&self, machine: &Machine) -> Result<Said> {
        self.listen(machine, &mut Vec::new())
    }

    /// Boots the machine, shows what it is at, and passes on what QEMU says on its error stream.
    pub(crate) fn listen(&self, machine: &Machine, complaints: &mut (dyn Write + Send)) -> Result<Said> {
        let progress = Progress::new(&self.cpu);
        let (mut console, mut log, mut figures) = (String::new(), Vec::new(), Vec::new());
        let mut lines = Lines::new(|line: &str| {
            progress.show(line);
            console.push_str(line);
            console.push('\n');
            figures.extend(Figure::read(line));
        });
        let ended = machine.listen(&self.emulator, &mut lines, &mut log, complaints);
        drop(lines);
        drop(progress);
        let log = String::from_utf8_lossy(&log).into_owned();
        let ended = ended?;
        if let Some((_, works)) = console.split_once(NO_WORK) {
            let works = works.lines().filter(|line| line.contains("work=")).collect::<Vec<_>>().join("\n");
            bail!(Refused::new(format!("the guest measures nothing of that name and size; there are:\n{works}")));
        }
        if ended != Ended::Exited(0) {
            bail!("{ended}; the guest said:\n{console}and the hypervisor's log is:\n{log}");
        }
        ensure!(!figures.is_empty(), "the guest measured nothing; it said:\n{console}");
        Ok(Said { figures, log })
    }
}

/// What a machine said that ended well.
pub(crate) struct Said {
    /// What the guest measured.
    pub(crate) figures: Vec<Figure>,
    /// The hypervisor's log.
    log: String,
}

/// Reads the line of the hypervisor's log that tells of how many frames there are records, and how many bytes they take.
fn read_records(line: &str) -> Option<(u64, u64)> {
    let (frames, bytes) = line.split_once("records of ")?.1.split_once(" frames take ")?;
    Some((frames.parse().ok()?, bytes.strip_suffix(" bytes")?.parse().ok()?))
}

fn image_bytes(file: &[u8]) -> Result<u64> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let sections = elf.section_headers().context("it has no sections")?;
    let in_file = sections.iter().filter(|section| is_in_image(section.sh_flags, section.sh_type));
    Ok(in_file.map(|section| section.sh_size).sum())
}

/// Tells whether a section is loaded from the file: debug information is not, and zeroed memory is not in it.
fn is_in_image(flags: u64, kind: u32) -> bool {
    flags & u64::from(SHF_ALLOC) != 0 && kind != SHT_NOBITS
}

/// A line on the terminal that says what the machine has measured last.
pub(crate) struct Progress {
    cpu: String,
    is_shown: bool,
}

/// Goes to the start of the line, and empties it.
const CLEAR_LINE: &str = "\r\x1b[K";

impl Progress {
    pub(crate) fn new(cpu: &str) -> Self {
        let progress = Self { cpu: cpu.into(), is_shown: io::stderr().is_terminal() };
        progress.write("booting");
        progress
    }

    fn show(&self, line: &str) {
        if let Some(figure) = Figure::read(line) {
            self.write(&format!("measured {} of {}", figure.work, figure.n));
        }
    }

    pub(crate) fn write(&self, what: &str) {
        if self.is_shown {
            eprint!("{CLEAR_LINE}{}: {what} ...", self.cpu);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            eprint!("{CLEAR_LINE}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_from_the_log() {
        let line = "[INFO] hypervisor::el2::boot: records of 786432 frames take 15728640 bytes";
        assert_eq!(read_records(line), Some((786_432, 15_728_640)));
        assert_eq!(read_records("[INFO] records of many frames take 5 bytes"), None);
        assert_eq!(read_records("records of 7 frames"), None);
    }

    #[test]
    fn what_is_no_program_has_no_size() {
        assert!(image_bytes(b"#!/bin/sh").is_err());
    }

    #[test]
    fn an_image_is_what_is_loaded_and_not_zeroed() {
        use elf::abi::{SHF_WRITE, SHT_PROGBITS};
        let (loaded, writable) = (u64::from(SHF_ALLOC), u64::from(SHF_WRITE));
        assert!(is_in_image(loaded, SHT_PROGBITS) && is_in_image(loaded | writable, SHT_PROGBITS));
        assert!(!is_in_image(loaded | writable, SHT_NOBITS) && !is_in_image(0, SHT_PROGBITS));
        assert!(image_bytes(&fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap() > 100_000);
    }
}
