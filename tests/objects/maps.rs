//! `object_get_info`: VMAR_MAPS and HANDLE_COUNT.

use abi::{Call, ChildOptions, InfoMaps, MapsType, RAM_BASE, Rights, Startup, Status, Topic, VmOptions, VmoOp};
use zerocopy::{FromBytes, IntoBytes};

use crate::guest::{Guest, P, PLACED, R, RW, VMAR_RIGHTS, documented};

const A: u64 = 0x8000_0000;
/// Where the records are written to: RAM that is in no other use.
pub(crate) const BUFFER: u64 = RAM_BASE + 16 * P;
const RECORD: u64 = size_of::<InfoMaps>() as u64;

fn ask(guest: &Guest, vmar: u64, topic: Topic, buffer: u64, size: u64) -> Result<[u64; 2], Status> {
    let [actual, available, _] = guest.call(Call::ObjectGetInfo, &[vmar, u64::from(u32::from(topic)), buffer, size])?;
    Ok([actual, available])
}

/// Returns all records of a VMAR.
pub(crate) fn maps(guest: &Guest, vmar: u64) -> Vec<InfoMaps> {
    let [_, available] = ask(guest, vmar, Topic::VmarMaps, 0, 0).unwrap();
    assert_eq!(ask(guest, vmar, Topic::VmarMaps, BUFFER, available * RECORD), Ok([available; 2]));
    (0..available).map(|index| record(guest, index)).collect()
}

fn record(guest: &Guest, index: u64) -> InfoMaps {
    let mut words = [0; RECORD as usize / 8];
    for (number, word) in words.iter_mut().enumerate() {
        *word = guest.load(BUFFER + index * RECORD + 8 * number as u64).unwrap();
    }
    InfoMaps::read_from_bytes(words.as_bytes()).unwrap()
}

/// Returns the parts of mappings in a VMAR: pages from `base` on, pages, permissions, pages from the VMO's start on.
pub(crate) fn mappings(guest: &Guest, vmar: u64, base: u64) -> Vec<(u64, u64, u32, u64)> {
    let is_mapping = |record: &InfoMaps| record.maps_type == u32::from(MapsType::Mapping);
    let short = |r: InfoMaps| ((r.base - base) / P, r.size / P, r.mmu_flags, r.vmo_offset / P);
    maps(guest, vmar).into_iter().filter(is_mapping).map(short).collect()
}

fn koid(guest: &Guest, handle: u64) -> u64 {
    guest.call(Call::ObjectGetInfo, &[handle, u64::from(u32::from(Topic::HandleBasic)), BUFFER, 32]).unwrap();
    guest.load(BUFFER).unwrap()
}

fn handle_count(guest: &Guest, handle: u64) -> u64 {
    assert_eq!(ask(guest, handle, Topic::HandleCount, BUFFER, 4), Ok([1, 1]));
    guest.load(BUFFER).unwrap() & 0xffff_ffff
}

/// A VMAR of 16 pages: a mapping of 4 pages at its start, a child VMAR of 8 pages with a mapping of 2 at its own start.
struct Scene {
    guest: Guest,
    vmar: u64,
    child: u64,
    vmo: u64,
}

fn scene() -> Scene {
    let guest = documented();
    let (vmar, _) = guest.vmar(guest.root(), A, 16);
    let vmo = guest.vmo(8);
    guest.map(vmar, 0, vmo, 4);
    let (child, _) = guest.vmar(vmar, 4 * P, 8);
    guest.try_map(child, R | PLACED, 0, vmo, 5 * P, 2 * P).unwrap();
    Scene { guest, vmar, child, vmo }
}

#[test]
fn a_vmar_comes_before_what_is_in_it_and_siblings_by_their_bases() {
    let Scene { guest, vmar, child, vmo } = scene();
    let region = |base, pages, depth| InfoMaps {
        base: A + base * P,
        size: pages * P,
        depth,
        maps_type: MapsType::Vmar.into(),
        ..InfoMaps::default()
    };
    let mapping = |base, pages, depth, flags: VmOptions, offset| InfoMaps {
        maps_type: MapsType::Mapping.into(),
        mmu_flags: flags.bits(),
        vmo_koid: koid(&guest, vmo),
        vmo_offset: offset * P,
        ..region(base, pages, depth)
    };
    let expected = [region(0, 16, 0), mapping(0, 4, 1, RW, 0), region(4, 8, 1), mapping(4, 2, 2, R, 5)];
    assert_eq!(maps(&guest, vmar), expected);
    let expected = [region(4, 8, 0), mapping(4, 2, 1, R, 5)];
    assert_eq!(maps(&guest, child), expected);
}

