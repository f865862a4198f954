//! A guest's image: an ELF file or a Linux-style arm64 `Image`. Nothing in it is trusted.

mod elf;
mod linux;

use core::fmt;

use vmsa::{Ipa, IpaRange};

/// The most segments that are loaded.
const MAX_SEGMENTS: usize = 16;

/// A piece of an image and where it goes. What lies beyond the bytes reads as zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segment<'a> {
    /// What the file holds.
    pub bytes: &'a [u8],
    /// The memory that it takes, which is at least as long.
    pub range: IpaRange,
}

/// An image that fits its VM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image<'a> {
    entry: Ipa,
    segments: [Option<Segment<'a>>; MAX_SEGMENTS],
}

/// What is wrong with an image. Displays as one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ImageError {
    /// It is of no format that we know.
    UnknownFormat,
    /// It is an ELF file that cannot be read.
    MalformedElf(&'static str),
    /// It is for another machine.
    WrongMachine,
    /// It has more segments than are loaded.
    TooManySegments,
    /// It has nothing to load.
    Empty,
    /// A segment's contents are not in the file, or longer than its memory.
    BadSegment(u64),
    /// A segment does not lie in the RAM below the device tree.
    OutsideRam(u64, u64),
    /// Two segments claim this address.
    Overlap(Ipa),
    /// The entry point is in no segment, or not at an instruction.
    BadEntry(u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("guest image: ")?;
        match self {
            Self::UnknownFormat => f.write_str("neither an ELF file nor an arm64 Image"),
            Self::MalformedElf(what) => write!(f, "not a well-formed ELF file: {what}"),
            Self::WrongMachine => f.write_str("not for little-endian AArch64"),
            Self::TooManySegments => write!(f, "more than {MAX_SEGMENTS} segments to load"),
            Self::Empty => f.write_str("nothing to load"),
            Self::BadSegment(at) => write!(f, "the segment at {at:#x} is longer than its memory, or than the file"),
            Self::OutsideRam(at, len) => {
                write!(f, "{len:#x} bytes at {at:#x} do not lie in the RAM below the device tree; is ram= too small?")
            }
            Self::Overlap(at) => write!(f, "two segments at {at}"),
            Self::BadEntry(at) => write!(f, "it starts at {at:#x}, where it has no code"),
        }
    }
}

impl core::error::Error for ImageError {}

impl<'a> Image<'a> {
    /// Reads an image for a VM whose loadable RAM is `ram`.
    ///
    /// # Errors
    ///
    /// The image is malformed, or does not fit.
    pub fn read(file: &'a [u8], ram: IpaRange) -> Result<Self, ImageError> {
        if file.starts_with(b"\x7fELF") {
            elf::read(file, ram)
        } else if linux::is_image(file) {
            linux::read(file, ram)
        } else {
            Err(ImageError::UnknownFormat)
        }
    }

    /// Returns where the guest starts.
    pub fn entry(&self) -> Ipa {
        self.entry
    }

    /// Returns what is to be loaded.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().flatten()
    }

    const fn new() -> Self {
        Self { entry: Ipa(0), segments: [None; MAX_SEGMENTS] }
    }

    fn add(&mut self, bytes: &'a [u8], at: u64, memory_bytes: u64, ram: IpaRange) -> Result<(), ImageError> {
        let range = range_in(ram, at, memory_bytes).ok_or(ImageError::OutsideRam(at, memory_bytes))?;
        if let Some(other) = self.segments().find(|other| !other.range.intersection(range).is_empty()) {
            return Err(ImageError::Overlap(other.range.intersection(range).start));
        }
        let free = self.segments.iter_mut().find(|slot| slot.is_none()).ok_or(ImageError::TooManySegments)?;
        *free = Some(Segment { bytes, range });
        Ok(())
    }

    fn starting_at(mut self, entry: u64) -> Result<Self, ImageError> {
        const INSTRUCTION_BYTES: u64 = 4;
        let instruction = entry.checked_add(INSTRUCTION_BYTES).map(|end| IpaRange { start: Ipa(entry), end: Ipa(end) });
        let is_code = |code: IpaRange| self.segments().any(|segment| segment.range.covers(code));
        if !entry.is_multiple_of(INSTRUCTION_BYTES) || !instruction.is_some_and(is_code) {
            return Err(ImageError::BadEntry(entry));
        }
        self.entry = Ipa(entry);
        Ok(self)
    }
}

fn range_in(ram: IpaRange, at: u64, len: u64) -> Option<IpaRange> {
    let range = IpaRange { start: Ipa(at), end: Ipa(at.checked_add(len)?) };
    ram.covers(range).then_some(range)
}
