use std::fmt;

/// What was asked for and cannot be had: one line that says what is wrong, where, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused(String);

impl Refused {
    /// Makes a refusal of its message, which starts in lower case and has no full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}
