//! VMOs that are committed in bulk: chunks of 512 frames, the blocks that show them, and parts that are taken back.

use abi::stats::Counter;
use abi::{Call, Status, VmOptions, VmarOp, VmoOp, VmoOptions};
use proptest::prelude::*;

use crate::guest::{Guest, P, PLACED, RW, documented};

const A: u64 = 0x8000_0000;
/// The pages of a chunk.
const N: u64 = 512;
const CHUNK: u64 = N * P;

fn resizable(guest: &Guest, pages: u64) -> u64 {
    guest.call(Call::VmoCreate, &[pages * P, u64::from(VmoOptions::RESIZABLE.bits())]).unwrap()[0]
}

/// Maps a VMO of `pages` pages at A, commits and enters all of it, and writes 1 to the first, 2 to the second page, and so on.
fn committed(guest: &Guest, vmo: u64, pages: u64) {
    let root = guest.root();
    guest.map(root, A, vmo, pages);
    guest.op_range(root, VmarOp::Commit, A, pages * P).unwrap();
    (0..pages).for_each(|page| assert!(guest.store(A + page * P, page + 1)));
}

/// Checks that the pages from `first` to `end` have what [`committed`] wrote.
fn assert_kept(guest: &Guest, first: u64, end: u64) {
    (first..end).for_each(|page| assert_eq!(guest.load(A + page * P), Some(page + 1), "page {page}"));
}

fn leaves(guest: &Guest, addresses: &[u64]) -> Vec<(u64, bool)> {
    addresses.iter().map(|address| guest.walk(*address)).collect()
}

#[test]
fn a_chunk_that_is_committed_at_once_is_one_block() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(3 * N));
    guest.map(root, A, vmo, 3 * N);
    guest.sim().take_tlbis();
    guest.op_range(root, VmarOp::Commit, A + CHUNK - 2 * P, CHUNK + 4 * P).unwrap();
    // Nothing was entered in pages before it was a block.
    assert_eq!(guest.sim().take_tlbis(), []);
    assert_eq!(guest.committed_pages(vmo), N + 4);
    let found = leaves(&guest, &[A + CHUNK - P, A + CHUNK, A + 2 * CHUNK - P, A + 2 * CHUNK]);
    assert_eq!(found, [(3, true), (2, true), (2, true), (3, true)]);
}

#[test]
fn a_chunk_of_which_a_page_is_there_is_committed_in_pages() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(N));
    guest.map(root, A, vmo, N);
    assert!(guest.store(A + 7 * P, 5));
    guest.op_range(root, VmarOp::Commit, A, CHUNK).unwrap();
    assert_eq!((guest.committed_pages(vmo), guest.load(A + 7 * P), guest.load(A + 8 * P)), (N, Some(5), Some(0)));
}

#[test]
fn a_contiguous_vmo_is_shown_in_blocks() {
    let guest = documented();
    let root = guest.root();
    let vmo = guest.call(Call::VmoCreateContiguous, &[2 * CHUNK, 21]).unwrap()[0];
    // Whatever the mapping begins with, what lies alike is a block.
    for (at, offset) in [(A, 0), (A + 8 * CHUNK + P, P)] {
        let options = RW | PLACED | VmOptions::MAP_RANGE;
        guest.try_map(root, options, at, vmo, offset, 2 * CHUNK - offset).unwrap();
    }
    let second = A + 8 * CHUNK;
    let found = leaves(&guest, &[A, A + CHUNK, second + P, second + CHUNK]);
    assert_eq!(found, [(2, true), (2, true), (3, true), (2, true)]);
    assert!(guest.store(A + CHUNK, 8));
    assert_eq!(guest.load(second + CHUNK), Some(8));
}

/// What is longer than a block is entered as a whole: a store a block, and the table for them.
#[test]
fn a_long_run_is_entered_at_once() {
    let guest = Guest::with_memory("inspect=on seed=1", 80 << 20);
    let size = 16 * CHUNK;
    let vmo = guest.call(Call::VmoCreateContiguous, &[size, 25]).unwrap()[0];
    let root = guest.root();
    let before = guest.counter(Counter::Stores);
    guest.try_map(root, RW | PLACED | VmOptions::MAP_RANGE, A, vmo, 0, size).unwrap();
    let stores = guest.counter(Counter::Stores) - before;
    assert!(stores <= 16 + 2, "{stores} stores");
    let hint = |chunk: u64| guest.call(Call::Stage2Walk, &[root, A + chunk * CHUNK]).unwrap()[0] >> 52 & 1;
    assert_eq!([0, 15].map(hint), [1, 1]);
}

