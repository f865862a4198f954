//! The tour as a Linux arm64 `Image`: a header that branches to the program, and the program as it lies in memory.

use std::fs;

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use libtest_mimic::{Failed, Trial};
use qemu::Machine;

use crate::boot::{boot, succeeds_with};
use crate::images::Images;
use crate::tour;

/// Where the RAM of a guest begins.
const RAM_BASE: u64 = 0x4000_0000;
/// Where the header lies, from there: below the program, and no multiple of 64 KiB, so that a loader has to read it.
const TEXT_OFFSET: u64 = 0x7_3000;

/// Returns the one trial.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let images = images.clone();
    let boots = move || {
        let dir = tempfile::tempdir()?;
        let guest = dir.path().join("Image");
        let image = from_elf(&fs::read(images.tour())?).map_err(|error| Failed::from(format!("{error:#}")))?;
        fs::write(&guest, image)?;
        boot(&Machine { guest, ..tour::machine(&images) }, |said| succeeds_with(said, tour::FACTS))
    };
    vec![Trial::ignorable_test("machine/linux-image", boots)]
}

fn from_elf(program: &[u8]) -> Result<Vec<u8>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(program)?;
    let base = RAM_BASE + TEXT_OFFSET;
    let (mut image, mut size_bytes) = (vec![0; 64], 64);
    for segment in elf.segments().context("the tour has no segments")?.iter().filter(|one| one.p_type == PT_LOAD) {
        ensure!(segment.p_paddr >= base + size_bytes, "the tour's segments overlap, or leave the header no room");
        image.resize((segment.p_paddr - base) as usize, 0);
        image.extend(elf.segment_data(&segment)?);
        size_bytes = segment.p_paddr - base + segment.p_memsz;
    }
    write_header(&mut image, elf.ehdr.e_entry - base, size_bytes);
    Ok(image)
}

/// Writes what Documentation/arch/arm64/booting.rst asks for: a branch to the program, and where and how large it is.
fn write_header(image: &mut [u8], entry: u64, size_bytes: u64) {
    /// `B` with an offset of 0; the offset is counted in instructions.
    const BRANCH: u32 = 0x1400_0000;
    /// Little-endian, 4 KiB pages, anywhere in RAM.
    const FLAGS: u64 = 0b1010;
    image[0..4].copy_from_slice(&(BRANCH | (entry / 4) as u32).to_le_bytes());
    image[8..16].copy_from_slice(&TEXT_OFFSET.to_le_bytes());
    image[16..24].copy_from_slice(&size_bytes.to_le_bytes());
    image[24..32].copy_from_slice(&FLAGS.to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
}
