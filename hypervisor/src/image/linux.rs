//! Linux-style arm64 `Image` files (Linux, Documentation/arch/arm64/booting.rst, "Call the kernel image").

use vmsa::IpaRange;

use super::{Image, ImageError};

const MAGIC: &[u8] = b"ARM\x64";
const MAGIC_AT: usize = 56;
const HEADER_BYTES: usize = 64;
const TEXT_OFFSET_AT: usize = 8;
const IMAGE_SIZE_AT: usize = 16;
const FLAGS_AT: usize = 24;
const FLAG_BIG_ENDIAN: u64 = 1;
/// What `text_offset` means in a header that does not tell an image size: kernels before 3.17.
const OLD_TEXT_OFFSET: u64 = 0x8_0000;

pub(super) fn is_image(file: &[u8]) -> bool {
    file.get(MAGIC_AT..HEADER_BYTES).is_some_and(|rest| rest.starts_with(MAGIC))
}

pub(super) fn read(file: &[u8], ram: IpaRange) -> Result<Image<'_>, ImageError> {
    let field = |at| word(file, at).ok_or(ImageError::UnknownFormat);
    if field(FLAGS_AT)? & FLAG_BIG_ENDIAN != 0 {
        return Err(ImageError::WrongMachine);
    }
    let (offset, memory_bytes) = match field(IMAGE_SIZE_AT)? {
        0 => (OLD_TEXT_OFFSET, 0),
        memory_bytes => (field(TEXT_OFFSET_AT)?, memory_bytes),
    };
    let memory_bytes = memory_bytes.max(file.len() as u64);
    let at = ram.start.0.checked_add(offset).ok_or(ImageError::OutsideRam(offset, memory_bytes))?;
    let mut image = Image::new();
    image.add(file, at, memory_bytes, ram)?;
    image.starting_at(at)
}

fn word(file: &[u8], at: usize) -> Option<u64> {
    file.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use vmsa::Ipa;

    use super::*;

    const RAM: IpaRange = IpaRange { start: Ipa(0x4000_0000), end: Ipa(0x4100_0000) };

    fn file(text_offset: u64, image_bytes: u64, flags: u64) -> Vec<u8> {
        let mut file = vec![0; 100];
        for (at, value) in [(TEXT_OFFSET_AT, text_offset), (IMAGE_SIZE_AT, image_bytes), (FLAGS_AT, flags)] {
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        file[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
        file
    }

    fn read(text_offset: u64, image_bytes: u64, flags: u64) -> Result<(Ipa, IpaRange), ImageError> {
        let file = file(text_offset, image_bytes, flags);
        let image = Image::read(&file, RAM)?;
        let range = image.segments().next().unwrap().range;
        Ok((image.entry(), range))
    }

    #[test]
    fn an_image_starts_where_it_is_loaded() {
        let at = |ipa, len| Ok((Ipa(ipa), IpaRange::new(Ipa(ipa), len)));
        assert_eq!(read(0, 0x1000, 0xa), at(0x4000_0000, 0x1000));
        assert_eq!(read(0x20_0000, 0x1000, 0), at(0x4020_0000, 0x1000));
        assert_eq!(read(0x1234, 0, 0), at(0x4008_0000, 100));
        assert_eq!(read(0, 10, 0), at(0x4000_0000, 100));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(read(0, 0x100_0001, 0), Err(ImageError::OutsideRam(0x4000_0000, 0x100_0001)));
        assert_eq!(read(u64::MAX, 1, 0), Err(ImageError::OutsideRam(u64::MAX, 100)));
        assert_eq!(read(u64::MAX - 0x4000_0000, 1, 0), Err(ImageError::OutsideRam(u64::MAX, 100)));
        assert_eq!(read(2, 0x1000, 0), Err(ImageError::BadEntry(0x4000_0002)));
        assert_eq!(read(0, 0x1000, 1), Err(ImageError::WrongMachine));
        assert_eq!(Image::read(&file(0, 0, 0)[..63], RAM), Err(ImageError::UnknownFormat));
        assert_eq!(Image::read(b"MZ", RAM), Err(ImageError::UnknownFormat));
    }
}
