//! Handles and what they allow.

use abi::{Call, Rights, Status, Topic};

use crate::guest::{P, documented};

#[test]
fn a_duplicate_has_no_right_that_the_handle_lacks() {
    let guest = documented();
    let vmo = guest.vmo(1);
    let duplicate = |handle, rights: Rights| guest.call(Call::HandleDuplicate, &[handle, u64::from(rights.bits())]);
    let reader = duplicate(vmo, Rights::READ).unwrap()[0];
    assert_eq!(duplicate(reader, Rights::READ), Err(Status::ACCESS_DENIED));
    assert_eq!(duplicate(vmo, Rights::EXECUTE), Err(Status::INVALID_ARGS));
    assert!(duplicate(vmo, Rights::SAME_RIGHTS).is_ok());
    assert_eq!(duplicate(0, Rights::READ), Err(Status::BAD_HANDLE));
}

#[test]
fn a_replaced_handle_is_gone_even_when_that_failed() {
    let guest = documented();
    let replace = |handle, rights: Rights| guest.call(Call::HandleReplace, &[handle, u64::from(rights.bits())]);
    let vmo = guest.vmo(1);
    let new = replace(vmo, Rights::READ).unwrap()[0];
    assert_eq!(guest.call(Call::VmoGetSize, &[vmo]), Err(Status::BAD_HANDLE));
    assert_eq!(replace(new, Rights::WRITE), Err(Status::INVALID_ARGS));
    assert_eq!(guest.call(Call::VmoGetSize, &[new]), Err(Status::BAD_HANDLE));
}

#[test]
fn closing_many_closes_all_that_can_be() {
    let guest = documented();
    let (one, two) = (guest.vmo(1), guest.vmo(1));
    let buffer = abi::RAM_BASE + P - 4;
    for (index, handle) in [one, 0, 12345, two, two].into_iter().enumerate() {
        let at = buffer + 4 * index as u64;
        let word = guest.load(at & !7).unwrap();
        let shift = at % 8 * 8;
        guest.store(at & !7, word & !(0xffff_ffff << shift) | handle << shift);
    }
    assert_eq!(guest.call(Call::HandleCloseMany, &[buffer, 5]), Err(Status::BAD_HANDLE));
    for handle in [one, two] {
        assert_eq!(guest.call(Call::HandleClose, &[handle]), Err(Status::BAD_HANDLE));
    }
}

#[test]
fn the_rights_of_the_first_handles_are_those_of_the_contract() {
    let guest = documented();
    let buffer = abi::RAM_BASE;
    for (kind, rights) in [
        (1, Rights::DEFAULT_VMAR | Rights::ACCESS),
        (2, Rights::DEFAULT_VMO | Rights::EXECUTE),
        (3, Rights::DEFAULT_GUEST),
    ] {
        let handle = guest.call(Call::StartupHandle, &[kind]).unwrap()[0];
        assert_eq!(handle & 3, 3);
        let topic = u64::from(u32::from(Topic::HandleBasic));
        assert_eq!(guest.call(Call::ObjectGetInfo, &[handle, topic, buffer, 32]), Ok([1, 1, 0]));
        assert_eq!(guest.load(buffer + 8).unwrap() as u32, rights.bits());
    }
    assert_eq!(guest.call(Call::StartupHandle, &[4]), Err(Status::NOT_FOUND));
    assert_eq!(guest.call(Call::StartupHandle, &[5]), Err(Status::INVALID_ARGS));
}

#[test]
fn everything_comes_back_when_everything_is_closed() {
    let guest = documented();
    let root = guest.root();
    let round = || {
        let vmo = guest.vmo(700);
        let contiguous = guest.call(Call::VmoCreateContiguous, &[3 * P, 0]).unwrap()[0];
        let (vmar, base) = guest.vmar(root, 0x8000_0000, 1024);
        guest.map(vmar, 0, vmo, 700);
        guest.map(vmar, 1000 * P, contiguous, 3);
        (0..700).for_each(|page| assert!(guest.store(base + page * P, page)));
        guest.unmap(vmar, base + 100 * P, 8 * P).unwrap();
        guest.call(Call::VmarDestroy, &[vmar]).unwrap();
        for handle in [vmo, contiguous, vmar] {
            guest.call(Call::HandleClose, &[handle]).unwrap();
        }
    };
    // The first round leaves the arenas' own frames.
    round();
    let (frames, counts) = (guest.system.frames_held(guest.id), guest.system.object_counts());
    round();
    assert_eq!((guest.system.frames_held(guest.id), guest.system.object_counts()), (frames, counts));
}

