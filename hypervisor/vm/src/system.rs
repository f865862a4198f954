//! Everything there is: the memory, the VMOs, the VMs.
//!
//! Locks, in the order in which they may be taken: a VM's space ([`Vm::space`]: its handles and regions), the VMOs
//! ([`System::vmos`]), the VMIDs ([`System::loads`]), a VM's tree ([`Vm::tree`]), a CPU's free frames
//! ([`Caches`](crate::caches::Caches)), the frames' allocator. Nobody holds two of one kind.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::{KOID_INVALID, RAM_BASE, Status, VmOptions, VmoOptions};
use spin::{Mutex, Once};
use stage2::Stage2;
use vmsa::{Dc, Features, Geometry, Hpa, Ipa, PAGE_SIZE, Perms};

use crate::frames::{Account, Frames, MemoryRange, Use};
use crate::loads::Loads;
use crate::memory::Backing;
use crate::region::{Kind, Mapping, Protections, Vmar};
use crate::space::Space;
use crate::supply::Supply;
use crate::told::{Owner, Taken};
use crate::tree::Tree;
use crate::vmo::{VmoId, Vmos};
use crate::{Machine, VmConfig};

/// How many VMs there can be.
const MAX_VMS: usize = 16;

/// The name of a VM's RAM.
const RAM_NAME: &[u8] = b"ram";

/// Koids below this are never given, as in Zircon.
const FIRST_KOID: u64 = 1024;

/// The name of a VM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VmId(u8);

impl VmId {
    /// The VM that is made first.
    pub const FIRST: Self = Self(0);

    /// Returns the names that VMs can have.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..MAX_VMS as u8).map(Self)
    }

    /// Returns the VMs of which the bits are set, by their [indices](VmId::index).
    pub(crate) fn of_bits(bits: u64) -> impl Iterator<Item = Self> {
        let without_lowest = |bits: &u64| Some(bits & (bits - 1)).filter(|rest| *rest != 0);
        core::iter::successors(Some(bits).filter(|bits| *bits != 0), without_lowest)
            .map(|bits| Self(bits.trailing_zeros() as u8))
    }

    /// Returns the VM's number, counted from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the VM's number, counted from 1: 0 is the hypervisor's.
    pub const fn number(self) -> u32 {
        self.0 as u32 + 1
    }
}

// Sets of VMs are words.
const _: () = assert!(MAX_VMS <= 64);

/// A VM.
pub(crate) struct Vm {
    pub(crate) koid: u64,
    /// The koid of the resource that stands for its device memory.
    pub(crate) resource_koid: u64,
    pub(crate) config: VmConfig,
    pub(crate) account: Account,
    pub(crate) ram: VmoId,
    pub(crate) space: Mutex<Space>,
    pub(crate) tree: Mutex<Stage2>,
    pub(crate) faults: FaultCounts,
}

/// How the VM's stage-2 faults ended.
#[derive(Default)]
pub(crate) struct FaultCounts {
    pub(crate) served: AtomicU64,
    pub(crate) spurious: AtomicU64,
    pub(crate) aborts: AtomicU64,
}

/// The machine's memory and all the objects in it.
pub struct System<M> {
    pub(crate) machine: M,
    pub(crate) frames: Frames,
    /// The page that every read of an absent page leads to.
    pub(crate) zeros: Hpa,
    pub(crate) vmos: Mutex<Vmos>,
    pub(crate) loads: Mutex<Loads>,
    vms: [Once<Vm>; MAX_VMS],
    vm_count: Mutex<u8>,
    koids: AtomicU64,
}

