//! A VM of KVM's with one vCPU, which runs the programs of [`program`].

use core::ffi::c_void;
use core::ptr;

use peers::Failure;

use crate::area::{Area, PAGE_BYTES, Piece};
use crate::linux::File;
use crate::program::{self, Program};

/// Where the vCPU's programs are.
const CODE: u64 = 0x1000_0000;
/// Where its memory starts.
pub(crate) const MEMORY: u64 = 0x8000_0000;
/// Where nothing is: a store to it ends a program.
const RESULT: u64 = 0x0900_0000;

/// `ioctl`'s encoding of `KVMIO` (0xae): `_IO`, `_IOW` and `_IOR`.
const fn request(direction: u32, number: u32, len: u32) -> u32 {
    direction << 30 | len << 16 | 0xae << 8 | number
}

const CREATE_VM: u32 = request(0, 0x01, 0);
const GET_VCPU_MMAP_SIZE: u32 = request(0, 0x04, 0);
const CREATE_VCPU: u32 = request(0, 0x41, 0);
const GET_DIRTY_LOG: u32 = request(1, 0x42, 16);
const SET_USER_MEMORY_REGION: u32 = request(1, 0x46, 32);
const RUN: u32 = request(0, 0x80, 0);
const SET_ONE_REG: u32 = request(1, 0xac, 16);
const VCPU_INIT: u32 = request(1, 0xae, 32);
const CREATE_DEVICE: u32 = request(3, 0xe0, 12);
const SET_DEVICE_ATTR: u32 = request(1, 0xe1, 24);
const PREFERRED_TARGET: u32 = request(2, 0xaf, 32);

/// `KVM_ARM_VCPU_PSCI_0_2`.
const PSCI: u32 = 1 << 2;
/// `KVM_EXIT_MMIO`.
const EXIT_MMIO: u32 = 6;
/// `EINTR`, which `KVM_RUN` ends with when it shall exit at once.
const INTERRUPTED: i64 = -4;

/// Whether KVM is to note which pages are written.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Logging {
    /// It is not.
    Off = 0,
    /// It is: pages become read-only, and are split off their blocks when they are written.
    On = 1,
}

/// `struct kvm_userspace_memory_region`.
#[repr(C)]
struct MemoryRegion {
    slot: u32,
    flags: Logging,
    guest_start: u64,
    len: u64,
    start: u64,
}

/// `struct kvm_one_reg`.
#[repr(C)]
struct OneReg {
    id: u64,
    value: u64,
}

/// `struct kvm_vcpu_init`.
#[derive(Default)]
#[repr(C)]
struct VcpuInit {
    target: u32,
    features: [u32; 7],
}

/// `struct kvm_dirty_log`.
#[repr(C)]
struct DirtyLog {
    slot: u32,
    padding: u32,
    bitmap: u64,
}

/// `struct kvm_create_device`.
#[repr(C)]
struct CreateDevice {
    kind: u32,
    file: u32,
    flags: u32,
}

/// `struct kvm_device_attr`.
#[repr(C)]
struct DeviceAttr {
    flags: u32,
    group: u32,
    attribute: u64,
    value: u64,
}

/// The start of `struct kvm_run`, as far as a store to where nothing is fills it in.
#[repr(C)]
struct Run {
    request_interrupt_window: u8,
    immediate_exit: u8,
    padding: [u8; 6],
    exit_reason: u32,
    state: [u32; 5],
    address: u64,
    value: u64,
    len: u32,
}

/// A VM.
#[derive(Debug)]
pub(crate) struct Vm {
    vm: File,
    vcpu: File,
    run: *mut Run,
}

/// The number of a piece of a VM's memory.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Slot {
    Code = 0,
    Memory = 1,
}

impl Vm {
    /// Creates a VM that has the programs and no memory besides.
    pub(crate) fn new() -> Result<Self, Failure> {
        let kvm = File::open("/dev/kvm: does this CPU model have EL2?", c"/dev/kvm")?;
        let vm = File::from_result(kvm.control("KVM_CREATE_VM", CREATE_VM, 0)?);
        let vcpu = File::from_result(vm.control("KVM_CREATE_VCPU", CREATE_VCPU, 0)?);
        let mut init = VcpuInit::default();
        vm.control_with("KVM_ARM_PREFERRED_TARGET", PREFERRED_TARGET, &mut init)?;
        init.features[0] |= PSCI;
        vcpu.control_with("KVM_ARM_VCPU_INIT", VCPU_INIT, &mut init)?;
        create_gic(vm)?;
        let len = kvm.control("KVM_GET_VCPU_MMAP_SIZE", GET_VCPU_MMAP_SIZE, 0)?;
        let run = ptr::with_exposed_provenance_mut(vcpu.map("mmap of the vCPU", len)?);
        let new = Self { vm, vcpu, run };
        new.load_programs()?;
        Ok(new)
    }

