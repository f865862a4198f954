//! VMOs made from others: copies, windows, second names, and how they are related.

use abi::{Call, ChildOptions, Rights, Status, VmOptions, VmarOp, VmoInfoFlags, VmoOp, VmoOptions};

use crate::guest::{Guest, P, PLACED, RW, documented};

const A: u64 = 0x8000_0000;
const B: u64 = 0x8040_0000;

const SNAPSHOT: ChildOptions = ChildOptions::SNAPSHOT;
const SLICE: ChildOptions = ChildOptions::SLICE;
const REFERENCE: ChildOptions = ChildOptions::REFERENCE;

fn resizable(guest: &Guest, pages: u64) -> u64 {
    guest.call(Call::VmoCreate, &[pages * P, u64::from(VmoOptions::RESIZABLE.bits())]).unwrap()[0]
}

#[test]
fn a_snapshot_and_its_original_do_not_see_each_others_stores() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(3));
    guest.map(root, A, vmo, 3);
    (0..2).for_each(|page| assert!(guest.store(A + page * P, 10 + page)));
    let copy = guest.snapshot(vmo, 3);
    guest.map(root, B, copy, 3);
    assert_eq!([guest.load(B), guest.load(B + P), guest.load(B + 2 * P)], [Some(10), Some(11), Some(0)]);
    assert!(guest.store(A, 20) && guest.store(B + P, 21) && guest.store(A + 2 * P, 22));
    assert_eq!([guest.load(A), guest.load(A + P), guest.load(A + 2 * P)], [Some(20), Some(11), Some(22)]);
    assert_eq!([guest.load(B), guest.load(B + P), guest.load(B + 2 * P)], [Some(10), Some(21), Some(0)]);
}

#[test]
fn what_was_writable_is_not_once_it_is_shared() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(1));
    guest.map(root, A, vmo, 1);
    guest.map(root, B, vmo, 1);
    assert!(guest.store(A, 1) && guest.store(B, 1));
    let copy = guest.snapshot(vmo, 1);
    // Either mapping has to let go of the shared page: who stores through one sees it through the other.
    assert!(guest.store(A, 2));
    assert_eq!((guest.load(B), guest.read(copy, 0)), (Some(2), 1));
}

#[test]
fn shared_pages_are_counted_in_parts() {
    let guest = documented();
    let vmo = guest.vmo(2);
    (0..2).for_each(|page| guest.write(vmo, page * P, 1));
    let copy = guest.snapshot(vmo, 2);
    let bytes = |vmo| (guest.info(vmo).populated_bytes, guest.info(vmo).populated_private_bytes);
    assert_eq!((bytes(vmo), bytes(copy)), ((P, 0), (P, 0)));
    guest.write(vmo, 0, 2);
    assert_eq!((bytes(vmo), bytes(copy)), ((P + P / 2, P), (P + P / 2, P)));
    guest.write(copy, P, 2);
    assert_eq!((bytes(vmo), bytes(copy)), ((2 * P, 2 * P), (2 * P, 2 * P)));
    let third = (guest.snapshot(vmo, 2), guest.snapshot(vmo, 2));
    let info = guest.info(third.0);
    assert_eq!(
        (info.committed_scaled_bytes, info.committed_fractional_scaled_bytes),
        (2 * P / 3, 0xaaaa_aaaa_aaaa_aaa9 / 2)
    );
}

#[test]
fn who_is_left_alone_owns_its_pages_again() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(2));
    guest.map(root, A, vmo, 2);
    assert!(guest.store(A, 7));
    // Frames of bookkeeping stay with the bookkeeping, and the buffer with the RAM.
    guest.close(guest.snapshot(vmo, 2));
    guest.info(vmo);
    let held = guest.system.frames_held(guest.id);
    let copy = guest.snapshot(vmo, 2);
    assert_eq!(guest.vmo_op(vmo, VmoOp::Decommit, 0, P), Err(Status::NOT_SUPPORTED));
    assert_eq!(guest.vmo_op(copy, VmoOp::Decommit, 0, P), Err(Status::NOT_SUPPORTED));
    guest.close(copy);
    assert_eq!(guest.info(vmo).populated_private_bytes, P);
    assert!(guest.store(A, 8), "the page is written in place");
    assert_eq!(guest.system.frames_held(guest.id), held);
    assert_eq!(guest.vmo_op(vmo, VmoOp::Decommit, 0, P), Ok(()));
}

