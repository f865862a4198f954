//! The software's walk of the stage-2 tables and the CPU's own agree on every page of layouts that are made up at random:
//! where it leads, whether a load and a store may go there, and at which level it ends where they may not.

use crate::arena::{ANY, Arena, BLOCK, GROUP, R, RW, RWX, contiguous_vmo, descriptor};
use crate::case::cases;
use crate::check::Check;
use abi::{AccessKind, Call};
use guest::probe;
use guest::stage1::{self, WINDOW};
use zx::inspect::{self, Walk};

use zx::{Object, PAGE_SIZE, Result, Status, VmOptions, Vmar, VmarOp, Vmo, sys};

cases! {
    #[kernel("inspect=on")]
    fn S2_01_walk_agrees_with_the_cpu() {
        agrees_on_layouts(1, Arena::BASE);
    }

    #[kernel("inspect=on bbm=0")]
    fn S2_01_walk_agrees_with_the_cpu_where_entries_are_broken_first() {
        agrees_on_layouts(2, Arena::BASE);
    }

    #[kernel("inspect=on bbm=1")]
    fn S2_01_walk_agrees_with_the_cpu_where_blocks_are_made_uncacheable_first() {
        agrees_on_layouts(9, Arena::BASE);
    }

    #[kernel("inspect=on ipa=34")]
    fn S2_02_walk_agrees_with_the_cpu_at_the_end_of_34_bits() {
        agrees_on_layouts(4, end_of_the_space() - SPAN);
    }

    #[kernel("inspect=on ipa=39")]
    fn S2_02_walk_agrees_with_the_cpu_at_the_end_of_39_bits() {
        agrees_on_layouts(5, end_of_the_space() - SPAN);
    }

    #[kernel("inspect=on ipa=40 bbm=0")]
    fn S2_02_walk_agrees_with_the_cpu_at_the_end_of_40_bits() {
        agrees_on_layouts(6, end_of_the_space() - SPAN);
    }

    #[kernel("inspect=on ipa=44")]
    fn S2_02_walk_agrees_with_the_cpu_at_the_end_of_44_bits() {
        agrees_on_layouts(7, end_of_the_space() - SPAN);
    }

    #[kernel("inspect=on ipa=48")]
    fn S2_02_walk_agrees_with_the_cpu_at_the_end_of_48_bits() {
        agrees_on_layouts(8, end_of_the_space() - SPAN);
    }

    #[kernel("inspect=on")]
    fn S2_03_translation_is_refused_while_stage_1_is_on() {
        let root = Vmar::root().succeeds();
        inspect::translate(&root, Arena::BASE, AccessKind::Read).fails_with(Status::BAD_STATE);
    }

    #[kernel("inspect=on")]
    fn S2_03_translation_is_refused_as_a_walk_is_and_for_an_unknown_access() {
        let arena = Arena::new(1);
        let beyond = arena.page(1);
        stage1::translate(&arena.vmar, beyond, AccessKind::Read).map(drop).fails_with(Status::OUT_OF_RANGE);
        for access in [2, 1 << 32, u64::MAX] {
            let arguments = [arena.vmar.register(), arena.page(0), access];
            sys::hypercall(Call::Stage2Translate, arguments).status().ok().fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn S2_03_translation_is_refused_without_inspection() {
        let root = Vmar::root().succeeds();
        stage1::translate(&root, Arena::BASE, AccessKind::Read).map(drop).fails_with(Status::ACCESS_DENIED);
    }
}

/// The pages of the arena: eight times what a block of level 2 spans.
const PAGES: u64 = 8 * BLOCK;
/// The bytes of the arena.
const SPAN: u64 = PAGES * PAGE_SIZE;

/// How many layouts a case looks at, and how many changes make one of the last.
const LAYOUTS: u32 = 6;
const CHANGES: u32 = 24;

/// Returns the address past the last of the VM's space, which may be smaller than was asked for.
fn end_of_the_space() -> u64 {
    let space = Vmar::root().succeeds().info().succeeds();
    space.base + space.len
}

/// The fault status code of a translation fault at level 0; the level is added (DDI 0487, "PAR_EL1", FST).
const TRANSLATION_FAULT: u8 = 0b00_0100;

/// Makes layouts in an arena at `base`, and compares both walks on each.
fn agrees_on_layouts(seed: u64, base: u64) {
    let root = Vmar::root().succeeds();
    let (vmar, base) = root.allocate(ANY | VmOptions::SPECIFIC, base, SPAN).succeeds();
    let mut layout = Layout { arena: Arena { vmar, base }, random: Random::new(seed) };
    let mut seen = Seen::default();
    for _ in 0..LAYOUTS {
        (0..CHANGES).for_each(|_| layout.change());
        (0..PAGES).for_each(|page| seen.compare(&root, layout.arena.page(page)));
    }
    (0..PAGES).for_each(|page| layout.is_denied(page));
    assert!(seen.is_all(), "the layouts were not of all kinds: {seen:?}");
}

/// An arena that is changed at random.
struct Layout {
    arena: Arena,
    random: Random,
}

impl Layout {
    fn change(&mut self) {
        let (page, count) = self.place(&[1, GROUP, BLOCK], &[1, 3, GROUP, 3 * GROUP, BLOCK]);
        let (address, len_bytes) = (self.arena.page(page), count * PAGE_SIZE);
        let protection = self.protection();
        // A range may have holes, or show a VMO that cannot do it: then this comes to nothing, or stops there.
        let _ = match self.random.below(12) {
            0..5 => self.map(),
            5 => self.arena.unmap(page, count),
            6 | 7 => self.arena.vmar.protect(protection, address, len_bytes),
            8 => self.arena.op(VmarOp::Decommit, page, count),
            9 => self.arena.op(VmarOp::Commit, page, count),
            10 => self.arena.op(VmarOp::MapRange, page, count),
            _ => return self.touch(page, count),
        };
    }

    /// Maps a new VMO over whatever is there: its pages adjacent in memory or not, its place aligned as its memory is or not.
    fn map(&mut self) -> Result<()> {
        let (page, count, offset) = match self.random.below(2) {
            0 => {
                let (page, count) = self.place(&[1, GROUP, BLOCK], &[3, GROUP, BLOCK - 1, BLOCK + GROUP]);
                (page, count, self.random.pick(&[0, 1, GROUP]))
            }
            _ => {
                let (page, count) = self.place(&[BLOCK], &[BLOCK, 2 * BLOCK]);
                (page, count, 0)
            }
        };
        let len_bytes = (count + offset) * PAGE_SIZE;
        let vmo = match self.random.below(3) {
            0 => Vmo::create(len_bytes),
            _ => Ok(contiguous_vmo(len_bytes)),
        };
        let vmo = vmo.succeeds().replace_as_executable().succeeds();
        let options = self.protection() | VmOptions::SPECIFIC_OVERWRITE;
        self.arena.vmar.map(options, page * PAGE_SIZE, &vmo, offset * PAGE_SIZE, count * PAGE_SIZE).succeeds();
        let fill = self.random.pick(&[VmarOp::Commit, VmarOp::MapRange, VmarOp::MapRange, VmarOp::DontNeed]);
        self.arena.op(fill, page, count)
    }

    fn protection(&mut self) -> VmOptions {
        self.random.pick(&[R, RW, RW, RWX, VmOptions::empty()])
    }

    /// Touches a few of the pages, where stage 1 reaches them.
    fn touch(&mut self, page: u64, count: u64) {
        for _ in 0..GROUP {
            let address = self.arena.page(page + self.random.below(count));
            let is_store = self.random.below(2) == 0;
            if address < WINDOW {
                let _ = if is_store { probe::store(address, 1) } else { probe::load(address).map(drop) };
            }
        }
    }

    /// Asserts that a store to a page whose entry is read-only does not go through as things are: either the entry lets it through
    /// afterwards, or it takes an abort.
    fn is_denied(&self, page: u64) {
        let address = self.arena.page(page);
        let is_read_only = || {
            let entry = descriptor(address);
            entry.is_valid() && !entry.is_writable()
        };
        if address < WINDOW && is_read_only() {
            let is_done = probe::store(address, 1).is_ok();
            assert!(is_done != is_read_only(), "{address:#x} is read-only, and a store to it has succeeded: {is_done}");
        }
    }

    /// Returns as many pages of the arena as one of `counts`, at a multiple of one of `alignments`.
    fn place(&mut self, alignments: &[u64], counts: &[u64]) -> (u64, u64) {
        let (align, count) = (self.random.pick(alignments), self.random.pick(counts));
        (self.random.below((PAGES - count) / align + 1) * align, count)
    }
}

/// What the walks have met.
#[derive(Debug, Default)]
struct Seen {
    pages: u32,
    grouped: u32,
    blocks: u32,
    read_only: u32,
    /// By the level at which the walk ended.
    absent: [u32; 4],
}

impl Seen {
    /// Asserts that the CPU finds at an address what the tables say. It is not asked for an access that a valid entry denies,
    /// for that ends QEMU 10 with a failed assertion of its own, in `do_ats_write`; see [`Layout::is_denied`].
    fn compare(&mut self, root: &Vmar, address: u64) {
        let walk = inspect::walk(root, address).succeeds();
        self.note(walk);
        let entry = walk.descriptor;
        for (access, is_allowed) in [(AccessKind::Read, entry.is_readable()), (AccessKind::Write, entry.is_writable())]
        {
            let expected = match (entry.is_valid(), is_allowed) {
                (false, _) => Err(TRANSLATION_FAULT | walk.level as u8),
                (true, true) => Ok(walk.page_of(address)),
                (true, false) => continue,
            };
            let found = stage1::translate(root, address, access).succeeds();
            assert!(
                found.page() == expected,
                "{address:#x}, {access:?}: the CPU finds {found:x?}, the tables say {walk:x?}"
            );
        }
    }

    fn note(&mut self, Walk { descriptor, level, .. }: Walk) {
        let counter = match level {
            _ if !descriptor.is_valid() => &mut self.absent[level as usize],
            3 if descriptor.is_contiguous() => &mut self.grouped,
            3 => &mut self.pages,
            _ => &mut self.blocks,
        };
        *counter += 1;
        self.read_only += u32::from(descriptor.is_readable() && !descriptor.is_writable());
    }

    /// Tells whether there were entries of every size, and faults of every kind.
    fn is_all(&self) -> bool {
        let absent = [self.absent[2], self.absent[3]];
        let counts = [self.pages, self.grouped, self.blocks, self.read_only];
        counts.iter().chain(&absent).all(|count| *count > 0)
    }
}

/// Numbers that look like chance, and are the same for the same seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}
