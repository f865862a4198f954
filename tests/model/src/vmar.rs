//! VMARs: the tree, `vmar_allocate`, `vmar_destroy`, `vmar_unmap` (semantics 3.1, 3.3, 3.5).

use abi::{Rights, Status, VmOptions};

use crate::arguments::Arguments;
use crate::handles::Object;
use crate::mapping::Mapping;
use crate::shape::{ALL, Perms, can_map_of, lies_in, rights_for, whole_pages};
use crate::{Dialect, Koid, Model, P, Reply, Result, ensure};

/// A VMAR.
#[derive(Debug)]
pub(crate) struct Vmar {
    pub(crate) base: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// What its mappings may allow.
    pub(crate) can_map: Perms,
    pub(crate) can_map_specific: bool,
    pub(crate) is_alive: bool,
    pub(crate) parent: Option<Koid>,
    /// What is in it, by ascending addresses.
    pub(crate) children: Vec<Child>,
}

/// What a VMAR holds.
#[derive(Debug)]
pub(crate) enum Child {
    Vmar(Koid),
    Mapping(Mapping),
}

impl Child {
    pub(crate) const fn vmar(&self) -> Option<Koid> {
        match self {
            Self::Vmar(koid) => Some(*koid),
            Self::Mapping(_) => None,
        }
    }
}

impl Vmar {
    pub(crate) fn root(size: u64) -> Self {
        let (parent, children) = (None, Vec::new());
        Self { base: 0, size, can_map: ALL, can_map_specific: true, is_alive: true, parent, children }
    }
}

impl Model {
    pub(crate) fn vmar(&self, koid: Koid) -> &Vmar {
        &self.vmars[&koid]
    }

    pub(crate) fn vmar_mut(&mut self, koid: Koid) -> &mut Vmar {
        self.vmars.get_mut(&koid).expect("the VMAR is known")
    }

    /// Returns a child's first address and the one past its last.
    pub(crate) fn bounds(&self, child: &Child) -> (u64, u64) {
        match child {
            Child::Vmar(koid) => (self.vmar(*koid).base, self.vmar(*koid).base + self.vmar(*koid).size),
            Child::Mapping(mapping) => (mapping.base(), mapping.end()),
        }
    }

    /// Returns the places in the VMAR's list of the children that have a part in the range.
    pub(crate) fn children_in(&self, vmar: Koid, base: u64, end: u64) -> Vec<usize> {
        let children = &self.vmar(vmar).children;
        let meets = |child: &Child| {
            let (from, to) = self.bounds(child);
            from < end && base < to
        };
        (0..children.len()).filter(|at| meets(&children[*at])).collect()
    }

    /// Puts a child where there is nothing.
    pub(crate) fn insert_child(&mut self, vmar: Koid, child: Child) {
        let (base, _) = self.bounds(&child);
        let at = self.vmar(vmar).children.iter().filter(|other| self.bounds(other).0 < base).count();
        self.vmar_mut(vmar).children.insert(at, child);
    }

