//! A passing and a failing sequence for each rule.

use oracle::old::{Event, FrameNote, Oracle, Rule, Store};
use vmsa::{
    Attributes, BbmLevel, Codec, Dsb, Entry, Features, Geometry, Hpa, Ipa, Leaf, Level, MemoryType, Perms, Scope, Tlbi,
    vttbr,
};
use vmsa::{Vmid, range_operand};

const BASE: Hpa = Hpa(0x4000_0000);
const ROOT: Hpa = Hpa(0x4000_0000);
const L2: Hpa = Hpa(0x4000_1000);
const L3: Hpa = Hpa(0x4000_2000);
const PAGE: Hpa = Hpa(0x4000_8000);
const IPA: Ipa = Ipa(0x8000_0000);
const CODEC: Codec = Codec { forced_write_back: false, hardware_dirty: false, execute_per_level: false };

/// The slot of the page at [`IPA`] plus `number` pages.
fn slot(number: u64) -> Hpa {
    L3.add(8 * number)
}

fn leaf(output: Hpa) -> u64 {
    typed_leaf(output, Perms::READ | Perms::WRITE, MemoryType::Normal)
}

fn typed_leaf(output: Hpa, perms: Perms, memory: MemoryType) -> u64 {
    let attributes = Attributes { memory, ..Attributes::normal(perms) };
    CODEC.encode(Entry::Leaf(Leaf { output, attributes }), Level::L3)
}

fn table(at: Hpa) -> u64 {
    CODEC.encode(Entry::Table(at), Level::L2)
}

const fn by_ipa(number: u64) -> Event {
    Event::Tlbi(Tlbi::Ipa { ipa: Ipa(IPA.0 + number * 4096), level: None, leaf_only: true }, Scope::Broadcast)
}

const STAGE1: Event = Event::Tlbi(Tlbi::Stage1, Scope::Broadcast);
const VMID: Event = Event::Tlbi(Tlbi::Vmid, Scope::Broadcast);
const ISHST: Event = Event::Dsb(Dsb::Ishst);
const ISH: Event = Event::Dsb(Dsb::Ish);

/// A machine with one page mapped, nothing owed.
struct Bench {
    oracle: Oracle<'static>,
    memory: std::collections::HashMap<Hpa, u64>,
}

impl Bench {
    fn new() -> Self {
        Self::with_bbm(BbmLevel::BreakFirst)
    }

    fn with_bbm(bbm: BbmLevel) -> Self {
        let features = Features { pa_bits: 48, bbm, ..Features::default() };
        let geometry = Geometry::new(39, &features).unwrap();
        let notes = Box::leak(vec![FrameNote::default(); 256].into_boxed_slice());
        let mut bench = Self { oracle: Oracle::new(&features, BASE, notes), memory: Default::default() };
        let vttbr = vttbr(ROOT, Vmid(1));
        let filled = Event::Filled { frame: BASE, pages: 128 };
        bench.run(0, &[filled, Event::Root { vttbr, geometry, bbm }, Event::Vttbr(vttbr), Event::Isb]).unwrap();
        bench.run(1, &[Event::Vttbr(vttbr), Event::Isb]).unwrap();
        bench.put(0, ROOT.add(8 * 2), table(L2)).unwrap();
        bench.put(0, L2, table(L3)).unwrap();
        bench.put(0, slot(0), leaf(PAGE)).unwrap();
        bench.run(0, &[ISHST, Event::Resume]).unwrap();
        bench
    }

    fn run(&mut self, cpu: usize, events: &[Event]) -> Result<(), Rule> {
        let read = |slot| self.memory.get(&slot).copied().unwrap_or(0);
        events.iter().try_for_each(|event| self.oracle.observe(cpu, *event, read).map_err(|violation| violation.rule))
    }

    fn store(&mut self, cpu: usize, slot: Hpa, new: u64, is_release: bool) -> Result<(), Rule> {
        let old = self.memory.insert(slot, new).unwrap_or(0);
        self.run(cpu, &[Event::Store(Store { slot, old, new, is_release })])
    }

    fn put(&mut self, cpu: usize, slot: Hpa, new: u64) -> Result<(), Rule> {
        self.store(cpu, slot, new, true)
    }

