//! What Zircon's tests of VMARs assert beside the rows that are cases of their own, by the numbers between those.

use crate::allocate::eight_gib;
use crate::arena::{ANY, Arena, R, RW, RWX, RX, committed_pages, empty_vmo, executable_vmo, mark, marked_vmo};
use crate::case::cases;
use crate::check::{Check, load_aborts, reads, store};
use zx::{Alignment, Object, PAGE_SIZE, Rights, Status, Unowned, VmOptions, Vmar, VmarOp, Vmo};

cases! {
    #[kernel]
    fn G002_destroy_with_op_children() {
        let arena = Arena::new(10);
        let child = arena.child(0, 10);
        child.map(0, 2);
        arena.shows("11");
        child.vmar.duplicate(Rights::OP_CHILDREN).succeeds().destroy().succeeds();
        arena.shows("00");
        child.is_dead();
        arena.is_alive(0);
    }

    #[kernel]
    fn G006_upper_limits_that_are_none() {
        let arena = Arena::new(10);
        let vmo = empty_vmo(1);
        let map = |arena: &Arena, limit| {
            arena.vmar.map(RW | VmOptions::OFFSET_IS_UPPER_LIMIT, limit, &vmo, 0, PAGE_SIZE)
        };
        for limit in [0, PAGE_SIZE - 1, PAGE_SIZE + 1, 11 * PAGE_SIZE, u64::MAX, 0_u64.wrapping_sub(PAGE_SIZE)] {
            map(&arena, limit).fails_with(Status::INVALID_ARGS);
        }
        assert_eq!(map(&arena, PAGE_SIZE), Ok(arena.base));
        arena.vmar.destroy().succeeds();
        map(&Arena::with_options(VmOptions::CAN_MAP_ACCESS, 10), PAGE_SIZE).fails_with(Status::ACCESS_DENIED);
    }

    #[kernel]
    fn G010_upper_limit_is_kept_until_all_below_is_taken() {
        let (arena, vmo) = (Arena::new(100), empty_vmo(1));
        let mut taken = [false; 50];
        for _ in 0..50 {
            let options = RW | VmOptions::OFFSET_IS_UPPER_LIMIT;
            let address = arena.vmar.map(options, 50 * PAGE_SIZE, &vmo, 0, PAGE_SIZE).succeeds();
            taken[((address - arena.base) / PAGE_SIZE) as usize] = true;
        }
        assert_eq!(taken, [true; 50]);
    }

    #[kernel]
    fn G010_upper_limit_of_a_region() {
        let arena = Arena::new(100);
        let options = VmOptions::CAN_MAP_READ | VmOptions::OFFSET_IS_UPPER_LIMIT;
        for _ in 0..5 {
            let (child, base) = arena.vmar.allocate(options, 50 * PAGE_SIZE, 10 * PAGE_SIZE).succeeds();
            assert!(base >= arena.base && base <= arena.page(40), "{base:#x}");
            child.destroy().succeeds();
        }
        arena.vmar.allocate(options, 5 * PAGE_SIZE, 10 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.vmar.allocate(options, 101 * PAGE_SIZE, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn G014_allocate_across_the_end() {
        let arena = Arena::new(10);
        for (offset, len_bytes) in [(9, 2), (1, 10), (0, 11), (u64::MAX >> 12, 1), (u64::MAX >> 12, 2)] {
            let options = ANY | VmOptions::SPECIFIC;
            let result = arena.vmar.allocate(options, offset * PAGE_SIZE, len_bytes * PAGE_SIZE);
            result.fails_with(Status::INVALID_ARGS);
        }
        arena.child(9, 1).is_alive(0);
    }

    #[kernel]
    fn G018_allocate_where_a_region_was_destroyed() {
        let arena = Arena::new(10);
        let (child, base) = arena.vmar.allocate(ANY, 0, 10 * PAGE_SIZE).succeeds();
        arena.vmar.allocate(ANY, 0, PAGE_SIZE).fails_with(Status::NO_RESOURCES);
        child.destroy().succeeds();
        let (_, again) = arena.vmar.allocate(ANY, 0, 10 * PAGE_SIZE).succeeds();
        assert_eq!((base, again), (arena.base, arena.base));
    }

    #[kernel]
    fn G022_unmap_and_op_range_in_what_is_destroyed() {
        let arena = Arena::new(4);
        let outer = arena.child(0, 4);
        let nested = outer.child(2, 2);
        nested.map(0, 1);
        outer.vmar.destroy().succeeds();
        for dead in [&outer, &nested] {
            dead.unmap(0, 1).fails_with(Status::BAD_STATE);
            dead.op(VmarOp::Decommit, 0, 1).fails_with(Status::BAD_STATE);
        }
    }

    #[kernel]
    fn G026_map_where_a_destroyed_region_showed_something() {
        let arena = Arena::new(10);
        let child = arena.child(3, 1);
        child.map(0, 1);
        arena.shows_mark(3, 0);
        child.vmar.destroy().succeeds();
        load_aborts(arena.page(3));
        arena.map_vmo(RW, 3, 1, &empty_vmo(1), 0).succeeds();
        reads(arena.page(3), 0);
    }

    #[kernel]
    fn G030_map_with_every_alignment() {
        let (vmar, vmo) = (eight_gib(), empty_vmo(2));
        for log2 in 10..=32 {
            let alignment = Alignment::from_log2(log2).expect("a legal alignment").options();
            let address = vmar.map(RW | alignment, 0, &vmo, 0, 2 * PAGE_SIZE).succeeds();
            assert!(address.is_multiple_of(1 << log2), "{address:#x} is not aligned to 2^{log2}");
            store(address + 8, 0x123_4321);
            vmar.unmap(address, 2 * PAGE_SIZE).succeeds();
            load_aborts(address);
        }
    }

    #[kernel]
    fn G034_allocate_over_a_mapping() {
        let arena = Arena::new(10);
        arena.map(4, 2);
        for (page, count) in [(4, 2), (3, 2), (5, 2), (3, 4), (4, 1)] {
            let result = arena.vmar.allocate(ANY | VmOptions::SPECIFIC, page * PAGE_SIZE, count * PAGE_SIZE);
            result.fails_with(Status::ALREADY_EXISTS);
        }
        arena.shows("0000 11 0000");
    }

    #[kernel]
    fn G038_destroy_and_op_range_by_a_handle_of_another_type() {
        let vmo = empty_vmo(1);
        let vmar = Unowned::<Vmar>::of(&vmo);
        vmar.destroy().fails_with(Status::WRONG_TYPE);
        vmar.op_range(VmarOp::Commit, 0, 0).fails_with(Status::WRONG_TYPE);
        vmar.info().fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn G042_offset_of_a_region_that_is_not_placed() {
        let arena = Arena::new(10);
        arena.vmar.allocate(VmOptions::CAN_MAP_READ, PAGE_SIZE, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.vmar.allocate(VmOptions::CAN_MAP_READ, 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn G046_options_of_the_other_kind() {
        let (arena, vmo) = (Arena::new(10), empty_vmo(1));
        for option in [VmOptions::SPECIFIC_OVERWRITE, VmOptions::PERM_WRITE, VmOptions::MAP_RANGE] {
            arena.vmar.allocate(VmOptions::CAN_MAP_READ | option, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
        for option in [VmOptions::CAN_MAP_READ, VmOptions::CAN_MAP_WRITE, VmOptions::COMPACT] {
            arena.vmar.map(R | option, 0, &vmo, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn G050_map_at_a_misaligned_offset() {
        let (arena, vmo) = (Arena::new(10), empty_vmo(4));
        for kind in [VmOptions::SPECIFIC, VmOptions::SPECIFIC_OVERWRITE] {
            for offset in [PAGE_SIZE - 1, PAGE_SIZE + 8, 1] {
                arena.vmar.map(RW | kind, offset, &vmo, 0, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
            }
        }
        arena.shows("000");
    }

    #[kernel]
    fn G054_range_of_a_vmo_that_wraps() {
        let (arena, vmo) = (Arena::new(10), empty_vmo(4));
        let last_page = 0_u64.wrapping_sub(PAGE_SIZE);
        for options in [RW, RW | VmOptions::MAP_RANGE] {
            arena.vmar.map(options, 0, &vmo, last_page, 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        }
    }

    #[kernel]
    fn G058_unmap_of_nothing() {
        let arena = Arena::new(10);
        arena.map(0, 4);
        for page in [0, 2, 9] {
            arena.unmap(page, 0).fails_with(Status::INVALID_ARGS);
        }
        arena.shows("1111");
    }

    #[kernel]
    fn G062_unmap_of_a_len_that_rounds_to_zero() {
        let arena = Arena::new(10);
        arena.map(0, 4);
        arena.vmar.unmap(arena.page(0), u64::MAX).fails_with(Status::INVALID_ARGS);
        arena.vmar.unmap(arena.page(0), u64::MAX - PAGE_SIZE + 2).fails_with(Status::INVALID_ARGS);
        arena.vmar.unmap(arena.page(0), 0_u64.wrapping_sub(PAGE_SIZE)).fails_with(Status::INVALID_ARGS);
        arena.shows("1111");
    }

    #[kernel]
    fn G070_unmap_of_a_len_that_is_not_whole_pages() {
        let arena = Arena::new(8);
        arena.map(0, 8);
        arena.vmar.unmap(arena.page(0), 4 * PAGE_SIZE - 1).succeeds();
        arena.shows("0000 1111");
        arena.vmar.unmap(arena.page(4), 1).succeeds();
        arena.shows("0000 0111");
    }

    #[kernel]
    fn G086_map_more_than_the_region_allows() {
        let vmo = executable_vmo(1);
        let lacking = [
            (VmOptions::CAN_MAP_READ, [R, RW, RWX]),
            (VmOptions::CAN_MAP_WRITE, [RW, RWX, RWX]),
            (VmOptions::CAN_MAP_EXECUTE, [RX, RWX, RWX]),
        ];
        for (option, beyond) in lacking {
            let arena = Arena::with_options(ANY - option, 1);
            beyond.into_iter().for_each(|perms| arena.map_vmo(perms, 0, 1, &vmo, 0).fails_with(Status::ACCESS_DENIED));
            arena.map_vmo(VmOptions::empty(), 0, 1, &vmo, 0).succeeds();
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn G090_placement_is_the_childs_own_to_allow() {
        let arena = Arena::with_options(VmOptions::CAN_MAP_ACCESS, 4);
        let (child, base) = arena.vmar.allocate(ANY, 0, 4 * PAGE_SIZE).succeeds();
        let vmo = marked_vmo(1);
        let mapped = child.map(R | VmOptions::SPECIFIC, 2 * PAGE_SIZE, &vmo, 0, PAGE_SIZE).succeeds();
        assert_eq!(mapped, base + 2 * PAGE_SIZE);
        reads(mapped, mark(0));
    }

    #[kernel]
    fn G154_prefetch_of_mappings() {
        let arena = Arena::new(4);
        let vmo = empty_vmo(4);
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        arena.op(VmarOp::Prefetch, 0, 4).succeeds();
        arena.vmar.op_range(VmarOp::Prefetch, arena.page(1), PAGE_SIZE + 1).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
        arena.shows("1111");
    }

    #[kernel]
    fn G158_prefetch_in_a_region_and_by_a_weak_handle() {
        let arena = Arena::new(4);
        arena.child(0, 2).map(0, 2);
        arena.map(2, 2);
        arena.op(VmarOp::Prefetch, 0, 2).fails_with(Status::INVALID_ARGS);
        arena.without(Rights::ACCESS).op(VmarOp::Prefetch, 2, 2).succeeds();
    }

    #[kernel]
    fn C160_fault_beyond_stream_size_is_no_option() {
        let (arena, vmo) = (Arena::new(1), empty_vmo(1));
        let option = VmOptions::from_bits_retain(1 << 15);
        arena.map_vmo(RW | option, 0, 1, &vmo, 0).fails_with(Status::INVALID_ARGS);
        arena.map_vmo(RW | option | VmOptions::ALLOW_FAULTS, 0, 1, &vmo, 0).fails_with(Status::INVALID_ARGS);
        arena.shows("0");
    }

    #[kernel]
    fn G174_two_mappings_of_one_vmo() {
        let arena = Arena::new(4);
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.map_vmo(RW, 2, 2, &vmo, 0).succeeds();
        store(arena.page(0), 5);
        reads(arena.page(2), 5);
        arena.unmap(0, 2).succeeds();
        arena.shows("0011");
        store(arena.page(3), 6);
        assert_eq!(crate::arena::read_word(&vmo, 1), 6);
    }
}
