//! `vmar_unmap`: the rows of Zircon's tests.
//!
//! Three rows have no counterpart as they stand, since no call here copies memory of another process: C134, C135 and
//! C136 are told by calls that reach their buffer through the mappings. Those transfer nothing where one byte is not
//! mapped, while Zircon's copy is short.

use crate::arena::{Arena, RW, marked_vmo};
use crate::case::cases;
use crate::check::{Check, load_aborts, store, store_aborts};
use zx::{PAGE_SIZE, Rights, Status, Unowned, VmOptions, Vmar, Vmo};

cases! {
    #[kernel]
    fn C040_wrong_type_beats_bad_arguments() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        Unowned::<Vmar>::of(&vmo).unmap(0, 0).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn C052_misaligned_address_leaves_the_mapping() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        arena.vmar.unmap(arena.page(0) + 1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        arena.shows("11");
    }

    #[kernel]
    fn C075_unmap_needs_no_access_right() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        arena.without(Rights::ACCESS).unmap(0, 1).succeeds();
        arena.shows("0");
    }

    #[kernel]
    fn C091_unmap_left_two_pages_of_four() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.shows("1111");
        arena.unmap(0, 2).succeeds();
        arena.shows("0011");
        arena.shows_mark(2, 2);
    }

    #[kernel]
    fn C092_unmap_right_two_pages_of_four() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.shows("1111");
        arena.unmap(2, 2).succeeds();
        arena.shows("1100");
    }

    #[kernel]
    fn C093_unmap_middle_two_pages_of_four() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.shows("1111");
        arena.unmap(1, 2).succeeds();
        arena.shows("1001");
    }

    #[kernel]
    fn C094_middle_split_leaves_two_mappings_with_their_offsets() {
        let arena = Arena::new(4);
        let vmo = arena.map(0, 4);
        arena.unmap(1, 2).succeeds();
        arena.shows_mark(0, 0);
        arena.shows_mark(3, 3);
        assert_eq!(vmo.info().succeeds().num_mappings, 2);
    }

    #[kernel]
    fn C095_unmap_across_two_adjacent_mappings() {
        let arena = Arena::new(8);
        arena.map(0, 4);
        arena.map(4, 4);
        arena.shows("1111 1111");
        arena.unmap(2, 3).succeeds();
        arena.shows("1100 0111");
    }

    #[kernel]
    fn C096_unmap_what_is_left_of_both() {
        let arena = Arena::new(8);
        arena.map(0, 4);
        arena.map(4, 4);
        arena.unmap(2, 3).succeeds();
        arena.unmap(0, 2).succeeds();
        arena.unmap(5, 3).succeeds();
        arena.shows("0000 0000");
    }

    #[kernel]
    fn C097_unmap_across_a_gap() {
        let arena = Arena::new(12);
        arena.map(0, 4);
        arena.map(8, 4);
        arena.unmap(0, 9).succeeds();
        arena.shows("0000 0000 0111");
    }

    #[kernel]
    fn C098_unmap_across_a_whole_sub_region_destroys_it() {
        let arena = Arena::new(12);
        arena.map(0, 4);
        let child = arena.child(4, 4);
        child.map(0, 4);
        arena.map(8, 4);
        arena.shows("1111 1111 1111");
        arena.unmap(0, 9).succeeds();
        arena.shows("0000 0000 0111");
    }

    #[kernel]
    fn C099_map_in_the_destroyed_sub_region() {
        let arena = Arena::new(12);
        let child = arena.child(4, 4);
        child.map(0, 4);
        arena.unmap(0, 9).succeeds();
        child.is_dead();
    }

    #[kernel]
    fn C100_unmap_all_but_the_last_page_of_a_sub_region() {
        let (arena, child) = eight_pages_and_a_sub_region();
        arena.unmap(1, 10).fails_with(Status::INVALID_ARGS);
        arena.shows("1111 1111 1000");
        child.is_alive(1);
    }

    #[kernel]
    fn C101_unmap_to_the_end_of_a_sub_region() {
        let (arena, child) = eight_pages_and_a_sub_region();
        arena.unmap(1, 11).succeeds();
        arena.shows("1000 0000 0000");
        child.is_dead();
    }

    #[kernel]
    fn C102_unmap_from_the_second_page_of_a_sub_region() {
        let (arena, child) = eight_pages_and_a_sub_region();
        arena.unmap(9, 3).fails_with(Status::INVALID_ARGS);
        arena.shows("1111 1111 1000");
        child.is_alive(1);
    }

    #[kernel]
    fn C103_unmap_everything() {
        let (arena, child) = eight_pages_and_a_sub_region();
        arena.unmap(0, 12).succeeds();
        arena.shows("0000 0000 0000");
        child.is_dead();
        arena.is_alive(8);
    }

    #[kernel]
    fn C104_unmap_from_a_page_that_is_not_mapped() {
        let arena = Arena::new(5);
        arena.map(1, 4);
        arena.unmap(0, 5).succeeds();
        arena.shows("00000");
    }

    #[kernel]
    fn C105_unmap_from_the_gap_before_the_second_mapping() {
        for gap in [1, 2] {
            let arena = Arena::new(10);
            arena.map(0, 4);
            arena.map(4 + gap, 4);
            arena.unmap(3 + gap, 5).succeeds();
            arena.shows("1111 0000 00");
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn C106_unmap_a_sub_region_without_op_children() {
        let (arena, child) = eight_pages_and_a_sub_region();
        arena.without(Rights::OP_CHILDREN).unmap(8, 4).fails_with(Status::INVALID_ARGS);
        arena.shows("1111 1111 1000");
        child.is_alive(1);
    }

    #[kernel]
    fn C107_unmap_a_sub_region_with_op_children() {
        let (arena, child) = eight_pages_and_a_sub_region();
        arena.unmap(8, 4).succeeds();
        arena.shows("1111 1111 0000");
        child.is_dead();
    }

    #[kernel]
    fn C132_unmap_the_upper_part_of_a_gigabyte() {
        let (root, base) = gigabyte();
        store(base, 1);
        root.unmap(base + ODD_OFFSET, GIB - ODD_OFFSET).succeeds();
        store(base, 2);
        store(base + ODD_OFFSET - 8, 3);
        load_aborts(base + ODD_OFFSET);
        store_aborts(base + GIB - 8);
    }

    #[kernel]
    fn C133_unmap_the_whole_gigabyte_with_its_hole() {
        let (root, base) = gigabyte();
        store(base, 1);
        root.unmap(base + ODD_OFFSET, PAGE_SIZE).succeeds();
        root.unmap(base, GIB).succeeds();
        load_aborts(base);
        load_aborts(base + GIB - 8);
    }

    #[kernel]
    fn C134_reading_a_buffer_that_is_partly_unmapped() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.unmap(1, 1).succeeds();
        let target = Vmo::create(4 * PAGE_SIZE).succeeds();
        let read = |page, count| target.write_from_address(arena.page(page), 0, count * PAGE_SIZE);
        read(0, 1).succeeds();
        read(2, 2).succeeds();
        read(0, 2).fails_with(Status::INVALID_ARGS);
        read(1, 2).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C135_writing_a_buffer_that_is_partly_unmapped() {
        let arena = Arena::new(4);
        arena.map(0, 4);
        arena.unmap(1, 1).succeeds();
        let source = Vmo::create(4 * PAGE_SIZE).succeeds();
        let write = |page, count| source.read_to_address(arena.page(page), 0, count * PAGE_SIZE);
        write(0, 2).fails_with(Status::INVALID_ARGS);
        write(1, 2).fails_with(Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
        arena.shows_mark(2, 2);
        write(2, 2).succeeds();
        arena.shows("1011");
    }

    #[kernel]
    fn C136_a_buffer_at_the_end_of_an_offset_mapping() {
        let arena = Arena::new(2);
        let vmo = marked_vmo(2);
        arena.map_vmo(RW, 0, 1, &vmo, 1).succeeds();
        let target = Vmo::create(PAGE_SIZE).succeeds();
        let end = arena.page(1);
        target.write_from_address(end - 1, 0, 1).succeeds();
        target.write_from_address(end, 0, 1).fails_with(Status::INVALID_ARGS);
        target.write_from_address(end - 1, 0, 2).fails_with(Status::INVALID_ARGS);
    }
}

const GIB: u64 = 1 << 30;

/// Page 131073 of a GiB: in its middle, and odd, so that neither a block nor a table ends there.
const ODD_OFFSET: u64 = GIB / 2 + PAGE_SIZE;

/// Maps a GiB of nothing but uncommitted pages, and returns the root VMAR and where it is.
fn gigabyte() -> (Vmar, u64) {
    let root = Vmar::root().succeeds();
    let vmo = Vmo::create(GIB).succeeds();
    let base = root.map(RW | VmOptions::SPECIFIC, Arena::BASE, &vmo, 0, GIB).succeeds();
    (root, base)
}

/// Mappings of pages 0-3 and 4-7, and a sub-region of pages 8-11 of which the first is mapped.
fn eight_pages_and_a_sub_region() -> (Arena, Arena) {
    let arena = Arena::new(12);
    arena.map(0, 4);
    arena.map(4, 4);
    let child = arena.child(8, 4);
    child.map(0, 1);
    (arena, child)
}
