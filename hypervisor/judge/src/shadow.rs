//! What the tables of a trace say: every word that was written and not given back.

use std::collections::HashMap;

use oracle::{Event, Frames};
use vmsa::Hpa;

/// The words of a frame.
type Words = Box<[u64; 512]>;

/// Tables, by frame. What was never written reads as zero.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    tables: HashMap<u64, Words>,
}

impl Shadow {
    pub(crate) fn tables(&self) -> u64 {
        self.tables.len() as u64
    }

    pub(crate) fn read(&self, slot: Hpa) -> u64 {
        self.tables.get(&slot.page_number()).map_or(0, |words| words[(slot.0 % 4096 / 8) as usize])
    }

    /// Takes note of what an event changes.
    pub(crate) fn follow(&mut self, event: &Event) {
        match *event {
            Event::Store { slot, new, .. } | Event::HardwareUpdate { slot, new, .. } => self.write(slot, new),
            Event::Zero(frames) | Event::Free(frames) => self.forget(frames),
            _ => {}
        }
    }

    fn write(&mut self, slot: Hpa, word: u64) {
        let index = (slot.0 % 4096 / 8) as usize;
        match self.tables.get_mut(&slot.page_number()) {
            Some(words) => words[index] = word,
            None if word == 0 => {}
            None => {
                let mut words = Box::new([0; 512]);
                words[index] = word;
                self.tables.insert(slot.page_number(), words);
            }
        }
    }

    fn forget(&mut self, frames: Frames) {
        let numbers = frames.first.page_number()..frames.end().page_number();
        if frames.pages > self.tables.len() as u64 {
            self.tables.retain(|number, _| !numbers.contains(number));
        } else {
            numbers.for_each(|number| _ = self.tables.remove(&number));
        }
    }
}
