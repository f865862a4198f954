//! What Zircon's tests of permissions assert beside the rows that are cases of their own, by the numbers between those.

use crate::arena::{Arena, R, RW, RWX, RX, executable_vmo, marked_vmo};
use crate::case::cases;
use crate::check::{Check, execute, execute_aborts, load_aborts, reads, store, store_aborts};
use zx::{Object, PAGE_SIZE, Rights, Status, VmOptions};

cases! {
    #[kernel]
    fn G054_protect_outside_of_what_is_mapped() {
        let arena = Arena::new(10);
        arena.map(4, 4);
        arena.vmar.protect(R, arena.page(4), 7 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.vmar.protect(R, arena.page(4), 5 * PAGE_SIZE).fails_with(Status::NOT_FOUND);
        arena.vmar.protect(R, arena.page(4), PAGE_SIZE + 8).succeeds();
        store_aborts(arena.page(5));
        store(arena.page(6), 1);
    }

    #[kernel]
    fn G066_protect_with_options_that_there_are_not() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        for bit in [1 << 31, 1 << 15, 1 << 16, 9 << 24] {
            let options = R | VmOptions::from_bits_retain(bit);
            arena.vmar.protect(options, arena.page(0), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        }
        store(arena.page(0), 1);
    }

    #[kernel]
    fn G074_protect_by_a_handle_that_lost_rights() {
        let (arena, vmo) = (Arena::new(1), executable_vmo(1));
        arena.map_vmo(RWX, 0, 1, &vmo, 0).succeeds();
        let weak = [(Rights::WRITE | Rights::EXECUTE, R), (Rights::EXECUTE, RW), (Rights::WRITE, RX)];
        for (lacking, permitted) in weak {
            let protect = |perms| arena.without(lacking).vmar.protect(perms, arena.page(0), PAGE_SIZE);
            protect(RWX).fails_with(Status::ACCESS_DENIED);
            protect(permitted).succeeds();
            arena.vmar.protect(RWX, arena.page(0), PAGE_SIZE).succeeds();
        }
        let without_read = arena.without(Rights::READ);
        without_read.vmar.protect(R, arena.page(0), PAGE_SIZE).fails_with(Status::ACCESS_DENIED);
        without_read.vmar.protect(VmOptions::empty(), arena.page(0), PAGE_SIZE).succeeds();
        load_aborts(arena.page(0));
    }

    #[kernel]
    fn G078_protect_within_the_rights_of_the_vmo_handle() {
        let (arena, vmo) = (Arena::new(1), executable_vmo(1));
        let read_only = vmo.duplicate(Rights::MAP | Rights::READ).succeeds();
        arena.map_vmo(R, 0, 1, &read_only, 0).succeeds();
        let protect = |perms| arena.vmar.protect(perms, arena.page(0), PAGE_SIZE);
        for beyond in [RW, RX, RWX] {
            protect(beyond).fails_with(Status::ACCESS_DENIED);
        }
        protect(VmOptions::empty()).succeeds();
        load_aborts(arena.page(0));
        protect(R).succeeds();
        store_aborts(arena.page(0));
        execute_aborts(arena.page(0));
    }

    #[kernel]
    fn G114_protect_from_within_one_mapping_to_within_another() {
        let arena = Arena::new(9);
        [0, 3, 6].into_iter().for_each(|page| drop(arena.map(page, 3)));
        arena.shows("111 111 111");
        arena.vmar.protect(R, arena.page(2), 5 * PAGE_SIZE).succeeds();
        for page in 0..9 {
            let address = arena.page(page);
            if (2..7).contains(&page) { store_aborts(address) } else { store(address, 1) }
        }
    }

    #[kernel]
    fn G118_protect_across_a_region_that_is_filled_in_part() {
        let arena = Arena::new(6);
        arena.map(0, 2);
        arena.child(2, 2).map(0, 1);
        arena.map(4, 2);
        arena.vmar.protect(R, arena.page(0), 6 * PAGE_SIZE).fails_with(Status::NOT_FOUND);
        [0, 1, 2, 4, 5].into_iter().for_each(|page| store(arena.page(page), 1));
        arena.vmar.protect(R, arena.page(1), 2 * PAGE_SIZE).succeeds();
        [1, 2].into_iter().for_each(|page| store_aborts(arena.page(page)));
        store(arena.page(0), 1);
    }

    #[kernel]
    fn G150_map_to_execute_only_reads_too() {
        let arena = Arena::new(1);
        let vmo = executable_vmo(1);
        let options = VmOptions::PERM_EXECUTE | VmOptions::PERM_READ_IF_XOM_UNSUPPORTED;
        let no_read = vmo.duplicate(Rights::MAP | Rights::EXECUTE).succeeds();
        arena.map_vmo(options, 0, 1, &no_read, 0).fails_with(Status::ACCESS_DENIED);
        arena.map_vmo(options, 0, 1, &vmo, 0).succeeds();
        execute(arena.page(0));
        reads(arena.page(0), guest::probe::RET.into());
        store_aborts(arena.page(0));
    }

    #[kernel]
    fn G178_mapping_to_be_read_lets_read_alone() {
        let (arena, vmo) = (Arena::new(1), marked_vmo(1));
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        store_aborts(arena.page(0));
        execute_aborts(arena.page(0));
        arena.shows_mark(0, 0);
        vmo.read_to_address(arena.page(0), 0, 8).fails_with(Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
    }
}
