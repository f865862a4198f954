//! Contiguous groups: 16 entries that TLBs may hold as one (R17, R18).

use vmsa::{Hpa, Level};

use crate::Oracle;
use crate::descriptor::{Entry, Leaf};
use crate::facts::Pool;
use crate::note::{Notes, State};
use crate::rule::Rule;
use crate::store::Write;
use crate::violation::Finding;

/// How many entries a group has (4 KiB granule, every level).
const MEMBERS: u64 = 16;
/// How many groups may be between two states at a time.
const MOST_TOUCHED: usize = 16;

/// A group that was touched since it was last seen to be right.
#[derive(Clone, Copy, Debug)]
struct Touched {
    first: Hpa,
    cpu: usize,
    /// A member was changed, or taken out.
    is_broken: bool,
}

/// The groups that were touched.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    touched: [Option<Touched>; MOST_TOUCHED],
    /// One had no room here.
    is_full: bool,
}

impl Groups {
    /// Remembers a group; tells whether there was room.
    fn touch(&mut self, first: Hpa, cpu: usize, is_broken: bool) -> bool {
        if let Some(known) = self.touched.iter_mut().flatten().find(|touched| touched.first == first) {
            known.is_broken |= is_broken;
            return true;
        }
        let place = self.touched.iter_mut().find(|place| place.is_none());
        place.map(|place| *place = Some(Touched { first, cpu, is_broken })).is_some()
    }
}

impl<N: Notes, P: Pool> Oracle<N, P> {
    /// Takes note that a member of a group was changed, if the leaf is one.
    pub(crate) fn touch_group(&mut self, write: &Write, leaf: Leaf, is_broken: bool, read: &impl Fn(Hpa) -> u64) {
        if !leaf.is_contiguous() {
            return;
        }
        let first = Hpa(write.place.slot.0 & !(8 * MEMBERS - 1));
        self.remember_group(first, write.cpu, is_broken, read);
    }

    fn remember_group(&mut self, first: Hpa, cpu: usize, is_broken: bool, read: &impl Fn(Hpa) -> u64) {
        if self.groups.touch(first, cpu, is_broken) {
            return;
        }
        self.forget_groups(read);
        self.groups.is_full |= !self.groups.touch(first, cpu, is_broken);
    }

    /// Forgets the groups that are whole again.
    fn forget_groups(&mut self, read: &impl Fn(Hpa) -> u64) {
        for place in &mut self.groups.touched {
            let level = |touched: Touched| self.notes.get(touched.first.page_base()).table_level();
            let is_whole = |touched: Touched| {
                let level = level(touched);
                agree(|number| Entry::of(read(touched.first.add(8 * number)), level))
            };
            if place.is_some_and(is_whole) {
                *place = None;
            }
        }
    }

    /// Takes note of the groups of a table that comes into a tree, where they do not agree.
    pub(crate) fn touch_groups(&mut self, cpu: usize, table: Hpa, level: Level, read: &impl Fn(Hpa) -> u64) {
        for first in (0..512 / MEMBERS).map(|group| table.add(8 * MEMBERS * group)) {
            if !agree(|number| Entry::of(read(first.add(8 * number)), level)) {
                self.remember_group(first, cpu, false, read);
            }
        }
    }

    /// Judges the groups that the CPU has touched: it is done with them.
    pub(crate) fn judge_groups(&mut self, cpu: usize, read: &impl Fn(Hpa) -> u64) {
        for index in 0..MOST_TOUCHED {
            let Some(touched) = self.groups.touched[index].filter(|touched| touched.cpu == cpu) else { continue };
            self.groups.touched[index] = None;
            let note = self.notes.get(touched.first.page_base());
            if note.state != State::Linked {
                continue;
            }
            let level = note.table_level();
            let ipa = note.base().add(touched.first.0 % 4096 / 8 * level.entry_span());
            let members = |number: u64| Entry::of(read(touched.first.add(8 * number)), level);
            if !agree(members) {
                let rule = if touched.is_broken { Rule::GroupChange } else { Rule::Group };
                let place = self.place(note.tree, ipa, level, touched.first);
                self.findings.add(Finding::new(rule).at(place));
            }
        }
        if self.groups.is_full {
            self.groups.is_full = false;
            let detail = "more contiguous groups are half written than the oracle remembers";
            self.findings.add(Finding::new(Rule::SelfCheck).with_detail(detail));
        }
    }
}

/// Tells whether all members have the hint, follow each other from an aligned address on and are alike, or none has it.
fn agree(member: impl Fn(u64) -> Entry) -> bool {
    let hinted = |entry: Entry| {
        if let Entry::Leaf(leaf) = entry { Some(leaf).filter(|leaf| leaf.is_contiguous()) } else { None }
    };
    if (0..MEMBERS).all(|number| hinted(member(number)).is_none()) {
        return true;
    }
    let Some(first) = hinted(member(0)) else { return false };
    let span = first.level.entry_span();
    first.output().0.is_multiple_of(MEMBERS * span)
        && (1..MEMBERS).all(|number| {
            hinted(member(number)).is_some_and(|leaf| {
                leaf.output() == first.output().add(number * span) && leaf.group_bits() == first.group_bits()
            })
        })
}
