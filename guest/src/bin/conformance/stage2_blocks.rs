//! Leaves of every size: where they arise, what a change to a part of one does to the rest of it, and that they come back.

use crate::arena::{Arena, BLOCK, GROUP, R, RW, blocks, contiguous_vmo, descriptor, mark, walk, write_mark};
use crate::case::cases;
use crate::check::{Check, load_aborts, reads, store, store_aborts};
use abi::stats::Counter;
use core::ops::Range;
use guest::image;
use guest::stage1::{self, Descriptor, WINDOW};
use zx::inspect::{self, Stats};
use zx::{Alignment, PAGE_SIZE, Vm, Vmar, VmarOp, Vmo};

cases! {
    #[kernel("inspect=on")]
    fn S2_10_contiguous_memory_is_mapped_by_blocks() {
        let before = stats();
        let (arena, _) = blocks(2);
        arena.are_blocks(&[0, 1]);
        assert!(stats()[Counter::Tables] - before[Counter::Tables] <= 1, "one table holds both blocks");
        serves_nothing(|| arena.shows_marks(0..2 * BLOCK));
        arena.unmap(0, 2 * BLOCK).succeeds();
        assert_eq!(stats()[Counter::Tables], before[Counter::Tables]);
    }

    #[kernel("inspect=on")]
    fn S2_10_first_touch_of_contiguous_memory_makes_a_block() {
        let arena = Arena::new(2 * BLOCK);
        let vmo = contiguous_vmo(2 * BLOCK * PAGE_SIZE);
        arena.map_vmo(RW, 0, 2 * BLOCK, &vmo, 0).succeeds();
        store(arena.page(BLOCK + 3), 1);
        arena.are_blocks(&[1]);
        assert!(!descriptor(arena.page(0)).is_valid());
        reads(arena.page(0), 0);
        arena.are_blocks(&[0, 1]);
    }

    #[kernel("inspect=on")]
    fn S2_10_commit_of_two_mib_makes_a_block() {
        let arena = Arena::new(BLOCK);
        let vmo = Vmo::create(BLOCK * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, BLOCK, &vmo, 0).succeeds();
        arena.op(VmarOp::Commit, 0, BLOCK).succeeds();
        arena.are_blocks(&[0]);
        serves_nothing(|| (0..BLOCK).for_each(|page| store(arena.page(page), page)));
        arena.op(VmarOp::Decommit, 77, 1).succeeds();
        assert_eq!(walk(arena.page(76)).level, 3);
        serves_nothing(|| (0..BLOCK).filter(|page| *page != 77).for_each(|page| reads(arena.page(page), page)));
        reads(arena.page(77), 0);
    }

    #[kernel("inspect=on")]
    fn S2_11_unmapped_page_splits_its_block_alone() {
        unmapped_page_splits_its_block_alone();
    }

    #[kernel("inspect=on bbm=0")]
    fn S2_11_unmapped_page_splits_its_block_alone_where_entries_are_broken_first() {
        unmapped_page_splits_its_block_alone();
    }

    #[kernel("inspect=on bbm=1")]
    fn S2_11_unmapped_page_splits_its_block_alone_where_blocks_are_made_uncacheable_first() {
        unmapped_page_splits_its_block_alone();
    }

    #[kernel("inspect=on")]
    fn S2_12_protected_page_splits_its_block_until_it_is_like_the_others() {
        protected_page_splits_its_block_until_it_is_like_the_others();
    }

    #[kernel("inspect=on bbm=0")]
    fn S2_12_protected_page_splits_its_block_where_entries_are_broken_first() {
        protected_page_splits_its_block_until_it_is_like_the_others();
    }

    #[kernel("inspect=on bbm=1")]
    fn S2_12_protected_page_splits_its_block_where_blocks_are_made_uncacheable_first() {
        protected_page_splits_its_block_until_it_is_like_the_others();
    }

    #[kernel("inspect=on")]
    fn S2_13_protected_block_stays_a_block() {
        let (arena, _) = blocks(2);
        arena.vmar.protect(R, arena.page(0), BLOCK * PAGE_SIZE).succeeds();
        arena.are_blocks(&[0, 1]);
        store_aborts(arena.page(17));
        serves_nothing(|| {
            store(arena.page(BLOCK) + 8, 1);
            arena.shows_marks(0..2 * BLOCK);
        });
        arena.vmar.protect(RW, arena.page(0), BLOCK * PAGE_SIZE).succeeds();
        store(arena.page(17) + 8, 1);
        arena.are_blocks(&[0, 1]);
    }

    #[kernel("inspect=on")]
    fn S2_14_group_of_16_pages_has_its_hint_while_they_are_alike() {
        group_of_16_pages_has_its_hint_while_they_are_alike();
    }

    #[kernel("inspect=on bbm=0")]
    fn S2_14_group_of_16_pages_has_its_hint_where_entries_are_broken_first() {
        group_of_16_pages_has_its_hint_while_they_are_alike();
    }

    #[kernel("inspect=on memory=4G")]
    fn S2_15_page_of_a_block_of_a_gib() {
        let arena = Arena::new(GIB_PAGES);
        let alignment = Alignment::from_log2(30).expect("1 GiB is an alignment");
        let vmo = Vmo::create_contiguous(GIB_PAGES * PAGE_SIZE, alignment).succeeds();
        let sample = [0, GROUP, 5 * BLOCK - 1, 5 * BLOCK, HOLE - 1, HOLE + 1, 6 * BLOCK, GIB_PAGES - 1];
        sample.iter().for_each(|page| write_mark(&vmo, *page));
        arena.map_vmo(RW, 0, GIB_PAGES, &vmo, 0).succeeds();
        arena.op(VmarOp::MapRange, 0, GIB_PAGES).succeeds();
        assert_eq!(sample.map(|page| walk(arena.page(page)).level), [1; 8]);
        let tables = stats()[Counter::Tables];
        arena.unmap(HOLE, 1).succeeds();
        assert_eq!(sample.map(|page| walk(arena.page(page)).level), [2, 2, 2, 3, 3, 3, 2, 2]);
        assert_eq!(stats()[Counter::Tables] - tables, 2);
        serves_nothing(|| sample.iter().for_each(|page| arena.shows_mark(*page, *page)));
        load_aborts(arena.page(HOLE));
        arena.map_vmo(RW, HOLE, 1, &vmo, HOLE).succeeds();
        arena.op(VmarOp::MapRange, HOLE, 1).succeeds();
        assert_eq!(sample.map(|page| walk(arena.page(page)).level), [1; 8]);
        assert_eq!(stats()[Counter::Tables], tables);
    }

    #[kernel]
    fn S2_30_stage_1_table_that_was_unmapped_comes_back() {
        let arena = Arena::new(BLOCK + 1);
        let (data, table) = (contiguous_vmo(PAGE_SIZE), Vmo::create(PAGE_SIZE).succeeds());
        write_mark(&data, 0);
        arena.map_vmo(RW, 0, 1, &data, 0).succeeds();
        arena.map_vmo(RW, BLOCK, 1, &table, 0).succeeds();
        table_goes_and_comes_back(&arena, &table, BLOCK, 0, 1);
    }

    #[kernel("inspect=on")]
    fn S2_30_stage_1_table_in_a_block_goes_alone_and_comes_back() {
        let (arena, vmo) = blocks(2);
        table_goes_and_comes_back(&arena, &vmo, IN_BLOCK_1, IN_BLOCK_1, 1);
        arena.are_blocks(&[0, 1]);
    }

    #[kernel("inspect=on bbm=0")]
    fn S2_30_stage_1_table_in_a_block_goes_alone_and_comes_back_where_entries_are_broken_first() {
        let (arena, vmo) = blocks(2);
        table_goes_and_comes_back(&arena, &vmo, IN_BLOCK_1, IN_BLOCK_1, 1);
        arena.are_blocks(&[0, 1]);
    }

    #[kernel("inspect=on")]
    fn S2_30_stage_1_table_goes_with_its_block_and_comes_back() {
        let (arena, vmo) = blocks(2);
        table_goes_and_comes_back(&arena, &vmo, BLOCK, BLOCK, BLOCK);
        arena.are_blocks(&[0, 1]);
    }
}