#[test]
fn a_chunk_at_an_odd_address_is_shown_in_pages() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(2 * N));
    guest.map(root, A + P, vmo, 2 * N);
    guest.op_range(root, VmarOp::Commit, A + P, 2 * CHUNK).unwrap();
    let found = leaves(&guest, &[A, A + P, A + CHUNK, A + 2 * CHUNK, A + 2 * CHUNK + P]);
    assert_eq!(found, [(3, false), (3, true), (3, true), (3, true), (3, false)]);
}

#[test]
fn a_page_in_the_middle_of_a_chunk_is_taken_back_alone() {
    let guest = documented();
    let vmo = guest.vmo(N);
    committed(&guest, vmo, N);
    guest.vmo_op(vmo, VmoOp::Decommit, 100 * P, P).unwrap();
    assert_eq!(guest.committed_pages(vmo), N - 1);
    assert_eq!(guest.load(A + 100 * P), Some(0));
    assert_kept(&guest, 0, 100);
    assert_kept(&guest, 101, N);
    assert!(guest.store(A + 100 * P, 9));
    assert_eq!(guest.committed_pages(vmo), N);
}

#[test]
fn a_part_of_a_chunk_reads_as_zero_and_the_rest_does_not() {
    let guest = documented();
    let vmo = guest.vmo(2 * N);
    committed(&guest, vmo, 2 * N);
    // Half of page 10, pages 11 to 511, page 512, and the first word of page 513.
    let (from, to) = (10 * P + P / 2, (N + 1) * P + 8);
    guest.vmo_op(vmo, VmoOp::Zero, from, to - from).unwrap();
    assert_kept(&guest, 0, 11);
    assert!((11..N + 2).all(|page| guest.load(A + page * P) == Some(0)));
    assert_kept(&guest, N + 2, 2 * N);
    assert_eq!(guest.committed_pages(vmo), 2 * N - (N - 10));
}

/// Memory that was dealt page by page, and then as a chunk, comes back page by page all the same.
#[test]
fn a_chunk_can_be_dealt_in_either_way_again_and_again() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(N));
    guest.map(root, A, vmo, N);
    let give_back = || (0..N).for_each(|page| guest.op_range(root, VmarOp::Decommit, A + page * 7 % N * P, P).unwrap());
    for _ in 0..16 {
        (0..N).for_each(|page| assert!(guest.store(A + page * P, page)));
        give_back();
        guest.op_range(root, VmarOp::Commit, A, CHUNK).unwrap();
        (0..N).for_each(|page| assert!(guest.store(A + page * P, page + 1)));
        (0..N).for_each(|page| assert_eq!(guest.load(A + page * P), Some(page + 1)));
        give_back();
    }
    assert_eq!(guest.committed_pages(vmo), 0);
}

#[test]
fn shrinking_into_a_chunk_keeps_its_first_pages() {
    let guest = documented();
    let vmo = resizable(&guest, 2 * N);
    committed(&guest, vmo, 2 * N);
    guest.call(Call::VmoSetSize, &[vmo, (N + 44) * P]).unwrap();
    assert_eq!(guest.committed_pages(vmo), N + 44);
    assert_kept(&guest, 0, N + 44);
    assert_eq!([N + 44, 2 * N - 1].map(|page| guest.load(A + page * P)), [None; 2]);
    guest.call(Call::VmoSetSize, &[vmo, 2 * CHUNK]).unwrap();
    assert_eq!([N + 44, 2 * N - 1].map(|page| guest.load(A + page * P)), [Some(0); 2]);
    guest.call(Call::VmoSetSize, &[vmo, 0]).unwrap();
    assert_eq!(guest.committed_pages(vmo), 0);
}

