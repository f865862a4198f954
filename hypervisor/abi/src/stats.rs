//! What `stage2_stats` counts: work on a VM's stage-2 tables since the VM was created.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A counter, by its place in the buffer that `stage2_stats` fills with one little-endian `u64` each.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(usize)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All of them, in the order of the buffer.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the counter's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Descriptors written to the tables, the filling of new tables not counted.
    Stores = "stores",
    /// Invalidations by IPA: `TLBI IPAS2E1IS`, `IPAS2LE1IS`.
    TlbiIpa = "tlbi-ipa",
    /// Invalidations of a range of IPAs: `TLBI RIPAS2E1IS`, `RIPAS2LE1IS`.
    TlbiRange = "tlbi-range",
    /// Invalidations of everything of the VMID, both stages: `TLBI VMALLS12E1IS`.
    TlbiVmid = "tlbi-vmid",
    /// Invalidations of stage 1 and of combined entries: `TLBI VMALLE1IS`.
    TlbiStage1 = "tlbi-stage1",
    /// Data synchronization barriers, of any domain and type.
    Dsb = "dsb",
    /// Instruction synchronization barriers.
    Isb = "isb",
    /// Tables that the VM's tree holds now, its root tables included.
    Tables = "tables",
    /// Stage-2 faults that a mapping served.
    FaultsServed = "faults-served",
    /// Stage-2 faults that found the tables already allowing the access.
    FaultsSpurious = "faults-spurious",
    /// Accesses that nothing served, given to the guest as aborts.
    Aborts = "aborts",
    /// Frames that the VM holds now: pages, tables and bookkeeping.
    Frames = "frames",
}

/// How many counters there are.
pub const COUNT: usize = Counter::ALL.len();
