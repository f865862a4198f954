//! The statuses that calls return (`zx_status_t`).

use core::fmt;

/// What a call came to: 0, or a negative error.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct Status(i32);

/// What a call returns on the Rust side of the contract: an `Err` never holds [`Status::OK`].
pub type Result<T, E = Status> = core::result::Result<T, E>;

macro_rules! statuses {
    ($($name:ident = $value:literal),* $(,)?) => {
        impl Status {
            $(
                #[doc = concat!("`ZX_", stringify!($name), "` or `ZX_ERR_", stringify!($name), "`.")]
                pub const $name: Self = Self($value);
            )*

            /// Returns Zircon's name of this status, without its prefix, where it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    OK = 0,
    INTERNAL = -1,
    NOT_SUPPORTED = -2,
    NO_RESOURCES = -3,
    NO_MEMORY = -4,
    INVALID_ARGS = -10,
    BAD_HANDLE = -11,
    WRONG_TYPE = -12,
    BAD_SYSCALL = -13,
    OUT_OF_RANGE = -14,
    BUFFER_TOO_SMALL = -15,
    BAD_STATE = -20,
    TIMED_OUT = -21,
    SHOULD_WAIT = -22,
    CANCELED = -23,
    PEER_CLOSED = -24,
    NOT_FOUND = -25,
    ALREADY_EXISTS = -26,
    ALREADY_BOUND = -27,
    UNAVAILABLE = -28,
    ACCESS_DENIED = -30,
    IO = -40,
    IO_REFUSED = -41,
    IO_DATA_INTEGRITY = -42,
    IO_DATA_LOSS = -43,
    IO_NOT_PRESENT = -44,
    NO_SPACE = -54,
}

impl Status {
    /// Returns the status of the given number.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// Returns the number of this status.
    pub const fn into_raw(self) -> i32 {
        self.0
    }

    /// Returns what `x0` holds for this status.
    pub const fn to_register(self) -> u64 {
        self.0 as i64 as u64
    }

    /// Returns the status that `x0` holds.
    pub const fn from_register(x0: u64) -> Self {
        Self(x0 as i32)
    }

    /// Returns `Ok` for [`Status::OK`], else the status as the error.
    pub const fn ok(self) -> Result<()> {
        match self {
            Self::OK => Ok(()),
            error => Err(error),
        }
    }
}

impl From<Result<()>> for Status {
    fn from(result: Result<()>) -> Self {
        result.err().unwrap_or(Self::OK)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "status {}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.0)
    }
}

impl core::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_hold_statuses_sign_extended() {
        assert_eq!(Status::INVALID_ARGS.to_register(), 0xffff_ffff_ffff_fff6);
        assert_eq!(Status::from_register(0xffff_ffff_ffff_fff6), Status::INVALID_ARGS);
        assert_eq!(Status::from_register(0), Status::OK);
    }
}