#[test]
fn a_copy_outlives_its_original() {
    let guest = documented();
    let vmo = guest.vmo(2);
    (0..2).for_each(|page| guest.write(vmo, page * P, 30 + page));
    let copy = guest.snapshot(vmo, 2);
    let copy_of_copy = guest.try_child(copy, SNAPSHOT, P, P).unwrap();
    guest.close(vmo);
    guest.close(copy);
    assert_eq!(guest.read(copy_of_copy, 0), 31);
    assert_eq!(guest.info(copy_of_copy).populated_private_bytes, P);
}

#[test]
fn a_copy_ends_where_its_window_on_the_original_did() {
    let guest = documented();
    let vmo = resizable(&guest, 2);
    (0..2).for_each(|page| guest.write(vmo, page * P, 40 + page));
    let copy = guest.try_child(vmo, SNAPSHOT | ChildOptions::RESIZABLE, P, 3 * P).unwrap();
    assert_eq!([guest.read(copy, 0), guest.read(copy, P)], [41, 0]);
    guest.call(Call::VmoSetSize, &[vmo, 4 * P]).unwrap();
    guest.write(vmo, 2 * P, 42);
    assert_eq!(guest.read(copy, P), 0);
    // A part that was cut off does not come back.
    guest.call(Call::VmoSetSize, &[copy, 0]).unwrap();
    guest.call(Call::VmoSetSize, &[copy, P]).unwrap();
    assert_eq!((guest.read(copy, 0), guest.read(vmo, P)), (0, 41));
}

#[test]
fn zero_and_commit_of_one_leave_the_other_alone() {
    let guest = documented();
    let vmo = guest.vmo(3);
    (0..3).for_each(|page| guest.write(vmo, page * P, 50 + page));
    let copy = guest.snapshot(vmo, 3);
    // A whole page, and the beginning of the next.
    guest.vmo_op(copy, VmoOp::Zero, 0, P + 4).unwrap();
    assert_eq!([guest.read(copy, 0), guest.read(copy, P), guest.read(copy, 2 * P)], [0, 0, 52]);
    assert_eq!([guest.read(vmo, 0), guest.read(vmo, P), guest.read(vmo, 2 * P)], [50, 51, 52]);
    assert_eq!(guest.info(copy).populated_bytes, P + P / 2);
    guest.vmo_op(copy, VmoOp::Commit, 0, 3 * P).unwrap();
    assert_eq!((guest.info(copy).populated_private_bytes, guest.info(vmo).populated_private_bytes), (3 * P, 3 * P));
    assert_eq!([guest.read(copy, 0), guest.read(copy, 2 * P)], [0, 52]);
}

#[test]
fn a_chunk_is_shared_as_one_and_taken_apart_by_a_store() {
    let guest = Guest::with_memory("inspect=on seed=1 ram=4M", 32 << 20);
    let (root, vmo) = (guest.root(), guest.vmo(512));
    guest.map(root, A, vmo, 512);
    guest.op_range(root, VmarOp::Commit, A, 512 * P).unwrap();
    assert_eq!(guest.walk(A), (2, true));
    guest.write(vmo, 5 * P, 60);
    let held = guest.system.frames_held(guest.id);
    let copy = guest.snapshot(vmo, 512);
    // The copy is a word in the map, and perhaps a frame of bookkeeping.
    assert!(guest.system.frames_held(guest.id) <= held + 1);
    guest.map(root, B, copy, 512);
    assert_eq!((guest.load(B + 5 * P), guest.walk(B)), (Some(60), (2, true)));
    assert!(guest.store(B + 5 * P, 61));
    assert_eq!((guest.load(A + 5 * P), guest.load(B + 6 * P)), (Some(60), Some(0)));
    assert_eq!(guest.info(copy).populated_bytes, P + 511 * P / 2);
    guest.close(copy);
    guest.unmap(root, B, 512 * P).unwrap();
    // What was shared is written in place, a block at a time.
    assert!(guest.store(A, 62));
    assert_eq!(guest.walk(A), (2, true));
    assert_eq!(guest.info(vmo).populated_private_bytes, 512 * P);
}

