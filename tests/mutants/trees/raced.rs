//! A machine whose guests store to pages at the very moment at which their entries are changed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use checked::Checked;
use oracle::Event;
use stage2::{Mmu, Order};
use tests::Sim;
use vmsa::{BbmLevel, DirtyLevel, Dsb, Features, Geometry, Hpa, Scope, Tlbi};

const VALID: u64 = 1 << 0;
const S2AP_WRITE: u64 = 1 << 7;
/// What all leaves have, and no tables.
const SH_INNER: u64 = 0b11 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;

/// A machine with the oracle on it. Every second time that the entry of a clean page is about to be changed, the walk makes it
/// dirty first, and that of a page that was not used, used.
pub(super) struct Raced<'c> {
    checked: &'c Checked<Sim>,
    chances: AtomicUsize,
}

impl<'c> Raced<'c> {
    pub(super) const fn new(checked: &'c Checked<Sim>) -> Self {
        Self { checked, chances: AtomicUsize::new(0) }
    }

    fn store_by_guest(&self, slot: Hpa) {
        let sim = self.checked.inner();
        let old = sim.memory().word(slot);
        let is_clean = old & (VALID | S2AP_WRITE | DIRTY_BIT_MODIFIER) == VALID | DIRTY_BIT_MODIFIER;
        let is_unused = old & (VALID | SH_INNER | ACCESS_FLAG) == VALID | SH_INNER;
        let flag = match sim.features().dirty {
            DirtyLevel::Dirty if is_clean => S2AP_WRITE,
            DirtyLevel::Dirty | DirtyLevel::AccessFlag if is_unused => ACCESS_FLAG,
            _ => return,
        };
        if self.chances.fetch_add(1, Relaxed).is_multiple_of(2) {
            let new = old | flag;
            self.checked.told(Event::HardwareUpdate { slot, old, new });
            sim.memory().set_word(slot, new);
        }
    }
}

impl Mmu for Raced<'_> {
    fn features(&self) -> &Features {
        self.checked.features()
    }

    fn read(&self, slot: Hpa) -> u64 {
        self.checked.read(slot)
    }

    fn write(&self, slot: Hpa, descriptor: u64, order: Order) {
        self.checked.write(slot, descriptor, order);
    }

    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64> {
        self.store_by_guest(slot);
        self.checked.exchange(slot, old, new)
    }

    fn tlbi(&self, op: Tlbi, scope: Scope) {
        self.checked.tlbi(op, scope);
    }

    fn dsb(&self, kind: Dsb) {
        self.checked.dsb(kind);
    }

    fn isb(&self) {
        self.checked.isb();
    }

    fn vttbr(&self) -> u64 {
        self.checked.vttbr()
    }

    fn set_vttbr(&self, vttbr: u64) {
        self.checked.set_vttbr(vttbr);
    }

    fn set_vtcr(&self, vtcr: u64) {
        self.checked.set_vtcr(vtcr);
    }

    fn set_hcr(&self, hcr: u64) {
        self.checked.set_hcr(hcr);
    }

    fn root_made(&self, number: u32, vttbr: u64, geometry: Geometry, bbm: BbmLevel) {
        self.checked.root_made(number, vttbr, geometry, bbm);
    }

    fn root_idle(&self, number: u32, root: Hpa) {
        self.checked.root_idle(number, root);
    }
}
