//! The table of planted bugs: the numbers up to 110 are the project's list of what must be noticed, those above are more of
//! their kind.

mod faults;
mod invalidations;
mod pages;
mod registers;
mod rights;
mod shapes;
mod testing;

use crate::boots::Boot;

/// A planted bug.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its number, by which the code that it spoils asks for it.
    pub(crate) number: u32,
    /// What is spoiled.
    pub(crate) what: &'static str,
    /// The model must notice it.
    pub(crate) model: bool,
    /// The rules by which the oracles may notice it; none if they cannot.
    pub(crate) rules: &'static [&'static str],
    /// The oracle on the simulated machine must.
    pub(crate) oracle: bool,
    /// The oracle in the hypervisor must, on this machine.
    pub(crate) live: Option<Boot>,
    /// A guest must, on this machine.
    pub(crate) guest: Option<Boot>,
    /// Why there is no such bug in this code.
    pub(crate) absent: Option<&'static str>,
}

impl Row {
    /// Returns a bug that no gate notices.
    const fn new(number: u32, what: &'static str) -> Self {
        Self { number, what, model: false, rules: &[], oracle: false, live: None, guest: None, absent: None }
    }

    /// Returns a bug that this code cannot have.
    const fn absent(number: u32, what: &'static str, why: &'static str) -> Self {
        Self { absent: Some(why), ..Self::new(number, what) }
    }

    const fn model(self) -> Self {
        Self { model: true, ..self }
    }

    /// The oracle notices it on the simulated machine, by one of these rules.
    const fn oracle(self, rules: &'static [&'static str]) -> Self {
        Self { oracle: true, rules, ..self }
    }

    /// The oracle notices it in the hypervisor, by one of the rules.
    const fn live(self, boot: Boot) -> Self {
        Self { live: Some(boot), ..self }
    }

    /// The oracle notices it in the hypervisor only, by one of these rules.
    const fn only_live(self, rules: &'static [&'static str], boot: Boot) -> Self {
        Self { rules, live: Some(boot), ..self }
    }

    /// A guest notices it.
    const fn guest(self, boot: Boot) -> Self {
        Self { guest: Some(boot), ..self }
    }

    /// Tells whether its machines are booted where only few are.
    pub(crate) const fn is_booted_always(&self) -> bool {
        matches!(self.number, 1 | 2 | 5 | 10 | 16 | 42 | 46 | 59 | 70 | 90)
    }
}

/// The numbers on the project's list; the others up to 110 are on none.
const LISTED: &[u32] = &[
    1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 24, 25, 26, 27, 29, 30, 31, 32, 34, 35, 36, 37,
    39, 40, 41, 42, 44, 45, 46, 47, 49, 50, 51, 52, 54, 55, 56, 57, 59, 60, 61, 62, 64, 65, 66, 67, 69, 70, 71, 72, 74,
    75, 76, 77, 79, 80, 81, 82, 84, 85, 86, 87, 89, 90, 91, 92, 94, 95, 96, 97, 99, 100, 101, 102, 104, 105, 106, 107,
    109, 110,
];

/// Returns what is wrong with the table: bugs of the list that are missing, and numbers that two bugs have.
pub(crate) fn flaws(rows: &[Row]) -> Vec<String> {
    let count = |number: u32| rows.iter().filter(|row| row.number == number).count();
    let missing = LISTED.iter().filter(|number| count(**number) == 0).map(|number| format!("{number} is missing"));
    let twice = rows.iter().filter(|row| count(row.number) > 1).map(|row| format!("{} is there twice", row.number));
    missing.chain(twice).collect()
}

/// Returns all planted bugs, by their numbers.
pub(crate) fn rows() -> Vec<Row> {
    let chapters =
        [invalidations::ROWS, shapes::ROWS, pages::ROWS, rights::ROWS, registers::ROWS, faults::ROWS, testing::ROWS];
    let mut rows = chapters.concat();
    rows.sort_by_key(|row| row.number);
    rows
}
