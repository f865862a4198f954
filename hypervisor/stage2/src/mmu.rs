//! The seam between the tables' policy and a machine.

use vmsa::{BbmLevel, Dsb, Features, Geometry, Hpa, Scope, Tlbi};

/// How a store to a descriptor is ordered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Not at all.
    Plain,
    /// After everything that this CPU did before, as every observer sees it, table walks included: a store-release.
    Release,
}

/// What a machine does for the tables: at EL2 the CPU itself, on a host a simulation of it.
pub trait Mmu {
    /// Returns what all CPUs of the machine can do.
    fn features(&self) -> &Features;

    /// Reads a descriptor with one 64-bit access.
    fn read(&self, slot: Hpa) -> u64;

    /// Writes a descriptor with one 64-bit access.
    fn write(&self, slot: Hpa, descriptor: u64, order: Order);

    /// Writes adjacent descriptors to a table that no walk reaches, unordered: `first`, and others each `step` more than the one
    /// before.
    fn fill(&self, slot: Hpa, count: u64, first: u64, step: u64) {
        for number in 0..count {
            self.write(slot.add(8 * number), first + number * step, Order::Plain);
        }
    }

    /// Replaces a descriptor that says `old`, in one atomic step that is ordered as [`Order::Release`]. For live entries: table
    /// walks may set the flags of leaves at any time (FEAT_HAFDBS).
    ///
    /// # Errors
    ///
    /// The descriptor says something else: that.
    fn exchange(&self, slot: Hpa, old: u64, new: u64) -> Result<(), u64>;

    /// Flips the bits `change` of `count` adjacent live descriptors, each in one step as [`Mmu::exchange`] does. The caller knows that
    /// no walk sets any of `change` in them. What is provided exchanges, so that a machine that watches its tables sees each.
    fn flip(&self, slot: Hpa, count: u64, change: u64) {
        for slot in (0..count).map(|number| slot.add(8 * number)) {
            let mut raw = self.read(slot);
            while let Err(now) = self.exchange(slot, raw, raw ^ change) {
                raw = now;
            }
        }
    }

    /// Makes `count` adjacent live descriptors 0, whatever flags walks set in them meanwhile, each in one step as [`Mmu::exchange`]
    /// does.
    fn erase(&self, slot: Hpa, count: u64) {
        for slot in (0..count).map(|number| slot.add(8 * number)) {
            let mut raw = self.read(slot);
            while let Err(now) = self.exchange(slot, raw, 0) {
                raw = now;
            }
        }
    }

    /// Issues an invalidation for the VMID that is in effect on this CPU.
    fn tlbi(&self, op: Tlbi, scope: Scope);

    /// Issues a data synchronization barrier.
    fn dsb(&self, kind: Dsb);

    /// Issues a context synchronization barrier.
    fn isb(&self);

    /// Returns what VTTBR_EL2 of this CPU holds.
    fn vttbr(&self) -> u64;

    /// Writes VTTBR_EL2 of this CPU, in effect after the next [`Mmu::isb`] or exception return.
    fn set_vttbr(&self, vttbr: u64);

    /// Writes VTCR_EL2 of this CPU, in effect as VTTBR_EL2 is.
    fn set_vtcr(&self, vtcr: u64);

    /// Writes HCR_EL2 of this CPU, in effect as VTTBR_EL2 is.
    fn set_hcr(&self, hcr: u64);

    /// Is told that `vttbr` puts the tree of the VM with that [number](crate::Stage2::number) in use, and how much of FEAT_BBM it
    /// uses. For machines that watch their tables.
    fn root_made(&self, _number: u32, _vttbr: u64, _geometry: Geometry, _bbm: BbmLevel) {}

    /// Is told that the tree of the VM with that number has no VMID any more: no CPU has it in use. For machines that watch their
    /// tables.
    fn root_idle(&self, _number: u32, _root: Hpa) {}
}

/// Where tables come from and where notes about them are kept.
pub trait Tables {
    /// Takes a frame for a table, every entry of it zero.
    fn allocate(&mut self) -> Option<Hpa>;

    /// Takes a frame for a table, whatever is in it: every entry will be written before the table is linked.
    fn allocate_to_fill(&mut self) -> Option<Hpa>;

    /// Gives a table's frame back. No CPU can reach it any more.
    fn free(&mut self, table: Hpa);

    /// Gives tables back that lead to no others: `first`, and those that [`Tables::next`] names from there on. Returns how many they
    /// are.
    fn free_list(&mut self, first: Hpa) -> u64 {
        let (mut next, mut count) = (Some(first), 0);
        while let Some(table) = next {
            next = self.next(table);
            self.free(table);
            count += 1;
        }
        count
    }

    /// Returns how many entries of the table are live.
    fn live_entries(&self, table: Hpa) -> u16;

    /// Notes how many entries of the table are live.
    fn set_live_entries(&mut self, table: Hpa, count: u16);

    /// Returns the table that [`Tables::set_next`] noted.
    fn next(&self, table: Hpa) -> Option<Hpa>;

    /// Notes another table at this one, which is out of the tree and waits for its invalidation. The note is not kept in the
    /// table itself: a walk that is under way may still read that.
    fn set_next(&mut self, table: Hpa, next: Option<Hpa>);
}
