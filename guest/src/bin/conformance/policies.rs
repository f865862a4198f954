//! Cache policies, and what they rule out; physical memory.

use crate::arena::{
    Arena, R, RW, RX, contiguous_vmo, descriptor, empty_vmo, executable_vmo, marked_vmo, physical_page, slice,
    snapshot, vmo_without, write_word,
};
use crate::case::cases;
use crate::check::{Check, load, reads, store};
use abi::Call;
use zx::sys::hypercall;
use zx::{
    CachePolicy, ChildOptions, Object, PAGE_SIZE, RawHandle, Resource, Rights, Status, Unowned, VmOptions, VmarOp, Vmo,
    VmoInfoFlags, VmoOp,
};

cases! {
    #[kernel]
    fn C201_policy_of_what_is_mapped() {
        let (arena, vmo) = (Arena::new(1), empty_vmo(1));
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        vmo.set_cache_policy(CachePolicy::Uncached).fails_with(Status::BAD_STATE);
        assert_eq!(policy(&vmo), CachePolicy::Cached);
        arena.unmap(0, 1).succeeds();
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
        assert_eq!(policy(&vmo), CachePolicy::Uncached);
    }

    #[kernel]
    fn C201_policy_of_parent_and_child() {
        for kind in [ChildOptions::SNAPSHOT, ChildOptions::SLICE, ChildOptions::REFERENCE] {
            let parent = empty_vmo(1);
            let len_bytes = if kind == ChildOptions::REFERENCE { 0 } else { PAGE_SIZE };
            let child = parent.create_child(kind, 0, len_bytes).succeeds();
            parent.set_cache_policy(CachePolicy::Uncached).fails_with(Status::BAD_STATE);
            child.set_cache_policy(CachePolicy::Uncached).fails_with(Status::BAD_STATE);
            drop(child);
            parent.set_cache_policy(CachePolicy::Uncached).succeeds();
        }
    }

    #[kernel]
    fn C203_what_an_uncached_vmo_refuses() {
        let vmo = empty_vmo(2);
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
        vmo.read(&mut [0; 8], 0).fails_with(Status::BAD_STATE);
        vmo.write(&[0; 8], 0).fails_with(Status::BAD_STATE);
        vmo.create_snapshot(0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        vmo.create_slice(0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        vmo.op_range(VmoOp::Zero, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        assert_eq!(vmo.info().succeeds().num_children, 0);
    }

    #[kernel]
    fn C211_uncached_contiguous_memory() {
        let vmo = contiguous_vmo(4 * PAGE_SIZE);
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
        vmo.write(&[42], 0).fails_with(Status::BAD_STATE);
        assert_eq!(vmo.create_slice(0, PAGE_SIZE).succeeds().size_bytes(), Ok(PAGE_SIZE));
    }

    #[kernel]
    fn C269_snapshot_of_an_uncached_vmo_leaves_its_mapping() {
        let (arena, vmo) = (Arena::new(1), empty_vmo(1));
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        store(arena.page(0), 42);
        vmo.create_snapshot(0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        reads(arena.page(0), 42);
    }

    #[kernel]
    fn G202_policies_that_there_are_and_that_there_are_not() {
        let vmo = empty_vmo(1);
        for policy_number in 0..4 {
            set_policy(vmo.register(), policy_number).succeeds();
            assert_eq!(u64::from(vmo.info().succeeds().cache_policy), policy_number);
        }
        for bad in [4, 5, 8, 0xffff_ffff, 1 << 32] {
            set_policy(vmo.register(), bad).fails_with(Status::INVALID_ARGS);
            set_policy(RawHandle::INVALID.0.into(), bad).fails_with(Status::INVALID_ARGS);
        }
        assert_eq!(policy(&vmo), CachePolicy::WriteCombining);
    }

    #[kernel]
    fn G210_policy_of_pages_that_are_not_cached() {
        let (arena, vmo) = (Arena::new(1), marked_vmo(1));
        vmo.set_cache_policy(CachePolicy::WriteCombining).succeeds();
        vmo.set_cache_policy(CachePolicy::Cached).fails_with(Status::BAD_STATE);
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        arena.shows_mark(0, 0);
        assert_eq!(policy(&vmo), CachePolicy::WriteCombining);
    }

    #[kernel]
    fn N40_policy_needs_map_and_a_vmo() {
        vmo_without(&empty_vmo(1), Rights::MAP).set_cache_policy(CachePolicy::Uncached).fails_with(Status::ACCESS_DENIED);
        let none = Unowned::<Vmo>::from_raw(RawHandle::INVALID);
        none.set_cache_policy(CachePolicy::Uncached).fails_with(Status::BAD_HANDLE);
        let arena = Arena::new(1);
        let vmar = Unowned::<Vmo>::of(&arena.vmar);
        vmar.set_cache_policy(CachePolicy::Uncached).fails_with(Status::WRONG_TYPE);
        vmo_without(&empty_vmo(1), Rights::READ | Rights::WRITE).set_cache_policy(CachePolicy::Uncached).succeeds();
    }

    #[kernel("inspect=on")]
    fn C368_mappings_of_each_policy() {
        let attributes = [0, 1, 2, 3].map(|number| {
            let (arena, vmo) = (Arena::new(2), empty_vmo(2));
            set_policy(vmo.register(), number).succeeds();
            arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
            store(arena.page(0), number);
            reads(arena.page(0), number);
            reads(arena.page(1), 0);
            arena.op(VmarOp::Commit, 0, 2).succeeds();
            let attributes = memory_attributes(arena.page(0));
            assert_eq!(memory_attributes(arena.page(1)), attributes);
            arena.vmar.destroy().succeeds();
            attributes
        });
        assert_eq!(attributes[1], attributes[3], "both are Normal non-cacheable");
        assert!(attributes[0] != attributes[1] && attributes[1] != attributes[2] && attributes[0] != attributes[2]);
        // Bits 3:2 of MemAttr are 0b00 for Device memory, with FEAT_S2FWB as without.
        assert_eq!(attributes[2] >> 2 & 0b11, 0, "Device memory: {:#b}", attributes[2]);
    }

    #[kernel("mmio=0x9010000+0x1000 inspect=on")]
    fn C367_device_page_above_32_gib() {
        const ADDRESS: u64 = 0x8_0000_1000;
        let root = zx::Vmar::root().succeeds();
        let vmo = rtc();
        let mapped = root.map(R | VmOptions::SPECIFIC, ADDRESS, &vmo, 0, PAGE_SIZE).succeeds();
        assert_eq!(mapped, ADDRESS);
        is_rtc(ADDRESS);
        assert_eq!(physical_page(ADDRESS), RTC / PAGE_SIZE);
        assert_eq!(memory_attributes(ADDRESS) >> 2 & 0b11, 0, "Device memory");
        root.unmap(ADDRESS, PAGE_SIZE).succeeds();
        crate::check::load_aborts(ADDRESS);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn C204_slice_of_physical_memory() {
        let (arena, vmo) = (Arena::new(1), rtc());
        let window = slice(&vmo, 0, 1);
        assert_eq!(VmoInfoFlags::from_bits_retain(window.info().succeeds().flags) & VmoInfoFlags::PAGED, VmoInfoFlags::empty());
        arena.map_vmo(R, 0, 1, &window, 0).succeeds();
        is_rtc(arena.page(0));
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn C267_snapshot_of_physical_memory() {
        let vmo = rtc();
        for kind in crate::children::SNAPSHOTS {
            vmo.create_child(kind, 0, PAGE_SIZE).fails_with(Status::NOT_SUPPORTED);
        }
        vmo.create_reference().fails_with(Status::NOT_SUPPORTED);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn G206_operations_on_physical_memory() {
        let vmo = rtc();
        for op in [VmoOp::Commit, VmoOp::Decommit, VmoOp::Zero, VmoOp::CacheSync, VmoOp::CacheClean] {
            vmo.op_range(op, 0, PAGE_SIZE).fails_with(Status::NOT_SUPPORTED);
        }
        vmo.op_range(VmoOp::Prefetch, 0, PAGE_SIZE).succeeds();
        vmo.op_range(VmoOp::Prefetch, 0, 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        vmo.op_range(VmoOp::DontNeed, 0, PAGE_SIZE).succeeds();
        vmo.set_size_bytes(0).fails_with(Status::UNAVAILABLE);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N41_policy_of_physical_memory() {
        let vmo = rtc();
        assert_eq!(policy(&vmo), CachePolicy::UncachedDevice);
        let arena = Arena::new(1);
        arena.map_vmo(R, 0, 1, &vmo, 0).succeeds();
        vmo.set_cache_policy(CachePolicy::UncachedDevice).succeeds();
        vmo.set_cache_policy(CachePolicy::Uncached).fails_with(Status::BAD_STATE);
        arena.unmap(0, 1).succeeds();
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N42_physical_memory_that_is_not_granted() {
        let resource = Resource::mmio().succeeds();
        let physical = |address, len_bytes| Vmo::create_physical(&resource, address, len_bytes);
        for (address, len_bytes) in [(RTC, 0), (RTC + 8, PAGE_SIZE), (RTC, 8), (RTC, PAGE_SIZE + 1)] {
            physical(address, len_bytes).fails_with(Status::INVALID_ARGS);
        }
        let outside = [
            (RTC - PAGE_SIZE, PAGE_SIZE),
            (RTC, 2 * PAGE_SIZE),
            (RTC + PAGE_SIZE, PAGE_SIZE),
            (0, PAGE_SIZE),
            (abi::RAM_BASE, PAGE_SIZE),
            (0_u64.wrapping_sub(PAGE_SIZE), PAGE_SIZE),
            (RTC, 0_u64.wrapping_sub(PAGE_SIZE)),
        ];
        for (address, len_bytes) in outside {
            physical(address, len_bytes).fails_with(Status::OUT_OF_RANGE);
        }
        let none = Unowned::<Resource>::from_raw(RawHandle::INVALID);
        Vmo::create_physical(&none, RTC, PAGE_SIZE).fails_with(Status::BAD_HANDLE);
        let vmo = empty_vmo(1);
        Vmo::create_physical(&Unowned::<Resource>::of(&vmo), RTC, PAGE_SIZE).fails_with(Status::WRONG_TYPE);
    }

    #[kernel]
    fn N43_no_resource_where_none_is_granted() {
        Resource::mmio().fails_with(Status::NOT_FOUND);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N44_info_of_physical_memory_and_its_resource() {
        let resource = Resource::mmio().succeeds();
        let info = resource.basic_info().succeeds();
        assert_eq!((info.object_type, info.rights), (zx::ObjectType::Resource.into(), Rights::BASIC.bits()));
        let info = rtc().info().succeeds();
        assert_eq!(VmoInfoFlags::from_bits_retain(info.flags), VmoInfoFlags::VIA_HANDLE);
        assert_eq!((info.size_bytes, info.committed_bytes, info.cache_policy), (PAGE_SIZE, 0, 2));
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N45_reading_and_writing_physical_memory_by_calls() {
        let vmo = rtc();
        vmo.read(&mut [0; 4], 0).fails_with(Status::NOT_SUPPORTED);
        vmo.write(&[0; 4], 0).fails_with(Status::NOT_SUPPORTED);
    }

    #[kernel("mmio=0x9010000+0x1000 inspect=on")]
    fn N46_map_range_enters_all_of_physical_memory() {
        let (arena, vmo) = (Arena::new(2), rtc());
        arena.map_vmo(R, 0, 2, &vmo, 0).succeeds();
        arena.op(VmarOp::MapRange, 0, 2).succeeds();
        arena.has_entries("10");
        arena.op(VmarOp::Commit, 0, 1).fails_with(Status::NOT_SUPPORTED);
        arena.op(VmarOp::Decommit, 0, 1).fails_with(Status::NOT_SUPPORTED);
        arena.shows("10");
    }

    #[kernel("inspect=on")]
    fn C370_entries_have_the_permissions_that_are_asked_for() {
        let arena = Arena::new(4);
        let vmo = executable_vmo(4);
        for (page, permissions) in [R, RW, RX, VmOptions::PERMS].into_iter().enumerate() {
            let page = page as u64;
            arena.map_vmo(permissions, page, 1, &vmo, page).succeeds();
            arena.op(VmarOp::Commit, page, 1).succeeds();
            let entry = descriptor(arena.page(page));
            assert!(entry.is_readable(), "page {page}");
            assert_eq!(entry.is_writable(), permissions.contains(VmOptions::PERM_WRITE), "page {page}");
            assert_eq!(entry.is_executable(), permissions.contains(VmOptions::PERM_EXECUTE), "page {page}");
        }
    }

    #[kernel]
    fn N47_snapshot_while_cached_and_policy_after_it_is_gone() {
        let vmo = marked_vmo(1);
        let clone = snapshot(&vmo, 0, 1);
        write_word(&clone, 0, 1);
        drop(clone);
        vmo.set_cache_policy(CachePolicy::WriteCombining).succeeds();
    }
}

/// Where the machine has its real-time clock: a PL031, which nobody else here uses.
const RTC: u64 = 0x901_0000;

/// Returns a window on the real-time clock, which the boot arguments must grant.
pub(super) fn rtc() -> Vmo {
    Vmo::create_physical(&Resource::mmio().succeeds(), RTC, PAGE_SIZE).succeeds()
}

/// Asserts that the real-time clock is at an address, by the low word of its identification: PCellID0 to 3 are 0x0d, 0xf0, 0x05
/// and 0xb1 (DDI 0224, "PrimeCell identification registers"), and loads of eight bytes show two of them.
#[track_caller]
fn is_rtc(address: u64) {
    let (low, high) = (load(address + 0xff0), load(address + 0xff8));
    assert_eq!((low & 0xff, low >> 32 & 0xff, high & 0xff, high >> 32 & 0xff), (0x0d, 0xf0, 0x05, 0xb1));
}

fn set_policy(handle: u64, policy: u64) -> zx::Result<()> {
    hypercall(Call::VmoSetCachePolicy, [handle, policy]).status().ok()
}

fn policy(vmo: &Vmo) -> CachePolicy {
    CachePolicy::try_from(vmo.info().succeeds().cache_policy).expect("there are four policies")
}

/// Returns `MemAttr[3:0]` of an address's entry (DDI 0487, stage 2: bits 5:2).
fn memory_attributes(address: u64) -> u64 {
    let entry = descriptor(address);
    assert!(entry.is_valid());
    entry.0 >> 2 & 0b1111
}
