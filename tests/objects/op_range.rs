//! `vmar_op_range`: what each operation does, what it refuses, and in which order.

use abi::{Call, Rights, Status, VmarOp, VmoOptions};

use crate::guest::{P, PLACED, R, RW, VMAR_RIGHTS, both, documented, kernel};

const A: u64 = 0x8000_0000;

#[test]
fn commit_gives_pages_and_enters_them() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        guest.map(root, A, vmo, 4);
        assert_eq!(guest.committed_pages(vmo), 0);
        guest.op_range(root, VmarOp::Commit, A + P, 2 * P).unwrap();
        assert_eq!(guest.committed_pages(vmo), 2);
        let walk = |page: u64| guest.call(Call::Stage2Walk, &[root, A + page * P]).unwrap()[0];
        assert_eq!([walk(0), walk(3)], [0, 0]);
        assert!(walk(1) & 3 == 3 && walk(2) & 3 == 3);
    });
}

#[test]
fn decommit_takes_pages_from_every_mapping() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(2));
        guest.map(root, A, vmo, 2);
        guest.map(root, A + 16 * P, vmo, 2);
        guest.store(A, 5);
        assert_eq!(guest.load(A + 16 * P), Some(5));
        guest.op_range(root, VmarOp::Decommit, A, P).unwrap();
        assert_eq!((guest.load(A), guest.load(A + 16 * P)), (Some(0), Some(0)));
        assert_eq!(guest.committed_pages(vmo), 0);
    });
}

#[test]
fn a_page_of_zeros_gives_way_to_what_is_written_elsewhere() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(1));
        guest.map(root, A, vmo, 1);
        guest.map(root, A + 16 * P, vmo, 1);
        assert_eq!((guest.load(A), guest.load(A + 16 * P)), (Some(0), Some(0)));
        assert_eq!(guest.committed_pages(vmo), 0);
        guest.store(A, 9);
        assert_eq!((guest.load(A), guest.load(A + 16 * P)), (Some(9), Some(9)));
    });
}

#[test]
fn map_range_enters_what_is_there_and_commits_nothing() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        let other = guest.map(root, A + 16 * P, vmo, 4);
        guest.store(other + P, 1);
        guest.store(other + 3 * P, 1);
        guest.map(root, A, vmo, 4);
        guest.op_range(root, VmarOp::MapRange, A, 4 * P).unwrap();
        guest.op_range(root, VmarOp::MapRange, A, 4 * P).unwrap();
        let walk = |page: u64| guest.call(Call::Stage2Walk, &[root, A + page * P]).unwrap()[0] & 1;
        assert_eq!([walk(0), walk(1), walk(2), walk(3)], [0, 1, 0, 1]);
        assert_eq!(guest.committed_pages(vmo), 2);
    });
}

#[test]
fn parts_before_a_gap_are_done() {
    both(|guest| {
        let (root, vmo, other) = (guest.root(), guest.vmo(2), guest.vmo(2));
        guest.map(root, A, vmo, 2);
        guest.map(root, A + 3 * P, other, 2);
        assert_eq!(guest.op_range(root, VmarOp::Commit, A, 5 * P), Err(Status::BAD_STATE));
        assert_eq!((guest.committed_pages(vmo), guest.committed_pages(other)), (2, 0));
        assert_eq!(guest.op_range(root, VmarOp::Commit, A + 2 * P, 3 * P), Err(Status::BAD_STATE));
        assert_eq!(guest.op_range(root, VmarOp::Commit, A + 3 * P, 3 * P), Err(Status::BAD_STATE));
        assert_eq!(guest.committed_pages(other), 2);
    });
}

#[test]
fn caps_count_and_not_what_is_allowed_now() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(2));
        guest.map(root, A, vmo, 2);
        guest.call(Call::VmarProtect, &[root, 0, A, 2 * P]).unwrap();
        assert_eq!(guest.op_range(root, VmarOp::Commit, A, 2 * P), Ok(()));
        assert_eq!(guest.op_range(root, VmarOp::Prefetch, A, 2 * P), Ok(()));
        assert_eq!(guest.load(A), None);
        let reader = guest.without(vmo, Rights::DEFAULT_VMO, Rights::WRITE);
        guest.try_map(root, R | PLACED, A + 8 * P, reader, 0, 2 * P).unwrap();
        for op in [VmarOp::Commit, VmarOp::Decommit] {
            assert_eq!(guest.op_range(root, op, A + 8 * P, 2 * P), Err(Status::ACCESS_DENIED));
        }
    });
}

#[test]
fn past_the_vmos_end_commit_fails_and_map_range_does_not() {
    both(|guest| {
        let root = guest.root();
        let options = u64::from(VmoOptions::RESIZABLE.bits());
        let vmo = guest.call(Call::VmoCreate, &[2 * P, options]).unwrap()[0];
        guest.map(root, A, vmo, 4);
        assert_eq!(guest.op_range(root, VmarOp::Commit, A, 4 * P), Err(Status::OUT_OF_RANGE));
        assert_eq!(guest.op_range(root, VmarOp::MapRange, A, 4 * P), Ok(()));
        assert_eq!(guest.op_range(root, VmarOp::MapRange, A + 2 * P, 2 * P), Ok(()));
        assert_eq!(guest.op_range(root, VmarOp::Decommit, A, 4 * P), Err(Status::OUT_OF_RANGE));
        assert_eq!(guest.load(A + 2 * P), None);
    });
}

