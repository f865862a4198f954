//! Ranges of physical memory, and which of it is free.

use core::fmt;

use vmsa::Hpa;

/// A range of physical memory, in bytes: `start` belongs to it, `end` does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Region {
    /// The first address.
    pub start: Hpa,
    /// The address past the last.
    pub end: Hpa,
}

impl Region {
    const EMPTY: Self = Self { start: Hpa(0), end: Hpa(0) };

    /// Returns the region of `len` bytes from `start`, or `None` where it does not end below 2^64.
    pub fn new(start: u64, len: u64) -> Option<Self> {
        Some(Self { start: Hpa(start), end: Hpa(start.checked_add(len)?) })
    }

    /// Returns the length in bytes.
    pub const fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Tells whether there is nothing in the region.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Tells whether all of `other` is in this region.
    pub const fn covers(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Tells whether the regions have anything in common.
    pub const fn meets(self, other: Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }

    /// Returns the largest region in this one whose ends are multiples of `unit`, a power of two.
    pub const fn shrunk_to(self, unit: u64) -> Self {
        let start = self.start.0.saturating_add(unit - 1) & !(unit - 1);
        let end = self.end.0 & !(unit - 1);
        Self { start: Hpa(start), end: Hpa(if end < start { start } else { end }) }
    }

    /// Returns the smallest region around this one whose ends are multiples of `unit`, a power of two.
    pub const fn grown_to(self, unit: u64) -> Self {
        let end = self.end.0.saturating_add(unit - 1) & !(unit - 1);
        Self { start: Hpa(self.start.0 & !(unit - 1)), end: Hpa(end) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// There are more regions than are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany;

/// A few regions.
#[derive(Clone, Debug)]
pub struct Regions {
    items: [Region; Self::CAPACITY],
    count: usize,
}

impl Regions {
    /// How many there can be.
    pub const CAPACITY: usize = 16;

    /// Returns no regions.
    pub const fn new() -> Self {
        Self { items: [Region::EMPTY; Self::CAPACITY], count: 0 }
    }

    /// Returns the regions.
    pub fn as_slice(&self) -> &[Region] {
        self.items.get(..self.count).unwrap_or_default()
    }

    /// Adds a region, unless it is empty.
    ///
    /// # Errors
    ///
    /// There is no room for another.
    pub fn push(&mut self, region: Region) -> Result<(), TooMany> {
        if region.is_empty() {
            return Ok(());
        }
        *self.items.get_mut(self.count).ok_or(TooMany)? = region;
        self.count += 1;
        Ok(())
    }

    /// Returns these regions without what lies in `taken`.
    ///
    /// # Errors
    ///
    /// There is no room for all the pieces.
    pub fn without(&self, taken: Region) -> Result<Self, TooMany> {
        let mut rest = Self::new();
        for &region in self.as_slice() {
            rest.push(Region { end: region.end.min(taken.start.max(region.start)), ..region })?;
            rest.push(Region { start: region.start.max(taken.end.min(region.end)), ..region })?;
        }
        Ok(rest)
    }
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn region(start: u64, end: u64) -> Region {
        Region { start: Hpa(start), end: Hpa(end) }
    }

    fn left(taken: Region) -> Vec<Region> {
        let mut all = Regions::new();
        all.push(region(10, 20)).unwrap();
        all.push(region(30, 40)).unwrap();
        all.without(taken).unwrap().as_slice().to_vec()
    }

    #[test]
    fn what_is_taken_is_gone_and_nothing_else() {
        assert_eq!(left(region(12, 15)), [region(10, 12), region(15, 20), region(30, 40)]);
        assert_eq!(left(region(5, 12)), [region(12, 20), region(30, 40)]);
        assert_eq!(left(region(15, 35)), [region(10, 15), region(35, 40)]);
        assert_eq!(left(region(0, 50)), []);
        assert_eq!(left(region(20, 30)), [region(10, 20), region(30, 40)]);
        assert_eq!(left(region(50, 60)), [region(10, 20), region(30, 40)]);
    }

    #[test]
    fn regions_shrink_and_grow_to_whole_units() {
        assert_eq!(region(5, 27).shrunk_to(8), region(8, 24));
        assert!(region(9, 15).shrunk_to(8).is_empty());
        assert_eq!(region(5, 27).grown_to(8), region(0, 32));
        assert_eq!(region(8, 16).grown_to(8), region(8, 16));
    }

    #[test]
    fn too_many_regions_are_an_error() {
        let mut all = Regions::new();
        for start in 0..16 {
            all.push(region(start * 10, start * 10 + 5)).unwrap();
        }
        assert_eq!(all.push(region(500, 501)), Err(TooMany));
        assert!(all.without(region(2, 3)).is_err());
        assert_eq!(Region::new(u64::MAX, 2), None);
    }
}
