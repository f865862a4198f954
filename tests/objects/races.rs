//! Two vCPUs that call at the same time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Call, VmOptions, VmarOp, VmoOp, VmoOptions};
use tests::Sim;
use vm::Fault;
use vmsa::{Access, FaultKind, Ipa};

use crate::guest::{Guest, P, PLACED, RW, documented};

const A: u64 = 0x8000_0000;
/// A page in each of many chunks: the decommit takes the VMOs' lock anew for each of them.
const CHUNKS: u64 = 400;
const LEN: u64 = CHUNKS * 512 * P;
const ROUNDS: usize = 20;

/// A VMO never loses sight of a part of a mapping: the machine tells of a frame that is freed while a tree leads there.
#[test]
fn holes_that_are_made_during_a_decommit_hide_no_page_from_it() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(LEN / P));
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            run_on_the_other_cpu(&guest);
            for _ in 0..ROUNDS {
                barrier.wait();
                call(&guest, Call::VmoOpRange, &[vmo, u64::from(u32::from(VmoOp::Decommit)), 0, LEN]);
                barrier.wait();
            }
        });
        for _ in 0..ROUNDS {
            call(&guest, Call::VmarMap, &[root, u64::from((RW | PLACED).bits()), A, vmo, 0, LEN]);
            for chunk in (0..LEN).step_by(512 * P as usize) {
                call(&guest, Call::VmarOpRange, &[root, u64::from(u32::from(VmarOp::Commit)), A + chunk, P]);
            }
            barrier.wait();
            for chunk in (0..LEN).step_by(512 * P as usize) {
                call(&guest, Call::VmarUnmap, &[root, A + chunk + P, P]);
            }
            barrier.wait();
            call(&guest, Call::VmarUnmap, &[root, A, LEN]);
        }
    });
    guest.resume();
}

/// Nor where mappings fuse: here a hole at the low end is filled and made again, so that all that is decommitted is in a mapping
/// that fuses, and in one that is split off, at any time.
#[test]
fn mappings_that_fuse_during_a_decommit_hide_no_page_from_it() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(LEN / P));
    let barrier = Barrier::new(2);
    let placed = u64::from((RW | PLACED).bits());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            run_on_the_other_cpu(&guest);
            for _ in 0..ROUNDS {
                barrier.wait();
                call(&guest, Call::VmoOpRange, &[vmo, u64::from(u32::from(VmoOp::Decommit)), 0, LEN]);
                barrier.wait();
            }
        });
        call(&guest, Call::VmarMap, &[root, placed, A, vmo, 0, LEN]);
        for _ in 0..ROUNDS {
            for chunk in (0..LEN).step_by(512 * P as usize) {
                call(&guest, Call::VmarOpRange, &[root, u64::from(u32::from(VmarOp::Commit)), A + chunk, P]);
            }
            barrier.wait();
            for _ in 0..CHUNKS {
                call(&guest, Call::VmarUnmap, &[root, A + P, P]);
                call(&guest, Call::VmarMap, &[root, placed, A + P, vmo, P, P]);
            }
            barrier.wait();
        }
    });
    assert_eq!(guest.system.object_counts(), (2, 2), "the mapping of the RAM, and one");
    guest.resume();
}

/// A commit that finds the VMO smaller than it was takes no notice of what is gone.
#[test]
fn a_vmo_that_shrinks_during_a_commit_has_what_its_size_says() {
    let guest = documented();
    let size = 4 * 512 * P;
    let vmo = guest.call(Call::VmoCreate, &[size, u64::from(VmoOptions::RESIZABLE.bits())]).unwrap()[0];
    let resize = |pages: u64| call(&guest, Call::VmoSetSize, &[vmo, pages * P]);
    let commit = |len: u64| call(&guest, Call::VmoOpRange, &[vmo, u64::from(u32::from(VmoOp::Commit)), 0, len]);
    std::thread::scope(|scope| {
        let resizes = scope.spawn(|| {
            run_on_the_other_cpu(&guest);
            for _ in 0..200 * ROUNDS {
                resize(size / P);
                resize(300);
            }
        });
        while !resizes.is_finished() {
            commit(size);
        }
    });
    guest.resume();
    resize(700);
    commit(700 * P);
    assert_eq!(guest.committed_pages(vmo), 700);
}

/// A range that is overwritten shows the old or the new to another vCPU, at every time.
#[test]
fn what_is_overwritten_is_never_seen_empty() {
    let guest = documented();
    let (root, pages) = (guest.root(), 8);
    let vmos = [guest.vmo(pages), guest.vmo(pages)];
    guest.map(root, A, vmos[0], pages);
    let is_done = AtomicBool::new(false);
    let aborts = std::thread::scope(|scope| {
        let toucher = scope.spawn(|| {
            run_on_the_other_cpu(&guest);
            let accesses = [Access::Read, Access::Write];
            let mut aborts = 0;
            for (round, access) in (0..).zip(accesses.into_iter().cycle()) {
                // The accesses end after the overwriting does, so that all of that is seen.
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                let ipa = Ipa(A + round % pages * P);
                let outcome = guest.system.fault(guest.id, ipa, access, FaultKind::Translation);
                aborts += u32::from(outcome == Fault::Abort);
            }
            aborts
        });
        for round in 0..500 * ROUNDS {
            let options = u64::from((RW | VmOptions::SPECIFIC_OVERWRITE).bits());
            // The whole of what is there, its middle, or one end.
            let (first, count) = [(0, pages), (2, 3), (0, 3), (6, 2)][round % 4];
            call(&guest, Call::VmarMap, &[root, options, A + first * P, vmos[round / 4 % 2], first * P, count * P]);
        }
        is_done.store(true, Ordering::Relaxed);
        toucher.join().expect("the other vCPU goes on")
    });
    assert_eq!(aborts, 0);
    assert!((0..pages).all(|page| guest.load(A + page * P).is_some()));
}

/// Makes this thread the other CPU, which has the VM loaded as the first one has.
fn run_on_the_other_cpu(guest: &Guest) {
    Sim::run_on(1);
    guest.resume();
}

/// Calls, and leaves what it comes to to the end: a thread that stops would keep the other waiting.
fn call(guest: &Guest, call: Call, values: &[u64]) {
    let mut args = [0; 8];
    args[..values.len()].copy_from_slice(values);
    let _ = guest.system.call(guest.id, call, &mut args);
}
