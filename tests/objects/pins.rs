//! Pins, cache policies, and devices' memory.

use abi::{CachePolicy, Call, ChildOptions, PinOptions, Status, VmoOp, VmoOptions};

use crate::guest::{Guest, P};

const A: u64 = 0x8000_0000;
/// Where the addresses of pinned pages go.
const BUFFER: u64 = abi::RAM_BASE + 4 * P;

fn machine() -> Guest {
    Guest::new("inspect=on seed=1 mmio=0x9010000+8K")
}

fn resource(guest: &Guest) -> u64 {
    guest.call(Call::StartupHandle, &[4]).unwrap()[0]
}

fn pin(guest: &Guest, vmo: u64, offset: u64, pages: u64) -> Result<u64, Status> {
    let bti = guest.call(Call::BtiCreate, &[resource(guest)]).unwrap()[0];
    let options = PinOptions::PERM_READ | PinOptions::PERM_WRITE;
    guest
        .call(Call::BtiPin, &[bti, options.bits().into(), vmo, offset, pages * P, BUFFER, pages])
        .map(|results| results[0])
}

#[test]
fn pinned_pages_stay_where_they_are() {
    let guest = machine();
    let vmo = guest.call(Call::VmoCreate, &[4 * P, VmoOptions::RESIZABLE.bits().into()]).unwrap()[0];
    let pmt = pin(&guest, vmo, P, 2).unwrap();
    assert_eq!(guest.committed_pages(vmo), 2);
    let pages = [guest.load(BUFFER).unwrap(), guest.load(BUFFER + 8).unwrap()];
    assert!(pages.iter().all(|page| page % P == 0) && pages[0] != pages[1]);
    assert_eq!(guest.vmo_op(vmo, VmoOp::Decommit, 0, 2 * P), Err(Status::BAD_STATE));
    assert_eq!(guest.vmo_op(vmo, VmoOp::Decommit, 0, P), Ok(()));
    assert_eq!(guest.try_child(vmo, ChildOptions::SNAPSHOT, 0, P), Err(Status::BAD_STATE));
    assert_eq!(guest.call(Call::VmoSetSize, &[vmo, 2 * P]), Err(Status::BAD_STATE));
    guest.call(Call::VmoSetSize, &[vmo, 3 * P]).unwrap();
    // Zeros come to the very page.
    guest.write(vmo, P, 9);
    guest.vmo_op(vmo, VmoOp::Zero, 0, 3 * P).unwrap();
    assert_eq!((guest.read(vmo, P), guest.committed_pages(vmo)), (0, 2));
    guest.call(Call::PmtUnpin, &[pmt]).unwrap();
    assert_eq!(guest.call(Call::PmtUnpin, &[pmt]), Err(Status::BAD_HANDLE));
    guest.vmo_op(vmo, VmoOp::Decommit, 0, 3 * P).unwrap();
    assert_eq!(guest.committed_pages(vmo), 0);
}

#[test]
fn a_pin_holds_its_memory() {
    let guest = machine();
    let vmo = guest.vmo(1);
    let before = guest.system.object_counts();
    let pmt = pin(&guest, vmo, 0, 1).unwrap();
    guest.close(vmo);
    assert_eq!(guest.system.object_counts(), before);
    guest.close(pmt);
    assert_eq!(guest.system.object_counts().0, before.0 - 1);
}

#[test]
fn pinning_a_copy_takes_the_pages_out_of_sharing() {
    let guest = machine();
    let vmo = guest.vmo(1);
    guest.write(vmo, 0, 5);
    let copy = guest.snapshot(vmo, 1);
    pin(&guest, copy, 0, 1).unwrap();
    assert_eq!((guest.info(copy).populated_private_bytes, guest.read(copy, 0)), (P, 5));
}

