//! VMOs as memory, buffers, and running out.

use abi::{Call, Status, VmarOp, VmoOp, VmoOptions};

use crate::guest::{Guest, P, documented};

const A: u64 = 0x8000_0000;
const RAM: u64 = abi::RAM_BASE;

#[test]
fn reading_an_absent_page_gives_zeros_and_commits_nothing() {
    let guest = documented();
    let vmo = guest.vmo(3);
    guest.store(RAM, 1);
    guest.call(Call::VmoRead, &[vmo, RAM, P - 4, 8]).unwrap();
    assert_eq!(guest.load(RAM), Some(0));
    assert_eq!(guest.committed_pages(vmo), 0);
}

#[test]
fn what_is_written_is_read_across_pages_and_batches() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(4));
    guest.map(root, A, vmo, 4);
    (0..1024).for_each(|word| assert!(guest.store(RAM + 8 + word * 8, 1000 + word)));
    guest.call(Call::VmoWrite, &[vmo, RAM + 8, P - 16, 8192]).unwrap();
    (0..1024).for_each(|word| assert_eq!(guest.load(A + P - 16 + word * 8), Some(1000 + word)));
    guest.call(Call::VmoRead, &[vmo, RAM + 0x8000, P - 16, 8192]).unwrap();
    (0..1024).for_each(|word| assert_eq!(guest.load(RAM + 0x8000 + word * 8), Some(1000 + word)));
}

#[test]
fn a_bad_buffer_is_refused_before_anything_moves() {
    let guest = documented();
    let vmo = guest.vmo(2);
    let end_of_ram = RAM + (64 << 20);
    for buffer in [end_of_ram - 8, 0, u64::MAX - 7] {
        assert_eq!(guest.call(Call::VmoWrite, &[vmo, buffer, 0, 16]), Err(Status::INVALID_ARGS), "{buffer:#x}");
        assert_eq!(guest.call(Call::DebugWrite, &[buffer, 16]), Err(Status::INVALID_ARGS), "{buffer:#x}");
    }
    assert_eq!(guest.committed_pages(vmo), 0);
    assert!(guest.sim().take_console().is_empty());
    assert_eq!(guest.call(Call::DebugWrite, &[0, 0]), Ok([0; 3]));
    assert_eq!(guest.call(Call::VmoWrite, &[vmo, RAM, P, 2 * P]), Err(Status::OUT_OF_RANGE));
}

#[test]
fn shrinking_takes_pages_away_and_growing_shows_zeros() {
    let guest = documented();
    let root = guest.root();
    let vmo = guest.call(Call::VmoCreate, &[2 * P, u64::from(VmoOptions::RESIZABLE.bits())]).unwrap()[0];
    guest.map(root, A, vmo, 2);
    guest.store(A + P, 5);
    guest.call(Call::VmoSetSize, &[vmo, P]).unwrap();
    assert_eq!((guest.load(A), guest.load(A + P)), (Some(0), None));
    guest.call(Call::VmoSetSize, &[vmo, 2 * P]).unwrap();
    assert_eq!(guest.load(A + P), Some(0));
    assert_eq!(guest.call(Call::VmoSetSize, &[guest.vmo(1), P]), Err(Status::UNAVAILABLE));
}

#[test]
fn a_page_of_zeros_past_a_new_end_is_unmapped() {
    let guest = documented();
    let root = guest.root();
    let vmo = guest.call(Call::VmoCreate, &[2 * P, u64::from(VmoOptions::RESIZABLE.bits())]).unwrap()[0];
    guest.map(root, A, vmo, 2);
    assert_eq!(guest.load(A + P), Some(0));
    guest.call(Call::VmoSetSize, &[vmo, P]).unwrap();
    assert_eq!(guest.load(A + P), None);
}

#[test]
fn zeroing_parts_keeps_the_rest() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(3));
    guest.map(root, A, vmo, 3);
    (0..3).for_each(|page| assert!(guest.store(A + page * P, 7) && guest.store(A + page * P + P - 8, 8)));
    guest.vmo_op(vmo, VmoOp::Zero, 8, 3 * P - 16).unwrap();
    assert_eq!((guest.load(A), guest.load(A + P - 8), guest.load(A + P)), (Some(7), Some(0), Some(0)));
    assert_eq!((guest.load(A + 2 * P), guest.load(A + 3 * P - 8)), (Some(0), Some(8)));
    assert_eq!(guest.committed_pages(vmo), 2);
}

