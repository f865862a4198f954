//! Every interleaving in a small scope: a pair of operations, each on a CPU of its own, and before each of their events any
//! loads and stores of any CPU that change a flag. What they do not change, TLBs that keep all that they may show anyway.
//!
//! The lock of the tree puts one operation after the other; each pair is explored in both orders. A state is what the tables
//! say of the pages of the scope, how far the operations are, and all that they have read so far, which decides what they do
//! next. It is reached by running from the start; states that were seen before are not gone on from.

mod explorer;
mod operation;

use std::time::Instant;

use stage2::Run;
use vmsa::{Attributes, BbmLevel, Dirty, DirtyLevel, Features, Ipa, IpaRange, PAGE_SIZE, Perms};

use crate::bench::{FRAMES, READ, READ_WRITE};
use explorer::{Count, explore};
use operation::Operation;

/// The first page of a table, of a group, and of a block.
const BASE: Ipa = Ipa(0x8000_0000);

fn pages(first: u64, count: u64) -> IpaRange {
    IpaRange::new(BASE.add(first * PAGE_SIZE), count * PAGE_SIZE)
}

fn page(number: u64) -> Ipa {
    BASE.add(number * PAGE_SIZE)
}

/// Memory as adjacent as the addresses, whose stores are noted.
fn memory(perms: Perms) -> impl Fn(Ipa) -> Option<Run> + Copy {
    let attributes = Attributes { dirty: Dirty::Clean, ..Attributes::normal(perms) };
    move |ipa: Ipa| Some(Run { output: FRAMES.add(ipa.0), len: 1 << 30, attributes })
}

/// What is explored: operations on some pages, from some states that they were in.
struct Scope {
    name: &'static str,
    /// The pages that are looked at in every state.
    pages: Vec<Ipa>,
    /// Those that guests use at any time.
    used: Vec<Ipa>,
    /// What is mapped before, and with which permissions.
    layouts: Vec<Vec<(IpaRange, Perms)>>,
    operations: Vec<Operation>,
}

/// Explores a scope on machines of a level, and says how much there was.
fn explore_all(scope: &Scope, bbm: BbmLevel) {
    for dirty in [DirtyLevel::None, DirtyLevel::Dirty] {
        let features = Features { pa_bits: 48, bbm, dirty, ..Features::default() };
        let (start, mut count) = (Instant::now(), Count::default());
        for layout in &scope.layouts {
            for first in &scope.operations {
                for second in &scope.operations {
                    count += explore(features, scope, layout, [first, second]);
                }
            }
        }
        let (name, seconds) = (scope.name, start.elapsed().as_secs_f32());
        println!("note: {name}, FEAT_BBM {bbm:?}, hardware updates {dirty:?}: {count}, {seconds:.1} s");
    }
}

/// Makes a test of a scope for each level of FEAT_BBM.
macro_rules! at_every_level {
    ($($(#[$attribute:meta])* $name:ident: $scope:expr;)*) => {
        $(mod $name {
            use super::*;

            $(#[$attribute])*
            #[test]
            fn level_0() {
                explore_all(&$scope, BbmLevel::BreakFirst);
            }

            $(#[$attribute])*
            #[test]
            fn level_1() {
                explore_all(&$scope, BbmLevel::NoTranslationCaching);
            }

            $(#[$attribute])*
            #[test]
            fn level_2() {
                explore_all(&$scope, BbmLevel::Direct);
            }
        })*
    };
}

/// Every operation on each of the ranges.
fn operations(ranges: &[IpaRange]) -> Vec<Operation> {
    let on = |range: IpaRange| {
        [
            Operation::Map(range),
            Operation::Unmap(range),
            Operation::UnmapAndTell(range),
            Operation::Protect(range, READ),
            Operation::Protect(range, READ_WRITE),
            Operation::Age(range),
            Operation::Harvest(range),
        ]
    };
    ranges.iter().flat_map(|range| on(*range)).collect()
}

fn on_page(number: u64) -> Vec<Operation> {
    vec![
        Operation::Put(page(number), FRAMES.add(1 << 36), READ_WRITE),
        Operation::Put(page(number), FRAMES.add(page(number).0), READ),
        Operation::Touch(page(number), Perms::WRITE),
    ]
}

/// Pages of a table, alone and together.
fn pages_scope(count: u64, ranges: &[IpaRange]) -> Scope {
    let all = pages(1, count);
    Scope {
        name: "pages",
        pages: (1..=count).map(page).collect(),
        used: (1..=count).map(page).collect(),
        layouts: vec![vec![], vec![(all, READ_WRITE)], vec![(pages(1, 1), READ), (pages(count, 1), READ_WRITE)]],
        operations: [operations(ranges), on_page(1)].concat(),
    }
}

/// A leaf of `count` pages, and the page after it.
fn sizes_scope(name: &'static str, count: u64, used: &[u64], ranges: &[IpaRange]) -> Scope {
    Scope {
        name,
        pages: [0, 1, count - 1, count].map(page).to_vec(),
        used: used.iter().copied().map(page).collect(),
        layouts: vec![
            vec![(pages(0, count), READ_WRITE), (pages(count, 1), READ_WRITE)],
            vec![(pages(0, count), READ_WRITE), (pages(1, 1), READ)],
        ],
        operations: [operations(ranges), on_page(1)].concat(),
    }
}

/// Every range of four pages.
fn ranges_of_four() -> Vec<IpaRange> {
    (1..=4).flat_map(|first| (1..=5 - first).map(move |count| pages(first, count))).collect()
}

fn group_scope() -> Scope {
    sizes_scope("a group", 16, &[1, 15], &[pages(1, 1), pages(0, 16)])
}

at_every_level! {
    pages_are_right_in_every_state: pages_scope(2, &[pages(1, 1), pages(1, 2)]);
    a_group_is_right_in_every_state: Scope { layouts: group_scope().layouts[..1].to_vec(), ..group_scope() };
    a_block_is_right_in_every_state: sizes_scope("a block", 512, &[1, 511], &[pages(1, 1), pages(0, 512)]);

    #[ignore = "full: every range of four pages"]
    four_pages_are_right_in_every_state: pages_scope(4, &ranges_of_four());
    #[ignore = "full: groups with a hint and without, cut in every way"]
    a_group_is_right_however_it_is_cut:
        sizes_scope("a group", 16, &[0, 1, 15], &[pages(0, 1), pages(1, 1), pages(1, 15), pages(0, 16), pages(15, 2)]);
    #[ignore = "full: blocks that are cut in every way"]
    a_block_is_right_however_it_is_cut:
        sizes_scope("a block", 512, &[0, 1, 511], &[pages(1, 1), pages(1, 511), pages(0, 512), pages(0, 16), pages(511, 2)]);
}