    /// Breaks the page, does `events`, and maps another page there.
    fn remap_after(&mut self, events: &[Event]) -> Result<(), Rule> {
        self.put(0, slot(0), 0)?;
        self.run(0, events)?;
        self.put(0, slot(0), leaf(PAGE.add(0x1000)))
    }
}

#[test]
fn r8_the_whole_sequence_is_right() {
    assert_eq!(Bench::new().remap_after(&[ISHST, by_ipa(0), ISH, STAGE1, ISH]), Ok(()));
    assert_eq!(Bench::new().remap_after(&[ISHST, VMID, ISH]), Ok(()));
    assert_eq!(Bench::new().remap_after(&[]), Err(Rule::Sequence));
    assert_eq!(Bench::new().remap_after(&[ISHST, by_ipa(1), ISH, STAGE1, ISH]), Err(Rule::Sequence), "another page");
    let other = [Event::Vttbr(vttbr(ROOT, Vmid(2))), Event::Isb, ISHST, VMID, ISH];
    assert_eq!(Bench::new().remap_after(&other), Err(Rule::Sequence), "another VMID");
}

#[test]
fn r9_an_invalidation_before_the_store_is_visible_counts_for_nothing() {
    assert_eq!(Bench::new().remap_after(&[by_ipa(0), ISH, STAGE1, ISH]), Err(Rule::StoreFirst));
    assert_eq!(
        Bench::new().remap_after(&[by_ipa(0), ISH, by_ipa(0), ISH, STAGE1, ISH]),
        Ok(()),
        "the second one counts"
    );
}

#[test]
fn r10_an_invalidation_needs_a_full_barrier() {
    assert_eq!(Bench::new().remap_after(&[ISHST, VMID]), Err(Rule::Completion));
    assert_eq!(Bench::new().remap_after(&[ISHST, VMID, ISHST]), Err(Rule::Completion));
    assert_eq!(Bench::new().remap_after(&[ISHST, VMID, Event::Dsb(Dsb::Nsh)]), Err(Rule::Completion));
    let mut bench = Bench::new();
    bench.put(0, slot(0), 0).unwrap();
    bench.run(0, &[ISHST, VMID]).unwrap();
    bench.run(1, &[ISH]).unwrap();
    assert_eq!(bench.put(0, slot(0), leaf(PAGE)), Err(Rule::Completion), "another CPU's barrier");
    let local = Event::Tlbi(Tlbi::Vmid, Scope::Local);
    assert_eq!(Bench::new().remap_after(&[ISHST, local, ISH]), Err(Rule::Completion), "this CPU only");
}

#[test]
fn r11_stage_1_goes_last() {
    assert_eq!(Bench::new().remap_after(&[ISHST, by_ipa(0), ISH]), Err(Rule::CombinedLast));
    assert_eq!(Bench::new().remap_after(&[ISHST, by_ipa(0), STAGE1, ISH]), Err(Rule::CombinedLast));
    assert_eq!(Bench::new().remap_after(&[ISHST, STAGE1, ISH, by_ipa(0), ISH]), Err(Rule::CombinedLast));
}

#[test]
fn another_cpu_may_invalidate_once_the_store_is_visible() {
    let mut bench = Bench::new();
    bench.put(0, slot(0), 0).unwrap();
    bench.run(0, &[ISHST]).unwrap();
    bench.run(1, &[VMID, ISH]).unwrap();
    assert_eq!(bench.put(0, slot(0), leaf(PAGE)), Ok(()));
}

#[test]
fn r1_r2_r5_valid_entries_are_not_replaced_in_place() {
    let device = typed_leaf(PAGE, Perms::READ | Perms::WRITE, MemoryType::Device);
    assert_eq!(Bench::new().put(0, slot(0), leaf(PAGE.add(0x1000))), Err(Rule::OutputChange));
    assert_eq!(Bench::new().put(0, slot(0), device), Err(Rule::TypeChange));
    assert_eq!(Bench::new().put(0, L2, table(PAGE)), Err(Rule::SizeChange));
    let block = CODEC
        .encode(Entry::Leaf(Leaf { output: Hpa(0x4000_0000), attributes: Attributes::normal(Perms::READ) }), Level::L2);
    assert_eq!(Bench::new().put(0, L2, block), Err(Rule::SizeChange));
    let read_only = typed_leaf(PAGE, Perms::READ, MemoryType::Normal);
    assert_eq!(Bench::new().put(0, slot(0), read_only), Ok(()), "permissions need no break");
}

