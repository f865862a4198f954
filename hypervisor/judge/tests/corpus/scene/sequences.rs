//! What is done to leaves, in the usual right way. A case that spoils a step writes the steps out.

use super::{Page, Scene, Vm, span};

impl Scene {
    /// Invalidates a leaf that is broken on every CPU: by its address, and then what was combined with stage 1.
    pub(crate) fn flush_ipa(&mut self, ipa: u64) -> &mut Self {
        self.dsb("ishst").tlbi_ipa("ipas2e1is", ipa).dsb("ish").tlbi("vmalle1is").dsb("ish").isb()
    }

    /// Invalidates leaves by their addresses, and then what was combined with stage 1, once.
    pub(crate) fn flush_each(&mut self, leaves: &[Page]) -> &mut Self {
        self.dsb("ishst");
        for leaf in leaves {
            self.tlbi_ipa("ipas2e1is", leaf.ipa);
        }
        self.dsb("ish").tlbi("vmalle1is").dsb("ish").isb()
    }

    /// Invalidates a range by one TLBI, and then what was combined with stage 1.
    pub(crate) fn flush_range(&mut self, operand: u64) -> &mut Self {
        self.dsb("ishst").tlbi_xt("ripas2e1is", operand).dsb("ish").tlbi("vmalle1is").dsb("ish").isb()
    }

    /// Invalidates all of the VMID that is in use.
    pub(crate) fn flush_vmid(&mut self) -> &mut Self {
        self.dsb("ishst").tlbi("vmalls12e1is").dsb("ish").isb()
    }

    /// Invalidates all of every VMID.
    pub(crate) fn flush_all(&mut self) -> &mut Self {
        self.dsb("ishst").tlbi("alle1is").dsb("ish").isb()
    }

    /// An operation on a leaf begins, and has the tree's lock.
    pub(crate) fn open(&mut self, work: &str, leaf: Page) -> &mut Self {
        self.begin(work, leaf.vm.id, leaf.ipa, leaf.pages()).lock(leaf.vm.lock())
    }

    /// The operation gives the lock back, and is done.
    pub(crate) fn close(&mut self, vm: Vm) -> &mut Self {
        self.unlock(vm.lock()).end(0)
    }

    /// Breaks a leaf.
    pub(crate) fn break_(&mut self, leaf: Page) -> &mut Self {
        self.w(leaf.slot, 0)
    }

    /// Breaks leaves one after the other.
    pub(crate) fn break_all(&mut self, leaves: &[Page]) -> &mut Self {
        for leaf in leaves {
            self.break_(*leaf);
        }
        self
    }

    /// Stores the descriptors of leaves again, leading to adjacent frames elsewhere, and publishes them.
    pub(crate) fn make_all(&mut self, leaves: &[Page], mut pa: u64) -> &mut Self {
        for leaf in leaves {
            self.w(leaf.slot, leaf.word_to(pa));
            pa += span(leaf.level);
        }
        self.dsb("ishst").isb()
    }

    /// Stores a leaf's descriptor, and publishes it.
    pub(crate) fn make(&mut self, slot: u64, word: u64) -> &mut Self {
        self.w(slot, word).dsb("ishst").isb()
    }

    /// Unmaps a leaf, in an operation of its own. The frames stay the VM's.
    pub(crate) fn unmap(&mut self, leaf: Page) -> &mut Self {
        self.open("unmap", leaf).break_(leaf).flush_ipa(leaf.ipa).close(leaf.vm)
    }

    /// Gives frames that nothing leads to any more back to the allocator.
    pub(crate) fn give_back(&mut self, pa: u64, pages: u64) -> &mut Self {
        if !self.machine.fwb {
            self.dc("civac", pa, pages * super::PAGE).dsb("ish");
        }
        self.owner(pa, pages, 0).free(pa, pages)
    }

    /// Has leaves lead elsewhere, in an operation of its own, with a flush in the middle that the caller writes.
    pub(crate) fn remap(&mut self, leaf: Page, flush: impl FnOnce(&mut Self) -> &mut Self) -> &mut Self {
        let pa = self.frames(leaf.vm, leaf.pages());
        self.open("map", leaf).break_(leaf);
        flush(self);
        self.make(leaf.slot, leaf.word_to(pa)).close(leaf.vm)
    }

    /// Changes a leaf's descriptor in place, in an operation of its own, with what follows written by the caller.
    pub(crate) fn change(
        &mut self,
        work: &str,
        leaf: Page,
        word: u64,
        then: impl FnOnce(&mut Self) -> &mut Self,
    ) -> &mut Self {
        self.open(work, leaf).w(leaf.slot, word);
        then(self);
        self.close(leaf.vm)
    }
}
