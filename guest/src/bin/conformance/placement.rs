//! `vmar_map`: where a mapping goes.

use crate::allocate::eight_gib;
use crate::arena::{ANY, Arena, RW, mark, marked_vmo};
use crate::case::cases;
use crate::check::{Check, reads};
use crate::map::{OVERWRITE, SPECIFIC, map_one};
use zx::{Alignment, PAGE_SIZE, Status, VmOptions, Vmo};

cases! {
    #[kernel]
    fn C005_map_in_a_compact_vmar() {
        let arena = Arena::with_options(ANY | VmOptions::COMPACT, 10);
        let range = arena.base..arena.page(10);
        for _ in 0..2 {
            let address = arena.vmar.map(RW, 0, &marked_vmo(1), 0, PAGE_SIZE).succeeds();
            assert!(range.contains(&address), "{address:#x}");
            reads(address, mark(0));
        }
    }

    #[kernel]
    fn C007_upper_limit_below_the_len() {
        let arena = Arena::new(100);
        map_below(&arena, 1, 2).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C008_upper_limit_and_a_len_above_the_vmar() {
        let arena = Arena::new(100);
        map_below(&arena, 1, 101).fails_with(Status::INVALID_ARGS);
        map_below(&arena, 101, 1).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C009_upper_limit_that_leaves_the_whole_vmar() {
        let arena = Arena::new(100);
        assert_eq!(map_below(&arena, 100, 100), Ok(arena.base));
        arena.unmap(0, 100).succeeds();
    }

    #[kernel]
    fn C011_upper_limit_below_which_all_is_taken() {
        let arena = lower_half_taken();
        map_below(&arena, 50, 1).fails_with(Status::NO_RESOURCES);
    }

    #[kernel]
    fn C012_map_without_a_limit_goes_above_what_is_taken() {
        let arena = lower_half_taken();
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let address = arena.vmar.map(RW, 0, &vmo, 0, PAGE_SIZE).succeeds();
        assert!((arena.page(50)..arena.page(100)).contains(&address), "{address:#x}");
    }

    #[kernel]
    fn C027_aligned_map_at_an_offset_that_is_not() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        eight_gib().map(SPECIFIC | aligned(16), 4096, &vmo, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C028_aligned_map_at_an_offset_that_is() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let address = eight_gib().map(SPECIFIC | aligned(16), 1 << 16, &vmo, 0, PAGE_SIZE).succeeds();
        assert_eq!(address % (1 << 16), 0);
    }

    #[kernel]
    fn C029_alignments_that_do_not_exist() {
        let (vmar, vmo) = (eight_gib(), Vmo::create(PAGE_SIZE).succeeds());
        for field in [9, 33] {
            let options = RW | VmOptions::from_bits_retain(field << 24);
            vmar.map(options, 0, &vmo, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C043_offset_without_placement() {
        map_one(RW, 1, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C045_two_kinds_of_offset() {
        for kind in [SPECIFIC, OVERWRITE] {
            map_one(kind | VmOptions::OFFSET_IS_UPPER_LIMIT, 1, 0).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C088_placement_where_it_is_not_allowed() {
        let arena = Arena::with_options(VmOptions::CAN_MAP_ACCESS, 4);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        for options in [SPECIFIC, OVERWRITE] {
            arena.vmar.map(options, 0, &vmo, 0, PAGE_SIZE).fails_with(Status::ACCESS_DENIED);
        }
    }

    #[kernel]
    fn C173_highest_offset() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let highest_page = 0_u64.wrapping_sub(PAGE_SIZE);
        Arena::new(1).vmar.map(SPECIFIC, highest_page, &vmo, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }
}

fn aligned(log2: u32) -> VmOptions {
    Alignment::from_log2(log2).expect("a legal alignment").options()
}

/// Maps pages anywhere below a page of an arena.
fn map_below(arena: &Arena, limit_page: u64, page_count: u64) -> zx::Result<u64> {
    let vmo = Vmo::create(PAGE_SIZE).succeeds();
    let options = RW | VmOptions::OFFSET_IS_UPPER_LIMIT;
    arena.vmar.map(options, limit_page * PAGE_SIZE, &vmo, 0, page_count * PAGE_SIZE)
}

/// An arena of 100 pages whose lower half was filled page by page.
fn lower_half_taken() -> Arena {
    let arena = Arena::new(100);
    for _ in 0..50 {
        let address = map_below(&arena, 50, 1).succeeds();
        assert!((arena.page(0)..arena.page(50)).contains(&address), "{address:#x}");
    }
    arena
}
