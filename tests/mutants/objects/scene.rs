//! Two VMs, each on a CPU of its own, and what can be done with them.

use abi::{Call, RAM_BASE, Startup, Status, VmOptions, VmarOp, VmoOp};
use checked::Checked;
use tests::{Seen, Sim, put_in_use};
use vm::{ExitCause, Fault, Machine, Outcome, System, VmConfig, VmId};
use vmsa::{Access, FaultKind, Features, Ipa, Perms};

use crate::run::Gate;

const PAGE: u64 = 4096;
/// Faults that an access may take before it goes through: one for what is not there, one for what a TLB still holds, one more.
const MOST_FAULTS: usize = 3;

/// ESR_EL2 after `HVC #0`.
const HVC: u64 = 0x5a00_0000;

/// What is wrong, in words.
pub(super) type Complaint = String;

pub(super) struct Scene {
    system: System<Checked<Sim>>,
    vms: [VmId; 2],
    /// Handles that the script keeps.
    pub(super) handles: Vec<u64>,
    held: u64,
}

impl Scene {
    pub(super) fn new(features: Features) -> Self {
        let sim = Sim::new(features, 32 << 20);
        let ram = sim.memory().range();
        // SAFETY: the memory is the simulated machine's, which moves into the system and nobody else uses; it is a part of this
        // process, its addresses serve as the physical ones, and their provenance is exposed.
        let system = unsafe { System::new(sim.checked(), &[ram]) }.expect("memory enough");
        let config = VmConfig { ipa_bits: 40, can_inspect: true, seed: 1, ram_bytes: 4 << 20, ..VmConfig::default() };
        let vms = [0, 1].map(|_| system.create_vm(&config).expect("memory enough"));
        let scene = Self { system, vms, handles: Vec::new(), held: 0 };
        (0..2).for_each(|vm| scene.enter(vm));
        scene
    }

    /// Compares how many frames more a VM of one width takes than one of another.
    pub(super) fn root_takes(&self, wide: u32, narrow: u32, expected: u64) -> Result<(), Complaint> {
        let [wide, narrow] = [wide, narrow].map(|ipa_bits| {
            let config = VmConfig { ipa_bits, ram_bytes: 4 << 20, ..VmConfig::default() };
            self.system.create_vm(&config).map(|vm| self.system.frames_held(vm))
        });
        match (wide, narrow) {
            (Ok(wide), Ok(narrow)) if wide == narrow + expected => Ok(()),
            held => Err(format!("two VMs hold {held:?} frames, and should differ by {expected}")),
        }
    }

    /// Has the VM's CPU load it.
    fn enter(&self, vm: usize) {
        Sim::run_on(vm);
        let vttbr = self.system.load(self.vms[vm], vm);
        put_in_use(self.system.machine(), self.system.geometry(self.vms[vm]), vttbr);
        self.resume(vm);
    }

    /// Has the VM's CPU come back from its guest.
    fn leave(&self, vm: usize, esr: u64, at: u64) {
        Sim::run_on(vm);
        let cause = ExitCause { esr, far: at, hpfar: at >> 12 << 4 };
        self.system.machine().told_left(self.vms[vm], vm, cause);
    }

    fn resume(&self, vm: usize) {
        self.system.machine().told_entering(self.vms[vm], vm);
    }

    /// Returns what a gate says after a step of the script, to which the guests' expectations belong for the model.
    pub(super) fn said(&self, gate: Gate, complaint: Option<Complaint>) -> Vec<String> {
        let sim = self.system.machine().inner();
        match gate {
            Gate::Model => complaint.into_iter().chain(crate::objections(sim)).collect(),
            Gate::Oracle => sim.verdicts(),
        }
    }

    /// Calls with `x1` to `x8`, the rest of them 0.
    fn raw_call(&self, vm: usize, call: Call, arguments: &[u64]) -> Result<[u64; 3], Status> {
        let mut args = [0; 8];
        args[..arguments.len()].copy_from_slice(arguments);
        self.leave(vm, HVC, 0);
        let outcome = self.system.call(self.vms[vm], call, &mut args);
        self.resume(vm);
        match outcome {
            Outcome::Return { status, .. } => status.ok().map(|()| [args[0], args[1], args[2]]),
            Outcome::Exit(_) => Err(Status::INTERNAL),
        }
    }

