//! Data synchronization barriers, and the data cache maintenance that they complete.

/// A `DSB`, by its shareability domain and the accesses that it waits for (DDI 0487, C6.2 "DSB").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dsb {
    /// This CPU; loads and stores.
    Nsh,
    /// This CPU; stores.
    Nshst,
    /// All CPUs of the inner shareable domain; stores. Makes descriptors visible to table walks; completes no TLBI.
    Ishst,
    /// All CPUs of the inner shareable domain; loads and stores. Completes broadcast TLBIs.
    Ish,
    /// All observers there are; loads and stores. Completes cache maintenance for those that are no CPUs too.
    Sy,
}

/// What is done to the data cache lines of a range, to the point of coherency (DDI 0487, C5.3 "A64 System instructions for cache
/// maintenance").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dc {
    /// `CVAC`: written back.
    Clean,
    /// `CIVAC`: written back and dropped.
    CleanInvalidate,
}
