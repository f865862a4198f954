//! The machine: everything that is an instruction, a system register, a device or a fixed address.

mod caches;
mod cpu;
mod entry;
mod guest;
mod heap;
mod memory;
mod mmu;
mod per_cpu;
mod power;
mod ram;
mod stage1;
mod tlb;
mod uart;
mod vectors;
#[cfg(not(feature = "unwatched"))]
mod virtio;
#[cfg_attr(feature = "unwatched", path = "unwatched.rs")]
mod watched;

pub(crate) use cpu::{ExceptionRegisters, features};
pub(crate) use guest::{abort_ipa, abort_registers, configure, context, enter, resume_address, syndrome, take};
#[cfg(not(feature = "unwatched"))]
pub(crate) use mmu::RealMmu;
pub(crate) use per_cpu::{cpu_index, is_stack_guard, set_cpu_index, this_cpu};
pub(crate) use power::{exit, is_ending, power_off, start_cpu, wait_for_event, wake_waiting};
pub(crate) use ram::{Ram, RamError, tree_memory};
pub(crate) use uart::{open_uart, steal_port, with_port};
pub(crate) use vectors::{FatalFrame, Frame};
pub(crate) use watched::{Recorder, Watched, open_recorder};
