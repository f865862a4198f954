//! A guest's ELF with one more segment.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

/// Where an ELF64's header says where the program headers are, how large one is, and how many there are.
const PHOFF: usize = 32;
const PHENTSIZE: usize = 54;
const PHNUM: usize = 56;
/// The bytes of a program header.
const ENTRY: usize = 56;

/// Returns a file that is the guest with `data` as a segment at the physical address `address`.
///
/// # Errors
///
/// The guest cannot be read, or is no ELF64.
pub(crate) fn with_program(guest: &Path, address: u64, data: &[u8]) -> Result<NamedTempFile> {
    let mut image = fs::read(guest).with_context(|| format!("{} cannot be read", guest.display()))?;
    ensure!(image.starts_with(b"\x7fELF\x02\x01"), "{} is no ELF64", guest.display());
    let old = u64::from_le_bytes(image[PHOFF..PHOFF + 8].try_into()?) as usize;
    let count = u16::from_le_bytes(image[PHNUM..PHNUM + 2].try_into()?);
    ensure!(image[PHENTSIZE..PHENTSIZE + 2] == (ENTRY as u16).to_le_bytes(), "a program header of another size");
    let headers = image[old..old + ENTRY * usize::from(count)].to_vec();
    image.resize(image.len().next_multiple_of(4096), 0);
    let offset = image.len() as u64;
    image.extend(data);
    image.resize(image.len().next_multiple_of(8), 0);
    let table = image.len() as u64;
    image.extend(headers);
    image.extend(segment(offset, address, data.len() as u64));
    image[PHOFF..PHOFF + 8].copy_from_slice(&table.to_le_bytes());
    image[PHNUM..PHNUM + 2].copy_from_slice(&(count + 1).to_le_bytes());
    let mut file = NamedTempFile::new()?;
    file.write_all(&image)?;
    Ok(file)
}

/// Returns the program header of a segment that is loaded, and can be read.
fn segment(offset: u64, address: u64, len: u64) -> Vec<u8> {
    const LOAD: u32 = 1;
    const READABLE: u32 = 4;
    let words = [offset, address, address, len, len, 4096];
    [LOAD, READABLE]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain(words.into_iter().flat_map(u64::to_le_bytes))
        .collect()
}
