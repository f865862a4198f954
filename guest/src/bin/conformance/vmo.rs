//! `vmo_create`, `vmo_read`, `vmo_write`, `vmo_get_size` and `vmo_set_size`.

use crate::arena::{
    Arena, R, RW, committed_pages, mark, marked_vmo, physical_page, read_word, vmo_without, write_mark,
};
use crate::case::cases;
use crate::check::Check;
use abi::Call;
use zx::sys::hypercall;
use zx::{Alignment, Object, PAGE_SIZE, RawHandle, Rights, Status, Unowned, Vmo, VmoInfoFlags, VmoOp, VmoOptions};

cases! {
    #[kernel]
    fn C169_read_and_write_of_a_huge_len() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        for len_bytes in [u64::MAX, 1 << 63, PAGE_SIZE + 1] {
            vmo.read_to_address(Arena::BASE, 0, len_bytes).fails_with(Status::OUT_OF_RANGE);
            vmo.write_from_address(Arena::BASE, 0, len_bytes).fails_with(Status::OUT_OF_RANGE);
        }
    }

    #[kernel]
    fn C171_read_at_and_past_the_end() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let mut buffer = [0; 16];
        vmo.read(&mut [], PAGE_SIZE).succeeds();
        vmo.read(&mut [], PAGE_SIZE + 1).fails_with(Status::OUT_OF_RANGE);
        vmo.read(&mut buffer, PAGE_SIZE - 8).fails_with(Status::OUT_OF_RANGE);
        vmo.read(&mut buffer, u64::MAX - 7).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn C172_write_at_and_past_the_end() {
        let vmo = marked_vmo(1);
        vmo.write(&[], PAGE_SIZE).succeeds();
        vmo.write(&[], PAGE_SIZE + 1).fails_with(Status::OUT_OF_RANGE);
        vmo.write(&[1; 16], PAGE_SIZE - 8).fails_with(Status::OUT_OF_RANGE);
        vmo.write(&[1; 16], u64::MAX - 7).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(read_word(&vmo, 0), mark(0));
    }

    #[kernel]
    fn C180_set_size_beyond_all_sizes() {
        let vmo = resizable(1);
        vmo.set_size_bytes(u64::MAX).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(vmo.size_bytes(), Ok(PAGE_SIZE));
    }

    #[kernel]
    fn C181_set_size_is_rounded_up() {
        let vmo = resizable(1);
        vmo.set_size_bytes(PAGE_SIZE + 1).succeeds();
        assert_eq!(vmo.size_bytes(), Ok(2 * PAGE_SIZE));
    }

    #[kernel]
    fn C185_set_size_of_what_cannot_be_resized() {
        let vmo = marked_vmo(1);
        vmo.set_size_bytes(2 * PAGE_SIZE).fails_with(Status::UNAVAILABLE);
        assert_eq!(vmo.size_bytes(), Ok(PAGE_SIZE));
    }

    #[kernel]
    fn C189_sizes_are_rounded_up() {
        for (len_bytes, size) in [(0, 0), (1, PAGE_SIZE), (PAGE_SIZE, PAGE_SIZE), (PAGE_SIZE + 1, 2 * PAGE_SIZE)] {
            assert_eq!(Vmo::create(len_bytes).succeeds().size_bytes(), Ok(size));
        }
    }

    #[kernel]
    fn W01_create_refused() {
        let create = |options, len_bytes| Vmo::create_with_options(options, len_bytes);
        let both = VmoOptions::RESIZABLE | VmoOptions::UNBOUNDED;
        create(both, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        create(VmoOptions::empty(), u64::MAX).fails_with(Status::OUT_OF_RANGE);
        create(VmoOptions::from_bits_retain(1 << 7), u64::MAX).fails_with(Status::OUT_OF_RANGE);
        create(VmoOptions::from_bits_retain(1 << 7), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        create(VmoOptions::from_bits_retain(1), PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn W02_huge_vmo_costs_nothing_until_it_is_touched() {
        let vmo = Vmo::create(1 << 40).succeeds();
        write_mark(&vmo, 0);
        write_mark(&vmo, (1 << 28) - 1);
        assert_eq!(committed_pages(&vmo), 2);
        assert_eq!((read_word(&vmo, 1 << 20), read_word(&vmo, (1 << 28) - 1)), (0, mark((1 << 28) - 1)));
    }

    #[kernel]
    fn W03_read_and_write_need_their_rights() {
        let vmo = marked_vmo(1);
        let (no_read, no_write) = (vmo_without(&vmo, Rights::READ), vmo_without(&vmo, Rights::WRITE));
        no_read.read(&mut [0], 0).fails_with(Status::ACCESS_DENIED);
        no_write.write(&[0], 0).fails_with(Status::ACCESS_DENIED);
        no_read.write(&[1], 8).succeeds();
        no_write.read(&mut [0], 0).succeeds();
    }

    #[kernel]
    fn W03_size_needs_no_right() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds().duplicate(Rights::empty()).succeeds();
        assert_eq!(vmo.size_bytes(), Ok(PAGE_SIZE));
    }

    #[kernel]
    fn W03_set_size_needs_write_and_resize() {
        let vmo = resizable(1);
        let all = Rights::DEFAULT_VMO | Rights::RESIZE;
        for lacking in [Rights::WRITE, Rights::RESIZE] {
            let weak = vmo.duplicate(all - lacking).succeeds();
            weak.set_size_bytes(0).fails_with(Status::ACCESS_DENIED);
        }
        assert_eq!(vmo.size_bytes(), Ok(PAGE_SIZE));
    }

    #[kernel]
    fn W04_handles_that_name_no_vmo() {
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        none.size_bytes().fails_with(Status::BAD_HANDLE);
        none.set_size_bytes(0).fails_with(Status::BAD_HANDLE);
        none.read(&mut [0], 0).fails_with(Status::BAD_HANDLE);
        let arena = Arena::new(1);
        let vmar = Unowned::<Vmo>::of(&arena.vmar);
        vmar.size_bytes().fails_with(Status::WRONG_TYPE);
        vmar.write(&[0], 0).fails_with(Status::WRONG_TYPE);
        vmar.op_range(VmoOp::Commit, 0, 0).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn W05_write_and_read_across_pages() {
        let vmo = Vmo::create(3 * PAGE_SIZE).succeeds();
        let bytes: [u8; 200] = core::array::from_fn(|index| index as u8);
        vmo.write(&bytes, PAGE_SIZE - 100).succeeds();
        let mut back = [0; 200];
        vmo.read(&mut back, PAGE_SIZE - 100).succeeds();
        assert_eq!(back, bytes);
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn W06_shrink_gives_pages_back_and_growth_shows_zeros() {
        let vmo = resizable(4);
        (0..4).for_each(|page| write_mark(&vmo, page));
        vmo.set_size_bytes(2 * PAGE_SIZE).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
        vmo.set_size_bytes(4 * PAGE_SIZE).succeeds();
        assert_eq!((read_word(&vmo, 1), read_word(&vmo, 2), read_word(&vmo, 3)), (mark(1), 0, 0));
    }

    #[kernel]
    fn W06_shrink_leaves_mappings_their_len() {
        let arena = Arena::new(4);
        let vmo = resizable(4);
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        vmo.set_size_bytes(PAGE_SIZE).succeeds();
        arena.shows("1000");
        arena.map_vmo(R, 2, 1, &vmo, 0).fails_with(Status::ALREADY_EXISTS);
    }

    #[kernel]
    fn W07_contiguous_vmo() {
        let vmo = Vmo::create_contiguous(4 * PAGE_SIZE, Alignment::PAGE).succeeds();
        assert_eq!((vmo.size_bytes(), committed_pages(&vmo)), (Ok(4 * PAGE_SIZE), 4));
        (0..4).for_each(|page| assert_eq!(read_word(&vmo, page), 0));
        let flags = VmoInfoFlags::from_bits_retain(vmo.info().succeeds().flags);
        assert!(flags.contains(VmoInfoFlags::CONTIGUOUS));
        vmo.set_size_bytes(PAGE_SIZE).fails_with(Status::UNAVAILABLE);
    }

    #[kernel("inspect=on")]
    fn W07_contiguous_vmo_is_contiguous_and_aligned() {
        let alignment = Alignment::from_log2(16).expect("a legal alignment");
        let vmo = Vmo::create_contiguous(8 * PAGE_SIZE, alignment).succeeds();
        let arena = Arena::new(8);
        arena.map_vmo(RW, 0, 8, &vmo, 0).succeeds();
        arena.shows("1111 1111");
        let frame = |page| physical_page(arena.page(page));
        assert_eq!(frame(0) % 16, 0, "frame {:#x} is not aligned to 64 KiB", frame(0));
        (1..8).for_each(|page| assert_eq!(frame(page), frame(0) + page));
    }

    #[kernel]
    fn W07_contiguous_vmo_by_alignment_zero() {
        let registers = hypercall(Call::VmoCreateContiguous, [2 * PAGE_SIZE, 0]).ok().succeeds();
        let vmo = Vmo::from_raw(RawHandle(registers.x1 as u32));
        assert_eq!(vmo.size_bytes(), Ok(2 * PAGE_SIZE));
    }

    #[kernel]
    fn W08_closing_the_last_handle_gives_the_pages_back() {
        for _ in 0..40 {
            let vmo = Vmo::create(4 << 20).succeeds();
            vmo.op_range(VmoOp::Commit, 0, 4 << 20).succeeds();
            assert_eq!(committed_pages(&vmo), 1024);
        }
    }
}

fn resizable(page_count: u64) -> Vmo {
    Vmo::create_with_options(VmoOptions::RESIZABLE, page_count * PAGE_SIZE).succeeds()
}