#[test]
fn a_pin_is_checked() {
    let guest = machine();
    let vmo = guest.vmo(2);
    assert_eq!(pin(&guest, guest.root(), 0, 1), Err(Status::WRONG_TYPE));
    assert_eq!(pin(&guest, vmo, 1, 1), Err(Status::INVALID_ARGS));
    assert_eq!(pin(&guest, vmo, 0, 0), Err(Status::INVALID_ARGS));
    assert_eq!(pin(&guest, vmo, P, 2), Err(Status::OUT_OF_RANGE));
    assert_eq!(guest.committed_pages(vmo), 0);
    let bti = guest.call(Call::BtiCreate, &[resource(&guest)]).unwrap()[0];
    let try_pin = |options: PinOptions, count: u64| {
        guest.call(Call::BtiPin, &[bti, options.bits().into(), vmo, 0, 2 * P, BUFFER, count]).map(drop)
    };
    assert_eq!(try_pin(PinOptions::empty(), 2), Err(Status::INVALID_ARGS));
    assert_eq!(try_pin(PinOptions::PERM_READ, 1), Err(Status::INVALID_ARGS));
    assert_eq!(try_pin(PinOptions::PERM_READ | PinOptions::CONTIGUOUS, 1), Err(Status::INVALID_ARGS));
    assert_eq!(try_pin(PinOptions::PERM_READ, 2), Ok(()));
}

#[test]
fn memory_that_is_not_cached_is_the_guests_alone() {
    let guest = machine();
    let (root, vmo) = (guest.root(), guest.vmo(2));
    guest.write(vmo, 0, 6);
    let set = |policy: CachePolicy| guest.call(Call::VmoSetCachePolicy, &[vmo, u32::from(policy).into()]).map(drop);
    assert_eq!(guest.call(Call::VmoSetCachePolicy, &[0, 4]), Err(Status::INVALID_ARGS));
    set(CachePolicy::Uncached).unwrap();
    assert_eq!(guest.info(vmo).cache_policy, 1);
    assert_eq!(guest.call(Call::VmoRead, &[vmo, BUFFER, 0, 8]), Err(Status::BAD_STATE));
    assert_eq!(guest.call(Call::VmoWrite, &[vmo, BUFFER, 0, 8]), Err(Status::BAD_STATE));
    assert_eq!(guest.vmo_op(vmo, VmoOp::Zero, 0, P), Err(Status::BAD_STATE));
    assert_eq!(guest.try_child(vmo, ChildOptions::SNAPSHOT, 0, P), Err(Status::BAD_STATE));
    assert_eq!(set(CachePolicy::Cached), Err(Status::BAD_STATE));
    guest.map(root, A, vmo, 2);
    assert_eq!((guest.load(A), guest.load(A + P)), (Some(6), Some(0)));
    assert!(guest.store(A + P, 7));
    let [descriptor, ..] = guest.call(Call::Stage2Walk, &[root, A]).unwrap();
    // MemAttr[3:0], without FEAT_S2FWB: Normal, inner and outer non-cacheable (DDI 0487, D8.6).
    assert_eq!(descriptor >> 2 & 0xf, 0b0101);
    // EL2 sees memory through its caches, so that this is no buffer.
    assert_eq!(guest.call(Call::DebugWrite, &[A, 8]), Err(Status::INVALID_ARGS));
}

#[test]
fn a_policy_is_for_memory_that_nobody_uses() {
    let guest = machine();
    let (root, vmo) = (guest.root(), guest.vmo(2));
    let set = |vmo: u64| guest.call(Call::VmoSetCachePolicy, &[vmo, 3]).map(drop);
    guest.map(root, A, vmo, 1);
    assert_eq!(set(vmo), Err(Status::BAD_STATE));
    guest.unmap(root, A, P).unwrap();
    let slice = guest.try_child(vmo, ChildOptions::SLICE, 0, P).unwrap();
    assert_eq!((set(vmo), set(slice)), (Err(Status::BAD_STATE), Err(Status::BAD_STATE)));
    guest.close(slice);
    let pmt = pin(&guest, vmo, 0, 1).unwrap();
    assert_eq!(set(vmo), Err(Status::BAD_STATE));
    guest.close(pmt);
    assert_eq!(set(vmo), Ok(()));
}

