//! `vmar_map`: what may be mapped, and how.

use crate::arena::{ANY, Arena, R, RW, RWX, RX, executable_vmo, marked_vmo, vmo_without};
use crate::case::cases;
use crate::check::{Check, store};
use zx::{Object, PAGE_SIZE, RawHandle, Rights, Status, Unowned, VmOptions, Vmar, Vmo, VmoOptions};

cases! {
    #[kernel]
    fn C032_map_range_without_access() {
        let arena = Arena::new(4);
        let vmo = marked_vmo(4);
        arena.vmar.map(VmOptions::MAP_RANGE, 0, &vmo, 2 * PAGE_SIZE, PAGE_SIZE).succeeds();
        arena.shows("0000");
    }

    #[kernel]
    fn C033_map_over_a_mapping() {
        let arena = Arena::new(10);
        arena.map(4, 2);
        already_exists(&arena);
        arena.shows_mark(4, 0);
        arena.shows_mark(5, 1);
    }

    #[kernel]
    fn C035_map_over_a_region() {
        let arena = Arena::new(10);
        arena.child(4, 2);
        already_exists(&arena);
    }

    #[kernel]
    fn C039_map_with_handles_of_other_types() {
        let (arena, vmo) = (Arena::new(1), Vmo::create(PAGE_SIZE).succeeds());
        Unowned::<Vmar>::of(&vmo).map(RW, 0, &vmo, 0, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
        arena.vmar.map(RW, 0, &Unowned::of(&arena.vmar), 0, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn C047_overwrite_with_map_range() {
        map_one(OVERWRITE | VmOptions::MAP_RANGE, 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C051_misaligned_vmo_offset() {
        for options in [SPECIFIC, SPECIFIC | VmOptions::MAP_RANGE] {
            map_one(options, 0, PAGE_SIZE - 1).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C055_mapping_far_past_the_end_of_the_vmo() {
        map_one(SPECIFIC, 0, 0_u64.wrapping_sub(2 * PAGE_SIZE)).succeeds();
        map_one(SPECIFIC, 1, 0_u64.wrapping_sub(PAGE_SIZE) + 1).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C057_len_zero() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        Arena::new(1).vmar.map(RW, 0, &vmo, 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C061_len_that_wraps() {
        let (arena, vmo) = (Arena::new(1), Vmo::create(PAGE_SIZE).succeeds());
        for options in [RW, RW | VmOptions::MAP_RANGE] {
            arena.vmar.map(options, 0, &vmo, 0, u64::MAX).fails_with(Status::OUT_OF_RANGE);
        }
        let highest_page = 0_u64.wrapping_sub(PAGE_SIZE);
        arena.vmar.map(RW, 0, &vmo, highest_page, 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn C065_option_bit_31() {
        map_one(SPECIFIC | VmOptions::from_bits_retain(1 << 31), 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C067_options_of_regions() {
        for option in [VmOptions::CAN_MAP_EXECUTE, VmOptions::CAN_MAP_SPECIFIC, VmOptions::COMPACT] {
            map_one(SPECIFIC | option, 0, 0).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C071_len_that_is_not_whole_pages() {
        let arena = Arena::new(4);
        for options in [SPECIFIC, SPECIFIC | VmOptions::MAP_RANGE] {
            arena.vmar.map(options, 0, &marked_vmo(4), 0, 4 * PAGE_SIZE - 1).succeeds();
            arena.shows("1111");
            arena.vmar.unmap(arena.page(0), 4 * PAGE_SIZE - 1).succeeds();
            arena.shows("0000");
        }
    }

    #[kernel]
    fn C072_weak_vmar_handle() {
        let (arena, vmo) = (Arena::new(4), executable_vmo(1));
        for (lacking, _) in WEAKER {
            arena.without(lacking).map_vmo(RWX, 0, 1, &vmo, 0).fails_with(Status::ACCESS_DENIED);
        }
    }

    #[kernel]
    fn C073_what_a_weak_vmar_handle_permits() {
        let (arena, vmo) = (Arena::new(4), executable_vmo(1));
        for (page, (lacking, permitted)) in WEAKER.into_iter().enumerate() {
            arena.without(lacking).map_vmo(permitted, page as u64, 1, &vmo, 0).succeeds();
        }
        arena.shows("111");
    }

    #[kernel]
    fn C077_weak_vmo_handle() {
        let (arena, vmo) = (Arena::new(4), executable_vmo(1));
        for (lacking, permitted) in WEAKER {
            let weak = weak_executable(&vmo, lacking);
            arena.map_vmo(RWX, 0, 1, &weak, 0).fails_with(Status::ACCESS_DENIED);
            arena.map_vmo(permitted, 0, 1, &weak, 0).succeeds();
            arena.unmap(0, 1).succeeds();
        }
    }

    #[kernel]
    fn C087_map_what_the_vmar_does_not_lack() {
        let vmo = executable_vmo(1);
        for (lacking, permitted) in [(VmOptions::CAN_MAP_WRITE, RX), (VmOptions::CAN_MAP_EXECUTE, RW)] {
            let arena = Arena::with_options(ANY - lacking, 1);
            arena.map_vmo(RWX, 0, 1, &vmo, 0).fails_with(Status::ACCESS_DENIED);
            arena.map_vmo(permitted, 0, 1, &vmo, 0).succeeds();
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn C192_vmo_handle_without_map() {
        let (arena, vmo) = (Arena::new(1), vmo_without(&marked_vmo(1), Rights::MAP));
        for options in [R, RW, VmOptions::PERM_WRITE] {
            arena.map_vmo(options, 0, 1, &vmo, 0).fails_with(Status::ACCESS_DENIED);
        }
    }

    #[kernel]
    fn C193_write_or_execute_without_read() {
        let (arena, vmo) = (Arena::new(1), executable_vmo(1));
        for options in [VmOptions::PERM_WRITE, VmOptions::PERM_EXECUTE] {
            arena.map_vmo(options, 0, 1, &vmo, 0).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C195_executable_mapping_needs_the_right() {
        let arena = Arena::new(1);
        arena.map_vmo(RX, 0, 1, &marked_vmo(1), 0).fails_with(Status::ACCESS_DENIED);
        arena.map_vmo(RX, 0, 1, &executable_vmo(1), 0).succeeds();
    }

    #[kernel]
    fn C217_discardable_vmo_needs_allow_faults() {
        let arena = Arena::new(1);
        let vmo = Vmo::create_with_options(VmoOptions::DISCARDABLE, PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 1, &vmo, 0).fails_with(Status::NOT_SUPPORTED);
        arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, 1, &vmo, 0).succeeds();
    }

    #[kernel]
    fn V10_require_non_resizable() {
        let arena = Arena::new(2);
        let resizable = Vmo::create_with_options(VmoOptions::RESIZABLE, PAGE_SIZE).succeeds();
        arena.map_vmo(RW | VmOptions::REQUIRE_NON_RESIZABLE, 0, 1, &resizable, 0).fails_with(Status::NOT_SUPPORTED);
        arena.map_vmo(RW | VmOptions::REQUIRE_NON_RESIZABLE, 0, 1, &marked_vmo(1), 0).succeeds();
    }

    #[kernel]
    fn V11_execute_only_is_made_readable() {
        let arena = Arena::new(1);
        let options = VmOptions::PERM_EXECUTE | VmOptions::PERM_READ_IF_XOM_UNSUPPORTED;
        arena.map_vmo(options, 0, 1, &executable_vmo(1), 0).succeeds();
        arena.shows("1");
    }

    #[kernel]
    fn V12_bad_vmo_handle_beats_bad_options() {
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        Arena::new(1).vmar.map(VmOptions::PERM_WRITE, 0, &none, 0, 0).fails_with(Status::BAD_HANDLE);
    }

    #[kernel("inspect=on")]
    fn V13_map_with_map_range_enters_what_is_committed() {
        let arena = Arena::new(3);
        arena.map_vmo(RW | VmOptions::MAP_RANGE, 0, 3, &marked_vmo(2), 0).succeeds();
        arena.has_entries("110");
        store(arena.page(1), 1);
    }
}

pub(super) const SPECIFIC: VmOptions = RW.union(VmOptions::SPECIFIC);
pub(super) const OVERWRITE: VmOptions = RW.union(VmOptions::SPECIFIC_OVERWRITE);

/// What a handle lacks, and what it permits then.
const WEAKER: [(Rights, VmOptions); 3] =
    [(Rights::WRITE.union(Rights::EXECUTE), R), (Rights::EXECUTE, RW), (Rights::WRITE, RX)];

/// Maps a page of a VMO of four pages in a VMAR of ten.
pub(super) fn map_one(options: VmOptions, page: u64, vmo_offset: u64) -> zx::Result<u64> {
    let (arena, vmo) = (Arena::new(10), Vmo::create(4 * PAGE_SIZE).succeeds());
    let result = arena.vmar.map(options, page * PAGE_SIZE, &vmo, vmo_offset, PAGE_SIZE);
    arena.vmar.destroy().succeeds();
    result
}

/// Asserts that nothing can be mapped that touches pages 4 and 5.
#[track_caller]
fn already_exists(arena: &Arena) {
    let vmo = Vmo::create(4 * PAGE_SIZE).succeeds();
    for (page, count) in [(4, 2), (3, 2), (5, 2), (3, 4)] {
        arena.map_vmo(RW, page, count, &vmo, 0).fails_with(Status::ALREADY_EXISTS);
    }
}

fn weak_executable(vmo: &Vmo, lacking: Rights) -> Vmo {
    vmo.duplicate((Rights::DEFAULT_VMO | Rights::EXECUTE) - lacking).succeeds()
}
