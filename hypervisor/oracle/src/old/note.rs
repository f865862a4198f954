//! What the oracle remembers of a frame: one word.

use vmsa::{Ipa, Level, Vmid};

const LEVEL_SHIFT: u32 = 27;
const VMID_SHIFT: u32 = 29;
const IS_TABLE: u64 = 1 << 45;
const IS_FILLED: u64 = 1 << 46;
const EPOCH_SHIFT: u32 = 48;
/// A table's first address is a multiple of 2 MiB.
const BASE_SHIFT: u32 = 21;
const BASE_MASK: u64 = (1 << LEVEL_SHIFT) - 1;

/// What is known of a frame. All zero: nothing.
///
/// | bits | meaning |
/// | --- | --- |
/// | 0–26 | of a table: bits 21 to 47 of its first address |
/// | 27–28 | of a table: its level |
/// | 29–44 | of a table, and of a page that an entry led to: the VMID |
/// | 45 | it is linked as a table |
/// | 46 | it was overwritten since it was last free |
/// | 48–63 | the epoch of the VMID in which an entry that led here was broken; 0 is none |
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(transparent)]
pub struct FrameNote(pub u64);

impl FrameNote {
    pub(crate) const fn is_table(self) -> bool {
        self.0 & IS_TABLE != 0
    }

    pub(crate) const fn is_filled(self) -> bool {
        self.0 & IS_FILLED != 0
    }

    pub(crate) const fn vmid(self) -> Vmid {
        Vmid((self.0 >> VMID_SHIFT) as u16)
    }

    pub(crate) const fn level(self) -> Level {
        match self.0 >> LEVEL_SHIFT & 3 {
            0 => Level::L0,
            1 => Level::L1,
            2 => Level::L2,
            _ => Level::L3,
        }
    }

    pub(crate) const fn base(self) -> Ipa {
        Ipa((self.0 & BASE_MASK) << BASE_SHIFT)
    }

    pub(crate) const fn broken_in(self) -> u16 {
        (self.0 >> EPOCH_SHIFT) as u16
    }

    /// Returns the note of a frame that was just overwritten.
    pub(crate) const fn filled() -> Self {
        Self(IS_FILLED)
    }

    /// Returns the note of a frame that is linked as a table.
    pub(crate) const fn table(vmid: Vmid, level: Level, base: Ipa) -> Self {
        let place = base.0 >> BASE_SHIFT | (level.number() as u64) << LEVEL_SHIFT;
        Self(IS_FILLED | IS_TABLE | (vmid.0 as u64) << VMID_SHIFT | place)
    }

    /// Returns the note with what an entry that led here was broken in.
    pub(crate) const fn broken(self, vmid: Vmid, epoch: u16) -> Self {
        let kept = self.0 & (IS_FILLED | if self.is_table() { IS_TABLE | BASE_MASK | 3 << LEVEL_SHIFT } else { 0 });
        Self(kept | (vmid.0 as u64) << VMID_SHIFT | (epoch as u64) << EPOCH_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_keeps_what_it_was_told() {
        let note = FrameNote::table(Vmid(0xabcd), Level::L3, Ipa(0xffff_ffe0_0000));
        assert_eq!((note.vmid(), note.level(), note.base()), (Vmid(0xabcd), Level::L3, Ipa(0xffff_ffe0_0000)));
        assert!(note.is_table() && note.is_filled() && note.broken_in() == 0);
        let broken = note.broken(Vmid(7), 9);
        assert_eq!((broken.vmid(), broken.broken_in(), broken.base()), (Vmid(7), 9, note.base()));
        assert_eq!(FrameNote::filled().broken(Vmid(7), 9).broken_in(), 9);
    }
}