#[test]
fn slices_and_references_show_the_same_memory() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(6));
    let slice = guest.try_child(vmo, SLICE, P, 4 * P).unwrap();
    let inner = guest.try_child(slice, SLICE, P, 2 * P).unwrap();
    let same = guest.try_child(vmo, REFERENCE, 0, 0).unwrap();
    guest.write(inner, 0, 70);
    assert_eq!([guest.read(vmo, 2 * P), guest.read(slice, P), guest.read(same, 2 * P)], [70; 3]);
    // A mapping shows no more than its slice.
    guest.map(root, A, inner, 3);
    assert_eq!([guest.load(A), guest.load(A + P), guest.load(A + 2 * P)], [Some(70), Some(0), None]);
    assert!(guest.store(A + P, 71));
    assert_eq!(guest.read(vmo, 3 * P), 71);
    // What one of them takes back is gone for all.
    assert_eq!(guest.vmo_op(inner, VmoOp::Decommit, P, 2 * P), Err(Status::OUT_OF_RANGE));
    guest.vmo_op(slice, VmoOp::Decommit, P, P).unwrap();
    assert_eq!((guest.load(A), guest.read(vmo, 2 * P), guest.load(A + P)), (Some(0), 0, Some(71)));
    let populated = |vmo| guest.info(vmo).populated_bytes;
    assert_eq!([populated(vmo), populated(slice), populated(same)], [P, 0, 0]);
    guest.close(vmo);
    assert_eq!(guest.read(same, 3 * P), 71);
}

#[test]
fn a_reference_is_resized_with_its_parent() {
    let guest = documented();
    let (root, vmo) = (guest.root(), resizable(&guest, 2));
    let same = guest.try_child(vmo, REFERENCE | ChildOptions::RESIZABLE, 0, 0).unwrap();
    let bound = guest.try_child(vmo, REFERENCE, 0, 0).unwrap();
    guest.map(root, A, bound, 2);
    assert!(guest.store(A + P, 80));
    assert_eq!(guest.call(Call::VmoSetSize, &[bound, P]), Err(Status::ACCESS_DENIED));
    guest.call(Call::VmoSetSize, &[same, P]).unwrap();
    assert_eq!((guest.load(A + P), guest.info(vmo).size_bytes, guest.info(bound).size_bytes), (None, P, P));
    assert_eq!(guest.try_child(guest.vmo(1), REFERENCE | ChildOptions::RESIZABLE, 0, 0), Err(Status::NOT_SUPPORTED));
}

#[test]
fn children_are_counted_and_pass_to_the_grandparent() {
    let guest = documented();
    let vmo = guest.vmo(2);
    let koid = |vmo| guest.info(vmo).koid;
    let children = |vmo| guest.info(vmo).num_children;
    let slice = guest.try_child(vmo, SLICE, 0, P).unwrap();
    let inner = [guest.try_child(slice, SLICE, 0, P).unwrap(), guest.try_child(slice, SLICE, 0, 0).unwrap()];
    let copy = guest.snapshot(vmo, 1);
    assert_eq!([children(vmo), children(slice), children(inner[0])], [2, 2, 0]);
    assert_eq!((guest.info(inner[0]).parent_koid, guest.info(copy).parent_koid), (koid(slice), koid(vmo)));
    assert_eq!((guest.info(vmo).flags & VmoInfoFlags::COW_CLONE.bits(), guest.info(vmo).parent_koid), (0, 0));
    assert_ne!(guest.info(copy).flags & VmoInfoFlags::COW_CLONE.bits(), 0);
    guest.close(slice);
    assert_eq!(children(vmo), 3);
    guest.close(inner[0]);
    guest.close(copy);
    assert_eq!(children(vmo), 1);
    let wait = |deadline: u64| guest.call(Call::ObjectWaitOne, &[vmo, 8, deadline]).map(|results| results[0]);
    assert_eq!(wait(0), Err(Status::TIMED_OUT));
    guest.close(inner[1]);
    assert_eq!((wait(0), children(vmo)), (Ok(8), 0));
}

