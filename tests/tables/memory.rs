//! Running out of tables: every operation that may need some, refused the first, the second, and so on.

use std::collections::BTreeMap;

use stage2::{Mmu, OutOfTables, Run};
use tests::Sim;
use vmsa::{Attributes, BbmLevel, Dirty, DirtyLevel, Features, Geometry, Hpa, Ipa, IpaRange, Level, PAGE_SIZE, Perms};

use crate::bench::{FRAMES, READ, READ_WRITE};
use crate::flat::Flat;
use crate::world::{World, words};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BASE: u64 = 2 * GIB;

fn page(offset: u64) -> IpaRange {
    at(offset, PAGE_SIZE)
}

/// Memory that is as adjacent as the addresses, some GiB further for each copy. Where the hardware notes stores, it does.
fn copy(number: u64, perms: Perms, features: &Features) -> impl Fn(Ipa) -> Option<Run> + use<> {
    let dirty = if features.dirty == DirtyLevel::Dirty { Dirty::Clean } else { Dirty::Untracked };
    let attributes = Attributes { dirty, ..Attributes::normal(perms) };
    move |ipa: Ipa| {
        let output = FRAMES.add(number * 64 * GIB + ipa.0);
        Some(Run { output, len: GIB - ipa.0 % GIB, attributes })
    }
}

const fn at(start: u64, len: u64) -> IpaRange {
    IpaRange::new(Ipa(BASE + start), len)
}

/// What is mapped before an operation runs out of tables: nothing, or leaves of one size, or of all.
const LAYOUTS: [(&str, &[IpaRange]); 6] = [
    ("nothing", &[]),
    ("a group of pages", &[at(0, 0x1_0000)]),
    ("a block", &[at(0, 2 * MIB)]),
    ("a group of blocks", &[at(0, 32 * MIB)]),
    ("a GiB", &[at(0, GIB)]),
    (
        "a mixture",
        &[
            at(0x3000, PAGE_SIZE),
            at(0x1_0000, 0x1_0000),
            at(2 * MIB, 2 * MIB),
            at(32 * MIB, 32 * MIB),
            at(66 * MIB + 0x5000, PAGE_SIZE),
        ],
    ),
];

/// Machines that split in every way, and trees of every depth.
fn settings() -> Vec<(Features, Geometry)> {
    let machine = |bbm, dirty| Features { pa_bits: 48, bbm, dirty, ..Features::default() };
    let shaped = |features, bits, start| {
        (features, Geometry::starting_at(bits, start, &features).expect("a shape that there is"))
    };
    let plain = machine(BbmLevel::BreakFirst, DirtyLevel::None);
    vec![
        shaped(plain, 32, Level::L2),
        shaped(plain, 48, Level::L0),
        shaped(plain, 39, Level::L1),
        shaped(machine(BbmLevel::BreakFirst, DirtyLevel::Dirty), 39, Level::L1),
        shaped(machine(BbmLevel::NoTranslationCaching, DirtyLevel::None), 39, Level::L1),
        shaped(machine(BbmLevel::NoTranslationCaching, DirtyLevel::Dirty), 39, Level::L1),
        shaped(machine(BbmLevel::Direct, DirtyLevel::None), 39, Level::L1),
        shaped(machine(BbmLevel::Direct, DirtyLevel::Dirty), 39, Level::L1),
    ]
}

fn prepared<'s>(sim: &'s Sim, geometry: Geometry, layout: &[IpaRange]) -> World<'s> {
    let mut world = World::new(sim, geometry);
    layout.iter().for_each(|range| world.map(*range, copy(0, READ_WRITE, sim.features())));
    world
}

/// All that the tables say, and what is noted of them.
#[derive(Eq, PartialEq)]
struct Snapshot {
    tables: BTreeMap<Hpa, (Vec<u64>, u16)>,
    in_use: usize,
}

impl Snapshot {
    /// Returns what is different, in words.
    fn changes_to(&self, other: &Self) -> Vec<String> {
        let mut changes = vec![format!("{} tables are {}", self.in_use, other.in_use)];
        changes.retain(|_| self.in_use != other.in_use);
        for (table, said) in self.tables.iter().filter(|(table, said)| other.tables.get(table) != Some(said)) {
            let now = other.tables.get(table);
            let entry = said.0.iter().zip(now.map_or(&[][..], |now| &now.0)).position(|(was, is)| was != is);
            changes.push(format!(
                "{table}, noted {:?} entries: now {:?}, first at {entry:?}",
                said.1,
                now.map(|now| now.1)
            ));
        }
        changes
    }
}

