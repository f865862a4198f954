//! `vmar_allocate`, `vmar_map`, `vmar_protect`, `vmar_destroy`.

use std::collections::BTreeMap;

use abi::{Call, Rights, Status, VmOptions};
use proptest::prelude::*;
use vmsa::Access;

use crate::guest::{CAN_ALL, Guest, P, PLACED, R, RW, documented};

const A: u64 = 0x8000_0000;

fn allocate(guest: &Guest, parent: u64, options: VmOptions, offset: u64, size: u64) -> Result<u64, Status> {
    guest.call(Call::VmarAllocate, &[parent, u64::from(options.bits()), offset, size]).map(|results| results[1])
}

#[test]
fn what_can_never_fit_is_told_from_what_does_not_fit_now() {
    let guest = documented();
    let (vmar, base) = guest.vmar(guest.root(), A, 10);
    assert_eq!(allocate(&guest, vmar, CAN_ALL, 0, 11 * P), Err(Status::INVALID_ARGS));
    assert_eq!(allocate(&guest, vmar, CAN_ALL, 0, 10 * P), Ok(base));
    assert_eq!(allocate(&guest, vmar, CAN_ALL, 0, P), Err(Status::NO_RESOURCES));
}

#[test]
fn allocation_refuses_what_it_cannot_take() {
    let guest = documented();
    let (vmar, _) = guest.vmar(guest.root(), A, 10);
    let placed = PLACED | CAN_ALL;
    for (options, offset, size) in [
        (CAN_ALL, 0, 0),
        (CAN_ALL, 0, P - 1),
        (CAN_ALL, 0, u64::MAX),
        (CAN_ALL, P, P),
        (placed, 1, P),
        (placed, 10 * P, P),
        (CAN_ALL | RW, 0, P),
        (CAN_ALL | VmOptions::SPECIFIC_OVERWRITE, 0, P),
        (placed | VmOptions::OFFSET_IS_UPPER_LIMIT, P, P),
        (CAN_ALL | VmOptions::from_bits_retain(9 << 24), 0, P),
        (CAN_ALL | VmOptions::from_bits_retain(1 << 15), 0, P),
    ] {
        assert_eq!(
            allocate(&guest, vmar, options, offset, size),
            Err(Status::INVALID_ARGS),
            "{options:?} {offset} {size}"
        );
    }
}

#[test]
fn an_upper_limit_is_kept_until_nothing_fits() {
    let guest = documented();
    let (vmar, base) = guest.vmar(guest.root(), A, 8);
    let vmo = guest.vmo(1);
    let limited = RW | VmOptions::OFFSET_IS_UPPER_LIMIT;
    for _ in 0..4 {
        let address = guest.try_map(vmar, limited, 4 * P, vmo, 0, P).unwrap();
        assert!((base..base + 4 * P).contains(&address));
    }
    assert_eq!(guest.try_map(vmar, limited, 4 * P, vmo, 0, P), Err(Status::NO_RESOURCES));
    assert!(guest.try_map(vmar, RW, 0, vmo, 0, P).unwrap() >= base + 4 * P);
}

#[test]
fn map_refuses_in_zircons_order() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(4));
    let no_map = guest.without(vmo, Rights::DEFAULT_VMO, Rights::MAP);
    let try_map =
        |options: VmOptions, offset, vmo, vmo_offset, len| guest.try_map(root, options, offset, vmo, vmo_offset, len);
    assert_eq!(try_map(VmOptions::PERM_WRITE, 0, no_map, 1, 0), Err(Status::ACCESS_DENIED));
    assert_eq!(try_map(VmOptions::PERM_WRITE, 0, vmo, 1, 0), Err(Status::INVALID_ARGS));
    assert_eq!(try_map(RW | VmOptions::PERM_EXECUTE, 0, vmo, 1, 0), Err(Status::ACCESS_DENIED));
    assert_eq!(try_map(RW, 0, vmo, 1, u64::MAX), Err(Status::INVALID_ARGS));
    assert_eq!(try_map(RW, 0, vmo, 0, u64::MAX), Err(Status::OUT_OF_RANGE));
    assert_eq!(try_map(RW, 0, vmo, 0, 0), Err(Status::INVALID_ARGS));
    assert_eq!(try_map(RW, 0, vmo, 0u64.wrapping_sub(P), 2 * P), Err(Status::OUT_OF_RANGE));
    assert!(try_map(RW, 0, vmo, 0u64.wrapping_sub(2 * P), P).is_ok());
    assert_eq!(try_map(RW | VmOptions::COMPACT, 0, vmo, 0, P), Err(Status::INVALID_ARGS));
}

