//! The code of a program, as it lies in memory.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::{PF_X, PT_LOAD};
use elf::endian::LittleEndian;

/// Returns where the code is.
///
/// # Errors
///
/// It cannot be read, or is no program.
pub(super) fn ranges(program: &Path) -> Result<Vec<Range<u64>>> {
    Ok(segments(program)?.into_iter().map(|(start, code)| start..start + code.len() as u64).collect())
}

/// `MRS Xt, CNTVCT_EL0`, but for the register.
const MRS_CNTVCT: u32 = 0xd53b_e040;
const ANY_REGISTER: u32 = 0x1f;

/// Returns where a program reads CNTVCT_EL0.
///
/// # Errors
///
/// It cannot be read, or never does.
pub(super) fn counter_reads(program: &Path) -> Result<HashSet<u64>> {
    let segments = segments(program)?;
    let reads: HashSet<u64> = segments.iter().flat_map(|(start, code)| counter_reads_in(*start, code)).collect();
    ensure!(!reads.is_empty(), "{} never reads its counter", program.display());
    Ok(reads)
}

fn counter_reads_in(start: u64, code: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = code.as_chunks::<4>();
    let is_read = |word: &[u8; 4]| u32::from_le_bytes(*word) & !ANY_REGISTER == MRS_CNTVCT;
    words.iter().enumerate().filter(move |(_, word)| is_read(word)).map(move |(index, _)| start + index as u64 * 4)
}

/// Returns what is executable: where it lies, and what it is.
fn segments(program: &Path) -> Result<Vec<(u64, Vec<u8>)>> {
    let name = program.display();
    let file = fs::read(program).with_context(|| format!("{name} cannot be read"))?;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(&file).with_context(|| format!("{name} is no ELF file"))?;
    let segments = elf.segments().with_context(|| format!("{name} is no program"))?;
    let code = segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_X != 0);
    code.map(|segment| Ok((segment.p_vaddr, elf.segment_data(&segment)?.to_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_the_counter_are_found_whatever_register_they_fill() {
        let words = [0xd503_201f, 0xd53b_e040, 0xd53b_e05f, 0xd53b_e020_u32];
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(counter_reads_in(0x1000, &code).collect::<Vec<_>>(), [0x1004, 0x1008]);
    }

    #[test]
    fn what_is_no_program_is_named() {
        let error = ranges(Path::new("/nowhere/a.elf")).unwrap_err().to_string();
        assert_eq!(error, "/nowhere/a.elf cannot be read");
        assert!(ranges(Path::new(env!("CARGO_MANIFEST_PATH"))).unwrap_err().to_string().contains("is no ELF file"));
    }
}
