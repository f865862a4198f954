//! Handles, and the types of object that they name.

use num_enum::IntoPrimitive;

/// A handle as a guest holds it: a number that means something in its own VM only.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct RawHandle(pub u32);

impl RawHandle {
    /// The value that is never a handle.
    pub const INVALID: Self = Self(0);

    /// The bits that are 1 in every valid handle.
    pub const FIXED_BITS: u32 = 0b11;
}

/// The koid that no object has.
pub const KOID_INVALID: u64 = 0;

/// The types of object, by the numbers that `ZX_INFO_HANDLE_BASIC` gives.
#[derive(Clone, Copy, Debug, Eq, PartialEq, IntoPrimitive)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is named for what it is")]
pub enum ObjectType {
    Vmo = 3,
    Resource = 15,
    Vmar = 18,
    Guest = 20,
    Bti = 24,
    Pmt = 26,
}
