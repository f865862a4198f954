//! Mappings that go on in each other become one.

use abi::{Call, Rights, Topic, VmOptions, VmarOp, VmoOp};

use crate::guest::{Guest, P, PLACED, R, RW, documented};
use crate::maps::mappings;

const A: u64 = 0x8000_0000;
const OVERWRITE: VmOptions = VmOptions::SPECIFIC_OVERWRITE;

fn mapping_count(guest: &Guest, vmo: u64) -> u64 {
    let buffer = abi::RAM_BASE + P;
    guest.call(Call::ObjectGetInfo, &[vmo, u64::from(u32::from(Topic::Vmo)), buffer, 176]).unwrap();
    guest.load(buffer + 64).unwrap()
}

/// A VMAR of 16 pages at A, and a VMO of 16 pages.
fn scene() -> (Guest, u64, u64) {
    let guest = documented();
    let (vmar, _) = guest.vmar(guest.root(), A, 16);
    let vmo = guest.vmo(16);
    (guest, vmar, vmo)
}

/// Maps pages of the VMO at a page of the VMAR.
fn map(guest: &Guest, vmar: u64, options: VmOptions, page: u64, vmo: u64, vmo_page: u64, pages: u64) {
    guest.try_map(vmar, options, page * P, vmo, vmo_page * P, pages * P).unwrap();
}

#[test]
fn three_that_touch_are_one_in_every_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (guest, vmar, vmo) = scene();
        for part in order {
            map(&guest, vmar, RW | PLACED, 2 + 3 * part, vmo, 4 + 3 * part, 3);
        }
        assert_eq!(mappings(&guest, vmar, A), [(2, 9, 3, 4)], "{order:?}");
        assert_eq!(mapping_count(&guest, vmo), 1);
        (0..9).for_each(|page| assert!(guest.store(A + (2 + page) * P, page)));
        guest.vmo_op(vmo, VmoOp::Decommit, 0, 16 * P).unwrap();
        (0..9).for_each(|page| assert_eq!(guest.load(A + (2 + page) * P), Some(0)));
    }
}

#[test]
fn what_differs_stays_apart() {
    let (guest, vmar, vmo) = scene();
    let weak = guest.without(vmo, Rights::DEFAULT_VMO, Rights::WRITE);
    let other = guest.vmo(16);
    let (child, _) = guest.vmar(vmar, 8 * P, 2);
    map(&guest, vmar, R | PLACED, 4, vmo, 4, 2);
    let beside = |options, page, vmo, vmo_page| {
        map(&guest, vmar, options, page, vmo, vmo_page, 2);
        let count = mappings(&guest, vmar, A).len();
        guest.unmap(vmar, A + page * P, 2 * P).unwrap();
        count
    };
    // A gap, another VMO, another place in the VMO, the wrong way round, other caps, asked for in another way.
    assert_eq!(beside(R | PLACED, 1, vmo, 1), 2);
    assert_eq!(beside(R | PLACED, 6, other, 6), 2);
    assert_eq!(beside(R | PLACED, 6, vmo, 7), 2);
    assert_eq!(beside(R | PLACED, 6, vmo, 2), 2);
    assert_eq!(beside(R | PLACED, 6, weak, 6), 2);
    assert_eq!(beside(R | OVERWRITE, 6, vmo, 6), 2);
    // A sub-region is no part of it, nor is what lies in one.
    map(&guest, vmar, R | PLACED, 6, vmo, 6, 2);
    map(&guest, child, R | PLACED, 0, vmo, 8, 2);
    map(&guest, vmar, R | PLACED, 10, vmo, 10, 2);
    assert_eq!(mappings(&guest, vmar, A), [(4, 4, 1, 4), (8, 2, 1, 8), (10, 2, 1, 10)]);
}

#[test]
fn what_they_allow_now_may_differ_and_stays() {
    let (guest, vmar, vmo) = scene();
    map(&guest, vmar, RW | PLACED, 0, vmo, 0, 4);
    guest.call(Call::VmarProtect, &[vmar, 1, A + P, 2 * P]).unwrap();
    map(&guest, vmar, R | PLACED, 8, vmo, 8, 4);
    guest.call(Call::VmarProtect, &[vmar, 3, A + 9 * P, P]).unwrap();
    map(&guest, vmar, RW | PLACED, 4, vmo, 4, 4);
    assert_eq!(mapping_count(&guest, vmo), 1);
    let expected = [(0, 1, 3, 0), (1, 2, 1, 1), (3, 5, 3, 3), (8, 1, 1, 8), (9, 1, 3, 9), (10, 2, 1, 10)];
    assert_eq!(mappings(&guest, vmar, A), expected);
    let writable: String = (0..12).map(|page| if guest.store(A + page * P, 1) { 'w' } else { 'r' }).collect();
    assert_eq!(writable, "wrrwwwwwrwrr");
}

#[test]
fn a_hole_that_is_filled_again_is_gone_without_a_trace() {
    let (guest, vmar, vmo) = scene();
    map(&guest, vmar, RW | PLACED, 0, vmo, 0, 12);
    for hole in [(4, 4), (0, 3), (9, 3)] {
        guest.unmap(vmar, A + hole.0 * P, hole.1 * P).unwrap();
        map(&guest, vmar, RW | PLACED, hole.0, vmo, hole.0, hole.1);
        assert_eq!(mappings(&guest, vmar, A), [(0, 12, 3, 0)], "{hole:?}");
    }
    assert_eq!(mapping_count(&guest, vmo), 1);
}

#[test]
fn overwriting_fuses_with_what_was_made_by_overwriting() {
    let (guest, vmar, vmo) = scene();
    map(&guest, vmar, RW | OVERWRITE, 0, vmo, 0, 12);
    map(&guest, vmar, R | OVERWRITE, 4, vmo, 4, 4);
    assert_eq!(mapping_count(&guest, vmo), 1);
    assert_eq!(mappings(&guest, vmar, A), [(0, 4, 3, 0), (4, 4, 1, 4), (8, 4, 3, 8)]);
    map(&guest, vmar, RW | OVERWRITE, 4, vmo, 5, 4);
    assert_eq!(mapping_count(&guest, vmo), 3);
}

#[test]
fn a_mapping_that_fused_is_cut_like_any_other() {
    let (guest, vmar, vmo) = scene();
    for page in [0, 4, 2, 6] {
        map(&guest, vmar, RW | PLACED, page, vmo, page, 2);
    }
    guest.op_range(vmar, VmarOp::Commit, A, 8 * P).unwrap();
    guest.unmap(vmar, A + 3 * P, 2 * P).unwrap();
    assert_eq!(mappings(&guest, vmar, A), [(0, 3, 3, 0), (5, 3, 3, 5)]);
    assert_eq!((guest.bitmap(A, 8), mapping_count(&guest, vmo)), ("11100111".into(), 2));
    guest.vmo_op(vmo, VmoOp::Decommit, 0, 16 * P).unwrap();
    assert_eq!(guest.committed_pages(vmo), 0);
    guest.resume();
}
