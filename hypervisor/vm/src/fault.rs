//! Stage-2 faults: what a guest's access needs is put in the tables, or it is told that there is nothing.

use core::sync::atomic::Ordering::Relaxed;

use vmsa::{Access, Attributes, Hpa, Ipa, PAGE_SHIFT, Perms};

use crate::error::out_of_tables;
use crate::space::{Space, Stretch};
use crate::system::{System, Vm, VmId};
use crate::vmo::Vmos;
use crate::{Machine, Status};

/// What became of an access that faulted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The tables allow it now.
    Served,
    /// The tables allowed it already: another CPU was faster, or this one's TLB was behind.
    Spurious,
    /// Nothing allows it.
    Abort,
}

/// A page of a VMO as one of its mappings shows it.
#[derive(Clone, Copy)]
struct Shown {
    vmo: crate::vmo::VmoId,
    number: u64,
    perms: Perms,
}

impl<M: Machine> System<M> {
    /// Serves a guest's access at `ipa` that stage 2 did not allow.
    pub fn fault(&self, id: VmId, ipa: Ipa, access: Access) -> Fault {
        let vm = self.vm(id);
        let outcome = self.serve(vm, id, ipa.page_base(), access).unwrap_or(Fault::Abort);
        let count = match outcome {
            Fault::Served => &vm.faults.served,
            Fault::Spurious => &vm.faults.spurious,
            Fault::Abort => &vm.faults.aborts,
        };
        count.fetch_add(1, Relaxed);
        outcome
    }

    /// Checks as Zircon does: a mapping, its permissions, the VMO's size, the page.
    fn serve(&self, vm: &Vm, id: VmId, ipa: Ipa, access: Access) -> Result<Fault, Status> {
        let needed = needed(access);
        let space = vm.space.lock();
        let shown = shown(&space, ipa).filter(|shown| shown.perms.contains(needed)).ok_or(Status::NOT_FOUND)?;
        let mut vmos = self.vmos.lock();
        if shown.number >= vmos[shown.vmo].page_count() {
            return Err(Status::OUT_OF_RANGE);
        }
        {
            let mut tree = vm.tree.lock();
            if tree.allows(&self.machine, ipa, needed) {
                tree.refresh(&self.machine, ipa);
                return Ok(Fault::Spurious);
            }
        }
        let page = self.page_for(&mut vmos, shown, access)?;
        if page.1.perms.contains(Perms::EXECUTE) {
            self.machine.sync_instructions();
        }
        let mut supply = self.supply(id);
        let mapped = vm.tree.lock().map_page(&self.machine, &mut supply, ipa, page);
        mapped.map(|_| Fault::Served).map_err(out_of_tables)
    }

    /// Returns what the access finds: the page, a new one for a store, the shared page of zeros for anything else.
    fn page_for(&self, vmos: &mut Vmos, shown: Shown, access: Access) -> Result<(Hpa, Attributes), Status> {
        let page = match access {
            Access::Write => Some(self.page_for_write(vmos, shown.vmo, shown.number)?),
            Access::Read | Access::Execute => vmos[shown.vmo].page(shown.number),
        };
        Ok(page.map_or_else(
            || {
                vmos[shown.vmo].map_zeros();
                let attributes = Attributes::normal(shown.perms - Perms::WRITE);
                (self.zeros, Attributes { software: Attributes::SHARED, ..attributes })
            },
            |frame| (frame, Attributes::normal(shown.perms)),
        ))
    }
}

const fn needed(access: Access) -> Perms {
    match access {
        Access::Read => Perms::READ,
        Access::Write => Perms::WRITE,
        Access::Execute => Perms::EXECUTE,
    }
}

/// Returns which page of which VMO a mapping shows at `ipa`, and what it allows there.
fn shown(space: &Space, ipa: Ipa) -> Option<Shown> {
    let id = space.mapping_at(ipa.0)?;
    let Stretch { perms, .. } = space.stretch_at(id, ipa.0);
    let mapping = space.mapping(id);
    let offset = mapping.vmo_offset + (ipa.0 - space.regions[id].base);
    Some(Shown { vmo: mapping.vmo, number: offset >> PAGE_SHIFT, perms })
}
