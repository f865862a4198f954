//! `vmo_create_child`: what it refuses and in which order, the rights of what it makes, and references.

use crate::arena::{
    Arena, R, RW, RWX, child_of, contiguous_vmo, empty_vmo, holds, mark, marked_vmo, resizable_vmo, slice, snapshot,
    vmo_without, write_word,
};
use crate::case::cases;
use crate::check::Check;
use abi::Call;
use zx::sys::hypercall;
use zx::{ChildOptions, Object, PAGE_SIZE, RawHandle, Rights, Status, Unowned, Vmo, VmoInfoFlags, VmoOptions};

cases! {
    #[kernel]
    fn C187_child_can_be_resized_where_it_was_made_so() {
        for parent in [marked_vmo(2), resizable_vmo(2)] {
            let fixed = snapshot(&parent, 0, 2);
            assert_eq!(rights(&fixed), Rights::DEFAULT_VMO);
            fixed.set_size_bytes(PAGE_SIZE).fails_with(Status::UNAVAILABLE);
            let free = child_of(&parent, ChildOptions::SNAPSHOT | ChildOptions::RESIZABLE, 0, 2).succeeds();
            assert_eq!(rights(&free), Rights::DEFAULT_VMO | Rights::RESIZE);
            free.set_size_bytes(PAGE_SIZE).succeeds();
            assert_eq!((free.size_bytes(), parent.size_bytes()), (Ok(PAGE_SIZE), Ok(2 * PAGE_SIZE)));
        }
    }

    #[kernel]
    fn C221_no_write_and_resizable() {
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        let both = ChildOptions::NO_WRITE | ChildOptions::RESIZABLE;
        for kind in KINDS {
            child_of(&marked_vmo(1), kind | both, 0, 1).fails_with(Status::INVALID_ARGS);
            child_of(&none, kind | both, 0, 1).fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn C264_snapshot_of_contiguous_memory() {
        let parent = contiguous_vmo(2 * PAGE_SIZE);
        for kind in SNAPSHOTS {
            child_of(&parent, kind, 0, 1).fails_with(Status::INVALID_ARGS);
        }
        assert_eq!(parent.info().succeeds().num_children, 0);
    }

    #[kernel]
    fn C260_contiguous_memory_keeps_its_size() {
        let parent = contiguous_vmo(2 * PAGE_SIZE);
        parent.set_size_bytes(PAGE_SIZE).fails_with(Status::UNAVAILABLE);
        assert_eq!(parent.size_bytes(), Ok(2 * PAGE_SIZE));
    }

    #[kernel]
    fn G218_children_of_what_is_discardable() {
        let parent = Vmo::create_with_options(VmoOptions::DISCARDABLE, PAGE_SIZE).succeeds();
        for kind in KINDS {
            parent.create_child(kind, 0, 0).fails_with(Status::NOT_SUPPORTED);
        }
    }

    #[kernel]
    fn G222_child_without_write() {
        for kind in KINDS {
            let parent = marked_vmo(1);
            let len_bytes = if kind == ChildOptions::REFERENCE { 0 } else { PAGE_SIZE };
            let child = parent.create_child(kind | ChildOptions::NO_WRITE, 0, len_bytes).succeeds();
            assert_eq!(rights(&child), Rights::DEFAULT_VMO - Rights::WRITE, "{kind:?}");
            child.write(&[1], 0).fails_with(Status::ACCESS_DENIED);
            let arena = Arena::new(1);
            arena.map_vmo(RW, 0, 1, &child, 0).fails_with(Status::ACCESS_DENIED);
            arena.map_vmo(R, 0, 1, &child, 0).succeeds();
            arena.shows_mark(0, 0);
            arena.vmar.destroy().succeeds();
        }
    }

    #[kernel]
    fn N10_rights_of_a_child_come_from_the_parents_handle() {
        let parent = marked_vmo(1).replace_as_executable().succeeds();
        let wanted = Rights::DUPLICATE | Rights::READ | Rights::MAP | Rights::EXECUTE;
        let weak = parent.duplicate(wanted).succeeds();
        let properties = Rights::GET_PROPERTY | Rights::SET_PROPERTY;
        assert_eq!(rights(&slice(&weak, 0, 1)), wanted | properties);
        let copy = snapshot(&weak, 0, 1);
        assert_eq!(rights(&copy), (wanted | properties | Rights::WRITE) - Rights::EXECUTE);
        let no_write = child_of(&weak, ChildOptions::SNAPSHOT | ChildOptions::NO_WRITE, 0, 1).succeeds();
        assert_eq!(rights(&no_write), (wanted | properties) - Rights::EXECUTE);
        write_word(&copy, 0, 5);
        holds(&parent, &[mark(0)]);
    }

    #[kernel]
    fn N11_child_needs_duplicate_and_read() {
        let parent = marked_vmo(1);
        for lacking in [Rights::DUPLICATE, Rights::READ] {
            let weak = vmo_without(&parent, lacking);
            KINDS.into_iter().for_each(|kind| weak.create_child(kind, 0, 0).fails_with(Status::ACCESS_DENIED));
        }
        vmo_without(&parent, Rights::WRITE | Rights::MAP).create_slice(0, PAGE_SIZE).succeeds();
    }

    #[kernel]
    fn N12_order_of_what_is_refused() {
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        none.create_child(ChildOptions::SNAPSHOT, 0, u64::MAX).fails_with(Status::OUT_OF_RANGE);
        none.create_child(ChildOptions::empty(), 0, 0).fails_with(Status::BAD_HANDLE);
        let arena = Arena::new(1);
        let vmar = Unowned::<Vmo>::of(&arena.vmar);
        vmar.create_child(ChildOptions::empty(), 0, 0).fails_with(Status::WRONG_TYPE);
        let weak = vmo_without(&marked_vmo(1), Rights::READ);
        weak.create_child(ChildOptions::empty(), 0, 0).fails_with(Status::ACCESS_DENIED);
        let both = ChildOptions::NO_WRITE | ChildOptions::RESIZABLE | ChildOptions::SNAPSHOT;
        none.create_child(both, 0, u64::MAX).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn N13_options_that_make_no_child() {
        let parent = marked_vmo(1);
        let wrong = [
            ChildOptions::empty(),
            ChildOptions::NO_WRITE,
            ChildOptions::RESIZABLE,
            ChildOptions::SNAPSHOT | ChildOptions::from_bits_retain(1 << 1),
            ChildOptions::SNAPSHOT | ChildOptions::from_bits_retain(1 << 8),
            ChildOptions::SNAPSHOT | ChildOptions::SNAPSHOT_MODIFIED,
            ChildOptions::SNAPSHOT | ChildOptions::SLICE,
            ChildOptions::SLICE | ChildOptions::REFERENCE,
            ChildOptions::SLICE | ChildOptions::RESIZABLE,
        ];
        for options in wrong {
            child_of(&parent, options, 0, 1).fails_with(Status::INVALID_ARGS);
        }
        let arguments = [parent.register(), 1 << 32 | 1, 0, PAGE_SIZE];
        hypercall(Call::VmoCreateChild, arguments).ok().fails_with(Status::INVALID_ARGS);
        assert_eq!(parent.info().succeeds().num_children, 0);
    }

    #[kernel]
    fn N14_ranges_that_make_no_snapshot() {
        let parent = marked_vmo(1);
        parent.create_snapshot(1, PAGE_SIZE).fails_with(Status::INVALID_ARGS);
        parent.create_snapshot(0, u64::MAX).fails_with(Status::OUT_OF_RANGE);
        parent.create_snapshot(0, 0_u64.wrapping_sub(PAGE_SIZE)).fails_with(Status::OUT_OF_RANGE);
        parent.create_snapshot(0_u64.wrapping_sub(PAGE_SIZE), 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(parent.create_snapshot(0, 1).succeeds().size_bytes(), Ok(PAGE_SIZE));
        assert_eq!(parent.create_snapshot(0, 0).succeeds().size_bytes(), Ok(0));
    }

    #[kernel]
    fn N15_reference_shows_contents_and_size() {
        let parent = resizable_vmo(2);
        let options = ChildOptions::REFERENCE | ChildOptions::RESIZABLE;
        let reference = parent.create_child(options, 0, 0).succeeds();
        holds(&reference, &[mark(0), mark(1)]);
        write_word(&reference, 0, 5);
        holds(&parent, &[5, mark(1)]);
        reference.set_size_bytes(3 * PAGE_SIZE).succeeds();
        assert_eq!(parent.size_bytes(), Ok(3 * PAGE_SIZE));
        parent.set_size_bytes(PAGE_SIZE).succeeds();
        assert_eq!(reference.size_bytes(), Ok(PAGE_SIZE));
        drop(parent);
        holds(&reference, &[5]);
    }

    #[kernel]
    fn N15_reference_refused() {
        let parent = marked_vmo(2);
        let reference = ChildOptions::REFERENCE;
        child_of(&parent, reference, 1, 0).fails_with(Status::INVALID_ARGS);
        child_of(&parent, reference, 0, 1).fails_with(Status::INVALID_ARGS);
        child_of(&parent, reference | ChildOptions::RESIZABLE, 0, 0).fails_with(Status::NOT_SUPPORTED);
        slice(&parent, 0, 2).create_reference().fails_with(Status::NOT_SUPPORTED);
        contiguous_vmo(PAGE_SIZE).create_reference().fails_with(Status::NOT_SUPPORTED);
    }

    #[kernel]
    fn N16_relations_of_three_generations() {
        let grandparent = marked_vmo(1);
        let parent = snapshot(&grandparent, 0, 1);
        let child = snapshot(&parent, 0, 1);
        let koid = |vmo: &Vmo| vmo.info().succeeds().koid;
        assert_eq!(child.info().succeeds().parent_koid, koid(&parent));
        assert_eq!(grandparent.info().succeeds().num_children, 1);
        let parents_koid = koid(&parent);
        drop(parent);
        assert_eq!(child.info().succeeds().parent_koid, parents_koid, "told for ever");
        assert_eq!(grandparent.info().succeeds().num_children, 1, "the grandchild is a child now");
        drop(child);
        assert_eq!(grandparent.info().succeeds().num_children, 0);
    }

    #[kernel]
    fn N17_mapping_keeps_a_closed_child_a_child() {
        let (arena, parent) = (Arena::new(1), marked_vmo(1));
        let child = snapshot(&parent, 0, 1);
        arena.map_vmo(RW, 0, 1, &child, 0).succeeds();
        drop(child);
        assert_eq!(parent.info().succeeds().num_children, 1);
        arena.shows_mark(0, 0);
        arena.unmap(0, 1).succeeds();
        assert_eq!(parent.info().succeeds().num_children, 0);
    }

    #[kernel]
    fn N18_slice_and_reference_are_no_copies() {
        let parent = marked_vmo(2);
        for child in [slice(&parent, 0, 2), parent.create_reference().succeeds()] {
            let info = child.info().succeeds();
            let flags = VmoInfoFlags::from_bits_retain(info.flags);
            assert!(flags.contains(VmoInfoFlags::PAGED) && !flags.contains(VmoInfoFlags::COW_CLONE), "{flags:?}");
            assert_eq!(info.parent_koid, parent.info().succeeds().koid);
            assert_eq!((info.committed_bytes, info.populated_scaled_bytes), (0, 0), "counted where it was made");
            assert_eq!(parent.info().succeeds().committed_bytes, 2 * PAGE_SIZE);
            holds(&child, &[mark(0), mark(1)]);
        }
    }

    #[kernel]
    fn N19_executable_mapping_of_a_snapshot() {
        let parent = crate::arena::executable_vmo(1);
        let clone = snapshot(&parent, 0, 1);
        let arena = Arena::new(1);
        arena.map_vmo(RWX, 0, 1, &clone, 0).fails_with(Status::ACCESS_DENIED);
        let clone = clone.replace_as_executable().succeeds();
        arena.map_vmo(RWX, 0, 1, &clone, 0).succeeds();
        crate::check::execute(arena.page(0));
    }

    #[kernel]
    fn N20_children_of_an_empty_vmo() {
        let parent = empty_vmo(0);
        assert_eq!(snapshot(&parent, 0, 1).size_bytes(), Ok(PAGE_SIZE));
        assert_eq!(slice(&parent, 0, 0).size_bytes(), Ok(0));
    }
}

/// What copies.
pub(super) const SNAPSHOTS: [ChildOptions; 3] =
    [ChildOptions::SNAPSHOT, ChildOptions::SNAPSHOT_AT_LEAST_ON_WRITE, ChildOptions::SNAPSHOT_MODIFIED];

/// Every kind of child.
const KINDS: [ChildOptions; 5] =
    [SNAPSHOTS[0], SNAPSHOTS[1], SNAPSHOTS[2], ChildOptions::SLICE, ChildOptions::REFERENCE];

fn rights(vmo: &Vmo) -> Rights {
    Rights::from_bits_retain(vmo.basic_info().succeeds().rights)
}
