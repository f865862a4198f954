//! QEMU's `virt` machine with the hypervisor at EL2 and one guest beside it, as a child process.
//!
//! [`Emulator`] is the QEMU that is installed, [`Machine`] says what it shall be started with, and [`Demux`] takes the
//! one serial line that comes out apart into the guest's console and the hypervisor's log. What a person asked for and
//! cannot have is [`Refused`], before anything is started.

mod cases;
mod child;
mod emulator;
mod guest;
mod machine;
mod memory;
mod refused;
mod serial;
mod trace;

pub use cases::{Case, read_cases};
pub use child::Ended;
pub use emulator::{Emulator, OLDEST, Version};
pub use guest::check_guest;
pub use machine::{Machine, Transcript};
pub use memory::Memory;
pub use refused::Refused;
pub use serial::Demux;
pub use trace::{count_trace, create_trace};
