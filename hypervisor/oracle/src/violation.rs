//! What the oracle has found.

use core::fmt;

use vmsa::{Hpa, Ipa, Level};

use crate::fact::Fact;
use crate::rule::{Rule, Severity};

/// A place in a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The VMID that the tree is held under.
    pub vmid: u16,
    /// The first address that the entry is for.
    pub ipa: Ipa,
    /// The entry's lookup level.
    pub level: Level,
    /// The entry's address.
    pub slot: Hpa,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vmid, ipa, level, slot } = self;
        write!(f, "slot {slot}, IPA {ipa}, VMID {vmid:#x}, level {}", level.number())
    }
}

/// A rule that was broken.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// Which rule.
    pub rule: Rule,
    /// What exactly, where the rule's sentence does not say it.
    pub detail: &'static str,
    /// Where, if that is one place.
    pub place: Option<Place>,
    /// The frame concerned, where it is about one.
    pub frame: Option<Hpa>,
    pub(crate) fact: Option<Fact>,
}

impl Finding {
    pub(crate) const fn new(rule: Rule) -> Self {
        Self { severity: Severity::Error, rule, detail: "", place: None, frame: None, fact: None }
    }

    pub(crate) const fn with_detail(self, detail: &'static str) -> Self {
        Self { detail, ..self }
    }

    pub(crate) const fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    pub(crate) const fn about(self, frame: Hpa) -> Self {
        Self { frame: Some(frame), ..self }
    }

    /// Returns the finding with the fact that is left.
    pub(crate) const fn of(self, fact: Fact) -> Self {
        let Fact { vmid, range, level, slot, .. } = fact;
        Self { place: Some(Place { vmid, ipa: range.start, level, slot }), fact: Some(fact), ..self }
    }

    pub(crate) const fn warned(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }
}

/// In one line: the rule, and where.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.rule.text())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if let Some(place) = self.place {
            write!(f, ": {place}")?;
        }
        if let Some(frame) = self.frame {
            write!(f, ", frame {frame}")?;
        }
        match self.fact {
            Some(fact) => write!(f, "; TLBs may hold {}..{}", fact.range.start, fact.range.end),
            None => Ok(()),
        }
    }
}

/// How many findings of one event are kept: the first say enough.
const MOST_FINDINGS: usize = 6;

/// What an event has brought to light.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: [Option<Finding>; MOST_FINDINGS],
}

impl Findings {
    pub(crate) const fn clear(&mut self) {
        if self.list[0].is_some() {
            self.list = [None; MOST_FINDINGS];
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list[0].is_none()
    }

    /// Adds a finding, each rule once.
    pub(crate) fn add(&mut self, finding: Finding) {
        let is_known = self.iter().any(|known| known.rule == finding.rule);
        if let Some(place) = self.list.iter_mut().find(|place| place.is_none()).filter(|_| !is_known) {
            *place = Some(finding);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.list.iter().flatten()
    }
}
