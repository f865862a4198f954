//! Snapshots: who sees which write, through what is closed, resized and zeroed.

use crate::arena::{
    Arena, R, RW, child_of, committed_pages, empty_vmo, holds, mark, marked_vmo, populated_bytes, read_word,
    resizable_vmo, snapshot, write_word,
};
use crate::case::cases;
use crate::check::{Check, reads, store};
use zx::inspect::{self, Stats};
use zx::{ChildOptions, Object, PAGE_SIZE, Status, Vm, VmOptions, VmarOp, Vmo, VmoInfoFlags, VmoOp, VmoOptions};

cases! {
    #[kernel]
    fn C143_commit_of_part_of_a_mapped_clone_copies_it() {
        let (arena, parent, clone) = mapped_clone();
        arena.op(VmarOp::Commit, 2, 2).succeeds();
        assert_eq!((committed_pages(&parent), committed_pages(&clone)), (2, 2));
        holds(&clone, &[0, 0, mark(2), mark(3), 0]);
        store(arena.page(2), 7);
        holds(&parent, &[0, 0, mark(2), mark(3), 0]);
    }

    #[kernel]
    fn C144_commit_of_a_whole_mapped_clone() {
        let (arena, parent, clone) = mapped_clone();
        arena.op(VmarOp::Commit, 0, 5).succeeds();
        assert_eq!((committed_pages(&parent), committed_pages(&clone)), (2, 5));
        holds(&clone, &[0, 0, mark(2), mark(3), 0]);
    }

    #[kernel]
    fn C149_protected_clone_is_copied_when_it_is_written_again() {
        let (arena, parent) = (Arena::new(1), empty_vmo(1));
        write_word(&parent, 0, 42);
        let clone = snapshot(&parent, 0, 1);
        arena.map_vmo(RW, 0, 1, &clone, 0).succeeds();
        reads(arena.page(0), 42);
        arena.vmar.protect(R, arena.page(0), PAGE_SIZE).succeeds();
        arena.vmar.protect(RW, arena.page(0), PAGE_SIZE).succeeds();
        store(arena.page(0), 77);
        assert_eq!((read_word(&parent, 0), read_word(&clone, 0)), (42, 77));
    }

    #[kernel]
    fn C227_protect_to_write_keeps_clone_and_parent_apart() {
        let (arena, parent) = (Arena::new(2), marked_vmo(1));
        let clone = snapshot(&parent, 0, 1);
        arena.map_vmo(R, 0, 1, &parent, 0).succeeds();
        arena.map_vmo(R, 1, 1, &clone, 0).succeeds();
        arena.shows("11");
        arena.vmar.protect(RW, arena.page(0), 2 * PAGE_SIZE).succeeds();
        store(arena.page(0), 1);
        reads(arena.page(1), mark(0));
        store(arena.page(1), 2);
        assert_eq!((read_word(&parent, 0), read_word(&clone, 0)), (1, 2));
    }

    #[kernel]
    fn C248_info_of_a_clone_and_of_its_parent() {
        let parent = resizable_vmo(2);
        let before = parent.info().succeeds();
        let clone = snapshot(&parent, 0, 2);
        let (info, after) = (clone.info().succeeds(), parent.info().succeeds());
        let flags = VmoInfoFlags::PAGED | VmoInfoFlags::COW_CLONE | VmoInfoFlags::VIA_HANDLE;
        assert_eq!(VmoInfoFlags::from_bits_retain(info.flags), flags);
        assert_eq!((info.parent_koid, info.num_children, info.size_bytes), (before.koid, 0, 2 * PAGE_SIZE));
        assert_eq!((after.flags, after.parent_koid, after.num_children), (before.flags, 0, 1));
        assert_eq!(before.num_children, 0);
        drop(clone);
        assert_eq!(parent.info().succeeds().num_children, 0);
    }

    #[kernel]
    fn C249_write_of_clone_or_parent_is_not_seen_by_the_other() {
        for is_parent_written in [false, true] {
            let parent = marked_vmo(1);
            let clone = snapshot(&parent, 0, 1);
            write_word(if is_parent_written { &parent } else { &clone }, 0, 5);
            assert_eq!(read_word(&parent, 0), if is_parent_written { 5 } else { mark(0) });
            assert_eq!(read_word(&clone, 0), if is_parent_written { mark(0) } else { 5 });
        }
    }

    #[kernel]
    fn C249_store_through_a_mapping_of_one_is_not_seen_by_the_other() {
        for written in [0, 1] {
            let (arena, parent) = (Arena::new(2), marked_vmo(1));
            arena.map_vmo(RW, 0, 1, &parent, 0).succeeds();
            store(arena.page(0) + 8, 1);
            let clone = snapshot(&parent, 0, 1);
            arena.map_vmo(RW, 1, 1, &clone, 0).succeeds();
            store(arena.page(written), 5);
            reads(arena.page(written), 5);
            arena.shows_mark(1 - written, 0);
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn C251_what_is_left_of_a_pair_keeps_its_data() {
        for is_parent_closed in [false, true] {
            let parent = marked_vmo(2);
            let clone = snapshot(&parent, 0, 2);
            write_word(&clone, 1, 5);
            let expected = if is_parent_closed { [mark(0), 5] } else { [mark(0), mark(1)] };
            let (left, closed) = if is_parent_closed { (clone, parent) } else { (parent, clone) };
            drop(closed);
            holds(&left, &expected);
            assert_eq!(committed_pages(&left), 2);
            write_word(&left, 0, 6);
            assert_eq!(read_word(&left, 0), 6);
        }
    }

    #[kernel]
    fn C252_shared_pages_are_counted_by_halves() {
        let parent = marked_vmo(2);
        let clone = snapshot(&parent, 0, 2);
        let counted = |bytes, private| {
            for vmo in [&parent, &clone] {
                let info = vmo.info().succeeds();
                assert_eq!((info.populated_bytes, info.populated_scaled_bytes), (bytes, bytes));
                assert_eq!((info.committed_bytes, info.committed_scaled_bytes), (bytes, bytes));
                assert_eq!((info.committed_private_bytes, info.populated_private_bytes), (private, private));
                assert_eq!((info.committed_fractional_scaled_bytes, info.populated_fractional_scaled_bytes), (0, 0));
            }
        };
        counted(PAGE_SIZE, 0);
        write_word(&clone, 0, 5);
        counted(PAGE_SIZE + PAGE_SIZE / 2, PAGE_SIZE);
        write_word(&parent, 1, 5);
        counted(2 * PAGE_SIZE, 2 * PAGE_SIZE);
    }

    #[kernel]
    fn C253_tree_of_four_over_a_page_of_zeros() {
        let tree = tree_of_four(&empty_vmo(1));
        tree.iter().for_each(|vmo| assert_eq!((committed_pages(vmo), read_word(vmo, 0)), (0, 0)));
        for (written, vmo) in tree.iter().enumerate() {
            write_word(vmo, 0, written as u64 + 1);
            for (index, vmo) in tree.iter().enumerate() {
                let (pages, word) = if index <= written { (1, index as u64 + 1) } else { (0, 0) };
                assert_eq!((committed_pages(vmo), read_word(vmo, 0)), (pages, word), "{index} after {written}");
            }
        }
    }

    #[kernel]
    fn C263_stores_through_four_mapped_relatives_in_every_order() {
        for order in orders() {
            let arena = Arena::new(4);
            let tree = tree_of_four(&marked_vmo(1));
            for (page, vmo) in tree.iter().enumerate() {
                arena.map_vmo(RW, page as u64, 1, vmo, 0).succeeds();
                arena.shows_mark(page as u64, 0);
            }
            let mut expected = [mark(0); 4];
            for index in order {
                expected[index] = index as u64;
                store(arena.page(index as u64), index as u64);
                (0..4).for_each(|page| reads(arena.page(page), expected[page as usize]));
            }
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn C272_page_that_was_copied_and_zeroed_is_the_parents_again() {
        let parent = marked_vmo(3);
        let clone = snapshot(&parent, 0, 3);
        write_word(&clone, 1, 5);
        clone.op_range(VmoOp::Zero, PAGE_SIZE, PAGE_SIZE).succeeds();
        holds(&clone, &[mark(0), 0, mark(2)]);
        drop(clone);
        let clone = snapshot(&parent, 0, 3);
        write_word(&clone, 1, 6);
        holds(&clone, &[mark(0), 6, mark(2)]);
        holds(&parent, &[mark(0), mark(1), mark(2)]);
    }

    #[kernel("inspect=on")]
    fn C273_read_only_map_range_of_a_clone_copies_nothing() {
        let (arena, parent) = (Arena::new(5), marked_vmo(5));
        let clone = snapshot(&parent, 0, 5);
        arena.map_vmo(R | VmOptions::MAP_RANGE, 0, 5, &clone, 0).succeeds();
        arena.has_entries("11111");
        (0..5).for_each(|page| arena.shows_mark(page, page));
        assert_eq!(clone.info().succeeds().populated_private_bytes, 0);
    }

    #[kernel]
    fn N01_every_kind_of_snapshot_is_one_without_a_pager() {
        let kinds =
            [ChildOptions::SNAPSHOT, ChildOptions::SNAPSHOT_AT_LEAST_ON_WRITE, ChildOptions::SNAPSHOT_MODIFIED];
        for kind in kinds {
            let parent = marked_vmo(2);
            let clone = child_of(&parent, kind, 0, 2).succeeds();
            write_word(&parent, 0, 5);
            write_word(&clone, 1, 6);
            holds(&parent, &[5, mark(1)]);
            holds(&clone, &[mark(0), 6]);
        }
    }

    #[kernel("inspect=on")]
    fn N02_snapshot_takes_write_from_the_mappings_of_its_source() {
        let arena = Arena::new(2);
        let parent = arena.map(0, 2);
        store(arena.page(0), 1);
        let clone = snapshot(&parent, 0, 2);
        assert!(!crate::arena::descriptor(arena.page(0)).is_writable());
        store(arena.page(0), 2);
        assert_eq!((read_word(&clone, 0), read_word(&parent, 0)), (1, 2));
    }

    #[kernel]
    fn N03_decommit_while_there_is_a_relative() {
        let parent = marked_vmo(2);
        let clone = snapshot(&parent, 0, 1);
        for vmo in [&parent, &clone] {
            vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).fails_with(Status::NOT_SUPPORTED);
        }
        drop(clone);
        parent.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
        holds(&parent, &[0, mark(1)]);
    }

    #[kernel("inspect=on")]
    fn N04_nothing_of_a_tree_of_clones_is_left() {
        let before = rounds_of_clones();
        assert_eq!(rounds_of_clones(), before, "frames in the end of a round");
    }

    #[kernel]
    fn N06_reading_what_no_relative_has_commits_nothing() {
        let parent = empty_vmo(2);
        let clone = snapshot(&parent, 0, 2);
        let arena = Arena::new(2);
        arena.map_vmo(RW, 0, 2, &clone, 0).succeeds();
        arena.shows("11");
        assert_eq!((populated_bytes(&parent), populated_bytes(&clone)), (0, 0));
        store(arena.page(1), 1);
        assert_eq!((populated_bytes(&parent), populated_bytes(&clone)), (0, PAGE_SIZE));
        holds(&parent, &[0, 0]);
    }

    #[kernel]
    fn N07_unmapping_a_clone_leaves_it_whole() {
        let (arena, parent) = (Arena::new(2), marked_vmo(2));
        let clone = snapshot(&parent, 0, 2);
        arena.map_vmo(RW, 0, 2, &clone, 0).succeeds();
        store(arena.page(1), 5);
        arena.unmap(0, 2).succeeds();
        holds(&clone, &[mark(0), 5]);
        holds(&parent, &[mark(0), mark(1)]);
    }
}

/// Five pages of which the third and the fourth are marked, and a clone of them that an arena shows.
fn mapped_clone() -> (Arena, Vmo, Vmo) {
    let (arena, parent) = (Arena::new(5), empty_vmo(5));
    [2, 3].into_iter().for_each(|page| write_word(&parent, page, mark(page)));
    let clone = snapshot(&parent, 0, 5);
    arena.map_vmo(RW, 0, 5, &clone, 0).succeeds();
    (arena, parent, clone)
}

pub(super) fn resizable_snapshot(vmo: &Vmo, page: u64, page_count: u64) -> Vmo {
    child_of(vmo, ChildOptions::SNAPSHOT | ChildOptions::RESIZABLE, page, page_count).succeeds()
}

/// The first page of a VMO, two clones of it, and a clone of one of these.
fn tree_of_four(original: &Vmo) -> [Vmo; 4] {
    let root = original.duplicate(zx::Rights::SAME_RIGHTS).succeeds();
    let (left, right) = (snapshot(original, 0, 1), snapshot(original, 0, 1));
    let nested = snapshot(&left, 0, 1);
    [root, left, right, nested]
}

/// The orders of four.
fn orders() -> impl Iterator<Item = [usize; 4]> {
    let all = (0..256).map(|number| [number & 3, number >> 2 & 3, number >> 4 & 3, number >> 6 & 3]);
    all.filter(|order| (0..4).all(|index| order.contains(&index)))
}

/// Makes clones, writes to them, closes them, and returns how many frames the VM holds then.
fn rounds_of_clones() -> u64 {
    for _ in 0..8 {
        let tree = tree_of_four(&marked_vmo(1));
        tree.iter().zip(1..).for_each(|(vmo, value)| write_word(vmo, 0, value));
        let resizable = Vmo::create_with_options(VmoOptions::RESIZABLE, 4 * PAGE_SIZE).succeeds();
        write_word(&resizable, 3, 1);
        let clone = resizable_snapshot(&resizable, 2, 2);
        resizable.set_size_bytes(PAGE_SIZE).succeeds();
        write_word(&clone, 0, 1);
    }
    frames()
}

/// Returns how many frames the VM holds.
pub(super) fn frames() -> u64 {
    let stats: Stats = inspect::stats(&Vm::current().succeeds()).succeeds();
    stats[abi::stats::Counter::Frames]
}
