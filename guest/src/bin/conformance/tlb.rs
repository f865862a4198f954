//! Nothing that was taken away is remembered: each case makes the CPU cache a translation, changes what it came from,
//! and asserts that the next access sees the change. A forgotten invalidation, of stage 2 or of what stage 1 made of
//! it, is seen here.
//!
//! Between the last access before a change and the first one after it, a case does nothing that could flush a TLB by
//! itself: no TLBI of its own, and no change of ASID or of stage-1 tables.

use crate::aborts::LEVEL_2_TRANSLATION_FAULT;
use crate::arena::{ANY, Arena, R, RW, RWX, executable_vmo, mark, marked_vmo};
use crate::case::cases;
use crate::check::{Check, execute, execute_aborts, load, load_aborts, reads, store, store_aborts};
use guest::probe;
use guest::stage1::{self, Descriptor, WINDOW};
use zx::{PAGE_SIZE, VmOptions, VmarOp, Vmo, VmoOp, VmoOptions};

cases! {
    #[kernel]
    fn T01_unmapped_page_is_gone_at_once() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        store(arena.page(0), 1);
        reads(arena.page(0), 1);
        arena.unmap(0, 1).succeeds();
        load_aborts(arena.page(0));
        store_aborts(arena.page(0));
        arena.shows_mark(1, 1);
    }

    #[kernel]
    fn T01_unmapped_pages_behind_a_hole_are_gone_at_once() {
        let arena = Arena::new(3);
        arena.map(0, 3);
        (0..3).for_each(|page| store(arena.page(page), page));
        arena.unmap(0, 1).succeeds();
        arena.unmap(0, 3).succeeds();
        (0..3).for_each(|page| load_aborts(arena.page(page)));
    }

    #[kernel]
    fn T01_unmapped_code_is_gone_at_once() {
        let arena = Arena::new(1);
        arena.map_vmo(RWX, 0, 1, &executable_vmo(1), 0).succeeds();
        execute(arena.page(0));
        arena.unmap(0, 1).succeeds();
        execute_aborts(arena.page(0));
    }

    #[kernel]
    fn T01_every_page_of_a_large_unmap_is_gone_at_once() {
        let page_count = 1200;
        let arena = Arena::new(page_count);
        let vmo = Vmo::create(page_count * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, page_count, &vmo, 0).succeeds();
        (0..page_count).for_each(|page| store(arena.page(page), page));
        arena.unmap(1, page_count - 2).succeeds();
        (1..page_count - 1).for_each(|page| load_aborts(arena.page(page)));
        reads(arena.page(0), 0);
        reads(arena.page(page_count - 1), page_count - 1);
    }

    #[kernel]
    fn T02_stage1_tables_unmapped_under_the_guest() {
        let (arena, _) = window_onto_the_arena();
        reads(WINDOW, mark(0));
        arena.unmap(TABLE_PAGE, 1).succeeds();
        load_aborts(WINDOW);
        store_aborts(WINDOW + PAGE_SIZE);
        execute_aborts(WINDOW);
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn T02_stage1_tables_decommitted_under_the_guest() {
        let (arena, _) = window_onto_the_arena();
        reads(WINDOW, mark(0));
        arena.op(VmarOp::Decommit, TABLE_PAGE, 1).succeeds();
        let exception = probe::load(WINDOW).expect_err("the table is all zeros now");
        assert_eq!(exception.fault_status(), LEVEL_2_TRANSLATION_FAULT, "{exception}");
        assert_eq!(exception.far, WINDOW);
    }

    #[kernel]
    fn T02_stage1_tables_overwritten_under_the_guest() {
        let (arena, _) = window_onto_the_arena();
        reads(WINDOW, mark(0));
        let other = Vmo::create(PAGE_SIZE).succeeds();
        other.write(&Descriptor::block(arena.page(BLOCK_PAGES)).0.to_le_bytes(), 0).succeeds();
        let target = Vmo::create(PAGE_SIZE).succeeds();
        target.write(&mark(7).to_le_bytes(), 0).succeeds();
        arena.map_vmo(RW, BLOCK_PAGES, 1, &target, 0).succeeds();
        let overwrite = RW | VmOptions::SPECIFIC_OVERWRITE;
        arena.vmar.map(overwrite, TABLE_PAGE * PAGE_SIZE, &other, 0, PAGE_SIZE).succeeds();
        reads(WINDOW, mark(7));
    }

    #[kernel]
    fn T03_protect_to_read_only_is_effective_at_once() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        store(arena.page(0), 1);
        arena.vmar.protect(R, arena.page(0), PAGE_SIZE).succeeds();
        store_aborts(arena.page(0));
        reads(arena.page(0), 1);
    }

    #[kernel]
    fn T03_protect_to_no_access_is_effective_at_once() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        store(arena.page(0), 1);
        arena.vmar.protect(VmOptions::empty(), arena.page(0), PAGE_SIZE).succeeds();
        load_aborts(arena.page(0));
        store_aborts(arena.page(0));
    }

    #[kernel]
    fn T03_protect_against_execution_is_effective_at_once() {
        let arena = Arena::new(1);
        arena.map_vmo(RWX, 0, 1, &executable_vmo(1), 0).succeeds();
        execute(arena.page(0));
        arena.vmar.protect(RW, arena.page(0), PAGE_SIZE).succeeds();
        execute_aborts(arena.page(0));
        load(arena.page(0));
    }

    #[kernel]
    fn T03_protect_to_read_only_reaches_a_sub_region_at_once() {
        let arena = Arena::new(1);
        let child = arena.child(0, 1);
        child.map(0, 1);
        store(arena.page(0), 1);
        arena.vmar.protect(R, arena.page(0), PAGE_SIZE).succeeds();
        store_aborts(arena.page(0));
    }

    #[kernel]
    fn T04_decommitted_page_reads_zero_at_once() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        store(arena.page(0), 1);
        arena.op(VmarOp::Decommit, 0, 1).succeeds();
        reads(arena.page(0), 0);
    }

    #[kernel]
    fn T04_page_decommitted_in_the_vmo_reads_zero_at_once_in_every_mapping() {
        let arena = Arena::new(2);
        let vmo = arena.map(0, 1);
        arena.map_vmo(R, 1, 1, &vmo, 0).succeeds();
        arena.shows("11");
        vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
        reads(arena.page(0), 0);
        reads(arena.page(1), 0);
    }

    #[kernel]
    fn T05_overwriting_mapping_shows_at_once() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        reads(arena.page(0), mark(0));
        let other = marked_vmo(4);
        arena.vmar.map(RW | VmOptions::SPECIFIC_OVERWRITE, 0, &other, 3 * PAGE_SIZE, PAGE_SIZE).succeeds();
        reads(arena.page(0), mark(3));
        reads(arena.page(1), mark(1));
    }

    #[kernel]
    fn T06_tail_of_a_vmo_that_shrinks_is_gone_at_once() {
        let arena = Arena::new(2);
        let vmo = Vmo::create_with_options(VmoOptions::RESIZABLE, 2 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        store(arena.page(1), 1);
        vmo.set_size_bytes(PAGE_SIZE).succeeds();
        load_aborts(arena.page(1));
        vmo.set_size_bytes(2 * PAGE_SIZE).succeeds();
        reads(arena.page(1), 0);
    }

    #[kernel]
    fn T07_destroyed_region_is_gone_at_once() {
        let arena = Arena::new(2);
        let child = arena.child(0, 2);
        child.map(0, 2);
        store(child.page(1), 1);
        child.vmar.destroy().succeeds();
        load_aborts(arena.page(1));
        arena.vmar.allocate(ANY, 0, 2 * PAGE_SIZE).succeeds();
        load_aborts(arena.page(1));
    }

    #[kernel]
    fn T08_page_that_replaces_the_zero_frame_shows_in_every_mapping_at_once() {
        let arena = Arena::new(2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        arena.map_vmo(RW, 1, 1, &vmo, 0).succeeds();
        reads(arena.page(0), 0);
        reads(arena.page(1), 0);
        store(arena.page(1), 5);
        reads(arena.page(0), 5);
        store(arena.page(0), 6);
        reads(arena.page(1), 6);
    }

    #[kernel]
    fn T08_write_by_call_shows_where_the_zero_frame_was_at_once() {
        let arena = Arena::new(1);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        reads(arena.page(0), 0);
        vmo.write(&mark(3).to_le_bytes(), 0).succeeds();
        reads(arena.page(0), mark(3));
    }

    #[kernel]
    fn T09_unmapped_page_is_gone_under_another_va_at_once() {
        let (arena, _) = window_onto_the_arena();
        let page = 3;
        reads(WINDOW + page * PAGE_SIZE, mark(page));
        arena.unmap(page, 1).succeeds();
        load_aborts(WINDOW + page * PAGE_SIZE);
        reads(WINDOW, mark(0));
    }
}

/// The pages of the block that the window shows.
const BLOCK_PAGES: u64 = stage1::LEVEL_2_SPAN / PAGE_SIZE;

/// The page that holds the window's level 2 table, after the block that it shows and a spare one.
const TABLE_PAGE: u64 = 2 * BLOCK_PAGES;

/// Maps a VMO that begins with eight marked pages at the start of an arena, and lets the first two MiB of the window
/// show the arena, by a stage-1 table that lies in the arena too.
fn window_onto_the_arena() -> (Arena, Vmo) {
    let arena = Arena::new(TABLE_PAGE + 1);
    let vmo = marked_vmo(8);
    arena.map_vmo(RW, 0, 8, &vmo, 0).succeeds();
    let table = Vmo::create(PAGE_SIZE).succeeds();
    table.write(&Descriptor::block(arena.page(0)).0.to_le_bytes(), 0).succeeds();
    arena.map_vmo(RW, TABLE_PAGE, 1, &table, 0).succeeds();
    stage1::install_window(arena.page(TABLE_PAGE));
    (arena, vmo)
}