/// The pages of a block of level 1.
const GIB_PAGES: u64 = BLOCK * BLOCK;
/// A page in the sixth block of a GiB.
const HOLE: u64 = 5 * BLOCK + 200;
/// A page in the second block of an arena.
const IN_BLOCK_1: u64 = BLOCK + 200;

fn unmapped_page_splits_its_block_alone() {
    let (arena, vmo) = blocks(2);
    let tables = stats()[Counter::Tables];
    arena.unmap(IN_BLOCK_1, 1).succeeds();
    arena.are_blocks(&[0]);
    assert_eq!(stats()[Counter::Tables], tables + 1);
    arena.is_split_around(IN_BLOCK_1);
    serves_nothing(|| {
        arena.shows_marks(0..IN_BLOCK_1);
        arena.shows_marks(IN_BLOCK_1 + 1..2 * BLOCK);
        (0..2 * BLOCK).filter(|page| *page != IN_BLOCK_1).for_each(|page| store(arena.page(page) + 8, page));
    });
    load_aborts(arena.page(IN_BLOCK_1));
    arena.map_vmo(RW, IN_BLOCK_1, 1, &vmo, IN_BLOCK_1).succeeds();
    arena.op(VmarOp::MapRange, IN_BLOCK_1, 1).succeeds();
    arena.are_blocks(&[0, 1]);
    assert_eq!(stats()[Counter::Tables], tables);
    serves_nothing(|| arena.shows_marks(0..2 * BLOCK));
}

fn protected_page_splits_its_block_until_it_is_like_the_others() {
    let (arena, _) = blocks(2);
    let page = arena.page(IN_BLOCK_1);
    for _ in 0..3 {
        arena.vmar.protect(R, page, PAGE_SIZE).succeeds();
        arena.are_blocks(&[0]);
        arena.is_split_around(IN_BLOCK_1);
        store_aborts(page);
        serves_nothing(|| {
            arena.shows_marks(0..2 * BLOCK);
            (0..2 * BLOCK).filter(|page| *page != IN_BLOCK_1).for_each(|page| store(arena.page(page) + 8, page));
        });
        arena.vmar.protect(RW, page, PAGE_SIZE).succeeds();
        arena.are_blocks(&[0, 1]);
        store(page + 8, 1);
    }
}

