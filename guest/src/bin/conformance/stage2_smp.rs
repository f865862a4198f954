//! A change to a part of a leaf is nothing to who uses the rest of it: a second vCPU reads and writes the neighbours of all that
//! is split, merged, grouped and protected, and sees neither an abort nor another value. And what is taken away from a part of a
//! block is gone at once, as it is for pages. These cases need a machine with two CPUs.

use crate::arena::{Arena, BLOCK, GROUP, R, RW, RWX, blocks, mark, walk};
use crate::case::cases;
use crate::check::{Check, load};
use crate::smp::{ends_at_once, load_forever};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guest::{probe, smp};
use zx::{PAGE_SIZE, VmOptions, VmarOp, Vmo};

cases! {
    #[kernel("smp=2 inspect=on")]
    fn S2_20_neighbours_of_what_changes_are_untouched() {
        neighbours_are_untouched();
    }

    #[kernel("smp=2 inspect=on bbm=0")]
    fn S2_20_neighbours_of_what_changes_are_untouched_where_entries_are_broken_first() {
        neighbours_are_untouched();
    }

    #[kernel("smp=2 inspect=on bbm=1")]
    fn S2_20_neighbours_of_what_changes_are_untouched_where_blocks_are_made_uncacheable_first() {
        neighbours_are_untouched();
    }

    #[kernel("smp=2")]
    fn S2_21_unmapped_page_of_a_block_is_gone_on_another_vcpu_at_once() {
        let (arena, _) = blocks(1);
        ends_at_once(load_forever, || arena.unmap(0, 1).succeeds());
    }

    #[kernel("smp=2")]
    fn S2_21_unmapped_block_is_gone_on_another_vcpu_at_once() {
        let (arena, _) = blocks(1);
        ends_at_once(load_forever, || arena.unmap(0, BLOCK).succeeds());
    }

    #[kernel("smp=2")]
    fn S2_22_no_store_follows_the_protection_of_a_page_of_a_block() {
        no_store_follows_a_protection_of(1);
    }

    #[kernel("smp=2 bbm=0")]
    fn S2_22_no_store_follows_the_protection_of_a_page_of_a_block_where_entries_are_broken_first() {
        no_store_follows_a_protection_of(1);
    }

    #[kernel("smp=2")]
    fn S2_22_no_store_follows_the_protection_of_a_block() {
        no_store_follows_a_protection_of(BLOCK);
    }
}

/// How often everything is changed.
const ROUNDS: u32 = 200;

/// The page of the first block that goes and comes back, and the group of the second one.
const PAGE: u64 = 100;
const GROUP_START: u64 = BLOCK + 2 * GROUP;
/// Where the third block would be there are groups, [`GROUPS`] of them; a page of the second one changes.
const GROUPS_START: u64 = 2 * BLOCK;
const GROUPS: u64 = 4;
const MEMBER: u64 = GROUPS_START + GROUP + 4;

/// The pages that the second vCPU uses: beside those that change, and at the ends of blocks and groups.
const WATCHED: [u64; 16] = [
    0,
    PAGE - 1,
    PAGE + 1,
    7 * GROUP,
    BLOCK - 1,
    BLOCK,
    GROUP_START - 1,
    GROUP_START + GROUP,
    2 * BLOCK - 1,
    GROUPS_START,
    GROUPS_START + GROUP - 1,
    GROUPS_START + GROUP,
    MEMBER - 1,
    MEMBER + 1,
    GROUPS_START + 2 * GROUP - 1,
    GROUPS_START + 2 * GROUP,
];

/// How often the second vCPU has used all of them.
static SWEEPS: AtomicU64 = AtomicU64::new(0);
/// The address at which it found what should not be, and what: a value, or the syndrome of an exception.
static WRONG_ADDRESS: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

fn neighbours_are_untouched() {
    let (arena, vmo) = blocks(3);
    arena.unmap(GROUPS_START + GROUPS * GROUP, BLOCK - GROUPS * GROUP).succeeds();
    smp::start_second(use_neighbours).expect("the machine has a second CPU");
    let mut changes = Changes { arena: &arena, vmo: &vmo, count: 0 };
    for _ in 0..ROUNDS {
        for (page, count) in [(PAGE, 1), (GROUP_START, GROUP), (MEMBER, 1)] {
            changes.unmap_and_map(page, count);
            changes.protect(&[R, RW], page, count);
        }
        changes.protect(&[RWX, RW], 0, GROUPS_START + GROUPS * GROUP);
    }
    for page in [0, PAGE, BLOCK, GROUP_START] {
        assert_eq!(walk(arena.page(page)).level, 2, "what is alike is one block again");
    }
    assert!(walk(arena.page(MEMBER)).descriptor.is_contiguous(), "what is alike is one group again");
}

