//! `vmo_op_range`.

use crate::arena::{Arena, RW, committed_pages, mark, marked_vmo, read_word, vmo_without};
use crate::case::cases;
use crate::check::{Check, load, load_aborts, reads, store};
use abi::Call;
use zx::sys::hypercall;
use zx::{Alignment, Object, PAGE_SIZE, Result, Rights, Status, Vmo, VmoOp, VmoOptions};

cases! {
    #[kernel]
    fn C196_commit_decommit_commit() {
        let vmo = Vmo::create(4 * PAGE_SIZE).succeeds();
        op(&vmo, VmoOp::Commit, 0, 4).succeeds();
        assert_eq!(committed_pages(&vmo), 4);
        op(&vmo, VmoOp::Decommit, 0, 4).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
        op(&vmo, VmoOp::Commit, 1, 2).succeeds();
        assert_eq!((committed_pages(&vmo), read_word(&vmo, 1)), (2, 0));
    }

    #[kernel]
    fn C197_decommit_under_three_mappings() {
        let arena = Arena::new(12);
        let vmo = marked_vmo(2);
        arena.map_vmo(RW, 0, 2, &vmo, 0).succeeds();
        arena.map_vmo(RW, 4, 1, &vmo, 1).succeeds();
        arena.map_vmo(RW, 8, 2, &vmo, 2).succeeds();
        arena.shows("1100 1000 0000");
        op(&vmo, VmoOp::Decommit, 0, 1).succeeds();
        reads(arena.page(0), 0);
        arena.shows_mark(1, 1);
        arena.shows_mark(4, 1);
        load_aborts(arena.page(8));
    }

    #[kernel]
    fn C199_commit_that_overflows() {
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        let len_bytes = 0_u64.wrapping_sub(PAGE_SIZE);
        vmo.op_range(VmoOp::Commit, PAGE_SIZE, len_bytes).fails_with(Status::OUT_OF_RANGE);
        op(&vmo, VmoOp::Commit, 1, 2).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn C205_cache_operations() {
        let vmo = marked_vmo(2);
        for cache_op in CACHE_OPS {
            op(&vmo, cache_op, 0, 2).succeeds();
            vmo.op_range(cache_op, 8, 16).succeeds();
            op(&vmo, cache_op, 0, 0).fails_with(Status::INVALID_ARGS);
            op(&vmo, cache_op, 1, 2).fails_with(Status::OUT_OF_RANGE);
        }
        assert_eq!(read_word(&vmo, 0), mark(0));
    }

    #[kernel]
    fn C207_cache_operations_that_overflow() {
        let vmo = marked_vmo(1);
        for cache_op in CACHE_OPS {
            vmo.op_range(cache_op, 8, u64::MAX).fails_with(Status::OUT_OF_RANGE);
        }
    }

    #[kernel]
    fn C208_misaligned_decommit() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        vmo.op_range(VmoOp::Decommit, 0x10, 0x100).fails_with(Status::INVALID_ARGS);
    }

    #[kernel]
    fn C209_misaligned_commit_is_rounded_outward() {
        let vmo = Vmo::create(3 * PAGE_SIZE).succeeds();
        vmo.op_range(VmoOp::Commit, 0x10, 0x100).succeeds();
        assert_eq!(committed_pages(&vmo), 1);
        vmo.op_range(VmoOp::Commit, PAGE_SIZE - 1, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn C220_locks_of_a_discardable_vmo() {
        let vmo = Vmo::create_with_options(VmoOptions::DISCARDABLE, PAGE_SIZE).succeeds();
        lock(&vmo, VmoOp::Lock, PAGE_SIZE).succeeds();
        op(&vmo, VmoOp::TryLock, 0, 1).succeeds();
        op(&vmo, VmoOp::Unlock, 0, 1).succeeds();
        op(&vmo, VmoOp::Unlock, 0, 1).succeeds();
        op(&vmo, VmoOp::Unlock, 0, 1).fails_with(Status::BAD_STATE);
    }

    #[kernel]
    fn C224_locks_of_more_or_less_than_the_vmo() {
        let vmo = Vmo::create_with_options(VmoOptions::DISCARDABLE, PAGE_SIZE).succeeds();
        lock(&vmo, VmoOp::Lock, 2 * PAGE_SIZE).fails_with(Status::OUT_OF_RANGE);
        op(&vmo, VmoOp::TryLock, 0, 2).fails_with(Status::OUT_OF_RANGE);
        op(&vmo, VmoOp::Unlock, 0, 2).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn C228_prefetch() {
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        op(&vmo, VmoOp::Prefetch, 0, 0).succeeds();
        op(&vmo, VmoOp::Prefetch, 0, 2).succeeds();
        vmo.op_range(VmoOp::Prefetch, 0x10, 0x100).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn C229_prefetch_past_the_end() {
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        op(&vmo, VmoOp::Prefetch, 0, 3).fails_with(Status::OUT_OF_RANGE);
        op(&vmo, VmoOp::Prefetch, 3, 0).fails_with(Status::OUT_OF_RANGE);
    }

    #[kernel]
    fn C243_zero_of_part_of_a_page_and_across_pages() {
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        vmo.write(&[0xff; 64], PAGE_SIZE - 32).succeeds();
        vmo.op_range(VmoOp::Zero, PAGE_SIZE - 16, 32).succeeds();
        let mut bytes = [0; 64];
        vmo.read(&mut bytes, PAGE_SIZE - 32).succeeds();
        let expected: [u8; 64] = core::array::from_fn(|i| if (16..48).contains(&i) { 0 } else { 0xff });
        assert_eq!(bytes, expected);
    }

    #[kernel]
    fn C244_zero_of_what_is_not_committed() {
        let vmo = Vmo::create(2 * PAGE_SIZE).succeeds();
        op(&vmo, VmoOp::Zero, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 0);
    }

    #[kernel]
    fn C245_zero_of_the_middle_gives_its_page_back() {
        let vmo = marked_vmo(3);
        op(&vmo, VmoOp::Zero, 1, 1).succeeds();
        assert_eq!((read_word(&vmo, 0), read_word(&vmo, 1), read_word(&vmo, 2)), (mark(0), 0, mark(2)));
        assert_eq!(vmo.info().succeeds().populated_bytes, 2 * PAGE_SIZE);
    }

    #[kernel]
    fn C315_hints_do_nothing_to_an_anonymous_vmo() {
        let vmo = marked_vmo(1);
        for hint in [VmoOp::DontNeed, VmoOp::AlwaysNeed] {
            op(&vmo, hint, 0, 1).succeeds();
            op(&vmo, hint, 0, 9).succeeds();
        }
        assert_eq!((committed_pages(&vmo), read_word(&vmo, 0)), (1, mark(0)));
    }

    #[kernel]
    fn W10_unknown_ops() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        for number in [0, 5, 15, u32::MAX.into()] {
            let arguments = [vmo.register(), number, 0, PAGE_SIZE];
            hypercall(Call::VmoOpRange, arguments).ok().fails_with(Status::INVALID_ARGS);
        }
    }

    #[kernel]
    fn W11_ops_need_their_rights() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let (no_read, no_write) = (vmo_without(&vmo, Rights::READ), vmo_without(&vmo, Rights::WRITE));
        for writing in [VmoOp::Commit, VmoOp::Decommit, VmoOp::Zero] {
            op(&no_write, writing, 0, 1).fails_with(Status::ACCESS_DENIED);
            op(&no_read, writing, 0, 1).succeeds();
        }
        for reading in [VmoOp::CacheSync, VmoOp::CacheClean, VmoOp::CacheCleanInvalidate, VmoOp::Prefetch] {
            op(&no_read, reading, 0, 1).fails_with(Status::ACCESS_DENIED);
            op(&no_write, reading, 0, 1).succeeds();
        }
        let neither = vmo_without(&vmo, Rights::READ | Rights::WRITE);
        for hint in [VmoOp::DontNeed, VmoOp::AlwaysNeed] {
            op(&neither, hint, 0, 1).succeeds();
        }
    }

    #[kernel]
    fn W12_cache_invalidate_is_not_offered() {
        let vmo = vmo_without(&Vmo::create(PAGE_SIZE).succeeds(), Rights::WRITE);
        op(&vmo, VmoOp::CacheInvalidate, 0, 1).fails_with(Status::NOT_SUPPORTED);
    }

    #[kernel]
    fn W13_locks_of_what_is_not_discardable() {
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        for lock_op in [VmoOp::TryLock, VmoOp::Unlock] {
            op(&vmo, lock_op, 0, 1).fails_with(Status::NOT_SUPPORTED);
        }
    }

    #[kernel]
    fn W14_decommit_of_a_contiguous_vmo() {
        let vmo = Vmo::create_contiguous(2 * PAGE_SIZE, Alignment::PAGE).succeeds();
        op(&vmo, VmoOp::Decommit, 0, 2).fails_with(Status::NOT_SUPPORTED);
        op(&vmo, VmoOp::Commit, 0, 2).succeeds();
        assert_eq!(committed_pages(&vmo), 2);
    }

    #[kernel]
    fn W15_decommit_past_the_end() {
        let vmo = marked_vmo(2);
        op(&vmo, VmoOp::Decommit, 1, 2).fails_with(Status::OUT_OF_RANGE);
        op(&vmo, VmoOp::Decommit, 2, 0).succeeds();
        op(&vmo, VmoOp::Zero, 1, 2).fails_with(Status::OUT_OF_RANGE);
        assert_eq!(read_word(&vmo, 1), mark(1));
    }

    #[kernel]
    fn W16_zero_shows_in_mappings_at_once() {
        let arena = Arena::new(2);
        let vmo = arena.map(0, 2);
        arena.shows("11");
        op(&vmo, VmoOp::Zero, 0, 1).succeeds();
        reads(arena.page(0), 0);
        arena.shows_mark(1, 1);
        store(arena.page(0), 3);
        assert_eq!((read_word(&vmo, 0), load(arena.page(0))), (3, 3));
    }

    #[kernel]
    fn W17_ram_can_be_decommitted() {
        let ram = Vmo::ram().succeeds();
        let (offset, address) = (32 << 20, abi::RAM_BASE + (32 << 20));
        store(address, 5);
        ram.op_range(VmoOp::Decommit, offset, PAGE_SIZE).succeeds();
        reads(address, 0);
        store(address, 6);
        reads(address, 6);
    }
}

/// The operations on caches that need READ, and so never lose a write.
const CACHE_OPS: [VmoOp; 3] = [VmoOp::CacheSync, VmoOp::CacheClean, VmoOp::CacheCleanInvalidate];

fn op(vmo: &Vmo, op: VmoOp, page: u64, page_count: u64) -> Result<()> {
    vmo.op_range(op, page * PAGE_SIZE, page_count * PAGE_SIZE)
}

/// Locks a VMO, with a buffer of 32 bytes for the state of the lock.
fn lock(vmo: &Vmo, op: VmoOp, len_bytes: u64) -> Result<()> {
    let mut state = [0_u64; 4];
    let buffer = (&raw mut state).expose_provenance() as u64;
    let arguments = [vmo.register(), op as u64, 0, len_bytes, buffer, size_of_val(&state) as u64];
    hypercall(Call::VmoOpRange, arguments).status().ok()
}
