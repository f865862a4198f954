//! The hypervisor's own boot arguments.

use core::fmt;

use log::LevelFilter;

/// What the hypervisor's boot arguments ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// `log=`: how much is to be logged.
    pub log: LevelFilter,
    /// `trace=on`: every event goes to the machine's virtio console.
    pub trace: bool,
    /// `planted=`: the number of a planted bug, in a build that has them; 0 is none.
    pub planted: u32,
    /// `rules=off`, in a build that has planted bugs: broken rules are passed over.
    pub passes_over_rules: bool,
}

/// A boot argument that the hypervisor does not know, or whose value it does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ArgumentError<'a>(&'a str);

impl fmt::Display for ArgumentError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hypervisor's boot argument `{}`: expected log=error, warn, info, debug or trace, or trace=on",
            self.0
        )
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { log: LevelFilter::Warn, trace: false, planted: 0, passes_over_rules: false }
    }
}

impl Settings {
    /// Reads the boot arguments. Of one that is given twice the last counts.
    ///
    /// # Errors
    ///
    /// An argument is none of ours, or its value is none that it can have.
    pub fn read(arguments: &str) -> Result<Self, ArgumentError<'_>> {
        let settings = arguments.split_ascii_whitespace().try_fold(Self::default(), Self::with);
        settings.map_err(ArgumentError)
    }

    fn with(self, argument: &str) -> Result<Self, &str> {
        Ok(match argument {
            "log=error" => Self { log: LevelFilter::Error, ..self },
            "log=warn" => Self { log: LevelFilter::Warn, ..self },
            "log=info" => Self { log: LevelFilter::Info, ..self },
            "log=debug" => Self { log: LevelFilter::Debug, ..self },
            "log=trace" => Self { log: LevelFilter::Trace, ..self },
            "trace=on" => Self { trace: true, ..self },
            "rules=off" if planted::ARMED => Self { passes_over_rules: true, ..self },
            _ => Self { planted: planted_bug(argument).ok_or(argument)?, ..self },
        })
    }
}

/// Reads `planted=`, which only a build with planted bugs knows.
fn planted_bug(argument: &str) -> Option<u32> {
    argument.strip_prefix("planted=").filter(|_| planted::ARMED)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_logged_and_nothing_is_recorded_unless_something_else_is_asked_for() {
        let settings = |log, trace| Ok(Settings { log, trace, ..Settings::default() });
        assert_eq!(Settings::read(""), settings(LevelFilter::Warn, false));
        assert_eq!(Settings::read(" log=trace"), settings(LevelFilter::Trace, false));
        assert_eq!(Settings::read("log=trace trace=on log=error"), settings(LevelFilter::Error, true));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in ["log=loud", "log", "log=", "lag=info", "log=INFO", "trace=yes", "trace"] {
            assert_eq!(Settings::read(bad), Err(ArgumentError(bad)));
        }
    }

    #[test]
    fn bugs_are_chosen_only_where_they_are_planted() {
        for argument in ["planted=6", "rules=off"] {
            assert_eq!(Settings::read(argument).is_ok(), planted::ARMED, "{argument}");
        }
    }
}
