//! Stage-2 faults: what a guest's access needs is put in the tables, or it is told that there is nothing.

use core::sync::atomic::Ordering::Relaxed;

use stage2::Touched;
use vmsa::{Access, Attributes, FaultKind, Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE, Perms};

use crate::error::out_of_tables;
use crate::frames::CHUNK_BYTES;
use crate::space::{Space, Stretch};
use crate::system::{System, VmId};
use crate::told::Work;
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

/// What an access wants that faulted.
#[derive(Clone, Copy)]
struct Wish {
    /// The page.
    ipa: Ipa,
    /// What the tables have to allow.
    needed: Perms,
    /// Why it faulted.
    kind: FaultKind,
}

impl<M: Machine> System<M> {
    /// Serves a guest's access at `ipa` that stage 2 did not allow, for the reason that `kind` tells. After a TLB conflict `ipa`
    /// means nothing.
    pub fn fault(&self, id: VmId, ipa: Ipa, access: Access, kind: FaultKind) -> Fault {
        let vm = self.vm(id);
        let outcome = match kind {
            FaultKind::TlbConflict => {
                self.tree(id).drop_local(&self.machine);
                Fault::Spurious
            }
            _ => self.serve(id, Wish { ipa: ipa.page_base(), needed: needed(access), kind }),
        };
        let count = match outcome {
            Fault::Served => &vm.faults.served,
            Fault::Spurious => &vm.faults.spurious,
            Fault::Abort => &vm.faults.aborts,
        };
        count.fetch_add(1, Relaxed);
        outcome
    }

    /// Serves an access that says which page it wants. What becomes of other mappings of the page, where it is new, is work of its
    /// own, and comes before.
    fn serve(&self, id: VmId, wish: Wish) -> Fault {
        let space = self.vm(id).space.lock();
        let mut vmos = self.lock_vmos();
        let found = self.find_page(id, &space, &mut vmos, wish);
        let enter = || found.and_then(|(shown, page)| self.enter(id, &vmos[shown.vmo], shown, page, wish));
        self.operate(Work::Fault, id, IpaRange::page(wish.ipa), None, enter).unwrap_or(Fault::Abort)
    }

    /// Checks as Zircon does: a mapping, its permissions, the VMO's size, the page.
    fn find_page(
        &self,
        id: VmId,
        space: &Space,
        vmos: &mut Vmos,
        wish: Wish,
    ) -> Result<(Shown, (Hpa, Attributes)), Status> {
        let is_allowed = |shown: &Shown| shown.stretch.perms.contains(wish.needed);
        let shown = shown(space, wish.ipa).filter(is_allowed).ok_or(Status::NOT_FOUND)?;
        if shown.number >= vmos[shown.vmo].page_count() {
            return Err(Status::OUT_OF_RANGE);
        }
        Ok((shown, self.page_for(id, vmos, shown, wish.needed)?))
    }

    /// Has the tables allow the access.
    fn enter(&self, id: VmId, vmo: &Vmo, shown: Shown, page: (Hpa, Attributes), wish: Wish) -> Result<Fault, Status> {
        if let Some(outcome) = self.find_served(id, wish) {
            return Ok(outcome);
        }
        if page.1.perms.contains(Perms::EXECUTE) {
            self.machine.sync_instructions();
        }
        if wish.kind == FaultKind::Translation && self.map_around(id, vmo, shown, wish) {
            return Ok(Fault::Served);
        }
        let mapped = self.tree(id).map_page(&self.machine, &mut self.supply(id), wish.ipa, page);
        mapped.map(|_| Fault::Served).map_err(out_of_tables)
    }

    /// Returns how the fault ends where the tables have what it needs.
    fn find_served(&self, id: VmId, wish: Wish) -> Option<Fault> {
        let Wish { ipa, needed, kind } = wish;
        let mut tree = self.tree(id);
        match tree.touch(&self.machine, ipa, needed) {
            Touched::No => None,
            Touched::Marked => Some(Fault::Served),
            Touched::Already if planted::is(47) && kind == FaultKind::Translation => Some(Fault::Abort),
            Touched::Already if planted::is(79) && kind == FaultKind::Permission => Some(Fault::Abort),
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
    fn map_around(&self, id: VmId, vmo: &Vmo, shown: Shown, wish: Wish) -> bool {
        let Some((range, first)) = around(vmo, shown, wish.ipa) else { return false };
        let source = vmo.shown_at(range, first, Attributes::normal(shown.stretch.perms));
        let mut tree = self.tree(id);
        let mapped = tree.map(&self.machine, &mut self.supply(id), range, source);
        mapped.is_ok() && tree.touch(&self.machine, wish.ipa, wish.needed) != Touched::No
    }

    /// Returns the frame that a planted bug has every fault lead to: a table, or another VM's page.
    fn another_frame(&self, id: VmId, vmos: &Vmos) -> Option<Hpa> {
        match () {
            () if planted::is(64) => Some(self.vm(id).tree.lock().root()),
            () if planted::is(62) => VmId::all().next().and_then(|first| vmos[self.vm(first).ram].page(0)),
            () => None,
        }
    }

    /// Returns what the access finds: the page, a new one for a store, the shared page of zeros for anything else.
    fn page_for(&self, id: VmId, vmos: &mut Vmos, shown: Shown, needed: Perms) -> Result<(Hpa, Attributes), Status> {
        let page = match needed.contains(Perms::WRITE) {
            true => Some(self.page_for_write(vmos, shown.vmo, shown.number)?),
            false => vmos[shown.vmo].page(shown.number),
        };
        let page = self.another_frame(id, vmos).or(page);
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