    /// vmar_allocate(parent, options, offset, size): the steps of 3.1.
    pub(crate) fn vmar_allocate(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, size) = (args.get(2), args.get(3));
        let (parent, handle) = self.vmar_handle(args, 0)?; // 1
        let options = VmOptions::from_bits_retain(args.word(1)?);
        let can_map = can_map_of(options);
        handle.demand(rights_for(can_map))?;
        let known = VmOptions::all() - VmOptions::MAP_RANGE;
        ensure(known.contains(options) && options.alignment().is_some(), Status::INVALID_ARGS)?; // 2, 3
        ensure(!options.intersects(VmOptions::PERMS), Status::INVALID_ARGS)?; // 4
        ensure(size.is_multiple_of(P), Status::INVALID_ARGS)?; // 5
        let allowed = VmOptions::SPECIFIC
            | VmOptions::CAN_MAP_SPECIFIC
            | VmOptions::COMPACT
            | VmOptions::CAN_MAP_ACCESS
            | VmOptions::OFFSET_IS_UPPER_LIMIT
            | VmOptions::ALIGNMENT;
        ensure(allowed.contains(options), Status::INVALID_ARGS)?; // 6
        let base = self.place(parent, options, offset, size, can_map, 1)?; // 7 to 16
        let vmar = Vmar {
            base,
            size,
            can_map,
            can_map_specific: options.contains(VmOptions::CAN_MAP_SPECIFIC),
            is_alive: true,
            parent: Some(parent),
            children: Vec::new(),
        };
        let koid = self.new_koid();
        self.vmars.insert(koid, vmar);
        self.insert_child(parent, Child::Vmar(koid));
        let handle = self.give(Object::Vmar(koid), Rights::DEFAULT_VMAR | rights_for(can_map));
        Ok(Reply::with(&[handle, base]))
    }

    /// vmar_unmap(vmar, address, len): the steps of 3.3.
    pub(crate) fn vmar_unmap(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (base, len) = (args.get(1), args.get(2));
        let is_documented = self.config().dialect == Dialect::Documented;
        let (vmar, handle) = self.vmar_handle(args, 0)?; // 1, 2
        ensure(base.is_multiple_of(P), Status::INVALID_ARGS)?; // 3
        ensure(!is_documented || len.is_multiple_of(P), Status::INVALID_ARGS)?; // 4
        let size = whole_pages(len).ok_or(Status::INVALID_ARGS)?;
        ensure(self.vmar(vmar).is_alive, Status::BAD_STATE)?; // 5
        ensure(lies_in(base, size, self.vmar(vmar).base, self.vmar(vmar).size), Status::INVALID_ARGS)?; // 6
        let touched = self.children_in(vmar, base, base + size);
        if touched.is_empty() {
            return if is_documented { Err(Status::NOT_FOUND) } else { Ok(Reply::DONE) }; // 7
        }
        let may_destroy = is_documented || handle.rights.contains(Rights::OP_CHILDREN);
        for at in touched {
            let child = &self.vmar(vmar).children[at];
            let (from, to) = self.bounds(child);
            let is_whole = base <= from && to <= base + size;
            ensure(child.vmar().is_none() || is_whole && may_destroy, Status::INVALID_ARGS)?; // 9
        }
        self.remove_range(vmar, base, base + size); // 10
        Ok(Reply::DONE)
    }

    /// Removes what is in the range: mappings, or the parts of them that lie there, and sub-regions, which lie there whole.
    pub(crate) fn remove_range(&mut self, vmar: Koid, base: u64, end: u64) {
        let children = std::mem::take(&mut self.vmar_mut(vmar).children);
        let mut kept = Vec::new();
        for child in children {
            let (from, to) = self.bounds(&child);
            match child {
                child if to <= base || end <= from => kept.push(child),
                Child::Vmar(koid) => self.end_vmar(koid),
                Child::Mapping(mapping) => {
                    kept.extend(mapping.part(from, base).map(Child::Mapping));
                    kept.extend(mapping.part(end, to).map(Child::Mapping));
                }
            }
        }
        self.vmar_mut(vmar).children = kept;
    }

    /// vmar_destroy(vmar): OP_CHILDREN; NOT_SUPPORTED of the root; BAD_STATE of a dead one (3.5).
    pub(crate) fn vmar_destroy(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (vmar, handle) = self.vmar_handle(args, 0)?;
        handle.demand(Rights::OP_CHILDREN)?;
        ensure(vmar != self.root, Status::NOT_SUPPORTED)?;
        ensure(self.vmar(vmar).is_alive, Status::BAD_STATE)?;
        if let Some(parent) = self.vmar(vmar).parent {
            self.vmar_mut(parent).children.retain(|child| child.vmar() != Some(vmar));
        }
        self.end_vmar(vmar);
        Ok(Reply::DONE)
    }

    /// Ends a VMAR with all that is in it. It stays known, for its handles.
    fn end_vmar(&mut self, koid: Koid) {
        let vmar = self.vmar_mut(koid);
        (vmar.is_alive, vmar.parent) = (false, None);
        for child in std::mem::take(&mut vmar.children) {
            if let Child::Vmar(below) = child {
                self.end_vmar(below);
            }
        }
    }
}