#[test]
fn a_tightening_is_finished_before_the_guest_goes_on() {
    let read_only = typed_leaf(PAGE, Perms::READ, MemoryType::Normal);
    let mut bench = Bench::new();
    bench.put(0, slot(0), read_only).unwrap();
    assert_eq!(bench.run(0, &[ISH, Event::Resume]), Err(Rule::Sequence));
    assert_eq!(bench.run(0, &[by_ipa(0), ISH, STAGE1, ISH, Event::Resume]), Ok(()));
}

#[test]
fn a_relaxation_owes_no_invalidation() {
    let mut bench = Bench::new();
    let all = typed_leaf(PAGE, Perms::all(), MemoryType::Normal);
    bench.put(0, slot(0), all).unwrap();
    assert_eq!(bench.run(0, &[ISHST, Event::Resume]), Ok(()));
    assert_eq!(bench.oracle.held(), 0);
}

#[test]
fn r28_new_entries_are_published_before_the_guest_goes_on() {
    let mut bench = Bench::new();
    bench.put(0, slot(1), leaf(PAGE.add(0x1000))).unwrap();
    assert_eq!(bench.run(0, &[Event::Resume]), Err(Rule::Publication));
    assert_eq!(bench.run(0, &[ISHST, Event::Resume]), Ok(()));
}

#[test]
fn r29_r30_tables_are_linked_once_and_filled_before() {
    let (fresh, other) = (Hpa(0x4000_9000), L2.add(8));
    assert_eq!(Bench::new().store(0, other, table(fresh), false), Err(Rule::ChildFirst), "a plain store");
    let unfilled = BASE.add(200 * 4096);
    assert_eq!(Bench::new().put(0, other, table(unfilled)), Err(Rule::ChildFirst));
    assert_eq!(Bench::new().put(0, other, table(L3)), Err(Rule::OneParent));
    assert_eq!(Bench::new().put(0, slot(1), leaf(L2)), Err(Rule::OneParent), "a table as a guest's page");
    assert_eq!(Bench::new().put(0, other, table(fresh)), Ok(()));
}

#[test]
fn r31_descriptors_mean_something() {
    assert_eq!(Bench::new().put(0, slot(1), 0x4000_87fd), Err(Rule::WellFormed));
}

#[test]
fn r32_r33_frames_are_free_when_nothing_leads_to_them() {
    let free = |frame| Event::Freed { frame, pages: 1 };
    let mut bench = Bench::new();
    bench.put(0, slot(0), 0).unwrap();
    assert_eq!(bench.run(0, &[free(PAGE)]), Err(Rule::PageLifetime));
    let mut bench = Bench::new();
    bench.put(0, slot(0), 0).unwrap();
    assert_eq!(bench.run(0, &[ISHST, VMID, ISH, free(PAGE)]), Ok(()));
    let mut bench = Bench::new();
    bench.put(0, L2, 0).unwrap();
    assert_eq!(bench.run(0, &[ISHST, by_ipa(0), ISH, STAGE1, ISH, free(L3)]), Err(Rule::TableLifetime), "leaves only");
    let mut bench = Bench::new();
    bench.put(0, slot(0), 0).unwrap();
    bench.put(0, L2, 0).unwrap();
    let all_levels = Event::Tlbi(Tlbi::Ipa { ipa: IPA, level: None, leaf_only: false }, Scope::Broadcast);
    assert_eq!(bench.run(0, &[ISHST, all_levels, ISH, STAGE1, ISH, free(L3)]), Ok(()), "it was empty");
}

#[test]
fn r15_a_table_takes_all_that_was_below_it_along() {
    let free = |frame| Event::Freed { frame, pages: 1 };
    let detach = |op| {
        let mut bench = Bench::new();
        bench.put(0, L2, 0).unwrap();
        bench.run(0, &[ISHST, Event::Tlbi(op, Scope::Broadcast), ISH, STAGE1, ISH, free(L3)])
    };
    assert_eq!(
        detach(Tlbi::Ipa { ipa: IPA, level: None, leaf_only: false }),
        Err(Rule::TableLifetime),
        "a leaf is left"
    );
    let operand = range_operand(IPA, 512).unwrap();
    assert_eq!(detach(Tlbi::Range { operand, level: None, leaf_only: false }), Ok(()));
    assert_eq!(
        detach(Tlbi::Range { operand, level: None, leaf_only: true }),
        Err(Rule::TableLifetime),
        "the table is left"
    );
    assert_eq!(detach(Tlbi::Range { operand, level: Some(Level::L2), leaf_only: false }), Err(Rule::TableLifetime));
}

