//! `object_get_info`.

use crate::arena::{Arena, R, RW, marked_vmo};
use crate::case::cases;
use crate::check::{Check, load};
use abi::{Call, INFO_VMO_SIZES};
use zx::sys::{Registers, hypercall};
use zx::{
    Alignment, Handle, InfoHandleBasic, InfoVmar, InfoVmo, Object, PAGE_SIZE, RawHandle, Record, Rights, Status, Topic,
    Unowned, VmOptions, Vmar, Vmo, VmoInfoFlags, VmoOptions,
};

cases! {
    #[kernel]
    fn I01_handle_basic() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let info = vmo.basic_info().succeeds();
        assert_eq!((info.related_koid, info.reserved, info.padding), (0, 0, 0));
        assert_eq!(info.koid, vmo.info().succeeds().koid);
    }

    #[kernel]
    fn I02_vmar() {
        let arena = Arena::new(3);
        assert_eq!(arena.vmar.info().succeeds(), InfoVmar { base: arena.base, len: 3 * PAGE_SIZE });
    }

    #[kernel]
    fn I02_root_vmar_covers_the_ipa_space() {
        assert_eq!(Vmar::root().succeeds().info().succeeds(), InfoVmar { base: 0, len: 1 << 39 });
    }

    #[kernel("ipa=36")]
    fn I02_root_vmar_covers_the_ipa_space_that_was_asked_for() {
        assert_eq!(Vmar::root().succeeds().info().succeeds(), InfoVmar { base: 0, len: 1 << 36 });
    }

    #[kernel]
    fn I02_dead_vmar_tells_where_it_was() {
        let arena = Arena::new(3);
        arena.vmar.destroy().succeeds();
        assert_eq!(arena.vmar.info().succeeds(), InfoVmar { base: arena.base, len: 3 * PAGE_SIZE });
    }

    #[kernel]
    fn I02_vmar_needs_inspect() {
        let weak = Arena::new(1).without(Rights::INSPECT);
        weak.vmar.info().fails_with(Status::ACCESS_DENIED);
    }

    #[kernel]
    fn I03_buffer_too_small() {
        let arena = Arena::new(1);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        is_too_small(get_info(&arena.vmar, Topic::Vmar, size_of::<InfoVmar>() as u64 - 1));
        is_too_small(get_info(&vmo, Topic::HandleBasic, size_of::<InfoHandleBasic>() as u64 - 1));
        is_too_small(get_info(&vmo, Topic::Vmo, size_of::<InfoVmo>() as u64 - 1));
        is_too_small(get_info(&vmo, Topic::VmoV1, INFO_VMO_SIZES[0] as u64 - 1));
    }

    #[kernel]
    fn C337_vmar_with_no_buffer() {
        is_too_small(get_info(&Arena::new(1).vmar, Topic::Vmar, 0));
    }

    #[kernel]
    fn I04_topic_of_another_type() {
        let (vmar, vmo) = (Arena::new(1).vmar, Vmo::create(PAGE_SIZE).succeeds());
        InfoVmar::of(&vmo).fails_with(Status::WRONG_TYPE);
        InfoVmo::of(&vmar).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn I04_unknown_topic() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        for topic in [0, 0x3fff, 0x4000_0017, 0x1000_0002] {
            let arguments = [vmo.register(), topic, Arena::BASE, 0];
            hypercall(Call::ObjectGetInfo, arguments).ok().fails_with(Status::NOT_SUPPORTED);
        }
    }

    #[kernel]
    fn I04_bad_handle() {
        InfoHandleBasic::of(&*Unowned::<Handle>::from_raw(RawHandle::INVALID)).fails_with(Status::BAD_HANDLE);
    }

    #[kernel]
    fn I05_success_tells_one_of_one() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        let arguments = [arena.vmar.register(), Topic::Vmar as u64, arena.page(0), size_of::<InfoVmar>() as u64];
        let registers = hypercall(Call::ObjectGetInfo, arguments).ok().succeeds();
        assert_eq!((registers.x1, registers.x2), (1, 1));
        assert_eq!((load(arena.page(0)), load(arena.page(0) + 8)), (arena.base, PAGE_SIZE));
    }

    #[kernel]
    fn C188_vmo() {
        let vmo = Vmo::create_with_options(VmoOptions::RESIZABLE, 3 * PAGE_SIZE).succeeds();
        let info = vmo.info().succeeds();
        let flags = VmoInfoFlags::PAGED | VmoInfoFlags::RESIZABLE | VmoInfoFlags::VIA_HANDLE;
        assert_eq!(VmoInfoFlags::from_bits_retain(info.flags), flags);
        assert_eq!((info.size_bytes, info.cache_policy, info.parent_koid, info.num_children), (3 * PAGE_SIZE, 0, 0, 0));
        assert_eq!((info.num_mappings, info.committed_bytes, info.populated_bytes), (0, 0, 0));
        assert_eq!(Rights::from_bits_retain(info.handle_rights), Rights::DEFAULT_VMO | Rights::RESIZE);
    }

    #[kernel]
    fn I06_contiguous_vmo() {
        let vmo = Vmo::create_contiguous(2 * PAGE_SIZE, Alignment::PAGE).succeeds();
        let info = vmo.info().succeeds();
        let flags = VmoInfoFlags::PAGED | VmoInfoFlags::CONTIGUOUS | VmoInfoFlags::VIA_HANDLE;
        assert_eq!(VmoInfoFlags::from_bits_retain(info.flags), flags);
        assert_eq!(info.committed_bytes, 2 * PAGE_SIZE);
    }

    #[kernel]
    fn I06_discardable_vmo() {
        let vmo = Vmo::create_with_options(VmoOptions::DISCARDABLE, PAGE_SIZE).succeeds();
        let flags = VmoInfoFlags::from_bits_retain(vmo.info().succeeds().flags);
        assert!(flags.contains(VmoInfoFlags::DISCARDABLE), "{flags:?}");
    }

    #[kernel]
    fn I07_committed_pages_of_a_vmo_that_nobody_shares() {
        let info = marked_vmo(3).info().succeeds();
        let bytes = 3 * PAGE_SIZE;
        assert_eq!((info.committed_bytes, info.populated_bytes), (bytes, bytes));
        assert_eq!((info.committed_private_bytes, info.populated_private_bytes), (bytes, bytes));
        assert_eq!((info.committed_scaled_bytes, info.populated_scaled_bytes), (bytes, bytes));
        assert_eq!((info.committed_fractional_scaled_bytes, info.populated_fractional_scaled_bytes), (0, 0));
    }

    #[kernel]
    fn I07_mappings_are_counted() {
        let arena = Arena::new(4);
        let vmo = marked_vmo(1);
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        arena.map_vmo(R, 2, 1, &vmo, 0).succeeds();
        assert_eq!(vmo.info().succeeds().num_mappings, 2);
        arena.vmar.destroy().succeeds();
        assert_eq!(vmo.info().succeeds().num_mappings, 0);
    }

    #[kernel]
    fn C216_older_versions_are_prefixes() {
        let (arena, vmo) = (Arena::new(1), marked_vmo(2));
        arena.map_vmo(RW | VmOptions::ALLOW_FAULTS, 0, 1, &Vmo::create(PAGE_SIZE).succeeds(), 0).succeeds();
        let whole = InfoVmo::of(&vmo).succeeds();
        for (topic, len_bytes) in [Topic::VmoV1, Topic::VmoV2, Topic::VmoV3].into_iter().zip(INFO_VMO_SIZES) {
            let end = arena.page(0) + len_bytes as u64;
            crate::check::store(end, u64::MAX);
            let arguments = [vmo.register(), topic as u64, arena.page(0), PAGE_SIZE];
            hypercall(Call::ObjectGetInfo, arguments).ok().succeeds();
            assert_eq!((load(arena.page(0)), load(arena.page(0) + 40)), (whole.koid, whole.size_bytes));
            assert_eq!(load(arena.page(0) + 88), whole.committed_bytes);
            assert_eq!(load(end), u64::MAX, "nothing is written past {topic:?}");
        }
    }
}

/// Asks for a topic into a buffer of the given length.
fn get_info(object: &impl Object, topic: Topic, len_bytes: u64) -> Registers {
    let mut buffer = InfoVmo::default();
    let address = (&raw mut buffer).expose_provenance() as u64;
    hypercall(Call::ObjectGetInfo, [object.register(), topic as u64, address, len_bytes])
}

#[track_caller]
fn is_too_small(registers: Registers) {
    assert_eq!(registers.status(), Status::BUFFER_TOO_SMALL);
    assert_eq!((registers.x1, registers.x2), (0, 1), "actual and available");
}
