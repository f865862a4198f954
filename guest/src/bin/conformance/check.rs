//! What cases assert.

use guest::exception::{Class, Exception};
use guest::probe;
use zx::{Result, Status};

/// A call's result, of which a case knows what it must be.
pub(crate) trait Check {
    /// What the call returns where it succeeds.
    type Value;

    /// Returns the value of a call that must succeed.
    fn succeeds(self) -> Self::Value;

    /// Asserts that the call was refused, and how.
    fn fails_with(self, status: Status);
}

impl<T> Check for Result<T> {
    type Value = T;

    #[track_caller]
    fn succeeds(self) -> T {
        match self {
            Ok(value) => value,
            Err(status) => panic!("expected OK, got {status:?}"),
        }
    }

    #[track_caller]
    fn fails_with(self, expected: Status) {
        let status = self.err().unwrap_or(Status::OK);
        assert!(status == expected, "expected {expected:?}, got {status:?}");
    }
}

/// Loads from an address at which that must be possible.
#[track_caller]
pub(crate) fn load(address: u64) -> u64 {
    match probe::load(address) {
        Ok(value) => value,
        Err(exception) => panic!("expected a load at {address:#x}, got {exception}"),
    }
}

/// Stores to an address at which that must be possible.
#[track_caller]
pub(crate) fn store(address: u64, value: u64) {
    if let Err(exception) = probe::store(address, value) {
        panic!("expected a store at {address:#x}, got {exception}");
    }
}

/// Calls the `RET` at an address from which execution must be possible.
#[track_caller]
pub(crate) fn execute(address: u64) {
    if let Err(exception) = probe::execute(address) {
        panic!("expected a call of {address:#x}, got {exception}");
    }
}

/// Asserts what a load returns.
#[track_caller]
pub(crate) fn reads(address: u64, expected: u64) {
    let value = load(address);
    assert!(value == expected, "expected {expected:#x} at {address:#x}, got {value:#x}");
}

/// Asserts that a load takes an abort.
#[track_caller]
pub(crate) fn load_aborts(address: u64) {
    match probe::load(address) {
        Ok(value) => panic!("expected an abort of the load at {address:#x}, got {value:#x}"),
        Err(exception) => {
            let is_load = exception.class() == Class::DataAbort && !exception.is_write();
            assert!(is_load, "expected a load's abort, got {exception}");
            is_external_abort(exception, address);
        }
    }
}

/// Asserts that a store takes an abort.
#[track_caller]
pub(crate) fn store_aborts(address: u64) {
    match probe::store(address, 0xbad) {
        Ok(()) => panic!("expected an abort of the store at {address:#x}, got none"),
        Err(exception) => {
            let is_store = exception.class() == Class::DataAbort && exception.is_write();
            assert!(is_store, "expected a store's abort, got {exception}");
            is_external_abort(exception, address);
        }
    }
}

/// Asserts that a call of an address takes an abort.
#[track_caller]
pub(crate) fn execute_aborts(address: u64) {
    match probe::execute(address) {
        Ok(()) => panic!("expected an abort of the call of {address:#x}, got none"),
        Err(exception) => {
            assert!(exception.class() == Class::InstructionAbort, "expected an instruction abort, got {exception}");
            is_external_abort(exception, address);
        }
    }
}

/// Asserts the rest of what `ESR_EL1` and `FAR_EL1` say of an access that nothing serves.
#[track_caller]
pub(crate) fn is_external_abort(exception: Exception, address: u64) {
    assert!(
        exception.fault_status() == Exception::SYNCHRONOUS_EXTERNAL_ABORT && exception.is_32_bit_instruction(),
        "expected a synchronous external abort, got {exception}",
    );
    assert!(exception.far == address, "expected FAR {address:#x}, got {exception}");
}