#[test]
fn overwriting_is_an_unmap_that_spares_sub_regions() {
    let guest = documented();
    let (root, old, new) = (guest.root(), guest.vmo(4), guest.vmo(4));
    guest.map(root, A, old, 4);
    (0..4).for_each(|page| assert!(guest.store(A + page * P, 1)));
    assert_eq!(guest.try_map(root, RW | PLACED, A + P, new, 0, 2 * P), Err(Status::ALREADY_EXISTS));
    let overwrite = RW | VmOptions::SPECIFIC_OVERWRITE;
    guest.try_map(root, overwrite, A + P, new, 0, 2 * P).unwrap();
    let words: Vec<_> = (0..4).map(|page| guest.load(A + page * P).unwrap()).collect();
    assert_eq!(words, [1, 0, 0, 1]);
    guest.vmar(root, A + 4 * P, 1);
    assert_eq!(guest.try_map(root, overwrite, A + 2 * P, new, 0, 3 * P), Err(Status::INVALID_ARGS));
    assert_eq!(guest.load(A + 3 * P), Some(1));
}

#[test]
fn permissions_are_exactly_those_that_were_given() {
    let guest = documented();
    let root = guest.root();
    let vmo = guest.call(Call::VmoReplaceAsExecutable, &[guest.vmo(1), 0]).unwrap()[0];
    let read_execute = R | VmOptions::PERM_EXECUTE;
    for (index, options) in [VmOptions::empty(), R, RW, read_execute, RW | read_execute].into_iter().enumerate() {
        let at = A + index as u64 * P;
        guest.try_map(root, options | PLACED, at, vmo, 0, P).unwrap();
        let allowed = [Access::Read, Access::Write, Access::Execute].map(|access| guest.touch(at, access));
        let wanted =
            [VmOptions::PERM_READ, VmOptions::PERM_WRITE, VmOptions::PERM_EXECUTE].map(|perm| options.contains(perm));
        assert_eq!(allowed, wanted, "{options:?}");
    }
}

#[test]
fn protect_over_a_gap_changes_nothing() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(2));
    guest.map(root, A, vmo, 2);
    guest.map(root, A + 3 * P, vmo, 2);
    assert_eq!(guest.call(Call::VmarProtect, &[root, 1, A, 5 * P]), Err(Status::NOT_FOUND));
    assert!(guest.store(A, 1) && guest.store(A + 4 * P, 1));
}

#[test]
fn through_a_parent_permissions_only_shrink() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(2));
    let (sub, base) = guest.vmar(root, A, 2);
    guest.map(sub, 0, vmo, 2);
    let protect = |vmar, options: u64| guest.call(Call::VmarProtect, &[vmar, options, base, 2 * P]).map(drop);
    assert_eq!(protect(root, 1), Ok(()));
    assert!(!guest.store(base, 1));
    assert_eq!(protect(root, 3), Err(Status::ACCESS_DENIED));
    assert_eq!(protect(sub, 3), Ok(()));
    assert!(guest.store(base, 1));
    let weak = guest.without(root, Rights::DEFAULT_VMAR | Rights::ACCESS, Rights::OP_CHILDREN);
    assert_eq!(protect(weak, 1), Err(Status::INVALID_ARGS));
}

