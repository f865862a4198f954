//! What becomes of the tables' memory, as columns of numbers that JavaScript can hold: a descriptor of 64 bits is more than
//! it counts to, so each is taken apart into its output address and the rest, of which there are few.
//!
//! The rest is decoded leniently, by the architecture alone: `vmsa` reads what Stagecraft writes, and a trace may be of any
//! hypervisor.

use std::collections::BTreeMap;

use oracle::Event;
use serde::Serialize;

const OUTPUT_MASK: u64 = 0x0000_ffff_ffff_f000;
const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const READ: u64 = 1 << 6;
const WRITE: u64 = 1 << 7;
const ACCESS_FLAG: u64 = 1 << 10;
const DIRTY_BIT_MODIFIER: u64 = 1 << 51;
const CONTIGUOUS: u64 = 1 << 52;
const XN_SHIFT: u32 = 53;
const MEM_ATTR_SHIFT: u32 = 2;

/// What a descriptor says besides where it leads.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(super) struct Word {
    /// The hardware may use it.
    valid: bool,
    /// At level 3 it is a page, above a table; else it is a block, or means nothing.
    table: bool,
    /// What the guest may do, as letters.
    rights: String,
    /// It is one of a group of 16.
    contiguous: bool,
    /// The memory's type, and what else is worth a word.
    says: Vec<String>,
}

/// Descriptors that changed.
#[derive(Debug, Default, Serialize)]
struct Stores {
    event: Vec<usize>,
    slot: Vec<u64>,
    output: Vec<u64>,
    word: Vec<usize>,
}

/// Frames that were zeroed.
#[derive(Debug, Default, Serialize)]
struct Zeros {
    event: Vec<usize>,
    first: Vec<u64>,
    pages: Vec<u64>,
}

/// All that was written to the tables.
#[derive(Debug, Default, Serialize)]
pub(super) struct Memory {
    stores: Stores,
    zeros: Zeros,
    words: Vec<Word>,
    #[serde(skip)]
    known: BTreeMap<(u64, bool), usize>,
}

impl Memory {
    /// Takes the event of that number, which happens while stage 2 forces write-back or does not.
    pub(super) fn see(&mut self, number: usize, event: &Event, forces_write_back: bool) {
        match *event {
            Event::Store { slot, new, .. } | Event::HardwareUpdate { slot, new, .. } => {
                let word = self.word(new & !OUTPUT_MASK, forces_write_back);
                self.stores.event.push(number);
                self.stores.slot.push(slot.0);
                self.stores.output.push(new & OUTPUT_MASK);
                self.stores.word.push(word);
            }
            Event::Zero(frames) => {
                self.zeros.event.push(number);
                self.zeros.first.push(frames.first.0);
                self.zeros.pages.push(frames.pages);
            }
            _ => {}
        }
    }

    fn word(&mut self, raw: u64, forces_write_back: bool) -> usize {
        let words = &mut self.words;
        *self.known.entry((raw, forces_write_back)).or_insert_with(|| {
            words.push(Word::decode(raw, forces_write_back));
            words.len() - 1
        })
    }
}

impl Word {
    fn decode(raw: u64, forces_write_back: bool) -> Self {
        let has = |bit| raw & bit != 0;
        let execute = raw >> XN_SHIFT & 0b11;
        let letter = |is_allowed, letter| if is_allowed { letter } else { '-' };
        let rights = [letter(has(READ), 'r'), letter(has(WRITE), 'w'), letter(execute != 0b10, 'x')];
        let mut says = vec![memory_type(raw >> MEM_ATTR_SHIFT & 0xf, forces_write_back)];
        says.extend(execute_limit(execute).map(String::from));
        says.extend((!has(ACCESS_FLAG)).then(|| "access flag clear".into()));
        says.extend(has(DIRTY_BIT_MODIFIER).then(|| "dirty state by hardware".into()));
        Self {
            valid: has(VALID),
            table: has(TABLE_OR_PAGE),
            rights: rights.iter().collect(),
            contiguous: has(CONTIGUOUS),
            says,
        }
    }
}

/// XN\[1:0\] of FEAT_XNX: who may fetch, where it is neither both levels nor none.
const fn execute_limit(execute: u64) -> Option<&'static str> {
    match execute {
        0b01 => Some("x at EL0 only"),
        0b11 => Some("x at EL1 only"),
        _ => None,
    }
}

/// MemAttr\[3:0\]: DDI 0487, D8.6 "Stage 2 memory region type and cacheability attributes".
fn memory_type(mem_attr: u64, forces_write_back: bool) -> String {
    match (mem_attr, forces_write_back) {
        (0b1111, false) | (0b0110, true) => "write-back".into(),
        (0b0101, _) => "non-cacheable".into(),
        (0b0111, true) => "as stage 1 says".into(),
        (0b0000..=0b0011, _) => "device".into(),
        _ => format!("MemAttr {mem_attr:#06b}"),
    }
}

#[cfg(test)]
mod tests {
    use oracle::{Frames, Order};
    use vmsa::Hpa;

    use super::*;

    fn store(slot: u64, new: u64) -> Event {
        Event::Store { slot: Hpa(slot), new, order: Order::Plain, old: None }
    }

    #[test]
    fn descriptors_that_differ_in_their_output_alone_share_a_word() {
        let mut memory = Memory::default();
        for (number, raw) in [0x40_0000_4800_07db, 0x40_0000_4800_17db, 0x40_0000_4800_175b].into_iter().enumerate() {
            memory.see(number, &store(0x4010_4000, raw), true);
        }
        assert_eq!(memory.stores.word, [0, 0, 1]);
        assert_eq!(memory.stores.output, [0x4800_0000, 0x4800_1000, 0x4800_1000]);
        assert_eq!([&memory.words[0].rights, &memory.words[1].rights], ["rw-", "r--"]);
        assert_eq!(memory.words[0].says, ["write-back"]);
    }

    #[test]
    fn words_say_what_their_bits_mean() {
        let says = |raw| Word::decode(raw, false);
        assert!(!says(0x7fe).valid && says(0x7fe).table);
        assert!(says(0x10_0000_0000_07ff).contiguous);
        assert_eq!(
            says(0x28_0000_0000_03fd).says,
            ["write-back", "x at EL0 only", "access flag clear", "dirty state by hardware"]
        );
        assert_eq!(says(0x7c5).rights, "rwx");
        assert_eq!(says(0x7c5).says, ["device"]);
        assert_eq!(says(0x7dd).says, ["MemAttr 0b0111"]);
    }

    #[test]
    fn frames_are_emptied_by_zeros() {
        let mut memory = Memory::default();
        memory.see(7, &Event::Zero(Frames::new(Hpa(0x4010_0000), 2)), false);
        assert_eq!((memory.zeros.event[0], memory.zeros.first[0], memory.zeros.pages[0]), (7, 0x4010_0000, 2));
    }
}
