//! A guest without instructions: it calls, and touches memory, through the hypervisor's own entries.

use abi::{Call, Status};
use checked::Checked;
use stage2::Mmu;
use vm::{ExitCause, Fault, Machine, Outcome, System, VmConfig, VmId};
use vmsa::{Access, FaultKind, Features, Hpa, Ipa, Perms};

use crate::{Seen, Sim, put_in_use};

/// ESR_EL2 after `HVC #0`.
const HVC: u64 = 0x5a00_0000;

/// A VM on a simulated machine, and the machine with the oracle on it.
pub struct Guest {
    /// All of the hypervisor.
    pub system: System<Checked<Sim>>,
    /// The VM.
    pub id: VmId,
}

/// What a call came to.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// `x0`.
    pub status: Status,
    /// `x1` to `x3`, as far as they are results, and 0.
    pub results: [u64; 3],
    /// How many of them are results.
    pub count: usize,
}

impl Guest {
    /// Makes a VM with these boot arguments on a machine with `bytes` of memory.
    pub fn new(arguments: &str, bytes: usize) -> Self {
        Self::on(Features::default(), arguments, bytes)
    }

    /// Makes a VM with these boot arguments on a machine with these features and `bytes` of memory.
    pub fn on(features: Features, arguments: &str, bytes: usize) -> Self {
        let sim = Sim::new(Features { pa_bits: 48, ..features }, bytes);
        let ram = sim.memory().range();
        // SAFETY: the memory is the simulated machine's, which moves into the system and nobody else uses; it is a part of this
        // process, its addresses serve as the physical ones, and their provenance is exposed.
        let system = unsafe { System::new(sim.checked(), &[ram]) }.expect("memory enough");
        let config = VmConfig::default().with_arguments(arguments).expect("good arguments");
        let id = system.create_vm(&config).expect("memory enough");
        let guest = Self { system, id };
        guest.resume();
        guest
    }

    /// Calls with `x1` to `x8`; `None` where that ends the VM.
    ///
    /// # Panics
    ///
    /// A register has changed that is no result.
    pub fn hypercall(&self, call: Call, args: &[u64; 8]) -> Option<Answer> {
        self.leave(HVC, 0);
        let mut registers = *args;
        let outcome = self.system.call(self.id, call, &mut registers);
        self.resume();
        let Outcome::Return { status, count } = outcome else { return None };
        let (count, mut results) = (count.into(), [0; 3]);
        results[..count].copy_from_slice(&registers[..count]);
        assert_eq!(registers[count..], args[count..], "{call:?}");
        Some(Answer { status, results, count })
    }

    /// Makes the call that a function id names, with arguments of 0, if there is one.
    pub fn call_by_id(&self, function_id: u32) -> Option<Outcome> {
        self.leave(HVC, 0);
        let outcome = System::handler(function_id).map(|handler| handler(&self.system, self.id, &mut [0; 8]));
        self.resume();
        outcome
    }

    /// Accesses the page at `ipa` as an instruction would: through the tables, with a fault where they do not allow it.
    pub fn touch(&self, ipa: u64, access: Access) -> bool {
        self.find(ipa, access).is_some()
    }

    /// Does the same, and returns the frame that the access finds.
    pub fn find(&self, ipa: u64, access: Access) -> Option<Hpa> {
        let perms = match access {
            Access::Read => Perms::READ,
            Access::Write => Perms::WRITE,
            Access::Execute => Perms::EXECUTE,
        };
        for _ in 0..3 {
            let kind = match self.seen(ipa) {
                Some((frame, seen)) if seen.contains(perms) => return Some(frame),
                Some(_) => FaultKind::Permission,
                None => FaultKind::Translation,
            };
            self.leave(abort(access, kind), ipa);
            let outcome = self.system.fault(self.id, Ipa(ipa), access, kind);
            self.resume();
            if outcome == Fault::Abort {
                return None;
            }
        }
        panic!("{ipa:#x} faults for ever");
    }