#[test]
fn inspection_is_denied_unless_it_was_granted() {
    let guest = crate::guest::Guest::new("inspect=off");
    let root = guest.root();
    assert_eq!(guest.call(Call::Stage2Walk, &[root, 0]), Err(Status::ACCESS_DENIED));
    assert_eq!(guest.call(Call::Stage2Stats, &[root, 0, 0]), Err(Status::ACCESS_DENIED));
}

#[test]
fn a_full_handle_table_stops_nothing_but_new_handles() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(4));
    guest.map(root, 0x8000_0000, vmo, 4);
    let copy = || guest.call(Call::HandleDuplicate, &[vmo, u64::from(Rights::SAME_RIGHTS.bits())]);
    while copy().is_ok() {}
    assert_eq!(copy(), Err(Status::NO_MEMORY));
    assert_eq!(guest.call(Call::StartupHandle, &[4]), Err(Status::NOT_FOUND));
    assert_eq!(guest.unmap(root, 0x8000_1000, P), Ok(()));
    assert_eq!(guest.call(Call::VmarProtect, &[root, 1, 0x8000_0000, P]).map(drop), Ok(()));
    guest.map(root, 0x8000_1000, vmo, 1);
}

#[test]
fn bookkeeping_of_what_is_gone_is_given_back() {
    let guest = documented();
    let root = guest.root();
    let churn = |count: u64| {
        let vmos: Vec<u64> = (0..count).map(|_| guest.vmo(1)).collect();
        let vmars: Vec<u64> = (0..count).map(|page| guest.vmar(root, (1 << 33) + page * P, 1).0).collect();
        for (page, vmo) in (0..).zip(&vmos) {
            guest.map(root, (1 << 32) + page * P, *vmo, 1);
        }
        guest.unmap(root, 1 << 32, 2 * (1 << 32)).unwrap();
        vmos.into_iter().chain(vmars).for_each(|handle| guest.close(handle));
    };
    // Neighbours, too, from the first on.
    for count in [1, 2, 700] {
        let held = guest.system.frames_held(guest.id);
        churn(count);
        assert_eq!(guest.system.frames_held(guest.id), held, "{count}");
    }
}

/// A function id is served if and only if it names a call.
#[test]
fn every_call_is_served_and_nothing_else() {
    let guest = documented();
    for number in 0..0x200 {
        let function = abi::VENDOR_BASE + number;
        let is_served = guest.call_by_id(function).is_some();
        assert_eq!(is_served, Call::from_function_id(function).is_some(), "{function:#x}");
    }
}

#[test]
fn objects_beyond_512_slabs_are_found_and_given_back() {
    /// A slab has 38 regions at the most.
    const COUNT: u64 = 20_000;
    let guest = crate::guest::Guest::with_memory("dialect=documented inspect=on seed=1", 64 << 20);
    let (root, vmo) = (guest.root(), guest.vmo(1));
    let at = |number: u64| (1 << 32) + 2 * number * P;
    let held = guest.system.frames_held(guest.id);
    for number in 0..COUNT {
        guest.map(root, at(number), vmo, 1);
    }
    for number in [0, 37, 38, 512 * 38 - 1, 512 * 38, COUNT - 1] {
        assert!(guest.store(at(number), number), "{number}");
        assert_eq!(guest.load(at(0)), Some(number));
        assert!(!guest.store(at(number) + P, number), "nothing is there");
    }
    assert_eq!(guest.system.object_counts().1, 1 + COUNT as u32);
    guest.unmap(root, at(0), 2 * COUNT * P).unwrap();
    assert!(!guest.store(at(COUNT - 1), 0));
    guest.vmo_op(vmo, abi::VmoOp::Decommit, 0, P).unwrap();
    assert_eq!(guest.system.frames_held(guest.id), held);
}