#[test]
fn r29_r30_r34_what_a_table_leads_to_is_judged_when_it_is_linked() {
    let (middle, last, other) = (Hpa(0x4000_9000), Hpa(0x4000_a000), ROOT.add(8 * 3));
    let linked = |page, below| {
        let mut bench = Bench::new();
        bench.put(0, last, leaf(page)).unwrap();
        bench.put(0, middle, table(below)).unwrap();
        bench.put(0, other, table(middle)).map(|()| bench)
    };
    assert_eq!(linked(PAGE, L3).err(), Some(Rule::OneParent), "linked somewhere else");
    assert_eq!(linked(L2, last).err(), Some(Rule::OneParent), "a table as a page");
    assert_eq!(linked(BASE.add(200 * 4096), last).err(), Some(Rule::Contents));
    let Ok(mut bench) = linked(PAGE, last) else { panic!("nothing is wrong with it") };
    assert_eq!(bench.put(0, last, leaf(PAGE.add(0x1000))), Err(Rule::OutputChange), "the inner table is known");
}

fn block(attributes: Attributes) -> u64 {
    CODEC.encode(Entry::Leaf(Leaf { output: Hpa(0x4020_0000), attributes }), Level::L2)
}

#[test]
fn r5_blocks_and_tables_take_each_others_place_as_the_level_allows() {
    let plain = Attributes::normal(Perms::READ);
    let not_cached = Attributes { uncached: true, ..plain };
    let at = L2.add(8);
    let block_ipa = Tlbi::Ipa { ipa: Ipa(IPA.0 + (2 << 20)), level: Some(Level::L2), leaf_only: true };
    let flush = [ISHST, Event::Tlbi(block_ipa, Scope::Broadcast), ISH, STAGE1, ISH];
    let split = |bbm, steps: &[Option<u64>]| {
        let mut bench = Bench::with_bbm(bbm);
        bench.put(0, at, block(plain)).unwrap();
        for step in steps {
            match step {
                Some(raw) => bench.put(0, at, *raw)?,
                None => bench.run(0, &flush)?,
            }
        }
        bench.run(0, &flush).and_then(|()| bench.run(0, &[Event::Resume]))
    };
    let child = Some(table(Hpa(0x4000_9000)));
    let marked = Some(block(not_cached));
    assert_eq!(split(BbmLevel::Direct, &[child]), Ok(()));
    assert_eq!(split(BbmLevel::BreakFirst, &[child]), Err(Rule::SizeChange));
    assert_eq!(split(BbmLevel::NoTranslationCaching, &[child]), Err(Rule::SizeChange), "nT is not set");
    assert_eq!(
        split(BbmLevel::NoTranslationCaching, &[marked, child]),
        Err(Rule::SizeChange),
        "what was cached is not gone"
    );
    assert_eq!(split(BbmLevel::NoTranslationCaching, &[marked, None, child]), Ok(()));
    assert_eq!(split(BbmLevel::BreakFirst, &[marked, None, child]), Err(Rule::SizeChange));
    assert_eq!(split(BbmLevel::BreakFirst, &[Some(0), None, child]), Ok(()));
}

#[test]
fn r18_a_member_of_a_group_does_not_change_alone() {
    let member = |perms, contiguous| {
        let attributes = Attributes { contiguous, ..Attributes::normal(perms) };
        CODEC.encode(Entry::Leaf(Leaf { output: PAGE, attributes }), Level::L3)
    };
    let change = |bbm, from, to| {
        let mut bench = Bench::with_bbm(bbm);
        bench.put(0, slot(16), from).unwrap();
        bench.put(0, slot(16), to)
    };
    let (alone, hinted) = (member(Perms::READ, false), member(Perms::READ, true));
    assert_eq!(change(BbmLevel::BreakFirst, hinted, alone), Err(Rule::Group));
    assert_eq!(change(BbmLevel::BreakFirst, alone, hinted), Err(Rule::Group));
    assert_eq!(change(BbmLevel::Direct, hinted, alone), Ok(()));
    assert_eq!(change(BbmLevel::Direct, hinted, member(Perms::empty(), true)), Err(Rule::Group), "permissions");
    assert_eq!(change(BbmLevel::BreakFirst, alone, member(Perms::empty(), false)), Ok(()));
}

