//! What Zircon's kernel tests of address spaces assert, as far as calls show it: §6 and §7 of the list of rows.

use crate::arena::{
    Arena, BLOCK, R, RW, RWX, RX, contiguous_vmo, descriptor, empty_vmo, executable_vmo, mark, marked_vmo, vmo_without,
    walk, write_mark,
};
use crate::case::cases;
use crate::check::{Check, execute, execute_aborts, load_aborts, reads, store, store_aborts};
use abi::stats::Counter;
use zx::{Object, PAGE_SIZE, Result, Rights, Status, Vm, VmOptions, Vmar, VmarOp, Vmo, VmoOp, inspect};

cases! {
    #[kernel]
    fn C340_mappings_that_touch_become_one() {
        let arena = Arena::new(8);
        let vmo = marked_vmo(8);
        let count = || vmo.info().succeeds().num_mappings;
        arena.map_vmo(RW, 2, 2, &vmo, 2).succeeds();
        arena.map_vmo(RW, 4, 2, &vmo, 4).succeeds();
        assert_eq!(count(), 1, "the one after");
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        assert_eq!(count(), 1, "the one before");
        arena.unmap(3, 1).succeeds();
        assert_eq!(count(), 2);
        arena.map_vmo(RW, 3, 1, &vmo, 3).succeeds();
        assert_eq!(count(), 1, "the one between");
        (0..6).for_each(|page| arena.shows_mark(page, page));
        arena.unmap(0, 6).succeeds();
        assert_eq!(count(), 0);
    }

    #[kernel]
    fn C340_mappings_that_differ_stay_two() {
        let other = marked_vmo(8);
        let map_other: [(&str, SecondMap); 6] = [
            ("offset", |arena, vmo, _| arena.map_vmo(RW, 4, 2, vmo, 5)),
            ("VMO", |arena, _, other| arena.map_vmo(RW, 4, 2, other, 4)),
            ("flags", |arena, vmo, _| {
                let options = RW | VmOptions::SPECIFIC_OVERWRITE;
                arena.vmar.map(options, 4 * PAGE_SIZE, vmo, 4 * PAGE_SIZE, 2 * PAGE_SIZE)
            }),
            ("rights", |arena, vmo, _| arena.map_vmo(R, 4, 2, &vmo_without(vmo, Rights::WRITE), 4)),
            ("address", |arena, vmo, _| arena.map_vmo(RW, 5, 2, vmo, 4)),
            ("region", |arena, vmo, _| arena.child(4, 2).map_vmo(RW, 0, 2, vmo, 4)),
        ];
        for (what, map) in map_other {
            let (arena, vmo) = (Arena::new(8), marked_vmo(8));
            arena.map_vmo(RW, 2, 2, &vmo, 2).succeeds();
            map(&arena, &vmo, &other).succeeds();
            let mappings = vmo.info().succeeds().num_mappings + other.info().succeeds().num_mappings;
            assert_eq!(mappings, 2, "{what}");
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel("inspect=on")]
    fn C345_map_range_over_a_sparse_mapping_skips_the_holes() {
        const LEN_BYTES: u64 = 16 << 30;
        const PAGES: [u64; 3] = [0, (LEN_BYTES / 2 + PAGE_SIZE) / PAGE_SIZE, LEN_BYTES / PAGE_SIZE - 1];
        let root = Vmar::root().succeeds();
        let vmo = Vmo::create(LEN_BYTES).succeeds();
        PAGES.into_iter().for_each(|page| write_mark(&vmo, page));
        let base = root.map(RW | VmOptions::SPECIFIC, LEN_BYTES, &vmo, 0, LEN_BYTES).succeeds();
        let before = stores();
        root.op_range(VmarOp::MapRange, base, LEN_BYTES).succeeds();
        // A page is one store, and the tables on the way to it at most two; the rest of the range costs none.
        let cost = stores() - before;
        assert!(cost <= 3 * PAGES.len() as u64, "{cost} stores");
        for page in PAGES {
            assert!(descriptor(base + page * PAGE_SIZE).is_valid());
            reads(base + page * PAGE_SIZE, mark(page));
        }
        assert!(!descriptor(base + PAGE_SIZE).is_valid());
    }

    #[kernel("inspect=on")]
    fn C349_protect_of_two_pages_in_a_block() {
        let (arena, vmo) = (Arena::new(BLOCK), contiguous_vmo(BLOCK * PAGE_SIZE));
        arena.map_vmo(RW, 0, BLOCK, &vmo, 0).succeeds();
        arena.op(VmarOp::Commit, 0, BLOCK).succeeds();
        assert_eq!(walk(arena.page(0)).level, 2);
        arena.vmar.protect(R, arena.page(255), 2 * PAGE_SIZE).succeeds();
        for page in [0, 254, 257, BLOCK - 1] {
            store(arena.page(page), page);
            assert!(descriptor(arena.page(page)).is_writable());
        }
        for page in [255, 256] {
            store_aborts(arena.page(page));
            reads(arena.page(page), 0);
            assert!(!descriptor(arena.page(page)).is_writable());
        }
    }

    #[kernel("quota=24M")]
    fn C350_protect_of_part_of_a_block_without_memory_for_a_table() {
        let arena = Arena::new(BLOCK);
        let vmo = contiguous_vmo(BLOCK * PAGE_SIZE);
        arena.map_vmo(RW, 0, BLOCK, &vmo, 0).succeeds();
        arena.op(VmarOp::Commit, 0, BLOCK).succeeds();
        let _rest = take_all_memory();
        let result = arena.vmar.protect(R, arena.page(3), PAGE_SIZE);
        let neighbours = [0, 2, 4, BLOCK - 1];
        neighbours.into_iter().for_each(|page| store(arena.page(page), page));
        neighbours.into_iter().for_each(|page| reads(arena.page(page), page));
        result.fails_with(Status::NO_MEMORY);
        store(arena.page(3), 3);
    }

    #[kernel]
    fn C351_only_a_gap_that_is_large_enough_is_taken() {
        let arena = Arena::new(12);
        [2, 5, 9].into_iter().for_each(|page| drop(arena.map(page, 1)));
        let allocate = |page_count| arena.vmar.allocate(VmOptions::CAN_MAP_READ, 0, page_count * PAGE_SIZE);
        allocate(4).fails_with(Status::NO_RESOURCES);
        assert_eq!(allocate(3).succeeds().1, arena.page(6));
        allocate(3).fails_with(Status::NO_RESOURCES);
        let taken = [allocate(2).succeeds().1, allocate(2).succeeds().1, allocate(2).succeeds().1];
        for page in [0, 3, 10] {
            assert!(taken.contains(&arena.page(page)), "page {page} is free");
        }
        allocate(1).fails_with(Status::NO_RESOURCES);
    }

    #[kernel]
    fn C352_first_and_last_bytes_of_a_mapping() {
        let arena = Arena::new(6);
        arena.map(2, 2);
        reads(arena.page(2), mark(0));
        reads(arena.page(4) - 8, 0);
        load_aborts(arena.page(2) - 8);
        load_aborts(arena.page(4));
        let vmo = empty_vmo(1);
        for page in [2, 3] {
            arena.map_vmo(RW, page, 1, &vmo, 0).fails_with(Status::ALREADY_EXISTS);
        }
        for page in [1, 4] {
            arena.map_vmo(RW, page, 1, &vmo, 0).succeeds();
        }
        arena.shows("0 1 11 1 0");
    }

    #[kernel]
    fn C359_every_permission_does_what_it_says_and_no_more() {
        let arena = Arena::new(5);
        let vmo = executable_vmo(5);
        let sets = [VmOptions::empty(), R, RW, RX, RWX];
        for (page, perms) in (0..).zip(sets) {
            arena.map_vmo(perms, page, 1, &vmo, page).succeeds();
            does(&arena, page, perms);
        }
        arena.vmar.unmap(arena.page(0), 5 * PAGE_SIZE).succeeds();
        arena.shows("00000");
    }

    #[kernel]
    fn C360_unmap_of_the_one_mapping() {
        let arena = Arena::new(2);
        arena.map(0, 1);
        arena.shows("10");
        arena.unmap(0, 1).succeeds();
        arena.shows("00");
    }

    #[kernel]
    fn C361_unmap_elsewhere_has_no_effect() {
        let arena = Arena::new(4);
        let vmo = arena.map(0, 1);
        arena.unmap(2, 1).succeeds();
        arena.shows("1000");
        assert_eq!(vmo.info().succeeds().num_mappings, 1);
    }

    #[kernel]
    fn C362_unmap_across_two_mappings() {
        let arena = Arena::new(5);
        let (first, second) = (arena.map(0, 2), arena.map(3, 2));
        arena.unmap(1, 3).succeeds();
        arena.shows("10001");
        arena.shows_mark(4, 1);
        assert_eq!((first.info().succeeds().num_mappings, second.info().succeeds().num_mappings), (1, 1));
    }

    #[kernel]
    fn C364_unmap_of_parts_of_two_regions_changes_nothing() {
        let arena = Arena::new(5);
        let (left, middle) = (arena.child(0, 2), arena.child(2, 1));
        left.map(1, 1);
        middle.map(0, 1);
        arena.map(3, 2);
        arena.unmap(1, 3).fails_with(Status::INVALID_ARGS);
        arena.shows("01111");
        left.is_alive(0);
        middle.unmap(0, 1).succeeds();
        middle.is_alive(0);
    }

    #[kernel("inspect=on")]
    fn C365_commit_of_a_vmo_shows_through_its_mappings_alone() {
        let (arena, vmo) = (Arena::new(4), empty_vmo(4));
        arena.map_vmo(RW, 1, 1, &vmo, 1).succeeds();
        arena.map_vmo(RW, 3, 1, &vmo, 3).succeeds();
        vmo.op_range(VmoOp::Commit, 0, 4 * PAGE_SIZE).succeeds();
        arena.op(VmarOp::MapRange, 1, 1).succeeds();
        arena.op(VmarOp::MapRange, 3, 1).succeeds();
        arena.has_entries("0101");
        arena.shows("0101");
    }

    #[kernel("inspect=on")]
    fn C366_first_touch_of_each_kind_of_mapping() {
        let arena = Arena::new(4);
        let vmo = executable_vmo(4);
        for (page, perms) in (0..).zip([RWX, R, RW, RX]) {
            arena.map_vmo(perms, page, 1, &vmo, page).succeeds();
            assert!(!descriptor(arena.page(page)).is_valid());
            does(&arena, page, perms);
            assert!(descriptor(arena.page(page)).is_valid());
        }
    }
}

/// Maps a second part of a VMO, or of another, and differs in one thing from what would continue the first.
type SecondMap = fn(&Arena, &Vmo, &Vmo) -> Result<u64>;

/// Asserts what can be done with a page of code.
#[track_caller]
fn does(arena: &Arena, page: u64, perms: VmOptions) {
    let address = arena.page(page);
    match perms.contains(R) {
        true => reads(address, guest::probe::RET.into()),
        false => load_aborts(address),
    }
    match perms.contains(VmOptions::PERM_WRITE) {
        true => store(address + 8, page),
        false => store_aborts(address + 8),
    }
    match perms.contains(VmOptions::PERM_EXECUTE) {
        true => execute(address),
        false => execute_aborts(address),
    }
}

/// Commits pages until there is no memory left for the VM.
fn take_all_memory() -> Vmo {
    let vmo = Vmo::create(1 << 30).succeeds();
    let taken = (0..1 << 18).find(|page| vmo.op_range(VmoOp::Commit, page * PAGE_SIZE, PAGE_SIZE).is_err());
    vmo.op_range(VmoOp::Commit, taken.expect("memory ends") * PAGE_SIZE, PAGE_SIZE).fails_with(Status::NO_MEMORY);
    vmo
}

/// Returns how many descriptors were stored in the VM's tables.
fn stores() -> u64 {
    let vm = Vm::current().succeeds().duplicate(Rights::INSPECT).succeeds();
    inspect::stats(&vm).succeeds()[Counter::Stores]
}
