//! ELF64 files: segments go to their `p_paddr`.

use elf::abi::{EM_AARCH64, ET_DYN, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, ParseError};
use vmsa::IpaRange;

use super::{Image, ImageError};

pub(super) fn read(file: &[u8], ram: IpaRange) -> Result<Image<'_>, ImageError> {
    let parsed = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(malformed)?;
    let header = &parsed.ehdr;
    if (header.class, header.e_machine) != (Class::ELF64, EM_AARCH64) {
        return Err(ImageError::WrongMachine);
    }
    if !matches!(header.e_type, ET_EXEC | ET_DYN) {
        return Err(ImageError::MalformedElf("not an executable"));
    }
    let mut image = Image::new();
    let segments = parsed.segments().ok_or(ImageError::Empty)?;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz != 0) {
        image.add(contents(file, &segment)?, segment.p_paddr, segment.p_memsz, ram)?;
    }
    if image.segments().next().is_none() {
        return Err(ImageError::Empty);
    }
    image.starting_at(header.e_entry)
}

fn contents<'a>(file: &'a [u8], segment: &ProgramHeader) -> Result<&'a [u8], ImageError> {
    let bad = ImageError::BadSegment(segment.p_paddr);
    let end = segment.p_offset.checked_add(segment.p_filesz).filter(|_| segment.p_filesz <= segment.p_memsz);
    let (Ok(start), Some(Ok(end))) = (usize::try_from(segment.p_offset), end.map(usize::try_from)) else {
        return Err(bad);
    };
    file.get(start..end).ok_or(bad)
}

fn malformed(error: ParseError) -> ImageError {
    match error {
        ParseError::UnsupportedElfEndianness(_) | ParseError::UnsupportedElfClass(_) => ImageError::WrongMachine,
        ParseError::SliceReadError(_) => ImageError::MalformedElf("it is cut short"),
        _ => ImageError::MalformedElf("its headers are inconsistent"),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use vmsa::Ipa;

    use super::*;

    const RAM: IpaRange = IpaRange { start: Ipa(0x4000_0000), end: Ipa(0x4100_0000) };
    const CODE: &[u8] = &[0x1f, 0x20, 0x03, 0xd5];

    /// A program header to put into a file: offset, physical address, bytes in the file, bytes in memory.
    type Load = (u64, u64, u64, u64);

    fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn file(entry: u64, loads: &[Load]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56 * loads.len()];
        put(&mut file, 0, b"\x7fELF\x02\x01\x01");
        put(&mut file, 16, &[2, 0, 183, 0, 1, 0, 0, 0]);
        put(&mut file, 24, &entry.to_le_bytes());
        put(&mut file, 32, &64u64.to_le_bytes());
        put(&mut file, 52, &[64, 0, 56, 0, loads.len() as u8, 0]);
        for (index, (offset, at, file_bytes, memory_bytes)) in loads.iter().enumerate() {
            let header = 64 + 56 * index;
            put(&mut file, header, &[1, 0, 0, 0, 5, 0, 0, 0]);
            for (place, value) in [(8, offset), (24, at), (32, file_bytes), (40, memory_bytes)] {
                put(&mut file, header + place, &value.to_le_bytes());
            }
        }
        file.extend(CODE);
        file
    }

    #[test]
    fn segments_and_entry_are_found() {
        let file = file(0x4000_1000, &[(64 + 56, 0x4000_1000, 4, 0x100)]);
        let image = Image::read(&file, RAM).unwrap();
        assert_eq!(image.entry(), Ipa(0x4000_1000));
        let segments: Vec<_> = image.segments().map(|segment| (segment.bytes, segment.range)).collect();
        assert_eq!(segments, [(CODE, IpaRange::new(Ipa(0x4000_1000), 0x100))]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let read = |entry, loads: &[Load]| Image::read(&file(entry, loads), RAM).map(drop).unwrap_err();
        let entry = 0x4000_1000;
        assert_eq!(read(entry, &[]), ImageError::Empty);
        assert_eq!(read(entry, &[(120, 0x3fff_f000, 4, 0x2000)]), ImageError::OutsideRam(0x3fff_f000, 0x2000));
        assert_eq!(read(entry, &[(120, entry, 4, u64::MAX)]), ImageError::OutsideRam(entry, u64::MAX));
        assert_eq!(read(entry, &[(120, 0x40ff_f000, 4, 0x1001)]), ImageError::OutsideRam(0x40ff_f000, 0x1001));
        assert_eq!(read(entry, &[(u64::MAX, entry, 4, 4)]), ImageError::BadSegment(entry));
        assert_eq!(read(entry, &[(120, entry, 5, 8)]), ImageError::BadSegment(entry));
        assert_eq!(read(entry, &[(120, entry, 4, 3)]), ImageError::BadSegment(entry));
        let twice = [(176, entry, 4, 0x1000), (176, entry + 0xfff, 0, 1)];
        assert_eq!(read(entry, &twice), ImageError::Overlap(Ipa(entry + 0xfff)));
        let many = [(64 + 56 * 17, 0, 4, 4); 17].map(|(offset, ..)| (offset, 0, 0, 0));
        assert_eq!(read(entry, &many), ImageError::Empty);
        let mut many = [(64 + 56 * 17, entry, 4, 4); 17];
        many.iter_mut().zip(0..).for_each(|(load, index)| load.1 += 8 * index);
        assert_eq!(read(entry, &many), ImageError::TooManySegments);
        for bad in [0, entry + 2, entry + 0x1000, u64::MAX - 3] {
            assert_eq!(read(bad, &[(120, entry, 4, 0x1000)]), ImageError::BadEntry(bad));
        }
    }

    #[test]
    fn no_prefix_and_no_flipped_byte_of_a_file_does_harm() {
        let good = file(0x4000_1000, &[(120, 0x4000_1000, 4, 0x100)]);
        for len in 0..good.len() {
            assert!(Image::read(&good[..len], RAM).is_err(), "{len}");
        }
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[index] ^= 1 << bit;
                let _ = Image::read(&bad, RAM);
            }
        }
    }

    #[test]
    fn other_machines_are_told_apart() {
        let mut other = file(0, &[]);
        other[18] = 62;
        assert_eq!(Image::read(&other, RAM), Err(ImageError::WrongMachine));
        other[5] = 2;
        assert_eq!(Image::read(&other, RAM), Err(ImageError::WrongMachine));
    }
}
