//! What a guest of `guest/peers` says, a line at a time.

/// The works that are compared, by the names that every table has.
const WORKS: [&str; 11] = [
    "null",
    "unknown",
    "unmap",
    "unmap-block",
    "split",
    "commit",
    "commit-block",
    "touch",
    "map",
    "protect",
    "decommit",
];

/// A line of a guest's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// What a work took.
    Figure {
        /// The work, by its name in the table.
        work: &'static str,
        /// Over how many pages, blocks or calls.
        n: u64,
        /// How many instructions all of them took.
        instructions: u64,
        /// The call by which it was done.
        how: String,
    },
    /// What comes next.
    Doing(String),
    /// Why there are no more figures.
    Failed(String),
    /// There are no more figures, and none is missing.
    Done,
}

impl Line {
    /// Reads a line of the console. Everything but a guest's lines is another's.
    ///
    /// # Errors
    ///
    /// A guest's line that means nothing: the line.
    pub(super) fn read(line: &str) -> Result<Option<Self>, String> {
        let Some(said) = line.strip_prefix("peer: ") else { return Ok(None) };
        let (kind, rest) = said.split_once(' ').unwrap_or((said, ""));
        let read = match kind {
            "figure" => read_figure(rest),
            "doing" => Some(Self::Doing(rest.into())),
            "failed" => Some(Self::Failed(rest.into())),
            "done" if rest.is_empty() => Some(Self::Done),
            _ => None,
        };
        read.map(Some).ok_or_else(|| line.into())
    }
}

fn read_figure(text: &str) -> Option<Line> {
    let mut words = text.splitn(4, ' ');
    let name = words.next()?;
    let work = WORKS.into_iter().find(|work| *work == name)?;
    let n = words.next()?.parse().ok().filter(|n| *n > 0)?;
    let instructions = words.next()?.parse().ok()?;
    Some(Line::Figure { work, n, instructions, how: words.next()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        let figure = Line::Figure { work: "unmap", n: 512, instructions: 920_888, how: "a call, and more".into() };
        assert_eq!(Line::read("peer: figure unmap 512 920888 a call, and more"), Ok(Some(figure)));
        assert_eq!(Line::read("peer: doing one thing"), Ok(Some(Line::Doing("one thing".into()))));
        assert_eq!(Line::read("peer: failed a call: -22"), Ok(Some(Line::Failed("a call: -22".into()))));
        assert_eq!(Line::read("peer: done"), Ok(Some(Line::Done)));
    }

    #[test]
    fn what_others_say_is_passed_over() {
        for line in ["", "(XEN) Freed 352kB init memory.", "[    1.0] peer: done", "done"] {
            assert_eq!(Line::read(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_line_of_a_guests_that_means_nothing_is_an_error() {
        for line in [
            "peer: figure unmap 512 x how",
            "peer: figure unmap 512 1",
            "peer: figure unmap 0 1 how",
            "peer: figure sweep 1 1 how",
            "peer: figure unmap -1 1 how",
            "peer: done (XEN)",
            "peer: whatever",
        ] {
            assert_eq!(Line::read(line), Err(line.into()));
        }
    }
}
