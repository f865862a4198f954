//! The operations: each of the tree's on leaves of every size, by every CPU, and guests' accesses between them.

use vmsa::{Attributes, Dirty, Ipa, IpaRange, MemoryType, PAGE_SIZE, Perms};

use super::program::{Memory, Step, Turn};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where the tables of two GiB meet.
const BASE: u64 = 2 * GIB;

const READ: Perms = Perms::READ;
const READ_WRITE: Perms = READ.union(Perms::WRITE);
const ALL: Perms = Perms::all();

/// Adjacent memory that is aligned as the addresses are: blocks and groups.
const ALIGNED: Memory = Memory::Aligned(0);
/// Memory that nothing larger than pages can be made of.
const PAGES: Memory = Memory::Shifted(PAGE_SIZE);
const SCATTERED: Memory = Memory::Scattered(1);

fn pages(first: u64, count: u64) -> IpaRange {
    IpaRange::new(page(first), count * PAGE_SIZE)
}

fn page(number: u64) -> Ipa {
    Ipa(BASE + number * PAGE_SIZE)
}

fn bytes(offset: u64, len: u64) -> IpaRange {
    IpaRange::new(Ipa(BASE + offset), len)
}

fn tracked(perms: Perms) -> Attributes {
    Attributes { dirty: Dirty::Clean, ..Attributes::normal(perms) }
}

fn of(memory: MemoryType) -> Attributes {
    Attributes { memory, ..Attributes::normal(READ_WRITE) }
}

/// Returns the operations, each with the CPU that does it. CPU 2 has another VM's tree in use.
pub(super) fn turns() -> Vec<Turn> {
    let parts = [
        single_pages(),
        other_memory(),
        blocks(),
        groups(),
        flags(),
        many_ranges(),
        large_ranges(),
        largest_blocks(),
        lasting_attributes(),
        shared_pages(),
    ];
    let steps = parts.into_iter().flatten().enumerate();
    // Odd numbers, spread over the words: what others do meanwhile is drawn by them.
    steps.map(|(number, (cpu, step))| (cpu, step, (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

type Steps = Vec<(usize, Step)>;

fn single_pages() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    vec![
        (0, Step::Map(pages(0, 40), PAGES, rw)),
        (0, Step::Access(1, page(3), READ_WRITE)),
        (0, Step::Unmap(vec![pages(3, 1)])),
        (1, Step::Unmap(vec![pages(8, 4)])),
        (2, Step::Unmap(vec![pages(13, 1)])),
        (0, Step::Protect(pages(16, 3), READ)),
        (1, Step::Protect(pages(20, 2), ALL)),
        (0, Step::Protect(pages(20, 2), READ_WRITE)),
        (2, Step::Protect(pages(22, 1), READ)),
        (0, Step::Protect(pages(16, 3), READ_WRITE)),
        (0, Step::Access(1, page(16), READ_WRITE)),
        (0, Step::Map(pages(3, 1), PAGES, rw)),
        (0, Step::Unmap(vec![pages(0, 40)])),
        // A removed table whose pages were another's.
        (1, Step::Map(pages(0, 40), SCATTERED, rw)),
        (2, Step::Unmap(vec![bytes(0, 2 * MIB)])),
        (0, Step::Map(pages(0, 8), PAGES, rw)),
        (0, Step::Map(pages(520, 8), PAGES, rw)),
        (0, Step::Unmap(vec![bytes(0, GIB)])),
    ]
}

fn other_memory() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    vec![
        (0, Step::Map(pages(64, 8), PAGES, rw)),
        (0, Step::Put(page(64), SCATTERED, rw)),
        (1, Step::Put(page(65), PAGES, of(MemoryType::Device))),
        (0, Step::Put(page(66), PAGES, of(MemoryType::NonCacheable))),
        (2, Step::Put(page(67), ALIGNED, rw)),
        (0, Step::Put(page(66), PAGES, rw)),
        (0, Step::Unmap(vec![pages(64, 8)])),
    ]
}

/// Pages that others come to show too, and that are theirs alone again.
fn shared_pages() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    vec![
        (0, Step::Map(bytes(0, 2 * MIB), ALIGNED, rw)),
        (0, Step::Map(pages(1024, 8), PAGES, rw)),
        (0, Step::Share(vec![bytes(0, 2 * MIB), pages(1026, 2)])),
        (0, Step::Access(1, page(7), READ)),
        (1, Step::Own(bytes(0, 2 * MIB), ALIGNED, READ_WRITE)),
        (0, Step::Own(pages(1026, 1), PAGES, READ_WRITE)),
        (0, Step::Unmap(vec![bytes(0, 8 * MIB)])),
    ]
}

fn blocks() -> Steps {
    let all = Attributes::normal(ALL - Perms::EXECUTE);
    vec![
        (0, Step::Map(bytes(0, 4 * MIB), ALIGNED, all)),
        (0, Step::Access(1, page(7), READ_WRITE)),
        (0, Step::Protect(pages(5, 1), READ)),
        (1, Step::Protect(pages(5, 1), READ_WRITE)),
        (0, Step::Unmap(vec![pages(520, 1)])),
        (0, Step::Map(pages(520, 1), ALIGNED, all)),
        (0, Step::Put(page(9), SCATTERED, all)),
        (0, Step::Protect(bytes(2 * MIB, 2 * MIB), READ)),
        (1, Step::Unmap(vec![bytes(2 * MIB, 2 * MIB)])),
        (2, Step::Unmap(vec![bytes(0, 2 * MIB)])),
        (0, Step::Map(bytes(0, 2 * MIB), PAGES, all)),
        (0, Step::Unmap(vec![bytes(0, 2 * MIB)])),
        // Pages that become alike, but for one.
        (0, Step::Map(pages(0, 511), ALIGNED, all)),
        (0, Step::Map(pages(511, 1), ALIGNED, Attributes::normal(READ))),
        (0, Step::Unmap(vec![bytes(0, 2 * MIB)])),
    ]
}

fn groups() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    vec![
        (0, Step::Map(pages(32, 48), ALIGNED, rw)),
        (0, Step::Access(1, page(35), READ)),
        (0, Step::Unmap(vec![pages(35, 1)])),
        (0, Step::Protect(pages(48, 15), READ)),
        (1, Step::Unmap(vec![pages(64, 16)])),
        (0, Step::Map(pages(35, 1), ALIGNED, rw)),
        (0, Step::Protect(pages(48, 15), READ_WRITE)),
        (2, Step::Unmap(vec![pages(32, 32)])),
        (0, Step::Map(pages(32, 16), Memory::Shifted(16 * PAGE_SIZE), rw)),
        (0, Step::Protect(pages(32, 16), READ)),
        (0, Step::Unmap(vec![pages(30, 20)])),
    ]
}

