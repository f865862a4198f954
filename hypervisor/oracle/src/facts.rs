//! All facts.

use crate::fact::Fact;
use crate::note::OutOfRoom;

/// Where facts are kept.
pub trait Pool {
    /// Returns the places.
    fn places(&self) -> &[Held];

    /// Returns the places, to be changed.
    fn places_mut(&mut self) -> &mut [Held];

    /// Makes more places, if it can.
    fn grow(&mut self) -> bool;
}

/// A place for a fact.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held(Option<Fact>);

impl Pool for &mut [Held] {
    fn places(&self) -> &[Held] {
        self
    }

    fn places_mut(&mut self) -> &mut [Held] {
        self
    }

    fn grow(&mut self) -> bool {
        false
    }
}

/// The facts, in no order.
#[derive(Debug)]
pub(crate) struct Facts<P> {
    pool: P,
    len: usize,
}

impl<P: Pool> Facts<P> {
    pub(crate) const fn new(pool: P) -> Self {
        Self { pool, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Tells whether so many more have room.
    pub(crate) fn reserve(&mut self, more: usize) -> bool {
        while self.pool.places().len() < self.len + more {
            if !self.pool.grow() {
                return false;
            }
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.pool.places()[..self.len].iter().filter_map(|place| place.0.as_ref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fact> {
        self.pool.places_mut()[..self.len].iter_mut().filter_map(|place| place.0.as_mut())
    }

    /// Adds a fact, to the last one where they are one.
    pub(crate) fn add(&mut self, fact: Fact) -> Result<(), OutOfRoom> {
        let last = self.len.checked_sub(1).and_then(|last| self.pool.places_mut()[last].0.as_mut());
        if let Some(last) = last.filter(|last| last.joins(&fact)) {
            last.range.end = fact.range.end;
            return Ok(());
        }
        self.push(fact)
    }

    /// Keeps the facts that `change` says are left.
    pub(crate) fn retain(&mut self, mut change: impl FnMut(&mut Fact) -> bool) {
        let places = &mut self.pool.places_mut()[..self.len];
        let mut kept = 0;
        for index in 0..places.len() {
            if places[index].0.as_mut().is_some_and(&mut change) {
                places[kept] = places[index];
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Splits facts so that `named` names each as a whole or not at all, and shows those that it names to `change`.
    pub(crate) fn split(
        &mut self,
        named: impl Fn(&Fact) -> Option<vmsa::IpaRange>,
        mut change: impl FnMut(&mut Fact, bool),
    ) -> Result<(), OutOfRoom> {
        for index in 0..self.len {
            let Some(fact) = self.pool.places()[index].0 else { continue };
            let Some(part) = named(&fact) else { continue };
            let mut its = fact.part(part);
            change(&mut its, true);
            self.pool.places_mut()[index] = Held(Some(its));
            let before = vmsa::IpaRange { end: part.start, ..fact.range };
            let after = vmsa::IpaRange { start: part.end, ..fact.range };
            for rest in [before, after].into_iter().filter(|rest| !rest.is_empty()) {
                let mut rest = fact.part(rest);
                change(&mut rest, false);
                self.push(rest)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, fact: Fact) -> Result<(), OutOfRoom> {
        if !self.reserve(1) {
            return Err(OutOfRoom);
        }
        self.pool.places_mut()[self.len] = Held(Some(fact));
        self.len += 1;
        Ok(())
    }
}