#[test]
fn a_physical_vmo_lies_in_what_was_granted() {
    let guest = machine();
    let resource = resource(&guest);
    let make = |address: u64, size: u64| {
        guest.call(Call::VmoCreatePhysical, &[resource, address, size]).map(|results| results[0])
    };
    assert_eq!(make(0x901_0800, P), Err(Status::INVALID_ARGS));
    assert_eq!(make(0x901_0000, 0), Err(Status::INVALID_ARGS));
    assert_eq!(make(0x901_1000, 2 * P), Err(Status::OUT_OF_RANGE));
    assert_eq!(make(u64::MAX - P + 1, P), Err(Status::OUT_OF_RANGE));
    assert_eq!(guest.call(Call::VmoCreatePhysical, &[guest.root(), 0x901_0000, P]), Err(Status::WRONG_TYPE));
    let vmo = make(0x901_0000, 2 * P).unwrap();
    for op in [VmoOp::Commit, VmoOp::Decommit, VmoOp::Zero, VmoOp::CacheClean] {
        assert_eq!(guest.vmo_op(vmo, op, 0, P), Err(Status::NOT_SUPPORTED), "{op:?}");
    }
    assert_eq!(guest.vmo_op(vmo, VmoOp::Prefetch, 0, P), Ok(()));
    assert_eq!(guest.call(Call::VmoRead, &[vmo, BUFFER, 0, 8]), Err(Status::NOT_SUPPORTED));
    assert_eq!(guest.try_child(vmo, ChildOptions::SNAPSHOT, 0, P), Err(Status::NOT_SUPPORTED));
    assert!(guest.try_child(vmo, ChildOptions::SLICE, P, P).is_ok());
    assert_eq!(guest.info(vmo).flags & 1, 0);
    // EL2 does not touch a device, cached or not.
    let cached = make(0x901_0000, P).unwrap();
    guest.call(Call::VmoSetCachePolicy, &[cached, 0]).unwrap();
    guest.map(guest.root(), A, cached, 1);
    assert_eq!(guest.call(Call::HandleCloseMany, &[A, 1]), Err(Status::INVALID_ARGS));
    assert_eq!(guest.call(Call::DebugRead, &[A, 8]), Err(Status::INVALID_ARGS));
    let none = Guest::new("inspect=on seed=1");
    assert_eq!(none.call(Call::StartupHandle, &[4]), Err(Status::NOT_FOUND));
}

#[test]
fn names_are_cut_and_inherited() {
    let guest = machine();
    let vmo = guest.vmo(1);
    let (set, get) = (Call::ObjectSetProperty, Call::ObjectGetProperty);
    let name = *b"a name that has just forty characters...";
    for (word, bytes) in (0..).zip(name.as_chunks::<8>().0) {
        assert!(guest.store(BUFFER + 8 * word, u64::from_le_bytes(*bytes)));
    }
    guest.call(set, &[vmo, 3, BUFFER, 40]).unwrap();
    let mut expected = [0; 32];
    expected[..31].copy_from_slice(&name[..31]);
    assert_eq!(guest.info(vmo).name, expected);
    assert_eq!(guest.info(guest.snapshot(vmo, 1)).name, expected);
    guest.call(get, &[vmo, 3, BUFFER + P, 32]).unwrap();
    assert_eq!(guest.load(BUFFER + P), guest.load(BUFFER));
    assert_eq!(guest.call(get, &[vmo, 3, 0, 32]), Err(Status::INVALID_ARGS));
    assert_eq!(guest.call(get, &[0, 3, BUFFER, 32]), Err(Status::BAD_HANDLE));
    assert_eq!(guest.call(get, &[vmo, 4, BUFFER, 32]), Err(Status::NOT_SUPPORTED));
    assert_eq!(guest.call(get, &[vmo, 3, BUFFER, 31]), Err(Status::BUFFER_TOO_SMALL));
    assert_eq!(guest.call(get, &[guest.root(), 3, BUFFER, 32]), Err(Status::ACCESS_DENIED));
    guest.call(set, &[vmo, 3, BUFFER, 0]).unwrap();
    assert_eq!(guest.info(vmo).name, [0; 32]);
}

#[test]
fn a_pin_that_finds_no_handle_tells_no_address() {
    let guest = machine();
    let bti = guest.call(Call::BtiCreate, &[resource(&guest)]).unwrap()[0];
    let vmo = guest.vmo(1);
    assert!(guest.store(BUFFER, 5));
    while guest.call(Call::HandleDuplicate, &[vmo, 1 << 31]).is_ok() {}
    let options = PinOptions::PERM_READ.bits().into();
    assert_eq!(guest.call(Call::BtiPin, &[bti, options, vmo, 0, P, BUFFER, 1]), Err(Status::NO_MEMORY));
    assert_eq!(guest.load(BUFFER), Some(5));
    assert_eq!(guest.vmo_op(vmo, VmoOp::Decommit, 0, P), Ok(()));
}
