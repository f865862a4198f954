//! The guest's power: which of its vCPUs run, and the calls of PSCI 1.1 (DEN 0022) that change it.

use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use arm_psci::{AffinityInfo, EntryPoint, ErrorCode, Function, FunctionId, Mpidr, PsciFeature, Version};

use crate::MAX_CPUS;

const VERSION: Version = Version { major: 1, minor: 1 };
const OFF: u8 = 0;
/// Between the two next: where the vCPU starts is being written.
const STARTING: u8 = 1;
const PENDING: u8 = 2;
const ON: u8 = 3;

/// The vCPUs of a VM. vCPU n has the affinity n.
#[derive(Debug)]
pub struct Vcpus {
    count: AtomicUsize,
    vcpus: [Vcpu; MAX_CPUS],
}

#[derive(Debug)]
struct Vcpu {
    power: AtomicU8,
    entry: AtomicU64,
    context: AtomicU64,
}

impl Vcpu {
    const fn off() -> Self {
        Self { power: AtomicU8::new(OFF), entry: AtomicU64::new(0), context: AtomicU64::new(0) }
    }
}

/// Where a vCPU starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Start {
    /// The IPA of its first instruction.
    pub entry: u64,
    /// Its `x0`.
    pub context: u64,
}

/// What a call asks of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Nothing: this goes into `x0`.
    Return(u64),
    /// Have this vCPU take its [`Start`], and return 0.
    TurnOn(usize),
    /// Wait until the calling vCPU is turned on again.
    TurnOff,
    /// End the VM.
    End,
}

impl Vcpus {
    /// Returns a VM's vCPUs before there is a VM.
    pub const fn new() -> Self {
        Self { count: AtomicUsize::new(0), vcpus: [const { Vcpu::off() }; MAX_CPUS] }
    }

    /// Notes how many vCPUs there are, and that the first runs.
    pub fn power_up(&self, count: usize) {
        self.count.store(count.min(MAX_CPUS), Ordering::Relaxed);
        self.vcpus[0].power.store(ON, Ordering::Relaxed);
    }

    /// Returns how many vCPUs there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns where vCPU `index` is to start, once it was turned on.
    pub fn take_start(&self, index: usize) -> Option<Start> {
        let vcpu = self.vcpus.get(index)?;
        vcpu.power.compare_exchange(PENDING, ON, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Start { entry: vcpu.entry.load(Ordering::Relaxed), context: vcpu.context.load(Ordering::Relaxed) })
    }

    /// Takes back that vCPU `index` was turned on: its CPU does not start.
    pub fn cancel_start(&self, index: usize) {
        if let Some(vcpu) = self.vcpus.get(index) {
            vcpu.power.store(OFF, Ordering::Release);
        }
    }

    /// Decides what a call of PSCI comes to, made by vCPU `caller` with `x0` to `x3` as given.
    pub fn serve(&self, registers: &[u64; 4], caller: usize) -> Action {
        match Function::try_from(registers) {
            Ok(function) => self.perform(function, caller),
            Err(arm_psci::Error::UnrecognisedFunctionId(_)) => failed(ErrorCode::NotSupported),
            Err(_) if is_features(registers) => failed(ErrorCode::NotSupported),
            Err(_) => failed(ErrorCode::InvalidParameters),
        }
    }

    fn perform(&self, function: Function, caller: usize) -> Action {
        match function {
            Function::Version => Action::Return(u32::from(VERSION).into()),
            Function::Features { psci_func_id } if is_served(psci_func_id) => Action::Return(0),
            Function::CpuOn { target_cpu, entry } => self.turn_on(target_cpu, entry),
            Function::CpuOff => self.turn_off(caller),
            // A standby state keeps everything, and may end as soon as it has begun.
            Function::CpuSuspend { .. } => Action::Return(0),
            Function::AffinityInfo { mpidr, lowest_affinity_level } => self.affinity_info(mpidr, lowest_affinity_level),
            Function::SystemOff | Function::SystemReset => Action::End,
            _ => failed(ErrorCode::NotSupported),
        }
    }

    fn find(&self, target: Mpidr) -> Option<usize> {
        usize::try_from(u64::from(target)).ok().filter(|index| *index < self.count())
    }

    fn turn_on(&self, target: Mpidr, entry: EntryPoint) -> Action {
        let Some((index, vcpu)) = self.find(target).and_then(|index| Some((index, self.vcpus.get(index)?))) else {
            return failed(ErrorCode::InvalidParameters);
        };
        // The caller of a second CPU_ON must not overwrite the start of the first: PENDING is told only once it is written.
        match vcpu.power.compare_exchange(OFF, STARTING, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => {
                vcpu.entry.store(entry.entry_point_address(), Ordering::Relaxed);
                vcpu.context.store(entry.context_id(), Ordering::Relaxed);
                vcpu.power.store(PENDING, Ordering::Release);
                Action::TurnOn(index)
            }
            Err(ON) => failed(ErrorCode::AlreadyOn),
            Err(_) => failed(ErrorCode::OnPending),
        }
    }

    /// Turning the last one off would leave a VM that nothing can wake.
    fn turn_off(&self, caller: usize) -> Action {
        let Some(vcpu) = self.vcpus.get(caller) else {
            return failed(ErrorCode::InternalFailure);
        };
        // Of two that go at once at least one has to see the other gone.
        vcpu.power.store(OFF, Ordering::SeqCst);
        let is_any_on = self.vcpus.iter().any(|vcpu| vcpu.power.load(Ordering::SeqCst) != OFF);
        if is_any_on { Action::TurnOff } else { Action::End }
    }

