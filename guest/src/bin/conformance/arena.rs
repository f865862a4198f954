//! Where cases play: a VMAR at a fixed address, and VMOs whose pages can be told apart.

use crate::check::{Check, load, load_aborts, reads};
use guest::probe;
use zx::inspect::{self, Descriptor, Walk};
use zx::{
    Alignment, ChildOptions, Object, PAGE_SIZE, Result, Rights, Status, VmOptions, Vmar, VmarOp, Vmo, VmoOptions,
};

/// Read and write.
pub(crate) const RW: VmOptions = VmOptions::PERM_READ.union(VmOptions::PERM_WRITE);
/// Read alone.
pub(crate) const R: VmOptions = VmOptions::PERM_READ;
/// Read and execute.
pub(crate) const RX: VmOptions = VmOptions::PERM_READ.union(VmOptions::PERM_EXECUTE);
/// Read, write and execute.
pub(crate) const RWX: VmOptions = VmOptions::PERMS;

/// The options of an arena: any mapping, anywhere in it.
pub(crate) const ANY: VmOptions = VmOptions::CAN_MAP_ACCESS.union(VmOptions::CAN_MAP_SPECIFIC);
/// The rights of an arena's handle.
pub(crate) const ALL_RIGHTS: Rights = Rights::DEFAULT_VMAR.union(Rights::ACCESS);

/// The pages that a block of level 2 spans.
pub(crate) const BLOCK: u64 = 512;
/// The pages that a group of 16 entries of level 3 spans.
pub(crate) const GROUP: u64 = 16;

/// A VMAR, and its pages by their numbers in it.
pub(crate) struct Arena {
    pub(crate) vmar: Vmar,
    pub(crate) base: u64,
}

impl Arena {
    /// The address of the arenas that [`Arena::new`] makes: a GiB that nothing else uses.
    pub(crate) const BASE: u64 = 0x8000_0000;

    /// Makes an arena of the given length in the root VMAR.
    pub(crate) fn new(page_count: u64) -> Self {
        Self::with_options(ANY, page_count)
    }

    /// Makes an arena with given options; where it goes is not among them.
    pub(crate) fn with_options(options: VmOptions, page_count: u64) -> Self {
        let root = Vmar::root().succeeds();
        let len_bytes = page_count * PAGE_SIZE;
        let (vmar, base) = root.allocate(options | VmOptions::SPECIFIC, Self::BASE, len_bytes).succeeds();
        Self { vmar, base }
    }

    /// Makes an arena in this one.
    pub(crate) fn child(&self, page: u64, page_count: u64) -> Self {
        let options = ANY | VmOptions::SPECIFIC;
        let (vmar, base) = self.vmar.allocate(options, page * PAGE_SIZE, page_count * PAGE_SIZE).succeeds();
        Self { vmar, base }
    }

    /// Returns the arena under a handle that lacks some rights.
    pub(crate) fn without(&self, rights: Rights) -> Self {
        Self { vmar: self.vmar.duplicate(ALL_RIGHTS - rights).succeeds(), base: self.base }
    }

    /// Returns the address of a page.
    pub(crate) const fn page(&self, page: u64) -> u64 {
        self.base + page * PAGE_SIZE
    }

    /// Maps a whole new marked VMO, readable and writable.
    pub(crate) fn map(&self, page: u64, page_count: u64) -> Vmo {
        let vmo = marked_vmo(page_count);
        self.map_vmo(RW, page, page_count, &vmo, 0).succeeds();
        vmo
    }

    /// Maps pages of a VMO at a page of the arena.
    pub(crate) fn map_vmo(&self, options: VmOptions, page: u64, count: u64, vmo: &Vmo, vmo_page: u64) -> Result<u64> {
        let options = options | VmOptions::SPECIFIC;
        self.vmar.map(options, page * PAGE_SIZE, vmo, vmo_page * PAGE_SIZE, count * PAGE_SIZE)
    }

