//! The EL2 program: it boots, gives its guest a VM, and serves what the guest traps into.
//!
//! `arch` is the machine, and holds every system register, instruction and `unsafe` of the program; `el2` is what the program
//! does with it, by the policy of the library beside this file and of the crate `vm`.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod el2;

/// On a host there is nothing to run: the program's parts are tested through the library.
#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    eprintln!("this program runs at EL2: build it with --target aarch64-unknown-none-softfloat, and see scripts/run");
    std::process::ExitCode::FAILURE
}
