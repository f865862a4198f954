//! `vmar_unmap`: what it leaves, what it refuses, and in which order.

use abi::{Call, Rights, Status, VmarOp};

use crate::guest::{P, RW, VMAR_RIGHTS, both, documented, kernel};

const A: u64 = 0x8000_0000;

#[test]
fn parts_of_a_mapping_are_cut_off() {
    both(|guest| {
        for (first, len, left) in [(0, 2, "0011"), (2, 2, "1100"), (1, 2, "1001"), (0, 4, "0000")] {
            let root = guest.root();
            guest.map(root, A, guest.vmo(4), 4);
            assert_eq!(guest.bitmap(A, 4), "1111");
            guest.unmap(root, A + first * P, len * P).unwrap();
            assert_eq!(guest.bitmap(A, 4), left);
            let _ = guest.unmap(root, A, 4 * P);
        }
    });
}

#[test]
fn what_is_left_shows_the_same_bytes() {
    both(|guest| {
        let root = guest.root();
        guest.map(root, A, guest.vmo(4), 4);
        (0..4).for_each(|page| assert!(guest.store(A + page * P, 10 + page)));
        guest.unmap(root, A + P, 2 * P).unwrap();
        assert_eq!((guest.load(A), guest.load(A + 3 * P)), (Some(10), Some(13)));
    });
}

#[test]
fn the_vmo_keeps_its_pages() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(2));
        guest.map(root, A, vmo, 2);
        guest.store(A, 7);
        guest.unmap(root, A, 2 * P).unwrap();
        assert_eq!(guest.committed_pages(vmo), 1);
        guest.map(root, A, vmo, 2);
        assert_eq!(guest.load(A), Some(7));
    });
}

#[test]
fn a_split_mapping_keeps_each_pages_permissions() {
    both(|guest| {
        let root = guest.root();
        guest.map(root, A, guest.vmo(6), 6);
        guest.call(Call::VmarProtect, &[root, 1, A + P, P]).unwrap();
        guest.call(Call::VmarProtect, &[root, 1, A + 4 * P, P]).unwrap();
        guest.unmap(root, A + 2 * P, P).unwrap();
        let writable: Vec<_> = (0..6).map(|page| guest.store(A + page * P, 1)).collect();
        assert_eq!(writable, [true, false, false, true, false, true]);
        assert_eq!(guest.bitmap(A, 6), "110111");
    });
}

#[test]
fn gaps_between_mappings_do_not_matter() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        guest.map(root, A, vmo, 4);
        guest.map(root, A + 8 * P, vmo, 4);
        guest.unmap(root, A, 9 * P).unwrap();
        assert_eq!(guest.bitmap(A, 12), "000000000111");
    });
}

#[test]
fn a_sub_region_goes_whole_or_not_at_all() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(8));
        guest.map(root, A, vmo, 8);
        let (sub, base) = guest.vmar(root, A + 8 * P, 4);
        guest.map(sub, 0, vmo, 1);
        assert_eq!(guest.unmap(root, A + P, 10 * P), Err(Status::INVALID_ARGS));
        assert_eq!(guest.bitmap(A, 12), "111111111000");
        guest.unmap(root, A + P, 11 * P).unwrap();
        assert_eq!(guest.bitmap(A, 12), "100000000000");
        assert_eq!(guest.try_map(sub, RW, 0, vmo, 0, P), Err(Status::BAD_STATE));
        assert_eq!(guest.unmap(sub, base, P), Err(Status::BAD_STATE));
    });
}

#[test]
fn the_handles_own_vmar_is_emptied_and_stays() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        let (sub, base) = guest.vmar(root, A, 4);
        guest.map(sub, 0, vmo, 4);
        guest.unmap(sub, base, 4 * P).unwrap();
        guest.map(sub, 0, vmo, 4);
        assert_eq!(guest.bitmap(base, 4), "1111");
    });
}

#[test]
fn a_deeply_nested_vmar_is_destroyed_without_recursion() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(1));
        let (mut vmar, _) = guest.vmar(root, A, 3000);
        for depth in (1..3000).rev() {
            vmar = guest.vmar(vmar, 0, depth).0;
        }
        guest.map(vmar, 0, vmo, 1);
        assert_eq!(guest.op_range(root, VmarOp::MapRange, A, P), Ok(()));
        guest.unmap(root, A, 3000 * P).unwrap();
        assert_eq!(guest.load(A), None);
        assert_eq!(guest.unmap(vmar, A, P), Err(Status::BAD_STATE));
    });
}

/// Each argument list breaks a check and all later ones: the status is that of the first.
#[test]
fn checks_come_in_their_order() {
    both(|guest| {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        let (dead, base) = guest.vmar(root, A, 4);
        guest.call(Call::VmarDestroy, &[dead]).unwrap();
        let outside = A - P;
        assert_eq!(guest.unmap(0, 1, 0), Err(Status::BAD_HANDLE));
        assert_eq!(guest.unmap(root | 1 << 32, 1, 0), Err(Status::BAD_HANDLE));
        assert_eq!(guest.unmap(vmo, 1, 0), Err(Status::WRONG_TYPE));
        assert_eq!(guest.unmap(dead, outside + 1, P), Err(Status::INVALID_ARGS));
        assert_eq!(guest.unmap(dead, outside, 0), Err(Status::INVALID_ARGS));
        assert_eq!(guest.unmap(dead, outside, u64::MAX), Err(Status::INVALID_ARGS));
        assert_eq!(guest.unmap(dead, outside, P), Err(Status::BAD_STATE));
        let (sub, _) = guest.vmar(root, base, 4);
        assert_eq!(guest.unmap(sub, outside, P), Err(Status::INVALID_ARGS));
        assert_eq!(guest.unmap(sub, base, 5 * P), Err(Status::INVALID_ARGS));
        assert_eq!(guest.unmap(sub, base, u64::MAX - P + 1), Err(Status::INVALID_ARGS));
    });
}

#[test]
fn dialects_differ_over_lengths_gaps_and_op_children() {
    for (guest, length, nothing, children) in [
        (documented(), Err(Status::INVALID_ARGS), Err(Status::NOT_FOUND), Ok(())),
        (kernel(), Ok(()), Ok(()), Err(Status::INVALID_ARGS)),
    ] {
        let (root, vmo) = (guest.root(), guest.vmo(4));
        guest.map(root, A, vmo, 4);
        assert_eq!(guest.unmap(root, A, 1), length);
        assert_eq!(guest.unmap(root, A + 64 * P, P), nothing);
        guest.vmar(root, A + 8 * P, 4);
        let weak = guest.without(root, VMAR_RIGHTS, Rights::OP_CHILDREN);
        assert_eq!(guest.unmap(weak, A + 8 * P, 4 * P), children);
    }
}