/// What takes a part of a chunk away needs a frame for the bookkeeping of what is left.
#[test]
fn without_memory_to_split_a_chunk_everything_stays() {
    type Operation = fn(&Guest, u64) -> Result<(), Status>;
    // With how many frames left each still fails.
    let operations: [(&str, u64, Operation); 5] = [
        ("the middle", 0, |guest, vmo| guest.vmo_op(vmo, VmoOp::Decommit, 100 * P, P)),
        ("across two", 1, |guest, vmo| guest.vmo_op(vmo, VmoOp::Decommit, P, 2 * CHUNK - 2 * P)),
        ("zero", 0, |guest, vmo| guest.vmo_op(vmo, VmoOp::Zero, 8, 3 * P)),
        ("zero across two", 0, |guest, vmo| guest.vmo_op(vmo, VmoOp::Zero, CHUNK - 8, 3 * P)),
        ("shrink", 0, |guest, vmo| guest.call(Call::VmoSetSize, &[vmo, CHUNK + P]).map(drop)),
    ];
    for (name, left, operation) in operations {
        let guest = Guest::new("inspect=on seed=1 ram=4M quota=5M");
        let vmo = resizable(&guest, 2 * N);
        committed(&guest, vmo, 2 * N);
        guest.committed_pages(vmo);
        assert!(guest.store(A + CHUNK - 8, 99));
        guest.use_up_quota(left);
        assert_eq!(operation(&guest, vmo), Err(Status::NO_MEMORY), "{name}");
        assert_eq!(guest.call(Call::VmoGetSize, &[vmo]).unwrap()[0], 2 * CHUNK, "{name}");
        assert_eq!(guest.committed_pages(vmo), 2 * N, "{name}");
        assert_kept(&guest, 0, 2 * N);
        assert_eq!(guest.load(A + CHUNK - 8), Some(99), "{name}");
        // A whole chunk needs nothing.
        assert_eq!(guest.vmo_op(vmo, VmoOp::Decommit, CHUNK, CHUNK), Ok(()), "{name}");
        assert_eq!(operation(&guest, vmo), Ok(()), "{name}");
    }
}

#[test]
fn a_quota_without_room_for_a_chunk_is_used_in_pages() {
    let guest = Guest::new("inspect=on seed=1 ram=4M quota=1M");
    let (root, vmo) = (guest.root(), guest.vmo(N));
    guest.map(root, A, vmo, N);
    assert!(guest.store(abi::RAM_BASE + P, 0));
    assert_eq!(guest.op_range(root, VmarOp::Commit, A, CHUNK), Err(Status::NO_MEMORY));
    assert!(guest.committed_pages(vmo) > 200);
    assert_eq!(guest.system.frames_held(guest.id), 256);
}

#[test]
fn the_account_is_even_when_everything_is_closed() {
    let guest = documented();
    let round = || {
        let root = guest.root();
        let (paged, shrunk) = (guest.vmo(2 * N), resizable(&guest, N));
        let contiguous = guest.call(Call::VmoCreateContiguous, &[CHUNK, 21]).unwrap()[0];
        committed(&guest, paged, 2 * N);
        guest.vmo_op(paged, VmoOp::Decommit, 5 * P, CHUNK).unwrap();
        guest.vmo_op(shrunk, VmoOp::Commit, 0, CHUNK).unwrap();
        guest.call(Call::VmoSetSize, &[shrunk, 3 * P]).unwrap();
        guest.try_map(root, RW | PLACED | VmOptions::MAP_RANGE, A + 8 * CHUNK, contiguous, 0, CHUNK).unwrap();
        guest.unmap(root, A, 16 * CHUNK).unwrap();
        for handle in [root, paged, shrunk, contiguous] {
            guest.call(Call::HandleClose, &[handle]).unwrap();
        }
        guest.system.frames_held(guest.id)
    };
    // What handles, regions and VMOs are kept in grows, and stays.
    let held = round();
    assert_eq!([round(), round()], [held; 2]);
}

#[derive(Clone, Debug)]
enum Step {
    Commit(u64, u64),
    Enter(u64, u64),
    Decommit(u64, u64),
    Zero(u64, u64),
    Resize(u64),
    Store(u64),
}

/// Numbers of pages of which many are where chunks begin, or near.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => (0u64..4).prop_map(|chunk| chunk * N), 1 => (1u64..4, 0u64..3).prop_map(|(c, d)| c * N - d), 1 => 0u64..3 * N]
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        3 => range().prop_map(|(a, b)| Step::Commit(a, b)),
        2 => range().prop_map(|(a, b)| Step::Enter(a, b)),
        2 => range().prop_map(|(a, b)| Step::Decommit(a, b)),
        1 => range().prop_map(|(a, b)| Step::Zero(a, b)),
        1 => number().prop_map(Step::Resize),
        3 => number().prop_map(Step::Store),
    ]
}

/// A VMO of up to three chunks, and what its pages have: nothing, or a frame with this word.
struct Model {
    guest: Guest,
    root: u64,
    vmo: u64,
    pages: Vec<Option<u64>>,
    stamp: u64,
}

impl Model {
    /// The second mapping shows chunks at an odd address.
    const OTHER: u64 = A + 16 * CHUNK + P;

