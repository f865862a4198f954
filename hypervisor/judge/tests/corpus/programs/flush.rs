//! Ways to invalidate, all of them right.

use super::player::Player;
use super::spoil::Mark;
use crate::scene::{PAGE, Range, hinted, span};

/// What is invalidated at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// Each leaf by its address, then stage 1.
    Each,
    /// All between the first leaf and the last, by range, then stage 1.
    Range,
    Vmid,
    All,
}

/// How strong the barriers are, where there is a choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Barriers {
    /// No stronger than needed.
    Usual,
    /// The first one waits for loads too.
    Full,
    Outer,
    System,
}

/// A way to invalidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flush {
    pub(super) form: Form,
    pub(super) barriers: Barriers,
    pub(super) is_hinted: bool,
    pub(super) is_leaf_form: bool,
    pub(super) is_outer: bool,
    /// The lock is dropped before, where others may have it meanwhile.
    pub(super) is_deferred: bool,
}

/// A leaf or a table that is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub(super) ipa: u64,
    pub(super) level: u8,
    /// TLBs may hold it: without an invalidation something would be wrong.
    pub(super) is_cached: bool,
}

impl Player {
    /// Invalidates what is gone, and marks each step that matters.
    pub(super) fn flush(&mut self, flush: Flush, gone: &[Gone]) {
        let matters = gone.iter().any(|gone| gone.is_cached);
        self.barrier(flush, true, matters.then_some(Mark::StoreBarrier));
        match flush.form {
            Form::Each => self.flush_each(flush, gone),
            Form::Range if self.machine().tlbirange => self.flush_range(flush, gone, matters),
            Form::Range => self.flush_each(flush, gone),
            Form::Vmid => self.tlbi(flush, "vmalls12e1", matters.then_some(Mark::Whole)),
            Form::All => self.tlbi(flush, "alle1", matters.then_some(Mark::Whole)),
        }
        if !matches!(flush.form, Form::Vmid | Form::All) {
            self.barrier(flush, false, matters.then_some(Mark::MiddleBarrier));
            self.tlbi(flush, "vmalle1", matters.then_some(Mark::Stage1));
        }
        // Where pages are cleaned when they come back, the barrier for that comes before anything relies on this one.
        let is_last = matters && self.machine().fwb;
        self.barrier(flush, false, is_last.then_some(Mark::LastBarrier));
        self.s.isb();
    }

    fn is_outer(&self, flush: Flush) -> bool {
        flush.is_outer && self.machine().tlbios
    }

    /// A DSB as wide as the TLBIs, or wider.
    fn barrier(&mut self, flush: Flush, for_stores: bool, mark: Option<Mark>) {
        let domain = match flush.barriers {
            Barriers::System => "sy",
            Barriers::Outer => "osh",
            _ if self.is_outer(flush) => "osh",
            _ => "ish",
        };
        let kind = if for_stores && flush.barriers == Barriers::Usual { "st" } else { "" };
        self.s.dsb(&format!("{domain}{kind}"));
        self.mark(mark);
    }

    fn tlbi(&mut self, flush: Flush, base: &str, mark: Option<Mark>) {
        let suffix = if self.is_outer(flush) { "os" } else { "is" };
        self.s.tlbi(&format!("{base}{suffix}"));
        self.mark(mark);
    }

    fn flush_each(&mut self, flush: Flush, gone: &[Gone]) {
        let suffix = if self.is_outer(flush) { "os" } else { "is" };
        let form = if flush.is_leaf_form { "l" } else { "" };
        for gone in gone {
            let is_hinted = flush.is_hinted && self.machine().ttl;
            let xt = if is_hinted { hinted(gone.ipa, gone.level.into()) } else { gone.ipa >> 12 };
            self.s.tlbi_xt(&format!("ipas2{form}e1{suffix}"), xt);
            self.mark(gone.is_cached.then_some(Mark::Stage2));
        }
    }

    /// One range from the first to the last, rounded up to what a range can be.
    fn flush_range(&mut self, flush: Flush, gone: &[Gone], matters: bool) {
        let Some(start) = gone.iter().map(|gone| gone.ipa).min() else { return };
        let end = gone.iter().map(|gone| gone.ipa + span(gone.level)).max().unwrap_or(start);
        let suffix = if self.is_outer(flush) { "os" } else { "is" };
        let form = if flush.is_leaf_form { "l" } else { "" };
        let range = smallest((end - start) / PAGE, start);
        let is_alike = gone.iter().all(|other| other.level == gone[0].level);
        let level = if flush.is_hinted && is_alike { gone[0].level } else { 0 };
        self.s.tlbi_xt(&format!("ripas2{form}e1{suffix}"), Range { level: level.into(), ..range }.operand());
        self.mark(matters.then_some(Mark::Stage2));
    }
}

/// Returns a range of at least so many pages, with the least SCALE that can say it.
fn smallest(pages: u64, ipa: u64) -> Range {
    let scale = (0..4).find(|scale| pages <= 32 << (5 * scale + 1)).unwrap_or(3);
    let times = pages.div_ceil(1 << (5 * scale + 1));
    Range { ipa, times, scale, level: 0 }
}