/// What is done to the arena, step by step.
struct Changes<'a> {
    arena: &'a Arena,
    vmo: &'a Vmo,
    count: u64,
}

impl Changes<'_> {
    /// Unmaps pages, and maps them as they were.
    fn unmap_and_map(&mut self, page: u64, count: u64) {
        self.arena.unmap(page, count).succeeds();
        assert_eq!(walk(self.arena.page(page - 1)).level, 3, "a block that lost a page is none");
        self.step();
        self.arena.map_vmo(RW, page, count, self.vmo, page).succeeds();
        self.arena.op(VmarOp::MapRange, page, count).succeeds();
        self.arena.shows_mark(page, page);
        self.step();
    }

    fn protect(&mut self, permissions: &[VmOptions], page: u64, count: u64) {
        for options in permissions {
            self.arena.vmar.protect(*options, self.arena.page(page), count * PAGE_SIZE).succeeds();
            self.step();
        }
    }

    /// Asserts that the second vCPU has found everything as it should. Before one step of so many that in the course of the rounds
    /// it is each of them, waits until it has used all of its pages as things are.
    #[track_caller]
    fn step(&mut self) {
        const STEPS_OF_A_ROUND: u64 = 14;
        self.count += 1;
        let sweeps = SWEEPS.load(Ordering::Relaxed);
        let wanted = if self.count.is_multiple_of(STEPS_OF_A_ROUND + 1) { sweeps + 2 } else { sweeps };
        loop {
            let address = WRONG_ADDRESS.load(Ordering::Acquire);
            assert!(address == 0, "the second vCPU found {:#x} at {address:#x}", WRONG.load(Ordering::Relaxed));
            if SWEEPS.load(Ordering::Relaxed) >= wanted {
                break;
            }
            spin_loop();
        }
    }
}

/// Sweeps over the neighbours: each begins with its mark, and its second word counts the sweeps.
extern "C" fn use_neighbours() -> ! {
    loop {
        let sweep = SWEEPS.load(Ordering::Relaxed);
        for (page, address) in WATCHED.map(|page| (page, Arena::BASE + page * PAGE_SIZE)) {
            expect(address, probe::load(address), mark(page));
            expect(address + 8, probe::load(address + 8), sweep);
            expect(address + 8, probe::store(address + 8, sweep + 1).map(|()| 0), 0);
        }
        SWEEPS.store(sweep + 1, Ordering::Relaxed);
    }
}

fn expect(address: u64, found: probe::Result<u64>, expected: u64) {
    if found != Ok(expected) {
        WRONG.store(found.unwrap_or_else(|exception| exception.esr), Ordering::Relaxed);
        WRONG_ADDRESS.store(address, Ordering::Release);
        loop {
            spin_loop();
        }
    }
}

/// Whether the second vCPU's store has taken an abort.
static HAS_ENDED: AtomicBool = AtomicBool::new(false);

/// Protects the first pages of a block while the second vCPU stores to the first one; what that holds when the call returns is
/// what it holds from then on.
fn no_store_follows_a_protection_of(page_count: u64) {
    let (arena, _) = blocks(1);
    let first = arena.page(0);
    smp::start_second(store_rising_values).expect("the machine has a second CPU");
    let begun = load(first);
    while load(first) - begun < 1000 {
        spin_loop();
    }
    arena.vmar.protect(R, first, page_count * PAGE_SIZE).succeeds();
    let value = load(first);
    while !HAS_ENDED.load(Ordering::Acquire) {
        assert!(load(first) == value, "a store was made after the call had returned");
    }
    assert!(load(first) == value, "a store was made after the call had returned");
}

extern "C" fn store_rising_values() -> ! {
    let mut value = load(Arena::BASE);
    while probe::store(Arena::BASE, value).is_ok() {
        value += 1;
    }
    HAS_ENDED.store(true, Ordering::Release);
    loop {
        spin_loop();
    }
}
