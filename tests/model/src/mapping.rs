//! Mappings: made, protected (semantics 3.2, 3.4).

use abi::{Rights, Status, VmOptions, VmoOptions};

use crate::arguments::Arguments;
use crate::shape::{ALL, Perms, lies_in, perms_of_rights, rights_for, whole_pages};
use crate::vmar::Child;
use crate::{Koid, Model, P, Reply, Result, ensure};

/// A part of a mapping that allows the same throughout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) base: u64,
    pub(crate) end: u64,
    pub(crate) perms: Perms,
}

/// A window on a VMO.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) vmo: Koid,
    /// The VMO's offset at the first address, bytes.
    pub(crate) vmo_offset: u64,
    /// What it may ever allow.
    pub(crate) caps: Perms,
    /// How it was placed: SPECIFIC, SPECIFIC_OVERWRITE, OFFSET_IS_UPPER_LIMIT.
    pub(crate) made: VmOptions,
    /// Ascending, without gaps; neighbours differ.
    pub(crate) stretches: Vec<Stretch>,
}

impl Mapping {
    pub(crate) fn base(&self) -> u64 {
        self.stretches[0].base
    }

    pub(crate) fn end(&self) -> u64 {
        self.stretches[self.stretches.len() - 1].end
    }

    /// Returns the VMO's offset that is shown at the address.
    pub(crate) fn offset_at(&self, address: u64) -> u64 {
        self.vmo_offset + (address - self.base())
    }

    pub(crate) fn perms_at(&self, address: u64) -> Perms {
        let stretch = self.stretches.iter().find(|stretch| (stretch.base..stretch.end).contains(&address));
        stretch.expect("the mapping holds the address").perms
    }

    /// Returns the part of the mapping from `base` to `end`, if it has one.
    pub(crate) fn part(&self, base: u64, end: u64) -> Option<Self> {
        let (base, end) = (base.max(self.base()), end.min(self.end()));
        if base >= end {
            return None;
        }
        let cut = |stretch: &Stretch| Stretch { base: stretch.base.max(base), end: stretch.end.min(end), ..*stretch };
        let stretches = self.stretches.iter().map(cut).filter(|stretch| stretch.base < stretch.end).collect();
        Some(Self { vmo_offset: self.offset_at(base), stretches, ..*self })
    }

    /// Tells whether a mapping that begins where this one ends becomes one with it.
    fn goes_on_in(&self, next: &Self) -> bool {
        let is_alike = (self.vmo, self.caps, self.made) == (next.vmo, next.caps, next.made);
        is_alike && self.end() == next.base() && self.offset_at(self.end()) == next.vmo_offset
    }

    /// Gives what lies between `base` and `end` the permissions.
    fn set_perms(&mut self, base: u64, end: u64, perms: Perms) {
        let (base, end) = (base.max(self.base()), end.min(self.end()));
        let before = self.part(0, base).map(|part| part.stretches).unwrap_or_default();
        let after = self.part(end, u64::MAX).map(|part| part.stretches).unwrap_or_default();
        self.stretches = joined(before.into_iter().chain([Stretch { base, end, perms }]).chain(after));
    }
}

