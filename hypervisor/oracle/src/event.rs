//! What happens on a CPU, as far as the rules speak of it. The words are those of a trace (`hypervisor/oracle/TRACE.md`).

use vmsa::{Hpa, IpaRange, PAGE_SIZE, Perms};

/// How a store is ordered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Not at all.
    Plain,
    /// After all that the CPU did before: a store-release.
    Release,
    /// One atomic step with the read before it, and a store-release.
    Atomic,
}

/// How far a barrier, or an invalidation, reaches. Each reaches what those before it do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Domain {
    /// This CPU: `NSH`, and invalidations without a suffix.
    Local,
    /// All CPUs that run guests: `ISH`, and invalidations that end in `IS`.
    Inner,
    /// All observers in the outer shareable domain: `OSH`, and invalidations that end in `OS`.
    Outer,
    /// The system: `SY`.
    System,
}

/// Which accesses a barrier waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accesses {
    /// Loads and stores.
    Full,
    /// Loads.
    Loads,
    /// Stores.
    Stores,
}

impl Accesses {
    /// Tells whether stores are among them.
    pub const fn has_stores(self) -> bool {
        matches!(self, Self::Full | Self::Stores)
    }
}

/// What an invalidation is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// `IPAS2E1`: stage-2 entries for one IPA; not the combined ones.
    Ipa,
    /// `RIPAS2E1`: stage-2 entries for a range of IPAs; not the combined ones.
    Range,
    /// `VMALLE1`: stage-1 and combined entries of the VMID.
    Stage1,
    /// `VAE1`, `ASIDE1` and their like: some of the stage-1 and combined entries of the VMID, by virtual address or ASID.
    Stage1Some,
    /// `VMALLS12E1`: everything of the VMID.
    Vmid,
    /// `ALLE1`: everything of every VMID.
    All,
    /// `VAE2`, `ALLE2` and their like: entries of EL2's own translation.
    El2,
}

/// A TLB invalidation instruction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlbiOp {
    /// What it is for.
    pub target: Target,
    /// Last-level entries only: no table that led to them is meant.
    pub leaf_only: bool,
    /// Whose TLBs.
    pub domain: Domain,
    /// The `nXS` form: it waits for no access with the XS attribute.
    pub is_nxs: bool,
}

impl TlbiOp {
    /// Returns an invalidation of all that its target names, in its full form.
    pub const fn new(target: Target, domain: Domain) -> Self {
        Self { target, leaf_only: false, domain, is_nxs: false }
    }
}

/// A system register that a rule speaks of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is named for its register")]
pub enum Register {
    VtcrEl2,
    VttbrEl2,
    HcrEl2,
    /// One that no rule speaks of.
    Other,
}

/// Frames that follow each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frames {
    /// The first of them.
    pub first: Hpa,
    /// How many.
    pub pages: u64,
}

impl Frames {
    /// Returns `pages` frames from `first` on.
    pub const fn new(first: Hpa, pages: u64) -> Self {
        Self { first, pages }
    }

    /// Returns the address past the last.
    pub const fn end(self) -> Hpa {
        Hpa(self.first.0.saturating_add(self.pages.saturating_mul(PAGE_SIZE)))
    }

    /// Tells whether any frame is in both.
    pub const fn meets(self, other: Self) -> bool {
        self.first.0 < other.end().0 && other.first.0 < self.end().0
    }
}

/// What a frame is taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameKind {
    /// A translation table.
    Table,
    /// Memory of a guest.
    Guest,
}

/// A cache maintenance instruction by address, as far as rules tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DcOp {
    /// `CVAU`: clean to the point of unification.
    CleanToUnification,
    /// `CVAC`: clean to the point of coherency.
    Clean,
    /// `CIVAC`: clean and invalidate to the point of coherency.
    CleanInvalidate,
    /// `IVAC`: invalidate to the point of coherency.
    Invalidate,
    /// One of which no rule speaks.
    Other,
}

/// An operation on a VM's memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is named for what it does")]
pub enum Work {
    Map,
    Unmap,
    Protect,
    Commit,
    Decommit,
    Age,
    Harvest,
    Fault,
}

