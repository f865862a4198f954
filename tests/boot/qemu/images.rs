//! What there is to boot.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::endian::LittleEndian;
use qemu::Memory;

/// The folder of the images.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    dir: PathBuf,
}

/// A behaviour that the conformance guest tests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: String,
    /// The boot arguments that choose it.
    pub(crate) bootargs: String,
    /// How many CPUs it needs.
    pub(crate) smp: u8,
    /// How much RAM it needs.
    pub(crate) memory: Memory,
}

impl Images {
    /// Finds the images where there are any.
    pub(crate) fn from_env() -> Option<Self> {
        env::var_os("STAGECRAFT_IMAGES").map(|dir| Self { dir: dir.into() })
    }

    /// Returns the hypervisor.
    pub(crate) fn hypervisor(&self) -> PathBuf {
        self.dir.join("hypervisor")
    }

    /// Returns the hypervisor with the bug that the feature plants.
    pub(crate) fn planted(&self, feature: &str) -> PathBuf {
        self.dir.join(feature).join("hypervisor")
    }

    /// Returns the tour.
    pub(crate) fn tour(&self) -> PathBuf {
        self.dir.join("hello")
    }

    /// Returns the guest that tests one behaviour a boot.
    pub(crate) fn conformance(&self) -> PathBuf {
        self.dir.join("conformance")
    }

    /// Reads the conformance guest's list of its cases, and puts them in order.
    pub(crate) fn cases(&self) -> Result<Vec<Case>> {
        read_cases(&self.conformance())
    }
}

/// The list is a section of text: a line a case, its name, its dialect, and then further boot arguments, parted by tabs.
fn read_cases(guest: &Path) -> Result<Vec<Case>> {
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
