//! Stage-2 faults: what a guest's access needs is put in the tables, or it is told that there is nothing.

use core::sync::atomic::Ordering::Relaxed;

use stage2::Touched;
use vmsa::{Access, Attributes, FaultKind, Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE, Perms};

use crate::error::out_of_tables;
use crate::frames::CHUNK_BYTES;
use crate::space::{Space, Stretch};
use crate::system::{System, Vm, VmId};
use crate::vmo::{Vmo, VmoId, Vmos};
use crate::{Machine, Status};

/// What a contiguous group of level 3 shows: 16 pages.
const GROUP_BYTES: u64 = 16 * PAGE_SIZE;

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
    vmo: VmoId,
    number: u64,
    /// The part of the mapping that allows the same.
    stretch: Stretch,
}

impl<M: Machine> System<M> {
    /// Serves a guest's access at `ipa` that stage 2 did not allow, for the reason that `kind` tells. After a TLB conflict `ipa`
    /// means nothing.
    pub fn fault(&self, id: VmId, ipa: Ipa, access: Access, kind: FaultKind) -> Fault {
        let vm = self.vm(id);
        let outcome = match kind {
            FaultKind::TlbConflict => {
                vm.tree.lock().drop_local(&self.machine);
                Fault::Spurious
            }
            _ => self.serve(id, ipa.page_base(), needed(access), kind).unwrap_or(Fault::Abort),
        };
        let count = match outcome {
            Fault::Served => &vm.faults.served,
            Fault::Spurious => &vm.faults.spurious,
            Fault::Abort => &vm.faults.aborts,
        };
        count.fetch_add(1, Relaxed);
        outcome
    }

    /// Checks as Zircon does: a mapping, its permissions, the VMO's size, the page.
    fn serve(&self, id: VmId, ipa: Ipa, needed: Perms, kind: FaultKind) -> Result<Fault, Status> {
        let vm = self.vm(id);
        let space = vm.space.lock();
        let shown = shown(&space, ipa).filter(|shown| shown.stretch.perms.contains(needed)).ok_or(Status::NOT_FOUND)?;
        let mut vmos = self.vmos.lock();
        if shown.number >= vmos[shown.vmo].page_count() {
            return Err(Status::OUT_OF_RANGE);
        }
        if let Some(outcome) = self.find_served(vm, ipa, needed, kind) {
            return Ok(outcome);
        }
        let page = self.page_for(&mut vmos, shown, needed)?;
        if page.1.perms.contains(Perms::EXECUTE) {
            self.machine.sync_instructions();
        }
        if kind == FaultKind::Translation && self.map_around(id, &vmos[shown.vmo], shown, ipa, needed) {
            return Ok(Fault::Served);
        }
        let mapped = vm.tree.lock().map_page(&self.machine, &mut self.supply(id), ipa, page);
        mapped.map(|_| Fault::Served).map_err(out_of_tables)
    }

    /// Returns how the fault ends where the tables have what it needs.
    fn find_served(&self, vm: &Vm, ipa: Ipa, needed: Perms, kind: FaultKind) -> Option<Fault> {
        let mut tree = vm.tree.lock();
        match tree.touch(&self.machine, ipa, needed) {
            Touched::No => None,
            Touched::Marked => Some(Fault::Served),
            Touched::Already => {
                // What is invalid, or has no access flag, is in no TLB; what allows less may be, and would fault for ever.
                if kind == FaultKind::Permission {
                    tree.refresh(&self.machine, ipa);
                }
                Some(Fault::Spurious)
            }
        }
    }

    /// Enters what is there around `ipa` as far as one entry, or one contiguous group, can show it. Tells whether the access is
    /// allowed then.
    fn map_around(&self, id: VmId, vmo: &Vmo, shown: Shown, ipa: Ipa, needed: Perms) -> bool {
        let Some((range, first)) = around(vmo, shown, ipa) else { return false };
        let source = vmo.shown_at(range, first, Attributes::normal(shown.stretch.perms));
        let mut tree = self.vm(id).tree.lock();
        let mapped = tree.map(&self.machine, &mut self.supply(id), range, source);
        mapped.is_ok() && tree.touch(&self.machine, ipa, needed) != Touched::No
    }

    /// Returns what the access finds: the page, a new one for a store, the shared page of zeros for anything else.
    fn page_for(&self, vmos: &mut Vmos, shown: Shown, needed: Perms) -> Result<(Hpa, Attributes), Status> {
        let page = match needed.contains(Perms::WRITE) {
            true => Some(self.page_for_write(vmos, shown.vmo, shown.number)?),
            false => vmos[shown.vmo].page(shown.number),
        };
        Ok(page.map_or_else(
            || {
                vmos[shown.vmo].map_zeros();
                let attributes = Attributes::normal(shown.stretch.perms - Perms::WRITE);
                (self.zeros, Attributes { shared: true, ..attributes })
            },
            |frame| (frame, Attributes::normal(shown.stretch.perms)),
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
    let mapping = space.mapping(id);
    let offset = mapping.vmo_offset + (ipa.0 - space.regions[id].base);
    Some(Shown { vmo: mapping.vmo, number: offset >> PAGE_SHIFT, stretch: space.stretch_at(id, ipa.0) })
}

/// Returns the largest aligned addresses around `ipa` that one block or one group shows, and the number of their first page: all
/// of them in the stretch, and the frames in one piece and aligned alike.
fn around(vmo: &Vmo, shown: Shown, ipa: Ipa) -> Option<(IpaRange, u64)> {
    let block = vmo.block(shown.number)?;
    [CHUNK_BYTES, GROUP_BYTES].into_iter().find_map(|size| {
        let range = IpaRange::new(Ipa(ipa.0 - ipa.0 % size), size);
        let is_in_stretch = shown.stretch.base <= range.start.0 && range.end.0 <= shown.stretch.end;
        let first = shown.number.checked_sub((ipa.0 - range.start.0) >> PAGE_SHIFT)?;
        let pages = block.from(first)?;
        let fits = is_in_stretch && pages.len() >= size && pages.frame.0.is_multiple_of(size);
        fits.then_some((range, first))
    })
}
