//! VMOs: what handles and mappings name. Each shows a [memory](Memory), whole or a part of it.
//!
//! All VMOs and memories are behind one lock, [`Vmos`]'s: what it guards is a page's being there, and what a fault enters in a
//! tree under it stays true until the page is taken away under it. Operations on ranges take the lock anew for each chunk; copies,
//! pins and new sizes are made under one hold.

use abi::{KOID_INVALID, NAME_LEN, Status, VmoOptions};
use stage2::Flushed;
use vmsa::{PAGE_SHIFT, PAGE_SIZE};

use crate::Machine;
use crate::arena::{Arena, Id};
use crate::frames::Use;
use crate::links::Link;
use crate::memory::{Backing, Memory, MemoryId};
use crate::pins::{Bti, Pin};
use crate::supply::Supply;
use crate::system::{System, VmId};
use crate::told::Told;

pub(crate) type VmoId = Id<Vmo>;

/// The most bytes that a VMO can have.
pub(crate) const MAX_SIZE: u64 = u64::MAX - 64 * PAGE_SIZE + 1;

/// What a VMO shows of its memory, and how it came by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// All of a memory that was made for it.
    Original,
    /// All of a memory that began as a copy.
    Snapshot,
    /// A part of its parent's memory.
    Slice {
        /// Where the part begins, in bytes.
        offset: u64,
        /// Bytes.
        size: u64,
    },
    /// All that its parent shows.
    Reference,
}

/// A VMO.
pub(crate) struct Vmo {
    pub(crate) koid: u64,
    pub(crate) name: [u8; NAME_LEN],
    pub(crate) options: VmoOptions,
    pub(crate) kind: Kind,
    pub(crate) memory: MemoryId,
    /// The koid of the VMO that it was made from.
    pub(crate) parent_koid: u64,
    pub(crate) family: Family,
    pub(crate) mapping_count: u64,
    pub(crate) handle_count: u32,
    /// Handles, mappings, pins, and calls under way.
    pub(crate) references: u64,
    /// LOCK minus UNLOCK, of a discardable one.
    pub(crate) lock_count: u64,
}

/// A VMO's place among its relatives. When it goes, its children become its parent's.
#[derive(Default)]
pub(crate) struct Family {
    pub(crate) parent: Option<VmoId>,
    pub(crate) child_count: u64,
    first_child: Option<VmoId>,
    next: Option<VmoId>,
    previous: Option<VmoId>,
}

/// The part of a memory that a VMO shows, as large as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) memory: MemoryId,
    /// The memory's offset where it begins, in bytes.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl View {
    /// Tells whether the range of bytes lies in the VMO.
    pub(crate) fn holds(self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.size)
    }

    /// Returns the number of the memory's page that holds the VMO's byte at `offset`, which is one of its own.
    pub(crate) const fn page(self, offset: u64) -> u64 {
        (self.offset + offset) >> PAGE_SHIFT
    }

    /// Returns the number of the memory's page behind the last that is shown.
    pub(crate) const fn end_page(self) -> u64 {
        (self.offset + self.size) >> PAGE_SHIFT
    }
}

/// All VMOs, and what they show.
pub(crate) struct Vmos {
    pub(crate) vmos: Arena<Vmo>,
    pub(crate) memories: Arena<Memory>,
    pub(crate) links: Arena<Link>,
    pub(crate) pins: Arena<Pin>,
    pub(crate) btis: Arena<Bti>,
    /// Links that there is room for, and that calls under way may make.
    pub(crate) promised_links: u32,
}

impl core::ops::Index<VmoId> for Vmos {
    type Output = Vmo;

    fn index(&self, id: VmoId) -> &Vmo {
        &self.vmos[id]
    }
}

impl core::ops::IndexMut<VmoId> for Vmos {
    fn index_mut(&mut self, id: VmoId) -> &mut Vmo {
        &mut self.vmos[id]
    }
}

impl core::ops::Index<MemoryId> for Vmos {
    type Output = Memory;

    fn index(&self, id: MemoryId) -> &Memory {
        &self.memories[id]
    }
}

impl core::ops::IndexMut<MemoryId> for Vmos {
    fn index_mut(&mut self, id: MemoryId) -> &mut Memory {
        &mut self.memories[id]
    }
}

