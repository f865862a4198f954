//! Two vCPUs at the same memory.

use crate::arena::{Arena, RW, empty_vmo, holds, mark, marked_vmo, read_word, snapshot};
use crate::case::cases;
use crate::check::{Check, reads};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use guest::{probe, smp};
use zx::{CachePolicy, Object, PAGE_SIZE, RawHandle, Signals, Status, Unowned, Vmar, Vmo, VmoOp, Waited};

cases! {
    #[kernel("smp=2")]
    fn C175_decommit_while_another_vcpu_writes() {
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        start(store_its_round);
        for _ in 0..500 {
            vmo.op_range(VmoOp::Decommit, 0, PAGE_SIZE).succeeds();
            let value = read_word(&vmo, 0);
            assert!(value == 0 || value >> 32 == STORED >> 32, "{value:#x}");
        }
        stop();
        crate::check::store(arena.page(0), 5);
        assert_eq!(read_word(&vmo, 0), 5);
    }

    #[kernel("smp=2")]
    fn C176_reads_of_a_vmo_by_two_vcpus() {
        let vmo = marked_vmo(4);
        SHARED.store(vmo.raw().0, Ordering::Relaxed);
        start(read_its_pages);
        for _ in 0..500 {
            holds(&vmo, &[mark(0), mark(1), mark(2), mark(3)]);
        }
        stop();
        assert_eq!(WRONG.load(Ordering::Relaxed), 0);
    }

    #[kernel("smp=2")]
    fn C225_policy_while_another_vcpu_maps() {
        let arena = Arena::new(1);
        let vmo = empty_vmo(1);
        SHARED.store(vmo.raw().0, Ordering::Relaxed);
        SHARED_VMAR.store(arena.vmar.raw().0, Ordering::Relaxed);
        start(map_and_unmap);
        for round in 0..500 {
            let policy = if round % 2 == 0 { CachePolicy::Uncached } else { CachePolicy::Cached };
            match vmo.set_cache_policy(policy) {
                Ok(()) | Err(Status::BAD_STATE) => {}
                Err(status) => panic!("expected OK or BAD_STATE, got {status:?}"),
            }
        }
        stop();
        assert_eq!(WRONG.load(Ordering::Relaxed), 0, "of the other vCPU's calls");
        vmo.set_cache_policy(CachePolicy::Uncached).succeeds();
        arena.map_vmo(RW, 0, 1, &vmo, 0).succeeds();
        vmo.set_cache_policy(CachePolicy::Cached).fails_with(Status::BAD_STATE);
    }

    #[kernel("smp=2")]
    fn N80_snapshots_while_another_vcpu_writes_are_each_of_a_moment() {
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        crate::check::store(arena.page(0), STORED);
        start(store_its_round);
        let mut last = STORED;
        for _ in 0..300 {
            let clone = snapshot(&vmo, 0, 1);
            let value = read_word(&clone, 0);
            assert!(value >= last, "{value:#x} after {last:#x}");
            assert_eq!(read_word(&clone, 0), value);
            last = value;
        }
        stop();
        reads(arena.page(0), STORED + ROUNDS.load(Ordering::Relaxed) - 1);
    }
}

/// Closes the child of a VMO on the second vCPU while this one waits for that.
pub(super) fn closes_a_child_while_this_vcpu_waits() {
    let vmo = marked_vmo(1);
    SHARED.store(snapshot(&vmo, 0, 1).into_raw().0, Ordering::Relaxed);
    smp::start_second(close_after_a_while).expect("the machine has a second CPU");
    let waited = vmo.wait_one(Signals::VMO_ZERO_CHILDREN, i64::MAX as u64);
    assert_eq!(waited, Waited::Asserted(Signals::VMO_ZERO_CHILDREN));
    assert!(IS_DONE.load(Ordering::Acquire), "the wait ended before the child was closed");
}

/// What the second vCPU stores has this above the number of its round.
const STORED: u64 = 0x5709_ed00_0000_0000;

/// The VMO that both vCPUs work with, and the VMAR.
static SHARED: AtomicU32 = AtomicU32::new(0);
static SHARED_VMAR: AtomicU32 = AtomicU32::new(0);
/// How often the second vCPU has gone round.
static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// How often it found what should not be.
static WRONG: AtomicU64 = AtomicU64::new(0);
static IS_TO_STOP: AtomicBool = AtomicBool::new(false);
static IS_DONE: AtomicBool = AtomicBool::new(false);

/// Starts the second vCPU, and waits until it is at work.
fn start(main: extern "C" fn() -> !) {
    smp::start_second(main).expect("the machine has a second CPU");
    while ROUNDS.load(Ordering::Relaxed) < 3 {
        spin_loop();
    }
}

fn stop() {
    IS_TO_STOP.store(true, Ordering::Relaxed);
    while !IS_DONE.load(Ordering::Acquire) {
        spin_loop();
    }
}

/// Goes round until it is told to stop. A round returns whether all was as it should be.
fn rounds(mut round: impl FnMut(u64) -> bool) -> ! {
    while !IS_TO_STOP.load(Ordering::Relaxed) {
        let number = ROUNDS.load(Ordering::Relaxed);
        if !round(number) {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
        ROUNDS.store(number + 1, Ordering::Relaxed);
    }
    IS_DONE.store(true, Ordering::Release);
    loop {
        spin_loop();
    }
}

extern "C" fn store_its_round() -> ! {
    rounds(|number| probe::store(Arena::BASE, STORED + number).is_ok())
}

extern "C" fn read_its_pages() -> ! {
    let vmo = Unowned::<Vmo>::from_raw(RawHandle(SHARED.load(Ordering::Relaxed)));
    rounds(|number| {
        let (page, mut word) = (number % 4, [0; 8]);
        vmo.read(&mut word, page * PAGE_SIZE).is_ok() && u64::from_le_bytes(word) == mark(page)
    })
}

extern "C" fn map_and_unmap() -> ! {
    let vmo = Unowned::<Vmo>::from_raw(RawHandle(SHARED.load(Ordering::Relaxed)));
    let vmar = Unowned::<Vmar>::from_raw(RawHandle(SHARED_VMAR.load(Ordering::Relaxed)));
    rounds(|_| {
        let Ok(address) = vmar.map(RW, 0, &vmo, 0, PAGE_SIZE) else { return false };
        vmar.unmap(address, PAGE_SIZE).is_ok()
    })
}

extern "C" fn close_after_a_while() -> ! {
    let child = Vmo::from_raw(RawHandle(SHARED.load(Ordering::Relaxed)));
    for _ in 0..100_000 {
        spin_loop();
    }
    IS_DONE.store(true, Ordering::Release);
    drop(child);
    loop {
        spin_loop();
    }
}