#[test]
fn a_mapped_child_is_a_child() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(1));
    let copy = guest.snapshot(vmo, 1);
    guest.map(root, A, copy, 1);
    guest.close(copy);
    assert_eq!(guest.info(vmo).num_children, 1);
    guest.unmap(root, A, P).unwrap();
    assert_eq!(guest.info(vmo).num_children, 0);
}

#[test]
fn what_a_child_may_be_is_checked_in_order() {
    let guest = documented();
    let (vmo, sized) = (guest.vmo(2), resizable(&guest, 2));
    let child = |vmo, options, offset, size| guest.try_child(vmo, options, offset, size).err();
    let contiguous = guest.call(Call::VmoCreateContiguous, &[2 * P, 0]).unwrap()[0];
    let discardable = guest.call(Call::VmoCreate, &[P, u64::from(VmoOptions::DISCARDABLE.bits())]).unwrap()[0];
    let last = u64::MAX - P + 1;
    let expected = [
        (child(0, ChildOptions::NO_WRITE | ChildOptions::RESIZABLE, 0, u64::MAX), Status::INVALID_ARGS),
        (child(0, SNAPSHOT, 0, u64::MAX), Status::OUT_OF_RANGE),
        (child(0, SNAPSHOT, 0, P), Status::BAD_HANDLE),
        (child(guest.root(), SNAPSHOT, 0, P), Status::WRONG_TYPE),
        (child(discardable, ChildOptions::empty(), 0, P), Status::NOT_SUPPORTED),
        (child(vmo, ChildOptions::empty(), 0, P), Status::INVALID_ARGS),
        (child(vmo, SNAPSHOT | ChildOptions::SNAPSHOT_MODIFIED, 0, P), Status::INVALID_ARGS),
        (child(vmo, SNAPSHOT | ChildOptions::from_bits_retain(1 << 8), 0, P), Status::INVALID_ARGS),
        (child(vmo, SLICE | SNAPSHOT, 0, P), Status::INVALID_ARGS),
        (child(vmo, SLICE, 1, P), Status::INVALID_ARGS),
        (child(sized, SLICE, last, last), Status::OUT_OF_RANGE),
        (child(sized, SLICE, last, P), Status::INVALID_ARGS),
        (child(sized, SLICE, 0, 3 * P), Status::INVALID_ARGS),
        (child(sized, SLICE, 0, P), Status::NOT_SUPPORTED),
        (child(vmo, REFERENCE, 0, P), Status::INVALID_ARGS),
        (child(contiguous, REFERENCE, 0, 0), Status::NOT_SUPPORTED),
        (child(contiguous, SNAPSHOT, 0, P), Status::INVALID_ARGS),
        (child(vmo, SNAPSHOT, 8, P), Status::INVALID_ARGS),
        (child(vmo, SNAPSHOT, 2 * P, last - P), Status::OUT_OF_RANGE),
    ];
    for (line, (seen, wanted)) in expected.into_iter().enumerate() {
        assert_eq!(seen, Some(wanted), "line {line}");
    }
    assert_eq!(guest.call(Call::VmoCreateChild, &[vmo, 1 << 32 | 1, 0, P]), Err(Status::INVALID_ARGS));
    assert!(guest.try_child(contiguous, SLICE, P, P).is_ok());
    assert_eq!(guest.try_child(guest.try_child(vmo, SLICE, 0, P).unwrap(), SNAPSHOT, 0, P), Err(Status::NOT_SUPPORTED));
    let weak = guest.without(vmo, Rights::DEFAULT_VMO, Rights::DUPLICATE);
    assert_eq!(child(weak, SNAPSHOT, 0, P), Some(Status::ACCESS_DENIED));
}

#[test]
fn offsets_of_copies_of_copies_do_not_wrap() {
    let guest = documented();
    let vmo = guest.vmo(0);
    let far = guest.try_child(vmo, SNAPSHOT, 0xffff_ffff_ffff_8000, 0).unwrap();
    assert_eq!(guest.try_child(far, SNAPSHOT, 0x8000, 0), Err(Status::INVALID_ARGS));
    let farther = guest.try_child(far, SNAPSHOT | ChildOptions::RESIZABLE, 0x4000, 0).unwrap();
    assert_eq!(guest.call(Call::VmoSetSize, &[farther, 0x8000]), Err(Status::INVALID_ARGS));
    guest.call(Call::VmoSetSize, &[farther, 0x3000]).unwrap();
}

