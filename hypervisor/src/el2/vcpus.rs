//! The VM's vCPUs, each on the CPU of its number.

use arm_psci::ErrorCode;
use hypervisor::board::Cpus;
use hypervisor::psci::{Action, Start, Vcpus};
use log::error;
use spin::{Mutex, Once};

use super::{end_vm, host, oracle};
use crate::arch::{Frame, configure, cpu_index, enter, set_cpu_index, start_cpu, wait_for_event, wake_waiting};

static VCPUS: Vcpus = Vcpus::new();
static CPUS: Once<Cpus> = Once::new();
/// Which CPUs were started, as bits by their numbers.
static STARTED: Mutex<u32> = Mutex::new(1);

/// Starts the VM, which has a vCPU on each of the CPUs: on this one, the boot CPU, it runs.
pub(super) fn start(cpus: Cpus, start: Start) -> ! {
    CPUS.call_once(|| cpus);
    VCPUS.power_up(cpus.affinities().len());
    run(start)
}

/// Serves a call of PSCI. Not inlined: it would have other calls pay for the room that it needs on the stack.
#[inline(never)]
pub(super) fn serve(frame: &mut Frame) {
    let [x0, x1, x2, x3, ..] = frame.x;
    match VCPUS.serve(&[x0, x1, x2, x3], cpu_index()) {
        Action::Return(value) => frame.x[0] = value,
        Action::TurnOn(vcpu) => frame.x[0] = turn_on(vcpu),
        Action::TurnOff => wait_until_on(),
        Action::End => end_vm(0),
    }
}

/// Has a vCPU's CPU take up its start.
fn turn_on(vcpu: usize) -> u64 {
    let mut started = STARTED.lock();
    if *started & 1 << vcpu != 0 {
        wake_waiting();
        return 0;
    }
    let affinity = CPUS.get().and_then(|cpus| cpus.affinities().get(vcpu));
    match affinity.map(|affinity| start_cpu(*affinity, vcpu)) {
        Some(Ok(())) => {
            *started |= 1 << vcpu;
            0
        }
        failed => {
            error!("CPU {vcpu} does not start: {failed:?}");
            VCPUS.cancel_start(vcpu);
            ErrorCode::InternalFailure.into()
        }
    }
}

/// Goes on where a CPU comes to EL2 that a guest has asked for.
pub(crate) extern "C" fn secondary_main(cpu: usize) -> ! {
    set_cpu_index(cpu);
    wait_until_on()
}

fn wait_until_on() -> ! {
    loop {
        if let Some(start) = VCPUS.take_start(cpu_index()) {
            run(start);
        }
        wait_for_event();
    }
}

fn run(start: Start) -> ! {
    let host = host();
    let vttbr = host.system.load(host.vm, cpu_index());
    configure(host.system.machine(), host.system.geometry(host.vm), vttbr);
    oracle::entering();
    enter(start)
}
