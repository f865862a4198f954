//! Permissions, and what the rest of the tests may know of the model's handles.

use abi::{Rights, VmOptions};

use crate::handles::Object;
use crate::{Koid, Model};

/// PERM_READ, PERM_WRITE and PERM_EXECUTE.
pub(crate) type Perms = VmOptions;

/// All permissions.
pub(crate) const ALL: Perms = VmOptions::PERMS;

/// Returns the permissions that rights allow: READ, WRITE and EXECUTE are rights 2 to 4, permissions 0 to 2.
pub(crate) fn perms_of_rights(rights: Rights) -> Perms {
    VmOptions::from_bits_retain(rights.bits() >> 2 & 0b111)
}

/// Returns the rights that permissions need.
pub(crate) fn rights_for(perms: Perms) -> Rights {
    Rights::from_bits_retain((perms & ALL).bits() << 2)
}

/// Returns the permissions that CAN_MAP_READ, WRITE and EXECUTE (bits 7 to 9) stand for.
pub(crate) fn can_map_of(options: VmOptions) -> Perms {
    VmOptions::from_bits_retain(options.bits() >> 7 & 0b111)
}

/// Tells whether `size` bytes from `base` on lie between `low` and `low + span`.
pub(crate) const fn lies_in(base: u64, size: u64, low: u64, span: u64) -> bool {
    base >= low && base - low < span && size <= span - (base - low)
}

/// Returns `len` rounded up to whole pages, or `None` where that wraps or is nothing.
pub(crate) fn whole_pages(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(crate::P).filter(|size| *size > 0)
}

/// What a handle leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is named for its object")]
pub enum HandleKind {
    Vmar,
    Vmo,
    Vm,
    Resource,
    Bti,
    Pmt,
}

/// A VMAR or a mapping as the model has it, for whoever makes programs up.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Its first address.
    pub base: u64,
    /// Its bytes.
    pub size: u64,
    /// It is a VMAR.
    pub is_vmar: bool,
}

impl Model {
    /// Returns what the handle of that value leads to, if it is one.
    pub fn kind_of(&self, handle: u64) -> Option<HandleKind> {
        let handle = self.handles.get(&u32::try_from(handle).ok()?)?;
        Some(match handle.object {
            Object::Vmar(_) => HandleKind::Vmar,
            Object::Vmo(_) => HandleKind::Vmo,
            Object::Vm(_) => HandleKind::Vm,
            Object::Resource(_) => HandleKind::Resource,
            Object::Bti(_) => HandleKind::Bti,
            Object::Pmt(_) => HandleKind::Pmt,
        })
    }

    /// Returns all handles' values.
    pub fn live_handles(&self) -> Vec<u64> {
        let mut handles: Vec<u64> = self.handles.keys().map(|raw| u64::from(*raw)).collect();
        handles.sort_unstable();
        handles
    }

    /// Returns where the VMAR of a handle lies, and all that is in it, at any depth.
    pub fn regions_below(&self, handle: u64) -> Vec<Region> {
        let Some(Object::Vmar(vmar)) =
            u32::try_from(handle).ok().and_then(|raw| self.handles.get(&raw)).map(|h| h.object)
        else {
            return Vec::new();
        };
        let mut regions = Vec::new();
        self.add_regions(vmar, &mut regions);
        regions
    }

    fn add_regions(&self, vmar: Koid, regions: &mut Vec<Region>) {
        let vmar = self.vmar(vmar);
        regions.push(Region { base: vmar.base, size: vmar.size, is_vmar: true });
        for child in &vmar.children {
            match child.vmar() {
                Some(below) => self.add_regions(below, regions),
                None => {
                    let (base, end) = self.bounds(child);
                    regions.push(Region { base, size: end - base, is_vmar: false });
                }
            }
        }
    }

    /// Returns all mappings, by ascending addresses.
    pub fn mappings(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        self.add_regions(self.root, &mut regions);
        regions.retain(|region| !region.is_vmar);
        regions
    }

    /// Returns the size of the VMO of a handle, in bytes.
    pub fn vmo_size(&self, handle: u64) -> Option<u64> {
        match self.handles.get(&u32::try_from(handle).ok()?)?.object {
            Object::Vmo(vmo) => Some(self.size_of(vmo)),
            _ => None,
        }
    }

    /// Returns how many pages there are in all memories.
    pub fn page_count(&self) -> usize {
        self.memories.values().map(|memory| memory.pages.len()).sum()
    }
}
