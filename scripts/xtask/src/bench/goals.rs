//! What the figures shall be, and what they shall never grow like.

use std::fmt;
use std::ops::RangeInclusive;

use super::figures::Figure;

/// The most that a work may cost at certain sizes.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    work: &'static str,
    sizes: RangeInclusive<u64>,
    pub(crate) most: Most,
}

/// A bound, in the figure's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Most {
    /// For each of `n`.
    Each(f64),
    /// For all of it.
    All(u64),
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(most) => write!(f, "at most {most} for each"),
            Self::All(most) => write!(f, "at most {most}"),
        }
    }
}

/// The frames of 1 GiB.
pub(crate) const GIB_FRAMES: u64 = 1 << 18;

/// At a few pages the call itself is most of the cost: bounds for each of many hold from here.
const MANY_PAGES: u64 = 512;
const MANY_BLOCKS: u64 = 128;

/// How many invalidations, of both stages, unmapping may need at any size: with FEAT_TLBIRANGE, and without.
pub(crate) const TLBIS_WITH_RANGE: u64 = 2;
pub(crate) const TLBIS_WITHOUT_RANGE: u64 = 34;

/// How much RAM may add to the instructions from reset to the guest, for each frame beyond the first GiB.
pub(crate) const BOOT_GROWTH: f64 = 1.0;

/// All bounds; the first that is for a work and size counts.
fn all() -> Vec<Goal> {
    use Most::{All, Each};
    let goal = |work, sizes, most| Goal { work, sizes, most };
    let (one, many, any) = (1..=1, MANY_PAGES..=u64::MAX, 0..=u64::MAX);
    vec![
        goal("boot", 1..=GIB_FRAMES, All(3_000_000)),
        goal("null", one.clone(), Each(90.0)),
        goal("unmap", one.clone(), Each(700.0)),
        goal("unmap", 65536..=u64::MAX, Each(0.3)),
        goal("unmap", many.clone(), Each(2.0)),
        goal("unmap-block", MANY_BLOCKS..=u64::MAX, Each(10.0)),
        goal("split", one, Each(1500.0)),
        goal("commit", many.clone(), Each(120.0)),
        goal("commit-block", any.clone(), Each(40_000.0)),
        goal("touch", any.clone(), Each(600.0)),
        goal("map", many.clone(), Each(8.0)),
        goal("protect", many.clone(), Each(8.0)),
        goal("decommit", many, Each(30.0)),
        goal("image", any.clone(), All(256 << 10)),
        goal("bookkeeping", any.clone(), Each(32.0)),
        goal("memory-pages", any.clone(), Each(0.012)),
        goal("memory-blocks", any, Each(0.005)),
    ]
}

/// Returns the bound for a figure, where there is one.
pub(crate) fn of(figure: &Figure) -> Option<Goal> {
    all().into_iter().find(|goal| goal.work == figure.work && goal.sizes.contains(&figure.n))
}

impl Goal {
    /// Tells whether the figure is within the bound.
    pub(crate) fn is_reached(&self, figure: &Figure) -> bool {
        match self.most {
            Most::Each(most) => figure.per_page <= most,
            Most::All(most) => figure.amount.value() <= most,
        }
    }
}

/// Returns how many invalidations are more than unmapping may need, as a line for each figure.
pub(crate) fn too_many_tlbis(figures: &[Figure], most: u64) -> Vec<String> {
    let unmaps = figures.iter().filter(|figure| matches!(figure.work.as_str(), "unmap" | "unmap-block"));
    let too_many = unmaps.filter(|figure| figure.all_tlbis() > most);
    too_many
        .map(|figure| format!("{} of {}: {} TLBIs, at most {most}", figure.work, figure.n, figure.all_tlbis()))
        .collect()
}

/// How much more each of `n` may cost at a larger size, for it to be flat: a step of a tree, the end of a table.
const FLAT: f64 = 1.05;

/// How a cost changes with the size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Growth {
    /// It is flat, or falls; or grows no faster than a search tree does.
    Slow,
    /// It grows faster.
    Fast,
}

/// Tells how the cost for each of `n` grows, given figures of one work in the order of their sizes.
pub(crate) fn growth_each(figures: &[&Figure]) -> Growth {
    let is_flat = figures.windows(2).all(|pair| pair[1].per_page <= pair[0].per_page * FLAT);
    if is_flat { Growth::Slow } else { Growth::Fast }
}

