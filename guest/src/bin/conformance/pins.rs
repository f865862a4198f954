//! Pinned memory. The boot arguments grant a resource, which BTIs are made from.

use crate::arena::{
    Arena, RW, committed_pages, contiguous_vmo, empty_vmo, holds, mark, marked_vmo, physical_page, populated_bytes,
    resizable_vmo, slice, snapshot, vmo_without, write_word,
};
use crate::case::cases;
use crate::check::{Check, load};
use abi::Call;
use zx::sys::hypercall;
use zx::{
    Bti, CachePolicy, Object, ObjectType, PAGE_SIZE, PinOptions, Pmt, RawHandle, Resource, Result, Rights, Status,
    Unowned, Vmo, VmoOp,
};

cases! {
    #[kernel("mmio=0x9010000+0x1000")]
    fn C212_policy_of_what_is_pinned() {
        let (bti, vmo) = (bti(), contiguous_vmo(4 * PAGE_SIZE));
        let pinned = pin(&bti, &vmo, 0, 1).succeeds();
        vmo.set_cache_policy(CachePolicy::Uncached).fails_with(Status::BAD_STATE);
        pinned.unpin().succeeds();
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn C213_shrinking_below_what_is_pinned() {
        let (bti, vmo) = (bti(), resizable_vmo(4));
        let pinned = pin(&bti, &vmo, 2, 1).succeeds();
        vmo.set_size_bytes(2 * PAGE_SIZE).fails_with(Status::BAD_STATE);
        assert_eq!(vmo.size_bytes(), Ok(4 * PAGE_SIZE));
        holds(&vmo, &[mark(0), mark(1), mark(2), mark(3)]);
        vmo.set_size_bytes(3 * PAGE_SIZE).succeeds();
        pinned.unpin().succeeds();
        vmo.set_size_bytes(0).succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn G214_decommit_of_what_is_pinned() {
        let (bti, vmo) = (bti(), marked_vmo(3));
        let pinned = pin(&bti, &vmo, 1, 1).succeeds();
        vmo.op_range(VmoOp::Decommit, 0, 3 * PAGE_SIZE).fails_with(Status::BAD_STATE);
        holds(&vmo, &[mark(0), mark(1), mark(2)]);
        vmo.op_range(VmoOp::Decommit, 2 * PAGE_SIZE, PAGE_SIZE).succeeds();
        pinned.unpin().succeeds();
        vmo.op_range(VmoOp::Decommit, 0, 3 * PAGE_SIZE).succeeds();
        holds(&vmo, &[0, 0, 0]);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn C265_snapshot_of_what_is_pinned() {
        let (bti, vmo) = (bti(), marked_vmo(2));
        let pinned = pin(&bti, &vmo, 1, 1).succeeds();
        for kind in crate::children::SNAPSHOTS {
            vmo.create_child(kind, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        }
        pinned.unpin().succeeds();
        holds(&snapshot(&vmo, 0, 2), &[mark(0), mark(1)]);
    }

    #[kernel("mmio=0x9010000+0x1000 inspect=on")]
    fn N50_pin_commits_and_tells_the_addresses() {
        let (bti, arena, vmo) = (bti(), Arena::new(4), empty_vmo(4));
        arena.map_vmo(RW, 0, 4, &vmo, 0).succeeds();
        let mut addresses = [0; 2];
        let options = PinOptions::PERM_READ | PinOptions::PERM_WRITE;
        let pinned = bti.pin(options, &vmo, PAGE_SIZE, 2 * PAGE_SIZE, &mut addresses).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
        for (address, page) in addresses.into_iter().zip(1..) {
            load(arena.page(page));
            assert_eq!(address, physical_page(arena.page(page)) * PAGE_SIZE);
        }
        pinned.unpin().succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N51_contiguous_pin_tells_one_address() {
        let (bti, vmo) = (bti(), contiguous_vmo(4 * PAGE_SIZE));
        let (mut one, mut all) = ([0; 1], [0; 4]);
        let options = PinOptions::PERM_READ | PinOptions::CONTIGUOUS;
        let _first = bti.pin(options, &vmo, PAGE_SIZE, 3 * PAGE_SIZE, &mut one).succeeds();
        let _second = bti.pin(PinOptions::PERM_READ, &vmo, 0, 4 * PAGE_SIZE, &mut all).succeeds();
        assert_eq!(one[0], all[0] + PAGE_SIZE);
        (1..4).for_each(|page| assert_eq!(all[page], all[0] + page as u64 * PAGE_SIZE));
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N52_pins_that_are_refused() {
        let (bti, vmo) = (bti(), empty_vmo(2));
        let mut addresses = [0; 2];
        let mut refused = |options, offset, len_bytes, count: usize, status| {
            bti.pin(options, &vmo, offset, len_bytes, &mut addresses[..count]).fails_with(status);
        };
        let read = PinOptions::PERM_READ;
        refused(PinOptions::empty(), 0, PAGE_SIZE, 1, Status::INVALID_ARGS);
        refused(read | PinOptions::from_bits_retain(1 << 5), 0, PAGE_SIZE, 1, Status::INVALID_ARGS);
        refused(read | PinOptions::COMPRESS | PinOptions::CONTIGUOUS, 0, PAGE_SIZE, 1, Status::INVALID_ARGS);
        refused(read | PinOptions::CONTIGUOUS, 0, PAGE_SIZE, 1, Status::INVALID_ARGS);
        refused(read, 8, PAGE_SIZE, 1, Status::INVALID_ARGS);
        refused(read, 0, 8, 1, Status::INVALID_ARGS);
        refused(read, 0, 0, 0, Status::INVALID_ARGS);
        refused(read, 0, PAGE_SIZE, 2, Status::INVALID_ARGS);
        refused(read, 0, 2 * PAGE_SIZE, 1, Status::INVALID_ARGS);
        refused(read, PAGE_SIZE, 2 * PAGE_SIZE, 2, Status::OUT_OF_RANGE);
        assert_eq!(addresses, [0; 2]);
        vmo.op_range(VmoOp::Decommit, 0, 2 * PAGE_SIZE).succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N53_pins_need_their_rights() {
        let (bti, vmo) = (bti(), empty_vmo(1));
        let by = |bti: &Bti, options, vmo: &Vmo| bti.pin(options, vmo, 0, PAGE_SIZE, &mut [0]);
        let weak = bti.duplicate(Rights::READ | Rights::WRITE).succeeds();
        by(&weak, PinOptions::PERM_READ, &vmo).fails_with(Status::ACCESS_DENIED);
        for (options, lacking) in [
            (PinOptions::PERM_READ, Rights::MAP),
            (PinOptions::PERM_READ, Rights::READ),
            (PinOptions::PERM_EXECUTE, Rights::READ),
            (PinOptions::PERM_WRITE, Rights::WRITE),
        ] {
            by(&bti, options, &vmo_without(&vmo, lacking)).fails_with(Status::ACCESS_DENIED);
        }
        by(&bti, PinOptions::PERM_READ, &vmo_without(&vmo, Rights::WRITE)).succeeds().unpin().succeeds();
        by(&Unowned::of(&vmo), PinOptions::PERM_READ, &vmo).fails_with(Status::WRONG_TYPE);
        by(&Unowned::from_raw(RawHandle::INVALID), PinOptions::PERM_READ, &vmo).fails_with(Status::BAD_HANDLE);
        by(&bti, PinOptions::PERM_READ, &Unowned::of(&bti)).fails_with(Status::WRONG_TYPE);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N54_closing_the_token_ends_the_pin() {
        let (bti, vmo) = (bti(), marked_vmo(1));
        drop(pin(&bti, &vmo, 0, 1).succeeds());
        vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
        let (first, second) = (pin(&bti, &vmo, 0, 1).succeeds(), pin(&bti, &vmo, 0, 1).succeeds());
        drop(first);
        vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        drop(bti);
        vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
        drop(second);
        vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N55_pin_keeps_a_closed_child_a_child() {
        let (bti, parent) = (bti(), marked_vmo(1));
        let child = snapshot(&parent, 0, 1);
        let pinned = pin(&bti, &child, 0, 1).succeeds();
        drop(child);
        assert_eq!(parent.info().succeeds().num_children, 1);
        pinned.unpin().succeeds();
        assert_eq!(parent.info().succeeds().num_children, 0);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N56_pinned_page_is_zeroed_in_its_place() {
        let (bti, vmo) = (bti(), marked_vmo(1));
        let (mut before, mut after) = ([0], [0]);
        let _first = bti.pin(PinOptions::PERM_READ, &vmo, 0, PAGE_SIZE, &mut before).succeeds();
        vmo.op_range(VmoOp::Zero, 0, PAGE_SIZE).succeeds();
        holds(&vmo, &[0]);
        assert_eq!(populated_bytes(&vmo), PAGE_SIZE);
        let _second = bti.pin(PinOptions::PERM_READ, &vmo, 0, PAGE_SIZE, &mut after).succeeds();
        assert_eq!(before, after);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N57_pin_of_shared_pages_takes_copies() {
        let (bti, parent) = (bti(), marked_vmo(1));
        let clone = snapshot(&parent, 0, 1);
        let _pinned = pin(&bti, &clone, 0, 1).succeeds();
        assert_eq!((populated_bytes(&parent), populated_bytes(&clone)), (PAGE_SIZE, PAGE_SIZE));
        write_word(&parent, 0, 5);
        holds(&clone, &[mark(0)]);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N58_pin_of_a_slice_holds_its_parents_pages() {
        let (bti, parent) = (bti(), marked_vmo(3));
        let pinned = pin(&bti, &slice(&parent, 1, 1), 0, 1).succeeds();
        parent.op_range(VmoOp::Decommit, PAGE_SIZE, PAGE_SIZE).fails_with(Status::BAD_STATE);
        parent.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
        pinned.unpin().succeeds();
        parent.op_range(VmoOp::Decommit, PAGE_SIZE, PAGE_SIZE).succeeds();
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N59_tokens_and_initiators() {
        let (bti, vmo) = (bti(), empty_vmo(1));
        assert_eq!(bti.basic_info().succeeds().object_type, ObjectType::Bti.into());
        let pinned = pin(&bti, &vmo, 0, 1).succeeds();
        let info = pinned.basic_info().succeeds();
        assert_eq!((info.object_type, info.rights), (ObjectType::Pmt.into(), (Rights::TRANSFER | Rights::INSPECT).bits()));
        pinned.duplicate(Rights::SAME_RIGHTS).fails_with(Status::ACCESS_DENIED);
        hypercall(Call::PmtUnpin, [vmo.register()]).ok().fails_with(Status::WRONG_TYPE);
        hypercall(Call::PmtUnpin, [0]).ok().fails_with(Status::BAD_HANDLE);
        bti.name().fails_with(Status::NOT_SUPPORTED);
        Bti::create(&Unowned::of(&bti)).fails_with(Status::WRONG_TYPE);
        Bti::create(&Unowned::from_raw(RawHandle::INVALID)).fails_with(Status::BAD_HANDLE);
    }

    #[kernel("mmio=0x9010000+0x1000")]
    fn N60_unmapping_and_protecting_leave_a_pin_alone() {
        let (bti, arena) = (bti(), Arena::new(1));
        let vmo = arena.map(0, 1);
        let _pinned = pin(&bti, &vmo, 0, 1).succeeds();
        arena.unmap(0, 1).succeeds();
        holds(&vmo, &[mark(0)]);
        vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).fails_with(Status::BAD_STATE);
    }
}

fn bti() -> Bti {
    Bti::create(&Resource::mmio().succeeds()).succeeds()
}

/// Pins up to four pages for reading.
fn pin(bti: &Bti, vmo: &Vmo, page: u64, page_count: u64) -> Result<Pmt> {
    let mut addresses = [0; 4];
    let (offset, len_bytes) = (page * PAGE_SIZE, page_count * PAGE_SIZE);
    bti.pin(PinOptions::PERM_READ, vmo, offset, len_bytes, &mut addresses[..page_count as usize])
}
