//! What a CPU of the small scope does to the tree.

use stage2::Mmu;
use vmsa::{Attributes, Dirty, Hpa, Ipa, IpaRange, Perms};

use super::memory;
use crate::bench::READ_WRITE;
use crate::flat::Flat;
use crate::world::World;

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Map(IpaRange),
    Put(Ipa, Hpa, Perms),
    Unmap(IpaRange),
    UnmapAndTell(IpaRange),
    Protect(IpaRange, Perms),
    Age(IpaRange),
    Harvest(IpaRange),
    Touch(Ipa, Perms),
}

impl Operation {
    pub(super) fn range(self) -> IpaRange {
        match self {
            Self::Map(range) | Self::Unmap(range) | Self::UnmapAndTell(range) | Self::Protect(range, _) => range,
            Self::Age(range) | Self::Harvest(range) => range,
            Self::Put(ipa, ..) | Self::Touch(ipa, _) => IpaRange::page(ipa),
        }
    }

    /// Tells whether the operation tells of the pages of its range that were stored to.
    pub(super) const fn tells(self) -> bool {
        matches!(self, Self::Harvest(_) | Self::UnmapAndTell(_))
    }

    /// Tells whether it takes what was stored to with it, told or not.
    pub(super) const fn forgets(self) -> bool {
        matches!(self, Self::Unmap(_) | Self::UnmapAndTell(_) | Self::Put(..))
    }

    /// Returns the flat map as the operation is to leave it.
    pub(super) fn expect(self, flat: &Flat) -> Flat {
        let mut flat = flat.clone();
        match self {
            Self::Map(range) => flat.map(range, memory(READ_WRITE)),
            Self::Put(ipa, output, perms) => flat.put(IpaRange::page(ipa), output, noted(perms)),
            Self::Unmap(range) | Self::UnmapAndTell(range) => flat.remove(range),
            Self::Protect(range, perms) => flat.change(range, |page| page.attributes.perms = perms),
            Self::Age(_) | Self::Harvest(_) | Self::Touch(..) => {}
        }
        flat
    }

    /// Does it; returns where it says that there were stores.
    pub(super) fn carry_out(self, world: &mut World<'_>, mmu: &impl Mmu) -> Vec<IpaRange> {
        let (tree, tables, mut told) = (&mut world.tree, &mut world.tables, Vec::new());
        match self {
            Self::Map(range) => _ = tree.map(mmu, tables, range, memory(READ_WRITE)).expect("tables enough"),
            Self::Put(ipa, output, perms) => {
                _ = tree.map_page(mmu, tables, ipa, (output, noted(perms))).expect("tables enough");
            }
            Self::Unmap(range) => _ = tree.unmap(mmu, tables, [range]).expect("tables enough"),
            Self::UnmapAndTell(range) => {
                _ = tree.unmap_and_tell(mmu, tables, [range], |part, leaf| {
                    told.extend(Some(part).filter(|_| leaf.attributes.dirty == Dirty::Dirty));
                });
            }
            Self::Protect(range, perms) => _ = tree.protect(mmu, tables, range, perms).expect("tables enough"),
            Self::Age(range) => _ = tree.age(mmu, tables, range, |_| {}),
            Self::Harvest(range) => _ = tree.harvest(mmu, tables, range, |part| told.push(part)),
            Self::Touch(ipa, perms) => _ = tree.touch(mmu, ipa, perms),
        }
        told
    }
}

fn noted(perms: Perms) -> Attributes {
    Attributes { dirty: Dirty::Clean, ..Attributes::normal(perms) }
}
