//! `vmar_allocate` and `vmar_destroy`.

use crate::arena::{ALL_RIGHTS, ANY, Arena, R, RW};
use crate::case::cases;
use crate::check::{Check, load_aborts};
use zx::{Alignment, Object, PAGE_SIZE, Rights, Status, Unowned, VmOptions, Vmar, Vmo};

cases! {
    #[kernel]
    fn C001_destroy_without_op_children() {
        let arena = Arena::new(10);
        arena.map(0, 1);
        arena.without(Rights::OP_CHILDREN).vmar.destroy().fails_with(Status::ACCESS_DENIED);
        arena.shows("1");
        arena.is_alive(1);
    }

    #[kernel]
    fn C003_allocate_in_a_destroyed_vmar() {
        let arena = destroyed(10);
        arena.vmar.allocate(ANY, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn C004_allocate_and_allocate_in_it() {
        let root = Vmar::root().succeeds();
        let read_write = VmOptions::CAN_MAP_READ | VmOptions::CAN_MAP_WRITE;
        let options = VmOptions::CAN_MAP_SPECIFIC | read_write;
        let (region, base) = root.allocate(options, 0, 10 * PAGE_SIZE).succeeds();
        let (child, child_base) = region.allocate(read_write, 0, PAGE_SIZE).succeeds();
        assert!((base..base + 10 * PAGE_SIZE).contains(&child_base) && child_base.is_multiple_of(PAGE_SIZE));
        assert_eq!(child.info().succeeds().base, child_base);
        child.destroy().succeeds();
        region.destroy().succeeds();
    }

    #[kernel]
    fn C013_allocate_from_the_end_of_the_vmar() {
        let arena = Arena::new(10);
        arena.vmar.allocate(SPECIFIC, 10 * PAGE_SIZE, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.vmar.allocate(SPECIFIC, 9 * PAGE_SIZE, 2 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C015_allocate_more_than_the_vmar() {
        Arena::new(10).vmar.allocate(R_ONLY, 0, 11 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C016_allocate_the_whole_vmar() {
        let arena = Arena::new(10);
        let (_, base) = arena.vmar.allocate(R_ONLY, 0, 10 * PAGE_SIZE).succeeds();
        assert_eq!(base, arena.base);
    }

    #[kernel]
    fn C017_allocate_in_a_full_vmar() {
        let arena = Arena::new(10);
        arena.vmar.allocate(R_ONLY, 0, 10 * PAGE_SIZE).succeeds();
        arena.vmar.allocate(R_ONLY, 0, PAGE_SIZE).fails_with(Status::NO_RESOURCES);
    }

    #[kernel]
    fn C019_destroy_takes_nested_regions_along() {
        let (arena, outer, nested) = regions();
        arena.shows("1010");
        outer.vmar.destroy().succeeds();
        arena.shows("0000");
        outer.vmar.basic_info().succeeds();
        nested.vmar.basic_info().succeeds();
    }

    #[kernel]
    fn C020_destroy_of_what_is_destroyed() {
        let (_, outer, nested) = destroyed_regions();
        outer.vmar.destroy().fails_with(Status::BAD_STATE);
        nested.vmar.destroy().fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn C021_allocate_in_what_is_destroyed() {
        let (_, outer, nested) = destroyed_regions();
        outer.vmar.allocate(ANY, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        nested.vmar.allocate(ANY, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn C023_protect_in_what_is_destroyed() {
        let (_, outer, nested) = destroyed_regions();
        outer.vmar.protect(R, outer.base, PAGE_SIZE).fails_with(Status::BAD_STATE);
        nested.vmar.protect(R, nested.base, PAGE_SIZE).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn C024_map_in_what_is_destroyed() {
        let (_, outer, nested) = destroyed_regions();
        outer.is_dead();
        nested.is_dead();
    }

    #[kernel]
    fn C025_range_of_a_destroyed_vmar_is_free() {
        let (arena, _, _) = destroyed_regions();
        arena.child(0, 4).map(0, 4);
        arena.shows("1111");
    }

    #[kernel]
    fn C031_allocate_with_alignment() {
        let vmar = eight_gib();
        let aligned = |log2| SPECIFIC | Alignment::from_log2(log2).expect("a legal alignment").options();
        vmar.allocate(aligned(16), 4096, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        vmar.allocate(aligned(16), 1 << 16, PAGE_SIZE).succeeds();
        for field in [9, 33, 255] {
            let options = VmOptions::from_bits_retain(field << 24);
            vmar.allocate(R_ONLY | options, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
        for log2 in [10, 12, 16, 21, 30, 32] {
            let options = R_ONLY | Alignment::from_log2(log2).expect("a legal alignment").options();
            let (_, base) = vmar.allocate(options, 0, PAGE_SIZE).succeeds();
            assert!(base.is_multiple_of(1 << log2), "{base:#x} is not aligned to 2^{log2}");
        }
    }

    #[kernel]
    fn C036_allocate_over_a_region() {
        let arena = Arena::new(10);
        arena.child(4, 2);
        for (page, count) in [(4, 2), (3, 2), (5, 2), (3, 4)] {
            let (offset, len_bytes) = (page * PAGE_SIZE, count * PAGE_SIZE);
            arena.vmar.allocate(SPECIFIC, offset, len_bytes).fails_with(Status::ALREADY_EXISTS);
        }
    }

    #[kernel]
    fn C037_allocate_by_a_handle_of_another_type() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        Unowned::<Vmar>::of(&vmo).allocate(VmOptions::empty(), 0, 0).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn C044_allocate_with_two_kinds_of_offset() {
        let arena = Arena::new(10);
        for kind in [VmOptions::SPECIFIC, VmOptions::SPECIFIC_OVERWRITE] {
            let options = kind | VmOptions::OFFSET_IS_UPPER_LIMIT;
            arena.vmar.allocate(options, PAGE_SIZE, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C048_allocate_of_a_size_that_is_not_whole_pages() {
        Arena::new(10).vmar.allocate(R_ONLY, 0, PAGE_SIZE - 1).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C049_allocate_at_a_misaligned_offset() {
        Arena::new(10).vmar.allocate(SPECIFIC, PAGE_SIZE - 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C056_allocate_of_nothing() {
        Arena::new(10).vmar.allocate(R_ONLY, 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C060_allocate_of_a_size_that_would_round_to_zero() {
        Arena::new(10).vmar.allocate(R_ONLY, 0, u64::MAX).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C064_allocate_with_option_bit_31() {
        let options = R_ONLY | VmOptions::from_bits_retain(1 << 31);
        Arena::new(10).vmar.allocate(options, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C076_allocate_by_a_weak_handle() {
        let arena = Arena::new(10);
        for lacking in [Rights::READ, Rights::WRITE, Rights::EXECUTE] {
            arena.without(lacking).vmar.allocate(ANY, 0, PAGE_SIZE).fails_with(Status::ACCESS_DENIED);
        }
    }

    #[kernel]
    fn C085_allocate_with_more_than_the_parent_allows() {
        for lacking in [VmOptions::CAN_MAP_READ, VmOptions::CAN_MAP_WRITE, VmOptions::CAN_MAP_EXECUTE] {
            let arena = Arena::with_options(ANY - lacking, 4);
            arena.vmar.allocate(ANY, 0, PAGE_SIZE).fails_with(Status::ACCESS_DENIED);
            arena.vmar.allocate(ANY - lacking, 0, PAGE_SIZE).succeeds();
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn C089_allocate_where_placement_is_not_allowed() {
        let arena = Arena::with_options(VmOptions::CAN_MAP_ACCESS, 4);
        arena.vmar.allocate(SPECIFIC, 0, PAGE_SIZE).fails_with(Status::ACCESS_DENIED);
        arena.vmar.allocate(ANY, 0, PAGE_SIZE).succeeds();
    }

    #[kernel]
    fn V01_allocate_with_options_that_regions_do_not_have() {
        let arena = Arena::new(4);
        let not_for_regions = [
            VmOptions::PERM_READ,
            VmOptions::MAP_RANGE,
            VmOptions::SPECIFIC_OVERWRITE,
            VmOptions::REQUIRE_NON_RESIZABLE,
            VmOptions::ALLOW_FAULTS,
            VmOptions::from_bits_retain(1 << 15),
        ];
        for option in not_for_regions {
            arena.vmar.allocate(R_ONLY | option, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn V02_bad_options_beat_a_dead_vmar_and_that_beats_a_size_of_zero() {
        let dead = destroyed(4);
        dead.vmar.allocate(RW, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        dead.vmar.allocate(R_ONLY, 0, 1).fails_with(Status::INVALID_ARGS);
        dead.vmar.allocate(R_ONLY, 0, 0).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn V03_offset_without_placement() {
        Arena::new(4).vmar.allocate(R_ONLY, PAGE_SIZE, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn V04_root_vmar_cannot_be_destroyed() {
        Vmar::root().succeeds().destroy().fails_with(Status::NOT_SUPPORTED);
        load_aborts(Arena::BASE);
    }

    #[kernel]
    fn V05_closing_the_handle_frees_nothing() {
        let arena = Arena::new(4);
        let child = arena.child(0, 2);
        child.map(0, 2);
        drop(child);
        arena.shows("1100");
        arena.vmar.allocate(SPECIFIC, 0, PAGE_SIZE).fails_with(Status::ALREADY_EXISTS);
    }

    #[kernel]
    fn V06_child_may_allow_placement_where_its_parent_does_not() {
        let arena = Arena::with_options(VmOptions::CAN_MAP_ACCESS, 4);
        let (child, base) = arena.vmar.allocate(ANY, 0, 4 * PAGE_SIZE).succeeds();
        let (_, grandchild_base) = child.allocate(SPECIFIC, PAGE_SIZE, PAGE_SIZE).succeeds();
        assert_eq!(grandchild_base, base + PAGE_SIZE);
        assert_eq!(Rights::from_bits_retain(child.basic_info().succeeds().rights), ALL_RIGHTS);
    }
}

/// A region that may hold readable mappings, wherever it goes.
const R_ONLY: VmOptions = VmOptions::CAN_MAP_READ;

/// A region that goes where its offset says.
const SPECIFIC: VmOptions = ANY.union(VmOptions::SPECIFIC);

fn destroyed(page_count: u64) -> Arena {
    let arena = Arena::new(page_count);
    arena.vmar.destroy().succeeds();
    arena
}

/// An arena, a region in it whose first page is mapped, and one in that whose first page, the arena's third, is.
fn regions() -> (Arena, Arena, Arena) {
    let arena = Arena::new(4);
    let outer = arena.child(0, 4);
    outer.map(0, 1);
    let nested = outer.child(2, 2);
    nested.map(0, 1);
    (arena, outer, nested)
}

/// The same, after the outer region was destroyed.
fn destroyed_regions() -> (Arena, Arena, Arena) {
    let (arena, outer, nested) = regions();
    outer.vmar.destroy().succeeds();
    (arena, outer, nested)
}

/// A VMAR of 8 GiB, aligned to them.
pub(super) fn eight_gib() -> Vmar {
    let len_bytes = 8 << 30;
    let (vmar, _) = Vmar::root().succeeds().allocate(SPECIFIC, len_bytes, len_bytes).succeeds();
    vmar
}