    /// Unmaps pages.
    pub(crate) fn unmap(&self, page: u64, page_count: u64) -> Result<()> {
        self.vmar.unmap(self.page(page), page_count * PAGE_SIZE)
    }

    /// Does an operation on pages.
    pub(crate) fn op(&self, op: VmarOp, page: u64, page_count: u64) -> Result<()> {
        self.vmar.op_range(op, self.page(page), page_count * PAGE_SIZE)
    }

    /// Asserts which pages are mapped: `1` for one that can be read, `0` for one whose load takes an abort. Blanks are
    /// for the reader.
    #[track_caller]
    pub(crate) fn shows(&self, pages: &str) {
        for (page, expected) in pages.chars().filter(|c| !c.is_whitespace()).enumerate() {
            let address = self.page(page as u64);
            match expected {
                '1' => drop(load(address)),
                _ => load_aborts(address),
            }
        }
    }

    /// Asserts which pages have an entry in the stage-2 tables: `1` for one that has.
    #[track_caller]
    pub(crate) fn has_entries(&self, pages: &str) {
        for (page, expected) in pages.chars().filter(|c| !c.is_whitespace()).enumerate() {
            let address = self.page(page as u64);
            let is_valid = descriptor(address).is_valid();
            assert!(is_valid == (expected == '1'), "expected {pages}, and page {page} has is_valid = {is_valid}");
        }
    }

    /// Asserts that a page shows the given page of a marked VMO.
    #[track_caller]
    pub(crate) fn shows_mark(&self, page: u64, vmo_page: u64) {
        reads(self.page(page), mark(vmo_page));
    }

    /// Asserts that the VMAR is dead: what gets past the checks of its arguments finds that out.
    #[track_caller]
    pub(crate) fn is_dead(&self) {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        self.map_vmo(RW, 0, 1, &vmo, 0).fails_with(Status::BAD_STATE);
    }

    /// Asserts that the VMAR is alive: a page of it that is free can be mapped, and is unmapped again.
    #[track_caller]
    pub(crate) fn is_alive(&self, free_page: u64) {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        self.map_vmo(RW, free_page, 1, &vmo, 0).succeeds();
        self.unmap(free_page, 1).succeeds();
    }
}

/// Returns what the given page of a marked VMO begins with.
pub(crate) const fn mark(page: u64) -> u64 {
    0x5747_c0de_0000_0000 | page
}

/// Returns a VMO, all of its pages committed and marked.
pub(crate) fn marked_vmo(page_count: u64) -> Vmo {
    let vmo = Vmo::create(page_count * PAGE_SIZE).succeeds();
    (0..page_count).for_each(|page| write_mark(&vmo, page));
    vmo
}

/// Returns a VMO whose frames are adjacent, the first of them aligned as a block of level 2 wants it.
pub(crate) fn contiguous_vmo(len_bytes: u64) -> Vmo {
    let alignment = Alignment::from_log2(21).expect("2 MiB is an alignment");
    Vmo::create_contiguous(len_bytes, alignment).succeeds()
}

/// Returns an arena that shows a VMO of as many times 2 MiB, every page of it marked, all of it in the tables, in blocks.
pub(crate) fn blocks(count: u64) -> (Arena, Vmo) {
    let page_count = count * BLOCK;
    let (arena, vmo) = (Arena::new(page_count), contiguous_vmo(page_count * PAGE_SIZE));
    let vmo = vmo.replace_as_executable().succeeds();
    (0..page_count).for_each(|page| write_mark(&vmo, page));
    arena.map_vmo(RW, 0, page_count, &vmo, 0).succeeds();
    arena.op(VmarOp::MapRange, 0, page_count).succeeds();
    (arena, vmo)
}

/// Returns an arena that is one mapping of a whole VMO, which has no pages yet.
pub(crate) fn uncommitted(page_count: u64) -> (Arena, Vmo) {
    let (arena, vmo) = (Arena::new(page_count), Vmo::create(page_count * PAGE_SIZE).succeeds());
    arena.map_vmo(RW, 0, page_count, &vmo, 0).succeeds();
    (arena, vmo)
}

