//! Taking a stream of bytes apart into lines.

use std::io::{self, Write};

/// Hands on each line as soon as it is whole.
pub(crate) struct Lines<F> {
    rest: Vec<u8>,
    each: F,
}

impl<F: FnMut(&str)> Lines<F> {
    pub(crate) fn new(each: F) -> Self {
        Self { rest: Vec::new(), each }
    }

    fn hand_on(&mut self, line: &[u8]) {
        (self.each)(String::from_utf8_lossy(line).trim_end_matches('\r'));
    }
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&left[..end], &left[end + 1..]);
            if self.rest.is_empty() {
                self.hand_on(line);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend(line);
                self.hand_on(&whole);
            }
            left = after;
        }
        self.rest.extend(left);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_the_stream_is_cut() {
        let stream = b"one\r\n\ntwo and more\nnot ended";
        for cut in 0..=stream.len() {
            let mut seen = Vec::new();
            let mut lines = Lines::new(|line: &str| seen.push(line.to_owned()));
            lines.write_all(&stream[..cut]).unwrap();
            lines.write_all(&stream[cut..]).unwrap();
            assert_eq!(seen, ["one", "", "two and more"], "cut at {cut}");
        }
    }
}
