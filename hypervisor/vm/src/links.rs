//! Who maps a memory: a tree of notes, ordered by what they show of it, so that the mappings that show a page are found without
//! looking at the others.

use vmsa::{Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE};

use crate::arena::{Arena, Id};
use crate::memory::MemoryId;
use crate::system::VmId;
use crate::tree::{Links, Node, Tree};
use crate::vmo::{View, Vmo, VmoId, Vmos};

/// A mapping, as its memory knows it.
pub(crate) struct Link {
    vmo: Id<Vmo>,
    memory: MemoryId,
    vm: VmId,
    base: u64,
    size: u64,
    /// The memory's offset at the base; so large that nothing is shown where it would wrap.
    offset: u64,
    links: Links<Self>,
}

/// What a note knows of itself and of all below it in the tree.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    /// The largest offset that any of them ends at.
    end: u64,
    /// The VMs that they are of, as bits.
    vms: u64,
}

/// The order of the notes: by offsets. No two mappings of a VM are at one address.
type Key = (u64, u64, usize);

impl Node for Link {
    type Key = Key;
    type Notes = Reach;

    fn key(&self) -> Key {
        (self.offset, self.base, self.vm.index())
    }

    fn links(&self) -> &Links<Self> {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links<Self> {
        &mut self.links
    }

    fn notes(&self, left: Option<Reach>, right: Option<Reach>) -> Reach {
        let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
        let end = self.end().max(left.end).max(right.end);
        Reach { end, vms: 1 << self.vm.index() | left.vms | right.vms }
    }
}

impl Link {
    /// Returns the memory's offset where it ends: past the end of what an offset can be there is nothing mapped.
    const fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// Returns the addresses at which the mapping shows the memory's bytes from `start` to `end`, some of which it does.
    fn window(&self, start: u64, end: u64) -> IpaRange {
        let (from, to) = (start.max(self.offset), end.min(self.end()));
        IpaRange::new(Ipa(self.base + (from - self.offset)), to - from)
    }
}

/// The addresses at which a VM sees a part of a memory, in the order of what is seen.
#[derive(Clone)]
struct Windows<'a> {
    links: &'a Arena<Link>,
    tree: Tree<Link>,
    vm: VmId,
    start: u64,
    end: u64,
    last: Option<Key>,
}

impl Iterator for Windows<'_> {
    type Item = IpaRange;

    fn next(&mut self) -> Option<IpaRange> {
        loop {
            let link = next_link(self.links, self.tree.root, self.last, self.start, self.end)?;
            self.last = Some(link.key());
            if link.vm == self.vm {
                return Some(link.window(self.start, self.end));
            }
        }
    }
}

/// Returns the first note after the key `after` that shows something between two offsets. Recurs as deep as the tree is high.
fn next_link(links: &Arena<Link>, node: Option<Id<Link>>, after: Option<Key>, start: u64, end: u64) -> Option<&Link> {
    let link = &links[node?];
    if link.links.notes.end <= start {
        return None;
    }
    let is_after = after.is_none_or(|after| after < link.key());
    let below = if is_after { next_link(links, link.links.left, after, start, end) } else { None };
    if below.is_some() || link.offset >= end {
        return below;
    }
    if is_after && link.end() > start {
        return Some(link);
    }
    next_link(links, link.links.right, after, start, end)
}

impl Vmos {
    /// Makes the note of a new mapping, in room that was promised. The mapping counts as a reference.
    pub(crate) fn link(&mut self, id: VmoId, vm: VmId, base: u64, size: u64, vmo_offset: u64) -> Id<Link> {
        self.promised_links -= 1;
        let View { memory, offset, .. } = self.view(id);
        let offset = offset.saturating_add(vmo_offset);
        let links = Links::new(Reach::default());
        let link = self.links.insert_reserved(Link { vmo: id, memory, vm, base, size, offset, links });
        self.memories[memory].links.insert(&mut self.links, link);
        let vmo = &mut self.vmos[id];
        vmo.mapping_count += 1;
        vmo.references += 1;
        link
    }

    /// Takes note that a mapping shows something else of the VMO, or at another place.
    pub(crate) fn relink(&mut self, id: Id<Link>, base: u64, size: u64, vmo_offset: u64) {
        let offset = self.view(self.links[id].vmo).offset.saturating_add(vmo_offset);
        let (memory, key) = (self.links[id].memory, self.links[id].key());
        let tree = &mut self.memories[memory].links;
        tree.remove(&mut self.links, key);
        let link = &mut self.links[id];
        (link.base, link.size, link.offset) = (base, size, offset);
        tree.insert(&mut self.links, id);
    }

    /// Forgets a mapping, and returns its VMO: its reference is still to be released.
    pub(crate) fn unlink(&mut self, id: Id<Link>) -> VmoId {
        let link = &self.links[id];
        let (vmo, memory, key) = (link.vmo, link.memory, link.key());
        self.memories[memory].links.remove(&mut self.links, key);
        self.links.discard(id);
        self.vmos[vmo].mapping_count -= 1;
        vmo
    }

    /// Returns the addresses at which a VM sees the memory's pages from number `first` to `end`.
    pub(crate) fn windows(
        &self,
        id: MemoryId,
        vm: VmId,
        first: u64,
        end: u64,
    ) -> impl Iterator<Item = IpaRange> + Clone {
        let (start, end) = (first << PAGE_SHIFT, end.saturating_mul(PAGE_SIZE));
        Windows { links: &self.links, tree: self.memories[id].links, vm, start, end, last: None }
    }

    /// Returns the VMs that map the memory.
    pub(crate) fn mappers(&self, id: MemoryId) -> impl Iterator<Item = VmId> + use<> {
        let bits = self.memories[id].links.root.map_or(0, |root| self.links[root].links.notes.vms);
        VmId::of_bits(bits)
    }

    /// Returns how many VMs map the VMO.
    pub(crate) fn share_count(&self, id: VmoId) -> u64 {
        let memory = &self.memories[self.vmos[id].memory];
        let first = next_link(&self.links, memory.links.root, None, 0, u64::MAX);
        let next = |link: &&Link| next_link(&self.links, memory.links.root, Some(link.key()), 0, u64::MAX);
        let links = core::iter::successors(first, next).filter(|link| link.vmo == id);
        u64::from(links.fold(0u64, |bits, link| bits | 1 << link.vm.index()).count_ones())
    }
}
