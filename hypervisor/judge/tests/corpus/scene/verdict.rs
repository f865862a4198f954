//! What the judge says of a trace, and whether that is right.

use judge::{Found, judge};

use super::Scene;

/// All that the judge found in a trace.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) violations: Vec<Found>,
    pub(crate) warnings: Vec<Found>,
}

impl Judged {
    fn lines(&self) -> String {
        let all = self.violations.iter().chain(&self.warnings);
        all.map(|found| format!("line {}: {}: {}\n", found.line, found.rule, found.text)).collect()
    }
}

/// Has a trace judged.
pub(crate) fn judged(text: &str) -> Judged {
    let mut all = Vec::new();
    let summary = judge(text.as_bytes(), |found| all.push(found.clone()));
    let summary = summary.unwrap_or_else(|error| panic!("line {} is not read: {}\n{text}", error.line, error.why));
    let (warnings, violations): (Vec<_>, Vec<_>) = all.into_iter().partition(|found| found.is_warning);
    let counts = (violations.len() as u64, warnings.len() as u64);
    assert_eq!((summary.violations, summary.warnings), counts, "what is counted is not what was told");
    Judged { violations, warnings }
}

impl Scene {
    /// Asserts that there is nothing to find.
    #[track_caller]
    pub(crate) fn passes(&self) {
        let judged = judged(&self.text());
        let is_silent = judged.violations.is_empty() && judged.warnings.is_empty();
        assert!(is_silent, "the trace is right, but:\n{}\n{}", judged.lines(), self.numbered());
    }

    /// Asserts that at the first line where something is wrong it is against one of the rules, and that it is explained.
    #[track_caller]
    pub(crate) fn fails(&self, rules: &[&str]) {
        let judged = judged(&self.text());
        let Some(first) = judged.violations.first() else {
            panic!("the trace is wrong by {rules:?}, but:\n{}no violation\n{}", judged.lines(), self.numbered());
        };
        let mut at_first = judged.violations.iter().filter(|found| found.line == first.line);
        let is_right = at_first.any(|found| rules.contains(&found.rule));
        assert!(is_right, "the trace is wrong by {rules:?}, but:\n{}\n{}", judged.lines(), self.numbered());
        assert!(first.explanation.lines().count() >= 2, "{} is not explained: {:?}", first.rule, first.explanation);
        assert!((first.line as usize) <= self.lines.len() && first.line > 0, "there is no line {}", first.line);
    }

    /// Asserts that nothing is wrong, and that one of the rules has a warning.
    #[track_caller]
    pub(crate) fn warns(&self, rules: &[&str]) {
        let judged = judged(&self.text());
        let is_right = judged.violations.is_empty() && judged.warnings.iter().any(|found| rules.contains(&found.rule));
        assert!(is_right, "the trace asks for a warning by {rules:?}, but:\n{}\n{}", judged.lines(), self.numbered());
    }

    /// Asserts that one of the rules is named, as a violation or as a warning: the documents leave open how grave it is.
    #[track_caller]
    pub(crate) fn reports(&self, rules: &[&str]) {
        let judged = judged(&self.text());
        let mut found = judged.violations.iter().chain(&judged.warnings);
        let is_right = found.any(|found| rules.contains(&found.rule));
        assert!(is_right, "the trace is against {rules:?}, but:\n{}\n{}", judged.lines(), self.numbered());
    }

    fn numbered(&self) -> String {
        let lines = self.lines.iter().enumerate();
        lines.map(|(number, line)| format!("{:4} {line}\n", number + 1)).collect()
    }
}
