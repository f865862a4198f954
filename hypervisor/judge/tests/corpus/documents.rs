//! What the documents say of themselves is so.

use crate::scene::judged;

const RULES: &str = include_str!("../../../oracle/RULES.md");
const TRACE: &str = include_str!("../../../oracle/TRACE.md");

/// The rules in their order.
fn labels() -> Vec<String> {
    let with = |number: u32| match number {
        5 => vec!["R5", "R5a", "R5b"],
        27 => vec!["R27", "R27a", "R27b", "R27c", "R27d", "R27e", "R27f"],
        29 => vec!["R29", "R29a"],
        33 => vec!["R33", "R33a"],
        _ => vec![],
    };
    let named = |number| match with(number) {
        letters if letters.is_empty() => vec![format!("R{number}")],
        letters => letters.into_iter().map(String::from).collect(),
    };
    (1..=53).flat_map(named).collect()
}

fn sections() -> Vec<(&'static str, &'static str)> {
    RULES.split("\n### ").skip(1).filter_map(|section| section.split_once(':')).collect()
}

#[test]
fn every_rule_has_a_section_in_its_place() {
    let found: Vec<_> = sections().into_iter().map(|(label, _)| label).collect();
    assert_eq!(found, labels());
}

#[test]
fn every_section_says_when_and_whence_and_shows_both_shapes() {
    for (label, section) in sections() {
        for part in ["*Checked* ", "*Source:*", "\n- fails: ", "\n- passes: "] {
            assert!(section.contains(part), "{label} lacks {part:?}");
        }
    }
}

#[test]
fn the_example_of_a_trace_is_one_that_is_right() {
    let example = TRACE.split("```").nth(1).expect("there is an example");
    let judged = judged(example.trim_start());
    assert!(judged.violations.is_empty() && judged.warnings.is_empty(), "{judged:?}");
}
