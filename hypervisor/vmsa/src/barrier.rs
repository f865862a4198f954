//! Data synchronization barriers.

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
}