    /// Stores eight bytes at an address that is a multiple of 8, where that is allowed.
    pub fn store(&self, ipa: u64, value: u64) -> bool {
        let frame = self.find(ipa, Access::Write);
        if let Some(frame) = frame {
            self.write(frame.add(ipa % vmsa::PAGE_SIZE), &value.to_le_bytes());
        }
        frame.is_some()
    }

    /// Loads eight bytes from an address that is a multiple of 8, where that is allowed.
    pub fn load(&self, ipa: u64) -> Option<u64> {
        let frame = self.find(ipa, Access::Read)?;
        let mut bytes = [0; 8];
        self.read(frame.add(ipa % vmsa::PAGE_SIZE), &mut bytes);
        Some(u64::from_le_bytes(bytes))
    }

    /// Reads from a frame, within a page. Devices read as zero.
    pub fn read(&self, from: Hpa, into: &mut [u8]) {
        match self.sim().memory().holds(from) {
            true => self.sim().memory().read(from, into),
            false => into.fill(0),
        }
    }

    /// Writes to a frame, within a page. Devices keep nothing.
    pub fn write(&self, to: Hpa, from: &[u8]) {
        if self.sim().memory().holds(to) {
            self.sim().memory().write(to, from);
        }
    }

    /// Goes on in the guest: the oracle and the machine have nothing to say.
    pub fn resume(&self) {
        let (machine, vttbr) = (self.system.machine(), self.system.vttbr(self.id));
        if machine.vttbr() != vttbr {
            put_in_use(machine, self.system.geometry(self.id), vttbr);
        }
        machine.told_entering(self.id, machine.cpu());
        let violations = self.sim().violations();
        assert_eq!(violations, Vec::<String>::new(), "{}", self.sim().course().unwrap_or_default());
    }

    /// Leaves the guest, for the reason that ESR_EL2 tells.
    fn leave(&self, esr: u64, ipa: u64) {
        let machine = self.system.machine();
        // HPFAR_EL2 holds the page's number from bit 4 on.
        machine.told_left(self.id, machine.cpu(), ExitCause { esr, far: ipa, hpfar: ipa >> 12 << 4 });
    }

    /// Returns the machine.
    pub fn sim(&self) -> &Sim {
        self.system.machine().inner()
    }

    /// Returns what the access finds. Where this CPU's TLB may still hold that less was allowed, it does.
    fn seen(&self, ipa: u64) -> Option<(Hpa, Perms)> {
        let (vttbr, geometry) = (self.system.vttbr(self.id), self.system.geometry(self.id));
        let sim = self.sim();
        sim.agreed(vttbr, geometry, Ipa(ipa)).unwrap_or_else(|| {
            let all = sim.access(Sim::this_cpu(), vttbr, geometry, Ipa(ipa));
            let pages = all.into_iter().map(|seen| match seen {
                Seen::Page(frame, perms) => Some((frame, perms)),
                Seen::Nothing => None,
                wrong => panic!("an access at {ipa:#x} may find {wrong:?}"),
            });
            let least = |one: Option<(Hpa, Perms)>, other: Option<(Hpa, Perms)>| {
                let ((frame, perms), (other, others)) = (one?, other?);
                assert_eq!(frame, other, "accesses at {ipa:#x} may find two frames");
                Some((frame, perms & others))
            };
            pages.reduce(least).flatten()
        })
    }
}

/// Returns ESR_EL2 after an abort that stage 2 makes of an access at level 3.
fn abort(access: Access, kind: FaultKind) -> u64 {
    const INSTRUCTION_ABORT: u64 = 0x20 << 26;
    const DATA_ABORT: u64 = 0x24 << 26;
    let status = if kind == FaultKind::Permission { 0xf } else { 0x7 };
    status
        | 1 << 25
        | match access {
            Access::Execute => INSTRUCTION_ABORT,
            Access::Read => DATA_ABORT,
            Access::Write => DATA_ABORT | 1 << 6,
        }
}
