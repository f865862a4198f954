//! Buffers: memory of the guest that a call reads or fills. They are checked whole before anything happens.

use crate::arena::{Arena, R, RW, committed_pages, mark, marked_vmo, read_word};
use crate::case::cases;
use crate::check::{Check, reads, store};
use abi::Call;
use zx::sys::hypercall;
use zx::{InfoVmar, Object, PAGE_SIZE, Record, Status, Unowned, VmOptions, Vmar, Vmo, debug_read};

cases! {
    #[kernel]
    fn B01_buffer_that_is_not_mapped() {
        let vmo = marked_vmo(1);
        debug_write(Arena::BASE, 1).fails_with(Status::INVALID_ARGS);
        vmo.read_to_address(Arena::BASE, 0, 8).fails_with(Status::INVALID_ARGS);
        vmo.write_from_address(Arena::BASE, 0, 8).fails_with(Status::INVALID_ARGS);
        assert_eq!(read_word(&vmo, 0), mark(0));
    }

    #[kernel]
    fn B02_buffer_of_length_zero_is_never_looked_at() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        debug_write(u64::MAX, 0).succeeds();
        vmo.read_to_address(u64::MAX, 0, 0).succeeds();
        vmo.write_from_address(Arena::BASE, 0, 0).succeeds();
        hypercall(Call::DebugRead, [u64::MAX, 0]).ok().succeeds();
        hypercall(Call::HandleCloseMany, [u64::MAX, 0]).ok().succeeds();
    }

    #[kernel]
    fn B03_buffer_to_be_filled_must_be_writable() {
        let (arena, vmo) = (Arena::new(1), marked_vmo(1));
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        let source = marked_vmo(8);
        source.read_to_address(arena.page(0), 7 * PAGE_SIZE, 8).fails_with(Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
        source.write_from_address(arena.page(0), 0, 8).succeeds();
    }

    #[kernel]
    fn B04_buffer_without_access() {
        let arena = Arena::new(1);
        arena.map_vmo(VmOptions::empty(), 0, 1, &marked_vmo(1), 0).succeeds();
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        vmo.write_from_address(arena.page(0), 0, 8).fails_with(Status::INVALID_ARGS);
        vmo.read_to_address(arena.page(0), 0, 8).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn B05_unaligned_buffer_across_pages() {
        let arena = Arena::new(2);
        arena.map(0, 2);
        let address = arena.page(1) - 3;
        store(address, 0x8877_6655_4433_2211);
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        vmo.write_from_address(address, PAGE_SIZE - 5, 8).succeeds();
        let mut bytes = [0; 8];
        vmo.read(&mut bytes, PAGE_SIZE - 5).succeeds();
        assert_eq!(bytes, [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        vmo.read_to_address(address + 1, PAGE_SIZE - 5, 8).succeeds();
        reads(address + 1, 0x8877_6655_4433_2211);
    }

    #[kernel]
    fn B06_uncommitted_buffer_is_filled() {
        let arena = Arena::new(3);
        let target = Vmo::create(3 * PAGE_SIZE).succeeds();
        arena.map_vmo(RW, 0, 3, &target, 0).succeeds();
        marked_vmo(2).read_to_address(arena.page(1), 0, 2 * PAGE_SIZE).succeeds();
        assert_eq!(committed_pages(&target), 2);
        arena.shows_mark(1, 0);
        arena.shows_mark(2, 1);
    }

    #[kernel]
    fn B07_uncommitted_buffer_reads_as_zeros() {
        let arena = Arena::new(2);
        let source = Vmo::create(2 * PAGE_SIZE).succeeds();
        arena.map_vmo(R, 0, 2, &source, 0).succeeds();
        let target = marked_vmo(2);
        target.write_from_address(arena.page(0), 0, 2 * PAGE_SIZE).succeeds();
        assert_eq!((read_word(&target, 0), read_word(&target, 1)), (0, 0));
        assert_eq!(committed_pages(&source), 0);
    }

    #[kernel]
    fn B08_buffer_that_wraps_or_leaves_the_ipa_space() {
        let vmo = marked_vmo(1);
        for address in [u64::MAX - 3, 1 << 39, (1 << 39) - 4, 1 << 63] {
            debug_write(address, 8).fails_with(Status::INVALID_ARGS);
            vmo.read_to_address(address, 0, 8).fails_with(Status::INVALID_ARGS);
        }
        debug_write(Arena::BASE, u64::MAX).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn B09_buffer_whose_last_byte_is_not_mapped() {
        let arena = Arena::new(2);
        arena.map(0, 1);
        let source = marked_vmo(9);
        let last = arena.page(1) - 8;
        source.read_to_address(last + 1, 8 * PAGE_SIZE, 8).fails_with(Status::INVALID_ARGS);
        reads(last, 0);
        source.write_from_address(last + 1, 0, 8).fails_with(Status::INVALID_ARGS);
        assert_eq!(read_word(&source, 0), mark(0));
        source.read_to_address(last, 8 * PAGE_SIZE, 8).succeeds();
        reads(last, mark(8));
    }

    #[kernel]
    fn B09_buffer_whose_last_page_is_not_mapped() {
        let arena = Arena::new(4);
        arena.map(0, 3);
        let vmo = Vmo::create(4 * PAGE_SIZE).succeeds();
        vmo.write_from_address(arena.page(0), 0, 4 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        assert_eq!(committed_pages(&vmo), 0);
        vmo.read_to_address(arena.page(0), 0, 4 * PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        (0..3).for_each(|page| arena.shows_mark(page, page));
    }

    #[kernel]
    fn B10_buffer_across_two_mappings() {
        let arena = Arena::new(2);
        let (left, right) = (arena.map(0, 1), arena.map(1, 1));
        let source = Vmo::create(PAGE_SIZE).succeeds();
        source.write(&[0xff; 16], 0).succeeds();
        source.read_to_address(arena.page(1) - 8, 0, 16).succeeds();
        assert_eq!(read_word(&right, 0), u64::MAX);
        assert_eq!(read_word(&left, 0), mark(0));
        reads(arena.page(1) - 8, u64::MAX);
    }

    #[kernel]
    fn B11_buffer_in_nested_regions() {
        let arena = Arena::new(2);
        let child = arena.child(0, 2).child(0, 2);
        child.map(0, 2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        vmo.write_from_address(arena.page(1), 0, 8).succeeds();
        assert_eq!(read_word(&vmo, 0), mark(1));
    }

    #[kernel]
    fn B12_buffer_past_the_end_of_the_mapped_vmo() {
        let arena = Arena::new(2);
        arena.map_vmo(RW, 0, 2, &marked_vmo(1), 0).succeeds();
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        vmo.write_from_address(arena.page(1), 0, 8).fails_with(Status::INVALID_ARGS);
        vmo.read_to_address(arena.page(1) - 4, 0, 8).fails_with(Status::INVALID_ARGS);
        reads(arena.page(1) - 8, 0);
    }

    #[kernel]
    fn B13_buffer_in_the_vmo_that_is_read() {
        let arena = Arena::new(2);
        let vmo = arena.map(0, 2);
        vmo.read_to_address(arena.page(1), 0, PAGE_SIZE).succeeds();
        assert_eq!(read_word(&vmo, 1), mark(0));
        vmo.write_from_address(arena.page(0), 0, 2 * PAGE_SIZE).succeeds();
        assert_eq!((read_word(&vmo, 0), read_word(&vmo, 1)), (mark(0), mark(0)));
    }

    #[kernel]
    fn B14_close_many_with_a_bad_buffer_closes_nothing() {
        let arena = Arena::new(2);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        arena.map(0, 1);
        let last = arena.page(1) - 8;
        store(last, u64::from(vmo.raw().0) | u64::from(vmo.raw().0) << 32);
        hypercall(Call::HandleCloseMany, [last + 4, 2]).ok().fails_with(Status::INVALID_ARGS);
        vmo.size_bytes().succeeds();
    }

    #[kernel]
    fn B15_get_info_with_a_bad_buffer() {
        let vmar = Vmar::root().succeeds();
        let len_bytes = size_of::<InfoVmar>() as u64;
        let arguments = [vmar.register(), InfoVmar::TOPIC as u64, Arena::BASE, len_bytes];
        hypercall(Call::ObjectGetInfo, arguments).ok().fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn B16_buffer_of_several_pages() {
        let (arena, page_count) = (Arena::new(8), 7);
        arena.map(0, 8);
        let vmo = Vmo::create(page_count * PAGE_SIZE).succeeds();
        vmo.write_from_address(arena.page(1), 0, page_count * PAGE_SIZE).succeeds();
        (0..page_count).for_each(|page| assert_eq!(read_word(&vmo, page), mark(page + 1)));
        vmo.read_to_address(arena.page(0), 0, page_count * PAGE_SIZE).succeeds();
        (0..page_count).for_each(|page| arena.shows_mark(page, page + 1));
    }

    #[kernel]
    fn B17_bad_handle_is_told_before_a_bad_buffer() {
        let none = Unowned::<Vmo>::from_raw(abi::RawHandle::INVALID);
        none.read_to_address(Arena::BASE, 0, 8).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn B18_debug_read_does_not_wait() {
        let mut buffer = [0; 16];
        assert!(debug_read(&mut buffer).succeeds() <= buffer.len());
    }
}

fn debug_write(address: u64, len_bytes: u64) -> zx::Result<()> {
    hypercall(Call::DebugWrite, [address, len_bytes]).status().ok()
}
