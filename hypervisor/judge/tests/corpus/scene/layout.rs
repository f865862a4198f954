//! VMs, their tables and their frames.

use super::{Machine, OUTPUT, PAGE, Scene, VALID, span, table};

/// A VM with a tree of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vm {
    pub(crate) id: u32,
    pub(crate) vmid: u64,
    pub(crate) root: u64,
    /// How many bits its addresses have.
    pub(crate) bits: u32,
    /// The level of its root.
    pub(crate) start: u8,
}

impl Vm {
    /// Returns the value of VTTBR_EL2 that puts its tables in use.
    pub(crate) const fn vttbr(self) -> u64 {
        self.vmid << 48 | self.root
    }

    /// Returns the lock of its tree.
    pub(crate) fn lock(self) -> u64 {
        self.id.into()
    }

    /// Returns the same VM under another VMID.
    pub(crate) const fn renumbered(self, vmid: u64) -> Self {
        Self { vmid, ..self }
    }

    /// Returns the number of root tables, which are adjacent.
    pub(crate) const fn root_tables(self) -> u64 {
        let entries = 1 << (self.bits - (12 + 9 * (3 - self.start as u32)));
        if entries > 512 { entries / 512 } else { 1 }
    }
}

/// A leaf that is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) vm: Vm,
    pub(crate) ipa: u64,
    pub(crate) level: u8,
    pub(crate) slot: u64,
    pub(crate) pa: u64,
    /// The descriptor.
    pub(crate) word: u64,
}

impl Page {
    /// Returns how many pages of 4 KiB it spans.
    pub(crate) const fn pages(self) -> u64 {
        span(self.level) / PAGE
    }

    /// Returns the descriptor that leads elsewhere and is otherwise the same.
    pub(crate) const fn word_to(self, pa: u64) -> u64 {
        self.word - self.pa + pa
    }
}

impl Scene {
    /// Adds a VM with a 39-bit IPA space, whose VMID is its number, and has it run on every CPU.
    pub(crate) fn vm(&mut self, id: u32) -> Vm {
        let vm = self.tree(id, id.into(), 39, 1);
        self.enter_everywhere(vm);
        vm
    }

    /// Adds VM 2, which has run on the present CPU; VM 1 is in use there again.
    pub(crate) fn other_vm(&mut self, back: Vm) -> Vm {
        let vm = self.tree(2, 2, 39, 1);
        self.enter(vm).switch(back);
        vm
    }

    /// Adds a VM that has not run yet.
    pub(crate) fn tree(&mut self, id: u32, vmid: u64, bits: u32, start: u8) -> Vm {
        let vm = Vm { id, vmid, root: 0, bits, start };
        let bytes = vm.root_tables() * PAGE;
        let root = self.next_table.next_multiple_of(bytes);
        self.next_table = root + bytes;
        self.lock(vm.lock()).alloc(root, vm.root_tables(), "table").zero(root, vm.root_tables());
        self.dsb("ishst").unlock(vm.lock());
        Vm { root, ..vm }
    }

    /// Says which VMID and which root are the VM's from now on.
    pub(crate) fn bind(&mut self, vm: Vm) -> &mut Self {
        self.line(format!("VM vm={:#x} vttbr={:#x}", vm.id, vm.vttbr()))
    }

    /// Has the VM run on every CPU, its vCPUs numbered as they are, and come back.
    pub(crate) fn enter_everywhere(&mut self, vm: Vm) {
        let present = self.cpu;
        (0..self.machine.cpus).for_each(|cpu| {
            self.on(cpu).enter(vm);
        });
        self.on(present);
    }

    /// Has the VM run on the present CPU, and come back.
    pub(crate) fn enter(&mut self, vm: Vm) -> &mut Self {
        let vcpu = self.vcpu();
        self.load(vm).eret(vm.id, vcpu).exc(vm.id, vcpu)
    }

    /// Loads all that the VM needs on the present CPU, as the CPU's first guest or after another one.
    pub(crate) fn load(&mut self, vm: Vm) -> &mut Self {
        let (vtcr, hcr) = (self.machine.vtcr(vm.bits, vm.start), self.machine.hcr());
        self.dsb("ish").lock(vm.lock()).msr("vtcr_el2", vtcr).msr("vttbr_el2", vm.vttbr());
        self.msr("hcr_el2", hcr).isb().unlock(vm.lock())
    }

    /// Puts the VM's tables in use on the present CPU, whose other registers are right already.
    pub(crate) fn switch(&mut self, vm: Vm) -> &mut Self {
        self.dsb("ish").msr("vttbr_el2", vm.vttbr()).isb()
    }

    /// The present CPU goes back to the guest.
    pub(crate) fn resume(&mut self, vm: Vm) -> &mut Self {
        let vcpu = self.vcpu();
        self.eret(vm.id, vcpu)
    }

    /// The guest of the present CPU calls its hypervisor.
    pub(crate) fn stop(&mut self, vm: Vm) -> &mut Self {
        let vcpu = self.vcpu();
        self.exc(vm.id, vcpu)
    }

    const fn vcpu(&self) -> u32 {
        self.cpu as u32
    }