#[test]
fn a_leaf_that_no_tlb_holds_owes_nothing() {
    let idle = CODEC.encode(
        Entry::Leaf(Leaf {
            output: PAGE,
            attributes: Attributes { accessed: false, ..Attributes::normal(Perms::READ) },
        }),
        Level::L3,
    );
    let mut bench = Bench::new();
    bench.put(0, slot(1), idle).unwrap();
    bench.put(0, slot(1), 0).unwrap();
    assert_eq!(bench.oracle.held(), 0);
}

#[test]
fn r34_pages_are_overwritten_before_a_guest_sees_them() {
    let mut bench = Bench::new();
    let page = PAGE.add(0x5000);
    bench.run(0, &[Event::Freed { frame: page, pages: 1 }]).unwrap();
    assert_eq!(bench.put(0, slot(1), leaf(page)), Err(Rule::Contents));
    let mut bench = Bench::new();
    bench.run(0, &[Event::Freed { frame: page, pages: 1 }, Event::Filled { frame: page, pages: 1 }]).unwrap();
    assert_eq!(bench.put(0, slot(1), leaf(page)), Ok(()));
}

#[test]
fn many_pages_are_one_fact_and_a_range_invalidates_what_it_covers() {
    let broken = || {
        let mut bench = Bench::new();
        for number in 1..300 {
            bench.put(0, slot(number), leaf(PAGE)).unwrap();
        }
        (0..300).for_each(|number| bench.put(0, slot(number), 0).unwrap());
        assert_eq!(bench.oracle.held(), 1);
        bench
    };
    let range = |pages| {
        let operand = range_operand(IPA, pages).unwrap();
        Event::Tlbi(Tlbi::Range { operand, level: Some(Level::L3), leaf_only: true }, Scope::Broadcast)
    };
    assert_eq!(broken().run(0, &[ISHST, range(300), ISH, STAGE1, ISH, Event::Resume]), Ok(()));
    assert_eq!(broken().run(0, &[ISHST, range(200), ISH, STAGE1, ISH, Event::Resume]), Err(Rule::Sequence));
    let mut bench = broken();
    bench.run(0, &[ISHST]).unwrap();
    (0..300).for_each(|number| bench.run(0, &[by_ipa(number)]).unwrap());
    assert_eq!(bench.run(0, &[ISH, STAGE1, ISH, Event::Resume]), Ok(()));
}

/// Breaks every second page, so that no two facts are neighbours: as many as there is room for.
fn crowded() -> Bench {
    let mut bench = Bench::new();
    for number in 0..256 {
        bench.put(0, slot(2 * number), leaf(PAGE)).unwrap();
        bench.put(0, slot(2 * number), 0).unwrap();
    }
    assert_eq!(bench.oracle.held(), 256);
    bench
}

#[test]
fn facts_that_there_is_no_room_for_become_one_with_others() {
    let alternate = |bench: &mut Bench| {
        bench.put(0, L2.add(8), table(PAGE.add(0x2000))).unwrap();
        let next = PAGE.add(0x2000);
        bench.put(0, next, leaf(PAGE)).unwrap();
        bench.put(0, next, 0)
    };
    let mut bench = crowded();
    assert_eq!(alternate(&mut bench), Ok(()));
    assert_eq!(bench.oracle.held(), 256);
    assert_eq!(bench.run(0, &[ISHST, VMID, ISH, Event::Resume]), Ok(()));
    let mut bench = crowded();
    alternate(&mut bench).unwrap();
    bench.run(0, &[ISHST]).unwrap();
    (0..512).for_each(|number| bench.run(0, &[by_ipa(number)]).unwrap());
    assert_eq!(bench.run(0, &[ISH, STAGE1, ISH, Event::Resume]), Err(Rule::Sequence), "the last page is still owed");
}

#[test]
fn running_out_of_room_is_said() {
    assert_eq!(crowded().put(1, L2, 0), Err(Rule::Memory), "a table, and by another CPU: like no other fact");
}

#[test]
fn rules_have_numbers_of_their_own() {
    let mut numbers: Vec<_> = Rule::ALL.iter().map(|rule| rule.number()).collect();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == Rule::ALL.len());
}
