//! Where the published pages and Zircon's kernel differ: each difference under both dialects, and what both share.

use crate::arena::{Arena, RW, committed_pages, marked_vmo, uncommitted, vmo_without};
use crate::case::{Dialect, cases};
use crate::check::{Check, load_aborts, reads, store, store_aborts};
use crate::policies::rtc;
use crate::unmap_order::dead_arena;
use abi::Call;
use zx::{Object, PAGE_SIZE, Result, Rights, Status, VmOptions, VmarOp, sys};

cases! {
    #[both]
    fn D01_unmap_of_a_len_that_is_not_whole_pages(dialect: Dialect) {
        let arena = Arena::new(3);
        arena.map(0, 3);
        let result = arena.vmar.unmap(arena.page(0), PAGE_SIZE + 1);
        result.is(dialect, Err(Status::INVALID_ARGS), Ok(()));
        match dialect {
            Dialect::Documented => arena.shows("111"),
            Dialect::Kernel => arena.shows("001"),
        }
    }

    #[both]
    fn D01_unmap_of_such_a_len_in_a_dead_vmar(dialect: Dialect) {
        let dead = dead_arena();
        let result = dead.vmar.unmap(dead.page(0), PAGE_SIZE - 1);
        result.is(dialect, Err(Status::INVALID_ARGS), Err(Status::BAD_STATE));
    }

    #[both]
    fn D02_unmap_of_an_empty_vmar(dialect: Dialect) {
        Arena::new(4).unmap(0, 4).is(dialect, Err(Status::NOT_FOUND), Ok(()));
    }

    #[both]
    fn D02_unmap_of_a_gap_between_mappings(dialect: Dialect) {
        let arena = Arena::new(4);
        arena.map(0, 1);
        arena.map(3, 1);
        arena.unmap(1, 2).is(dialect, Err(Status::NOT_FOUND), Ok(()));
        arena.shows("1001");
    }

    #[both]
    fn D02_unmap_of_a_gap_and_a_mapping_is_done(_dialect: Dialect) {
        let arena = Arena::new(4);
        arena.map(3, 1);
        arena.unmap(0, 4).succeeds();
        arena.shows("0000");
    }

    #[both]
    fn D02_unmap_of_a_gap_and_an_empty_sub_region_is_done(_dialect: Dialect) {
        let arena = Arena::new(4);
        let child = arena.child(2, 1);
        arena.unmap(0, 4).succeeds();
        child.is_dead();
    }

    #[both]
    fn D02_range_outside_and_part_of_a_sub_region_are_no_nothing(_dialect: Dialect) {
        let arena = Arena::new(4);
        arena.unmap(2, 3).fails_with(Status::INVALID_ARGS);
        let child = arena.child(1, 2);
        arena.unmap(2, 2).fails_with(Status::INVALID_ARGS);
        arena.without(Rights::OP_CHILDREN).unmap(2, 1).fails_with(Status::INVALID_ARGS);
        child.is_alive(0);
    }

    #[both]
    fn D03_unmap_of_a_sub_region_without_op_children(dialect: Dialect) {
        let arena = Arena::new(4);
        let child = arena.child(0, 4);
        child.map(0, 2);
        let result = arena.without(Rights::OP_CHILDREN).unmap(0, 4);
        result.is(dialect, Ok(()), Err(Status::INVALID_ARGS));
        match dialect {
            Dialect::Documented => child.is_dead(),
            Dialect::Kernel => arena.shows("1100"),
        }
    }

    #[both]
    fn D04_commit_and_decommit_without_write(dialect: Dialect) {
        let arena = Arena::new(2);
        let vmo = arena.map(0, 2);
        let weak = arena.without(Rights::WRITE);
        weak.op(VmarOp::Decommit, 0, 1).is(dialect, Err(Status::ACCESS_DENIED), Ok(()));
        assert_eq!(committed_pages(&vmo), if dialect == Dialect::Documented { 2 } else { 1 });
        weak.op(VmarOp::Commit, 0, 1).is(dialect, Err(Status::ACCESS_DENIED), Ok(()));
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[both]
    fn D04_the_right_is_tested_before_the_buffer(dialect: Dialect) {
        let weak = Arena::new(1).without(Rights::WRITE);
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            let arguments = [weak.vmar.register(), u32::from(op).into(), weak.page(0), PAGE_SIZE, Arena::BASE, 8];
            let result = sys::hypercall(Call::VmarOpRange, arguments).status().ok();
            result.is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
        }
    }

    #[both]
    fn D04_the_right_is_tested_before_alignment_and_range(dialect: Dialect) {
        let weak = Arena::new(1).without(Rights::WRITE);
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            let op_range = |address, len_bytes| weak.vmar.op_range(op, address, len_bytes);
            op_range(weak.base + 1, PAGE_SIZE).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
            op_range(weak.base, 0).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
            op_range(0, PAGE_SIZE).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::OUT_OF_RANGE));
        }
    }

    #[both]
    fn D04_the_right_is_tested_before_liveness(dialect: Dialect) {
        let arena = Arena::new(1);
        let weak = arena.without(Rights::WRITE);
        arena.vmar.destroy().succeeds();
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            weak.op(op, 0, 1).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::BAD_STATE));
        }
    }

    #[both]
    fn D04_an_unknown_op_is_told_before_the_right(_dialect: Dialect) {
        let weak = Arena::new(1).without(Rights::WRITE);
        let arguments = [weak.vmar.register(), 0, weak.page(0), PAGE_SIZE];
        sys::hypercall(Call::VmarOpRange, arguments).status().ok().fails_with(Status::INVALID_ARGS);
    }

    #[both]
    fn D04_map_range_and_hints_need_no_right(_dialect: Dialect) {
        let arena = Arena::new(1);
        arena.map(0, 1);
        let weak = arena.without(Rights::ACCESS);
        for op in [VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            weak.op(op, 0, 1).succeeds();
        }
    }

    #[both]
    fn D05_commit_decommit_and_prefetch_in_a_sub_region(dialect: Dialect) {
        let arena = Arena::new(2);
        let vmo = arena.child(0, 2).map(0, 2);
        for (op, pages_then) in [(VmarOp::Decommit, 0), (VmarOp::Prefetch, 0), (VmarOp::Commit, 2)] {
            arena.op(op, 0, 2).is(dialect, Ok(()), Err(Status::INVALID_ARGS));
            assert_eq!(committed_pages(&vmo), if dialect == Dialect::Documented { pages_then } else { 2 });
        }
    }

    #[both]
    fn D05_map_range_and_hints_in_a_sub_region(_dialect: Dialect) {
        let arena = Arena::new(2);
        arena.child(0, 2).map(0, 2);
        for op in [VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            arena.op(op, 0, 2).succeeds();
        }
    }

    #[both]
    fn D05_any_op_in_a_sub_region_without_op_children(dialect: Dialect) {
        let arena = Arena::new(2);
        arena.child(0, 2).map(0, 2);
        let weak = arena.without(Rights::OP_CHILDREN);
        for op in ALL_IN_BOTH {
            weak.op(op, 0, 2).is(dialect, Ok(()), Err(Status::INVALID_ARGS));
        }
    }

    #[both]
    fn D05_a_sub_region_two_levels_down(dialect: Dialect) {
        let arena = Arena::new(2);
        let vmo = arena.child(0, 2).child(0, 2).map(0, 2);
        arena.op(VmarOp::Decommit, 0, 2).is(dialect, Ok(()), Err(Status::INVALID_ARGS));
        assert_eq!(committed_pages(&vmo), if dialect == Dialect::Documented { 0 } else { 2 });
    }

    #[both]
    fn D05_what_the_mapping_may_still_counts(dialect: Dialect) {
        let arena = Arena::new(1);
        let (child, vmo) = (arena.child(0, 1), marked_vmo(1));
        child.map_vmo(VmOptions::PERM_READ, 0, 1, &vmo_without(&vmo, Rights::WRITE), 0).succeeds();
        arena.op(VmarOp::Decommit, 0, 1).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
        arena.shows_mark(0, 0);
    }

    #[both]
    fn D06_zero(dialect: Dialect) {
        let arena = Arena::new(2);
        arena.map(0, 2);
        arena.shows("11");
        arena.op(VmarOp::Zero, 0, 1).is(dialect, Ok(()), Err(Status::INVALID_ARGS));
        match dialect {
            Dialect::Documented => reads(arena.page(0), 0),
            Dialect::Kernel => arena.shows_mark(0, 0),
        }
        arena.shows_mark(1, 1);
    }

    #[both]
    fn D06_zero_without_write(dialect: Dialect) {
        let arena = Arena::new(1);
        arena.map(0, 1);
        let weak = arena.without(Rights::WRITE);
        weak.op(VmarOp::Zero, 0, 1).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
        arena.shows_mark(0, 0);
    }

    #[both]
    fn D06_zero_of_a_mapping_from_a_handle_without_write(dialect: Dialect) {
        let (arena, vmo) = (Arena::new(1), marked_vmo(1));
        arena.map_vmo(VmOptions::PERM_READ, 0, 1, &vmo_without(&vmo, Rights::WRITE), 0).succeeds();
        arena.op(VmarOp::Zero, 0, 1).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
        arena.shows_mark(0, 0);
    }

    #[both]
    fn D06_zero_in_a_sub_region(dialect: Dialect) {
        let arena = Arena::new(2);
        arena.child(0, 2).map(0, 2);
        let without = arena.without(Rights::OP_CHILDREN);
        without.op(VmarOp::Zero, 0, 1).is(dialect, Ok(()), Err(Status::INVALID_ARGS));
        match dialect {
            Dialect::Documented => reads(arena.page(0), 0),
            Dialect::Kernel => arena.shows_mark(0, 0),
        }
        arena.shows_mark(1, 1);
    }

    #[both]
    fn D06_zero_is_told_to_be_no_op_before_anything_else(dialect: Dialect) {
        let dead = dead_arena();
        let weak = dead.without(Rights::WRITE);
        weak.vmar.op_range(VmarOp::Zero, 1, 0).is(dialect, Err(Status::ACCESS_DENIED), Err(Status::INVALID_ARGS));
        dead.op(VmarOp::Zero, 0, 1).is(dialect, Err(Status::BAD_STATE), Err(Status::INVALID_ARGS));
    }

    #[both]
    fn D07_len_of_op_range_is_rounded_up_in_both(_dialect: Dialect) {
        let arena = Arena::new(3);
        let vmo = arena.map(0, 3);
        arena.vmar.op_range(VmarOp::Decommit, arena.page(0), PAGE_SIZE + 1).succeeds();
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[both]
    fn D08_prefetch_is_an_op_in_both(_dialect: Dialect) {
        let arena = Arena::new(1);
        arena.map(0, 1);
        arena.op(VmarOp::Prefetch, 0, 1).succeeds();
        arena.shows_mark(0, 0);
    }

    #[both("inspect=on")]
    fn D09_map_range_covers_every_protection_in_both(_dialect: Dialect) {
        let (arena, vmo) = (Arena::new(4), marked_vmo(4));
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        arena.vmar.protect(VmOptions::empty(), arena.page(0), PAGE_SIZE).succeeds();
        arena.vmar.protect(VmOptions::PERM_READ, arena.page(2), PAGE_SIZE).succeeds();
        arena.op(VmarOp::MapRange, 0, 4).succeeds();
        arena.has_entries("0111");
        load_aborts(arena.page(0));
        store(arena.page(1), 1);
        store_aborts(arena.page(2));
        store(arena.page(3), 1);
    }

    #[both("mmio=0x9010000+0x1000")]
    fn D11_physical_memory_may_be_mapped_past_its_end_in_both(_dialect: Dialect) {
        let (arena, vmo) = (Arena::new(2), rtc());
        arena.map_vmo(VmOptions::PERM_READ, 0, 2, &vmo, 0).succeeds();
        arena.shows("10");
    }

    #[both]
    fn D10_protect_is_the_same_in_both(_dialect: Dialect) {
        let (arena, _) = uncommitted(2);
        arena.vmar.protect(VmOptions::PERM_READ, arena.page(0), PAGE_SIZE - 1).succeeds();
        store_aborts(arena.page(0));
        store(arena.page(1), 1);
    }
}

/// The operations that both dialects have.
const ALL_IN_BOTH: [VmarOp; 6] =
    [VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed, VmarOp::Decommit, VmarOp::Commit, VmarOp::Prefetch];

/// A result that depends on the dialect.
trait InDialect {
    /// Asserts that the result is the one of the dialect.
    fn is(self, dialect: Dialect, documented: Self, kernel: Self);
}

impl InDialect for Result<()> {
    #[track_caller]
    fn is(self, dialect: Dialect, documented: Self, kernel: Self) {
        let expected = match dialect {
            Dialect::Documented => documented,
            Dialect::Kernel => kernel,
        };
        assert!(self == expected, "expected {expected:?}, got {self:?}");
    }
}
