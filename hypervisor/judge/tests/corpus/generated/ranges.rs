//! Every level hint for every level, and ranges of every shape against pages around their ends.

use super::{Comparison, Verdict};
use crate::scene::{Machine, PAGE, Range, Scene, span};

const WRONG: [&str; 6] = ["R25", "R16", "R8", "R1", "R11", "R15"];

/// Breaks the leaf, invalidates by the operation and operand, and has the slot lead elsewhere.
fn remap(level: u8, ipa: u64, op: &str, xt: u64) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::ALL_TLBIS);
    let leaf = s.map(vm, ipa, level);
    s.remap(leaf, |s| s.dsb("ishst").tlbi_xt(op, xt).dsb("ish").tlbi("vmalle1is").dsb("ish"));
    s
}

#[test]
fn every_hint_for_every_level() {
    let mut comparison = Comparison::default();
    let ipa = 8 << 30;
    for (level, op) in (1..=3).flat_map(|level| ["ipas2e1is", "ipas2le1is"].map(|op| (level, op))) {
        for hint in 0b0000..=0b1111 {
            let verdict = match hint {
                0b0000 => Verdict::Right,
                // No granule is said, and a level is: that is no information, or a mistake.
                0b0001..=0b0011 => Verdict::Open,
                // Level 0 with the granule of 4 KiB: reserved, as there are no leaves there.
                0b0100 => Verdict::Open,
                _ if hint == 0b0100 | u64::from(level) => Verdict::Right,
                _ => Verdict::Wrong(WRONG.to_vec()),
            };
            let s = remap(level, ipa, op, hint << 44 | ipa >> 12);
            comparison.add(&format!("{op} TTL {hint:04b} for level {level}"), &s.text(), &verdict);
        }
    }
    comparison.conclude();
}

#[test]
fn every_address_within_a_leaf_and_around_it() {
    let mut comparison = Comparison::default();
    let ipa = 8 << 30;
    for level in 1..=3 {
        for at in [ipa - PAGE, ipa, (ipa + span(level) / 2) & !0xfff, ipa + span(level) - PAGE, ipa + span(level)] {
            let is_within = (ipa..ipa + span(level)).contains(&at);
            let verdict = if is_within { Verdict::Right } else { Verdict::Wrong(WRONG.to_vec()) };
            comparison.add(
                &format!("{at:#x}, level {level}"),
                &remap(level, ipa, "ipas2e1is", at >> 12).text(),
                &verdict,
            );
        }
    }
    comparison.conclude();
}

/// Returns the pages that a range covers, from the definition in the manual.
const fn covered(range: Range) -> u64 {
    range.times << (5 * range.scale + 1)
}

#[test]
fn every_range_against_the_leaves_at_its_ends() {
    let mut comparison = Comparison::default();
    let start = 16 << 30;
    for (scale, level) in (0..4).flat_map(|scale| (0..4).map(move |level| (scale, level))) {
        for times in [1, 2, 3, 16, 31, 32] {
            let range = Range { ipa: start, times, scale, level };
            let end = start + covered(range) * PAGE;
            for leaf_level in 2..=3 {
                against_leaves(&mut comparison, range, end, leaf_level);
            }
        }
    }
    comparison.conclude();
}

/// Leaves of a level that begin where the range does, end there, end where it does, and begin there.
fn against_leaves(comparison: &mut Comparison, range: Range, end: u64, leaf_level: u8) {
    let size = span(leaf_level);
    for ipa in [range.ipa, range.ipa - size, (end - PAGE) & !(size - 1), (end + size - 1) & !(size - 1)] {
        let overlaps = ipa < end && range.ipa < ipa + size;
        let hint_is_true = range.level == 0 || range.level == u64::from(leaf_level);
        let verdict = if overlaps && hint_is_true { Verdict::Right } else { Verdict::Wrong(WRONG.to_vec()) };
        let s = remap(leaf_level, ipa, "ripas2e1is", range.operand());
        comparison.add(&format!("{range:?} against {ipa:#x}, level {leaf_level}"), &s.text(), &verdict);
    }
}

/// Pages that are freed after ranges of every scale that a count of pages may be taken apart into.
#[test]
fn every_count_of_pages_taken_apart_into_scales() {
    let mut comparison = Comparison::default();
    for pages in [1, 2, 3, 7, 8, 9, 63, 64, 65, 66, 67, 127, 130, 200] {
        for dropped in 0..=operands(pages).len() {
            let mut list = operands(pages);
            let is_whole = dropped == list.len();
            if !is_whole {
                list.remove(dropped);
            }
            let verdict = if is_whole { Verdict::Right } else { Verdict::Wrong([&WRONG[..], &["R33"]].concat()) };
            comparison.add(&format!("{pages} pages without part {dropped}"), &freed(pages, &list).text(), &verdict);
        }
    }
    comparison.conclude();
}

const START: u64 = 0x1_4000_0000;

/// Takes a count of pages apart as Linux does: an odd page first, then what each scale can take.
fn operands(pages: u64) -> Vec<(&'static str, u64)> {
    let (mut ipa, mut left, mut list) = (START, pages, Vec::new());
    if left % 2 == 1 {
        list.push(("ipas2e1is", ipa >> 12));
        (ipa, left) = (ipa + PAGE, left - 1);
    }
    for scale in 0..4 {
        let times = left >> (5 * scale + 1) & 31;
        if times > 0 {
            let range = Range { ipa, times, scale, level: 0 };
            list.push(("ripas2e1is", range.operand()));
            (ipa, left) = (ipa + covered(range) * PAGE, left - covered(range));
        }
    }
    list
}

fn freed(pages: u64, list: &[(&str, u64)]) -> Scene {
    let (mut s, vm) = Scene::with_vm(Machine::ALL_TLBIS);
    let leaves = s.map_run(vm, START, 3, pages, |word| word);
    s.begin("decommit", 1, START, pages).lock(1).break_all(&leaves).dsb("ishst");
    for (op, xt) in list {
        s.tlbi_xt(op, *xt);
    }
    s.dsb("ish").tlbi("vmalle1is").dsb("ish").give_back(leaves[0].pa, pages).close(vm);
    s
}
