//! Whether a file can be a guest, told before anything is built or started.

use std::fs;
use std::path::Path;

use elf::abi::{EM_AARCH64, ET_DYN, ET_EXEC, PT_LOAD};
use elf::endian::AnyEndian;
use elf::file::Class;
use elf::{ElfBytes, ParseError};

use crate::{Memory, Refused, machine};

/// Where a Linux arm64 `Image` has its magic (Documentation/arch/arm64/booting.rst).
const IMAGE_MAGIC_OFFSET: usize = 56;
const IMAGE_MAGIC: &[u8] = b"ARM\x64";

/// Checks that the file is an AArch64 executable or an arm64 `Image`, and fits a machine with so much memory.
///
/// # Errors
///
/// What is wrong with the file, by its name.
pub fn check_guest(path: &Path, memory: Memory) -> Result<(), Refused> {
    let wrong = |why: String| Refused::new(format!("the guest {} {why}", path.display()));
    let unreadable = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    let file = fs::metadata(path).map_err(unreadable)?;
    let room_bytes = memory.bytes() - machine::GUEST_OFFSET;
    if !file.is_file() {
        return Err(wrong("is not a file".into()));
    }
    if file.len() > room_bytes {
        let room_mib = room_bytes >> 20;
        return Err(wrong(format!("is too large: with --memory {memory} there is room for {room_mib} MiB")));
    }
    check_image(&fs::read(path).map_err(unreadable)?).map_err(wrong)
}

fn check_image(image: &[u8]) -> Result<(), String> {
    let is_linux_image = image.get(IMAGE_MAGIC_OFFSET..).is_some_and(|tail| tail.starts_with(IMAGE_MAGIC));
    if image.is_empty() {
        Err("is empty".into())
    } else if image.starts_with(&elf::abi::ELFMAGIC) {
        check_elf(image)
    } else if is_linux_image {
        Ok(())
    } else {
        Err("is neither an ELF64 executable for AArch64 nor a Linux arm64 Image".into())
    }
}

fn check_elf(image: &[u8]) -> Result<(), String> {
    let cut_short = "is an ELF file that is cut short";
    let elf = ElfBytes::<AnyEndian>::minimal_parse(image).map_err(|error| match error {
        ParseError::SliceReadError(_) => cut_short.into(),
        other => format!("is a broken ELF file: {other}"),
    })?;
    if elf.ehdr.class != Class::ELF64 || elf.ehdr.e_machine != EM_AARCH64 || elf.ehdr.endianness != AnyEndian::Little {
        return Err("is an ELF file, but not a 64-bit little-endian one for AArch64".into());
    }
    if !matches!(elf.ehdr.e_type, ET_EXEC | ET_DYN) {
        return Err("is an ELF file, but not an executable; was it linked?".into());
    }
    let mut loaded = elf.segments().into_iter().flatten().filter(|segment| segment.p_type == PT_LOAD).peekable();
    if loaded.peek().is_none() {
        return Err("is an ELF file with nothing to load".into());
    }
    match loaded.all(|segment| elf.segment_data(&segment).is_ok()) {
        true => Ok(()),
        false => Err(cut_short.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable with one segment of 4 bytes, which is all that the check looks at.
    fn tiny_elf() -> Vec<u8> {
        let mut image = Vec::new();
        image.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        image.extend([2, 0, 183, 0, 1, 0, 0, 0]);
        for word in [0x4000_0000_u64, 64, 0] {
            image.extend(word.to_le_bytes());
        }
        image.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
        image.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        for word in [120_u64, 0x4000_0000, 0x4000_0000, 4, 4, 4] {
            image.extend(word.to_le_bytes());
        }
        image.extend(*b"code");
        image
    }

    fn with_byte(offset: usize, byte: u8) -> Vec<u8> {
        let mut image = tiny_elf();
        image[offset] = byte;
        image
    }

    #[test]
    fn executables_and_linux_images_are_guests() {
        let mut image = vec![0; 4096];
        image[56..60].copy_from_slice(b"ARM\x64");
        assert_eq!(check_image(&tiny_elf()), Ok(()));
        assert_eq!(check_image(&image), Ok(()));
    }

    #[test]
    fn what_is_no_guest_is_refused_for_what_it_is() {
        let refused = |image: &[u8], why: &str| {
            let message = check_image(image).unwrap_err();
            assert!(message.contains(why), "{message}");
        };
        refused(b"", "empty");
        refused(b"#!/bin/sh\n", "neither");
        refused(&[0; 60], "neither");
        refused(&with_byte(18, 62), "not a 64-bit little-endian one for AArch64");
        refused(&with_byte(4, 1), "ELF");
        refused(&with_byte(5, 2), "ELF");
        refused(&with_byte(16, 1), "not an executable");
        refused(&with_byte(64, 4), "nothing to load");
    }

    #[test]
    fn an_executable_is_refused_wherever_it_is_cut() {
        let image = tiny_elf();
        for len in 0..image.len() {
            assert!(check_image(&image[..len]).is_err(), "{len} bytes of {}", image.len());
        }
    }

    #[test]
    fn a_file_is_refused_by_name_when_it_is_missing_or_no_file_or_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large");
        fs::File::create(&large).unwrap().set_len((128 << 20) + 1).unwrap();
        let refused = |path: &Path| check_guest(path, Memory::LEAST).unwrap_err().to_string();
        assert!(refused(&dir.path().join("none")).contains("none cannot be read"));
        assert!(refused(dir.path()).ends_with("is not a file"));
        assert!(refused(&large).ends_with("is too large: with --memory 256M there is room for 128 MiB"));
    }
}
