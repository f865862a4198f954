//! `x1` to `x8`.

use abi::Status;

use crate::{Result, ensure};

/// The arguments of a call.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a>(pub(crate) &'a [u64; 8]);

impl Arguments<'_> {
    /// Returns an argument of 64 bits.
    pub(crate) const fn get(self, number: usize) -> u64 {
        self.0[number]
    }

    /// Returns an argument of 32 bits; a high half that is not 0 is INVALID_ARGS.
    pub(crate) fn word(self, number: usize) -> Result<u32> {
        ensure(self.0[number] >> 32 == 0, Status::INVALID_ARGS)?;
        Ok(self.0[number] as u32)
    }

    /// Returns an argument that is to be a handle; a high half that is not 0 is BAD_HANDLE.
    pub(crate) fn handle(self, number: usize) -> Result<u32> {
        ensure(self.0[number] >> 32 == 0, Status::BAD_HANDLE)?;
        Ok(self.0[number] as u32)
    }
}
