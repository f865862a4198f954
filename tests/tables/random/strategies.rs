//! Random programs, machines and trees.

use proptest::prelude::*;
use proptest::sample::select;
use vmsa::{
    Attributes, BbmLevel, Dirty, DirtyLevel, Features, Geometry, Ipa, IpaRange, Level, MemoryType, PAGE_SIZE, Perms,
};

use super::program::{Memory, PLACES, Step, Turn};

/// Memory that takes a page table for every 2 MiB is mapped in no larger parts.
const MOST_PAGES: u64 = 600;

fn point() -> impl Strategy<Value = Ipa> {
    let offset = prop_oneof![4 => Just(0i64), 3 => -2i64..=2, 2 => select(vec![-16i64, 16]), 1 => -20i64..=20];
    (select(&PLACES[..]), offset).prop_map(|(place, pages)| Ipa(place.wrapping_add_signed(pages * PAGE_SIZE as i64)))
}

fn range() -> impl Strategy<Value = IpaRange> {
    let between = (point(), point()).prop_map(|(one, other)| {
        let (start, end) = (one.min(other), one.max(other));
        IpaRange { start, end: end.max(start.add(PAGE_SIZE)) }
    });
    let short = (point(), 1u64..40).prop_map(|(start, pages)| IpaRange::new(start, pages * PAGE_SIZE));
    prop_oneof![3 => between, 2 => short]
}

fn ranges() -> impl Strategy<Value = Vec<IpaRange>> {
    prop::collection::vec(range(), 1..=3)
}

fn perms() -> impl Strategy<Value = Perms> {
    let all = [
        Perms::empty(),
        Perms::READ,
        Perms::READ | Perms::WRITE,
        Perms::READ | Perms::WRITE,
        Perms::READ | Perms::EXECUTE,
        Perms::READ | Perms::EXECUTE_EL0,
        Perms::all(),
    ];
    select(all.to_vec())
}

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![
        4 => (0u64..2).prop_map(Memory::Aligned),
        1 => select(vec![16 * PAGE_SIZE, PAGE_SIZE]).prop_map(Memory::Shifted),
        1 => select(vec![1u64, 7, 40]).prop_map(Memory::Scattered),
    ]
}

prop_compose! {
    fn attributes()(
        perms in perms(),
        memory in prop_oneof![6 => Just(MemoryType::Normal), 1 => Just(MemoryType::NonCacheable), 1 => Just(MemoryType::Device)],
        dirty in select(vec![Dirty::Untracked, Dirty::Clean, Dirty::Clean]),
        accessed in prop::bool::weighted(0.8),
        shared in prop::bool::weighted(0.1),
    ) -> Attributes {
        let perms = if shared { perms - Perms::WRITE } else { perms };
        Attributes { memory, dirty, accessed, shared, ..Attributes::normal(perms) }
    }
}

/// The attributes of most of a program's memory, so that neighbours are alike now and then.
fn usual() -> impl Strategy<Value = Attributes> {
    select(vec![Dirty::Untracked, Dirty::Clean])
        .prop_map(|dirty| Attributes { dirty, ..Attributes::normal(Perms::READ | Perms::WRITE) })
}

const fn is_cut(memory: Memory) -> bool {
    !matches!(memory, Memory::Aligned(_))
}

fn step() -> impl Strategy<Value = Step> {
    let attributes = || prop_oneof![3 => usual(), 1 => attributes()];
    let access = select(vec![Perms::READ, Perms::WRITE, Perms::WRITE]);
    prop_oneof![
        5 => (range(), memory(), attributes()).prop_map(|(range, memory, attributes)| {
            let most = if is_cut(memory) { MOST_PAGES * PAGE_SIZE } else { u64::MAX };
            Step::Map(IpaRange::new(range.start, range.len().min(most)), memory, attributes)
        }),
        2 => (point(), memory(), attributes()).prop_map(|(ipa, memory, attributes)| Step::Put(ipa, memory, attributes)),
        2 => ranges().prop_map(Step::Unmap),
        2 => ranges().prop_map(Step::UnmapAndTell),
        4 => (range(), perms()).prop_map(|(range, perms)| Step::Protect(range, perms)),
        1 => ranges().prop_map(Step::Share),
        1 => (range(), memory(), perms()).prop_map(|(range, memory, perms)| Step::Own(range, memory, perms)),
        2 => range().prop_map(Step::Age),
        3 => range().prop_map(Step::Harvest),
        6 => (0usize..3, point(), access).prop_map(|(cpu, ipa, perms)| Step::Access(cpu, ipa, perms)),
    ]
}

pub(super) fn programs(most: usize) -> impl Strategy<Value = Vec<Turn>> {
    prop::collection::vec((0usize..3, step(), any::<u64>()), 1..most)
}

prop_compose! {
    pub(super) fn machines()(
        bbm in select(vec![BbmLevel::BreakFirst, BbmLevel::NoTranslationCaching, BbmLevel::Direct]),
        dirty in select(vec![DirtyLevel::None, DirtyLevel::AccessFlag, DirtyLevel::Dirty, DirtyLevel::Dirty]),
        tlbi_range: bool, level_hint: bool, forced_write_back: bool, execute_per_level: bool,
    ) -> Features {
        Features {
            pa_bits: 48, bbm, dirty, tlbi_range, level_hint, forced_write_back, execute_per_level, ..Features::default()
        }
    }
}

/// Every start level, with one root table and several.
pub(super) fn shapes() -> impl Strategy<Value = Geometry> {
    use Level::{L0, L1, L2};
    let shapes =
        vec![(32, L2), (34, L2), (32, L1), (36, L1), (39, L1), (40, L1), (43, L1), (40, L0), (44, L0), (48, L0)];
    let machine = Features { pa_bits: 48, ..Features::default() };
    select(shapes)
        .prop_map(move |(bits, start)| Geometry::starting_at(bits, start, &machine).expect("a shape that there is"))
}
