//! Where each VM's tables begin, and what shape their tree has.

use std::collections::BTreeMap;

use oracle::{Event, Register};
use serde::Serialize;
use vmsa::Level;

/// HCR_EL2.FWB.
const FORCED_WRITE_BACK: u64 = 1 << 46;

/// A VM's tables, from an event on.
#[derive(Debug, Serialize)]
pub(super) struct Root {
    event: usize,
    vm: u32,
    vmid: u64,
    address: u64,
    #[serde(flatten)]
    shape: Shape,
}

/// What VTCR_EL2 says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
struct Shape {
    /// The level of the root.
    start: u8,
    /// How many entries the root has.
    entries: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Registers {
    vtcr: Option<u64>,
    vttbr: Option<u64>,
}

/// What was written, and what is in effect since the last context synchronization.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    written: Registers,
    in_effect: Registers,
}

/// The roots, as they are told.
#[derive(Debug, Default)]
pub(super) struct Roots {
    cpus: BTreeMap<usize, Cpu>,
    /// The first VTCR_EL2 that is written: a VM may be bound before any is.
    first_vtcr: Option<u64>,
    hcr: u64,
    bound: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    event: usize,
    vm: u32,
    vttbr: u64,
    vtcr: Option<u64>,
}

impl Roots {
    /// Takes the event of that number, which happens on a CPU.
    pub(super) fn see(&mut self, number: usize, cpu: usize, event: &Event) {
        match *event {
            Event::Msr(Register::VtcrEl2, value) => {
                self.first_vtcr.get_or_insert(value);
                self.cpu(cpu).written.vtcr = Some(value);
            }
            Event::Msr(Register::VttbrEl2, value) => self.cpu(cpu).written.vttbr = Some(value),
            Event::Msr(Register::HcrEl2, value) => self.hcr = value,
            Event::Isb | Event::Exc { .. } => self.synchronize(cpu),
            Event::Eret { vm, .. } => {
                self.synchronize(cpu);
                self.enter(number, cpu, vm);
            }
            Event::Vm { vm, vttbr, .. } => {
                let vtcr = self.cpus.values().find_map(|cpu| cpu.written.vtcr);
                self.bound.push(Bound { event: number, vm, vttbr, vtcr });
            }
            _ => {}
        }
    }

    /// Tells whether stage 2 forces write-back just now.
    pub(super) const fn forces_write_back(&self) -> bool {
        self.hcr & FORCED_WRITE_BACK != 0
    }

    /// Returns the roots whose shape is known.
    pub(super) fn finish(self) -> Vec<Root> {
        let root = |bound: Bound| {
            let shape = Shape::of(bound.vtcr.or(self.first_vtcr)?)?;
            let address = bound.vttbr & 0x0000_ffff_ffff_fffe;
            Some(Root { event: bound.event, vm: bound.vm, vmid: bound.vttbr >> 48, address, shape })
        };
        self.bound.into_iter().filter_map(root).collect()
    }

    fn cpu(&mut self, cpu: usize) -> &mut Cpu {
        self.cpus.entry(cpu).or_default()
    }

    fn synchronize(&mut self, cpu: usize) {
        let cpu = self.cpu(cpu);
        cpu.in_effect = cpu.written;
    }

    /// A VM that nothing has bound yet has the tables that it is first entered with.
    fn enter(&mut self, number: usize, cpu: usize, vm: u32) {
        let Registers { vtcr, vttbr } = self.cpu(cpu).in_effect;
        if let Some(vttbr) = vttbr.filter(|_| !self.bound.iter().any(|bound| bound.vm == vm)) {
            self.bound.push(Bound { event: number, vm, vttbr, vtcr });
        }
    }
}

impl Shape {
    /// Decodes VTCR_EL2 for the 4 KiB granule: SL0 2, 1, 0 and 3 start at level 0, 1, 2 and 3, and up to 16 tables make a root.
    fn of(vtcr: u64) -> Option<Self> {
        const GRANULE: u64 = 0b11 << 14;
        let start = [2, 1, 0, 3][(vtcr >> 6 & 0b11) as usize];
        let (bits, shift) = (64 - (vtcr & 0x3f) as u32, Level::from_number(start)?.shift());
        let is_shape = vtcr & GRANULE == 0 && bits > shift && bits <= shift + 9 + 4;
        is_shape.then(|| Self { start, entries: 1 << (bits - shift) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(events: &[Event]) -> Vec<Root> {
        let mut roots = Roots::default();
        events.iter().enumerate().for_each(|(number, event)| roots.see(number, 0, event));
        roots.finish()
    }

    const VTCR: Event = Event::Msr(Register::VtcrEl2, 0x800d_3559);
    const VTTBR: Event = Event::Msr(Register::VttbrEl2, 0x3_0000_4010_0001);
    const ENTER: Event = Event::Eret { vm: 1, vcpu: 0 };

    #[test]
    fn a_vm_has_the_tables_that_it_is_first_entered_with() {
        let other = Event::Msr(Register::VttbrEl2, 0x4_0000_4020_0000);
        let found = roots(&[VTCR, VTTBR, ENTER, other, ENTER]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].event, found[0].vm, found[0].vmid, found[0].address), (2, 1, 3, 0x4010_0000));
        assert_eq!(found[0].shape, Shape { start: 1, entries: 512 });
    }

    #[test]
    fn a_line_binds_a_vm_before_it_is_entered_and_again() {
        let bind = |vttbr| Event::Vm { vm: 1, vttbr, bbm: None };
        let found = roots(&[bind(0x1_0000_4010_0000), VTCR, VTTBR, ENTER, bind(0x2_0000_4010_0000)]);
        assert_eq!(found.iter().map(|root| (root.event, root.vmid)).collect::<Vec<_>>(), [(0, 1), (4, 2)]);
    }

    #[test]
    fn shapes_are_those_of_the_manual_and_others_are_none() {
        assert_eq!(Shape::of(0x8002_3558), Some(Shape { start: 1, entries: 1024 }), "two concatenated tables");
        assert_eq!(Shape::of(0x8004_3594), Some(Shape { start: 0, entries: 32 }));
        assert_eq!(Shape::of(0x8002_7558), None, "another granule");
        assert_eq!(Shape::of(0x8002_3555), Some(Shape { start: 1, entries: 8192 }), "sixteen");
        assert_eq!(Shape::of(0x8002_3554), None, "a root of too many tables");
    }
}