impl Vmo {
    /// Takes note that somebody uses the VMO.
    pub(crate) const fn retain(&mut self) {
        self.references += 1;
    }

    /// Takes note that there is a handle more.
    pub(crate) const fn open(&mut self) {
        self.handle_count += 1;
        self.references += 1;
    }
}

impl Vmos {
    pub(crate) const fn new() -> Self {
        Self {
            vmos: Arena::new(),
            memories: Arena::new(),
            links: Arena::new(),
            pins: Arena::new(),
            btis: Arena::new(),
            promised_links: 0,
        }
    }

    /// Returns how many VMOs and mappings there are.
    pub(crate) const fn counts(&self) -> (u32, u32) {
        (self.vmos.len(), self.links.len())
    }

    /// Gives back what is not needed. Nothing is reserved now but for the links that were promised.
    fn trim<'m, M: Machine + 'm>(&mut self, supply: impl Fn(VmId) -> Supply<'m, M>) {
        self.vmos.trim(&supply, 0);
        self.memories.trim(&supply, 0);
        self.links.trim(&supply, self.promised_links);
        self.pins.trim(&supply, 0);
        self.btis.trim(&supply, 0);
    }

    /// Returns what the VMO shows now.
    pub(crate) fn view(&self, id: VmoId) -> View {
        let Vmo { memory, kind, .. } = self.vmos[id];
        match kind {
            Kind::Slice { offset, size } => View { memory, offset, size },
            _ => View { memory, offset: 0, size: self.memories[memory].size },
        }
    }

    /// Makes room for a VMO with a memory of its own.
    pub(crate) fn reserve<M: Machine>(&mut self, supply: Supply<'_, M>) -> Result<(), Status> {
        self.vmos.reserve(supply, 1)?;
        Ok(self.memories.reserve(supply, 1)?)
    }

    /// Makes a VMO that shows a memory, in room that was [reserved](Vmos::reserve). The caller holds its first reference.
    pub(crate) fn insert_reserved(&mut self, koid: u64, options: VmoOptions, kind: Kind, memory: MemoryId) -> VmoId {
        self.memories[memory].users += 1;
        self.vmos.insert_reserved(Vmo {
            koid,
            name: [0; NAME_LEN],
            options,
            kind,
            memory,
            parent_koid: KOID_INVALID,
            family: Family::default(),
            mapping_count: 0,
            handle_count: 0,
            references: 1,
            lock_count: 0,
        })
    }

    /// Makes room for `count` more mappings, until they are made or [given up](Vmos::give_up_links).
    pub(crate) fn promise_links<M: Machine>(&mut self, supply: Supply<'_, M>, count: u32) -> Result<(), Status> {
        self.links.reserve(supply, self.promised_links + count)?;
        self.promised_links += count;
        Ok(())
    }

    /// Gives room up that was promised and is not needed.
    pub(crate) const fn give_up_links(&mut self, count: u32) {
        self.promised_links -= count;
    }

    /// Notes that a VMO was made from another.
    pub(crate) fn adopt(&mut self, parent: VmoId, child: VmoId) {
        self.vmos[child].parent_koid = self.vmos[parent].koid;
        self.put_below(parent, child);
    }

    fn put_below(&mut self, parent: VmoId, child: VmoId) {
        let family = &mut self.vmos[parent].family;
        let next = family.first_child.replace(child);
        family.child_count += 1;
        if let Some(next) = next {
            self.vmos[next].family.previous = Some(child);
        }
        let family = &mut self.vmos[child].family;
        (family.parent, family.next, family.previous) = (Some(parent), next, None);
    }

    /// Takes a VMO that is gone out of its family.
    fn leave_family(&mut self, family: &Family) {
        if let Some(next) = family.next {
            self.vmos[next].family.previous = family.previous;
        }
        if let Some(previous) = family.previous {
            self.vmos[previous].family.next = family.next;
        }
        if let Some(parent) = family.parent.map(|parent| &mut self.vmos[parent].family) {
            parent.child_count -= 1;
            if family.previous.is_none() {
                parent.first_child = family.next;
            }
        }
        let mut at = family.first_child;
        while let Some(child) = at {
            let orphan = &mut self.vmos[child].family;
            at = orphan.next;
            (orphan.parent, orphan.next, orphan.previous) = (None, None, None);
            if let Some(parent) = family.parent {
                self.put_below(parent, child);
            }
        }
    }

