//! What is taken away is gone on every vCPU. These cases need a machine with two CPUs, and say so by `smp=2`.

use crate::arena::{Arena, R};
use crate::case::cases;
use crate::check::Check;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guest::{probe, smp};
use zx::{PAGE_SIZE, VmarOp};

cases! {
    #[kernel("smp=2")]
    fn T10_unmapped_page_is_gone_on_another_vcpu_at_once() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        ends_at_once(load_forever, || arena.unmap(0, 1).succeeds());
    }

    #[kernel("smp=2")]
    fn T10_protect_to_read_only_is_effective_on_another_vcpu_at_once() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        ends_at_once(store_forever, || arena.vmar.protect(R, arena.page(0), PAGE_SIZE).succeeds());
    }

    #[kernel("smp=2")]
    fn T10_decommitted_page_reads_zero_on_another_vcpu_at_once() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        ends_at_once(load_until_zero, || arena.op(VmarOp::Decommit, 0, 1).succeeds());
    }
}

/// How many accesses the second vCPU has made.
static ACCESSES: AtomicU64 = AtomicU64::new(0);

/// Whether the second vCPU has seen the change.
static IS_SEEN: AtomicBool = AtomicBool::new(false);

/// Lets the second vCPU make its accesses, changes what they need, and asserts that they end. One may have been made
/// before the change and be counted after it.
pub(super) fn ends_at_once(accesses: extern "C" fn() -> !, change: impl FnOnce()) {
    smp::start_second(accesses).expect("the machine has a second CPU");
    while ACCESSES.load(Ordering::Relaxed) < 1000 {
        spin_loop();
    }
    change();
    let before = ACCESSES.load(Ordering::Relaxed);
    while !IS_SEEN.load(Ordering::Relaxed) {
        let after = ACCESSES.load(Ordering::Relaxed) - before;
        assert!(after <= 1, "{after} accesses were made after the call had returned");
    }
}

/// Loads from the start of the arena until that takes an exception.
pub(super) extern "C" fn load_forever() -> ! {
    repeat(|| probe::load(Arena::BASE).is_ok())
}

extern "C" fn store_forever() -> ! {
    repeat(|| probe::store(Arena::BASE, 1).is_ok())
}

extern "C" fn load_until_zero() -> ! {
    repeat(|| probe::load(Arena::BASE) != Ok(0))
}

/// Makes an access again and again until it tells that it is no longer what it was.
fn repeat(access: fn() -> bool) -> ! {
    while access() {
        ACCESSES.fetch_add(1, Ordering::Relaxed);
    }
    IS_SEEN.store(true, Ordering::Relaxed);
    loop {
        spin_loop();
    }
}
