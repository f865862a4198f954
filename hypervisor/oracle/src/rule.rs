//! The rules, by number: what each asks, and what would have been right. `RULES.md` tells more of each.

use core::fmt;

/// How grave it is to break a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The architecture, or an owner's promise, is broken.
    Error,
    /// What was done is right, and easily becomes wrong.
    Warning,
}

macro_rules! rules {
    ($($name:ident $label:literal $text:literal $remedy:literal)*) => {
        /// A rule of the architecture, or of those who own memory under it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the rule's number, as `R11` or `R27b`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// Returns the rule in a sentence.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns what would have been right.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

rules! {
    OutputChange "R1" "a live entry got another output address without a break"
        "write an invalid entry, DSB, invalidate stage 2 and stage 1, DSB, and only then the new entry"
    TypeChange "R2" "a live entry got another memory type without a break"
        "break the entry and invalidate it before it says another type"
    CacheabilityChange "R3" "a live entry got another cacheability without a break"
        "break the entry and invalidate it before it says another cacheability"
    ShareabilityChange "R4" "a live entry got another shareability without a break"
        "break the entry and invalidate it before it says another shareability"
    SizeChange "R5" "a block and a table took each other's place without a break"
        "fill the new table, break the block, DSB, invalidate, DSB, then link the table by a store-release"
    SizeChangeNt "R5a" "with FEAT_BBM level 1, a block and a table took each other's place before the nT block was clean"
        "write the block with nT, DSB, invalidate, DSB; only then the table"
    SizeChangeDirect "R5b" "with FEAT_BBM level 2, more than the size changed"
        "change only the size directly; an address, a type or a cacheability is broken first"
    Sequence "R8" "what an entry was has not been invalidated"
        "DSB ISHST; TLBI IPAS2E1IS for each entry; DSB ISH; TLBI VMALLE1IS; DSB ISH; or TLBI VMALLS12E1IS for the VMID"
    StoreFirst "R9" "an invalidation came before the store was visible to table walks, and counts for nothing"
        "a DSB of stores (DSB ISHST or stronger) between the store and the TLBI; a release, a DMB or an ISB does not do"
    Completion "R10" "an invalidation is not complete on every CPU that may hold the entry"
        "the broadcast form, and after it on the same CPU a DSB of loads and stores that reaches as far as the TLBI"
    CombinedLast "R11" "combined entries may be left: stage 1 goes after the invalidation by IPA is complete"
        "TLBI IPAS2E1IS; DSB ISH; TLBI VMALLE1IS; DSB ISH, in this order"
    OtherCpu "R12" "another CPU's invalidation is not ordered after the store"
        "a DSB by the writer, or a lock handed over and a DSB by the other CPU, before the TLBI"
    Tightened "R13" "a TLB may still hold a right that was taken"
        "after taking a right: DSB, TLBI by IPA, DSB, TLBI of stage 1, DSB; then tell that it is gone"
    Relaxed "R14" "a fault was told to the guest although the tables allow the access since"
        "walk the tables again and let the guest retry"
    LeafForm "R15" "the last-level form of an invalidation leaves the tables that led to the entry"
        "the form without L where a table was taken out, and each leaf below it for its own IPA"
    LevelHint "R16" "the level hint (TTL) of an invalidation was not true"
        "the level of the entry that was broken, with the 4 KiB granule, or no hint; bits 62:48 are zero"
    Group "R17" "the 16 entries of a contiguous group do not agree"
        "all 16 valid, adjacent, aligned and alike, or none of them with the contiguous bit"
    GroupChange "R18" "a member of a contiguous group was changed and the group was not"
        "break all 16 members, invalidate all of them, then write them anew"
    GroupInvalidation "R19" "only some members of a contiguous group were invalidated"
        "one TLBI for each member, or a range that covers all of them"
    Aged "R20" "a page whose access flag was cleared may still be used through a TLB"
        "invalidate before the page is taken because it looked idle"
    HardwareFlags "R22" "a live leaf was changed by a plain store though the walk may update it"
        "one atomic read-modify-write, whose old value is used"
    Harvest "R23" "dirty state was collected without an invalidation, or the walk cannot keep it"
        "clear it atomically, invalidate, DSB; then read the page. HA and HD only where FEAT_HAFDBS is"
    Nxs "R24" "an nXS form does not wait for memory that may have the XS attribute"
        "the full TLBI and the full DSB where the range may hold Device or Non-cacheable memory"
    RangeOperand "R25" "a range invalidation does not cover all that was broken"
        "TG=1 for 4 KiB, (NUM+1)<<(5*SCALE+1) pages that reach the end, a TLBI of its own for an odd last page"
    Control "R26" "translation is controlled otherwise than when TLBs were filled"
        "invalidate every entry of the VMIDs concerned after the change, DSB, ISB, and use one value on all CPUs"
    VmidReuse "R27" "a VMID names a tree while TLBs may hold another tree's entries under it"
        "TLBI VMALLS12E1IS under the VMID, or ALLE1IS, and DSB ISH, before it names another tree"
    VmidWidth "R27a" "the VMID is wider than the machine, or VTCR_EL2.VS, allows"
        "VS only with FEAT_VMID16; bits 63:56 of VTTBR_EL2 are zero without VS"
    WrongVmid "R27b" "VTTBR_EL2 did not hold this tree and VMID"
        "MSR VTTBR_EL2; ISB; then TLBI; then the whole old value again, and ISB or ERET"
    Borrowed "R27c" "VTTBR_EL2 changed while walks for the old VMID may be under way"
        "a DSB before VTTBR_EL2 is written"
    CommonNotPrivate "R27d" "CPUs promise common tables (CnP) and differ in them"
        "the same VTTBR_EL2 and VTCR_EL2 on every CPU, or CnP = 0"
    VcpuSwitch "R27e" "another vCPU of the VM runs on this CPU with its TLB as it was left"
        "TLBI VMALLE1 and DSB NSH on this CPU when its vCPU changes"
    HostRegime "R27f" "with HCR_EL2.E2H and TGE set, stage-1 invalidations are EL2's own"
        "clear TGE, and ISB, around invalidations for a guest"
    Publication "R28" "a new entry is not visible to table walks"
        "DSB ISHST after the store, before a guest is entered or the operation is said to be done"
    ChildFirst "R29" "a table was linked before its entries were written and ordered"
        "write all 512 entries, then link by a store-release, or after a DMB or DSB of stores"
    DataFirst "R29a" "a page was mapped before its contents were ordered"
        "a DSB or DMB of stores, or a store-release, between the contents and the entry"
    OneParent "R30" "a table or a page of the hypervisor is reached otherwise than as one table at one place"
        "link a table once, and map no frame that is a table or the hypervisor's"
    WellFormed "R31" "a descriptor does not mean anything, or not what is intended"
        "reserved bits zero, the address aligned and within PS, a legal MemAttr, SH and type for its level"
    TableLifetime "R32" "a table is used anew while walks may go through it"
        "unlink it, invalidate by the form without L, DSB; then give it back"
    PageLifetime "R33" "a page changes hands while a TLB may lead to it"
        "complete the invalidation; then give the page back"
    EmptyIsNotDone "R33a" "a range is said to be empty while another CPU's invalidation of it is not complete"
        "wait for the other's invalidation, or invalidate too"
    Contents "R34" "a page came to a VM with what another owner left in it"
        "overwrite the whole page after its last owner and before the mapping"
    DoubleOwner "R35" "a page that a tree leads to is given away, or mapped by who does not own it"
        "unmap it everywhere first"
    Coherency "R36" "memory and caches may differ where a guest, or EL2, reads without FEAT_S2FWB"
        "DC CIVAC and DSB after EL2 wrote a page for a guest, and when a guest's page comes back"
    Instructions "R37" "a page became executable with instruction caches that may hold what it was"
        "DC CVAU, DSB, IC IALLUIS, DSB before the mapping, as CTR_EL0.IDC and DIC ask"
    WalkAttributes "R38" "walks read tables otherwise than EL2 writes them"
        "VTCR_EL2: write-back IRGN0 and ORGN0, and shareable"
    SpuriousFault "R39" "an access that the tables allow was refused"
        "walk again under the lock, and retry what is allowed"
    FaultAddress "R40" "a fault was served at another address than HPFAR_EL2 says"
        "IPA = HPFAR_EL2.FIPA << 8, where it is valid"
    Serial "R41" "two CPUs write one tree without an order between them"
        "hold the tree's lock around every write"
    StaleWrite "R43" "a store relied on a value that was not there"
        "read the entry again under the lock, or compare and swap"
    Geometry "R45" "VTCR_EL2 is not consistent"
        "bit 31 set, TG0 = 0, T0SZ and SL0 that fit, PS no more than PARange"
    Concatenated "R46" "the root tables are not all there, or not aligned to their size"
        "2 to 16 adjacent tables, allocated and aligned as one"
    RootAddress "R47" "VTTBR_EL2.BADDR is not aligned, or beyond PS"
        "the root's address, within PS"
    HypervisorControl "R48" "HCR_EL2 does not confine the guest"
        "VM, SWIO and RW set; FB set, or a local flush when a vCPU comes to another CPU"
    El2Regime "R49" "an invalidation of EL2's own translation does nothing for a guest's"
        "IPAS2E1IS, VMALLE1IS, VMALLS12E1IS or ALLE1IS"
    Contract "R50" "an operation said that it was done, and it is not"
        "no entry, no right and no TLB entry more than the operation leaves, before its end"
    Neighbours "R51" "an operation changed what is outside its range"
        "leave every translation outside the range as it was"
    Continuation "R52" "an operation was interrupted, and what it owed is forgotten"
        "invalidate before giving way, or keep what is owed with the continuation"
    SelfCheck "R53" "the tables are not what the oracle saw written, or it has no room to remember more"
        "write tables through the one hooked path; give the oracle its memory"
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
