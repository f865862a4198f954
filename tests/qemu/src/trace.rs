//! The file that a trace goes to: whether it can be written, and whether all of it is there.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::Refused;

/// Makes the file, empty.
///
/// # Errors
///
/// It cannot be made, or is no file but a device or a pipe, which could not be read again.
pub fn create_trace(path: &Path) -> Result<(), Refused> {
    let unwritable = |error| Refused::new(format!("the trace {} cannot be written: {error}", path.display()));
    let file = File::create(path).and_then(|file| file.metadata()).map_err(unwritable)?;
    match file.is_file() {
        true => Ok(()),
        false => Err(Refused::new(format!("the trace {} is not a file", path.display()))),
    }
}

/// Returns how many events are in the file of a run that has ended.
///
/// # Errors
///
/// It lacks its last line, or does not have as many events as that says: they got lost on the way, as on a disk that is full.
pub fn count_trace(path: &Path) -> Result<u64, Refused> {
    let wrong = |why: String| Refused::new(format!("the trace {} {why}", path.display()));
    let unreadable = |error| wrong(format!("cannot be read: {error}"));
    let (mut events, mut told) = (0, None::<u64>);
    for line in BufReader::new(File::open(path).map_err(unreadable)?).lines() {
        let line = line.map_err(unreadable)?;
        told = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" events")?.parse().ok());
        events += u64::from(line.starts_with("cpu=") || line.starts_with("VM "));
    }
    match told {
        Some(told) if told == events => Ok(events),
        Some(told) => Err(wrong(format!("has {events} of {told} events: it is cut short"))),
        None => Err(wrong(format!("has no last line after {events} events: it is cut short"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Result<u64, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        count_trace(file.path()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_whole_trace_has_as_many_events_as_its_last_line_says() {
        assert_eq!(count("machine cpus=0x1\n# a comment\nVM vm=0x1 vttbr=0x0\ncpu=0x0 ISB\n# 2 events\n"), Ok(2));
        assert_eq!(count("machine cpus=0x1\n# 0 events\n"), Ok(0));
    }

    #[test]
    fn a_trace_that_is_cut_is_noticed_wherever_it_is() {
        assert!(count("cpu=0x0 ISB\n# 2 events\n").unwrap_err().contains("1 of 2 events"));
        for cut in ["", "cpu=0x0 ISB\n", "cpu=0x0 ISB\n# 1 ev", "cpu=0x0 ISB\n# 1 events\ncpu=0x0 ISB\n"] {
            assert!(count(cut).unwrap_err().contains("no last line"), "{cut:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let refused = create_trace(Path::new("/nowhere/a.trace")).unwrap_err().to_string();
        assert!(refused.contains("/nowhere/a.trace cannot be written"), "{refused}");
    }
}