#[test]
fn contiguous_memory_is_not_decommitted() {
    both(|guest| {
        let root = guest.root();
        let vmo = guest.call(Call::VmoCreateContiguous, &[3 * P, 16]).unwrap()[0];
        guest.map(root, A, vmo, 3);
        assert_eq!(guest.op_range(root, VmarOp::Decommit, A, P), Err(Status::NOT_SUPPORTED));
        assert_eq!(guest.op_range(root, VmarOp::Commit, A, 3 * P), Ok(()));
        let frame = |page: u64| guest.call(Call::Stage2Walk, &[root, A + page * P]).unwrap()[0] >> 12 & 0xf_ffff_ffff;
        assert_eq!((frame(0) % 16, frame(2) - frame(0)), (0, 2));
    });
}

/// Each argument list breaks a check and all later ones: the status is that of the first.
#[test]
fn checks_come_in_their_order() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        let (dead, base) = guest.vmar(root, A, 4);
        guest.call(Call::VmarDestroy, &[dead]).unwrap();
        let try_with = |args: [u64; 6]| guest.call(Call::VmarOpRange, &args).map(drop);
        assert_eq!(try_with([0, 99, 1, 0, 1, 1]), Err(Status::BAD_HANDLE));
        assert_eq!(try_with([vmo, 99, 1, 0, 1, 1]), Err(Status::WRONG_TYPE));
        assert_eq!(try_with([dead, 99, base, P, 0, 0]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3 | 1 << 32, base, P, 0, 0]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3, 0, P, 1, 0]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3, 0, P, 0, 1]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3, 0, 0, 0, 0]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3, 1, P, 0, 0]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3, base, u64::MAX, 0, 0]), Err(Status::INVALID_ARGS));
        assert_eq!(try_with([dead, 3, base, 5 * P, 0, 0]), Err(Status::OUT_OF_RANGE));
        assert_eq!(try_with([dead, 3, base, P, 0, 0]), Err(Status::BAD_STATE));
    });
}

#[test]
fn dialects_differ_over_rights_children_and_zero() {
    let guarded = Err(Status::INVALID_ARGS);
    for (guest, weak_result, nested, zero) in [
        (documented(), Err(Status::ACCESS_DENIED), Ok(()), Ok(())),
        (kernel(), Ok(()), guarded, Err(Status::INVALID_ARGS)),
    ] {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        guest.map(root, A, vmo, 4);
        let weak = guest.without(root, VMAR_RIGHTS, Rights::WRITE);
        assert_eq!(guest.op_range(weak, VmarOp::Commit, A, P), weak_result);
        assert_eq!(guest.op_range(weak, VmarOp::Decommit, A, P), weak_result);
        assert_eq!(guest.op_range(weak, VmarOp::MapRange, A, P), Ok(()));
        guest.store(A, 5);
        assert_eq!(guest.op_range(root, VmarOp::Zero, A, P), zero);
        assert_eq!(guest.load(A), Some(if zero.is_ok() { 0 } else { 5 }));
        let (sub, base) = guest.vmar(root, A + 16 * P, 4);
        guest.try_map(sub, RW | PLACED, 0, vmo, 0, 4 * P).unwrap();
        for op in [VmarOp::Commit, VmarOp::Decommit, VmarOp::Prefetch] {
            assert_eq!(guest.op_range(root, op, base, P), nested, "{op:?}");
        }
        let no_children = guest.without(root, VMAR_RIGHTS, Rights::OP_CHILDREN);
        for op in [VmarOp::MapRange, VmarOp::DontNeed, VmarOp::AlwaysNeed] {
            assert_eq!(guest.op_range(root, op, base, P), Ok(()), "{op:?}");
            assert_eq!(guest.op_range(no_children, op, base, P), nested, "{op:?}");
        }
    }
}

#[test]
fn a_trimmed_mapping_is_still_found_by_its_vmo() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(6));
        guest.map(root, A, vmo, 6);
        (0..6).for_each(|page| assert!(guest.store(A + page * P, 1)));
        // What is left: pages 1, 2 and 4 of the VMO, at the addresses where they were.
        for hole in [0, 3, 5] {
            guest.unmap(root, A + hole * P, P).unwrap();
        }
        let decommit = u64::from(u32::from(abi::VmoOp::Decommit));
        guest.call(Call::VmoOpRange, &[vmo, decommit, 0, 6 * P]).unwrap();
        assert_eq!([1, 2, 4].map(|page| guest.load(A + page * P)), [Some(0); 3]);
    });
}

#[test]
fn the_page_of_zeros_never_becomes_writable() {
    both(|guest| {
        let (root, vmo, other) = (guest.root(), guest.vmo(1), guest.vmo(1));
        guest.map(root, A, vmo, 1);
        guest.map(root, A + 4 * P, other, 1);
        assert_eq!((guest.load(A), guest.load(A + 4 * P)), (Some(0), Some(0)));
        guest.call(Call::VmarProtect, &[root, 1, A, P]).unwrap();
        guest.call(Call::VmarProtect, &[root, 3, A, P]).unwrap();
        assert!(guest.store(A, 5));
        assert_eq!((guest.load(A), guest.load(A + 4 * P)), (Some(5), Some(0)));
        assert_eq!(guest.committed_pages(vmo), 1);
    });
}
