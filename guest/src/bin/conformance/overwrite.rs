//! `vmar_map` with SPECIFIC_OVERWRITE.

use crate::arena::{Arena, RW, mark, marked_vmo, read_word};
use crate::case::cases;
use crate::check::Check;
use zx::{PAGE_SIZE, Result, Status, VmOptions, Vmo};

cases! {
    #[kernel]
    fn C108_specific_does_not_overwrite() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.map_vmo(RW, 0, 4, &marked_vmo(8), 4).fails_with(Status::ALREADY_EXISTS);
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn C109_overwrite_of_a_whole_mapping() {
        let arena = Arena::new(4);
        let first = arena.map(0, 4);
        overwrite(&arena, 0, 4, &marked_vmo(8), 4).succeeds();
        (0..4).for_each(|page| arena.shows_mark(page, page + 4));
        assert_eq!((read_word(&first, 0), first.info().succeeds().num_mappings), (mark(0), 0));
    }

    #[kernel]
    fn C110_overwrite_of_the_middle_of_a_mapping() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        overwrite(&arena, 1, 2, &marked_vmo(8), 6).succeeds();
        for (page, vmo_page) in [(0, 0), (1, 6), (2, 7), (3, 3)] {
            arena.shows_mark(page, vmo_page);
        }
    }

    #[kernel]
    fn C111_overwrite_does_not_reach_into_a_region() {
        let arena = Arena::new(4);
        arena.map(0, 2);
        let child = arena.child(2, 2);
        child.map(0, 1);
        let vmo = marked_vmo(8);
        overwrite(&arena, 1, 2, &vmo, 4).fails_with(Status::INVALID_ARGS);
        overwrite(&arena, 0, 4, &vmo, 4).fails_with(Status::INVALID_ARGS);
        arena.shows("1110");
        arena.shows_mark(1, 1);
        child.is_alive(1);
    }
}

fn overwrite(arena: &Arena, page: u64, page_count: u64, vmo: &Vmo, vmo_page: u64) -> Result<u64> {
    let options = RW | VmOptions::SPECIFIC_OVERWRITE;
    arena.vmar.map(options, page * PAGE_SIZE, vmo, vmo_page * PAGE_SIZE, page_count * PAGE_SIZE)
}
