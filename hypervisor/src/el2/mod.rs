//! What the EL2 program does: it boots, serves what its guest traps into, and tells of its end.

mod aborts;
mod boot;
mod calls;
mod exits;
mod log;
#[cfg_attr(feature = "unwatched", path = "no_oracle.rs")]
mod oracle;
mod panic;
mod vcpus;

use spin::Once;
use vm::{System, VmId};

use crate::arch::{Watched, exit};
use oracle::Account;

pub(crate) use boot::boot_main;
pub(crate) use exits::{asynchronous_exit, synchronous_exit};
pub(crate) use panic::fatal_exception;
pub(crate) use vcpus::secondary_main;

/// The status with which the machine ends after a panic of the hypervisor's.
const PANICKED: u8 = 101;
/// The status with which it ends when it cannot start the guest.
const REFUSED: u8 = 102;

/// The VM, and the system that it lives in.
struct Host {
    system: System<Watched>,
    vm: VmId,
}

static HOST: Once<Host> = Once::new();

/// Returns the VM's host, which is there before any vCPU runs.
#[inline]
fn host() -> &'static Host {
    match HOST.get() {
        Some(host) => host,
        None => unreachable!("a vCPU runs before its VM is made"),
    }
}

/// Ends the VM with a status, and the machine with it: 0 stays 0, anything else shows as something else.
fn end_vm(status: i32) -> ! {
    ::log::info!("the VM ends with status {status}");
    end(match status.to_le_bytes()[0] {
        0 if status != 0 => u8::MAX,
        low => low,
    })
}

/// Ends the machine with a status, and the trace, if there is one, with all that happened.
fn end(status: u8) -> ! {
    let Some(host) = HOST.get() else { exit(status) };
    let account = Account::close(host.system.machine());
    account.log();
    exit(account.status(status))
}
