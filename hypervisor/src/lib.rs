//! The parts of the EL2 program that need no machine: what it reads, decides and says. Pure values, tested on the host; the
//! program in `main.rs` puts them to work.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod arguments;
pub mod board;
pub mod exception;
pub mod exits;
pub mod guest_tree;
pub mod image;
pub mod psci;
pub mod region;
pub mod wire;
pub mod words;

/// The most CPUs that are used, and so the most vCPUs that a VM has.
pub const MAX_CPUS: usize = 8;