    fn affinity_info(&self, target: Mpidr, level: u32) -> Action {
        // From PSCI 1.0 on, levels above 0 need not be served.
        let Some(vcpu) = self.find(target).and_then(|index| self.vcpus.get(index)).filter(|_| level == 0) else {
            return failed(ErrorCode::InvalidParameters);
        };
        let info = match vcpu.power.load(Ordering::Acquire) {
            OFF => AffinityInfo::Off,
            ON => AffinityInfo::On,
            _ => AffinityInfo::OnPending,
        };
        Action::Return(u32::from(info).into())
    }
}

impl Default for Vcpus {
    fn default() -> Self {
        Self::new()
    }
}

fn failed(code: ErrorCode) -> Action {
    Action::Return(code.into())
}

fn is_features(registers: &[u64; 4]) -> bool {
    registers[0] as u32 == u32::from(FunctionId::PsciFeatures)
}

/// Tells whether a call is one of those that [`Vcpus::serve`] serves.
fn is_served(feature: PsciFeature) -> bool {
    use FunctionId as Id;
    match feature {
        PsciFeature::SmcccVersion => true,
        PsciFeature::PsciFunction(id) => matches!(
            id,
            Id::PsciVersion
                | Id::PsciFeatures
                | Id::CpuOn32
                | Id::CpuOn64
                | Id::CpuOff
                | Id::CpuSuspend32
                | Id::CpuSuspend64
                | Id::AffinityInfo32
                | Id::AffinityInfo64
                | Id::SystemOff
                | Id::SystemReset
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_SUPPORTED: Action = Action::Return(u64::MAX);
    const INVALID: Action = Action::Return(-2i64 as u64);

    fn two() -> Vcpus {
        let vcpus = Vcpus::new();
        vcpus.power_up(2);
        vcpus
    }

    fn call(vcpus: &Vcpus, registers: [u64; 4]) -> Action {
        vcpus.serve(&registers, 0)
    }

    #[test]
    fn the_version_and_the_features_are_told() {
        let vcpus = two();
        assert_eq!(call(&vcpus, [0x8400_0000, 0, 0, 0]), Action::Return(0x1_0001));
        for id in [0x8000_0000, 0x8400_0002, 0x8400_0003, 0xc400_0003, 0xc400_0001, 0x8400_0008] {
            assert_eq!(call(&vcpus, [0x8400_000a, id, 0, 0]), Action::Return(0), "{id:#x}");
        }
        for id in [0x8400_0005, 0x8400_000b, 0x8400_0fff, 0xc600_0001] {
            assert_eq!(call(&vcpus, [0x8400_000a, id, 0, 0]), NOT_SUPPORTED, "{id:#x}");
        }
        assert_eq!(call(&vcpus, [0x8400_0013, 0, 0, 0]), NOT_SUPPORTED);
        assert_eq!(call(&vcpus, [0x8400_0fff, 0, 0, 0]), NOT_SUPPORTED);
    }

    #[test]
    fn a_vcpu_is_turned_on_once() {
        let vcpus = two();
        assert_eq!(call(&vcpus, [0xc400_0004, 1, 0, 0]), Action::Return(1));
        assert_eq!(vcpus.take_start(1), None);
        assert_eq!(call(&vcpus, [0xc400_0003, 1, 0x4000_0000, 7]), Action::TurnOn(1));
        assert_eq!(call(&vcpus, [0xc400_0003, 1, 0, 0]), Action::Return(-5i64 as u64));
        assert_eq!(call(&vcpus, [0xc400_0004, 1, 0, 0]), Action::Return(2));
        assert_eq!(vcpus.take_start(1), Some(Start { entry: 0x4000_0000, context: 7 }));
        assert_eq!(call(&vcpus, [0xc400_0003, 1, 0, 0]), Action::Return(-4i64 as u64));
        assert_eq!(call(&vcpus, [0xc400_0004, 1, 0, 0]), Action::Return(0));
        assert_eq!(vcpus.serve(&[0x8400_0002, 0, 0, 0], 1), Action::TurnOff);
        assert_eq!(call(&vcpus, [0xc400_0003, 1, 0, 0]), Action::TurnOn(1));
    }

    #[test]
    fn a_vcpu_that_is_not_there_is_invalid() {
        let vcpus = two();
        for target in [2, 8, 0x100, u64::MAX] {
            assert_eq!(call(&vcpus, [0xc400_0003, target, 0, 0]), INVALID, "{target:#x}");
            assert_eq!(call(&vcpus, [0xc400_0004, target, 0, 0]), INVALID, "{target:#x}");
        }
        assert_eq!(call(&vcpus, [0xc400_0004, 0, 1, 0]), INVALID);
    }

    #[test]
    fn the_last_vcpu_that_goes_ends_the_vm() {
        let vcpus = two();
        assert_eq!(call(&vcpus, [0xc400_0001, 0, 0, 0]), Action::Return(0));
        assert_eq!(call(&vcpus, [0x8400_0002, 0, 0, 0]), Action::End);
        assert_eq!(call(&two(), [0x8400_0008, 0, 0, 0]), Action::End);
    }
}