#[test]
fn each_protection_of_a_mapping_has_its_record_and_the_pages_that_are_there() {
    let Scene { guest, vmar, vmo, .. } = scene();
    guest.vmo_op(vmo, VmoOp::Commit, P, 2 * P).unwrap();
    guest.call(Call::VmarProtect, &[vmar, 1, A + P, P]).unwrap();
    let parts: Vec<_> = maps(&guest, vmar)
        .into_iter()
        .filter(|record| record.depth == 1 && record.maps_type == u32::from(MapsType::Mapping))
        .map(|r| (r.base - A, r.size, r.mmu_flags, r.vmo_offset, r.committed_bytes, r.populated_scaled_bytes))
        .collect();
    assert_eq!(parts, [(0, P, 3, 0, 0, 0), (P, P, 1, P, P, P), (2 * P, 2 * P, 3, 2 * P, P, P)],);
}

#[test]
fn chunks_and_what_lies_past_the_vmos_end_are_counted_as_they_are() {
    let guest = Guest::with_memory("inspect=on seed=1", 32 << 20);
    let (vmar, _) = guest.vmar(guest.root(), A, 2048);
    let vmo = guest.vmo(1024);
    guest.vmo_op(vmo, VmoOp::Commit, 512 * P, 512 * P).unwrap();
    guest.vmo_op(vmo, VmoOp::Commit, 3 * P, P).unwrap();
    guest.map(vmar, 0, vmo, 2048);
    assert_eq!(maps(&guest, vmar)[1].committed_bytes, 513 * P);
    guest.unmap(vmar, A, 600 * P).unwrap();
    assert_eq!(maps(&guest, vmar)[1].committed_bytes, 424 * P);
}

#[test]
fn as_many_whole_records_as_fit_are_written() {
    let Scene { guest, vmar, .. } = scene();
    let all = maps(&guest, vmar);
    for (size, written) in [(0, 0), (RECORD - 1, 0), (RECORD, 1), (3 * RECORD + 8, 3), (5 * RECORD, 4)] {
        (0..5 * RECORD / 8).for_each(|word| assert!(guest.store(BUFFER + 8 * word, u64::MAX)));
        assert_eq!(ask(&guest, vmar, Topic::VmarMaps, BUFFER, size), Ok([written, 4]));
        (0..written).for_each(|index| assert_eq!(record(&guest, index), all[index as usize]));
        assert_eq!(guest.load(BUFFER + written * RECORD), Some(u64::MAX), "{size}");
    }
    assert_eq!(ask(&guest, vmar, Topic::VmarMaps, 0, 0), Ok([0, 4]));
}

/// More records than one batch: they come in order, and each once, however the batches fall.
#[test]
fn many_records_come_in_their_order() {
    let guest = documented();
    let (vmar, _) = guest.vmar(guest.root(), A, 64);
    let (mut inner, vmo) = (vmar, guest.vmo(64));
    // A VMAR in a VMAR in a VMAR, all from the same address on; and mappings behind each of them.
    for depth in 1..12 {
        guest.map(inner, (64 - 4 * depth) * P, vmo, 4);
        inner = guest.vmar(inner, 0, 64 - 4 * depth).0;
    }
    guest.map(inner, 0, vmo, 8);
    (0..4).for_each(|page| assert!(guest.call(Call::VmarProtect, &[inner, 1, A + 2 * page * P, P]).is_ok()));
    let places: Vec<_> = maps(&guest, vmar).iter().map(|r| ((r.base - A) / P, r.size / P, r.depth)).collect();
    let nested = (0..12).map(|depth| (0, 64 - 4 * depth, depth));
    let parts = (0..8).map(|page| (page, 1, 12));
    let behind = (1..12).rev().map(|depth| (64 - 4 * depth, 4, depth));
    assert_eq!(places, nested.chain(parts).chain(behind).collect::<Vec<_>>());
}