    /// Takes a reference away. After the last one the VMO is gone, and with the last VMO its memory: that is returned, and
    /// whether it had relatives.
    fn release(&mut self, id: VmoId) -> Option<(Memory, bool)> {
        let vmo = &mut self.vmos[id];
        if planted::is(65) {
            return None;
        }
        vmo.references -= 1;
        debug_assert!(vmo.references > 0 || vmo.mapping_count == 0, "a mapping is a reference");
        if vmo.references > 0 { None } else { self.end(id) }
    }

    /// Ends a VMO that nobody uses any more.
    #[inline(never)]
    fn end(&mut self, id: VmoId) -> Option<(Memory, bool)> {
        let vmo = self.vmos.remove(id);
        self.leave_family(&vmo.family);
        let memory = &mut self.memories[vmo.memory];
        memory.users -= 1;
        if memory.users > 0 {
            return None;
        }
        let had_relatives = self.leave_relatives(vmo.memory);
        Some((self.memories.remove(vmo.memory), had_relatives))
    }
}

impl<M: Machine> System<M> {
    /// Makes a VMO of `size` bytes, a multiple of the page size, with a memory of its own. The caller holds its first reference.
    pub(crate) fn create_vmo(
        &self,
        vmos: &mut Vmos,
        supply: Supply<'_, M>,
        size: u64,
        options: VmoOptions,
        backing: Backing,
    ) -> Result<VmoId, Status> {
        vmos.reserve(supply)?;
        let memory = vmos.memories.insert_reserved(Memory::new(backing, size, supply.vm));
        Ok(vmos.insert_reserved(self.next_koid(), options, Kind::Original, memory))
    }

    /// Makes a VMO of adjacent frames that read as zero, the first aligned to 2^`align_log2` bytes.
    pub(crate) fn create_contiguous_vmo(&self, payer: VmId, size: u64, align_log2: u32) -> Result<VmoId, Status> {
        let supply = self.supply(payer);
        let pages = size >> PAGE_SHIFT;
        let first = supply.take_run(pages, align_log2, Use::Page).ok_or(Status::NO_MEMORY)?;
        let backing = Backing::Contiguous(first);
        let made = self.create_vmo(&mut self.lock_vmos(), supply, size, VmoOptions::empty(), backing);
        if made.is_err() {
            supply.give_run(first, pages);
        }
        made
    }

    /// Ends a use of the VMO. After the last one what nobody else shows is given back, with no lock of the VMOs held. Not inlined,
    /// for it would be at 15 places.
    #[inline(never)]
    pub(crate) fn release_vmo(&self, id: VmoId) {
        self.release_locked(self.lock_vmos(), id);
    }

    /// Ends a mapping, which is a use of its VMO.
    pub(crate) fn unlink(&self, link: Id<Link>) {
        let mut vmos = self.lock_vmos();
        let vmo = vmos.unlink(link);
        self.release_locked(vmos, vmo);
    }

    /// Takes note that there is a handle less to the VMO.
    pub(crate) fn close_vmo(&self, id: VmoId) {
        let mut vmos = self.lock_vmos();
        vmos[id].handle_count -= 1;
        self.release_locked(vmos, id);
    }

    fn release_locked(&self, mut vmos: Told<'_, M, Vmos>, id: VmoId) {
        let released = vmos.release(id);
        vmos.trim(|payer| self.supply(payer));
        let Some((memory, had_relatives)) = released else { return };
        // Who else shows a page is counted under the lock; where nobody can, it is not needed.
        self.give_memory(memory, had_relatives.then_some(vmos));
    }

    /// Not inlined: it would have all that end a use pay for the room that the last one needs on the stack.
    #[inline(never)]
    fn give_memory(&self, mut memory: Memory, counting: Option<Told<'_, M, Vmos>>) {
        let supply = self.supply(memory.payer);
        match memory.backing {
            Backing::Paged => {
                let pages = self.take_pages(&mut memory, 0, u64::MAX);
                drop(counting);
                supply.give_list(pages, Flushed::never_mapped());
            }
            Backing::Contiguous(first) => supply.give_run(first, memory.page_count()),
            Backing::Device(_) => {}
        }
    }
}