fn snapshot(world: &World<'_>) -> Snapshot {
    let tables = world.reachable().into_keys();
    let said = tables.map(|table| (table, (words(world.sim, table).collect(), live(world, table))));
    Snapshot { tables: said.collect(), in_use: world.tables.in_use() }
}

fn live(world: &World<'_>, table: Hpa) -> u16 {
    stage2::Tables::live_entries(&world.tables, table)
}

/// Returns what is wrong at the ends of the ranges, and in what the tables and the machine say.
fn faults(world: &mut World<'_>, ranges: &[IpaRange]) -> Vec<String> {
    let mut faults = world.faults_in_tables();
    for range in ranges {
        for ipa in [range.start.0 - PAGE_SIZE, range.start.0, range.end.0 - PAGE_SIZE, range.end.0] {
            faults.extend(world.faults_at(Ipa(ipa)));
        }
    }
    world.sim.check_groups();
    faults.extend(world.sim.violations());
    faults
}

fn assert_none(faults: &[String], what: impl std::fmt::Display) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

/// An operation that may be refused, and the flat map after it.
struct Refusable {
    range: IpaRange,
    work: fn(&mut World<'_>, IpaRange) -> Result<(), OutOfTables>,
    expect: fn(&mut Flat, IpaRange, &Features),
}

fn map(world: &mut World<'_>, range: IpaRange) -> Result<(), OutOfTables> {
    world.tree.map(world.sim, &mut world.tables, range, copy(1, READ_WRITE, world.sim.features())).map(drop)
}

fn map_page(world: &mut World<'_>, range: IpaRange) -> Result<(), OutOfTables> {
    let page = copy(1, READ, world.sim.features())(range.start)
        .map(|run| (run.output, run.attributes))
        .expect("it is all memory");
    world.tree.map_page(world.sim, &mut world.tables, range.start, page).map(drop)
}

fn unmap(world: &mut World<'_>, range: IpaRange) -> Result<(), OutOfTables> {
    world.tree.unmap(world.sim, &mut world.tables, [range]).map(drop)
}

/// A page far from the range goes with it.
fn unmap_two(world: &mut World<'_>, range: IpaRange) -> Result<(), OutOfTables> {
    world.tree.unmap(world.sim, &mut world.tables, [range, far()]).map(drop)
}

fn far() -> IpaRange {
    page(40 * MIB + 0x1000)
}

fn unmap_and_tell(world: &mut World<'_>, range: IpaRange) -> Result<(), OutOfTables> {
    world.tree.unmap_and_tell(world.sim, &mut world.tables, [range], |_, _| {}).map(drop)
}

fn protect(world: &mut World<'_>, range: IpaRange) -> Result<(), OutOfTables> {
    world.tree.protect(world.sim, &mut world.tables, range, READ).map(drop)
}

fn refusable() -> Vec<Refusable> {
    let maps = [at(0, 0x3000), at(0x1000, 5 * MIB), at(0x1_f000, 70 * MIB), at(MIB, GIB)];
    let pages = [page(0), page(0x1_4000), page(2 * MIB + 0x5000), page(35 * MIB), page(GIB - 0x1000), page(GIB)];
    let cuts = [page(0x3000), page(2 * MIB + 0x5000), page(35 * MIB), at(MIB, 33 * MIB), at(0x5000, GIB - 0xa000)];
    let mapping = |range| Refusable {
        range,
        work: map,
        expect: |flat, range, features| flat.map(range, copy(1, READ_WRITE, features)),
    };
    let putting = |range| Refusable {
        range,
        work: map_page,
        expect: |flat, range, features| {
            flat.remove(range);
            flat.map(range, copy(1, READ, features));
        },
    };
    let unmapping = |range| {
        let expect = |flat: &mut Flat, range, _: &Features| flat.remove(range);
        let both = |flat: &mut Flat, range, _: &Features| {
            flat.remove(range);
            flat.remove(far());
        };
        [(unmap as _, expect as _), (unmap_and_tell as _, expect as _), (unmap_two as _, both as _)]
            .map(|(work, expect)| Refusable { range, work, expect })
    };
    let protecting = |range| Refusable {
        range,
        work: protect,
        expect: |flat, range, _| flat.change(range, |page| page.attributes.perms = READ),
    };
    let mut all: Vec<_> = maps.into_iter().map(mapping).chain(pages.into_iter().map(putting)).collect();
    all.extend(cuts.into_iter().flat_map(unmapping).chain(cuts.into_iter().map(protecting)));
    all
}

#[test]
fn what_is_refused_for_want_of_a_table_changes_nothing_and_can_be_done_later() {
    for (features, geometry) in settings() {
        for (name, layout) in LAYOUTS {
            for operation in refusable() {
                let what = format!("{features:?}, {geometry:?}, {name}, {:?}", operation.range);
                let is_done = |limit: &usize| !is_refused(features, geometry, layout, &operation, *limit, &what);
                assert!((0..12).any(|limit| is_done(&limit)), "{what} is refused for ever");
            }
        }
    }
}

/// Tells whether the operation is refused with so many tables, in which case it must have changed nothing.
fn is_refused(
    features: Features,
    geometry: Geometry,
    layout: &[IpaRange],
    operation: &Refusable,
    limit: usize,
    what: &str,
) -> bool {
    let sim = Sim::new(features, 2 * MIB as usize);
    let mut world = prepared(&sim, geometry, layout);
    let before = snapshot(&world);
    world.tables.limit = limit;
    let is_refused = (operation.work)(&mut world, operation.range).is_err();
    if is_refused {
        assert_none(&before.changes_to(&snapshot(&world)), format_args!("{what} with {limit} tables"));
        assert_none(&faults(&mut world, layout), format_args!("{what} with {limit} tables"));
        world.tables.limit = usize::MAX;
        (operation.work)(&mut world, operation.range).expect("there are tables now");
    }
    (operation.expect)(&mut world.flat, operation.range, &features);
    let all = [layout, &[operation.range]].concat();
    assert_none(&faults(&mut world, &all), format_args!("{what} after {limit} tables"));
    is_refused
}

#[test]
fn what_cannot_fail_does_without_tables_and_takes_no_more_than_the_leaves_that_it_cuts() {
    for (features, geometry) in settings() {
        for (name, layout) in LAYOUTS {
            for range in
                [page(0x3000), page(2 * MIB + 0x5000), page(35 * MIB), at(MIB, 33 * MIB), at(0x5000, GIB - 0xa000)]
            {
                let what = format!("{features:?}, {geometry:?}, {name}, {range:x?}");
                let has_enough = |limit| does_without(features, geometry, layout, range, limit, &what);
                assert!((0..12).any(has_enough), "{what} takes more and more tables");
            }
        }
    }
}

/// Unmaps the range come what may with so many tables; tells whether they were enough.
fn does_without(
    features: Features,
    geometry: Geometry,
    layout: &[IpaRange],
    range: IpaRange,
    limit: usize,
    what: &str,
) -> bool {
    let sim = Sim::new(features, 2 * MIB as usize);
    let mut world = prepared(&sim, geometry, layout);
    let cut = cut_leaves(&world, &[range]);
    world.tables.limit = limit;
    let _ = world.tree.unmap_at_least(world.sim, &mut world.tables, range);
    let had_enough = world.tables.limit > 0;
    world.flat.remove(range);
    let lost = lost(&world, &cut);
    assert!(!had_enough || lost.is_empty(), "{what} takes {lost:x?}, which was not asked for");
    lost.iter().for_each(|range| world.flat.remove(*range));
    let all = [layout, &[range], &cut].concat();
    assert_none(&faults(&mut world, &all), format_args!("{what} with {limit} tables"));
    had_enough
}

/// Returns the leaves that have addresses both in the ranges and out of them.
fn cut_leaves(world: &World<'_>, ranges: &[IpaRange]) -> Vec<IpaRange> {
    let ends = ranges.iter().flat_map(|range| [range.start, Ipa(range.end.0 - PAGE_SIZE)]);
    let leaves = ends.map(|ipa| world.leaf_of(ipa)).filter(|leaf| leaf.len() > 16 * PAGE_SIZE);
    leaves.filter(|leaf| !ranges.iter().any(|range| range.covers(*leaf))).collect()
}

/// Returns the addresses in the leaves that were cut at which nothing is mapped any more, by blocks of 2 MiB.
fn lost(world: &World<'_>, cut: &[IpaRange]) -> Vec<IpaRange> {
    let blocks = cut.iter().flat_map(|leaf| (leaf.start.0..leaf.end.0).step_by(2 * MIB as usize));
    let blocks = blocks.map(|start| IpaRange::new(Ipa(start), 2 * MIB));
    let is_gone = |block: &IpaRange| {
        let last = Ipa(block.end.0 - PAGE_SIZE);
        let is_mapped = |ipa| world.walked(ipa).is_some();
        let was_to_stay = |ipa| world.flat.at(ipa).is_some();
        [block.start, last].into_iter().any(|ipa| was_to_stay(ipa) && !is_mapped(ipa))
    };
    blocks.filter(is_gone).collect()
}
