//! Stage-2 faults: what a guest's access needs is put in the tables, or it is told that there is nothing.

use core::sync::atomic::Ordering::Relaxed;

use stage2::Touched;
use vmsa::{Access, Attributes, FaultKind, Hpa, Ipa, IpaRange, PAGE_SHIFT, PAGE_SIZE, Perms};

use crate::error::out_of_tables;
use crate::frames::{CHUNK_BYTES, Frames};
use crate::memory::{Memory, MemoryId, Pages};
use crate::space::{Space, Stretch};
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
            _ => self.serve_access(id, &Wish { ipa: ipa.page_base(), needed: needed(access), kind }),
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
    fn serve_access(&self, id: VmId, wish: &Wish) -> Fault {
        let space = self.vm(id).space.lock();
        let mut vmos = self.lock_vmos();
        let found = self.find_page(id, &space, &mut vmos, wish);
        if wish.kind == FaultKind::Permission
            && let Ok((shown, page)) = &found
            && self.own_around(id, &vmos[shown.memory], shown, *page, wish)
        {
            return Fault::Served;
        }
        let enter = || match &found {
            Ok((shown, page)) => self.enter(id, &vmos[shown.memory], shown, *page, wish),
            Err(status) => Err(*status),
        };
        self.operate(Work::Fault, id, IpaRange::page(wish.ipa), None, enter).unwrap_or(Fault::Abort)
    }

    /// Checks as Zircon does: a mapping, its permissions, the VMO's size, the page.
    fn find_page(
        &self,
        id: VmId,
        space: &Space,
        vmos: &mut Vmos,
        wish: &Wish,
    ) -> Result<(Shown, (Hpa, Attributes)), Status> {
        let shown = shown(space, vmos, wish.ipa).ok_or(Status::NOT_FOUND)?;
        if !shown.stretch.perms.contains(wish.needed) {
            return Err(Status::NOT_FOUND);
        }
        if !(shown.view.0..shown.view.1).contains(&shown.number) {
            return Err(Status::OUT_OF_RANGE);
        }
        let page = self.page_for(id, vmos, &shown, wish.needed)?;
        Ok((shown, page))
    }

    /// Has the tables allow the access.
    fn enter(
        &self,
        id: VmId,
        memory: &Memory,
        shown: &Shown,
        page: (Hpa, Attributes),
        wish: &Wish,
    ) -> Result<Fault, Status> {
        if let Some(outcome) = self.find_served(id, wish) {
            return Ok(outcome);
        }
        if page.1.perms.contains(Perms::EXECUTE) {
            self.machine.sync_instructions();
        }
        if wish.kind == FaultKind::Translation && self.map_around(id, memory, shown, wish) {
            return Ok(Fault::Served);
        }
        let mapped = self.tree(id).map_page(&self.machine, &mut self.supply(id), wish.ipa, page);
        mapped.map(|_| Fault::Served).map_err(out_of_tables)
    }

    /// Returns how the fault ends where the tables have what it needs.
    fn find_served(&self, id: VmId, wish: &Wish) -> Option<Fault> {
        let Wish { ipa, needed, kind } = *wish;
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
    #[inline(never)]
    fn map_around(&self, id: VmId, memory: &Memory, shown: &Shown, wish: &Wish) -> bool {
        let Some(around) = around(&self.frames, memory, shown, wish.ipa) else { return false };
        let source = memory.shown_at(&self.frames, around.range, around.pages.number, shown.stretch.perms);
        let mut tree = self.tree(id);
        let mapped = tree.map(&self.machine, &mut self.supply(id), around.range, source);
        mapped.is_ok() && tree.touch(&self.machine, wish.ipa, wish.needed) != Touched::No
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

    /// Returns what the access finds: the page, a new one for a store, the shared page of zeros for anything else.
    fn page_for(&self, id: VmId, vmos: &mut Vmos, shown: &Shown, needed: Perms) -> Result<(Hpa, Attributes), Status> {
        let page = match needed.contains(Perms::WRITE) {
            true => Some(self.page_for_write(vmos, shown.memory, shown.number)?),
            false => vmos[shown.memory].page(shown.number),
        };
        let page = self.another_frame(id, vmos).or(page);
        if page.is_none() {
            vmos[shown.memory].map_zeros();
        }
        let memory = &vmos[shown.memory];
        let is_shared = page.is_none_or(|frame| memory.is_shared(&self.frames, frame));
        Ok((page.unwrap_or(self.zeros), memory.attributes(shown.stretch.perms, is_shared)))
    }
}

const fn needed(access: Access) -> Perms {
    match access {
        Access::Read => Perms::READ,
        Access::Write => Perms::WRITE,
        Access::Execute => Perms::EXECUTE,
    }
}

/// Returns which page of which memory a mapping shows at `ipa`, and what it allows there.
fn shown(space: &Space, vmos: &Vmos, ipa: Ipa) -> Option<Shown> {
    let id = space.mapping_at(ipa.0)?;
    let mapping = space.mapping(id);
    let view = vmos.view(mapping.vmo);
    let offset = view.offset.saturating_add(mapping.vmo_offset + (ipa.0 - space.regions[id].base));
    Some(Shown {
        memory: view.memory,
        number: offset >> PAGE_SHIFT,
        view: (view.page(0), view.end_page()),
        stretch: space.stretch_at(id, ipa.0),
    })
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
