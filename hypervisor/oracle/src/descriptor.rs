//! Descriptors as the architecture reads them, whoever wrote them: stage 2, 4 KiB granule, 48-bit addresses (DDI 0487, D8.3).

use vmsa::{Hpa, Level, Perms};

use crate::Machine;
use crate::tree::Control;

const VALID: u64 = 1;
const TABLE_OR_PAGE: u64 = 1 << 1;
const MEM_ATTR_SHIFT: u32 = 2;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;
const SH_SHIFT: u32 = 8;
const ACCESS_FLAG: u64 = 1 << 10;
const FNXS: u64 = 1 << 11;
const OUTPUT_MASK: u64 = 0x0000_ffff_ffff_f000;
const NT: u64 = 1 << 16;
const DBM: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;
const XN_SHIFT: u32 = 53;
const XN_LOW: u64 = 1 << 53;
const SOFTWARE: u64 = 0xf << 55;
/// What walks may set in a leaf.
const UPDATED: u64 = ACCESS_FLAG | S2AP_WRITE;

/// A leaf: its bits, and the level that gives them their meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Leaf {
    pub(crate) raw: u64,
    pub(crate) level: Level,
}

/// What kind of memory a leaf makes, as far as changes of it need a break.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Device, with its sub-type.
    Device(u64),
    /// Normal, with its MemAttr.
    Normal(u64),
}

impl Leaf {
    pub(crate) const fn output(self) -> Hpa {
        Hpa(self.raw & OUTPUT_MASK & !(self.level.entry_span() - 1))
    }

    const fn mem_attr(self) -> u64 {
        self.raw >> MEM_ATTR_SHIFT & 0xf
    }

    const fn kind(self) -> Kind {
        match self.mem_attr() {
            device @ 0..=3 => Kind::Device(device),
            normal => Kind::Normal(normal),
        }
    }

    pub(crate) const fn perms(self) -> Perms {
        let read = if self.raw & S2AP_READ != 0 { Perms::READ } else { Perms::empty() };
        let write = if self.raw & S2AP_WRITE != 0 { Perms::WRITE } else { Perms::empty() };
        let execute = match self.raw >> XN_SHIFT & 3 {
            0b00 => Perms::EXECUTE,
            0b01 => Perms::EXECUTE_EL0,
            0b11 => Perms::EXECUTE_EL1,
            _ => Perms::empty(),
        };
        read.union(write).union(execute)
    }

    /// Returns what may be done with the page once the walk has kept its dirty state: DBM lets it allow stores.
    pub(crate) fn most_perms(self, control: Control) -> Perms {
        let may_become = control.sets_dirty() && self.raw & DBM != 0;
        if may_become { self.perms() | Perms::WRITE } else { self.perms() }
    }

    pub(crate) const fn is_accessed(self) -> bool {
        self.raw & ACCESS_FLAG != 0
    }

    pub(crate) const fn is_contiguous(self) -> bool {
        self.raw & CONTIGUOUS != 0
    }

    pub(crate) fn has_nt(self) -> bool {
        self.level != Level::L3 && self.raw & NT != 0
    }

    /// Tells whether accesses through the leaf may have the XS attribute: Device and Non-cacheable memory, unless stage 2 says
    /// that they have not.
    pub(crate) const fn may_be_xs(self) -> bool {
        let is_slow = matches!(self.kind(), Kind::Device(_) | Kind::Normal(0b0101));
        is_slow && self.raw & FNXS == 0
    }

    /// Returns the bits that all members of a contiguous group have alike: not the address, what walks update, nor software's.
    pub(crate) const fn group_bits(self) -> u64 {
        let dirty = if self.raw & DBM != 0 { S2AP_WRITE } else { 0 };
        self.raw & !(OUTPUT_MASK | ACCESS_FLAG | SOFTWARE | dirty)
    }

    /// Returns the bits that a change of size, and what the walk does, leave as they are.
    pub(crate) const fn kept_bits(self) -> u64 {
        self.group_bits() & !(CONTIGUOUS | TABLE_OR_PAGE) | self.raw & SOFTWARE
    }

    /// Returns the bits that the walk may set; the second of them where DBM lets it.
    pub(crate) const fn updated_bits(self) -> u64 {
        self.raw & UPDATED
    }

    /// Tells whether the guest may choose, by its own stage 1, to look past the caches though stage 2 forces write-back: 0b0111.
    pub(crate) const fn is_guests_choice(self) -> bool {
        self.mem_attr() == 0b0111
    }

    /// Returns the leaf of the same bits that leads `offset` bytes further.
    pub(crate) const fn moved(self, offset: u64) -> Self {
        Self { raw: (self.raw & !OUTPUT_MASK) | ((self.raw & OUTPUT_MASK) + offset) & OUTPUT_MASK, ..self }
    }
}

/// What a descriptor says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    Invalid,
    Table(Hpa),
    Leaf(Leaf),
}

impl Entry {
    /// Reads a descriptor. What the hardware would fault on, though its bit 0 is set, is invalid too: [`flaw`] tells of it.
    pub(crate) const fn of(raw: u64, level: Level) -> Self {
        match (raw & VALID != 0, raw & TABLE_OR_PAGE != 0, level) {
            (true, true, Level::L3) | (true, false, Level::L1 | Level::L2) => Self::Leaf(Leaf { raw, level }),
            (true, true, _) => Self::Table(Hpa(raw & OUTPUT_MASK)),
            _ => Self::Invalid,
        }
    }