/// What happens on a CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A VM has a VMID and a root: those in a value of VTTBR_EL2.
    Vm {
        /// The VM's number, from 1.
        vm: u32,
        /// The value.
        vttbr: u64,
        /// The level of FEAT_BBM that the VM's tables use, where that is less than the machine's.
        bbm: Option<u8>,
    },
    /// A system register is written, in effect after the next context synchronization.
    Msr(Register, u64),
    /// A context synchronization event without an exception: `ISB`.
    Isb,
    /// A word of a table is written.
    Store {
        /// Where.
        slot: Hpa,
        /// What is there from now on.
        new: u64,
        /// How it is ordered.
        order: Order,
        /// What the writer believed was there, where it says.
        old: Option<u64>,
    },
    /// `DSB`.
    Dsb {
        /// How far.
        domain: Domain,
        /// What it waits for.
        accesses: Accesses,
        /// The `nXS` form.
        is_nxs: bool,
    },
    /// `DMB`.
    Dmb {
        /// How far.
        domain: Domain,
        /// What it orders.
        accesses: Accesses,
    },
    /// `TLBI`, with its operand where it takes one.
    Tlbi(TlbiOp, Option<u64>),
    /// The walk set a leaf's access flag or dirty state.
    HardwareUpdate {
        /// Where.
        slot: Hpa,
        /// What was there.
        old: u64,
        /// What is there from now on.
        new: u64,
    },
    /// `DC`, over a range of bytes.
    Dc {
        /// Which.
        op: DcOp,
        /// The first byte.
        start: Hpa,
        /// How many bytes.
        len: u64,
    },
    /// `IC`: instruction caches are invalidated. `is_broadcast` tells whether those of every CPU are.
    Ic {
        /// On every CPU.
        is_broadcast: bool,
    },
    /// Frames are taken from the allocator.
    Alloc(Frames, FrameKind),
    /// Frames are overwritten whole, with zeros or with what their new owner is to see.
    Zero(Frames),
    /// Frames are a VM's from now on.
    Owner {
        /// Which.
        frames: Frames,
        /// The VM's number; 0 is the hypervisor.
        vm: u32,
        /// Several VMs may map them.
        is_shared: bool,
    },
    /// Frames go back to the allocator.
    Free(Frames),
    /// A lock is taken.
    Lock {
        /// Its number.
        id: u64,
        /// The root of the tree that it guards, where it guards one.
        root: Option<Hpa>,
    },
    /// A lock is let go.
    Unlock {
        /// Its number.
        id: u64,
    },
    /// An operation on a VM's memory begins.
    Begin {
        /// Which.
        work: Work,
        /// The VM's number.
        vm: u32,
        /// The range that it is asked for.
        range: IpaRange,
        /// Of [`Work::Protect`], the rights that remain, where it says.
        perms: Option<Perms>,
    },
    /// The operation of this CPU ends, with a status: 0 is success.
    End {
        /// The status.
        status: u64,
    },
    /// The CPU goes on in a guest.
    Eret {
        /// The VM's number.
        vm: u32,
        /// The vCPU's.
        vcpu: u32,
    },
    /// The CPU comes back from a guest.
    Exc {
        /// The VM's number.
        vm: u32,
        /// The vCPU's.
        vcpu: u32,
        /// ESR_EL2.
        esr: u64,
        /// FAR_EL2.
        far: u64,
        /// HPFAR_EL2.
        hpfar: u64,
    },
}

/// What the machine is, as a trace's first line tells it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Machine {
    /// How many CPUs there are.
    pub cpus: u32,
    /// FEAT_BBM: 0 to 2.
    pub bbm: u8,
    /// FEAT_TLBIRANGE.
    pub tlbi_range: bool,
    /// FEAT_TLBIOS.
    pub tlbi_outer: bool,
    /// FEAT_TTL.
    pub level_hint: bool,
    /// FEAT_S2FWB.
    pub forced_write_back: bool,
    /// FEAT_HAFDBS: 0 nothing, 1 the access flag, 2 the dirty state too.
    pub hafdbs: u8,
    /// FEAT_VMID16.
    pub vmid16: bool,
    /// Bits of a physical address.
    pub pa_bits: u32,
    /// FEAT_XNX.
    pub execute_per_level: bool,
    /// FEAT_XS.
    pub xs: bool,
    /// FEAT_ETS2.
    pub ets2: bool,
    /// CTR_EL0.IDC: data need not be cleaned for instruction fetches.
    pub idc: bool,
    /// CTR_EL0.DIC: instruction caches need no invalidation for coherence.
    pub dic: bool,
    /// A policy of the tables' owner: a leaf that becomes valid has its access flag, unless the walks set it (R31).
    pub must_set_access_flag: bool,
}