fn flags() -> Steps {
    vec![
        (0, Step::Map(pages(0, 24), PAGES, tracked(READ_WRITE))),
        (0, Step::Access(1, page(2), READ_WRITE)),
        (0, Step::Access(0, page(3), READ)),
        (0, Step::Harvest(pages(0, 24))),
        (0, Step::Access(1, page(2), READ_WRITE)),
        (1, Step::Harvest(pages(0, 24))),
        (0, Step::Age(pages(0, 24))),
        (0, Step::Access(1, page(4), READ)),
        (2, Step::Age(pages(0, 24))),
        (0, Step::Access(0, page(5), READ_WRITE)),
        (0, Step::UnmapAndTell(vec![pages(4, 4)])),
        (0, Step::Access(0, page(9), READ_WRITE)),
        (0, Step::Put(page(9), SCATTERED, tracked(READ_WRITE))),
        (0, Step::UnmapAndTell(vec![pages(0, 24)])),
        // A block with flags, split.
        (0, Step::Map(bytes(0, 2 * MIB), ALIGNED, tracked(READ_WRITE))),
        (0, Step::Access(1, page(100), READ_WRITE)),
        (0, Step::Protect(pages(200, 1), READ)),
        (0, Step::Harvest(bytes(0, 2 * MIB))),
        (0, Step::Access(0, page(300), READ_WRITE)),
        (0, Step::Age(bytes(0, 2 * MIB))),
        (0, Step::Access(0, page(301), READ)),
        (0, Step::UnmapAndTell(vec![bytes(0, 2 * MIB)])),
    ]
}

/// More ranges at once than are kept apart, of pages and of blocks that they cut.
fn many_ranges() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    let apart = |step: u64| (0..6).map(|number| pages(3 + number * step, 1)).collect::<Vec<_>>();
    vec![
        (0, Step::Map(pages(0, 64), PAGES, rw)),
        (0, Step::Unmap(apart(9))),
        (0, Step::Unmap(vec![pages(0, 64)])),
        (0, Step::Map(bytes(0, 14 * MIB), ALIGNED, rw)),
        (0, Step::Unmap(apart(512))),
        (1, Step::Unmap(vec![bytes(0, 14 * MIB)])),
    ]
}

fn large_ranges() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    vec![
        (0, Step::Map(pages(0, 600), Memory::Scattered(7), rw)),
        (0, Step::Protect(pages(1, 65), READ)),
        (1, Step::Protect(pages(100, 199), READ)),
        (0, Step::Unmap(vec![pages(1, 65)])),
        (0, Step::Unmap(vec![pages(100, 399)])),
        (2, Step::Unmap(vec![pages(0, 600)])),
        (0, Step::Map(bytes(0, 40 * MIB), ALIGNED, rw)),
        (0, Step::Protect(bytes(2 * MIB, 6 * MIB), READ)),
        (0, Step::Unmap(vec![bytes(0, 40 * MIB)])),
    ]
}

/// Blocks of 1 GiB, where the tree's shape has them.
fn largest_blocks() -> Steps {
    let rw = Attributes::normal(READ_WRITE);
    vec![
        (0, Step::Map(bytes(0, GIB), ALIGNED, rw)),
        (0, Step::Access(1, page(3), READ_WRITE)),
        (0, Step::Protect(pages(3, 1), READ)),
        (0, Step::Protect(pages(3, 1), READ_WRITE)),
        (1, Step::Unmap(vec![bytes(0, GIB)])),
        (0, Step::Map(bytes(0, GIB), ALIGNED, rw)),
        (0, Step::Unmap(vec![bytes(2 * MIB, 2 * MIB)])),
        (0, Step::Unmap(vec![bytes(0, GIB)])),
    ]
}

/// What a block says that its parts must go on saying.
fn lasting_attributes() -> Steps {
    let shared = Attributes { shared: true, ..Attributes::normal(READ) };
    let executable = Attributes::normal(READ | Perms::EXECUTE);
    vec![
        (0, Step::Map(bytes(0, 2 * MIB), ALIGNED, executable)),
        (0, Step::Protect(pages(5, 1), READ)),
        (0, Step::Unmap(vec![bytes(0, 2 * MIB)])),
        (0, Step::Map(bytes(0, 2 * MIB), ALIGNED, shared)),
        (0, Step::Unmap(vec![pages(5, 1)])),
        (0, Step::Protect(pages(6, 10), READ_WRITE)),
        (0, Step::Unmap(vec![bytes(0, 2 * MIB)])),
    ]
}
