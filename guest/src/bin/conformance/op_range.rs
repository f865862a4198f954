//! `vmar_op_range`: the rows of Zircon's tests.
//!
//! | left out | why |
//! | --- | --- |
//! | C143, C144 | COMMIT through a mapping of a copy-on-write clone: VMOs have no children yet |

use crate::arena::{ANY, Arena, R, RW, committed_pages, mark, marked_vmo, read_word, uncommitted, vmo_without};
use crate::case::cases;
use crate::check::{Check, reads};
use abi::Call;
use zx::{Object, PAGE_SIZE, Rights, Status, VmOptions, Vmar, VmarOp, Vmo, VmoOp, VmoOptions, sys};

cases! {
    #[kernel]
    fn C120_decommitted_page_reads_zero() {
        let ranges = Ranges::new();
        ranges.arena.op(VmarOp::Decommit, 0, 1).succeeds();
        reads(ranges.arena.page(0), 0);
        ranges.arena.shows_mark(1, 1);
        assert_eq!(committed_pages(&ranges.vmo), 3);
    }

    #[kernel]
    fn C121_the_vmo_operation_has_the_same_number() {
        let ranges = Ranges::new();
        let arguments =
            [ranges.arena.vmar.register(), u32::from(VmoOp::Decommit).into(), ranges.arena.page(0), PAGE_SIZE];
        sys::hypercall(Call::VmarOpRange, arguments).ok().succeeds();
        reads(ranges.arena.page(0), 0);
    }

    #[kernel]
    fn C122_decommit_across_two_adjacent_mappings() {
        let ranges = Ranges::new();
        ranges.arena.op(VmarOp::Decommit, 0, 3).succeeds();
        (0..3).for_each(|page| reads(ranges.arena.page(page), 0));
        assert_eq!(read_word(&ranges.vmo, 2), mark(2));
    }

    #[kernel]
    fn C123_decommit_across_the_gap_does_what_is_before_it() {
        let ranges = Ranges::new();
        ranges.arena.op(VmarOp::Decommit, 2, 3).fails_with(Status::BAD_STATE);
        reads(ranges.arena.page(2), 0);
        ranges.arena.shows_mark(4, 1);
    }

    #[kernel]
    fn C124_decommit_of_a_read_only_mapping_of_a_writable_vmo() {
        let ranges = Ranges::new();
        ranges.arena.op(VmarOp::Decommit, 4, 1).succeeds();
        reads(ranges.arena.page(4), 0);
        reads(ranges.arena.page(1), 0);
    }

    #[kernel]
    fn C125_decommit_of_a_mapping_from_a_handle_without_write() {
        let (arena, vmo) = read_only_source(1);
        arena.op(VmarOp::Decommit, 0, 1).fails_with(Status::ACCESS_DENIED);
        arena.shows_mark(0, 0);
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[kernel]
    fn C126_decommit_through_a_vmar_handle_without_write() {
        let ranges = Ranges::new();
        ranges.arena.without(Rights::WRITE).op(VmarOp::Decommit, 0, 1).succeeds();
        reads(ranges.arena.page(0), 0);
    }

    #[kernel("inspect=on")]
    fn C127_map_range_enters_what_is_committed_and_may_be_repeated() {
        let arena = Arena::new(4);
        let vmo = Vmo::create(4 * PAGE_SIZE).succeeds();
        vmo.op_range(VmoOp::Commit, 0, 2 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        for _ in 0..2 {
            arena.op(VmarOp::MapRange, 0, 4).succeeds();
            arena.has_entries("1100");
        }
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel("inspect=on")]
    fn C128_map_range_skips_the_holes_of_the_vmo() {
        let arena = Arena::new(8);
        let vmo = Vmo::create(8 * PAGE_SIZE).succeeds();
        for page in [1, 2, 5, 7] {
            vmo.op_range(VmoOp::Commit, page * PAGE_SIZE, PAGE_SIZE).succeeds();
        }
        arena.map_vmo(RW, 0, 8, &vmo, 0).succeeds();
        arena.op(VmarOp::MapRange, 0, 8).succeeds();
        arena.has_entries("0110 0101");
        arena.shows("1111 1111");
    }

    #[kernel]
    fn C129_map_range_and_hints_reach_into_a_sub_region() {
        let (arena, _) = nested();
        for op in REACHING {
            arena.op(op, 0, 2).succeeds();
        }
    }

    #[kernel]
    fn C130_map_range_and_hints_without_op_children() {
        let (arena, _) = nested();
        for op in REACHING {
            arena.without(Rights::OP_CHILDREN).op(op, 0, 2).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C131_commit_and_decommit_do_not_reach_into_a_sub_region() {
        let (arena, vmo) = nested();
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            arena.op(op, 0, 2).fails_with(Status::INVALID_ARGS);
            arena.without(Rights::OP_CHILDREN).op(op, 0, 2).fails_with(Status::INVALID_ARGS);
        }
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[kernel]
    fn C137_resizable_vmo_maps_with_allow_faults() {
        let arena = Arena::new(1);
        let vmo = Vmo::create_with_options(VmoOptions::RESIZABLE, PAGE_SIZE).succeeds();
        arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, 1, &vmo, 0).succeeds();
        arena.shows("1");
    }

    #[kernel]
    fn C138_mapping_past_the_end_of_a_vmo_with_allow_faults() {
        let arena = Arena::new(2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, 2, &vmo, 0).succeeds();
        arena.shows("10");
    }

    #[kernel]
    fn C139_map_range_beside_a_sub_region_through_the_grandparent() {
        let grandparent = Arena::new(8);
        let parent = grandparent.child(0, 8);
        parent.map(0, 2);
        let child = parent.child(2, 2);
        child.map(0, 2);
        grandparent.op(VmarOp::MapRange, 0, 2).succeeds();
    }

    #[kernel]
    fn C140_decommit_of_the_mapping_after_a_gap() {
        let arena = Arena::new(10);
        arena.map(0, 5);
        let second = arena.map(6, 4);
        arena.op(VmarOp::Decommit, 6, 4).succeeds();
        (6..10).for_each(|page| reads(arena.page(page), 0));
        (0..5).for_each(|page| arena.shows_mark(page, page));
        assert_eq!(committed_pages(&second), 0);
    }

    #[kernel]
    fn C141_root_does_not_commit_or_decommit_in_a_sub_region() {
        let root = Vmar::root().succeeds();
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        root.op_range(VmarOp::Commit, arena.page(0), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        root.op_range(VmarOp::Decommit, arena.page(0), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[kernel("inspect=on")]
    fn C142_commit_of_part_of_a_mapping() {
        let (arena, vmo) = uncommitted(4);
        arena.op(VmarOp::Commit, 1, 2).succeeds();
        arena.has_entries("0110");
        let info = vmo.info().succeeds();
        assert_eq!((info.committed_bytes, info.populated_bytes), (2 * PAGE_SIZE, 2 * PAGE_SIZE));
    }

    #[kernel]
    fn C145_commit_ends_at_a_page_from_a_handle_without_write() {
        let arena = Arena::new(4);
        let vmo = Vmo::create(4 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 3, &vmo, 0).succeeds();
        arena.map_vmo(R, 3, 1, &vmo_without(&vmo, Rights::WRITE), 3).succeeds();
        arena.op(VmarOp::Commit, 0, 4).fails_with(Status::ACCESS_DENIED);
        assert_eq!(committed_pages(&vmo), 3);
    }

    #[kernel]
    fn C146_commit_ends_at_a_gap() {
        let arena = Arena::new(4);
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.op(VmarOp::Commit, 0, 4).fails_with(Status::BAD_STATE);
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn C147_commit_at_address_zero_of_a_vmar_elsewhere() {
        Arena::new(4).vmar.op_range(VmarOp::Commit, 0, PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn C148_commit_from_a_gap() {
        let arena = Arena::new(8);
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 1, 2, &vmo, 0).succeeds();
        let child = arena.child(4, 4);
        child.map(0, 4);
        arena.op(VmarOp::Commit, 0, 1).fails_with(Status::BAD_STATE);
        arena.op(VmarOp::Commit, 0, 4).fails_with(Status::BAD_STATE);
        arena.op(VmarOp::Commit, 0, 6).fails_with(Status::BAD_STATE);
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn C152_map_range_on_a_mapping_longer_than_its_vmo() {
        let arena = Arena::new(3);
        let vmo = Vmo::create_with_options(VmoOptions::RESIZABLE, PAGE_SIZE).succeeds();
        arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, 3, &vmo, 0).succeeds();
        for (page, count) in [(0, 1), (0, 2), (1, 2)] {
            arena.op(VmarOp::MapRange, page, count).succeeds();
        }
        arena.shows("100");
    }
}

/// The operations that a parent may do on mappings of its sub-regions.
const REACHING: [VmarOp; 3] = [VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed];

/// A marked VMO of four pages: pages 0 and 1 mapped at 0, page 3 at 2, nothing at 3, page 1 at 4 to be read only.
struct Ranges {
    arena: Arena,
    vmo: Vmo,
}

impl Ranges {
    fn new() -> Self {
        let (arena, vmo) = (Arena::new(5), marked_vmo(4));
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.map_vmo(RW, 2, 1, &vmo, 3).succeeds();
        arena.map_vmo(R, 4, 1, &vmo, 1).succeeds();
        arena.shows("11101");
        Self { arena, vmo }
    }
}

/// Maps a marked VMO through a handle without WRITE, and returns it under one that has it.
fn read_only_source(page_count: u64) -> (Arena, Vmo) {
    let (arena, vmo) = (Arena::new(page_count), marked_vmo(page_count));
    arena.map_vmo(R, 0, page_count, &vmo_without(&vmo, Rights::WRITE), 0).succeeds();
    (arena, vmo)
}

/// A VMAR whose sub-region maps a VMO of two pages, the first committed.
fn nested() -> (Arena, Vmo) {
    let arena = Arena::new(2);
    let (child, _) = arena.vmar.allocate(ANY | VmOptions::SPECIFIC, 0, 2 * PAGE_SIZE).succeeds();
    let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
    vmo.op_range(VmoOp::Commit, 0, PAGE_SIZE).succeeds();
    child.map(RW | VmOptions::SPECIFIC, 0, &vmo, 0, 2 * PAGE_SIZE).succeeds();
    (arena, vmo)
}
