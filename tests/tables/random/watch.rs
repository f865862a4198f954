//! What other CPUs see and do while an operation is under way.

use std::cell::{Cell, RefCell};

use tests::{Seen, Sim};
use vmsa::{Geometry, Hpa, Ipa, IpaRange, PAGE_SIZE, Perms};

use super::program::Step;
use crate::flat::Flat;
use crate::world::{World, access, is_permitted, leaf_at, touch};

/// A guest's access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) ipa: Ipa,
    /// The page that it got; none if it faulted, which may leave an access flag all the same.
    pub(super) frame: Option<Hpa>,
    pub(super) perms: Perms,
    /// It walked the tables as they are, which sets the access flag; what a TLB held may have been made before that was cleared.
    pub(super) is_walked: bool,
    /// The leaf that it found, or the group.
    pub(super) leaf: IpaRange,
}

/// An operation's onlooker: at events that a seed chooses, some CPU looks at a page, or uses it.
pub(super) struct Watch<'w> {
    sim: &'w Sim,
    vttbr: u64,
    root: Hpa,
    geometry: Geometry,
    before: &'w Flat,
    after: &'w Flat,
    step: &'w Step,
    pages: &'w [Ipa],
    seed: Cell<u64>,
    pub(super) used: RefCell<Vec<Used>>,
    pub(super) faults: RefCell<Vec<String>>,
}

impl<'w> Watch<'w> {
    pub(super) fn new(
        world: &World<'w>,
        flats: (&'w Flat, &'w Flat),
        step: &'w Step,
        pages: &'w [Ipa],
        seed: u64,
    ) -> Self {
        Self {
            sim: world.sim,
            vttbr: world.tree.vttbr(),
            root: world.tree.root(),
            geometry: world.tree.geometry(),
            before: flats.0,
            after: flats.1,
            step,
            pages,
            seed: Cell::new(seed | 1),
            used: RefCell::default(),
            faults: RefCell::default(),
        }
    }

    /// Hears of an event that is about to happen; most go by.
    pub(super) fn look(&self) {
        if self.draw(8) != 0 {
            return;
        }
        let (cpu, ipa) = (self.draw(self.sim.cpus()), self.page());
        for seen in access(self.sim, cpu, self.vttbr, self.geometry, ipa) {
            self.judge(cpu, ipa, seen);
        }
        if self.draw(2) == 0 {
            self.touch(self.draw(self.sim.cpus()), self.page());
        }
    }

    /// Returns one of the pages that are watched, or one at an end of what the operation changes.
    fn page(&self) -> Ipa {
        let ranges = self.step.ranges();
        let range = ranges[self.draw(ranges.len())];
        match self.draw(4) {
            0 => range.start,
            1 => Ipa(range.end.0 - PAGE_SIZE),
            _ => self.pages[self.draw(self.pages.len())],
        }
    }

    fn touch(&self, cpu: usize, ipa: Ipa) {
        let perms = if self.draw(3) == 0 { Perms::READ } else { Perms::WRITE };
        let leaf = leaf_at(self.sim, (self.root, self.geometry), ipa);
        let mut is_walked = false;
        let seen = touch(self.sim, cpu, (self.vttbr, self.geometry), (ipa, perms), |ways| {
            let way = self.draw(ways);
            is_walked = way == 0;
            way
        });
        self.judge(cpu, ipa, seen);
        let frame = match seen {
            Seen::Page(frame, allowed) | Seen::Unnoted(frame, allowed) if allowed.contains(perms) => Some(frame),
            _ => None,
        };
        self.used.borrow_mut().push(Used { ipa, frame, perms, is_walked, leaf });
    }

    fn judge(&self, cpu: usize, ipa: Ipa, seen: Seen) {
        let is_right = is_permitted(self.sim, (self.before, self.after), ipa, seen);
        if !is_right {
            let [before, after] = [self.before, self.after].map(|flat| flat.page(ipa));
            let expected = format!("{before:?} or {after:?}");
            self.faults.borrow_mut().push(format!("{ipa}: expected {expected}, CPU {cpu} may see {seen:?} meanwhile"));
        }
    }

    /// Returns a number below `below`, by the seed (xorshift64*).
    fn draw(&self, below: usize) -> usize {
        let mut x = self.seed.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.seed.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}
