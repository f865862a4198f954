//! Programs of which lines are lost, doubled, exchanged, or say something else: whatever that means, the judge survives it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What becomes of a line.
#[derive(Clone, Debug)]
pub(super) enum Mangle {
    Lose(Index),
    Double(Index),
    Exchange(Index, Index),
    /// Another number for one of its fields.
    Number(Index, Index, u64),
    /// It is another CPU's.
    Move(Index, u8),
}

pub(super) fn mangles() -> impl Strategy<Value = Vec<Mangle>> {
    let number = prop_oneof![any::<u64>(), 0..8u64, (0..64u32).prop_map(|bit| 1 << bit)];
    let mangle = prop_oneof![
        any::<Index>().prop_map(Mangle::Lose),
        any::<Index>().prop_map(Mangle::Double),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Mangle::Exchange(one, other)),
        (any::<Index>(), any::<Index>(), number).prop_map(|(line, field, value)| Mangle::Number(line, field, value)),
        (any::<Index>(), 0..3u8).prop_map(|(line, cpu)| Mangle::Move(line, cpu)),
    ];
    vec(mangle, 1..12)
}

impl Mangle {
    /// Does it to some line but the first, which is the machine's.
    pub(super) fn apply(&self, lines: &mut Vec<String>) {
        let last = lines.len() - 1;
        let at = |index: &Index| 1 + index.index(last);
        match self {
            _ if last < 2 => {}
            Self::Lose(line) => _ = lines.remove(at(line)),
            Self::Double(line) => lines.insert(at(line), lines[at(line)].clone()),
            Self::Exchange(one, other) => lines.swap(at(one), at(other)),
            Self::Number(line, field, value) => lines[at(line)] = with_number(&lines[at(line)], *field, *value),
            Self::Move(line, cpu) => {
                let line = &mut lines[at(line)];
                let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
                *line = format!("cpu={cpu:#x} {rest}");
            }
        }
    }
}

/// Puts a number in place of another one, with the low bits that make it an address of a page or of an entry.
fn with_number(line: &str, field: Index, value: u64) -> String {
    let mut words: Vec<_> = line.split(' ').map(String::from).collect();
    let numbers: Vec<_> = (0..words.len()).filter(|at| words[*at].contains("=0x")).collect();
    if !numbers.is_empty() {
        let word = &mut words[numbers[field.index(numbers.len())]];
        let key = word.split('=').next().unwrap_or_default();
        let value = if key == "pa" { value & 0xffff_ffff_f000 } else { value };
        *word = format!("{key}={value:#x}");
    }
    words.join(" ")
}
