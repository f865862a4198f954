//! `vmar_op_range`: the order of its checks, and what is done before one of them ends it. Most cases give a call two
//! faults, and assert which is told.

use crate::arena::{Arena, R, RW, committed_pages, mark, marked_vmo, read_word, uncommitted, vmo_without};
use crate::case::cases;
use crate::check::{Check, reads};
use crate::unmap_order::dead_arena;
use abi::Call;
use zx::{Alignment, Object, PAGE_SIZE, RawHandle, Rights, Status, Unowned, VmOptions, Vmar, VmarOp, Vmo, VmoOp, sys};

cases! {
    #[kernel]
    fn O01_bad_handle_beats_an_unknown_op() {
        let arguments = [RawHandle::INVALID.0.into(), UNKNOWN_OP, Arena::BASE, PAGE_SIZE];
        sys::hypercall(Call::VmarOpRange, arguments).ok().fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn O02_wrong_type_beats_an_unknown_op() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        raw_op(&Unowned::of(&vmo), UNKNOWN_OP, Arena::BASE, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn O03_unknown_ops() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        for op in [0, 4, 5, 6, 7, 8, 9, 10, 11, 15, 0xffff_ffff] {
            raw_op(&arena.vmar, op, arena.page(0), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn O03_unknown_op_beats_a_range_outside() {
        raw_op(&Arena::new(1).vmar, UNKNOWN_OP, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O03_unknown_op_beats_a_dead_vmar() {
        let dead = dead_arena();
        raw_op(&dead.vmar, UNKNOWN_OP, dead.page(0), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O05_buffer_beats_a_range_outside() {
        let arena = Arena::new(1);
        buffered_op(&arena.vmar, 0, [Arena::BASE, 0]).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O05_buffer_size_beats_a_range_outside() {
        let arena = Arena::new(1);
        buffered_op(&arena.vmar, 0, [0, 1]).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O05_buffer_beats_a_dead_vmar() {
        let dead = dead_arena();
        buffered_op(&dead.vmar, dead.page(0), [Arena::BASE, 8]).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O06_zero_len_beats_a_range_outside() {
        Arena::new(1).vmar.op_range(VmarOp::Decommit, 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O06_len_that_rounds_to_zero_beats_a_range_outside() {
        Arena::new(1).vmar.op_range(VmarOp::Decommit, 0, u64::MAX).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O06_misaligned_address_beats_a_range_outside() {
        Arena::new(1).vmar.op_range(VmarOp::Decommit, 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O06_len_is_rounded_up_to_whole_pages() {
        let (arena, vmo) = uncommitted(3);
        arena.vmar.op_range(VmarOp::Commit, arena.page(0), PAGE_SIZE + 1).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn O07_range_outside_beats_a_dead_vmar() {
        dead_arena().op(VmarOp::Decommit, 4, 1).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn O07_range_past_the_end_changes_nothing() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.op(VmarOp::Decommit, 0, 5).fails_with(Status::OUT_OF_RANGE);
        (0..4).for_each(|page| arena.shows_mark(page, page));
    }

    #[kernel]
    fn O07_range_that_wraps() {
        let arena = Arena::new(4);
        let len_bytes = u64::MAX - PAGE_SIZE + 1;
        arena.vmar.op_range(VmarOp::Decommit, arena.page(1), len_bytes).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn O08_dead_vmar() {
        dead_arena().op(VmarOp::Decommit, 0, 1).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn O10_empty_vmar() {
        Arena::new(4).op(VmarOp::MapRange, 0, 4).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn O10_gap_at_the_start_beats_what_follows() {
        let arena = Arena::new(4);
        arena.map(1, 3);
        arena.op(VmarOp::Decommit, 0, 4).fails_with(Status::BAD_STATE);
        (1..4).for_each(|page| arena.shows_mark(page, page - 1));
    }

    #[kernel]
    fn O10_gap_beats_the_sub_region_after_it() {
        let arena = Arena::new(4);
        arena.child(0, 4).map(1, 3);
        arena.op(VmarOp::Decommit, 0, 4).fails_with(Status::BAD_STATE);
        arena.op(VmarOp::Decommit, 1, 3).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn O10_gap_after_two_mappings_lets_both_be_done() {
        let arena = Arena::new(6);
        arena.map(0, 2);
        arena.map(2, 2);
        arena.map(5, 1);
        arena.op(VmarOp::Decommit, 0, 6).fails_with(Status::BAD_STATE);
        (0..4).for_each(|page| reads(arena.page(page), 0));
        arena.shows_mark(5, 0);
    }

    #[kernel]
    fn O10_sub_region_after_a_mapping_lets_that_be_done() {
        let arena = Arena::new(4);
        arena.map(0, 2);
        arena.child(2, 2).map(0, 2);
        arena.op(VmarOp::Decommit, 0, 4).fails_with(Status::INVALID_ARGS);
        (0..2).for_each(|page| reads(arena.page(page), 0));
        (2..4).for_each(|page| arena.shows_mark(page, page - 2));
    }

    #[kernel]
    fn O10_what_the_mapping_may_beats_what_its_vmo_can() {
        let arena = Arena::new(1);
        let vmo = Vmo::create_contiguous(PAGE_SIZE, Alignment::PAGE).succeeds();
        arena.map_vmo(R, 0, 1, &vmo_without(&vmo, Rights::WRITE), 0).succeeds();
        arena.op(VmarOp::Decommit, 0, 1).fails_with(Status::ACCESS_DENIED);
    }

    #[kernel]
    fn O10_capabilities_count_and_not_the_protection() {
        let arena = Arena::new(2);
        let vmo = arena.map(0, 2);
        arena.vmar.protect(VmOptions::empty(), arena.page(0), 2 * PAGE_SIZE).succeeds();
        arena.op(VmarOp::Decommit, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
        arena.op(VmarOp::Commit, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
        arena.op(VmarOp::Prefetch, 0, 2).succeeds();
        arena.shows("00");
    }

    #[kernel]
    fn O10_capabilities_are_those_of_the_handles_at_map() {
        let arena = Arena::new(1);
        let vmo = marked_vmo(1);
        arena.without(Rights::WRITE).map_vmo(R, 0, 1, &vmo, 0).succeeds();
        arena.op(VmarOp::Decommit, 0, 1).fails_with(Status::ACCESS_DENIED);
        assert_eq!(read_word(&vmo, 0), mark(0));
    }

    #[kernel]
    fn O10_error_of_one_vmo_ends_the_walk() {
        let arena = Arena::new(6);
        arena.map(0, 2);
        let contiguous = Vmo::create_contiguous(2 * PAGE_SIZE, Alignment::PAGE).succeeds();
        arena.map_vmo(RW, 2, 2, &contiguous, 0).succeeds();
        arena.map(4, 2);
        arena.op(VmarOp::Decommit, 0, 6).fails_with(Status::NOT_SUPPORTED);
        (0..2).for_each(|page| reads(arena.page(page), 0));
        (4..6).for_each(|page| arena.shows_mark(page, page - 4));
    }

    #[kernel]
    fn O11_gap_at_the_end_is_told_after_what_is_before_it_is_done() {
        let arena = Arena::new(4);
        let vmo = arena.map(0, 2);
        arena.op(VmarOp::Decommit, 0, 3).fails_with(Status::BAD_STATE);
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn O12_commit_through_a_handle_without_op_children() {
        let (arena, vmo) = uncommitted(2);
        arena.without(Rights::OP_CHILDREN).op(VmarOp::Commit, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn O12_range_inside_one_mapping() {
        let arena = Arena::new(4);
        let vmo = arena.map(0, 4);
        arena.op(VmarOp::Decommit, 1, 2).succeeds();
        arena.shows_mark(0, 0);
        arena.shows_mark(3, 3);
        assert_eq!(committed_pages(&vmo), 2);
        vmo.op_range(VmoOp::Commit, 0, 4 * PAGE_SIZE).succeeds();
        assert_eq!(read_word(&vmo, 1), 0);
    }
}

/// A number that no operation of VMARs has: VMOs have it, for LOCK's counterpart.
const UNKNOWN_OP: u64 = VmoOp::Unlock as u64;

fn raw_op(vmar: &Vmar, op: u64, address: u64, len_bytes: u64) -> zx::Result<()> {
    sys::hypercall(Call::VmarOpRange, [vmar.register(), op, address, len_bytes]).status().ok()
}

/// Decommits a page, with a buffer and its size, which no operation takes.
fn buffered_op(vmar: &Vmar, address: u64, [buffer, buffer_len_bytes]: [u64; 2]) -> zx::Result<()> {
    let op = u32::from(VmarOp::Decommit).into();
    let arguments = [vmar.register(), op, address, PAGE_SIZE, buffer, buffer_len_bytes];
    sys::hypercall(Call::VmarOpRange, arguments).status().ok()
}
