//! The trace: every event as a line of text, by way of a buffer of a fixed size that is sent on whenever it is full.

use core::fmt::{self, Write};

use oracle::text::Printed;
use oracle::{Event, Machine};

/// Where a trace goes.
pub trait Channel: Send {
    /// Sends bytes, and waits until all of them are out of this program's hands.
    ///
    /// # Errors
    ///
    /// They cannot be sent.
    fn send(&mut self, bytes: &[u8]) -> Result<(), ChannelFailed>;
}

/// A channel takes no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChannelFailed;

/// What writes a trace. Nothing is left out: who records an event waits until there is room for it.
pub struct Recorder {
    buffer: &'static mut [u8],
    used: usize,
    channel: &'static mut dyn Channel,
    recorded: u64,
    /// Something was lost: from then on nothing is right any more.
    is_cut: bool,
}

impl Recorder {
    /// Returns a recorder that gathers as much as the buffer holds before it sends it.
    pub fn new(buffer: &'static mut [u8], channel: &'static mut dyn Channel) -> Self {
        Self { buffer, used: 0, channel, recorded: 0, is_cut: false }
    }

    /// Writes the first line.
    pub(crate) fn begin(&mut self, machine: &Machine) -> Result<(), ChannelFailed> {
        writeln!(self, "{machine}").map_err(|_| ChannelFailed)
    }

    /// Writes an event.
    pub(crate) fn record(&mut self, cpu: usize, event: &Event) -> Result<(), ChannelFailed> {
        writeln!(self, "{}", Printed { cpu, event: *event }).map_err(|_| ChannelFailed)?;
        self.recorded += 1;
        Ok(())
    }

    /// Writes the last line, a comment that tells how many events there are; sends what is left; returns that number. A trace
    /// without that line is cut short.
    pub(crate) fn end(&mut self) -> Result<u64, ChannelFailed> {
        let recorded = self.recorded;
        writeln!(self, "# {recorded} events").map_err(|_| ChannelFailed)?;
        self.flush()?;
        Ok(recorded)
    }

    fn flush(&mut self) -> Result<(), ChannelFailed> {
        let used = core::mem::take(&mut self.used);
        let waiting = self.buffer.get(..used).filter(|waiting| !waiting.is_empty());
        self.is_cut |= waiting.is_some_and(|waiting| self.channel.send(waiting).is_err());
        if self.is_cut { Err(ChannelFailed) } else { Ok(()) }
    }
}

impl Write for Recorder {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.used == self.buffer.len() {
                self.flush().map_err(|ChannelFailed| fmt::Error)?;
            }
            let room = &mut self.buffer[self.used..];
            let (now, later) = rest.split_at(rest.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.used += now.len();
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::boxed::Box;
    use std::string::String;
    use std::sync::{Arc, Mutex};
    use std::vec;

    use oracle::text::{Line, parse};

    use super::*;

    /// A channel that takes so many bytes.
    struct Limited(Arc<Mutex<String>>, usize);

    impl Channel for Limited {
        fn send(&mut self, bytes: &[u8]) -> Result<(), ChannelFailed> {
            self.1 = self.1.checked_sub(bytes.len()).ok_or(ChannelFailed)?;
            self.0.lock().unwrap().push_str(core::str::from_utf8(bytes).unwrap());
            Ok(())
        }
    }

    fn recorder(buffer_bytes: usize, limit_bytes: usize) -> (Recorder, Arc<Mutex<String>>) {
        let sent = Arc::default();
        let channel = Box::leak(Box::new(Limited(Arc::clone(&sent), limit_bytes)));
        (Recorder::new(vec![0; buffer_bytes].leak(), channel), sent)
    }

    #[test]
    fn nothing_is_left_out_whatever_the_buffer_holds() {
        for buffer_bytes in [1, 7, 64, 1 << 16] {
            let (mut recorder, sent) = recorder(buffer_bytes, usize::MAX);
            recorder.begin(&Machine::default()).unwrap();
            (0..100).for_each(|cpu| recorder.record(cpu, &Event::Isb).unwrap());
            assert_eq!(recorder.end(), Ok(100));
            let text = sent.lock().unwrap();
            let events = text.lines().filter_map(|line| match parse(line).unwrap() {
                Line::Event(cpu, Event::Isb) => Some(cpu),
                _ => None,
            });
            assert!(events.eq(0..100), "{buffer_bytes}");
            assert!(text.starts_with("machine ") && text.ends_with("\n# 100 events\n"), "{buffer_bytes}");
        }
    }

    #[test]
    fn a_channel_that_takes_no_more_is_told_of() {
        let (mut recorder, _) = recorder(64, 100);
        let failed = (0..100).position(|cpu| recorder.record(cpu, &Event::Isb).is_err());
        assert!(failed.is_some_and(|event| event > 0));
        assert_eq!(recorder.end(), Err(ChannelFailed));
    }
}
