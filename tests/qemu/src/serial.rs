use std::io::{self, Write};

/// Starts a record of the hypervisor's log.
const LOG_START: u8 = 0x1e;
/// Ends a record of the hypervisor's log.
const LOG_END: u8 = b'\n';
/// Says that the byte after it is the guest's, whatever it is.
const ESCAPE: u8 = 0x10;

/// Takes the serial line apart into the guest's console and the hypervisor's log.
///
/// Both share one UART. A log record is what lies between 0x1e and the next 0x0a; all else is the guest's, where 0x10
/// stands before a byte of the guest's that would otherwise mean something here.
#[derive(Debug, Default)]
pub struct Demux {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Console,
    Escaped,
    Log,
}

impl Demux {
    /// Passes on what came next, at once and byte for byte.
    ///
    /// # Errors
    ///
    /// Those of the two writers.
    pub fn feed(&mut self, bytes: &[u8], console: &mut dyn Write, log: &mut dyn Write) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match self.state {
                State::Console => self.feed_console(rest, console)?,
                State::Escaped => self.feed_escaped(rest, console)?,
                State::Log => self.feed_log(rest, log)?,
            };
            rest = &rest[used..];
        }
        console.flush()?;
        log.flush()
    }

    fn feed_console(&mut self, bytes: &[u8], console: &mut dyn Write) -> io::Result<usize> {
        let plain = bytes.iter().position(|byte| matches!(*byte, LOG_START | ESCAPE)).unwrap_or(bytes.len());
        console.write_all(&bytes[..plain])?;
        let Some(&control) = bytes.get(plain) else { return Ok(plain) };
        self.state = if control == ESCAPE { State::Escaped } else { State::Log };
        Ok(plain + 1)
    }

    fn feed_escaped(&mut self, bytes: &[u8], console: &mut dyn Write) -> io::Result<usize> {
        console.write_all(&bytes[..1])?;
        self.state = State::Console;
        Ok(1)
    }

    fn feed_log(&mut self, bytes: &[u8], log: &mut dyn Write) -> io::Result<usize> {
        let end = bytes.iter().position(|byte| *byte == LOG_END);
        let used = end.map_or(bytes.len(), |end| end + 1);
        log.write_all(&bytes[..used])?;
        if end.is_some() {
            self.state = State::Console;
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"a\r\n\x1e[warn] one\nb\x10\x10c\x10\x1ed\x1e\x10\x1e two\n\x1e\nno newline";
    const CONSOLE: &[u8] = b"a\r\nb\x10c\x1edno newline";
    const LOG: &[u8] = b"[warn] one\n\x10\x1e two\n\n";

    fn demultiplex(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let (mut demux, mut console, mut log) = (Demux::default(), Vec::new(), Vec::new());
        for piece in pieces {
            demux.feed(piece, &mut console, &mut log).unwrap();
        }
        (console, log)
    }

    #[test]
    fn console_and_log_come_apart_wherever_the_stream_is_split() {
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let pieces = [&STREAM[..first], &STREAM[first..second], &STREAM[second..]];
                assert_eq!(demultiplex(&pieces), (CONSOLE.to_vec(), LOG.to_vec()), "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn every_byte_of_the_guest_comes_through_escaped_or_not() {
        for byte in 0..=u8::MAX {
            assert_eq!(demultiplex(&[&[ESCAPE, byte]]).0, [byte]);
            if !matches!(byte, LOG_START | ESCAPE) {
                assert_eq!(demultiplex(&[&[byte]]).0, [byte]);
            }
        }
    }

    #[test]
    fn what_came_is_passed_on_before_its_line_ends() {
        assert_eq!(demultiplex(&[b"prompt> "]), (b"prompt> ".to_vec(), Vec::new()));
        assert_eq!(demultiplex(&[b"\x1ehalf a rec"]), (Vec::new(), b"half a rec".to_vec()));
    }

    #[test]
    fn a_writer_that_fails_is_reported() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let failed = Demux::default().feed(b"x", &mut Closed, &mut Vec::new());
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
