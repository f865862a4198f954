//! Comparing figures with those that are kept in the repository.

use std::path::PathBuf;

use super::figures::{Amount, Figure};
use crate::cargo;

/// The CPU model whose figures are kept.
pub(crate) const CPU: &str = "max";

/// Returns where they are kept. They depend on the sources and on the toolchain that `rust-toolchain.toml` names, and on no host: the
/// instructions that are counted are the machine's.
pub(crate) fn path() -> PathBuf {
    cargo::workspace().join("tests/bench/baseline.json")
}

/// What has changed, a line each.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Changes {
    /// What is worse, or cannot be compared.
    pub(crate) worse: Vec<String>,
    /// What is better.
    pub(crate) better: Vec<String>,
}

/// Compares what is with what was. Amounts and stores may be worse by 1 %, invalidations and barriers not at all.
pub(crate) fn compare(was: &[Figure], is: &[Figure]) -> Changes {
    let mut changes = Changes::default();
    let same = |one: &Figure, other: &Figure| one.work == other.work && one.n == other.n;
    for old in was {
        match is.iter().find(|new| same(old, new)) {
            Some(new) => changes.add(old, new),
            None => changes.worse.push(format!("{} of {} is not measured any more", old.work, old.n)),
        }
    }
    let unknown = is.iter().filter(|new| !was.iter().any(|old| same(old, new)));
    changes.worse.extend(unknown.map(|new| format!("{} of {} is not in the baseline", new.work, new.n)));
    changes
}

impl Changes {
    fn add(&mut self, was: &Figure, is: &Figure) {
        let unit = |amount: Amount| amount.unit();
        if unit(was.amount) != unit(is.amount) {
            self.worse.push(format!("{} of {} was in {}, is in {}", is.work, is.n, unit(was.amount), unit(is.amount)));
            return;
        }
        self.note(is, unit(is.amount), (was.amount.value(), is.amount.value()), PERCENT);
        self.note(is, "descriptor stores", (was.stores, is.stores), PERCENT);
        self.note(is, "stage-2 TLBIs", (was.tlbi, is.tlbi), 0);
        self.note(is, "stage-1 TLBIs", (was.stage1, is.stage1), 0);
        self.note(is, "DSBs", (was.dsb, is.dsb), 0);
    }

    fn note(&mut self, figure: &Figure, unit: &str, (was, is): (u64, u64), percent: u64) {
        let change = (is as f64 / was as f64 - 1.0) * 100.0;
        let change = if was == 0 { String::new() } else { format!(" ({change:+.1} %)") };
        let line = || format!("{} of {}: was {was} {unit}, is {is}{change}", figure.work, figure.n);
        if is * 100 > was * (100 + percent) {
            self.worse.push(line());
        } else if is < was {
            self.better.push(line());
        }
    }
}

/// How much worse may pass, in percent.
const PERCENT: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::figure;

    fn worse(was: &Figure, is: &Figure) -> Vec<String> {
        compare(std::slice::from_ref(was), std::slice::from_ref(is)).worse
    }

    #[test]
    fn what_is_worse_by_more_than_a_percent_is_named() {
        let was = figure("unmap", 512, 1000);
        assert_eq!(worse(&was, &figure("unmap", 512, 1010)), Vec::<String>::new());
        let expected = ["unmap of 512: was 1000 instructions, is 1011 (+1.1 %)"];
        assert_eq!(worse(&was, &figure("unmap", 512, 1011)), expected);
        let stores = |stores| Figure { stores, ..was.clone() };
        assert_eq!(worse(&stores(100), &stores(101)).len(), 0);
        assert_eq!(worse(&stores(100), &stores(102)).len(), 1);
        assert_eq!(worse(&stores(0), &stores(1)), ["unmap of 512: was 0 descriptor stores, is 1"]);
    }

    #[test]
    fn one_more_invalidation_or_barrier_is_worse() {
        let was = Figure { tlbi: 200, stage1: 200, dsb: 200, ..figure("unmap", 512, 1000) };
        for (is, unit) in [
            (Figure { tlbi: 201, ..was.clone() }, "stage-2 TLBIs"),
            (Figure { stage1: 201, ..was.clone() }, "stage-1 TLBIs"),
            (Figure { dsb: 201, ..was.clone() }, "DSBs"),
        ] {
            assert_eq!(worse(&was, &is), [format!("unmap of 512: was 200 {unit}, is 201 (+0.5 %)")]);
        }
    }

    #[test]
    fn what_is_better_is_told_and_is_no_fault() {
        let changes = compare(&[figure("map", 1, 1000)], &[figure("map", 1, 500)]);
        let better = vec!["map of 1: was 1000 instructions, is 500 (-50.0 %)".to_owned()];
        assert_eq!(changes, Changes { worse: Vec::new(), better });
    }

    #[test]
    fn rows_that_are_on_one_side_alone_are_faults() {
        let changes = compare(&[figure("map", 1, 1), figure("map", 2, 1)], &[figure("map", 2, 1), figure("map", 3, 1)]);
        assert_eq!(changes.worse, ["map of 1 is not measured any more", "map of 3 is not in the baseline"]);
        let bytes = Figure::plain("map", 1, Amount::Bytes(1));
        assert_eq!(worse(&figure("map", 1, 1), &bytes), ["map of 1 was in instructions, is in bytes"]);
    }
}