    /// Calls, and compares how it ends.
    pub(super) fn call(
        &self,
        vm: usize,
        call: Call,
        arguments: &[u64],
        expected: Result<(), Status>,
    ) -> Result<u64, Complaint> {
        let ended = self.raw_call(vm, call, arguments);
        let is_right = ended.map(drop) == expected;
        let what = || format!("{call:?}{arguments:x?} ends with {ended:x?}, and not with {expected:?}");
        if is_right { Ok(ended.map_or(0, |results| results[0])) } else { Err(what()) }
    }

    fn root(&self, vm: usize) -> Result<u64, Complaint> {
        self.call(vm, Call::StartupHandle, &[u64::from(u32::from(Startup::RootVmar))], Ok(()))
    }

    /// Makes a VMO, and keeps its handle.
    pub(super) fn vmo(&mut self, vm: usize, pages: u64) -> Result<(), Complaint> {
        let handle = self.call(vm, Call::VmoCreate, &[pages * PAGE, 0], Ok(()))?;
        self.handles.push(handle);
        Ok(())
    }

    /// Closes the handle that was kept last.
    pub(super) fn close(&mut self, vm: usize) -> Result<(), Complaint> {
        let handle = self.handles.pop().ok_or("the script has no handle left")?;
        self.call(vm, Call::HandleClose, &[handle], Ok(())).map(drop)
    }

    /// Maps all of the VMO that was kept last.
    pub(super) fn map(&self, vm: usize, at: u64, pages: u64, options: VmOptions) -> Result<(), Complaint> {
        let vmo = *self.handles.last().ok_or("the script has no handle")?;
        let options = u64::from((options | VmOptions::SPECIFIC).bits());
        let root = self.root(vm)?;
        self.call(vm, Call::VmarMap, &[root, options, at, vmo, 0, pages * PAGE], Ok(())).map(drop)
    }

    pub(super) fn unmap(&self, vm: usize, at: u64, len: u64, expected: Result<(), Status>) -> Result<(), Complaint> {
        let root = self.root(vm)?;
        self.call(vm, Call::VmarUnmap, &[root, at, len], expected).map(drop)
    }

    pub(super) fn protect(&self, vm: usize, at: u64, pages: u64, options: VmOptions) -> Result<(), Complaint> {
        self.protect_bytes(vm, at, pages * PAGE, options, Ok(()))
    }

    pub(super) fn protect_bytes(
        &self,
        vm: usize,
        at: u64,
        len: u64,
        options: VmOptions,
        expected: Result<(), Status>,
    ) -> Result<(), Complaint> {
        let root = self.root(vm)?;
        self.call(vm, Call::VmarProtect, &[root, u64::from(options.bits()), at, len], expected).map(drop)
    }

    pub(super) fn op_range(&self, vm: usize, op: VmarOp, at: u64, pages: u64) -> Result<(), Complaint> {
        let root = self.root(vm)?;
        self.call(vm, Call::VmarOpRange, &[root, u64::from(u32::from(op)), at, pages * PAGE], Ok(())).map(drop)
    }

    /// Does an operation to the VMO that was kept last.
    pub(super) fn vmo_op(&self, vm: usize, op: VmoOp, first: u64, pages: u64) -> Result<(), Complaint> {
        let vmo = *self.handles.last().ok_or("the script has no handle")?;
        let arguments = [vmo, u64::from(u32::from(op)), first * PAGE, pages * PAGE];
        self.call(vm, Call::VmoOpRange, &arguments, Ok(())).map(drop)
    }

    /// Stores a word, and compares whether that is possible.
    pub(super) fn store(&self, vm: usize, at: u64, value: u64, is_possible: bool) -> Result<(), Complaint> {
        match (self.touch(vm, at, Access::Write)?, is_possible) {
            (Some(page), true) => {
                self.system.machine().inner().memory().set_word(page.add(at % PAGE), value);
                Ok(())
            }
            (None, false) => Ok(()),
            (page, _) => Err(format!("a store of VM {vm} to {at:#x} leads to {page:?}")),
        }
    }

    /// Loads a word, and compares it; `None` is an abort.
    pub(super) fn load(&self, vm: usize, at: u64, expected: Option<u64>) -> Result<(), Complaint> {
        let page = self.touch(vm, at, Access::Read)?;
        let memory = self.system.machine().inner().memory();
        let found = page.map(|page| memory.word(page.add(at % PAGE)));
        if found == expected {
            Ok(())
        } else {
            Err(format!("VM {vm} loads {found:x?} from {at:#x}, not {expected:x?}"))
        }
    }

