//! `vmar_op_range`: what each operation does to the VMO behind a mapping, and to the tables.

use crate::arena::{Arena, R, RW, committed_pages, descriptor, mark, marked_vmo, read_word, uncommitted};
use crate::case::cases;
use crate::check::{Check, load_aborts, reads, store, store_aborts};
use zx::{Alignment, PAGE_SIZE, Status, VmOptions, VmarOp, Vmo, VmoOp, VmoOptions};

cases! {
    #[kernel]
    fn E01_commit_gives_pages_that_read_zero() {
        let (arena, vmo) = uncommitted(4);
        arena.op(VmarOp::Commit, 0, 4).succeeds();
        assert_eq!(committed_pages(&vmo), 4);
        (0..4).for_each(|page| reads(arena.page(page), 0));
    }

    #[kernel]
    fn E01_commit_keeps_what_is_committed() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        arena.op(VmarOp::Commit, 0, 2).succeeds();
        (0..2).for_each(|page| arena.shows_mark(page, page));
    }

    #[kernel("inspect=on")]
    fn E01_commit_enters_pages_as_the_mapping_allows() {
        let arena = Arena::new(4);
        let vmo = Vmo::create(4 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.map_vmo(R, 2, 2, &vmo, 2).succeeds();
        arena.op(VmarOp::Commit, 0, 4).succeeds();
        arena.has_entries("1111");
        assert!(descriptor(arena.page(0)).is_readable() && !descriptor(arena.page(0)).is_executable());
        assert!(descriptor(arena.page(3)).is_readable() && !descriptor(arena.page(3)).is_writable());
        store(arena.page(1), 1);
        store_aborts(arena.page(3));
    }

    #[kernel]
    fn E01_commit_past_the_end_of_the_vmo() {
        let arena = Arena::new(3);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 3, &vmo, 0).succeeds();
        arena.op(VmarOp::Commit, 0, 3).fails_with(Status::OUT_OF_RANGE);
        arena.op(VmarOp::Commit, 1, 1).fails_with(Status::OUT_OF_RANGE);
        arena.op(VmarOp::Commit, 0, 1).succeeds();
    }

    #[kernel]
    fn E01_commit_of_a_vmo_that_shrank_keeps_the_mapping_before_it() {
        let arena = Arena::new(4);
        let whole = Vmo::create(2 * PAGE_SIZE).succeeds();
        let shrunken = Vmo::create_with_options(VmoOptions::RESIZABLE, 2 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 2, &whole, 0).succeeds();
        arena.map_vmo(RW, 2, 2, &shrunken, 0).succeeds();
        shrunken.set_size_bytes(PAGE_SIZE).succeeds();
        arena.op(VmarOp::Commit, 0, 4).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(committed_pages(&whole), 2);
    }

    #[kernel]
    fn E01_commit_of_a_contiguous_vmo() {
        let (arena, _) = contiguous(2);
        arena.op(VmarOp::Commit, 0, 2).succeeds();
        arena.shows("11");
    }

    #[kernel]
    fn E02_decommit_of_a_contiguous_vmo() {
        let (arena, vmo) = contiguous(2);
        store(arena.page(0), 1);
        arena.op(VmarOp::Decommit, 0, 1).fails_with(Status::NOT_SUPPORTED);
        reads(arena.page(0), 1);
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn E02_decommit_past_the_end_of_the_vmo() {
        let arena = Arena::new(2);
        let vmo = marked_vmo(1);
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.op(VmarOp::Decommit, 0, 2).fails_with(Status::OUT_OF_RANGE);
        arena.op(VmarOp::Decommit, 1, 1).fails_with(Status::OUT_OF_RANGE);
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn E02_decommit_of_what_was_never_committed() {
        let (arena, vmo) = uncommitted(2);
        arena.op(VmarOp::Decommit, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
        arena.shows("11");
    }

    #[kernel("inspect=on")]
    fn E02_decommit_takes_the_page_from_every_mapping() {
        let arena = Arena::new(8);
        let vmo = arena.map(0, 2);
        arena.map_vmo(R, 4, 2, &vmo, 0).succeeds();
        arena.shows("1100 1100");
        arena.op(VmarOp::Decommit, 0, 1).succeeds();
        arena.has_entries("0100 0100");
        reads(arena.page(4), 0);
        arena.shows_mark(5, 1);
    }

    #[kernel]
    fn E02_decommitted_page_can_be_written_again() {
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        arena.op(VmarOp::Decommit, 0, 1).succeeds();
        store(arena.page(0), 7);
        assert_eq!((read_word(&vmo, 0), committed_pages(&vmo)), (7, 1));
    }

    #[kernel("inspect=on")]
    fn E03_map_range_commits_nothing() {
        let (arena, vmo) = uncommitted(4);
        arena.op(VmarOp::MapRange, 0, 4).succeeds();
        arena.has_entries("0000");
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn E03_map_range_wholly_past_the_end_of_the_vmo() {
        let arena = Arena::new(3);
        arena.map_vmo(RW, 0, 3, &marked_vmo(1), 0).succeeds();
        arena.op(VmarOp::MapRange, 0, 3).succeeds();
        arena.op(VmarOp::MapRange, 2, 1).succeeds();
        arena.shows("100");
    }

    #[kernel("inspect=on")]
    fn E03_map_range_enters_no_more_than_the_protection() {
        let arena = Arena::new(3);
        let vmo = marked_vmo(3);
        arena.map_vmo(RW, 0, 3, &vmo, 0).succeeds();
        arena.vmar.protect(R, arena.page(0), PAGE_SIZE).succeeds();
        arena.vmar.protect(VmOptions::empty(), arena.page(1), PAGE_SIZE).succeeds();
        arena.op(VmarOp::MapRange, 0, 3).succeeds();
        arena.has_entries("101");
        assert!(!descriptor(arena.page(0)).is_writable());
        store_aborts(arena.page(0));
        load_aborts(arena.page(1));
        store(arena.page(2), 1);
    }

    #[kernel]
    fn E04_hints_do_nothing_to_memory() {
        let arena = Arena::new(3);
        let vmo = marked_vmo(2);
        arena.map_vmo(RW, 0, 3, &vmo, 0).succeeds();
        for op in [VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            arena.op(op, 0, 3).succeeds();
        }
        (0..2).for_each(|page| arena.shows_mark(page, page));
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn E04_hint_across_a_gap() {
        let arena = Arena::new(3);
        arena.map(0, 1);
        arena.map(2, 1);
        for op in [VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            arena.op(op, 0, 3).fails_with(Status::BAD_STATE);
        }
    }

    #[kernel]
    fn E05_prefetch_allocates_nothing() {
        let (arena, vmo) = uncommitted(2);
        arena.op(VmarOp::Prefetch, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn E05_prefetch_past_the_end_of_the_vmo() {
        let arena = Arena::new(2);
        arena.map_vmo(RW, 0, 2, &marked_vmo(1), 0).succeeds();
        arena.op(VmarOp::Prefetch, 0, 2).fails_with(Status::OUT_OF_RANGE);
        arena.op(VmarOp::Prefetch, 0, 1).succeeds();
    }

    #[kernel]
    fn C155_prefetch_of_nothing_or_of_a_misaligned_address() {
        let (arena, _) = uncommitted(2);
        arena.op(VmarOp::Prefetch, 0, 0).fails_with(Status::INVALID_ARGS);
        arena.vmar.op_range(VmarOp::Prefetch, arena.page(0) + 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C156_prefetch_beyond_the_vmar() {
        let (arena, _) = uncommitted(2);
        arena.op(VmarOp::Prefetch, 0, 3).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn C157_prefetch_into_a_gap() {
        let arena = Arena::new(2);
        arena.map(0, 1);
        arena.op(VmarOp::Prefetch, 0, 2).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn C159_prefetch_of_a_mapping_without_access() {
        let (arena, _) = uncommitted(2);
        arena.vmar.protect(VmOptions::empty(), arena.page(0), 2 * PAGE_SIZE).succeeds();
        arena.op(VmarOp::Prefetch, 0, 2).succeeds();
        load_aborts(arena.page(0));
    }

    #[documented]
    fn E06_zero_makes_a_range_read_zero() {
        let arena = Arena::new(4);
        let vmo = arena.map(0, 4);
        arena.shows("1111");
        arena.op(VmarOp::Zero, 1, 2).succeeds();
        (1..3).for_each(|page| reads(arena.page(page), 0));
        arena.shows_mark(0, 0);
        arena.shows_mark(3, 3);
        assert_eq!((read_word(&vmo, 1), read_word(&vmo, 3)), (0, mark(3)));
    }

    #[documented]
    fn E06_zero_past_the_end_of_the_vmo() {
        let arena = Arena::new(2);
        arena.map_vmo(RW, 0, 2, &marked_vmo(1), 0).succeeds();
        arena.op(VmarOp::Zero, 0, 2).fails_with(Status::OUT_OF_RANGE);
    }

    #[documented]
    fn E06_zero_of_a_contiguous_vmo() {
        let (arena, vmo) = contiguous(2);
        store(arena.page(1), 1);
        vmo.op_range(VmoOp::Commit, 0, 2 * PAGE_SIZE).succeeds();
        arena.op(VmarOp::Zero, 0, 2).succeeds();
        reads(arena.page(1), 0);
    }
}

/// A mapping of a whole contiguous VMO.
fn contiguous(page_count: u64) -> (Arena, Vmo) {
    let vmo = Vmo::create_contiguous(page_count * PAGE_SIZE, Alignment::PAGE).succeeds();
    let arena = Arena::new(page_count);
    arena.map_vmo(RW, 0, page_count, &vmo, 0).succeeds();
    (arena, vmo)
}
