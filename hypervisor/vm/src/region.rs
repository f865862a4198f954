//! What an address space is made of: VMARs, and mappings.

use abi::VmOptions;
use vmsa::Perms;

use crate::arena::{Arena, Id};
use crate::links::Link;
use crate::spots::Span;
use crate::tree::{Links, Node, Tree};
use crate::vmo::Vmo;

pub(crate) type RegionId = Id<Region>;
pub(crate) type Regions = Arena<Region>;

/// A range of addresses with something in it, or set aside for it.
pub(crate) struct Region {
    pub(crate) base: u64,
    /// Bytes. A region ends at 2^48 at the most.
    pub(crate) size: u64,
    /// The VMAR that it is in; none for the root, and for what is dead.
    pub(crate) parent: Option<RegionId>,
    pub(crate) links: Links<Self>,
    pub(crate) kind: Kind,
}

impl Node for Region {
    type Key = u64;
    type Notes = Span;

    fn key(&self) -> u64 {
        self.base
    }

    fn links(&self) -> &Links<Self> {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links<Self> {
        &mut self.links
    }

    fn notes(&self, left: Option<Span>, right: Option<Span>) -> Span {
        Span::around(self.base, self.end(), left, right)
    }
}

pub(crate) enum Kind {
    Vmar(Vmar),
    Mapping(Mapping),
}

/// A sub-division of the address space.
pub(crate) struct Vmar {
    pub(crate) koid: u64,
    /// What its mappings may allow: CAN_MAP_READ, WRITE, EXECUTE.
    pub(crate) can_map: Perms,
    pub(crate) can_map_specific: bool,
    pub(crate) is_compact: bool,
    pub(crate) children: Tree<Region>,
    /// Dead VMARs stay for their handles.
    pub(crate) handles: u32,
    pub(crate) is_alive: bool,
}

/// A window on a VMO.
pub(crate) struct Mapping {
    pub(crate) vmo: Id<Vmo>,
    /// The VMO's offset at the region's base, in bytes.
    pub(crate) vmo_offset: u64,
    /// What it may ever allow: fixed when it is made, whatever becomes of the handles.
    pub(crate) caps: Perms,
    /// How its place was asked for when it was made: only mappings made alike fuse.
    pub(crate) placing: VmOptions,
    /// What it allows.
    pub(crate) protections: Protections,
    /// The VMO's note of this mapping.
    pub(crate) link: Id<Link>,
}

/// What a mapping allows, address by address. Most allow the same throughout, which needs no tree and saves 37 instructions of an
/// unmapping, 85 of a fault and 930 of a split.
#[derive(Clone, Copy)]
pub(crate) struct Protections {
    /// At its base.
    pub(crate) first: Perms,
    /// One wherever that changes, above the base.
    pub(crate) changes: Tree<Protection>,
}

impl Protections {
    /// Returns those of a mapping that allows the same throughout.
    pub(crate) fn uniform(perms: Perms) -> Self {
        Self { first: perms, changes: Tree::default() }
    }
}

/// From `base` on a mapping allows `perms`.
pub(crate) struct Protection {
    pub(crate) base: u64,
    pub(crate) perms: Perms,
    links: Links<Self>,
}

impl Protection {
    pub(crate) const fn new(base: u64, perms: Perms) -> Self {
        Self { base, perms, links: Links::new(()) }
    }
}

impl Node for Protection {
    type Key = u64;
    type Notes = ();

    fn key(&self) -> u64 {
        self.base
    }

    fn links(&self) -> &Links<Self> {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links<Self> {
        &mut self.links
    }

    fn notes(&self, _left: Option<()>, _right: Option<()>) {}
}

impl Region {
    /// Returns the address past the last.
    pub(crate) const fn end(&self) -> u64 {
        self.base + self.size
    }

    /// Tells whether all of the range, which does not wrap, lies in the region.
    pub(crate) const fn holds(&self, base: u64, size: u64) -> bool {
        base >= self.base && base - self.base < self.size && size <= self.size - (base - self.base)
    }

    pub(crate) const fn mapping(&self) -> Option<&Mapping> {
        match &self.kind {
            Kind::Mapping(mapping) => Some(mapping),
            Kind::Vmar(_) => None,
        }
    }

    pub(crate) const fn vmar(&self) -> Option<&Vmar> {
        match &self.kind {
            Kind::Vmar(vmar) => Some(vmar),
            Kind::Mapping(_) => None,
        }
    }

    pub(crate) const fn vmar_mut(&mut self) -> Option<&mut Vmar> {
        match &mut self.kind {
            Kind::Vmar(vmar) => Some(vmar),
            Kind::Mapping(_) => None,
        }
    }

    pub(crate) const fn mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.kind {
            Kind::Mapping(mapping) => Some(mapping),
            Kind::Vmar(_) => None,
        }
    }
}

/// Returns the permissions that the options ask for.
pub(crate) fn perms_of(options: VmOptions) -> Perms {
    // PERM_READ, WRITE and EXECUTE are bits 0 to 2.
    perms_of_bits(options.bits())
}

/// Returns what a VMAR with the options lets its mappings allow: CAN_MAP_READ, WRITE and EXECUTE are bits 7 to 9.
pub(crate) fn can_map_of(options: VmOptions) -> Perms {
    perms_of_bits(options.bits() >> 7)
}

/// Returns the permissions that three bits stand for: READ, WRITE, and EXECUTE at EL1 and EL0 alike.
pub(crate) fn perms_of_bits(bits: u32) -> Perms {
    let mut perms = Perms::from_bits_truncate(bits as u8 & 0b011);
    perms.set(Perms::EXECUTE, bits & 0b100 != 0);
    perms
}

/// Returns PERM_READ, WRITE and EXECUTE for the permissions.
pub(crate) fn bits_of_perms(perms: Perms) -> u32 {
    u32::from((perms - Perms::EXECUTE_EL0).bits())
}

const _: () = {
    assert!(VmOptions::PERM_EXECUTE.bits() == 0b100);
    assert!(VmOptions::CAN_MAP_EXECUTE.bits() >> 7 == 0b100);
};
