//! The last events, for whoever asks how it came to this.

use core::fmt;

use crate::event::Event;
use crate::text::Printed;

/// How many are kept.
const KEPT: usize = 32;

/// The last events.
#[derive(Debug)]
pub(crate) struct History {
    events: [Option<Printed>; KEPT],
    count: usize,
}

impl History {
    pub(crate) const fn new() -> Self {
        Self { events: [None; KEPT], count: 0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, cpu: usize, event: &Event) {
        self.events[self.count % KEPT] = Some(Printed { cpu, event: *event });
        self.count += 1;
    }

    /// Returns the events, the latest last, each with its number from 1.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Printed)> {
        let first = self.count.saturating_sub(KEPT);
        (first..self.count).filter_map(|number| Some((number + 1, self.events[number % KEPT].as_ref()?)))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(number, event)| writeln!(f, "  {number}: {event}"))
    }
}
