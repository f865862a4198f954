//! Zircon's objects over stage-2 tables: handles, VMARs, mappings, VMOs, frames. No Arm in it.
#![no_std]

mod config;
mod machine;

pub use config::{ConfigError, Dialect, VmConfig};
pub use machine::Machine;
