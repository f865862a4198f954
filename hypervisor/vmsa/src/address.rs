//! Addresses. An IPA never becomes a physical address by arithmetic: only translation turns one into the other.

use core::fmt;

/// The base-two logarithm of the granule.
pub const PAGE_SHIFT: u32 = 12;
/// The granule, in bytes.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Returns the first address of the page that holds this one.
            pub const fn page_base(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }

            /// Returns the page's number.
            pub const fn page_number(self) -> u64 {
                self.0 >> PAGE_SHIFT
            }

            /// Returns the address `bytes` above this one.
            pub const fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{:#x}", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A guest (intermediate) physical address, in bytes.
    Ipa
}

address! {
    /// A physical address of the machine, in bytes.
    Hpa
}

/// A range of guest-physical space, in bytes: `start` belongs to it, `end` does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpaRange {
    /// The first address.
    pub start: Ipa,
    /// The address past the last.
    pub end: Ipa,
}

impl IpaRange {
    /// Returns the range of `len` bytes from `start`.
    pub const fn new(start: Ipa, len: u64) -> Self {
        Self { start, end: start.add(len) }
    }

    /// Returns the page that holds `ipa`.
    pub const fn page(ipa: Ipa) -> Self {
        Self::new(ipa.page_base(), PAGE_SIZE)
    }

    /// Returns the length in bytes.
    pub const fn len(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Tells whether there is nothing in the range.
    pub const fn is_empty(self) -> bool {
        self.end.0 <= self.start.0
    }

    /// Returns the number of pages that the range touches.
    pub const fn pages(self) -> u64 {
        self.end.0.div_ceil(PAGE_SIZE) - self.start.page_number()
    }

    /// Returns what both ranges hold.
    pub fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// Tells whether all of `other` is in this range.
    pub const fn covers(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Returns the smallest range that holds both.
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> IpaRange {
        IpaRange { start: Ipa(start), end: Ipa(end) }
    }

    #[test]
    fn a_range_has_its_bytes_and_the_pages_that_it_touches() {
        assert_eq!((range(0x1000, 0x4000).len(), range(0x1000, 0x4000).pages()), (0x3000, 3));
        assert_eq!((range(0x1fff, 0x4001).len(), range(0x1fff, 0x4001).pages()), (0x2002, 4));
        assert_eq!(IpaRange::page(Ipa(0x8000_1234)), range(0x8000_1000, 0x8000_2000));
    }

    #[test]
    fn a_range_is_empty_that_does_not_end_behind_its_start() {
        assert!(range(0x2000, 0x2000).is_empty() && range(0x2000, 0x1000).is_empty());
        assert!(!range(0x2000, 0x2001).is_empty());
    }

    #[test]
    fn a_range_covers_what_is_between_its_ends() {
        let middle = range(0x2000, 0x4000);
        assert!(middle.covers(middle) && middle.covers(range(0x3000, 0x4000)) && middle.covers(range(0x2000, 0x3000)));
        assert!(!middle.covers(range(0x1000, 0x3000)) && !middle.covers(range(0x3000, 0x5000)));
        assert_eq!(middle.intersection(range(0x3000, 0x9000)), range(0x3000, 0x4000));
        assert_eq!(middle.hull(range(0x6000, 0x9000)), range(0x2000, 0x9000));
    }
}
