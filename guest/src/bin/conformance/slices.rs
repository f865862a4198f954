//! Slices: windows on the memory of a parent.

use crate::arena::{
    Arena, RW, child_of, committed_pages, contiguous_vmo, empty_vmo, holds, mark, marked_vmo, physical_page, read_word,
    resizable_vmo, slice, snapshot, write_word,
};
use crate::case::cases;
use crate::check::{Check, load_aborts, reads, store};
use crate::children::SNAPSHOTS;
use zx::{ChildOptions, PAGE_SIZE, Signals, Status, Vmo, VmoOp, Waited};
use zx::{Object, VmOptions, VmoInfoFlags};

cases! {
    #[kernel]
    fn C215_decommit_at_each_level_of_nested_slices() {
        let root = empty_vmo(6);
        let middle = slice(&root, 1, 4);
        let inner = slice(&middle, 1, 2);
        for (level, offset, size) in [(&root, 0, 6), (&middle, 1, 4), (&inner, 2, 2)] {
            for page in 0..=6 {
                for count in 1..=7 {
                    root.op_range(VmoOp::Commit, 0, 6 * PAGE_SIZE).succeeds();
                    let result = level.op_range(VmoOp::Decommit, page * PAGE_SIZE, count * PAGE_SIZE);
                    if page + count > size {
                        result.fails_with(Status::OUT_OF_RANGE);
                        assert_eq!(committed_pages(&root), 6);
                    } else {
                        result.succeeds();
                        assert_eq!(committed_pages(&root), 6 - count, "{count} from {} on", offset + page);
                    }
                }
            }
        }
    }

    #[kernel]
    fn C231_writes_go_through_to_the_other_side() {
        let parent = marked_vmo(2);
        let window = slice(&parent, 1, 1);
        holds(&window, &[mark(1)]);
        write_word(&window, 0, 5);
        holds(&parent, &[mark(0), 5]);
        write_word(&parent, 1, 6);
        holds(&window, &[6]);
        write_word(&parent, 0, 7);
        holds(&window, &[6]);
    }

    #[kernel]
    fn C231_stores_go_through_mappings_of_both() {
        let (arena, parent) = (Arena::new(3), empty_vmo(2));
        let window = slice(&parent, 1, 1);
        arena.map_vmo(RW, 0, 2, &parent, 0).succeeds();
        arena.map_vmo(RW, 2, 1, &window, 0).succeeds();
        arena.shows("111");
        store(arena.page(2), 5);
        reads(arena.page(1), 5);
        store(arena.page(1), 6);
        reads(arena.page(2), 6);
        reads(arena.page(0), 0);
        // The memory is counted where it was made.
        assert_eq!((committed_pages(&parent), committed_pages(&window)), (1, 0));
    }

    #[kernel]
    fn C232_decommit_of_the_parent_shows_in_the_slice() {
        let parent = marked_vmo(2);
        let window = slice(&parent, 0, 2);
        parent.op_range(VmoOp::Decommit, 0, 2 * PAGE_SIZE).succeeds();
        holds(&window, &[0, 0]);
        assert_eq!((committed_pages(&parent), committed_pages(&window)), (0, 0));
    }

    #[kernel]
    fn C233_decommit_of_the_slice_shows_in_the_parent() {
        let (arena, parent) = (Arena::new(2), marked_vmo(2));
        arena.map_vmo(RW, 0, 2, &parent, 0).succeeds();
        arena.shows("11");
        let window = slice(&parent, 1, 1);
        window.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
        holds(&parent, &[mark(0), 0]);
        reads(arena.page(1), 0);
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn C235_slice_of_a_slice() {
        let parent = marked_vmo(4);
        let outer = slice(&parent, 1, 3);
        let inner = slice(&outer, 1, 1);
        holds(&inner, &[mark(2)]);
        write_word(&inner, 0, 5);
        assert_eq!((read_word(&parent, 2), read_word(&outer, 1)), (5, 5));
        write_word(&parent, 2, 6);
        holds(&inner, &[6]);
        drop(outer);
        drop(parent);
        write_word(&inner, 0, 7);
        holds(&inner, &[7]);
    }

    #[kernel]
    fn C236_slice_that_is_not_in_its_parent() {
        for parent in [marked_vmo(2), resizable_vmo(2)] {
            for (page, count) in [(0, 3), (1, 2), (2, 1), (3, 0), (100, 1)] {
                child_of(&parent, ChildOptions::SLICE, page, count).fails_with(Status::INVALID_ARGS);
            }
            parent.create_slice(1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
            assert_eq!(parent.info().succeeds().num_children, 0);
        }
    }

    #[kernel]
    fn C237_slice_of_absurd_numbers() {
        let parent = marked_vmo(2);
        let last_page = 0_u64.wrapping_sub(PAGE_SIZE);
        for (offset, len_bytes) in [(0, u64::MAX), (0, last_page), (last_page, last_page), (last_page, u64::MAX)] {
            parent.create_slice(offset, len_bytes).fails_with(Status::OUT_OF_RANGE);
        }
        parent.create_slice(last_page, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn G238_slice_of_what_can_be_resized() {
        child_of(&resizable_vmo(2), ChildOptions::SLICE, 0, 1).fails_with(Status::NOT_SUPPORTED);
        let options = ChildOptions::SLICE | ChildOptions::RESIZABLE;
        child_of(&marked_vmo(2), options, 0, 1).fails_with(Status::INVALID_ARGS);
        slice(&marked_vmo(2), 0, 1).set_size_bytes(0).fails_with(Status::UNAVAILABLE);
    }

    #[kernel]
    fn C239_slice_of_nothing() {
        let parent = marked_vmo(2);
        for page in [0, 1, 2] {
            let window = slice(&parent, page, 0);
            assert_eq!((window.size_bytes(), committed_pages(&window)), (Ok(0), 0));
            window.read(&mut [0], 0).fails_with(Status::OUT_OF_RANGE);
        }
        assert_eq!(slice(&empty_vmo(0), 0, 0).size_bytes(), Ok(0));
    }

    #[kernel("inspect=on")]
    fn C240_slice_of_contiguous_memory_is_contiguous() {
        let (arena, parent) = (Arena::new(7), contiguous_vmo(4 * PAGE_SIZE));
        let window = slice(&parent, 1, 3);
        let flags = VmoInfoFlags::from_bits_retain(window.info().succeeds().flags);
        assert!(flags.contains(VmoInfoFlags::CONTIGUOUS), "{flags:?}");
        arena.map_vmo(RW, 0, 4, &parent, 0).succeeds();
        arena.map_vmo(RW, 4, 3, &window, 0).succeeds();
        arena.shows("1111 111");
        for page in 0..3 {
            assert_eq!(physical_page(arena.page(4 + page)), physical_page(arena.page(0)) + 1 + page);
        }
    }

    #[kernel]
    fn C241_zero_children_signal_drops_and_returns() {
        let parent = marked_vmo(2);
        zero_children(&parent, true);
        let first = slice(&parent, 0, 1);
        zero_children(&parent, false);
        let second = slice(&parent, 0, 2);
        drop(first);
        zero_children(&parent, false);
        drop(second);
        zero_children(&parent, true);
    }

    #[kernel]
    fn G242_nested_slice_is_its_grandparents_child_when_its_parent_is_gone() {
        let parent = marked_vmo(2);
        let outer = slice(&parent, 0, 2);
        let inner = slice(&outer, 0, 1);
        drop(outer);
        zero_children(&parent, false);
        drop(inner);
        zero_children(&parent, true);
    }

    #[kernel]
    fn G234_mapped_slice_is_a_child_until_it_is_unmapped() {
        let (arena, parent) = (Arena::new(2), marked_vmo(2));
        arena.map_vmo(RW, 0, 1, &slice(&parent, 1, 1), 0).succeeds();
        arena.shows_mark(0, 1);
        zero_children(&parent, false);
        arena.unmap(0, 1).succeeds();
        zero_children(&parent, true);
    }

    #[kernel]
    fn N30_mapping_longer_than_its_slice_ends_where_that_does() {
        let (arena, parent) = (Arena::new(3), marked_vmo(4));
        let window = slice(&parent, 1, 2);
        arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, 3, &window, 0).succeeds();
        arena.shows("110");
        arena.shows_mark(1, 2);
        load_aborts(arena.page(2));
        assert_eq!(window.size_bytes(), Ok(2 * PAGE_SIZE));
    }

    #[kernel]
    fn N31_reads_and_writes_end_where_the_slice_does() {
        let parent = marked_vmo(4);
        let window = slice(&parent, 1, 2);
        window.read(&mut [0; 8], 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        window.write(&[1; 16], 2 * PAGE_SIZE - 8).fails_with(Status::OUT_OF_RANGE);
        for op in [VmoOp::Commit, VmoOp::Zero, VmoOp::Prefetch, VmoOp::CacheClean] {
            window.op_range(op, PAGE_SIZE, 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        }
        holds(&parent, &[mark(0), mark(1), mark(2), mark(3)]);
    }

    #[kernel]
    fn N32_slice_of_a_clone_and_clone_of_a_slice() {
        let parent = marked_vmo(2);
        let clone = snapshot(&parent, 0, 2);
        let window = slice(&clone, 1, 1);
        write_word(&window, 0, 5);
        holds(&clone, &[mark(0), 5]);
        holds(&parent, &[mark(0), mark(1)]);
        for kind in SNAPSHOTS {
            child_of(&window, kind, 0, 1).fails_with(Status::NOT_SUPPORTED);
        }
        write_word(&clone, 1, 6);
        holds(&window, &[6]);
    }

    #[kernel]
    fn N33_commit_and_zero_of_a_slice_are_the_parents() {
        let parent = empty_vmo(3);
        let window = slice(&parent, 1, 1);
        window.op_range(VmoOp::Commit, 0, PAGE_SIZE).succeeds();
        assert_eq!((committed_pages(&parent), committed_pages(&window)), (1, 0));
        write_word(&parent, 1, 5);
        window.op_range(VmoOp::Zero, 0, PAGE_SIZE).succeeds();
        assert_eq!((read_word(&parent, 1), committed_pages(&parent)), (0, 0));
    }

    #[kernel]
    fn N34_size_of_a_slice_is_rounded_up() {
        let parent = empty_vmo(1);
        parent.write(&[42], PAGE_SIZE - 64).succeeds();
        let window = parent.create_slice(0, 42).succeeds();
        let mut byte = [0];
        window.read(&mut byte, PAGE_SIZE - 64).succeeds();
        assert_eq!((byte, window.size_bytes()), ([42], Ok(PAGE_SIZE)));
    }
}

/// Asserts whether the signal of a VMO without children is asserted, by a wait that does not last.
#[track_caller]
pub(super) fn zero_children(vmo: &Vmo, is_asserted: bool) {
    let waited = vmo.wait_one(Signals::VMO_ZERO_CHILDREN, 0);
    let expected = match is_asserted {
        true => Waited::Asserted(Signals::VMO_ZERO_CHILDREN),
        false => Waited::TimedOut(Signals::empty()),
    };
    assert!(waited == expected, "expected {expected:?}, got {waited:?}");
}
