//! An operation that is under way, and what it may not change (R51).

use vmsa::{Ipa, IpaRange, Perms};

use crate::descriptor::{Entry, Leaf, piece};
use crate::event::Work;
use crate::violation::Place;

/// How many places outside its range an operation may touch: the blocks at its two ends, groups, tables that it merges.
const MOST_TOUCHED: usize = 8;

/// How many blocks it may mark with nT: one at each end.
const MOST_MARKED: usize = 2;

/// What was at addresses that are outside of an operation's range, at least in part, before it touched them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub(crate) range: IpaRange,
    pub(crate) was: Option<Leaf>,
}

impl Touched {
    pub(crate) fn holds(&self, ipa: Ipa) -> bool {
        self.range.start <= ipa && ipa < self.range.end
    }

    /// Returns what would have been next to it as more of the same.
    fn continued(&self) -> Option<Leaf> {
        self.was.map(|was| was.moved(self.range.len()))
    }

    /// Tells whether an address is as it was. What the walk sets may be set since, and hints and sizes do not count.
    pub(crate) fn is_kept(&self, ipa: Ipa, now: Entry) -> bool {
        let (Entry::Leaf(now), Some(was)) = (now, self.was) else {
            return !matches!(now, Entry::Leaf(_)) && self.was.is_none();
        };
        let (was, now) = self.pieces(ipa, was, now);
        are_alike(was, now)
    }

    /// Tells whether instructions were fetched at an address from where `now` has them fetched.
    pub(crate) fn was_fetched(&self, ipa: Ipa, now: Leaf) -> bool {
        self.was.filter(|was| was.perms().intersects(Perms::EXECUTE)).is_some_and(|was| {
            let (was, now) = self.pieces(ipa, was, now);
            was.output() == now.output()
        })
    }

    /// Returns what the leaf that was there and the one that is have at an address, in the smaller of their sizes.
    fn pieces(&self, ipa: Ipa, was: Leaf, now: Leaf) -> (Leaf, Leaf) {
        let level = was.level.max(now.level);
        let at = ipa.0 & !(level.entry_span() - 1);
        let ahead = at.saturating_sub(self.range.start.0);
        (piece(was, level, ahead), piece(now, level, at & (now.level.entry_span() - 1)))
    }
}

/// What the walk had set is set, and may be set since.
fn are_alike(was: Leaf, now: Leaf) -> bool {
    was.output() == now.output() && was.kept_bits() == now.kept_bits() && was.updated_bits() & !now.updated_bits() == 0
}

/// An operation of one CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) work: Work,
    pub(crate) vm: u32,
    pub(crate) range: IpaRange,
    pub(crate) perms: Option<Perms>,
    /// When it began.
    pub(crate) began: u64,
    /// A guest ran on this CPU meanwhile.
    pub(crate) was_left: bool,
    touched: [Option<Touched>; MOST_TOUCHED],
    /// The blocks that were marked with nT last.
    pub(crate) marked: [Option<Place>; MOST_MARKED],
}

impl Operation {
    pub(crate) const fn new(work: Work, vm: u32, range: IpaRange, perms: Option<Perms>, began: u64) -> Self {
        Self {
            work,
            vm,
            range,
            perms,
            began,
            was_left: false,
            touched: [None; MOST_TOUCHED],
            marked: [None; MOST_MARKED],
        }
    }

    pub(crate) fn touched(&self) -> impl Iterator<Item = &Touched> {
        self.touched.iter().flatten()
    }

    /// Takes note of a block that was marked with nT; the last ones count.
    pub(crate) const fn mark(&mut self, place: Place) {
        self.marked = [Some(place), self.marked[0]];
    }

    /// Takes note of what was at a range that is to change; `None` where there is no room for it. What was there first counts.
    pub(crate) fn touch(&mut self, range: IpaRange, was: Option<Leaf>) -> Option<()> {
        let is_known = self.touched().any(|touched| touched.range.covers(range));
        // A fault may be served by more than its page: by a block, or by the pages around it.
        let is_around = self.work == Work::Fault && was.is_none();
        if self.range.covers(range) || is_known || is_around {
            return Some(());
        }
        let goes_on = |before: &&mut Touched| before.range.end == range.start && before.continued() == was;
        if let Some(before) = self.touched.iter_mut().flatten().find(goes_on) {
            before.range.end = range.end;
            return Some(());
        }
        let place = self.touched.iter_mut().find(|place| place.is_none())?;
        *place = Some(Touched { range, was });
        Some(())
    }
}
