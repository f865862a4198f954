//! What Zircon's tests of VMOs assert beside the rows that are cases of their own, by the numbers between those.

use crate::arena::{
    Arena, R, RW, child_of, committed_pages, contiguous_vmo, empty_vmo, holds, mark, marked_vmo, populated_bytes,
    read_word, resizable_vmo, slice, snapshot, vmo_without, write_word,
};
use crate::case::cases;
use crate::check::{Check, load_aborts, reads, store};
use zx::{ChildOptions, Object, PAGE_SIZE, Rights, Status, Vmo, VmoOp, VmoOptions};

cases! {
    #[kernel]
    fn G170_whole_vmo_by_one_read_and_one_write() {
        let arena = Arena::new(8);
        let (source, target) = (arena.map(0, 4), empty_vmo(4));
        target.write_from_address(arena.page(0), 0, 4 * PAGE_SIZE).succeeds();
        holds(&target, &[mark(0), mark(1), mark(2), mark(3)]);
        arena.map_vmo(RW, 4, 4, &empty_vmo(4), 0).succeeds();
        source.read_to_address(arena.page(4), 0, 4 * PAGE_SIZE).succeeds();
        (0..4).for_each(|page| arena.shows_mark(4 + page, page));
    }

    #[kernel]
    fn G182_shrunken_vmo_ends_where_it_was_cut() {
        let arena = Arena::new(4);
        let vmo = resizable_vmo(4);
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        arena.shows("1111");
        vmo.set_size_bytes(2 * PAGE_SIZE - 1).succeeds();
        assert_eq!(vmo.size_bytes(), Ok(2 * PAGE_SIZE));
        arena.shows("1100");
        vmo.read(&mut [0], 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        vmo.set_size_bytes(0).succeeds();
        arena.shows("0000");
        vmo.set_size_bytes(4 * PAGE_SIZE).succeeds();
        (0..4).for_each(|page| reads(arena.page(page), 0));
    }

    #[kernel]
    fn G186_size_of_a_child_is_its_own() {
        let parent = resizable_vmo(4);
        let fixed = snapshot(&parent, 0, 2);
        parent.set_size_bytes(PAGE_SIZE).succeeds();
        assert_eq!(fixed.size_bytes(), Ok(2 * PAGE_SIZE));
        fixed.set_size_bytes(PAGE_SIZE).fails_with(Status::UNAVAILABLE);
        let weak = child_of(&parent, ChildOptions::SNAPSHOT | ChildOptions::RESIZABLE, 0, 1).succeeds();
        let weak = weak.duplicate(Rights::DEFAULT_VMO).succeeds();
        weak.set_size_bytes(0).fails_with(Status::ACCESS_DENIED);
    }

    #[kernel]
    fn G190_set_sizes_are_rounded_up() {
        let vmo = resizable_vmo(0);
        let sizes = [(0, 0), (1, 1), (PAGE_SIZE - 1, 1), (PAGE_SIZE, 1), (PAGE_SIZE + 1, 2), (10 * PAGE_SIZE, 10)];
        for (len_bytes, pages) in sizes {
            vmo.set_size_bytes(len_bytes).succeeds();
            assert_eq!(vmo.size_bytes(), Ok(pages * PAGE_SIZE));
        }
    }

    #[kernel]
    fn G194_map_needs_the_rights_of_the_vmo_handle() {
        let (arena, vmo) = (Arena::new(1), marked_vmo(1));
        let map = |perms, weak: &Vmo| arena.map_vmo(perms, 0, 1, weak, 0).map(drop);
        map(R, &vmo_without(&vmo, Rights::READ)).fails_with(Status::ACCESS_DENIED);
        map(RW, &vmo_without(&vmo, Rights::READ)).fails_with(Status::ACCESS_DENIED);
        map(RW, &vmo_without(&vmo, Rights::WRITE)).fails_with(Status::ACCESS_DENIED);
        map(R, &vmo_without(&vmo, Rights::MAP)).fails_with(Status::ACCESS_DENIED);
        arena.shows("0");
        map(R, &vmo_without(&vmo, Rights::WRITE)).succeeds();
    }

    #[kernel]
    fn G198_commit_and_decommit_at_the_edges() {
        let vmo = empty_vmo(4);
        let op = |op, page, count| vmo.op_range(op, page * PAGE_SIZE, count * PAGE_SIZE);
        op(VmoOp::Commit, 0, 0).succeeds();
        op(VmoOp::Commit, 4, 0).succeeds();
        op(VmoOp::Commit, 5, 0).fails_with(Status::OUT_OF_RANGE);
        op(VmoOp::Commit, 0, 5).fails_with(Status::OUT_OF_RANGE);
        op(VmoOp::Commit, 3, 1).succeeds();
        assert_eq!(committed_pages(&vmo), 1);
        op(VmoOp::Decommit, 5, 0).fails_with(Status::OUT_OF_RANGE);
        op(VmoOp::Decommit, 0, 5).fails_with(Status::OUT_OF_RANGE);
        vmo.op_range(VmoOp::Decommit, PAGE_SIZE, 0_u64.wrapping_sub(PAGE_SIZE)).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(committed_pages(&vmo), 1);
        op(VmoOp::Decommit, 0, 4).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn G210_misaligned_decommit_of_what_is_committed() {
        let vmo = marked_vmo(2);
        for (offset, len_bytes) in [(0x10, 0x100), (0, 0x100), (0x10, PAGE_SIZE), (0x10, PAGE_SIZE - 0x10)] {
            vmo.op_range(VmoOp::Decommit, offset, len_bytes).fails_with(Status::INVALID_ARGS);
        }
        holds(&vmo, &[mark(0), mark(1)]);
    }

    #[kernel]
    fn G218_mapping_of_what_is_discardable_reads_and_writes() {
        let arena = Arena::new(1);
        let vmo = Vmo::create_with_options(VmoOptions::DISCARDABLE, PAGE_SIZE).succeeds();
        let state = vmo.lock(PAGE_SIZE).succeeds();
        assert_eq!((state.offset, state.size, state.discarded_offset, state.discarded_size), (0, PAGE_SIZE, 0, 0));
        arena.map_vmo(RW | zx::VmOptions::ALLOW_FAULTS, 0, 1, &vmo, 0).succeeds();
        store(arena.page(0), 5);
        assert_eq!(read_word(&vmo, 0), 5);
        vmo.lock(2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        marked_vmo(1).lock(PAGE_SIZE).fails_with(Status::NOT_SUPPORTED);
    }

    #[kernel]
    fn G226_clone_of_what_is_mapped_to_be_written() {
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        store(arena.page(0), 1);
        let clones = [2_u64, 3, 4].map(|next| {
            let clone = snapshot(&vmo, 0, 1);
            store(arena.page(0), next);
            clone
        });
        for (clone, expected) in clones.iter().zip(1..) {
            holds(clone, &[expected]);
        }
        holds(&vmo, &[4]);
    }

    #[kernel]
    fn G230_prefetch_of_children() {
        let parent = marked_vmo(2);
        let (clone, window) = (snapshot(&parent, 0, 2), slice(&parent, 1, 1));
        clone.op_range(VmoOp::Prefetch, 0, 2 * PAGE_SIZE).succeeds();
        window.op_range(VmoOp::Prefetch, 0, PAGE_SIZE).succeeds();
        clone.op_range(VmoOp::Prefetch, 0, 3 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        window.op_range(VmoOp::Prefetch, 0, 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(clone.info().succeeds().populated_private_bytes, 0);
    }

    #[kernel]
    fn G246_zero_at_the_edges() {
        let vmo = marked_vmo(2);
        vmo.op_range(VmoOp::Zero, 0, 0).succeeds();
        vmo.op_range(VmoOp::Zero, 2 * PAGE_SIZE, 0).succeeds();
        vmo.op_range(VmoOp::Zero, 2 * PAGE_SIZE + 1, 0).fails_with(Status::OUT_OF_RANGE);
        vmo.op_range(VmoOp::Zero, 8, u64::MAX).fails_with(Status::OUT_OF_RANGE);
        holds(&vmo, &[mark(0), mark(1)]);
        let contiguous = contiguous_vmo(2 * PAGE_SIZE);
        write_word(&contiguous, 1, 5);
        contiguous.op_range(VmoOp::Zero, 0, 2 * PAGE_SIZE).succeeds();
        holds(&contiguous, &[0, 0]);
        assert_eq!(populated_bytes(&contiguous), 2 * PAGE_SIZE);
    }

    #[kernel]
    fn C247_zero_of_one_of_a_pair() {
        for is_parent_zeroed in [false, true] {
            let parent = marked_vmo(3);
            let clone = snapshot(&parent, 0, 3);
            let (zeroed, other) = if is_parent_zeroed { (&parent, &clone) } else { (&clone, &parent) };
            zeroed.op_range(VmoOp::Zero, PAGE_SIZE, PAGE_SIZE).succeeds();
            holds(zeroed, &[mark(0), 0, mark(2)]);
            holds(other, &[mark(0), mark(1), mark(2)]);
            assert_eq!((populated_bytes(zeroed), populated_bytes(other)), (PAGE_SIZE, 2 * PAGE_SIZE));
            zeroed.op_range(VmoOp::Zero, 4, PAGE_SIZE).succeeds();
            holds(other, &[mark(0), mark(1), mark(2)]);
            assert_eq!(read_word(zeroed, 0), mark(0) & 0xffff_ffff);
        }
    }

    #[kernel]
    fn G250_middle_of_a_chain_is_closed() {
        let parent = marked_vmo(2);
        let middle = snapshot(&parent, 0, 2);
        write_word(&middle, 0, 5);
        let last = snapshot(&middle, 0, 2);
        write_word(&middle, 1, 6);
        drop(middle);
        holds(&last, &[5, mark(1)]);
        holds(&parent, &[mark(0), mark(1)]);
        drop(parent);
        holds(&last, &[5, mark(1)]);
        assert_eq!(populated_bytes(&last), 2 * PAGE_SIZE);
    }

    #[kernel]
    fn G254_siblings_outlive_what_they_were_made_from() {
        let parent = marked_vmo(3);
        let siblings = [snapshot(&parent, 0, 3), snapshot(&parent, 1, 2), snapshot(&parent, 2, 1)];
        drop(parent);
        holds(&siblings[0], &[mark(0), mark(1), mark(2)]);
        holds(&siblings[1], &[mark(1), mark(2)]);
        holds(&siblings[2], &[mark(2)]);
        assert_eq!(populated_bytes(&siblings[2]), PAGE_SIZE / 3);
        write_word(&siblings[0], 2, 5);
        holds(&siblings[1], &[mark(1), mark(2)]);
        assert_eq!(populated_bytes(&siblings[2]), PAGE_SIZE / 2);
    }

    #[kernel]
    fn G258_parent_shrinks_below_two_clones() {
        let parent = resizable_vmo(4);
        let (low, high) = (snapshot(&parent, 0, 2), snapshot(&parent, 2, 2));
        parent.set_size_bytes(0).succeeds();
        holds(&low, &[mark(0), mark(1)]);
        holds(&high, &[mark(2), mark(3)]);
        parent.set_size_bytes(4 * PAGE_SIZE).succeeds();
        holds(&parent, &[0, 0, 0, 0]);
        write_word(&parent, 3, 5);
        holds(&high, &[mark(2), mark(3)]);
    }

    #[kernel]
    fn G262_mapped_clone_that_is_resized() {
        let (arena, parent) = (Arena::new(3), marked_vmo(3));
        let options = ChildOptions::SNAPSHOT | ChildOptions::RESIZABLE;
        let clone = child_of(&parent, options, 0, 3).succeeds();
        arena.map_vmo(RW, 0, 3, &clone, 0).succeeds();
        store(arena.page(1), 5);
        clone.set_size_bytes(PAGE_SIZE).succeeds();
        arena.shows("100");
        load_aborts(arena.page(1));
        clone.set_size_bytes(3 * PAGE_SIZE).succeeds();
        [0, 0].into_iter().zip(1..).for_each(|(word, page)| reads(arena.page(page), word));
        arena.shows_mark(0, 0);
        holds(&parent, &[mark(0), mark(1), mark(2)]);
    }

    #[kernel]
    fn G266_discontiguous_commits_of_a_clone() {
        let parent = marked_vmo(4);
        let clone = snapshot(&parent, 0, 4);
        for page in [0, 2] {
            clone.op_range(VmoOp::Commit, page * PAGE_SIZE, PAGE_SIZE).succeeds();
        }
        assert_eq!(clone.info().succeeds().committed_private_bytes, 2 * PAGE_SIZE);
        assert_eq!((populated_bytes(&clone), populated_bytes(&parent)), (3 * PAGE_SIZE, 3 * PAGE_SIZE));
        write_word(&parent, 0, 5);
        holds(&clone, &[mark(0), mark(1), mark(2), mark(3)]);
    }

    #[kernel]
    fn G270_offsets_of_clones_that_add_up_to_too_much() {
        let parent = empty_vmo(0);
        let child = parent.create_snapshot(0xffff_ffff_ffff_8000, 0).succeeds();
        child.create_snapshot(0x8000, 0).fails_with(Status::INVALID_ARGS);
        assert_eq!(child.create_snapshot(0x4000, 0).succeeds().size_bytes(), Ok(0));
    }
}
