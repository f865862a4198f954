//! What was measured: a figure for each work and size, read from the guest's console, and written as JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Ends the names of works on one page, whose `n` is how many mappings there are besides.
const AMONG: &str = "-among";

/// What a work of one size costs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The work.
    pub(crate) work: String,
    /// How much of it there was: pages, blocks, or how much else there is.
    pub(crate) n: u64,
    /// What was counted.
    #[serde(flatten)]
    pub(crate) amount: Amount,
    /// The amount for each of `n`; all of it where `n` is how much else there is.
    pub(crate) per_page: f64,
    /// Invalidations of stage-2 translations.
    pub(crate) tlbi: u64,
    /// Barriers.
    pub(crate) dsb: u64,
    /// Descriptors stored.
    pub(crate) stores: u64,
    /// Invalidations of stage-1 translations.
    pub(crate) stage1: u64,
}

/// A number and what it counts. In JSON the unit is the field's name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Amount {
    /// Executed instructions, of EL1 and EL2.
    Instructions(u64),
    /// Frames of 4 KiB.
    Frames(u64),
    /// Bytes.
    Bytes(u64),
}

impl Amount {
    /// Returns the number.
    pub(crate) const fn value(self) -> u64 {
        match self {
            Self::Instructions(value) | Self::Frames(value) | Self::Bytes(value) => value,
        }
    }

    /// Returns the unit, in the plural.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Instructions(_) => "instructions",
            Self::Frames(_) => "frames",
            Self::Bytes(_) => "bytes",
        }
    }
}

impl Figure {
    /// Makes a figure of what is no operation on tables.
    pub(crate) fn plain(work: &str, n: u64, amount: Amount) -> Self {
        let pages = if work.ends_with(AMONG) { 1 } else { n.max(1) };
        let per_page = amount.value() as f64 / pages as f64;
        Self { work: work.into(), n, amount, per_page, tlbi: 0, dsb: 0, stores: 0, stage1: 0 }
    }

    /// Reads a line of the guest's, or returns `None` where it is something else.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str| field(name)?.parse::<u64>().ok();
        let instructions = number("instructions").map(Amount::Instructions);
        let amount = instructions.or_else(|| number("frames").map(Amount::Frames))?;
        Some(Self {
            tlbi: number("tlbi")?,
            dsb: number("dsb")?,
            stores: number("stores")?,
            stage1: number("stage1")?,
            ..Self::plain(field("work")?, number("n")?, amount)
        })
    }

    /// Tells whether `n` is how much else there is.
    pub(crate) fn is_among(&self) -> bool {
        self.work.ends_with(AMONG)
    }

    /// Returns all invalidations, of either stage.
    pub(crate) const fn all_tlbis(&self) -> u64 {
        self.tlbi + self.stage1
    }
}

/// Writes figures as JSON, a line each, so that a change of one is a change of one line.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn write(path: &Path, figures: &[Figure]) -> Result<()> {
    let rows = figures.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    let text = format!("[\n  {}\n]\n", rows.join(",\n  "));
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Reads what [`write()`] wrote.
///
/// # Errors
///
/// The file cannot be read, or holds something else.
pub(crate) fn read(path: &Path) -> Result<Vec<Figure>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} does not hold figures", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a figure in instructions, without invalidations.
    pub(crate) fn figure(work: &str, n: u64, instructions: u64) -> Figure {
        Figure::plain(work, n, Amount::Instructions(instructions))
    }

    #[test]
    fn a_figure_is_read_from_the_guests_line() {
        let read = Figure::read("work=unmap n=512 instructions=1024 stores=3 tlbi=4 stage1=5 dsb=6").unwrap();
        assert_eq!(read, Figure { tlbi: 4, dsb: 6, stores: 3, stage1: 5, ..figure("unmap", 512, 1024) });
        assert_eq!((read.per_page, read.all_tlbis()), (2.0, 9));
        assert_eq!(figure("unmap-among", 100, 50).per_page, 50.0);
    }

    #[test]
    fn an_amount_is_read_by_its_unit_whatever_the_work() {
        let amount = |text| {
            Figure::read(&format!("work=unmap n=4 {text} stores=0 tlbi=0 stage1=0 dsb=0")).map(|read| read.amount)
        };
        assert_eq!(amount("instructions=2"), Some(Amount::Instructions(2)));
        assert_eq!(amount("frames=2"), Some(Amount::Frames(2)));
        assert_eq!(amount("bytes=2"), None);
    }

    #[test]
    fn other_lines_and_lines_that_are_cut_are_no_figures() {
        for line in ["", "hello", "work=unmap n=512", "work=unmap n=x instructions=1 stores=0 tlbi=0 stage1=0 dsb=0"] {
            assert_eq!(Figure::read(line), None, "{line}");
        }
    }

    #[test]
    fn json_has_the_fields_by_name_and_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.json");
        let figures = [figure("unmap", 2, 5), Figure::plain("image", 1, Amount::Bytes(7))];
        write(&path, &figures).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#"{"work":"unmap","n":2,"instructions":5,"per_page":2.5,"tlbi":0,"dsb":0,"#), "{text}");
        assert!(text.contains(r#"{"work":"image","n":1,"bytes":7,"#), "{text}");
        assert_eq!(read(&path).unwrap(), figures);
        assert!(read(&dir.path().join("none")).unwrap_err().to_string().contains("none cannot be read"));
    }
}