/// Returns a VMO of which nothing is committed.
pub(crate) fn empty_vmo(page_count: u64) -> Vmo {
    Vmo::create(page_count * PAGE_SIZE).succeeds()
}

/// Returns a VMO that can be resized, all of its pages committed and marked.
pub(crate) fn resizable_vmo(page_count: u64) -> Vmo {
    let vmo = Vmo::create_with_options(VmoOptions::RESIZABLE, page_count * PAGE_SIZE).succeeds();
    (0..page_count).for_each(|page| write_mark(&vmo, page));
    vmo
}

/// Marks a page of a VMO.
pub(crate) fn write_mark(vmo: &Vmo, page: u64) {
    write_word(vmo, page, mark(page));
}

/// Makes a child of some pages of a VMO.
pub(crate) fn child_of(vmo: &Vmo, options: ChildOptions, page: u64, page_count: u64) -> Result<Vmo> {
    vmo.create_child(options, page * PAGE_SIZE, page_count * PAGE_SIZE)
}

/// Makes a snapshot of some pages of a VMO.
pub(crate) fn snapshot(vmo: &Vmo, page: u64, page_count: u64) -> Vmo {
    child_of(vmo, ChildOptions::SNAPSHOT, page, page_count).succeeds()
}

/// Makes a slice of some pages of a VMO.
pub(crate) fn slice(vmo: &Vmo, page: u64, page_count: u64) -> Vmo {
    child_of(vmo, ChildOptions::SLICE, page, page_count).succeeds()
}

/// Asserts what the pages of a VMO begin with, from its first page on.
#[track_caller]
pub(crate) fn holds(vmo: &Vmo, words: &[u64]) {
    for (page, expected) in words.iter().enumerate() {
        let word = read_word(vmo, page as u64);
        assert!(word == *expected, "expected {expected:#x} in page {page}, got {word:#x}");
    }
}

/// Returns how much of a VMO has memory, shared memory by its share, in bytes.
pub(crate) fn populated_bytes(vmo: &Vmo) -> u64 {
    vmo.info().succeeds().populated_bytes
}

/// Has a page of a VMO begin with a value.
pub(crate) fn write_word(vmo: &Vmo, page: u64, value: u64) {
    vmo.write(&value.to_le_bytes(), page * PAGE_SIZE).succeeds();
}

/// Returns what a page of a VMO begins with.
pub(crate) fn read_word(vmo: &Vmo, page: u64) -> u64 {
    let mut bytes = [0; 8];
    vmo.read(&mut bytes, page * PAGE_SIZE).succeeds();
    u64::from_le_bytes(bytes)
}

/// Returns an executable VMO of which each page is a function that returns.
pub(crate) fn executable_vmo(page_count: u64) -> Vmo {
    let vmo = Vmo::create(page_count * PAGE_SIZE).succeeds();
    for page in 0..page_count {
        vmo.write(&probe::RET.to_le_bytes(), page * PAGE_SIZE).succeeds();
    }
    vmo.replace_as_executable().succeeds()
}

/// Returns how many pages of a VMO are committed.
pub(crate) fn committed_pages(vmo: &Vmo) -> u64 {
    vmo.info().succeeds().committed_bytes / PAGE_SIZE
}

/// Returns the stage-2 descriptor of an address.
pub(crate) fn descriptor(address: u64) -> Descriptor {
    walk(address).descriptor
}

/// Returns the number of the physical page that an address leads to.
pub(crate) fn physical_page(address: u64) -> u64 {
    walk(address).page_of(address)
}

/// Walks the stage-2 tables to an address.
pub(crate) fn walk(address: u64) -> Walk {
    inspect::walk(&Vmar::root().succeeds(), address).succeeds()
}

/// Returns a handle to a VMO that lacks some rights of a new one's.
pub(crate) fn vmo_without(vmo: &Vmo, rights: Rights) -> Vmo {
    vmo.duplicate(Rights::DEFAULT_VMO - rights).succeeds()
}