    fn new(arguments: &str) -> Self {
        let guest = Guest::new(arguments);
        let (root, vmo) = (guest.root(), resizable(&guest, 3 * N));
        guest.map(root, A, vmo, 3 * N);
        guest.try_map(root, RW | PLACED, Self::OTHER, vmo, 0, 3 * CHUNK).unwrap();
        guest.committed_pages(vmo);
        Self { guest, root, vmo, pages: vec![None; 3 * N as usize], stamp: 0 }
    }

    /// Carries a step out; returns its status.
    fn carry_out(&mut self, step: &Step) -> Result<(), Status> {
        let size = self.pages.len() as u64;
        let clip = |first: u64, end: u64| (first.min(size) as usize, end.min(size) as usize);
        let bytes = |range: (usize, usize)| (range.0 as u64 * P, (range.1 - range.0) as u64 * P);
        let (guest, vmo) = (&self.guest, self.vmo);
        match *step {
            Step::Commit(first, end) | Step::Enter(first, end) => {
                let range = clip(first, end);
                let (offset, len) = bytes(range);
                let result = match step {
                    Step::Enter(..) if len > 0 => guest.op_range(self.root, VmarOp::Commit, A + offset, len),
                    _ => guest.vmo_op(vmo, VmoOp::Commit, offset, len),
                };
                if result.is_ok() {
                    self.pages[range.0..range.1].iter_mut().for_each(|page| *page = page.or(Some(0)));
                }
                result
            }
            Step::Decommit(first, end) | Step::Zero(first, end) => {
                let range = clip(first, end);
                let (offset, len) = bytes(range);
                let op = if matches!(step, Step::Zero(..)) { VmoOp::Zero } else { VmoOp::Decommit };
                guest.vmo_op(vmo, op, offset, len)?;
                self.pages[range.0..range.1].fill(None);
                Ok(())
            }
            Step::Resize(pages) => {
                guest.call(Call::VmoSetSize, &[vmo, pages * P])?;
                self.pages.resize(pages as usize, None);
                Ok(())
            }
            Step::Store(page) => {
                self.stamp += 1;
                let at = if self.stamp.is_multiple_of(2) { A } else { Self::OTHER };
                let is_done = guest.store(at + page * P, self.stamp);
                match self.pages.get_mut(page as usize) {
                    Some(page) if is_done => *page = Some(self.stamp),
                    Some(_) => return Err(Status::NO_MEMORY),
                    None => assert!(!is_done, "a store past the end"),
                }
                Ok(())
            }
        }
    }

    /// Checks what a few pages read as, through both mappings, and how many there are.
    fn check(&self, is_exact: bool) {
        if is_exact {
            let there = self.pages.iter().filter(|page| page.is_some()).count() as u64;
            assert_eq!(self.guest.committed_pages(self.vmo), there);
        }
        let looked_at =
            (0..4).flat_map(|chunk: u64| [chunk * N, chunk * N + 1, (chunk * N).wrapping_sub(1), chunk * N + 77]);
        for page in looked_at.filter(|page| *page < 3 * N) {
            let wanted = self.pages.get(page as usize).map(|page| page.unwrap_or(0));
            for at in [A, Self::OTHER] {
                let found = self.guest.load(at + page * P);
                // Without memory for a table nothing can be read.
                assert!(found == wanted || !is_exact && found.is_none(), "page {page}: {found:?} for {wanted:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn chunks_and_pages_read_alike(steps in prop::collection::vec(step(), 1..16)) {
        let mut model = Model::new("inspect=on seed=1");
        for step in steps {
            prop_assert_eq!(model.carry_out(&step), Ok(()), "{:?}", step);
            model.check(true);
        }
        let held = |model: &Model| model.guest.system.frames_held(model.guest.id);
        let before = held(&model);
        prop_assert_eq!(model.carry_out(&Step::Resize(0)), Ok(()));
        prop_assert!(held(&model) <= before);
    }

    /// What is refused for want of memory has changed nothing but for pages that were committed.
    #[test]
    fn what_is_refused_changes_no_word(quota in 1030u64..1600, steps in prop::collection::vec(step(), 1..16)) {
        let mut model = Model::new(&format!("inspect=on seed=1 ram=4M quota={}K", quota * 4));
        for step in steps {
            match model.carry_out(&step) {
                Ok(()) => {}
                Err(status) => prop_assert_eq!(status, Status::NO_MEMORY, "{:?}", step),
            }
            model.check(false);
        }
    }
}
