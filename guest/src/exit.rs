//! How a guest ends.

use core::panic::PanicInfo;
use zx::Status;

/// The status with which the VM ends; 0 is success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExitStatus(pub i32);

impl ExitStatus {
    /// The guest did what it came for.
    pub const SUCCESS: Self = Self(0);
    /// The guest panicked.
    pub const PANICKED: Self = Self(1);
}

/// What a guest's main can return.
pub trait Termination {
    /// Returns the status with which the VM ends, after telling why it is not success.
    fn report(self) -> ExitStatus;
}

impl Termination for ExitStatus {
    fn report(self) -> ExitStatus {
        self
    }
}

impl Termination for () {
    fn report(self) -> ExitStatus {
        ExitStatus::SUCCESS
    }
}

impl Termination for Status {
    fn report(self) -> ExitStatus {
        ExitStatus(self.into_raw())
    }
}

impl<T: Termination> Termination for zx::Result<T> {
    fn report(self) -> ExitStatus {
        self.map_or_else(
            |error| {
                crate::println!("main returned {error:?}");
                error.report()
            },
            T::report,
        )
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::println!("{info}");
    zx::exit(ExitStatus::PANICKED.0)
}