    fn load_programs(&self) -> Result<(), Failure> {
        let code = Area::new(1, Piece::Page)?;
        let (from, len) = program::text();
        let to = ptr::with_exposed_provenance_mut::<c_void>(code.start());
        // SAFETY: the programs are in this one's text, and fit a page that nothing refers to.
        unsafe { to.copy_from_nonoverlapping(from.cast(), len) };
        self.set_slot(Slot::Code, Logging::Off, CODE, code.start(), PAGE_BYTES)
    }

    fn set_slot(&self, slot: Slot, flags: Logging, guest: u64, start: usize, len: usize) -> Result<(), Failure> {
        let mut region =
            MemoryRegion { slot: slot as u32, flags, guest_start: guest, len: len as u64, start: start as u64 };
        self.vm.control_with("KVM_SET_USER_MEMORY_REGION", SET_USER_MEMORY_REGION, &mut region).map(drop)
    }

    /// Gives the VM an area as its memory, or changes how KVM logs it.
    pub(crate) fn give(&self, area: &Area, logging: Logging) -> Result<(), Failure> {
        self.set_slot(Slot::Memory, logging, MEMORY, area.start(), area.len())
    }

    /// Takes its memory from it.
    pub(crate) fn take(&self) -> Result<(), Failure> {
        self.set_slot(Slot::Memory, Logging::Off, MEMORY, 0, 0)
    }

    /// Has KVM tell which pages were written, in a bit each of `bitmap`, and write-protect them.
    pub(crate) fn read_log(&self, bitmap: &Area) -> Result<(), Failure> {
        let mut log = DirtyLog { slot: Slot::Memory as u32, padding: 0, bitmap: bitmap.start() as u64 };
        self.vm.control_with("KVM_GET_DIRTY_LOG", GET_DIRTY_LOG, &mut log).map(drop)
    }

    /// Runs a program and returns its result.
    pub(crate) fn run(&self, program: Program, arguments: [u64; 3]) -> Result<u64, Failure> {
        /// The registers are numbered by where they are in `struct kvm_regs`, in words of 4 bytes.
        const PC: u64 = 64;
        let [x0, x1, x2] = arguments;
        let registers = [(PC, CODE + program.offset()), (0, x0), (2, x1), (4, x2), (6, RESULT)];
        registers.into_iter().try_for_each(|(number, value)| self.set_register(number, value))?;
        self.vcpu.control("KVM_RUN", RUN, 0)?;
        let result = self.result()?;
        self.finish_store()?;
        Ok(result)
    }

    fn set_register(&self, number: u64, value: u64) -> Result<(), Failure> {
        /// `KVM_REG_ARM64`, `KVM_REG_SIZE_U64` and `KVM_REG_ARM_CORE`.
        const CORE: u64 = 0x6030_0000_0010_0000;
        let value = ptr::from_ref(&value).expose_provenance() as u64;
        self.vcpu.control_with("KVM_SET_ONE_REG", SET_ONE_REG, &mut OneReg { id: CORE | number, value }).map(drop)
    }

    /// Returns what the program stored where nothing is.
    fn result(&self) -> Result<u64, Failure> {
        // SAFETY: it is KVM's mapping, which is longer than that, and the vCPU does not run.
        let run = unsafe { self.run.read_volatile() };
        match run.exit_reason {
            EXIT_MMIO if run.address == RESULT => Ok(run.value),
            EXIT_MMIO => Err(Failure::new("the VM lacks memory at the address", run.address as i64)),
            reason => Err(Failure::new("the VM came to exit reason", reason.into())),
        }
    }

    /// Completes the store, without which KVM would skip an instruction of the next program.
    fn finish_store(&self) -> Result<(), Failure> {
        self.set_immediate_exit(1);
        let came_to = self.vcpu.control("KVM_RUN", RUN, 0);
        self.set_immediate_exit(0);
        match came_to {
            Err(Failure { value: INTERRUPTED, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    fn set_immediate_exit(&self, value: u8) {
        // SAFETY: it is KVM's mapping, which is longer than that.
        let field = unsafe { &raw mut (*self.run).immediate_exit };
        // SAFETY: the same.
        unsafe { field.write_volatile(value) };
    }
}

/// Gives a VM an interrupt controller, as every VM has that boots an operating system: without one KVM keeps the process informed
/// of the timer, at every exit.
fn create_gic(vm: File) -> Result<(), Failure> {
    const GIC_V3: u32 = 7;
    /// The group of the addresses, with the distributor's and the redistributors', and that of the call to start.
    const ADDRESSES: u32 = 0;
    const CONTROL: u32 = 4;
    let mut device = CreateDevice { kind: GIC_V3, file: 0, flags: 0 };
    vm.control_with("KVM_CREATE_DEVICE", CREATE_DEVICE, &mut device)?;
    let gic = File::from_result(device.file as usize);
    for (group, attribute, value) in [(ADDRESSES, 2, 0x0800_0000_u64), (ADDRESSES, 3, 0x080a_0000), (CONTROL, 0, 0)] {
        let value = ptr::from_ref(&value).expose_provenance() as u64;
        let mut attribute = DeviceAttr { flags: 0, group, attribute, value };
        gic.control_with("KVM_SET_DEVICE_ATTR", SET_DEVICE_ATTR, &mut attribute)?;
    }
    Ok(())
}
