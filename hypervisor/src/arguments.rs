//! The hypervisor's own boot arguments.

use core::fmt;

use log::LevelFilter;

/// A boot argument that the hypervisor does not know, or whose value it does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArgumentError<'a>(&'a str);

impl fmt::Display for ArgumentError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hypervisor's boot argument `{}`: expected log=error, warn, info, debug or trace", self.0)
    }
}

/// Returns how much is to be logged.
///
/// # Errors
///
/// An argument is none of ours, or its value is none that it can have.
pub fn log_level(arguments: &str) -> Result<LevelFilter, ArgumentError<'_>> {
    arguments.split_ascii_whitespace().try_fold(LevelFilter::Warn, |_, argument| {
        let level = match argument {
            "log=error" => LevelFilter::Error,
            "log=warn" => LevelFilter::Warn,
            "log=info" => LevelFilter::Info,
            "log=debug" => LevelFilter::Debug,
            "log=trace" => LevelFilter::Trace,
            _ => return Err(ArgumentError(argument)),
        };
        Ok(level)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_logged_unless_something_else_is_asked_for() {
        assert_eq!(log_level(""), Ok(LevelFilter::Warn));
        assert_eq!(log_level(" log=trace"), Ok(LevelFilter::Trace));
        assert_eq!(log_level("log=trace log=error"), Ok(LevelFilter::Error));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in ["log=loud", "log", "log=", "lag=info", "log=INFO"] {
            assert_eq!(log_level(bad), Err(ArgumentError(bad)));
        }
    }
}
