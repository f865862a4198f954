//! The runtime of a minimal guest: what stands between the arm64 Linux boot protocol and a `main` in Rust.
//!
//! A guest names its main function with [`entry!`], speaks with [`println!`], and ends with what main returns. Stage 1
//! maps every address to itself with caches on, so an address in the program is an IPA. [`probe`] touches memory that
//! may not be there, and tells which exception came of it; any other exception ends the guest with a message.
#![no_std]

pub mod counter;
pub mod exception;
pub mod image;
pub mod probe;
pub mod simd;
pub mod smp;
pub mod stage1;

mod arch;
mod console;
mod env;
mod exit;

pub use console::{Console, write_fmt};
pub use env::Env;
pub use exit::{ExitStatus, Termination};

/// Makes a function the guest's main: `fn(&Env)`, returning anything that is [`Termination`].
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn guest_main(env: &$crate::Env) -> $crate::ExitStatus {
            $crate::Termination::report($main(env))
        }
    };
}

/// Prints to the console of the VM.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => { $crate::write_fmt(format_args!($($arguments)*)) };
}

/// Prints a line to the console of the VM.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($format:literal $($arguments:tt)*) => { $crate::print!("{}\n", format_args!($format $($arguments)*)) };
}