#[test]
fn what_is_refused_is_refused_in_order() {
    let Scene { guest, vmar, child, vmo } = scene();
    let blind = guest.without(vmar, VMAR_RIGHTS, Rights::INSPECT);
    let maps = |vmar, buffer, size| ask(&guest, vmar, Topic::VmarMaps, buffer, size);
    guest.call(Call::VmarDestroy, &[child]).unwrap();
    assert_eq!(maps(0, 8, RECORD), Err(Status::BAD_HANDLE));
    assert_eq!(maps(vmo, 8, RECORD), Err(Status::WRONG_TYPE));
    assert_eq!(maps(blind, 8, RECORD), Err(Status::ACCESS_DENIED));
    assert_eq!(maps(child, 8, RECORD), Err(Status::BAD_STATE));
    assert_eq!(maps(vmar, 8, RECORD), Err(Status::INVALID_ARGS));
    assert_eq!(ask(&guest, blind, Topic::HandleCount, 8, 4), Err(Status::ACCESS_DENIED));
    assert_eq!(ask(&guest, vmar, Topic::HandleCount, BUFFER, 3), Err(Status::BUFFER_TOO_SMALL));
    assert_eq!(ask(&guest, vmar, Topic::HandleCount, 8, 4), Err(Status::INVALID_ARGS));
    assert_eq!(ask(&guest, vmar, Topic::Vmar, BUFFER, 0), Err(Status::BUFFER_TOO_SMALL));
}

#[test]
fn handles_are_counted() {
    let Scene { guest, vmar, child, vmo } = scene();
    let start = |kind: Startup| guest.call(Call::StartupHandle, &[u64::from(u32::from(kind))]).unwrap()[0];
    for (handle, count) in [(vmar, 1), (child, 1), (vmo, 1), (start(Startup::Vm), 1), (start(Startup::RamVmo), 1)] {
        assert_eq!(handle_count(&guest, handle), count);
        let copy = guest.call(Call::HandleDuplicate, &[handle, u64::from(Rights::SAME_RIGHTS.bits())]).unwrap()[0];
        assert_eq!((handle_count(&guest, handle), handle_count(&guest, copy)), (count + 1, count + 1));
        let replaced = guest.call(Call::HandleReplace, &[copy, u64::from(Rights::INSPECT.bits())]).unwrap()[0];
        assert_eq!(handle_count(&guest, replaced), count + 1);
        guest.call(Call::HandleClose, &[handle]).unwrap();
        assert_eq!(handle_count(&guest, replaced), count);
    }
}

/// Pages that a copy shares count half; what a slice shows is counted where it was made.
#[test]
fn shared_pages_are_told_of_as_in_the_vmos_record() {
    let guest = documented();
    let (vmar, _) = guest.vmar(guest.root(), A, 32);
    let vmo = guest.vmo(8);
    guest.vmo_op(vmo, VmoOp::Commit, 0, 6 * P).unwrap();
    let child = |options: ChildOptions, offset, pages| {
        let options = u64::from(options.bits());
        guest.call(Call::VmoCreateChild, &[vmo, options, offset * P, pages * P]).unwrap()[0]
    };
    let (copy, slice) = (child(ChildOptions::SNAPSHOT, 1, 8), child(ChildOptions::SLICE, 2, 4));
    guest.map(vmar, 0, vmo, 8);
    guest.map(vmar, 8 * P, copy, 8);
    guest.map(vmar, 16 * P, slice, 4);
    assert!(guest.store(A + 3 * P, 1));
    let told: Vec<_> = maps(&guest, vmar)[1..]
        .iter()
        .map(|record| (record.committed_bytes, record.committed_private_bytes, record.populated_scaled_bytes))
        .collect();
    // The VMO's first and fourth page are its own, and so is the copy's third; they share four.
    assert_eq!(told, [(4 * P, 2 * P, 4 * P), (3 * P, P, 3 * P), (0, 0, 0)]);
}

#[test]
fn the_whole_space_is_told_of() {
    let guest = documented();
    let root = guest.root();
    let all = maps(&guest, root);
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].base, all[0].size, all[0].depth), (0, 1 << 39, 0));
    assert_eq!((all[1].base, all[1].size, all[1].mmu_flags), (RAM_BASE, 64 << 20, 7));
    assert!(all[1].committed_bytes >= P);
    assert_eq!((&all[1].name[..4], all[0].name), (&b"ram\0"[..], [0; 32]));
}