impl<M: Machine> System<M> {
    /// Returns a system without VMs in the given memory, or `None` where that is too little.
    ///
    /// # Safety
    ///
    /// 1. The ranges do not overlap, and nobody else uses their memory from now on.
    /// 2. This program sees them, readable and writable, at addresses equal to the physical ones, for as long as this lives, and
    ///    the provenance of those addresses is exposed.
    pub unsafe fn new(machine: M, memory: &[MemoryRange]) -> Option<Self> {
        let clear = |first, pages| {
            machine.told_taken(first, pages, Taken::Memory);
            machine.clear(first, pages);
            machine.told_owner(first, pages, Owner::Hypervisor);
        };
        // SAFETY: the duties are the same.
        let frames = unsafe { Frames::new(memory, clear) }?;
        // It is nobody's, and never given back.
        let zeros = frames.allocate(Use::Page, &Account::new(1), machine.cpu())?;
        machine.told_taken(zeros, 1, Taken::Memory);
        machine.zero(zeros, 1);
        // Memory that is not cached shows it too, whatever the CPU's features spare elsewhere.
        machine.clean_caches(zeros, PAGE_SIZE, Dc::CleanInvalidate);
        machine.told_owner(zeros, 1, Owner::Everyone);
        let loads = Mutex::new(Loads::new(&machine));
        Some(Self {
            machine,
            loads,
            frames,
            zeros,
            vmos: Mutex::new(Vmos::new()),
            vms: [const { Once::new() }; MAX_VMS],
            vm_count: Mutex::new(0),
            koids: AtomicU64::new(FIRST_KOID),
        })
    }

    /// Returns of how many frames there are records, and how many bytes those take.
    pub fn bookkeeping(&self) -> (u64, u64) {
        self.frames.bookkeeping()
    }

    /// Makes a VM: its tree, its root VMAR, and its RAM, of which every page is absent. It has a VMID once it is loaded.
    ///
    /// # Errors
    ///
    /// - NO_RESOURCES: there are as many VMs as there can be.
    /// - NOT_SUPPORTED: the machine has no IPA space of that width.
    /// - OUT_OF_RANGE: the RAM does not fit in the IPA space.
    /// - NO_MEMORY: the memory or the quota is too small.
    pub fn create_vm(&self, config: &VmConfig) -> Result<VmId, Status> {
        let mut count = self.vm_count.lock();
        let id = VmId(*count);
        let place = self.vms.get(id.index()).ok_or(Status::NO_RESOURCES)?;
        let geometry = Geometry::new(config.ipa_bits, self.machine.features()).map_err(|_| Status::NOT_SUPPORTED)?;
        RAM_BASE.checked_add(config.ram_bytes).filter(|end| *end <= geometry.limit().0).ok_or(Status::OUT_OF_RANGE)?;
        place.try_call_once(|| self.new_vm(id, config, geometry))?;
        *count += 1;
        Ok(id)
    }

    fn new_vm(&self, id: VmId, config: &VmConfig, geometry: Geometry) -> Result<Vm, Status> {
        let account = Account::new(config.quota_frames);
        let supply = Supply { machine: &self.machine, frames: &self.frames, account: &account, vm: id };
        let root = Vmar {
            koid: self.next_koid(),
            can_map: Perms::all(),
            can_map_specific: true,
            is_compact: false,
            children: Tree::default(),
            handles: 0,
            is_alive: true,
        };
        let mut space = Space::new(supply, geometry.limit().0, root, config.seed)?;
        let tree = self.new_tree(supply, config, geometry)?;
        let ram = self.map_new_ram(supply, &mut space, id, config.ram_bytes)?;
        Ok(Vm {
            koid: self.next_koid(),
            resource_koid: self.next_koid(),
            config: *config,
            account,
            ram,
            space: Mutex::new(space),
            tree: Mutex::new(tree),
            faults: FaultCounts::default(),
        })
    }

    fn new_tree(&self, supply: Supply<'_, M>, config: &VmConfig, geometry: Geometry) -> Result<Stage2, Status> {
        let tables = if planted::is(86) { 1 } else { geometry.root_tables() as u64 };
        let align_log2 = geometry.root_bytes().trailing_zeros();
        let root = supply.take_run(tables, align_log2, Use::Table).ok_or(Status::NO_MEMORY)?;
        let all = self.machine.features();
        let used = Features { bbm: config.bbm.map_or(all.bbm, |most| most.min(all.bbm)), ..*all };
        Ok(Stage2::new(geometry, &used, root).numbered(supply.vm.number()))
    }

