//! `vmar_protect`.

use crate::arena::{ANY, Arena, R, RW, RWX, RX, executable_vmo, marked_vmo};
use crate::case::cases;
use crate::check::{Check, execute, execute_aborts, load_aborts, reads, store, store_aborts};
use crate::unmap_order::dead_arena;
use zx::{Object, PAGE_SIZE, Result, Rights, Status, Unowned, VmOptions, Vmar, Vmo};

cases! {
    #[kernel]
    fn C041_protect_by_a_handle_of_another_type() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        Unowned::<Vmar>::of(&vmo).protect(R, 0, 0).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn C053_protect_at_a_misaligned_address() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        arena.vmar.protect(R, arena.page(0) + 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        store(arena.page(0), 1);
    }

    #[kernel]
    fn C059_protect_of_nothing() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        protect(&arena, R, 0, 0).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C063_protect_of_a_len_that_rounds_to_zero() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        arena.vmar.protect(R, arena.page(0), u64::MAX).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C068_protect_with_options_that_are_no_permissions() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        for option in [VmOptions::CAN_MAP_WRITE, VmOptions::SPECIFIC, VmOptions::from_bits_retain(12 << 24)] {
            protect(&arena, R | option, 0, 1).fails_with(Status::INVALID_ARGS);
        }
        store(arena.page(0), 1);
    }

    #[kernel]
    fn C069_protect_of_a_len_that_is_not_whole_pages() {
        let arena = Arena::new(4);
        arena.map_vmo(R, 0, 4, &marked_vmo(4), 0).succeeds();
        arena.vmar.protect(RW, arena.page(0), 4 * PAGE_SIZE - 1).succeeds();
        (0..4).for_each(|page| store(arena.page(page), page));
    }

    #[kernel]
    fn C079_protect_beyond_the_rights_of_the_vmo_handle() {
        let arena = Arena::new(1);
        let vmo = executable_vmo(1);
        for (lacking, permitted) in [(Rights::WRITE, RX), (Rights::EXECUTE, RW)] {
            let weak = vmo.duplicate((Rights::DEFAULT_VMO | Rights::EXECUTE) - lacking).succeeds();
            arena.map_vmo(permitted, 0, 1, &weak, 0).succeeds();
            protect(&arena, RWX, 0, 1).fails_with(Status::ACCESS_DENIED);
            arena.unmap(0, 1).succeeds();
        }
    }

    #[kernel]
    fn C080_protect_beyond_the_rights_of_a_closed_vmo_handle() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        protect(&arena, RWX, 0, 1).fails_with(Status::ACCESS_DENIED);
        store(arena.page(0), 1);
        execute_aborts(arena.page(0));
    }

    #[kernel]
    fn C081_protect_through_the_parent_may_reduce() {
        let (arena, _child) = child_with_a_mapping();
        protect(&arena, R, 0, 2).succeeds();
        store_aborts(arena.page(0));
        arena.shows_mark(1, 1);
    }

    #[kernel]
    fn C082_protect_through_the_parent_may_not_add() {
        let (arena, _child) = child_with_a_mapping();
        protect(&arena, R, 0, 1).succeeds();
        protect(&arena, RW, 0, 2).fails_with(Status::ACCESS_DENIED);
        store_aborts(arena.page(0));
        store(arena.page(1), 1);
    }

    #[kernel]
    fn C083_protect_through_the_childs_own_handle_may_add_again() {
        let (arena, child) = child_with_a_mapping();
        protect(&arena, R, 0, 2).succeeds();
        protect(&child, RW, 0, 2).succeeds();
        store(arena.page(0), 1);
    }

    #[kernel]
    fn C084_protect_through_the_parent_without_op_children() {
        let (arena, _child) = child_with_a_mapping();
        protect(&arena.without(Rights::OP_CHILDREN), R, 0, 2).fails_with(Status::INVALID_ARGS);
        store(arena.page(0), 1);
    }

    #[kernel]
    fn C112_protect_of_part_of_a_mapping() {
        for (page, writable) in [(0, "0011"), (2, "1100"), (1, "1001")] {
            let arena = Arena::new(4);
            arena.map(0, 4);
            arena.shows("1111");
            protect(&arena, R, page, 2).succeeds();
            arena.shows("1111");
            lets_write(&arena, writable);
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn C113_protect_across_three_mappings() {
        let arena = Arena::new(6);
        [0, 2, 4].into_iter().for_each(|page| drop(arena.map(page, 2)));
        lets_write(&arena, "111111");
        protect(&arena, R, 1, 4).succeeds();
        lets_write(&arena, "100001");
    }

    #[kernel]
    fn C115_protect_across_a_gap() {
        let arena = Arena::new(5);
        arena.map(0, 2);
        arena.map(3, 2);
        protect(&arena, R, 0, 5).fails_with(Status::NOT_FOUND);
        protect(&arena, R, 2, 3).fails_with(Status::NOT_FOUND);
        protect(&arena, R, 1, 2).fails_with(Status::NOT_FOUND);
        store(arena.page(0), 1);
        store(arena.page(4), 1);
    }

    #[kernel]
    fn C116_protect_across_an_empty_region() {
        let arena = Arena::new(6);
        arena.map(0, 2);
        let _child = arena.child(2, 2);
        arena.map(4, 2);
        protect(&arena, R, 0, 6).fails_with(Status::NOT_FOUND);
        [0, 1, 4, 5].into_iter().for_each(|page| store(arena.page(page), 1));
    }

    #[kernel]
    fn C117_protect_across_a_full_region() {
        let arena = Arena::new(6);
        arena.map(0, 2);
        arena.child(2, 2).map(0, 2);
        arena.map(4, 2);
        protect(&arena, R, 0, 6).succeeds();
        lets_write(&arena, "000000");
    }

    #[kernel]
    fn C119_protect_of_the_upper_part_of_a_gigabyte() {
        let (len_bytes, two_mib) = (1 << 30, 2 << 20);
        let vmo = Vmo::create(len_bytes).succeeds();
        let root = Vmar::root().succeeds();
        let base = root.map(RW | VmOptions::SPECIFIC, Arena::BASE, &vmo, 0, len_bytes).succeeds();
        let from = base + 4 * two_mib + PAGE_SIZE;
        store(from - 8, 1);
        store(from, 1);
        root.protect(R, from, base + len_bytes - from).succeeds();
        store(base, 2);
        store(from - 8, 2);
        store_aborts(from);
        store_aborts(base + len_bytes - 8);
        reads(from, 1);
    }

    #[kernel]
    fn C151_protect_to_execute_only_reads_too() {
        let arena = Arena::new(1);
        arena.map_vmo(RW, 0, 1, &executable_vmo(1), 0).succeeds();
        let options = VmOptions::PERM_EXECUTE | VmOptions::PERM_READ_IF_XOM_UNSUPPORTED;
        protect(&arena, options, 0, 1).succeeds();
        execute(arena.page(0));
        arena.shows("1");
    }

    #[kernel]
    fn C179_protect_to_no_access() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        protect(&arena, VmOptions::empty(), 0, 1).succeeds();
        load_aborts(arena.page(0));
        store_aborts(arena.page(0));
        protect(&arena, RW, 0, 1).succeeds();
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn V20_protect_by_a_weak_handle() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        protect(&arena.without(Rights::WRITE), RW, 0, 1).fails_with(Status::ACCESS_DENIED);
        protect(&arena.without(Rights::WRITE), R, 0, 1).succeeds();
    }

    #[kernel]
    fn V21_protect_to_write_or_execute_without_read() {
        let arena = Arena::new(1);
        arena.map_vmo(RWX, 0, 1, &executable_vmo(1), 0).succeeds();
        for options in [VmOptions::PERM_WRITE, VmOptions::PERM_EXECUTE] {
            protect(&arena, options, 0, 1).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn V22_misaligned_address_beats_a_dead_vmar_and_that_beats_a_range_outside() {
        let dead = dead_arena();
        dead.vmar.protect(R, dead.base + 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        protect(&dead, R, 4, 1).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn V23_protect_outside_the_vmar() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        protect(&arena, R, 1, 2).fails_with(Status::INVALID_ARGS);
        store(arena.page(1), 1);
    }

    #[kernel]
    fn V24_one_mapping_that_may_not_keeps_the_others_as_they_are() {
        let arena = Arena::new(2);
        arena.map_vmo(RW, 0, 1, &executable_vmo(1), 0).succeeds();
        arena.map(1, 1);
        protect(&arena, RWX, 0, 2).fails_with(Status::ACCESS_DENIED);
        execute_aborts(arena.page(0));
    }

    #[kernel]
    fn V25_parts_keep_their_protection_when_the_mapping_is_split() {
        let arena = Arena::with_options(ANY, 6);
        arena.map(0, 6);
        protect(&arena, R, 0, 2).succeeds();
        protect(&arena, R, 4, 1).succeeds();
        arena.unmap(1, 2).succeeds();
        arena.shows("100111");
        for (page, is_writable) in [(0, false), (3, true), (4, false), (5, true)] {
            if is_writable { store(arena.page(page), 1) } else { store_aborts(arena.page(page)) }
        }
    }
}

fn protect(arena: &Arena, options: VmOptions, page: u64, page_count: u64) -> Result<()> {
    arena.vmar.protect(options, arena.page(page), page_count * PAGE_SIZE)
}

/// A region that fills an arena, and maps all of it.
fn child_with_a_mapping() -> (Arena, Arena) {
    let arena = Arena::new(2);
    let child = arena.child(0, 2);
    child.map(0, 2);
    store(arena.page(0), 1);
    (arena, child)
}

/// Asserts which pages can be written: `1` for one that can, `0` for one where a store takes an abort.
#[track_caller]
fn lets_write(arena: &Arena, pages: &str) {
    for (page, expected) in pages.chars().enumerate() {
        let address = arena.page(page as u64) + 8;
        match expected {
            '1' => store(address, 1),
            _ => store_aborts(address),
        }
    }
}
