//! vmo_create_child: snapshots, slices, references (semantics 4).

use abi::{ChildOptions, Rights, Status, VmoOptions};

use crate::arguments::Arguments;
use crate::handles::Object;
use crate::memory::{Kind, MAX_SIZE, Memory};
use crate::vmo::{Origin, Vmo};
use crate::{Koid, Model, P, Reply, Result, ensure};

const SNAPSHOTS: ChildOptions =
    ChildOptions::SNAPSHOT.union(ChildOptions::SNAPSHOT_AT_LEAST_ON_WRITE).union(ChildOptions::SNAPSHOT_MODIFIED);

impl Model {
    /// vmo_create_child(vmo, options, offset, size).
    pub(crate) fn vmo_create_child(&mut self, args: Arguments<'_>) -> Result<Reply> {
        let (offset, size) = (args.get(2), args.get(3));
        let options = ChildOptions::from_bits_retain(args.get(1) as u32);
        ensure(!options.contains(ChildOptions::NO_WRITE | ChildOptions::RESIZABLE), Status::INVALID_ARGS)?;
        let rounded = size.checked_next_multiple_of(P).ok_or(Status::OUT_OF_RANGE)?;
        let (parent, handle) = self.vmo_handle(args, 0)?;
        handle.demand(Rights::DUPLICATE | Rights::READ)?;
        args.word(1)?;
        ensure(!self.vmo(parent).options.contains(VmoOptions::DISCARDABLE), Status::NOT_SUPPORTED)?;
        let (memory, origin) = if options.contains(ChildOptions::SLICE) {
            (self.vmo(parent).memory, self.slice(parent, options, offset, rounded)?)
        } else if options.contains(ChildOptions::REFERENCE) {
            self.check_reference(parent, options, offset, size)?;
            (self.vmo(parent).memory, Origin::Reference)
        } else {
            self.check_snapshot(parent, options, offset, rounded)?;
            (self.snapshot(parent, offset, rounded), Origin::Snapshot)
        };
        // What can be resized is the memory, which a reference has in common with its parent.
        let is_resizable = match origin {
            Origin::Reference => self.vmo(parent).is_resizable(),
            _ => options.contains(ChildOptions::RESIZABLE),
        };
        let vmo_options = if is_resizable { VmoOptions::RESIZABLE } else { VmoOptions::empty() };
        let name = self.vmo(parent).name;
        let vmo = Vmo { origin, parent: Some(parent), parent_koid: parent, name, ..Vmo::new(memory, vmo_options) };
        let child = self.add_vmo(vmo);
        Ok(Reply::with(&[self.give(Object::Vmo(child), child_rights(handle.rights, options))]))
    }

    fn slice(&self, parent: Koid, options: ChildOptions, offset: u64, size: u64) -> Result<Origin> {
        let allowed = ChildOptions::SLICE | ChildOptions::NO_WRITE;
        ensure(allowed.contains(options) && offset.is_multiple_of(P), Status::INVALID_ARGS)?;
        ensure(size <= MAX_SIZE, Status::OUT_OF_RANGE)?;
        self.ensure_inside(parent, offset, size).map_err(|_| Status::INVALID_ARGS)?;
        ensure(!self.vmo(parent).is_resizable(), Status::NOT_SUPPORTED)?;
        let memory = self.memory_of(parent);
        ensure(memory.is_cached() || memory.kind != Kind::Paged, Status::BAD_STATE)?;
        Ok(Origin::Slice { offset: self.vmo(parent).window() + offset, size })
    }

    fn check_reference(&self, parent: Koid, options: ChildOptions, offset: u64, size: u64) -> Result<()> {
        let allowed = ChildOptions::REFERENCE | ChildOptions::NO_WRITE | ChildOptions::RESIZABLE;
        ensure(allowed.contains(options) && offset == 0 && size == 0, Status::INVALID_ARGS)?;
        let is_slice = matches!(self.vmo(parent).origin, Origin::Slice { .. });
        ensure(!is_slice && self.memory_of(parent).kind == Kind::Paged, Status::NOT_SUPPORTED)?;
        let is_wrong = options.contains(ChildOptions::RESIZABLE) && !self.vmo(parent).is_resizable();
        ensure(!is_wrong, Status::NOT_SUPPORTED)?;
        ensure(self.memory_of(parent).is_cached(), Status::BAD_STATE)
    }

    fn check_snapshot(&self, parent: Koid, options: ChildOptions, offset: u64, size: u64) -> Result<()> {
        let allowed = SNAPSHOTS | ChildOptions::NO_WRITE | ChildOptions::RESIZABLE;
        let is_one = (options & SNAPSHOTS).bits().count_ones() == 1;
        ensure(allowed.contains(options) && is_one, Status::INVALID_ARGS)?;
        let memory = self.memory_of(parent);
        ensure(memory.kind != Kind::Contiguous, Status::INVALID_ARGS)?;
        ensure(memory.kind != Kind::Physical, Status::NOT_SUPPORTED)?;
        ensure(offset.is_multiple_of(P), Status::INVALID_ARGS)?;
        let end = offset.checked_add(size).ok_or(Status::OUT_OF_RANGE)?;
        ensure(size <= MAX_SIZE, Status::OUT_OF_RANGE)?;
        ensure(memory.is_cached(), Status::BAD_STATE)?;
        ensure(memory.accumulated.checked_add(end).is_some(), Status::INVALID_ARGS)?;
        let is_slice = matches!(self.vmo(parent).origin, Origin::Slice { .. });
        ensure(!is_slice, Status::NOT_SUPPORTED)?;
        self.ensure_unpinned(self.vmo(parent).memory, 0, u64::MAX)
    }

    /// Makes a memory that shares the pages that the parent shows in the range. What is past its end reads as zero.
    fn snapshot(&mut self, parent: Koid, offset: u64, size: u64) -> u64 {
        let memory = self.memory_of(parent);
        let (first, end) = (offset / P, (offset + size).min(memory.size) / P);
        let numbers = memory.numbers(first, end);
        let pages = numbers.into_iter().map(|number| (number - first, memory.pages[&number].clone())).collect();
        let accumulated = memory.accumulated + offset;
        let child = Memory { pages, family: memory.family, accumulated, ..Memory::paged(size) };
        self.add_memory(child)
    }
}

/// Returns the rights of a child's first handle.
fn child_rights(parent: Rights, options: ChildOptions) -> Rights {
    let mut rights = (parent - Rights::RESIZE) | Rights::GET_PROPERTY | Rights::SET_PROPERTY;
    rights.set(Rights::RESIZE, options.contains(ChildOptions::RESIZABLE));
    if options.intersects(SNAPSHOTS) {
        rights = (rights - Rights::EXECUTE) | Rights::WRITE;
    }
    if options.contains(ChildOptions::NO_WRITE) { rights - Rights::WRITE } else { rights }
}
