//! The real machine, as `stage2` and `vm` ask for it.

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{HCR_EL2, Readable, VTCR_EL2, VTTBR_EL2, Writeable};
use abi::{AccessKind, Status};
use hypervisor::wire::send_console;
use stage2::{Mmu, Order};
use vm::Machine;
use vmsa::{Dc, Dsb, Features, Hpa, Ipa, Scope, Tlbi};

use super::caches::{self, Zeroing};
use super::{cpu, guest, memory, per_cpu, tlb, uart};

/// The machine that this program runs on. EL2 sees all RAM at its physical address.
#[derive(Debug)]
pub(crate) struct RealMmu {
    features: Features,
    zeroing: Zeroing,
    /// FEAT_LSE.
    has_atomics: bool,
}

impl RealMmu {
    pub(super) fn new() -> Self {
        let (features, zeroing) = (cpu::features().memory, Zeroing::of_this_machine());
        Self { features, zeroing, has_atomics: cpu::has_atomics() }
    }
}

fn slot<'a>(at: Hpa) -> &'a AtomicU64 {
    let pointer = ptr::with_exposed_provenance::<AtomicU64>(at.0 as usize);
    // SAFETY: `Mmu` is asked only for slots of tables, which are words of frames that `vm` has taken for tables; all RAM is
    // mapped, and tables are only ever accessed as atomics.
    unsafe { &*pointer }
}

impl Mmu for RealMmu {
    #[inline]
    fn features(&self) -> &Features {
        &self.features
    }

    #[inline]
    fn read(&self, at: Hpa) -> u64 {
        slot(at).load(Ordering::Relaxed)
    }

    #[inline]
    fn write(&self, at: Hpa, descriptor: u64, order: Order) {
        let order = match order {
            Order::Plain => Ordering::Relaxed,
            Order::Release => Ordering::Release,
        };
        slot(at).store(descriptor, order);
    }

    #[inline]
    fn fill(&self, at: Hpa, count: u64, first: u64, step: u64) {
        // SAFETY: (1) as in `slot`; (2) `stage2` asks for it only while nobody else can reach the table.
        unsafe { memory::fill(at, count, first, step) };
    }

    #[inline]
    fn exchange(&self, at: Hpa, old: u64, new: u64) -> Result<(), u64> {
        slot(at).compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).map(drop)
    }

    #[inline]
    fn flip(&self, at: Hpa, count: u64, change: u64) {
        for at in (0..count).map(|number| at.add(8 * number)) {
            if self.has_atomics {
                // SAFETY: (1) it is there; (2) as in `slot`.
                unsafe { memory::flip(at, change) };
            } else {
                slot(at).fetch_xor(change, Ordering::Release);
            }
        }
    }

    #[inline]
    fn erase(&self, at: Hpa, count: u64) {
        for at in (0..count).map(|number| at.add(8 * number)) {
            if self.has_atomics {
                // SAFETY: as in `flip`.
                unsafe { memory::erase(at) };
            } else {
                slot(at).swap(0, Ordering::Release);
            }
        }
    }

    #[inline]
    fn tlbi(&self, op: Tlbi, scope: Scope) {
        // One of EL2's own translation does nothing for a guest's.
        if !planted::is(31) {
            tlb::invalidate(op, scope);
        }
    }

    #[inline]
    fn dsb(&self, kind: Dsb) {
        match kind {
            Dsb::Nsh => barrier::dsb(barrier::NSH),
            Dsb::Nshst => barrier::dsb(barrier::NSHST),
            Dsb::Ishst => barrier::dsb(barrier::ISHST),
            Dsb::Ish => barrier::dsb(barrier::ISH),
            Dsb::Sy => barrier::dsb(barrier::SY),
        }
    }

    #[inline]
    fn isb(&self) {
        barrier::isb(barrier::SY);
    }

    fn vttbr(&self) -> u64 {
        VTTBR_EL2.get()
    }

    fn set_vttbr(&self, vttbr: u64) {
        VTTBR_EL2.set(vttbr);
    }

    fn set_vtcr(&self, vtcr: u64) {
        VTCR_EL2.set(vtcr);
    }

    fn set_hcr(&self, hcr: u64) {
        HCR_EL2.set(hcr);
    }
}

impl Machine for RealMmu {
    fn clear(&self, frame: Hpa, pages: u64) {
        // SAFETY: (1) `vm` asks only for frames that it was given and that are not in use.
        unsafe { self.zeroing.zero(frame, pages) };
    }

    fn copy_from(&self, from: Hpa, into: &mut [u8]) {
        // SAFETY: (1) `vm` asks only for memory that it was given, which is RAM and never borrowed.
        unsafe { memory::copy_from(from, into) };
    }

    fn copy_to(&self, to: Hpa, from: &[u8]) {
        // SAFETY: (1) as above.
        unsafe { memory::copy_to(to, from) };
    }

    fn dc(&self, op: Dc, start: Hpa, len: u64) {
        // SAFETY: (1) `vm` asks only for memory that it was given, and all of that is mapped.
        unsafe { caches::maintain(self.features.dcache_line as u64, start, len, op) };
    }

    fn ic(&self) {
        caches::invalidate_instructions();
    }

    fn now_ns(&self) -> u64 {
        cpu::now_ns()
    }

    fn console_write(&self, bytes: &[u8]) {
        uart::with_port(|port| send_console(port, bytes));
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let waiting = |port: &mut uart::Port| {
            into.iter_mut().map_while(|byte| port.receive().map(|received| *byte = received)).count()
        };
        uart::with_port(waiting).unwrap_or(0)
    }

    fn translate(&self, address: Ipa, access: AccessKind) -> Result<u64, Status> {
        guest::translate(address, access)
    }

    fn relax(&self) {
        core::hint::spin_loop();
    }

    #[inline]
    fn cpu(&self) -> usize {
        per_cpu::cpu_index()
    }
}
