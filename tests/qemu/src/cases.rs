//! The conformance guest's cases, as its file lists them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::endian::LittleEndian;

use crate::{Machine, Memory};

/// A behaviour that the conformance guest tests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The boot arguments that choose it.
    pub bootargs: String,
    /// How many CPUs it needs.
    pub smp: u8,
    /// How much RAM it needs.
    pub memory: Memory,
}

impl Case {
    /// Returns the machine that runs the case.
    pub fn machine(&self, hypervisor: &Path, guest: &Path) -> Machine {
        Machine {
            bootargs: self.bootargs.clone().into(),
            smp: self.smp,
            memory: self.memory,
            ..Machine::new(hypervisor, guest)
        }
    }
}

/// Reads the conformance guest's list of its cases, and puts them in order. It is a section of text: a line a case, its name, its
/// dialect, and then further boot arguments, parted by tabs.
///
/// # Errors
///
/// The file cannot be read, or has no such list.
pub fn read_cases(guest: &Path) -> Result<Vec<Case>> {
    let image = fs::read(guest).with_context(|| format!("{} cannot be read", guest.display()))?;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(&image)?;
    let section = elf.section_header_by_name(".cases")?.context("the conformance guest has no section .cases")?;
    let text = std::str::from_utf8(elf.section_data(&section)?.0)?;
    // Sections are filled up with zeros to their alignment.
    let mut lines: Vec<&str> = text.split(['\n', '\0']).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines.into_iter().map(read_case).collect()
}

/// Among the further boot arguments, `smp=N` and `memory=SIZE` speak of the machine.
fn read_case(line: &str) -> Result<Case> {
    let mut fields = line.split('\t');
    let name = fields.next().unwrap_or_default();
    let dialect = fields.next().with_context(|| format!("case {name} has no dialect"))?;
    let further: Vec<&str> = fields.flat_map(str::split_whitespace).collect();
    let machine = |name: &str| further.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    let (smp, memory) = (machine("smp"), machine("memory"));
    Ok(Case {
        name: name.into(),
        bootargs: format!("case={name} dialect={dialect} {}", further.join(" ")).trim_end().into(),
        smp: smp.map_or(Ok(1), str::parse).with_context(|| format!("case {name} asks for smp={smp:?}"))?,
        memory: memory.map_or(Ok(Memory::default()), str::parse).with_context(|| format!("memory of case {name}"))?,
    })
}