#[test]
fn destroyed_vmars_are_dead_and_their_range_is_free() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(1));
    let (outer, base) = guest.vmar(root, A, 4);
    let (inner, _) = guest.vmar(outer, 2 * P, 2);
    guest.map(outer, 0, vmo, 1);
    guest.map(inner, 0, vmo, 1);
    guest.call(Call::VmarDestroy, &[outer]).unwrap();
    assert_eq!(guest.bitmap(base, 4), "0000");
    for vmar in [outer, inner] {
        assert_eq!(guest.call(Call::VmarDestroy, &[vmar]), Err(Status::BAD_STATE));
        assert_eq!(allocate(&guest, vmar, CAN_ALL, 0, P), Err(Status::BAD_STATE));
        assert_eq!(guest.call(Call::HandleClose, &[vmar]), Ok([0; 3]));
    }
    guest.vmar(root, A, 4);
    assert_eq!(guest.call(Call::VmarDestroy, &[root]), Err(Status::NOT_SUPPORTED));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The children of a VMAR, and the free space between them, against an ordered map.
    #[test]
    fn regions_are_found_and_placed_like_in_an_ordered_map(steps in prop::collection::vec((0u64..64, 1u64..6, 0u8..3), 1..60)) {
        let guest = documented();
        let (vmar, base) = guest.vmar(guest.root(), A, 64);
        let vmo = guest.vmo(8);
        let mut pages = BTreeMap::<u64, ()>::new();
        for (at, len, kind) in steps {
            let len = len.min(64 - at);
            match kind {
                0 => {
                    let is_free = pages.range(at..at + len).next().is_none();
                    let result = guest.try_map(vmar, RW | PLACED, at * P, vmo, 0, len * P);
                    prop_assert_eq!(result.is_ok(), is_free, "map {} {}", at, len);
                    if is_free { pages.extend((at..at + len).map(|page| (page, ()))); }
                }
                1 => {
                    let found = pages.range(at..at + len).next().is_some();
                    let result = guest.unmap(vmar, base + at * P, len * P);
                    prop_assert_eq!(result, if found { Ok(()) } else { Err(Status::NOT_FOUND) });
                    pages.retain(|page, ()| !(at..at + len).contains(page));
                }
                _ => {
                    let fits = (0..=64 - len).any(|from| pages.range(from..from + len).next().is_none());
                    let result = guest.try_map(vmar, RW, 0, vmo, 0, len * P);
                    prop_assert_eq!(result.is_ok(), fits, "place {}", len);
                    if let Ok(address) = result {
                        let from = (address - base) / P;
                        prop_assert!(from + len <= 64 && pages.range(from..from + len).next().is_none());
                        pages.extend((from..from + len).map(|page| (page, ())));
                    }
                }
            }
            let mapped: String = (0..64).map(|page| if pages.contains_key(&page) { '1' } else { '0' }).collect();
            prop_assert_eq!(guest.bitmap(base, 64), mapped);
        }
    }
}

#[test]
fn places_are_named_only_where_the_vmar_allows_it() {
    let guest = documented();
    let options = u64::from((PLACED | (CAN_ALL - VmOptions::CAN_MAP_SPECIFIC)).bits());
    let vmar = guest.call(Call::VmarAllocate, &[guest.root(), options, A, 8 * P]).unwrap()[0];
    for placing in [PLACED, VmOptions::SPECIFIC_OVERWRITE, VmOptions::OFFSET_IS_UPPER_LIMIT] {
        let result = guest.try_map(vmar, RW | placing, 4 * P, guest.vmo(1), 0, P);
        assert_eq!(result, Err(Status::ACCESS_DENIED), "{placing:?}");
    }
    assert!(guest.try_map(vmar, RW, 0, guest.vmo(1), 0, P).is_ok());
}

#[test]
fn a_refused_overwrite_leaves_what_was_there() {
    let mut refused = 0;
    for free in 0..40 {
        let guest = Guest::new("inspect=on seed=1 ram=4M quota=1M");
        let (root, vmo) = (guest.root(), guest.vmo(4));
        guest.map(root, A, vmo, 4);
        assert!(guest.store(A + P, 5));
        // Everything is used up, but for what a number of mappings took.
        let filler = |number: u64| A + (16 + 2 * number) * P;
        let count =
            (0..).take_while(|number| guest.try_map(root, R | PLACED, filler(*number), vmo, 0, P).is_ok()).count();
        for number in (0..count as u64).rev().take(free) {
            guest.unmap(root, filler(number), P).unwrap();
        }
        match guest.try_map(root, RW | VmOptions::SPECIFIC_OVERWRITE, A + P, vmo, 2 * P, P) {
            Ok(_) => assert_eq!(guest.load(A + P), Some(0)),
            Err(status) => {
                assert_eq!((status, guest.load(A + P)), (Status::NO_MEMORY, Some(5)), "{free} free");
                refused += 1;
            }
        }
    }
    assert!((1..40).contains(&refused), "{refused} refused");
}

#[test]
fn many_small_changes_are_one_operation_to_the_oracle() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(1500));
    guest.map(root, A, vmo, 1500);
    (0..750).for_each(|page| assert!(guest.store(A + 2 * page * P, 1)));
    guest.call(Call::VmarProtect, &[root, 1, A, 1500 * P]).unwrap();
    assert!(!guest.store(A, 2) && !guest.store(A + 2 * P, 2));
    guest.unmap(root, A + P, 1498 * P).unwrap();
    assert_eq!((guest.load(A), guest.load(A + 2 * P)), (Some(1), None));
}