    /// Makes the VM's RAM and maps it, readable, writable and executable.
    fn map_new_ram(&self, supply: Supply<'_, M>, space: &mut Space, id: VmId, size: u64) -> Result<VmoId, Status> {
        let mut vmos = self.lock_vmos();
        space.regions.reserve(supply, 1)?;
        // The first frame for these stays for good: what a guest maps and unmaps leaves as many frames as there were.
        space.protections.reserve(supply, 1)?;
        let ram = self.create_vmo(&mut vmos, supply, size, VmoOptions::empty(), Backing::Paged)?;
        vmos[ram].name[..RAM_NAME.len()].copy_from_slice(RAM_NAME);
        vmos.promise_links(supply, 1)?;
        let link = vmos.link(ram, id, RAM_BASE, size, 0);
        let protections = Protections::uniform(Perms::all());
        let (caps, placing) = (Perms::all(), VmOptions::SPECIFIC);
        let mapping = Mapping { vmo: ram, vmo_offset: 0, caps, placing, protections, link };
        let root = space.root;
        space.insert(root, RAM_BASE, size, Kind::Mapping(mapping));
        Ok(ram)
    }

    /// Writes to a VM's RAM, wherever it is mapped.
    ///
    /// # Errors
    ///
    /// - OUT_OF_RANGE: not all of it is RAM.
    /// - NO_MEMORY: there is no frame for a page of it.
    pub fn write_ram(&self, id: VmId, to: Ipa, bytes: &[u8]) -> Result<(), Status> {
        let vm = self.vm(id);
        let mut vmos = self.lock_vmos();
        let mut offset = to.0.checked_sub(RAM_BASE).ok_or(Status::OUT_OF_RANGE)?;
        let view = vmos.view(vm.ram);
        if !view.holds(offset, bytes.len() as u64) {
            return Err(Status::OUT_OF_RANGE);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let part = rest.len().min((PAGE_SIZE - offset % PAGE_SIZE) as usize);
            let (now, later) = rest.split_at(part);
            self.write_page(&mut vmos, view.memory, offset, now)?;
            (offset, rest) = (offset + part as u64, later);
        }
        Ok(())
    }

    /// Returns the shape of the VM's tree.
    pub fn geometry(&self, id: VmId) -> Geometry {
        self.tree(id).geometry()
    }

    /// Returns the machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns how many frames the VM holds: pages, tables and bookkeeping.
    pub fn frames_held(&self, id: VmId) -> u64 {
        self.vm(id).account.held()
    }

    /// Returns how many VMOs and mappings there are in all.
    pub fn object_counts(&self) -> (u32, u32) {
        self.lock_vmos().counts()
    }

    /// Returns the VM that `id` was given for.
    pub(crate) fn vm(&self, id: VmId) -> &Vm {
        match self.vms.get(id.index()).and_then(Once::get) {
            Some(vm) => vm,
            None => not_made(id),
        }
    }

    /// Tells whether the name was given to a VM.
    pub(crate) fn has_vm(&self, id: VmId) -> bool {
        self.vms[id.index()].get().is_some()
    }

    pub(crate) fn supply(&self, id: VmId) -> Supply<'_, M> {
        Supply { machine: &self.machine, frames: &self.frames, account: &self.vm(id).account, vm: id }
    }

    pub(crate) fn next_koid(&self) -> u64 {
        let koid = self.koids.fetch_add(1, Relaxed);
        debug_assert_ne!(koid, KOID_INVALID);
        koid
    }
}

/// Ends the program: a VM was named that there is not.
#[cold]
#[inline(never)]
fn not_made(id: VmId) -> ! {
    unreachable!("{id:?} was given before its VM was made")
}
