//! Demand paging: pages come at first touch, zeroed, and only what is written is committed.

use crate::arena::{Arena, R, RW, RWX, RX, committed_pages, descriptor, executable_vmo, read_word, uncommitted};
use crate::case::cases;
use crate::check::{Check, execute, load, load_aborts, reads, store, store_aborts};
use abi::RAM_BASE;
use zx::{PAGE_SIZE, VmOptions, Vmo, VmoOptions};

cases! {
    #[kernel]
    fn P01_untouched_page_reads_zero_and_commits_nothing() {
        let (arena, vmo) = uncommitted(4);
        (0..4).for_each(|page| reads(arena.page(page) + 8, 0));
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn P02_write_commits_its_page_alone() {
        let (arena, vmo) = uncommitted(4);
        store(arena.page(2), 1);
        assert_eq!(committed_pages(&vmo), 1);
        reads(arena.page(2), 1);
        reads(arena.page(2) + 8, 0);
        reads(arena.page(3), 0);
        assert_eq!(read_word(&vmo, 2), 1);
    }

    #[kernel]
    fn P03_vmo_read_of_an_uncommitted_page_commits_nothing() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        assert_eq!(read_word(&vmo, 0), 0);
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn P04_page_that_was_read_can_be_written() {
        let (arena, vmo) = uncommitted(2);
        reads(arena.page(0), 0);
        store(arena.page(0), 9);
        reads(arena.page(0), 9);
        reads(arena.page(1), 0);
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[kernel("inspect=on")]
    fn P05_read_enters_its_page_without_write() {
        let (arena, _) = uncommitted(2);
        arena.has_entries("00");
        load(arena.page(0));
        let entry = descriptor(arena.page(0));
        assert!(entry.is_readable() && entry.is_accessed() && !entry.is_writable(), "{entry:x?}");
        store(arena.page(0), 1);
        assert!(descriptor(arena.page(0)).is_writable());
    }

    #[kernel("inspect=on")]
    fn P06_entries_allow_what_their_mappings_do() {
        let arena = Arena::new(4);
        let vmo = executable_vmo(4);
        for (page, permissions) in [R, RW, RX, RWX].into_iter().enumerate() {
            let page = page as u64;
            arena.map_vmo(permissions, page, 1, &vmo, page).succeeds();
            load(arena.page(page));
            let entry = descriptor(arena.page(page));
            assert!(entry.is_readable() && entry.is_accessed());
            assert_eq!(entry.is_executable(), permissions.contains(VmOptions::PERM_EXECUTE), "page {page}");
            assert!(permissions.contains(VmOptions::PERM_WRITE) || !entry.is_writable(), "page {page}");
        }
    }

    #[kernel]
    fn P07_first_touch_by_execution() {
        let arena = Arena::new(1);
        arena.map_vmo(RX, 0, 1, &executable_vmo(1), 0).succeeds();
        execute(arena.page(0));
    }

    #[kernel]
    fn P08_refused_first_touch_commits_nothing() {
        let arena = Arena::new(1);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        store_aborts(arena.page(0));
        reads(arena.page(0), 0);
        store_aborts(arena.page(0));
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn P09_two_mappings_show_one_page() {
        let arena = Arena::new(2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        arena.map_vmo(R, 1, 1, &vmo, 0).succeeds();
        store(arena.page(0), 4);
        reads(arena.page(1), 4);
        assert_eq!(committed_pages(&vmo), 1);
    }

    #[kernel]
    fn P10_access_across_two_untouched_pages() {
        let (arena, vmo) = uncommitted(2);
        store(arena.page(1) - 4, 0x1122_3344_5566_7788);
        reads(arena.page(1) - 4, 0x1122_3344_5566_7788);
        reads(arena.page(1), 0x1122_3344);
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn P11_untouched_ram_reads_zero() {
        let middle = RAM_BASE + (32 << 20);
        reads(middle, 0);
        store(middle, 1);
        reads(middle, 1);
        reads(middle + PAGE_SIZE, 0);
    }

    #[kernel]
    fn P12_mapping_that_outlives_its_handles() {
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        drop(vmo);
        arena.shows_mark(0, 0);
        store(arena.page(0), 1);
        let base = arena.base;
        drop(arena);
        reads(base, 1);
    }

    #[kernel]
    fn P13_page_of_one_vmo_is_never_seen_in_another() {
        let arena = Arena::new(1);
        for round in 1..4 {
            let vmo = Vmo::create(PAGE_SIZE).succeeds();
            arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
            reads(arena.page(0) + 16, 0);
            store(arena.page(0) + 16, round);
            arena.unmap(0, 1).succeeds();
        }
    }

    #[kernel]
    fn P13_page_that_is_written_shows_nothing_of_its_last_use() {
        let arena = Arena::new(1);
        for round in 1..8 {
            let vmo = Vmo::create(PAGE_SIZE).succeeds();
            arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
            store(arena.page(0) + 8 * round, round);
            (1..8).filter(|word| *word != round).for_each(|word| reads(arena.page(0) + 8 * word, 0));
            arena.unmap(0, 1).succeeds();
        }
    }

    #[kernel]
    fn C183_mapping_longer_than_its_vmo_grows_with_it() {
        let (arena, vmo) = resizable(1, 2);
        arena.shows("10");
        vmo.set_size_bytes(2 * PAGE_SIZE).succeeds();
        arena.shows("11");
        store(arena.page(1), 3);
        assert_eq!(read_word(&vmo, 1), 3);
    }

    #[kernel]
    fn C184_access_past_the_end_of_the_vmo() {
        let arena = Arena::new(2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        reads(arena.page(0), 0);
        load_aborts(arena.page(1));
        store_aborts(arena.page(1) + 8);
    }

    #[kernel]
    fn C153_access_past_the_end_of_a_vmo_that_shrank() {
        let (arena, vmo) = resizable(2, 2);
        arena.shows("11");
        vmo.set_size_bytes(PAGE_SIZE).succeeds();
        arena.shows("10");
    }

    #[kernel]
    fn C177_store_to_a_read_only_mapping() {
        let arena = Arena::new(1);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        reads(arena.page(0), 0);
        store_aborts(arena.page(0));
    }

    #[kernel]
    fn C200_write_through_another_mapping_of_a_page_that_was_read() {
        let arena = Arena::new(2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        arena.map_vmo(RW, 1, 1, &vmo, 0).succeeds();
        reads(arena.page(0), 0);
        store(arena.page(1), 8);
        reads(arena.page(0), 8);
    }
}

/// A mapping of a resizable VMO, longer than it or not.
fn resizable(vmo_pages: u64, mapping_pages: u64) -> (Arena, Vmo) {
    let vmo = Vmo::create_with_options(VmoOptions::RESIZABLE, vmo_pages * PAGE_SIZE).succeeds();
    let arena = Arena::new(mapping_pages);
    arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, mapping_pages, &vmo, 0).succeeds();
    (arena, vmo)
}