#[test]
fn sizes_at_the_edges() {
    let guest = documented();
    let create = |size, options| guest.call(Call::VmoCreate, &[size, options]).map(|results| results[0]);
    let unbounded = u64::from(VmoOptions::UNBOUNDED.bits());
    assert!(create(0, 0).is_ok());
    assert_eq!(create(u64::MAX, 0), Err(Status::OUT_OF_RANGE));
    assert_eq!(create(u64::MAX, 1), Err(Status::OUT_OF_RANGE));
    assert_eq!(create(P, 1), Err(Status::INVALID_ARGS));
    assert_eq!(create(P, unbounded | 2), Err(Status::INVALID_ARGS));
    let largest = create(0, unbounded).unwrap();
    assert_eq!(guest.call(Call::VmoGetSize, &[largest]).unwrap()[0], 0u64.wrapping_sub(64 * P));
    // A page at the very end, and the whole of it without one: neither takes long.
    let end = 0u64.wrapping_sub(65 * P);
    guest.vmo_op(largest, VmoOp::Commit, end, P).unwrap();
    assert_eq!(guest.committed_pages(largest), 1);
    guest.vmo_op(largest, VmoOp::Decommit, 0, end + P).unwrap();
    assert_eq!(guest.committed_pages(largest), 0);
}

#[test]
fn running_out_of_quota_keeps_what_was_there() {
    let guest = Guest::new("quota=1M inspect=on");
    let (root, vmo) = (guest.root(), guest.vmo(1024));
    guest.map(root, A, vmo, 1024);
    guest.store(A, 1);
    assert_eq!(guest.op_range(root, VmarOp::Commit, A, 1024 * P), Err(Status::NO_MEMORY));
    assert_eq!(guest.load(A), Some(1));
    assert!(guest.system.frames_held(guest.id) <= 256);
    guest.op_range(root, VmarOp::Decommit, A, 1024 * P).unwrap();
    assert!(guest.store(A + 512 * P, 2));
}

#[test]
fn the_console_is_byte_exact() {
    let guest = documented();
    guest.store(RAM, u64::from_le_bytes(*b"a\x1e\x10\n\0\xffbc"));
    guest.call(Call::DebugWrite, &[RAM + 1, 7]).unwrap();
    assert_eq!(guest.sim().take_console(), b"\x1e\x10\n\0\xffbc");
    guest.sim().type_in(b"hello");
    assert_eq!(guest.call(Call::DebugRead, &[RAM, 3]).unwrap()[0], 3);
    assert_eq!(guest.call(Call::DebugRead, &[RAM + 3, 100]).unwrap()[0], 2);
    assert_eq!(guest.call(Call::DebugRead, &[RAM, 100]).unwrap()[0], 0);
    assert_eq!(guest.load(RAM).unwrap().to_le_bytes()[..5], *b"hello");
}

#[test]
fn memory_that_came_back_in_pages_can_be_had_in_one_piece() {
    let guest = documented();
    let vmo = guest.vmo(3000);
    guest.vmo_op(vmo, VmoOp::Commit, 0, 3000 * P).unwrap();
    let contiguous = || guest.call(Call::VmoCreateContiguous, &[2048 * P, 0]);
    assert_eq!(contiguous(), Err(Status::NO_MEMORY));
    guest.vmo_op(vmo, VmoOp::Decommit, 0, 3000 * P).unwrap();
    assert!(contiguous().is_ok());
}

/// Returns how many pages a new VMO can have; they are given back.
fn all_memory(guest: &Guest) -> usize {
    let vmo = guest.vmo(1 << 20);
    let count = (0..).take_while(|page| guest.vmo_op(vmo, VmoOp::Commit, page * P, P).is_ok()).count();
    guest.call(Call::HandleClose, &[vmo]).unwrap();
    count
}

#[test]
fn frames_and_tables_that_go_in_one_go_all_come_back() {
    const SPAN: u64 = 512 * P;
    let guest = Guest::with_memory("ram=4M", 12 << 20);
    let root = guest.root();
    // More than a CPU keeps for itself, pages and tables.
    let round = || {
        let vmo = guest.vmo(300);
        (0..300).for_each(|page| guest.vmo_op(vmo, VmoOp::Commit, page * P, P).unwrap());
        for table in 0..150 {
            let base = guest.map(root, 0x10_0000_0000 + table * SPAN, vmo, 1);
            guest.op_range(root, VmarOp::MapRange, base, P).unwrap();
        }
        guest.unmap(root, 0x10_0000_0000, 150 * SPAN).unwrap();
        guest.call(Call::HandleClose, &[vmo]).unwrap();
    };
    round();
    let before = all_memory(&guest);
    round();
    assert_eq!(all_memory(&guest), before);
}
