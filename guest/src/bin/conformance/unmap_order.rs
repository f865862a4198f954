//! `vmar_unmap`: the order of its checks. Each case gives a call two faults, and asserts which is told.

use crate::arena::{ANY, Arena, RW, marked_vmo};
use crate::case::cases;
use crate::check::Check;
use zx::{Object, PAGE_SIZE, RawHandle, Status, Unowned, Vmar, Vmo};

cases! {
    #[kernel]
    fn U01_bad_handle_beats_a_misaligned_address() {
        Unowned::<Vmar>::from_raw(RawHandle::INVALID).unmap(1, PAGE_SIZE).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn U01_closed_handle_is_a_bad_handle() {
        let arena = Arena::new(1);
        let closed = arena.vmar.raw();
        drop(arena);
        Unowned::<Vmar>::from_raw(closed).unmap(Arena::BASE, PAGE_SIZE).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn U02_wrong_type_beats_a_misaligned_address() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        Unowned::<Vmar>::of(&vmo).unmap(1, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn U03_misaligned_address_beats_a_dead_vmar() {
        let dead = dead_arena();
        dead.vmar.unmap(dead.base + 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn U04_zero_len_beats_a_dead_vmar() {
        dead_arena().unmap(0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn U04_len_that_rounds_to_zero_beats_a_dead_vmar() {
        let dead = dead_arena();
        dead.vmar.unmap(dead.base, u64::MAX).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn U04_len_of_one_byte_unmaps_a_page() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        arena.vmar.unmap(arena.page(0), 1).succeeds();
        arena.shows("01");
    }

    #[kernel]
    fn U05_dead_vmar_beats_a_range_outside() {
        dead_arena().unmap(4, 1).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn U06_range_outside_beats_an_empty_vmar() {
        Arena::new(4).unmap(4, 1).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn U06_range_below_the_vmar() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.vmar.unmap(arena.base - PAGE_SIZE, 2 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.shows("1111");
    }

    #[kernel]
    fn U06_range_past_the_end_changes_nothing() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.unmap(0, 5).fails_with(Status::INVALID_ARGS);
        arena.shows("1111");
    }

    #[kernel]
    fn U06_range_that_wraps() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.vmar.unmap(arena.page(1), u64::MAX - PAGE_SIZE + 1).fails_with(Status::INVALID_ARGS);
        arena.shows("1111");
    }

    #[kernel]
    fn U06_range_of_a_sub_region_through_another() {
        let arena = Arena::new(8);
        let (left, right) = (arena.child(0, 4), arena.child(4, 4));
        right.map(0, 4);
        left.vmar.unmap(right.page(0), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.shows("0000 1111");
    }

    #[kernel]
    fn U07_empty_vmar() {
        Arena::new(4).unmap(0, 4).succeeds();
    }

    #[kernel]
    fn U09_sub_region_at_the_end_is_seen_before_anything_changes() {
        let arena = Arena::new(8);
        let vmo = arena.map(0, 1);
        arena.map(2, 1);
        let child = arena.child(4, 4);
        child.map(0, 4);
        arena.unmap(0, 6).fails_with(Status::INVALID_ARGS);
        arena.shows("1010 1111");
        assert_eq!(vmo.info().succeeds().num_mappings, 1);
    }

    #[kernel]
    fn U09_empty_sub_region_partly_covered() {
        let arena = Arena::new(8);
        arena.map(0, 4);
        let child = arena.child(4, 4);
        arena.unmap(0, 5).fails_with(Status::INVALID_ARGS);
        arena.shows("1111 0000");
        child.is_alive(0);
    }

    #[kernel]
    fn U10_mapping_inside_a_sub_region_is_not_the_parents_to_unmap() {
        let arena = Arena::new(4);
        let child = arena.child(0, 4);
        child.map(1, 1);
        arena.unmap(1, 1).fails_with(Status::INVALID_ARGS);
        arena.shows("0100");
        child.unmap(1, 1).succeeds();
        arena.shows("0000");
    }

    #[kernel]
    fn U10_own_whole_range_leaves_the_vmar_alive() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.unmap(0, 4).succeeds();
        arena.shows("0000");
        arena.is_alive(0);
    }

    #[kernel]
    fn U10_nested_regions_die_with_the_one_that_is_covered() {
        let arena = Arena::new(8);
        let outer = arena.child(0, 8);
        let inner = outer.child(2, 4);
        inner.map(0, 4);
        arena.unmap(0, 8).succeeds();
        arena.shows("0000 0000");
        outer.is_dead();
        inner.is_dead();
        arena.vmar.allocate(ANY, 0, PAGE_SIZE).succeeds();
    }

    #[kernel]
    fn U10_pages_stay_in_the_vmo() {
        let arena = Arena::new(4);
        let vmo = arena.map(0, 4);
        arena.unmap(0, 4).succeeds();
        let info = vmo.info().succeeds();
        assert_eq!((info.num_mappings, info.committed_bytes), (0, 4 * PAGE_SIZE));
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        (0..4).for_each(|page| arena.shows_mark(page, page));
    }

    #[kernel]
    fn U10_both_mappings_of_a_vmo_are_told_apart() {
        let arena = Arena::new(8);
        let vmo = marked_vmo(2);
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.map_vmo(RW, 4, 2, &vmo, 0).succeeds();
        arena.shows("1100 1100");
        arena.unmap(0, 2).succeeds();
        arena.shows("0000 1100");
        assert_eq!(vmo.info().succeeds().num_mappings, 1);
    }
}

/// An arena of four pages whose VMAR is dead.
pub(super) fn dead_arena() -> Arena {
    let arena = Arena::new(4);
    arena.vmar.destroy().succeeds();
    arena
}