/// Tells how the cost of one operation grows with how much else there is. A walk over all that is there takes an instruction each
/// at the very least; a search tree adds far less than that.
pub(crate) fn growth_among(figures: &[&Figure]) -> Growth {
    let is_slow = |pair: &[&Figure]| {
        let (before, after) = (pair[0], pair[1]);
        // From one to a few, constants count for more than growth does.
        before.n == 1 || after.amount.value().saturating_sub(before.amount.value()) < after.n - before.n
    };
    if figures.windows(2).all(is_slow) { Growth::Slow } else { Growth::Fast }
}

/// Returns how much each frame of RAM adds to booting, where machines of two sizes were booted.
pub(crate) fn boot_growth(figures: &[Figure]) -> Option<f64> {
    let mut boots = figures.iter().filter(|figure| figure.work == "boot");
    let (small, large) = (boots.next()?, boots.next()?);
    Some((large.amount.value() as f64 - small.amount.value() as f64) / (large.n - small.n) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::figure;

    #[test]
    fn a_bound_is_for_a_work_and_a_size() {
        let most = |work, n| of(&figure(work, n, 0)).map(|goal| goal.most);
        assert_eq!(most("unmap", 1), Some(Most::Each(700.0)));
        assert_eq!(most("unmap", 16), None);
        assert_eq!(most("unmap", 4096), Some(Most::Each(2.0)));
        assert_eq!(most("unmap", 65536), Some(Most::Each(0.3)));
        assert_eq!((most("boot", GIB_FRAMES), most("boot", 2 * GIB_FRAMES)), (Some(Most::All(3_000_000)), None));
        assert_eq!(most("nothing", 1), None);
    }

    #[test]
    fn a_bound_is_reached_up_to_itself() {
        for (work, n, most) in [("null", 1, 90), ("map", 512, 8 * 512), ("boot", GIB_FRAMES, 3_000_000)] {
            let is_reached = |cost| of(&figure(work, n, cost)).unwrap().is_reached(&figure(work, n, cost));
            assert!(is_reached(most) && !is_reached(most + 1), "{work}");
        }
    }

    #[test]
    fn every_work_that_unmaps_is_held_to_its_tlbis_of_both_stages() {
        let unmap = |work, tlbi, stage1| Figure { tlbi, stage1, ..figure(work, 512, 1) };
        let few = [unmap("unmap", 1, 1), unmap("unmap-block", 2, 0), unmap("decommit", 8, 8)];
        assert_eq!(too_many_tlbis(&few, TLBIS_WITH_RANGE), Vec::<String>::new());
        let many = [unmap("unmap", 1, 2), unmap("unmap-block", 33, 2)];
        assert_eq!(
            too_many_tlbis(&many, 2),
            ["unmap of 512: 3 TLBIs, at most 2", "unmap-block of 512: 35 TLBIs, at most 2"]
        );
        assert_eq!(too_many_tlbis(&many, 34).len(), 1);
    }

    #[test]
    fn growth_is_told_from_noise() {
        let each = |costs: [u64; 3]| {
            let figures = [figure("map", 1, costs[0]), figure("map", 10, costs[1]), figure("map", 100, costs[2])];
            growth_each(&figures.each_ref())
        };
        assert_eq!(each([1000, 1000, 1000]), Growth::Slow);
        assert_eq!(each([100, 1040, 10_800]), Growth::Slow);
        assert_eq!(each([100, 1060, 10_600]), Growth::Fast);
        let among = |costs: [u64; 3]| {
            let figures = [figure("x", 1, costs[0]), figure("x", 100, costs[1]), figure("x", 10_000, costs[2])];
            growth_among(&figures.each_ref())
        };
        assert_eq!(among([5000, 6000, 7000]), Growth::Slow);
        assert_eq!(among([7000, 6000, 5000]), Growth::Slow);
        assert_eq!(among([5000, 6000, 15_899]), Growth::Slow);
        assert_eq!(among([5000, 6000, 15_900]), Growth::Fast);
    }

    #[test]
    fn booting_grows_by_the_difference_of_two_machines() {
        let boots = [figure("boot", 100, 1000), figure("null", 1, 5), figure("boot", 300, 1300)];
        assert_eq!(boot_growth(&boots), Some(1.5));
        assert_eq!(boot_growth(&boots[..2]), None);
    }
}
