//! The serial line, which the hypervisor's log and the guest's console share.
//!
//! A log record is the byte 0x1e, the text `[LEVEL] target: message` and the byte 0x0a. All else is the guest's, byte for byte,
//! but for 0x10 before each 0x10 and 0x1e of its.

use core::fmt::{self, Write};

use log::Level;

const RECORD_START: u8 = 0x1e;
const RECORD_END: u8 = b'\n';
const ESCAPE: u8 = 0x10;

/// Something that takes bytes, one after the other.
pub trait Line {
    /// Sends a byte.
    fn send(&mut self, byte: u8);
}

/// Sends a record of the log. Each line of a message becomes a record of its own.
pub fn send_record(line: &mut impl Line, level: Level, target: &str, message: fmt::Arguments<'_>) {
    let mut record = Record { line, level, target };
    record.start();
    // The writer has no errors of its own; one of a `Display` leaves a record cut short, which is still a record.
    let _ = record.write_fmt(message);
    record.end();
}

/// Sends what the guest writes to its console.
pub fn send_console(line: &mut impl Line, bytes: &[u8]) {
    for &byte in bytes {
        if matches!(byte, RECORD_START | ESCAPE) {
            line.send(ESCAPE);
        }
        line.send(byte);
    }
}

struct Record<'a, L> {
    line: &'a mut L,
    level: Level,
    target: &'a str,
}

impl<L: Line> Record<'_, L> {
    fn start(&mut self) {
        let (level, target) = (self.level, self.target);
        self.line.send(RECORD_START);
        let _ = write!(self, "[{level}] {target}: ");
    }

    fn end(&mut self) {
        self.line.send(RECORD_END);
    }
}

impl<L: Line> Write for Record<'_, L> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'\n' => {
                    self.end();
                    self.start();
                }
                // A guest's words can be in a message: they may not confuse a terminal.
                0..b' ' => self.line.send(b'?'),
                _ => self.line.send(byte),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    impl Line for Vec<u8> {
        fn send(&mut self, byte: u8) {
            self.push(byte);
        }
    }

    #[test]
    fn a_record_is_framed_and_each_line_is_one() {
        let mut line = Vec::new();
        send_record(&mut line, Level::Warn, "vm", format_args!("{}\nof it{}", "two", "\x1e"));
        assert_eq!(line, b"\x1e[WARN] vm: two\n\x1e[WARN] vm: of it?\n");
    }

    #[test]
    fn the_guests_bytes_are_escaped_only_where_they_mean_something() {
        let mut line = Vec::new();
        send_console(&mut line, b"a\r\n\0\x10b\x1e\xff");
        assert_eq!(line, b"a\r\n\0\x10\x10b\x10\x1e\xff");
    }
}