    /// Takes a page for a table from the allocator and zeroes it.
    pub(crate) fn new_table(&mut self) -> u64 {
        let pa = self.raw_table();
        self.zero(pa, 1);
        pa
    }

    /// Takes a page for a table from the allocator, with whatever is in it.
    pub(crate) fn raw_table(&mut self) -> u64 {
        let pa = self.next_table;
        self.next_table += PAGE;
        self.alloc(pa, 1, "table");
        pa
    }

    /// Takes frames from the allocator, aligned to their number, with whatever is in them.
    pub(crate) fn raw_frames(&mut self, pages: u64) -> u64 {
        let pa = self.frames_address(pages);
        self.alloc(pa, pages, "guest");
        pa
    }

    /// Returns an address of frames that nobody has used.
    pub(crate) const fn frames_address(&mut self, pages: u64) -> u64 {
        let pa = self.next_frame.next_multiple_of(pages.next_power_of_two() * PAGE);
        self.next_frame = pa + pages * PAGE;
        pa
    }

    /// Takes frames from the allocator and makes them the VM's, ready to be mapped.
    pub(crate) fn frames(&mut self, vm: Vm, pages: u64) -> u64 {
        let pa = self.raw_frames(pages);
        self.fill(pa, pages).owner(pa, pages, vm.id).dsb("ishst");
        pa
    }

    /// Overwrites frames, and cleans them where guests may look past the caches.
    pub(crate) fn fill(&mut self, pa: u64, pages: u64) -> &mut Self {
        self.zero(pa, pages);
        if !self.machine.fwb {
            self.dc("civac", pa, pages * PAGE).dsb("ish");
        }
        self
    }

    /// Returns the descriptor of a leaf: read-write, not to be executed, write-back, inner-shareable, accessed.
    pub(crate) const fn leaf(&self, pa: u64, level: u8) -> u64 {
        leaf_on(self.machine, pa, level)
    }

    /// Returns the slot of the level, with all tables above it.
    pub(crate) fn slot(&mut self, vm: Vm, ipa: u64, level: u8) -> u64 {
        let mut at = vm.root + 8 * (ipa / span(vm.start));
        for next in vm.start + 1..=level {
            let linked = self.read(at);
            let child = if linked & VALID == 0 { self.link_new(at) } else { linked & OUTPUT };
            at = child + 8 * (ipa / span(next) % 512);
        }
        at
    }

    fn link_new(&mut self, parent: u64) -> u64 {
        let child = self.new_table();
        self.release(parent, table(child));
        child
    }

    /// Maps new frames, in an operation of its own.
    pub(crate) fn map(&mut self, vm: Vm, ipa: u64, level: u8) -> Page {
        self.map_as(vm, ipa, level, |word| word)
    }

    /// Maps new frames with another descriptor than the usual.
    pub(crate) fn map_as(&mut self, vm: Vm, ipa: u64, level: u8, change: impl Fn(u64) -> u64) -> Page {
        let pages = span(level) / PAGE;
        self.begin("map", vm.id, ipa, pages).lock(vm.lock());
        let pa = self.frames(vm, pages);
        let slot = self.slot(vm, ipa, level);
        let word = change(self.leaf(pa, level));
        self.w(slot, word).dsb("ishst").isb().unlock(vm.lock()).end(0);
        Page { vm, ipa, level, slot, pa, word }
    }

    /// Maps `count` leaves of new frames one after the other, in one operation.
    pub(crate) fn map_run(
        &mut self,
        vm: Vm,
        ipa: u64,
        level: u8,
        count: u64,
        change: impl Fn(u64) -> u64,
    ) -> Vec<Page> {
        let pages = span(level) / PAGE;
        self.begin("map", vm.id, ipa, count * pages).lock(vm.lock());
        let base = self.frames(vm, count * pages);
        let leaves = (0..count).map(|number| {
            let (ipa, pa) = (ipa + number * span(level), base + number * span(level));
            let slot = self.slot(vm, ipa, level);
            let word = change(self.leaf(pa, level));
            self.w(slot, word);
            Page { vm, ipa, level, slot, pa, word }
        });
        let leaves = leaves.collect();
        self.dsb("ishst").isb().unlock(vm.lock()).end(0);
        leaves
    }

    /// Writes a table of the leaves that a block is made of, and does not link it.
    pub(crate) fn child_of(&mut self, block: Page) -> u64 {
        let (child, level) = (self.raw_table(), block.level + 1);
        let kind = if level == 3 { TABLE_BIT } else { 0 };
        (0..512).for_each(|number| {
            self.w(child + 8 * number, (block.word | kind) + number * span(level));
        });
        child
    }
}

/// Bit 1, by which a page differs from a block.
const TABLE_BIT: u64 = 0b10;

const fn leaf_on(machine: Machine, pa: u64, level: u8) -> u64 {
    use super::{ACCESSED, EXECUTE_NEVER, FORCED_WRITE_BACK, INNER, READ, WRITE, WRITE_BACK};
    let memory = if machine.fwb { FORCED_WRITE_BACK } else { WRITE_BACK };
    let kind = if level == 3 { 0b11 } else { 0b01 };
    pa | kind | memory | READ | WRITE | INNER | ACCESSED | EXECUTE_NEVER
}
