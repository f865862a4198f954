//! Stage-2 faults: what a guest's access needs is put in the tables, or it is told that there is nothing.

use core::sync::atomic::Ordering::Relaxed;

use stage2::{Stage2, Touched};
use vmsa::{Access, Attributes, FaultKind, Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE, Perms};

use crate::error::out_of_tables;
use crate::frames::{CHUNK_BYTES, Frames};
use crate::locks::lock;
use crate::memory::{Memory, MemoryId, Pages};
use crate::region::{Mapping, Region};
use crate::space::{Space, Stretch};
use crate::supply::Supply;
use crate::system::{System, VmId};
use crate::told::Work;
use crate::vmo::Vmos;
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

/// A page of a memory as a mapping shows it.
struct Shown {
    memory: MemoryId,
    number: u64,
    /// The pages that the VMO shows: the first, and the one past the last.
    view: (u64, u64),
    /// The part of the mapping that allows the same.
    stretch: Stretch,
}

impl Shown {
    /// Checks as Zircon does: the mapping's permissions, the VMO's size.
    fn check(&self, needed: Perms) -> Result<(), Status> {
        if !self.stretch.perms.contains(needed) {
            return Err(Status::NOT_FOUND);
        }
        if (self.view.0..self.view.1).contains(&self.number) { Ok(()) } else { Err(Status::OUT_OF_RANGE) }
    }
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
            _ => {
                let wish = Wish { ipa: ipa.page_base(), needed: needed(access), kind };
                let space = lock(&vm.space);
                let mut vmos = self.lock_vmos();
                let served = self.serve_access(id, &space, &mut vmos, &wish);
                // Told under the locks: nobody can have the tables allow it meanwhile.
                served.unwrap_or_else(|status| self.refuse(id, &wish, status))
            }
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
    ///
    /// # Errors
    ///
    /// Nothing allows the access, or there is no memory for the page.
    fn serve_access(&self, id: VmId, space: &Space, vmos: &mut Vmos, wish: &Wish) -> Result<Fault, Status> {
        let (_, region, mapping) = space.mapping_at(wish.ipa.0).ok_or(Status::NOT_FOUND)?;
        let shown = shown(space, vmos, region, mapping, wish.ipa);
        shown.check(wish.needed)?;
        let (frame, is_new) = self.frame_for(id, vmos, &shown, wish.needed)?;
        let memory = &vmos[shown.memory];
        let is_shared = frame.is_none_or(|frame| memory.is_shared(&self.frames, frame));
        let page = (frame.unwrap_or(self.zeros), memory.attributes(shown.stretch.perms, is_shared));
        if wish.kind == FaultKind::Permission && self.own_around(id, memory, &shown, page, wish) {
            return Ok(Fault::Served);
        }
        let enter = || self.enter(id, memory, &shown, page, is_new, wish);
        Ok(self.operate(Work::Fault, id, IpaRange::page(wish.ipa), None, enter).unwrap_or(Fault::Abort))
    }

    /// Tells of an access that is not served.
    #[cold]
    fn refuse(&self, id: VmId, wish: &Wish, status: Status) -> Fault {
        let refused = self.operate(Work::Fault, id, IpaRange::page(wish.ipa), None, || Err(status));
        refused.unwrap_or(Fault::Abort)
    }

    /// Has the tables allow the access.
    fn enter(
        &self,
        id: VmId,
        memory: &Memory,
        shown: &Shown,
        page: (Hpa, Attributes),
        is_new: bool,
        wish: &Wish,
    ) -> Result<Fault, Status> {
        let Wish { ipa, needed, kind } = *wish;
        let (mut tree, mut supply) = (self.tree(id), self.supply(id));
        let must_sync = page.1.perms.contains(Perms::EXECUTE) && !self.machine.features().no_invalidate_for_fetch;
        // A new page is in no chunk, and where an entry leads to an old one, there is nothing to enter.
        let may_have_more = !is_new && kind == FaultKind::Translation;
        let around = if may_have_more { around(&self.frames, memory, shown, ipa) } else { None };
        let touched = match around {
            None if !must_sync => tree.touch_or_map(&self.machine, &mut supply, ipa, needed, page),
            _ => tree.touch(&self.machine, ipa, needed),
        };
        match touched {
            Touched::Marked | Touched::Mapped => return Ok(Fault::Served),
            Touched::Already => return Ok(self.already(&mut tree, wish)),
            Touched::No => {}
        }
        if must_sync {
            self.machine.sync_instructions();
        }
        if around.is_some_and(|around| self.map_around(&mut tree, &mut supply, memory, &around, shown.stretch.perms))
            && tree.touch(&self.machine, ipa, needed) != Touched::No
        {
            return Ok(Fault::Served);
        }
        let mapped = tree.map_page(&self.machine, &mut supply, ipa, page);
        mapped.map(|_| Fault::Served).map_err(out_of_tables)
    }

    /// Returns how the fault ends where the tables allowed the access before.
    fn already(&self, tree: &mut Stage2, wish: &Wish) -> Fault {
        match wish.kind {
            FaultKind::Translation if planted::is(47) => return Fault::Abort,
            FaultKind::Permission if planted::is(79) => return Fault::Abort,
            // What is invalid, or has no access flag, is in no TLB; what allows less may be, and would fault for ever.
            FaultKind::Permission => tree.refresh(&self.machine, wish.ipa),
            _ => {}
        }
        Fault::Spurious
    }

