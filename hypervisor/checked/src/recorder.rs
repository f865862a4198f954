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
}

impl Recorder {
    /// Returns a recorder that gathers as much as the buffer holds before it sends it.
    pub fn new(buffer: &'static mut [u8], channel: &'static mut dyn Channel) -> Self {
        Self { buffer, used: 0, channel, recorded: 0 }
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
        match self.buffer.get(..used) {
            Some(waiting) if used > 0 => self.channel.send(waiting),
            _ => Ok(()),
        }
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