    pub(crate) const fn is_valid(self) -> bool {
        !matches!(self, Self::Invalid)
    }

    /// Tells whether walks translate by the entry, kept or not: a leaf without the access flag faults where they do not set it.
    pub(crate) const fn is_used(self, control: Control) -> bool {
        match self {
            Self::Invalid => false,
            Self::Table(_) => true,
            Self::Leaf(leaf) => leaf.is_accessed() || control.sets_access_flag(),
        }
    }

    /// Tells whether a TLB may hold the entry: not a leaf without the access flag where walks do not set it, nor one with nT.
    pub(crate) fn is_cached(self, control: Control) -> bool {
        self.is_used(control) && !matches!(self, Self::Leaf(leaf) if leaf.has_nt())
    }
}

/// What must not change under a live entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Output,
    Type,
    Cacheability,
    Shareability,
}

/// Returns what differs between two leaves of one size that both may be held at once, if anything does that may not.
pub(crate) fn forbidden(old: Leaf, new: Leaf) -> Option<Change> {
    if old.output() != new.output() {
        return Some(Change::Output);
    }
    match (old.kind(), new.kind()) {
        (Kind::Device(a), Kind::Device(b)) if a != b => return Some(Change::Type),
        (Kind::Device(_), Kind::Normal(_)) | (Kind::Normal(_), Kind::Device(_)) => return Some(Change::Type),
        (Kind::Normal(a), Kind::Normal(b)) if a != b => return Some(Change::Cacheability),
        _ => {}
    }
    (old.raw >> SH_SHIFT & 3 != new.raw >> SH_SHIFT & 3).then_some(Change::Shareability)
}

/// Returns the leaf of a level below that a block makes at `offset` into it, but for the bit that makes a page of it.
pub(crate) fn piece(block: Leaf, level: Level, offset: u64) -> Leaf {
    let raw = block.raw & !OUTPUT_MASK | block.output().0;
    Leaf { raw, level }.moved(offset)
}

/// Returns what is wrong with a valid descriptor, if anything is (R31).
pub(crate) fn flaw(raw: u64, level: Level, control: Control, machine: &Machine) -> Option<&'static str> {
    if raw & VALID == 0 {
        return None;
    }
    match Entry::of(raw, level) {
        Entry::Invalid => Some("there are no blocks at level 0, and 0b01 is reserved at level 3: it is not invalid"),
        Entry::Table(table) => table_flaw(raw, table, control),
        Entry::Leaf(leaf) => leaf_flaw(leaf, control, machine),
    }
}

fn table_flaw(raw: u64, table: Hpa, control: Control) -> Option<&'static str> {
    const RES0: u64 = 0x1f << 59;
    match () {
        () if raw & RES0 != 0 => Some("bits 63:59 of a stage-2 table descriptor are not zero"),
        () if table.0 >> control.output_bits() != 0 => {
            Some("the table is beyond the physical addresses of VTCR_EL2.PS")
        }
        () => None,
    }
}

fn leaf_flaw(leaf: Leaf, control: Control, machine: &Machine) -> Option<&'static str> {
    const RES0: u64 = 0b111 << 48;
    let below = leaf.level.entry_span() - 1;
    let nt = if machine.bbm >= 1 && leaf.level != Level::L3 { NT } else { 0 };
    match () {
        () if leaf.raw & RES0 != 0 => Some("bits 50:48 are not zero"),
        () if leaf.raw & OUTPUT_MASK & below & !nt != 0 => Some("the output address is not aligned to the block"),
        () if leaf.output().0 >> control.output_bits() != 0 => Some("the output address is beyond VTCR_EL2.PS"),
        () if leaf.raw & XN_LOW != 0 && !machine.execute_per_level => Some("bit 53 is reserved without FEAT_XNX"),
        () if leaf.raw & FNXS != 0 && !machine.xs => Some("bit 11 is reserved without FEAT_XS"),
        () if leaf.raw >> SH_SHIFT & 3 == 0b01 => Some("SH is 0b01, which is reserved"),
        () => mem_attr_flaw(leaf.mem_attr(), control.forces_write_back()),
    }
}

/// MemAttr (D8.6): with HCR_EL2.FWB only device types, 0b0101, 0b0110 and 0b0111 mean something.
const fn mem_attr_flaw(mem_attr: u64, forced: bool) -> Option<&'static str> {
    match (mem_attr, forced) {
        (0..=3, _) | (0b0101..=0b0111, true) => None,
        (_, true) => Some("the MemAttr is none that HCR_EL2.FWB knows"),
        (_, false) if mem_attr & 3 == 0 => Some("the inner cacheability of MemAttr is reserved"),
        (_, false) => None,
    }
}

/// Tells whether the walk may have turned the first descriptor into the second: it sets flags, nothing else.
pub(crate) const fn is_hardware_update(old: u64, new: u64, control: Control) -> bool {
    let changed = old ^ new;
    let may_dirty = control.sets_dirty() && old & DBM != 0;
    let allowed = if control.sets_access_flag() { ACCESS_FLAG } else { 0 } | if may_dirty { S2AP_WRITE } else { 0 };
    old & VALID != 0 && changed & !allowed == 0 && old & changed == 0
}

/// Returns the descriptor without what the walk may change at any time.
pub(crate) const fn steady(raw: u64) -> u64 {
    raw & !(ACCESS_FLAG | if raw & DBM != 0 { S2AP_WRITE } else { 0 })
}
