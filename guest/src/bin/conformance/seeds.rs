//! Every status that the published pages of `vmar_unmap` and `vmar_op_range` list.

use crate::arena::{Arena, R, RW, committed_pages, marked_vmo, uncommitted, vmo_without};
use crate::case::cases;
use crate::check::{Check, reads};
use crate::unmap_order::dead_arena;
use abi::Call;
use zx::{
    Alignment, Object, PAGE_SIZE, RawHandle, Result, Rights, Status, Unowned, VmOptions, Vmar, VmarOp, Vmo, VmoOp, sys,
};

cases! {
    #[documented]
    fn S01_unmap_ok() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.unmap(1, 1).succeeds();
        arena.shows("1011");
    }

    #[documented]
    fn S02_unmap_destroys_all_regions_in_the_range() {
        let arena = Arena::new(8);
        let (left, right) = (arena.child(0, 4), arena.child(4, 4));
        arena.unmap(0, 8).succeeds();
        left.is_dead();
        right.is_dead();
    }

    #[documented]
    fn S03_unmap_bad_handle() {
        Unowned::<Vmar>::from_raw(RawHandle::INVALID).unmap(0, PAGE_SIZE).fails_with(Status::BAD_HANDLE);
    }

    #[documented]
    fn S04_unmap_wrong_type() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        Unowned::<Vmar>::of(&vmo).unmap(Arena::BASE, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
    }

    #[documented]
    fn S05_unmap_invalid_args_for_the_address() {
        let arena = mapped_arena();
        arena.vmar.unmap(arena.page(0) + 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.shows("1111");
    }

    #[documented]
    fn S06_unmap_invalid_args_for_a_len_of_zero() {
        let arena = mapped_arena();
        arena.unmap(0, 0).fails_with(Status::INVALID_ARGS);
        arena.shows("1111");
    }

    #[documented]
    fn S07_unmap_invalid_args_for_a_len_that_is_not_whole_pages() {
        let arena = mapped_arena();
        for len_bytes in [1, PAGE_SIZE - 1, PAGE_SIZE + 8, u64::MAX] {
            arena.vmar.unmap(arena.page(0), len_bytes).fails_with(Status::INVALID_ARGS);
        }
        arena.shows("1111");
    }

    #[documented]
    fn S08_unmap_invalid_args_for_part_of_a_region() {
        let arena = Arena::new(4);
        let child = arena.child(1, 2);
        child.map(0, 2);
        for (page, count) in [(0, 2), (1, 1), (2, 1), (2, 2)] {
            arena.unmap(page, count).fails_with(Status::INVALID_ARGS);
        }
        arena.shows("0110");
    }

    #[documented]
    fn S09_unmap_bad_state() {
        dead_arena().unmap(0, 1).fails_with(Status::BAD_STATE);
    }

    #[documented]
    fn S10_unmap_not_found() {
        let arena = Arena::new(4);
        arena.map(0, 2);
        arena.unmap(2, 2).fails_with(Status::NOT_FOUND);
        arena.shows("1100");
    }

    #[documented]
    fn S11_unmap_ends_before_the_end_and_splits_at_both() {
        let arena = mapped_arena();
        arena.unmap(1, 2).succeeds();
        arena.shows("1001");
        arena.shows_mark(0, 0);
        arena.shows_mark(3, 3);
        arena.map_vmo(RW, 1, 2, &marked_vmo(2), 0).succeeds();
        arena.unmap(0, 2).succeeds();
        arena.shows("0011");
        arena.shows_mark(2, 1);
    }

    #[documented]
    fn S12_unmap_destroys_as_destroy_does() {
        let arena = Arena::new(4);
        let child = arena.child(0, 4);
        let nested = child.child(1, 2);
        let vmo = nested.map(0, 2);
        arena.unmap(0, 4).succeeds();
        child.is_dead();
        nested.is_dead();
        child.vmar.destroy().fails_with(Status::BAD_STATE);
        assert_eq!(vmo.info().succeeds().num_mappings, 0);
        arena.child(0, 4).is_alive(0);
    }

    #[documented]
    fn S20_op_range_ok() {
        let arena = mapped_arena();
        for op in [VmarOp::Commit, VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            arena.op(op, 0, 4).succeeds();
            (0..4).for_each(|page| arena.shows_mark(page, page));
        }
        arena.op(VmarOp::Decommit, 0, 4).succeeds();
        (0..4).for_each(|page| reads(arena.page(page), 0));
    }

    #[documented]
    fn S21_op_range_takes_the_vmo_operations_number() {
        let arena = mapped_arena();
        raw_op(&arena, u32::from(VmoOp::Decommit), [0, 0]).succeeds();
        reads(arena.page(0), 0);
    }

    #[documented]
    fn S22_op_range_access_denied_for_the_handle() {
        let arena = mapped_arena();
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            arena.without(Rights::WRITE).op(op, 0, 1).fails_with(Status::ACCESS_DENIED);
        }
        arena.shows_mark(0, 0);
    }

    #[documented]
    fn S23_op_range_access_denied_for_the_vmo_handle() {
        let (arena, vmo) = (Arena::new(1), marked_vmo(1));
        arena.map_vmo(R, 0, 1, &vmo_without(&vmo, Rights::WRITE), 0).succeeds();
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            arena.op(op, 0, 1).fails_with(Status::ACCESS_DENIED);
        }
        arena.shows_mark(0, 0);
    }

    #[documented]
    fn S24_op_range_access_denied_for_the_vmar() {
        let arena = Arena::with_options(VmOptions::CAN_MAP_READ | VmOptions::CAN_MAP_SPECIFIC, 1);
        arena.map_vmo(R, 0, 1, &marked_vmo(1), 0).succeeds();
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            arena.op(op, 0, 1).fails_with(Status::ACCESS_DENIED);
        }
        arena.shows_mark(0, 0);
    }

    #[documented]
    fn S25_op_range_bad_handle() {
        let vmar = Unowned::<Vmar>::from_raw(RawHandle::INVALID);
        vmar.op_range(VmarOp::Decommit, Arena::BASE, PAGE_SIZE).fails_with(Status::BAD_HANDLE);
    }

    #[documented]
    fn S26_op_range_bad_state_for_a_dead_vmar() {
        dead_arena().op(VmarOp::Decommit, 0, 1).fails_with(Status::BAD_STATE);
    }

    #[documented]
    fn S27_op_range_bad_state_for_what_is_not_mapped() {
        let arena = Arena::new(3);
        arena.map(0, 1);
        arena.map(2, 1);
        arena.op(VmarOp::Decommit, 0, 3).fails_with(Status::BAD_STATE);
        arena.op(VmarOp::Decommit, 1, 1).fails_with(Status::BAD_STATE);
        arena.shows_mark(2, 0);
    }

    #[documented]
    fn S28_op_range_invalid_args_for_a_buffer() {
        let arena = mapped_arena();
        raw_op(&arena, u32::from(VmarOp::Decommit), [Arena::BASE, 0]).fails_with(Status::INVALID_ARGS);
        raw_op(&arena, u32::from(VmarOp::Decommit), [0, 1]).fails_with(Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
    }

    #[documented]
    fn S29_op_range_invalid_args_for_the_op() {
        let arena = mapped_arena();
        for op in [0, 4, 5, 6, 7, 8, 9, 11, 15, u32::MAX] {
            raw_op(&arena, op, [0, 0]).fails_with(Status::INVALID_ARGS);
        }
        arena.shows_mark(0, 0);
    }

    #[documented]
    fn S30_op_range_invalid_args_for_a_size_of_zero() {
        mapped_arena().op(VmarOp::Decommit, 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[documented]
    fn S31_op_range_invalid_args_for_the_address() {
        let arena = mapped_arena();
        arena.vmar.op_range(VmarOp::Decommit, arena.page(0) + 8, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
    }

    #[documented]
    fn S32_op_range_not_supported_by_the_vmo() {
        let arena = Arena::new(1);
        let vmo = Vmo::create_contiguous(PAGE_SIZE, Alignment::PAGE).succeeds();
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        arena.op(VmarOp::Decommit, 0, 1).fails_with(Status::NOT_SUPPORTED);
    }

    #[documented]
    fn S33_op_range_out_of_range() {
        let arena = mapped_arena();
        arena.op(VmarOp::Decommit, 3, 2).fails_with(Status::OUT_OF_RANGE);
        arena.vmar.op_range(VmarOp::Decommit, 0, PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        arena.shows_mark(3, 3);
    }

    #[documented("inspect=on")]
    fn S35_op_range_commit_gives_memory_and_decommit_takes_it() {
        let (arena, vmo) = uncommitted(4);
        arena.op(VmarOp::Commit, 1, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
        arena.has_entries("0110");
        (0..4).for_each(|page| reads(arena.page(page), 0));
        arena.op(VmarOp::Decommit, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[documented("inspect=on")]
    fn S36_op_range_map_range_enters_what_is_committed_and_skips_what_is_there() {
        let (arena, vmo) = uncommitted(4);
        vmo.op_range(VmoOp::Commit, 0, 2 * PAGE_SIZE).succeeds();
        arena.shows("1");
        arena.op(VmarOp::MapRange, 0, 4).succeeds();
        arena.has_entries("1100");
        arena.op(VmarOp::MapRange, 0, 4).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[documented]
    fn S37_op_range_asks_for_write_where_the_page_says_so_alone() {
        let arena = mapped_arena();
        for op in [VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            arena.without(Rights::ACCESS).op(op, 0, 4).succeeds();
        }
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            arena.without(Rights::READ | Rights::EXECUTE).op(op, 0, 1).succeeds();
        }
    }

    #[documented]
    fn S38_op_range_hints_on_what_is_not_mapped() {
        let arena = Arena::new(3);
        arena.map(0, 1);
        arena.map(2, 1);
        for op in [VmarOp::DontNeed, VmarOp::AlwaysNeed, VmarOp::MapRange, VmarOp::Commit] {
            arena.op(op, 0, 3).fails_with(Status::BAD_STATE);
        }
        arena.shows_mark(0, 0);
        arena.shows_mark(2, 0);
    }

    #[documented]
    fn S39_op_range_not_supported_by_one_vmo_of_two() {
        let arena = Arena::new(2);
        let first = arena.map(0, 1);
        let vmo = Vmo::create_contiguous(PAGE_SIZE, Alignment::PAGE).succeeds();
        arena.map_vmo(RW, 1, 1, &vmo, 0).succeeds();
        arena.op(VmarOp::Decommit, 0, 2).fails_with(Status::NOT_SUPPORTED);
        assert_eq!((committed_pages(&first), committed_pages(&vmo)), (0, 1));
    }

    #[documented]
    fn S34_op_range_wrong_type() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let vmar = Unowned::<Vmar>::of(&vmo);
        vmar.op_range(VmarOp::Decommit, Arena::BASE, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
    }
}

/// An arena of four pages, all mapped.
fn mapped_arena() -> Arena {
    let arena = Arena::new(4);
    arena.map(0, 4);
    arena
}

/// Does an operation by its number on the first page of an arena, with a buffer and its size.
fn raw_op(arena: &Arena, op: u32, [buffer, buffer_len_bytes]: [u64; 2]) -> Result<()> {
    let arguments = [arena.vmar.register(), op.into(), arena.page(0), PAGE_SIZE, buffer, buffer_len_bytes];
    sys::hypercall(Call::VmarOpRange, arguments).status().ok()
}
