//! What programs are made of.

use stage2::Run;
use vmsa::{Attributes, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms};

use crate::bench::FRAMES;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Where the tables of two GiB meet, in every space.
const MEETING: u64 = 2 * GIB;

/// Where leaves and groups of every size begin or end.
pub(super) const PLACES: [u64; 8] = [
    MEETING - 32 * MIB,
    MEETING - 2 * MIB,
    MEETING,
    MEETING + 16 * PAGE_SIZE,
    MEETING + 2 * MIB,
    MEETING + 32 * MIB,
    MEETING + GIB - 2 * MIB,
    MEETING + GIB,
];

/// What adjacent pages lead to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Memory {
    /// Adjacent memory, aligned as the addresses are.
    Aligned(u64),
    /// Adjacent memory, a few bytes off: 64 KiB, of which groups can be made, or a page.
    Shifted(u64),
    /// Runs of a few pages that have nothing to do with one another, and some that lead nowhere.
    Scattered(u64),
}

impl Memory {
    pub(super) fn at(self, ipa: Ipa, attributes: Attributes) -> Option<Run> {
        let run = |output: Hpa, len| Some(Run { output, len, attributes });
        match self {
            Self::Aligned(copy) => run(FRAMES.add(copy * 64 * GIB + ipa.0), 4 * GIB - ipa.0 % GIB),
            Self::Shifted(by) => run(FRAMES.add(1024 * GIB + ipa.0 + by), 4 * GIB - ipa.0 % GIB),
            Self::Scattered(pages) => {
                let (run_number, offset) = (ipa.page_number() / pages, ipa.page_number() % pages);
                let output = FRAMES.add(2048 * GIB + (run_number * 3 * pages + offset) * PAGE_SIZE);
                if run_number % 5 == 4 { None } else { run(output, (pages - offset) * PAGE_SIZE) }
            }
        }
    }
}

impl Memory {
    /// Returns the frame that an address leads to, if it leads anywhere.
    pub(super) fn frame(self, ipa: Ipa) -> Option<Hpa> {
        self.at(ipa, Attributes::default()).map(|run| run.output)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Map(IpaRange, Memory, Attributes),
    Put(Ipa, Memory, Attributes),
    Unmap(Vec<IpaRange>),
    UnmapAndTell(Vec<IpaRange>),
    Protect(IpaRange, Perms),
    Share(Vec<IpaRange>),
    /// The pages of the range that lead to this memory are nobody else's any more.
    Own(IpaRange, Memory, Perms),
    Age(IpaRange),
    Harvest(IpaRange),
    /// A guest's load or store on a CPU.
    Access(usize, Ipa, Perms),
}

impl Step {
    /// Returns where the operation may change what pages lead to.
    pub(super) fn ranges(&self) -> Vec<IpaRange> {
        match self {
            Self::Map(range, ..) | Self::Protect(range, _) | Self::Own(range, ..) => vec![*range],
            Self::Age(range) | Self::Harvest(range) => vec![*range],
            Self::Put(ipa, ..) | Self::Access(_, ipa, _) => vec![IpaRange::page(*ipa)],
            Self::Unmap(ranges) | Self::UnmapAndTell(ranges) | Self::Share(ranges) => ranges.clone(),
        }
    }
}

/// A step, the CPU that does it, and the seed of what others do meanwhile.
pub(super) type Turn = (usize, Step, u64);
