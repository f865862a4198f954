//! Whole products of steps, each judged and compared with a reference.
//!
//! A reference is a statement of what suffices, over all the steps at once and for this one scene: it keeps no state, follows no
//! events, and so has nothing in common with how the judge comes to its verdict. Where the rules can be read in two ways the
//! reference says nothing, and the case is left out.

mod publication;
mod ranges;
mod replaced;
mod sequence;

use crate::scene::judged;

/// What a reference says of a trace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Right,
    /// Against one of the rules.
    Wrong(Vec<&'static str>),
    /// It depends on how the rules are read.
    Open,
}

/// Compares the judge with a reference over many traces, and tells of the first that differ.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    right: usize,
    wrong: usize,
    differences: usize,
    told: Vec<String>,
}

impl Comparison {
    pub(crate) fn add(&mut self, name: &str, text: &str, verdict: &Verdict) {
        let complaint = match verdict {
            Verdict::Open => return,
            Verdict::Right => self.expect_right(text),
            Verdict::Wrong(rules) => self.expect_wrong(text, rules),
        };
        if let Some(complaint) = complaint {
            self.differences += 1;
            if self.told.len() < 12 {
                self.told.push(format!("{name}: {complaint}"));
            }
        }
    }

    fn expect_right(&mut self, text: &str) -> Option<String> {
        self.right += 1;
        let found = judged(text).violations;
        found.first().map(|found| format!("it is right, and not {}: line {}: {}", found.rule, found.line, found.text))
    }

    fn expect_wrong(&mut self, text: &str, rules: &[&str]) -> Option<String> {
        self.wrong += 1;
        let found = judged(text).violations;
        let Some(first) = found.first() else { return Some(format!("it is wrong by {rules:?}, and passes")) };
        let mut at_first = found.iter().filter(|found| found.line == first.line);
        let is_named = at_first.any(|found| rules.contains(&found.rule));
        (!is_named).then(|| format!("it is wrong by {rules:?}, and not by {}: {}", first.rule, first.text))
    }

    /// Asserts that there was no difference, and that there was something to compare of either kind.
    #[track_caller]
    pub(crate) fn conclude(&self) {
        let (right, wrong) = (self.right, self.wrong);
        println!("{right} traces that are right, {wrong} that are wrong");
        let told = self.told.join("\n");
        assert_eq!(self.differences, 0, "of {} traces these are judged otherwise:\n{told}", right + wrong);
        assert!(right > 0 && wrong > 0, "{right} right and {wrong} wrong are no comparison");
    }
}
