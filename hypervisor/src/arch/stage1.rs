//! EL2's own translation: every address means itself. Text can be executed, nothing else can, and nothing is both writable and
//! executable; guard pages, and all that is neither RAM nor the UART, are not mapped.
//!
//! The boot code fills the tables of the image while the MMU is off, with permissions as they stay; once the device tree is
//! read, RAM and the UART are added. Nothing that was valid changes, so nothing is ever broken or invalidated. The layout is
//! that of DDI 0487, "VMSAv8-64 descriptor formats", the EL2 regime with HCR_EL2.E2H = 0.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aarch64_cpu::asm::barrier;
use hypervisor::region::Region;
use spin::Mutex;
use vmsa::{ENTRIES, Hpa, Ipa, Level, PAGE_SIZE};

/// Where the RAM of `virt` starts, and the device tree lies.
pub(super) const RAM_START: u64 = 0x4000_0000;
/// Where the image is linked: what lies below belongs to the device tree.
pub(super) const IMAGE_START: u64 = 0x4020_0000;
/// How many level 3 tables there are for the image, which `linker.ld` keeps it to.
pub(super) const IMAGE_TABLES: usize = 2;

/// Width of EL2's addresses: a walk starts at level 1, in one table.
pub(super) const VA_BITS: u64 = 39;

/// MAIR_EL2: attribute 0 is Normal memory, write-back, read- and write-allocate; attribute 1 is Device-nGnRE.
pub(super) const MAIR: u64 = 0x04_ff;

const TABLE: u64 = 0b11;
const PAGE: u64 = 0b11;
const BLOCK: u64 = 0b01;
const DEVICE: u64 = 1 << 2;
/// AP\[1\], which is RES1 in a regime of one exception level.
const AP1: u64 = 1 << 6;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const EXECUTE_NEVER: u64 = 1 << 54;
const NORMAL: u64 = AP1 | INNER_SHAREABLE | ACCESS_FLAG;

/// What the pages of each part of the image hold besides their address.
pub(super) const TEXT_PAGE: u64 = PAGE | NORMAL | READ_ONLY;
pub(super) const RODATA_PAGE: u64 = PAGE | NORMAL | READ_ONLY | EXECUTE_NEVER;
pub(super) const DATA_PAGE: u64 = PAGE | NORMAL | EXECUTE_NEVER;
/// What the block of the device tree holds.
pub(super) const TREE_BLOCK: u64 = RAM_START | BLOCK | NORMAL | READ_ONLY | EXECUTE_NEVER;
/// What a descriptor of a table holds besides its address.
pub(super) const TABLE_BITS: u64 = TABLE;
const RAM_BLOCK: u64 = BLOCK | NORMAL | EXECUTE_NEVER;
const DEVICE_PAGE: u64 = PAGE | DEVICE | AP1 | ACCESS_FLAG | EXECUTE_NEVER;

/// A table, which the hardware may walk at any time.
#[repr(C, align(4096))]
pub(super) struct Table([AtomicU64; ENTRIES]);

/// The tables that are filled before the MMU is on.
#[repr(C)]
pub(super) struct BootTables {
    /// Level 1.
    pub(super) root: Table,
    /// Level 2, for the GiB that RAM starts in.
    pub(super) ram: Table,
    /// Level 3, for the image.
    pub(super) image: [Table; IMAGE_TABLES],
}

pub(super) static BOOT_TABLES: BootTables =
    BootTables { root: Table::new(), ram: Table::new(), image: [const { Table::new() }; IMAGE_TABLES] };

/// Tables for what the device tree tells of: ends of RAM that fill no GiB, and the UART.
static SPARE_TABLES: [Table; 8] = [const { Table::new() }; 8];

static SPARES_USED: Mutex<usize> = Mutex::new(0);

/// There is no table left, or something else is mapped there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CannotMap(pub(crate) Region);

/// Maps RAM for reading and writing, but for the device tree and the image, which are mapped. The ends of the region are
/// multiples of 2 MiB.
pub(crate) fn map_ram(region: Region) -> Result<(), CannotMap> {
    let mut at = region.start.0;
    while at < region.end.0 {
        let left = region.end.0 - at;
        let is_giant = at.is_multiple_of(Level::L1.entry_span()) && left >= Level::L1.entry_span() && at != RAM_START;
        let level = if is_giant { Level::L1 } else { Level::L2 };
        map(at, level, RAM_BLOCK).ok_or(CannotMap(region))?;
        at += level.entry_span();
    }
    publish();
    Ok(())
}

/// Maps a page of device registers.
pub(crate) fn map_device(registers: Hpa) -> Result<(), CannotMap> {
    let page = registers.page_base();
    let region = Region { start: page, end: page.add(PAGE_SIZE) };
    if map(page.0, Level::L3, DEVICE_PAGE) != Some(true) {
        return Err(CannotMap(region));
    }
    publish();
    Ok(())
}

/// Nothing was valid there before, so no TLB has to forget it: the stores need only be seen by the walks of this CPU, and of
/// those that start later (DDI 0487, "TLB maintenance").
fn publish() {
    barrier::dsb(barrier::ISHST);
    barrier::isb(barrier::SY);
}

/// Maps the page or block at `address` to itself, unless something is mapped there; tells whether it was not, or returns `None`
/// where it cannot be.
fn map(address: u64, level: Level, attributes: u64) -> Option<bool> {
    if address >= 1 << VA_BITS {
        return None;
    }
    let mut table = &BOOT_TABLES.root;
    let mut at = Level::L1;
    while at != level {
        table = table.slot(at, address)?.table_below()?;
        at = at.next()?;
    }
    let slot = table.slot(at, address)?;
    let is_vacant = slot.0.load(Relaxed) == 0;
    if is_vacant {
        slot.0.store(address | attributes, Relaxed);
    }
    Some(is_vacant)
}

impl Table {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; ENTRIES])
    }

    fn slot(&self, level: Level, address: u64) -> Option<Slot<'_>> {
        // EL2's addresses are cut up as IPAs are.
        self.0.get(level.index(Ipa(address))).map(Slot)
    }

    /// Returns the descriptor that leads to this table.
    fn descriptor(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64 | TABLE
    }
}

struct Slot<'t>(&'t AtomicU64);

impl Slot<'_> {
    /// Returns the table that the entry leads to; an empty entry gets one.
    fn table_below(&self) -> Option<&'static Table> {
        let descriptor = self.0.load(Relaxed);
        if descriptor == 0 {
            let table = take_spare()?;
            self.0.store(table.descriptor(), Relaxed);
            return Some(table);
        }
        let known = [&BOOT_TABLES.ram].into_iter().chain(&BOOT_TABLES.image).chain(&SPARE_TABLES);
        known.into_iter().find(|table| table.descriptor() == descriptor)
    }
}

fn take_spare() -> Option<&'static Table> {
    let mut used = SPARES_USED.lock();
    let table = SPARE_TABLES.get(*used)?;
    *used += 1;
    Some(table)
}