    /// Compares a word of each page from `at` on.
    pub(super) fn loads(&self, vm: usize, at: u64, expected: &[Option<u64>]) -> Result<(), Complaint> {
        let pages = (at..).step_by(PAGE as usize);
        pages.zip(expected).try_for_each(|(at, expected)| self.load(vm, at, *expected))
    }

    /// Accesses as an instruction would: through the tables, with a fault where they do not allow it. Returns the page, or
    /// `None` after an abort.
    fn touch(&self, vm: usize, at: u64, access: Access) -> Result<Option<vmsa::Hpa>, Complaint> {
        let needed = if access == Access::Write { Perms::WRITE } else { Perms::READ };
        for _ in 0..=MOST_FAULTS {
            let kind = match self.seen(vm, at)? {
                Some((page, least, _)) if least.contains(needed) => return Ok(Some(page)),
                Some(_) => FaultKind::Permission,
                None => FaultKind::Translation,
            };
            if self.fault(vm, at, access, kind) == Fault::Abort {
                let is_allowed = self.seen(vm, at)?.is_some_and(|(_, _, most)| most.contains(needed));
                let what = || format!("VM {vm} is refused what a CPU may still do at {at:#x}");
                return if is_allowed { Err(what()) } else { Ok(None) };
            }
        }
        Err(format!("VM {vm} faults at {at:#x} for ever"))
    }

    /// Returns the page that a VM sees on every CPU, and what it may do there: on its own CPU for certain, and on some at most.
    fn seen(&self, vm: usize, at: u64) -> Result<Option<(vmsa::Hpa, Perms, Perms)>, Complaint> {
        let (vttbr, geometry) = (self.system.vttbr(self.vms[vm]), self.system.geometry(self.vms[vm]));
        let sim = self.system.machine().inner();
        let own = sim.access(vm, vttbr, geometry, Ipa(at));
        let other = sim.access(1 - vm, vttbr, geometry, Ipa(at));
        let (mut page, mut least, mut most) = (None, Perms::all(), Perms::empty());
        for seen in own.iter().chain(&other) {
            match seen {
                Seen::Page(frame, perms) if page.is_none_or(|page| page == *frame) => {
                    page = Some(*frame);
                    least = if own.contains(seen) { least & *perms } else { least };
                    most |= *perms;
                }
                Seen::Nothing if page.is_none() => {}
                seen => return Err(format!("a CPU may see {seen:?} at {at:#x} of VM {vm}, and one {page:?}")),
            }
        }
        let is_mixed = page.is_some() && (own.contains(&Seen::Nothing) || other.contains(&Seen::Nothing));
        if is_mixed {
            Err(format!("a CPU may fault at {at:#x} of VM {vm}"))
        } else {
            Ok(page.map(|page| (page, least, most)))
        }
    }

    fn fault(&self, vm: usize, at: u64, access: Access, kind: FaultKind) -> Fault {
        self.leave(vm, abort(access, kind), at);
        let ended = self.system.fault(self.vms[vm], Ipa(at), access, kind);
        self.resume(vm);
        ended
    }

    /// Has a fault served that was true when it was taken: what the tables allow is tried again.
    pub(super) fn fault_late(&self, vm: usize, at: u64, access: Access, kind: FaultKind) -> Result<(), Complaint> {
        match self.fault(vm, at, access, kind) {
            Fault::Abort => Err(format!("VM {vm} is told of a fault at {at:#x}, which is allowed")),
            Fault::Served | Fault::Spurious => Ok(()),
        }
    }

    /// Takes note of how many frames the VM holds.
    pub(super) fn note_held(&mut self, vm: usize) -> Result<(), Complaint> {
        self.held = self.system.frames_held(self.vms[vm]);
        Ok(())
    }

    /// Compares how many frames the VM holds with what was noted.
    pub(super) fn holds_as_noted(&self, vm: usize) -> Result<(), Complaint> {
        let held = self.system.frames_held(self.vms[vm]);
        if held == self.held { Ok(()) } else { Err(format!("VM {vm} holds {held} frames, and not {}", self.held)) }
    }

    /// Returns an address in the VM's RAM.
    pub(super) const fn ram(page: u64) -> u64 {
        RAM_BASE + page * PAGE
    }
}

/// Returns ESR_EL2 after an abort that stage 2 makes of a load or a store at level 3.
fn abort(access: Access, kind: FaultKind) -> u64 {
    const DATA_ABORT: u64 = 0x24 << 26 | 1 << 25;
    let status = if kind == FaultKind::Permission { 0xf } else { 0x7 };
    DATA_ABORT | status | if access == Access::Write { 1 << 6 } else { 0 }
}
