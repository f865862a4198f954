//! `object_get_info` with ZX_INFO_VMAR_MAPS.

use crate::arena::{Arena, R, RW, RX, empty_vmo, executable_vmo, marked_vmo, snapshot, write_word};
use crate::case::cases;
use crate::check::{Check, load, reads, store};
use abi::Call;
use zx::sys::hypercall;
use zx::{
    InfoMaps, Listed, MapsType, Object, PAGE_SIZE, RawHandle, Rights, Status, Topic, Unowned, VmOptions, Vmar, Vmo,
};

cases! {
    #[kernel]
    fn C328_regions_and_mappings_in_order() {
        let arena = Arena::new(16);
        let first = arena.map(0, 2);
        let child = arena.child(4, 8);
        let nested = child.child(2, 4);
        let inner = nested.map(1, 2);
        let last = child.map(7, 1);
        let mut room = [InfoMaps::default(); 8];
        assert_eq!(arena.vmar.maps(&mut room), Ok(Listed { actual: 6, available: 6 }));
        let expected = [
            (MapsType::Vmar, 0, arena.base, 16, None),
            (MapsType::Mapping, 1, arena.page(0), 2, Some((&first, 0))),
            (MapsType::Vmar, 1, arena.page(4), 8, None),
            (MapsType::Vmar, 2, arena.page(6), 4, None),
            (MapsType::Mapping, 3, arena.page(7), 2, Some((&inner, 0))),
            (MapsType::Mapping, 2, arena.page(11), 1, Some((&last, 0))),
        ];
        for (entry, (kind, depth, base, page_count, mapped)) in room.iter().zip(expected) {
            is_entry(entry, kind, depth, base, page_count);
            match mapped {
                Some((vmo, offset)) => shows(entry, vmo, offset, RW),
                None => assert_eq!((entry.mmu_flags, entry.vmo_koid, entry.committed_bytes), (0, 0, 0)),
            }
        }
        assert_eq!(room[6..], [InfoMaps::default(); 2], "nothing is written past the records");
    }

    #[kernel]
    fn C329_no_buffer() {
        let arena = three_records();
        assert_eq!(arena.vmar.maps(&mut []), Ok(Listed { actual: 0, available: 3 }));
        let registers = hypercall(Call::ObjectGetInfo, [arena.vmar.register(), MAPS, 0, 0]).ok().succeeds();
        assert_eq!((registers.x1, registers.x2), (0, 3));
    }

    #[kernel]
    fn G330_buffer_for_some_of_the_records() {
        let arena = three_records();
        let mut room = [InfoMaps::default(); 2];
        assert_eq!(arena.vmar.maps(&mut room), Ok(Listed { actual: 2, available: 3 }));
        is_entry(&room[0], MapsType::Vmar, 0, arena.base, 4);
        is_entry(&room[1], MapsType::Mapping, 1, arena.page(0), 1);
        let scratch = scratch();
        let len_bytes = 2 * size_of::<InfoMaps>() as u64 - 1;
        store(scratch + size_of::<InfoMaps>() as u64, 5);
        let arguments = [arena.vmar.register(), MAPS, scratch, len_bytes];
        let registers = hypercall(Call::ObjectGetInfo, arguments).ok().succeeds();
        assert_eq!((registers.x1, registers.x2), (1, 3), "a record is written whole or not at all");
        reads(scratch + size_of::<InfoMaps>() as u64, 5);
    }

    #[kernel]
    fn C331_handles_of_other_types() {
        let vmo = empty_vmo(1);
        Unowned::<Vmar>::of(&vmo).maps(&mut []).fails_with(Status::WRONG_TYPE);
        Unowned::<Vmar>::from_raw(RawHandle::INVALID).maps(&mut []).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn C332_maps_need_inspect() {
        let arena = three_records();
        arena.without(Rights::INSPECT).vmar.maps(&mut []).fails_with(Status::ACCESS_DENIED);
        let none = arena.vmar.duplicate(Rights::INSPECT).succeeds();
        assert_eq!(none.maps(&mut []), Ok(Listed { actual: 0, available: 3 }));
    }

    #[kernel]
    fn C333_bad_buffer() {
        let arena = three_records();
        let read_only = arena.base + 2 * PAGE_SIZE;
        arena.map_vmo(R, 2, 1, &empty_vmo(1), 0).succeeds();
        for buffer in [read_only, arena.page(3), 0, u64::MAX - 200] {
            let arguments = [arena.vmar.register(), MAPS, buffer, 3 * size_of::<InfoMaps>() as u64];
            hypercall(Call::ObjectGetInfo, arguments).ok().fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn G334_region_that_is_destroyed() {
        let arena = three_records();
        arena.vmar.destroy().succeeds();
        arena.vmar.maps(&mut []).fails_with(Status::BAD_STATE);
        arena.vmar.maps(&mut [InfoMaps::default(); 3]).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn N90_empty_region_tells_of_itself() {
        let arena = Arena::new(4);
        let mut room = [InfoMaps::default(); 2];
        assert_eq!(arena.vmar.maps(&mut room), Ok(Listed { actual: 1, available: 1 }));
        is_entry(&room[0], MapsType::Vmar, 0, arena.base, 4);
    }

    #[kernel]
    fn N91_protections_part_a_mapping() {
        let arena = Arena::new(6);
        let vmo = executable_vmo(6);
        arena.map_vmo(RW, 0, 6, &vmo, 0).succeeds();
        arena.vmar.protect(R, arena.page(1), PAGE_SIZE).succeeds();
        arena.vmar.protect(RX, arena.page(4), 2 * PAGE_SIZE).succeeds();
        let mut room = [InfoMaps::default(); 8];
        assert_eq!(arena.vmar.maps(&mut room), Ok(Listed { actual: 5, available: 5 }));
        let parts = [(0, 1, RW), (1, 1, R), (2, 2, RW), (4, 2, RX)];
        for (entry, (page, page_count, perms)) in room[1..].iter().zip(parts) {
            is_entry(entry, MapsType::Mapping, 1, arena.page(page), page_count);
            shows(entry, &vmo, page, perms);
        }
        assert_eq!(vmo.info().succeeds().num_mappings, 1);
    }

    #[kernel]
    fn N92_name_and_offset_are_the_vmos() {
        let arena = Arena::new(2);
        let vmo = marked_vmo(4);
        vmo.set_name(b"shown").succeeds();
        arena.map_vmo(R, 1, 1, &vmo, 3).succeeds();
        let mut room = [InfoMaps::default(); 2];
        arena.vmar.maps(&mut room).succeeds();
        assert_eq!(&room[1].name[..6], b"shown\0");
        shows(&room[1], &vmo, 3, R);
    }

    #[kernel]
    fn N93_root_tells_of_the_ram() {
        let root = Vmar::root().succeeds();
        let mut room = [InfoMaps::default(); 2];
        root.maps(&mut room).succeeds();
        assert_eq!((room[0].base, room[0].size, room[0].depth), (0, 1 << 39, 0));
        is_entry(&room[1], MapsType::Mapping, 1, abi::RAM_BASE, (64 << 20) / PAGE_SIZE);
        assert_eq!(&room[1].name[..4], b"ram\0");
        assert_eq!(VmOptions::from_bits_retain(room[1].mmu_flags), VmOptions::PERMS);
    }

    #[kernel]
    fn C342_memory_of_a_mapping_follows_commit_and_decommit() {
        let arena = Arena::new(4);
        let vmo = empty_vmo(4);
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        memory_is(&arena, &[0]);
        arena.op(zx::VmarOp::Commit, 1, 2).succeeds();
        memory_is(&arena, &[2]);
        store(arena.page(3), 1);
        memory_is(&arena, &[3]);
        arena.op(zx::VmarOp::Decommit, 0, 2).succeeds();
        memory_is(&arena, &[2]);
        assert_eq!(vmo.info().succeeds().committed_bytes, 2 * PAGE_SIZE);
    }

    #[kernel]
    fn C343_memory_of_a_mapping_follows_unmap_and_merge() {
        let arena = Arena::new(8);
        let vmo = marked_vmo(8);
        arena.map_vmo(RW, 0, 8, &vmo, 0).succeeds();
        memory_is(&arena, &[8]);
        arena.unmap(0, 2).succeeds();
        memory_is(&arena, &[6]);
        arena.unmap(4, 1).succeeds();
        memory_is(&arena, &[2, 3]);
        arena.map_vmo(RW, 4, 1, &vmo, 4).succeeds();
        memory_is(&arena, &[6]);
        assert_eq!(vmo.info().succeeds().num_mappings, 1);
        assert_eq!(vmo.info().succeeds().committed_bytes, 8 * PAGE_SIZE);
    }

    #[kernel]
    fn C344_memory_of_nested_regions() {
        let arena = Arena::new(8);
        let (outer, vmo) = (arena.child(0, 6), marked_vmo(6));
        outer.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        let inner = outer.child(2, 4);
        inner.map_vmo(RW, 0, 3, &vmo, 2).succeeds();
        arena.map_vmo(RW, 7, 1, &vmo, 5).succeeds();
        memory_is(&arena, &[2, 3, 1]);
        memory_is(&outer, &[2, 3]);
        memory_is(&inner, &[3]);
    }

    #[kernel]
    fn N94_memory_that_a_clone_shares() {
        let (arena, parent) = (Arena::new(4), marked_vmo(4));
        let clone = snapshot(&parent, 0, 4);
        write_word(&clone, 0, 1);
        arena.map_vmo(RW, 0, 2, &clone, 0).succeeds();
        let mut room = [InfoMaps::default(); 2];
        arena.vmar.maps(&mut room).succeeds();
        let half = PAGE_SIZE + PAGE_SIZE / 2;
        assert_eq!((room[1].committed_bytes, room[1].committed_scaled_bytes), (half, half));
        assert_eq!((room[1].committed_private_bytes, room[1].populated_private_bytes), (PAGE_SIZE, PAGE_SIZE));
    }
}

/// `ZX_INFO_VMAR_MAPS`.
const MAPS: u64 = Topic::VmarMaps as u64;

/// An arena of four pages with two mappings, of one page each.
fn three_records() -> Arena {
    let arena = Arena::new(4);
    arena.map(0, 1);
    arena.map_vmo(R, 1, 1, &empty_vmo(1), 0).succeeds();
    arena
}

/// Maps a page for records, away from arenas, and returns its address.
fn scratch() -> u64 {
    let address = Vmar::root().succeeds().map(RW, 0, &empty_vmo(1), 0, PAGE_SIZE).succeeds();
    assert_eq!(load(address), 0);
    address
}

#[track_caller]
fn is_entry(entry: &InfoMaps, kind: MapsType, depth: u64, base: u64, page_count: u64) {
    let seen = (MapsType::try_from(entry.maps_type).ok(), entry.depth, entry.base, entry.size);
    assert_eq!(seen, (Some(kind), depth, base, page_count * PAGE_SIZE));
    assert_eq!((entry.padding, entry.mapping_padding), (0, 0));
}

/// Asserts what a mapping shows of which VMO.
#[track_caller]
fn shows(entry: &InfoMaps, vmo: &Vmo, vmo_page: u64, perms: VmOptions) {
    let koid = vmo.info().succeeds().koid;
    assert_eq!((entry.vmo_koid, entry.vmo_offset), (koid, vmo_page * PAGE_SIZE));
    assert_eq!(VmOptions::from_bits_retain(entry.mmu_flags), perms);
}

/// Asserts how many pages the mappings of an arena show that have memory, all of it private.
#[track_caller]
fn memory_is(arena: &Arena, pages: &[u64]) {
    let mut room = [InfoMaps::default(); 8];
    let listed = arena.vmar.maps(&mut room).succeeds();
    let mut mappings = room[..listed.actual].iter().filter(|entry| entry.maps_type == MapsType::Mapping.into());
    for page_count in pages {
        let entry = mappings.next().expect("there is another mapping");
        let bytes = page_count * PAGE_SIZE;
        assert_eq!((entry.committed_bytes, entry.populated_bytes), (bytes, bytes));
        assert_eq!((entry.committed_private_bytes, entry.committed_scaled_bytes), (bytes, bytes));
        assert_eq!((entry.committed_fractional_scaled_bytes, entry.populated_fractional_scaled_bytes), (0, 0));
    }
    assert!(mappings.next().is_none(), "there is one mapping more");
}
