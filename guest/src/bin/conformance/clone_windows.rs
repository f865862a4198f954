//! Snapshots: which part of their parents they show, where they end, and what new sizes make of that.

use crate::arena::{
    committed_pages, empty_vmo, holds, mark, marked_vmo, populated_bytes, read_word, resizable_vmo, snapshot,
    write_word,
};
use crate::case::cases;
use crate::check::Check;
use crate::clones::{frames, resizable_snapshot};
use zx::{ChildOptions, PAGE_SIZE, Status};

cases! {
    #[kernel]
    fn C255_clone_at_an_offset_and_past_the_end() {
        let parent = marked_vmo(3);
        let clone = snapshot(&parent, 1, 4);
        holds(&clone, &[mark(1), mark(2), 0, 0]);
        write_word(&clone, 3, 5);
        write_word(&parent, 2, 6);
        holds(&clone, &[mark(1), mark(2), 0, 5]);
        let grandchild = snapshot(&clone, 1, 4);
        drop(parent);
        drop(clone);
        holds(&grandchild, &[mark(2), 0, 5, 0]);
        assert_eq!(committed_pages(&grandchild), 2);
    }

    #[kernel("inspect=on")]
    fn C255_pages_that_no_clone_reaches_are_freed() {
        let parent = marked_vmo(64);
        let clone = snapshot(&parent, 60, 4);
        let before = frames();
        drop(parent);
        assert!(frames() + 60 <= before, "{} of {before} frames are left", frames());
        holds(&clone, &[mark(60), mark(61), mark(62), mark(63)]);
        assert_eq!(populated_bytes(&clone), 4 * PAGE_SIZE);
    }

    #[kernel]
    fn C255_progressive_writes_at_two_offsets() {
        let parent = marked_vmo(2);
        let (left, right) = (snapshot(&parent, 0, 2), snapshot(&parent, 1, 2));
        write_word(&right, 0, 1);
        holds(&parent, &[mark(0), mark(1)]);
        write_word(&parent, 1, 2);
        holds(&left, &[mark(0), mark(1)]);
        write_word(&left, 1, 3);
        holds(&parent, &[mark(0), 2]);
        holds(&left, &[mark(0), 3]);
        holds(&right, &[1, 0]);
    }

    #[kernel]
    fn C256_clone_larger_than_its_parent() {
        let parent = marked_vmo(1);
        let clone = snapshot(&parent, 0, 3);
        holds(&clone, &[mark(0), 0, 0]);
        write_word(&clone, 2, 5);
        holds(&clone, &[mark(0), 0, 5]);
        let grandchild = snapshot(&clone, 0, 4);
        holds(&grandchild, &[mark(0), 0, 5, 0]);
        assert_eq!(parent.size_bytes(), Ok(PAGE_SIZE));
    }

    #[kernel]
    fn C256_clone_beyond_its_parent() {
        let parent = marked_vmo(1);
        let clone = snapshot(&parent, 5, 2);
        holds(&clone, &[0, 0]);
        write_word(&clone, 1, 5);
        holds(&clone, &[0, 5]);
        assert_eq!((committed_pages(&parent), committed_pages(&clone)), (1, 1));
    }

    #[kernel]
    fn C256_page_of_three_is_counted_by_thirds() {
        const BYTE: u64 = 1 << 63;
        let parent = marked_vmo(1);
        let relatives = [snapshot(&parent, 0, 2), snapshot(&parent, 0, 1)];
        for vmo in [&parent, &relatives[0], &relatives[1]] {
            let info = vmo.info().succeeds();
            assert_eq!((info.committed_scaled_bytes, info.committed_bytes), (PAGE_SIZE / 3, PAGE_SIZE / 3));
            assert!(info.committed_fractional_scaled_bytes.abs_diff(BYTE / 3) <= 1, "{info:?}");
            assert_eq!(info.populated_fractional_scaled_bytes, info.committed_fractional_scaled_bytes);
        }
    }

    #[kernel]
    fn C257_write_outside_of_the_clones_window_copies_nothing() {
        let parent = marked_vmo(3);
        let clone = snapshot(&parent, 1, 1);
        write_word(&parent, 0, 5);
        write_word(&parent, 2, 6);
        assert_eq!(populated_bytes(&clone), PAGE_SIZE / 2);
        assert_eq!(populated_bytes(&parent), 2 * PAGE_SIZE + PAGE_SIZE / 2);
        drop(parent);
        assert_eq!((read_word(&clone, 0), committed_pages(&clone)), (mark(1), 1));
    }

    #[kernel]
    fn C257_window_of_a_clone_limits_its_own_clone() {
        let parent = marked_vmo(3);
        let clone = snapshot(&parent, 1, 1);
        let grandchild = snapshot(&clone, 0, 2);
        holds(&grandchild, &[mark(1), 0]);
        drop(clone);
        drop(parent);
        holds(&grandchild, &[mark(1), 0]);
        assert_eq!(committed_pages(&grandchild), 1);
    }

    #[kernel]
    fn C259_clone_that_shrinks_and_grows() {
        let parent = marked_vmo(4);
        let clone = resizable_snapshot(&parent, 0, 4);
        clone.set_size_bytes(PAGE_SIZE).succeeds();
        clone.set_size_bytes(2 * PAGE_SIZE).succeeds();
        holds(&clone, &[mark(0), 0]);
        holds(&parent, &[mark(0), mark(1), mark(2), mark(3)]);
    }

    #[kernel]
    fn C259_parent_that_shrinks_and_grows() {
        let parent = resizable_vmo(4);
        let clone = snapshot(&parent, 0, 4);
        parent.set_size_bytes(PAGE_SIZE).succeeds();
        parent.set_size_bytes(2 * PAGE_SIZE).succeeds();
        holds(&parent, &[mark(0), 0]);
        holds(&clone, &[mark(0), mark(1), mark(2), mark(3)]);
        drop(parent);
        holds(&clone, &[mark(0), mark(1), mark(2), mark(3)]);
    }

    #[kernel]
    fn C261_clone_that_grows_shows_nothing_of_its_parent() {
        let parent = marked_vmo(3);
        let clone = resizable_snapshot(&parent, 0, 1);
        clone.set_size_bytes(3 * PAGE_SIZE).succeeds();
        holds(&clone, &[mark(0), 0, 0]);
        let at_an_offset = resizable_snapshot(&parent, 1, 1);
        at_an_offset.set_size_bytes(3 * PAGE_SIZE).succeeds();
        holds(&at_an_offset, &[mark(1), 0, 0]);
    }

    #[kernel]
    fn C261_clones_that_do_not_meet_shrink_and_grow() {
        let parent = marked_vmo(4);
        let (left, right) = (resizable_snapshot(&parent, 0, 2), resizable_snapshot(&parent, 2, 2));
        left.set_size_bytes(0).succeeds();
        right.set_size_bytes(PAGE_SIZE).succeeds();
        holds(&parent, &[mark(0), mark(1), mark(2), mark(3)]);
        drop(parent);
        left.set_size_bytes(3 * PAGE_SIZE).succeeds();
        right.set_size_bytes(2 * PAGE_SIZE).succeeds();
        holds(&left, &[0, 0, 0]);
        holds(&right, &[mark(2), 0]);
        assert_eq!((committed_pages(&left), committed_pages(&right)), (0, 1));
    }

    #[kernel]
    fn C261_chain_that_shrinks_step_by_step() {
        let parent = marked_vmo(3);
        let clone = resizable_snapshot(&parent, 0, 3);
        let grandchild = snapshot(&clone, 0, 3);
        for page_count in [2, 1, 0] {
            clone.set_size_bytes(page_count * PAGE_SIZE).succeeds();
            holds(&grandchild, &[mark(0), mark(1), mark(2)]);
        }
        clone.set_size_bytes(3 * PAGE_SIZE).succeeds();
        holds(&clone, &[0, 0, 0]);
        holds(&parent, &[mark(0), mark(1), mark(2)]);
    }

    #[kernel]
    fn C271_size_of_a_clone_whose_offsets_add_up_to_too_much() {
        let parent = empty_vmo(0);
        let child = parent.create_snapshot(0xffff_ffff_ffff_8000, 0).succeeds();
        child.create_snapshot(0x8000, 0).fails_with(Status::INVALID_ARGS);
        let options = ChildOptions::SNAPSHOT | ChildOptions::RESIZABLE;
        let grandchild = child.create_child(options, 0x4000, 0).succeeds();
        grandchild.set_size_bytes(0x8000).fails_with(Status::INVALID_ARGS);
        assert_eq!(grandchild.size_bytes(), Ok(0));
    }

    #[kernel]
    fn N05_clone_of_a_clone_of_many_generations() {
        let mut vmo = marked_vmo(1);
        for generation in 0..100 {
            let next = snapshot(&vmo, 0, 1);
            write_word(&vmo, 0, generation);
            vmo = next;
        }
        assert_eq!((read_word(&vmo, 0), committed_pages(&vmo)), (mark(0), 1));
    }
}