#[test]
fn rights_of_a_child_follow_its_parents() {
    let guest = documented();
    let vmo = guest.vmo(1);
    let weak = guest.without(vmo, Rights::DEFAULT_VMO, Rights::WRITE | Rights::SET_PROPERTY);
    let rights =
        |options| Rights::from_bits_retain(guest.info(guest.try_child(weak, options, 0, 0).unwrap()).handle_rights);
    assert_eq!(rights(SLICE), Rights::DEFAULT_VMO - Rights::WRITE);
    assert_eq!(rights(SNAPSHOT), Rights::DEFAULT_VMO);
    assert_eq!(rights(SNAPSHOT | ChildOptions::NO_WRITE), Rights::DEFAULT_VMO - Rights::WRITE);
    assert_eq!(rights(SNAPSHOT | ChildOptions::RESIZABLE), Rights::DEFAULT_VMO | Rights::RESIZE);
}

#[test]
fn a_copy_that_finds_no_memory_leaves_no_trace() {
    for left in 0..6 {
        let guest = Guest::with_memory("inspect=on seed=1 ram=4M quota=2600K", 32 << 20);
        let (root, vmo) = (guest.root(), guest.vmo(600));
        guest.map(root, A, vmo, 600);
        [0, 3, 300, 599].into_iter().for_each(|page| assert!(guest.store(A + page * P, page + 1)));
        guest.info(vmo);
        guest.use_up_quota(left);
        let held = guest.system.frames_held(guest.id);
        match guest.try_child(vmo, SNAPSHOT, 0, 600 * P) {
            Ok(copy) => assert_eq!(guest.info(copy).num_children, 0),
            Err(status) => {
                assert_eq!(status, Status::NO_MEMORY);
                assert_eq!(guest.info(vmo).populated_private_bytes, 4 * P, "{left} frames left");
                // Frames of bookkeeping stay with the bookkeeping.
                assert!(guest.system.frames_held(guest.id) <= held + 2);
            }
        }
        [0, 3, 300, 599].into_iter().for_each(|page| assert_eq!(guest.load(A + page * P), Some(page + 1)));
    }
}

#[test]
fn protection_does_not_bring_stores_to_a_shared_page() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(1));
    guest.write(vmo, 0, 42);
    let copy = guest.snapshot(vmo, 1);
    guest.try_map(root, RW | PLACED, A, copy, 0, P).unwrap();
    assert_eq!(guest.load(A), Some(42));
    for perms in [VmOptions::PERM_READ, RW] {
        guest.call(Call::VmarProtect, &[root, perms.bits().into(), A, P]).unwrap();
    }
    assert!(guest.store(A, 77));
    assert_eq!((guest.read(vmo, 0), guest.read(copy, 0)), (42, 77));
}

#[test]
fn zeroing_nothing_copies_nothing() {
    let guest = documented();
    let vmo = guest.vmo(1);
    guest.write(vmo, 0, 9);
    let copy = guest.snapshot(vmo, 1);
    guest.vmo_op(copy, VmoOp::Zero, 100, 0).unwrap();
    assert_eq!(guest.info(copy).populated_private_bytes, 0);
    assert_eq!(guest.read(copy, 96), 0);
}

#[test]
fn offsets_of_copies_count_through_references() {
    let guest = documented();
    let copy = guest.try_child(guest.vmo(1), SNAPSHOT | ChildOptions::RESIZABLE, 1 << 63, P).unwrap();
    let same = guest.try_child(copy, REFERENCE | ChildOptions::RESIZABLE, 0, 0).unwrap();
    for vmo in [copy, same] {
        assert_eq!(guest.call(Call::VmoSetSize, &[vmo, 1 << 63]), Err(Status::INVALID_ARGS));
        assert_eq!(guest.try_child(vmo, SNAPSHOT, 1 << 63, 0), Err(Status::INVALID_ARGS));
    }
}