    /// Enters what is there around a page, in one entry, or one contiguous group. Tells whether it did.
    #[inline(never)]
    fn map_around(
        &self,
        tree: &mut Stage2,
        supply: &mut Supply<'_, M>,
        memory: &Memory,
        around: &Around,
        perms: Perms,
    ) -> bool {
        let source = memory.shown_at(&self.frames, around.range, around.pages.number, perms);
        tree.map(&self.machine, supply, around.range, source).is_ok()
    }

    /// Allows what the mapping allows around `ipa`, after a permission fault, where pages were shared when they were entered and
    /// are not any more. Tells whether the access is allowed then.
    #[inline(never)]
    fn own_around(&self, id: VmId, memory: &Memory, shown: &Shown, page: (Hpa, Attributes), wish: &Wish) -> bool {
        let is_behind = || self.tree(id).touch(&self.machine, wish.ipa, wish.needed) == Touched::No;
        if page.1.shared || !is_behind() {
            return false;
        }
        let (range, first) = around(&self.frames, memory, shown, wish.ipa)
            .map_or((IpaRange::page(wish.ipa), page.0), |around| (around.range, around.pages.frame));
        let perms = shown.stretch.perms;
        let owned = self.operate(Work::Protect, id, range, Some(perms), || {
            let mut tree = self.tree(id);
            let _ = tree.own(&self.machine, &mut self.supply(id), range, first, perms).map_err(out_of_tables)?;
            // The entry that this CPU has just used said less.
            tree.refresh(&self.machine, wish.ipa);
            Ok(tree.touch(&self.machine, wish.ipa, wish.needed))
        });
        matches!(owned, Ok(Touched::Already | Touched::Marked))
    }

    /// Returns the frame that a planted bug has every fault lead to: a table, or another VM's page.
    fn another_frame(&self, id: VmId, vmos: &Vmos) -> Option<Hpa> {
        match () {
            () if planted::is(64) => Some(self.vm(id).tree.lock().root()),
            () if planted::is(62) => VmId::all().next().and_then(|first| {
                let ram = vmos[self.vm(first).ram].memory;
                vmos[ram].page(0)
            }),
            () => None,
        }
    }

    /// Returns the frame that the access finds, and whether it is new: the page's, a new one for a store, and none where it may
    /// have the page of zeros.
    fn frame_for(
        &self,
        id: VmId,
        vmos: &mut Vmos,
        shown: &Shown,
        needed: Perms,
    ) -> Result<(Option<Hpa>, bool), Status> {
        let (frame, is_new) = match needed.contains(Perms::WRITE) {
            true => {
                self.page_for_write(vmos, shown.memory, shown.number).map(|(frame, is_new)| (Some(frame), is_new))?
            }
            false => (vmos[shown.memory].page(shown.number), false),
        };
        let frame = self.another_frame(id, vmos).or(frame);
        if frame.is_none() {
            vmos[shown.memory].map_zeros();
        }
        Ok((frame, is_new))
    }
}

const fn needed(access: Access) -> Perms {
    match access {
        Access::Read => Perms::READ,
        Access::Write => Perms::WRITE,
        Access::Execute => Perms::EXECUTE,
    }
}

/// Returns what the mapping, in which `ipa` lies, shows there.
fn shown(space: &Space, vmos: &Vmos, region: &Region, mapping: &Mapping, ipa: Ipa) -> Shown {
    let view = vmos.view(mapping.vmo);
    let offset = view.offset.saturating_add(mapping.vmo_offset + (ipa.0 - region.base));
    Shown {
        memory: view.memory,
        number: offset >> PAGE_SHIFT,
        view: (view.page(0), view.end_page()),
        stretch: space.stretch_of(region, mapping, ipa.0),
    }
}

/// What one entry, or one contiguous group, can show.
struct Around {
    /// The addresses.
    range: IpaRange,
    /// The pages that they show.
    pages: Pages,
}

/// Returns the largest aligned addresses around `ipa` that one block or one group shows: all of them in the stretch and in the
/// VMO, the frames in one piece and aligned alike, and shared or not alike.
fn around(frames: &Frames, memory: &Memory, shown: &Shown, ipa: Ipa) -> Option<Around> {
    let block = memory.block(shown.number)?;
    [CHUNK_BYTES, GROUP_BYTES].into_iter().find_map(|size| {
        let range = IpaRange::new(Ipa(ipa.0 - ipa.0 % size), size);
        let is_in_stretch = shown.stretch.base <= range.start.0 && range.end.0 <= shown.stretch.end;
        let first = shown.number.checked_sub((ipa.0 - range.start.0) >> PAGE_SHIFT)?;
        let end = first + (size >> PAGE_SHIFT);
        let is_in_view = shown.view.0 <= first && end <= shown.view.1;
        let pages = block.from(first)?;
        let fits = is_in_stretch && is_in_view && pages.len() >= size && pages.frame.0.is_multiple_of(size);
        let (pages, _) = memory.run_alike(frames, first, end).filter(|_| fits)?;
        (pages.len() == size).then_some(Around { range, pages })
    })
}