impl Model {
    /// vmar_map(vmar, options, offset in it, vmo, offset in it, len): the steps of 3.2.
    pub(crate) fn vmar_map(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, vmo_offset, len) = (args.get(2), args.get(4), args.get(5));
        let (parent, vmar_handle) = self.vmar_handle(args, 0)?; // 1
        let (vmo, vmo_handle) = self.vmo_handle(args, 3)?; // 2
        vmo_handle.demand(Rights::MAP)?; // 4
        let options = with_read(VmOptions::from_bits_retain(args.word(1)?)); // 5
        let perms = options & ALL;
        ensure(is_readable(perms), Status::INVALID_ARGS)?; // 6
        let both = VmOptions::MAP_RANGE | VmOptions::SPECIFIC_OVERWRITE;
        ensure(!options.contains(both), Status::INVALID_ARGS)?; // 7
        ensure(!options.intersects(VmOptions::CAN_MAP_ACCESS), Status::INVALID_ARGS)?; // 8
        let rights = vmar_handle.rights & vmo_handle.rights;
        ensure(rights.contains(rights_for(perms)), Status::ACCESS_DENIED)?; // 9
        ensure(VmOptions::all().contains(options) && options.alignment().is_some(), Status::INVALID_ARGS)?; // 11
        let kind = self.vmo(vmo).options;
        let demands_fixed = options.contains(VmOptions::REQUIRE_NON_RESIZABLE);
        ensure(!(demands_fixed && kind.contains(VmoOptions::RESIZABLE)), Status::NOT_SUPPORTED)?; // 12
        let allows_faults = options.contains(VmOptions::ALLOW_FAULTS);
        ensure(allows_faults || !kind.contains(VmoOptions::DISCARDABLE), Status::NOT_SUPPORTED)?; // 13
        ensure(!options.intersects(VmOptions::COMPACT | VmOptions::CAN_MAP_SPECIFIC), Status::INVALID_ARGS)?; // 14
        ensure(self.vmar(parent).can_map.contains(perms), Status::ACCESS_DENIED)?; // 15
        ensure(vmo_offset.is_multiple_of(P), Status::INVALID_ARGS)?; // 16
        let size = len.checked_next_multiple_of(P).ok_or(Status::OUT_OF_RANGE)?; // 17
        vmo_offset.checked_add(size).ok_or(Status::OUT_OF_RANGE)?;
        let caps = perms_of_rights(rights);
        let base = self.place(parent, options, offset, size, caps, 0)?; // 19, 20
        self.remove_range(parent, base, base + size);
        let stretches = vec![Stretch { base, end: base + size, perms }];
        let made = options & (VmOptions::SPECIFIC | VmOptions::SPECIFIC_OVERWRITE | VmOptions::OFFSET_IS_UPPER_LIMIT);
        self.insert_child(parent, Child::Mapping(Mapping { vmo, vmo_offset, caps, made, stretches }));
        self.fuse(parent, base);
        Ok(Reply::with(&[base]))
    }

    /// Makes the mapping at `base` one with its neighbours, where they go on in one another.
    fn fuse(&mut self, vmar: Koid, base: u64) {
        let children = &mut self.vmar_mut(vmar).children;
        let is_new = |child: &Child| matches!(child, Child::Mapping(mapping) if mapping.base() == base);
        let at = children.iter().position(is_new).expect("the mapping was just made");
        for at in [Some(at), at.checked_sub(1)].into_iter().flatten() {
            let [Child::Mapping(left), Child::Mapping(right), ..] = &mut children[at..] else { continue };
            if left.goes_on_in(right) {
                left.stretches = joined(left.stretches.iter().chain(&right.stretches).copied());
                children.remove(at + 1);
            }
        }
    }

    /// vmar_protect(vmar, options, address, len): the steps of 3.4.
    pub(crate) fn vmar_protect(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (base, len) = (args.get(2), args.get(3));
        let (vmar, handle) = self.vmar_handle(args, 0)?; // 1
        let options = with_read(VmOptions::from_bits_retain(args.word(1)?));
        let perms = options & ALL;
        handle.demand(rights_for(perms))?;
        ensure(is_readable(perms), Status::INVALID_ARGS)?; // 2
        ensure(base.is_multiple_of(P) && options == perms, Status::INVALID_ARGS)?; // 3, 4
        let size = whole_pages(len).ok_or(Status::INVALID_ARGS)?; // 5
        ensure(self.vmar(vmar).is_alive, Status::BAD_STATE)?; // 6
        ensure(lies_in(base, size, self.vmar(vmar).base, self.vmar(vmar).size), Status::INVALID_ARGS)?; // 7
        let end = base + size;
        let mut at = base;
        while at < end {
            let (parent, mapping) = self.mapping_below(vmar, at).ok_or(Status::NOT_FOUND)?; // 8
            ensure(mapping.caps.contains(perms), Status::ACCESS_DENIED)?;
            if parent != vmar {
                ensure(handle.rights.contains(Rights::OP_CHILDREN), Status::INVALID_ARGS)?;
                let adds = |stretch: &Stretch| stretch.base < end && at < stretch.end && !stretch.perms.contains(perms);
                ensure(!mapping.stretches.iter().any(adds), Status::ACCESS_DENIED)?;
            }
            at = mapping.end();
        }
        self.set_perms_below(vmar, base, end, perms); // 9
        Ok(Reply::DONE)
    }

    fn set_perms_below(&mut self, vmar: Koid, base: u64, end: u64, perms: Perms) {
        for at in self.children_in(vmar, base, end) {
            match &mut self.vmar_mut(vmar).children[at] {
                Child::Mapping(mapping) => mapping.set_perms(base, end, perms),
                Child::Vmar(below) => {
                    let below = *below;
                    self.set_perms_below(below, base, end, perms);
                }
            }
        }
    }

    /// Returns the mapping at the address, at any depth below the VMAR, and the VMAR that it is in.
    pub(crate) fn mapping_below(&self, vmar: Koid, address: u64) -> Option<(Koid, &Mapping)> {
        let at = self.children_in(vmar, address, address.checked_add(1)?);
        match &self.vmar(vmar).children[*at.first()?] {
            Child::Mapping(mapping) => Some((vmar, mapping)),
            Child::Vmar(below) => self.mapping_below(*below, address),
        }
    }

    /// Returns how many mappings show the VMO.
    pub(crate) fn mappings_of(&self, vmo: Koid) -> u64 {
        let children = self.vmars.values().flat_map(|vmar| &vmar.children);
        children.filter(|child| matches!(child, Child::Mapping(mapping) if mapping.vmo == vmo)).count() as u64
    }
}

/// Returns the stretches with those made one that allow the same.
fn joined(all: impl Iterator<Item = Stretch>) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for stretch in all {
        match stretches.last_mut() {
            Some(last) if last.perms == stretch.perms => last.end = stretch.end,
            _ => stretches.push(stretch),
        }
    }
    stretches
}

/// Execute-only is not offered: PERM_READ_IF_XOM_UNSUPPORTED always adds PERM_READ.
fn with_read(options: VmOptions) -> VmOptions {
    let xom = VmOptions::PERM_READ_IF_XOM_UNSUPPORTED;
    if options.contains(xom) { (options - xom) | VmOptions::PERM_READ } else { options }
}

fn is_readable(perms: Perms) -> bool {
    perms.is_empty() || perms.contains(VmOptions::PERM_READ)
}