fn group_of_16_pages_has_its_hint_while_they_are_alike() {
    let arena = Arena::new(4 * GROUP);
    let vmo = contiguous_vmo(4 * GROUP * PAGE_SIZE);
    (0..4 * GROUP).for_each(|page| write_mark(&vmo, page));
    // The first group shows memory that is not aligned as it is, and the last page of the last group is left out.
    arena.map_vmo(RW, 0, GROUP, &vmo, 1).succeeds();
    arena.map_vmo(RW, GROUP, 3 * GROUP - 1, &vmo, GROUP).succeeds();
    arena.op(VmarOp::MapRange, 0, 4 * GROUP - 1).succeeds();
    arena.has_hints("0110");
    let page = GROUP + 3;
    arena.vmar.protect(R, arena.page(page), PAGE_SIZE).succeeds();
    arena.has_hints("0010");
    store_aborts(arena.page(page));
    serves_nothing(|| {
        arena.shows_marks(GROUP..4 * GROUP - 1);
        (GROUP..2 * GROUP).filter(|other| *other != page).for_each(|page| store(arena.page(page) + 8, page));
    });
    arena.vmar.protect(RW, arena.page(page), PAGE_SIZE).succeeds();
    arena.has_hints("0110");
    arena.unmap(page, 1).succeeds();
    arena.has_hints("0010");
    serves_nothing(|| arena.shows_marks(page + 1..2 * GROUP));
    arena.map_vmo(RW, page, 1, &vmo, page).succeeds();
    arena.op(VmarOp::MapRange, page, 1).succeeds();
    arena.has_hints("0110");
}

/// Puts the window's table into a page of the arena, which shows a page of `vmo` and lies in the `count` pages that start at a
/// multiple of that; takes these pages away, and puts them back.
fn table_goes_and_comes_back(arena: &Arena, vmo: &Vmo, page: u64, vmo_page: u64, count: u64) {
    vmo.write(&Descriptor::block(arena.page(0)).0.to_le_bytes(), vmo_page * PAGE_SIZE).succeeds();
    stage1::install_window(arena.page(page));
    for _ in 0..3 {
        reads(WINDOW, mark(0));
        arena.unmap(page, count).succeeds();
        load_aborts(WINDOW);
        store_aborts(WINDOW + PAGE_SIZE);
        arena.shows_mark(0, 0);
        arena.map_vmo(RW, page, count, vmo, vmo_page).succeeds();
        arena.op(VmarOp::MapRange, page, count).succeeds();
    }
    reads(WINDOW, mark(0));
}

impl Arena {
    /// Asserts that 2 MiB of the arena are a leaf of level 2 each.
    #[track_caller]
    fn are_blocks(&self, numbers: &[u64]) {
        for page in numbers.iter().map(|number| number * BLOCK) {
            let found = walk(self.page(page));
            assert!(found.descriptor.is_valid() && found.level == 2, "page {page}: {found:x?}");
        }
    }

    /// Asserts that the block around a page is a table, and that every group in it has its hint but that of the page.
    #[track_caller]
    fn is_split_around(&self, page: u64) {
        let first = page / BLOCK * BLOCK;
        for other in (first..first + BLOCK).filter(|other| *other != page) {
            let found = walk(self.page(other));
            let is_hinted = other / GROUP != page / GROUP;
            assert!(
                found.descriptor.is_writable() && found.level == 3 && found.descriptor.is_contiguous() == is_hinted,
                "page {other}: {found:x?}"
            );
        }
    }

    /// Asserts which groups of 16 pages have the hint: `1` for one all of whose entries have it, `0` for one without any.
    #[track_caller]
    fn has_hints(&self, groups: &str) {
        for (group, expected) in groups.chars().enumerate() {
            for page in GROUP * group as u64..GROUP * (group as u64 + 1) {
                let entry = descriptor(self.page(page));
                assert!(
                    entry.is_contiguous() == (expected == '1'),
                    "expected {groups}, and page {page} has {entry:x?}"
                );
            }
        }
    }

    /// Asserts that pages show those of the same number of a marked VMO.
    #[track_caller]
    fn shows_marks(&self, pages: Range<u64>) {
        pages.for_each(|page| self.shows_mark(page, page));
    }
}

/// Asserts that nothing of what is done has to be served: it is all in the tables. The program's own pages are entered before.
#[track_caller]
fn serves_nothing(accesses: impl FnOnce()) {
    let image = image::range();
    Vmar::root().succeeds().op_range(VmarOp::Commit, image.start, image.end - image.start).succeeds();
    let before = stats();
    accesses();
    let served = stats().since(&before)[Counter::FaultsServed];
    assert!(served == 0, "{served} accesses had to be served");
}

fn stats() -> Stats {
    inspect::stats(&Vm::current().succeeds()).succeeds()
}
