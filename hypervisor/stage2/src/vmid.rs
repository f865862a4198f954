//! VMIDs: given to trees one after the other, and all taken back when there are no more.

use vmsa::{Dsb, Features, Scope, Tlbi, Vmid};

use crate::Mmu;

/// How many VMIDs a new generation can start with: those in use on CPUs at that moment.
const MOST_KEPT: usize = 8;

/// The VMIDs of a machine. 0 is no tree's. Within a generation none is given twice, so that what a tree leaves in TLBs when it
/// is gone, or when its VMID is taken from it, hurts nobody; between two generations every TLB is emptied.
///
/// Who owns this has all trees too, and keeps the promise that [`Vmids::roll_over`] asks for.
#[derive(Debug)]
pub struct Vmids {
    last: u16,
    next: u32,
    generation: u64,
    kept: [Option<Vmid>; MOST_KEPT],
}

impl Vmids {
    /// Returns the VMIDs of a machine, of which none can be had before [`Vmids::roll_over`] has emptied the TLBs.
    pub fn new(features: &Features) -> Self {
        let last = if features.vmid16 || planted::is(126) { u16::MAX } else { u8::MAX as u16 };
        Self { last, next: last as u32 + 1, generation: 0, kept: [None; MOST_KEPT] }
    }

    /// Returns how often the VMIDs were given anew.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns a VMID that no tree has had in this generation, or `None` when there are no more.
    pub fn take(&mut self) -> Option<Vmid> {
        while let Some(vmid) = u16::try_from(self.next).ok().filter(|number| *number <= self.last).map(Vmid) {
            self.next += 1;
            if !self.kept.contains(&Some(vmid)) || planted::is(82) {
                return Some(vmid);
            }
        }
        None
    }

    /// Begins a generation. No tree has a VMID but those that are in use on a CPU now, and they keep theirs: `kept`, as many as
    /// there are CPUs.
    pub fn roll_over(&mut self, mmu: &impl Mmu, kept: impl IntoIterator<Item = Vmid>) {
        self.kept = [None; MOST_KEPT];
        for (place, vmid) in self.kept.iter_mut().zip(kept) {
            *place = Some(vmid);
        }
        self.generation += 1;
        self.next = 1;
        // What trees did under their last VMIDs is complete; the barrier is for what other CPUs' walks still read.
        mmu.dsb(Dsb::Ishst);
        if !planted::is(80) {
            mmu.tlbi(Tlbi::All, if planted::is(12) || planted::is(81) { Scope::Local } else { Scope::Broadcast });
        }
        mmu.dsb(if planted::is(81) { Dsb::Nsh } else { Dsb::Ish });
    }
}
