//! The console: `debug_write` behind a buffer that gathers the pieces of what is printed.

use core::fmt::{self, Arguments, Write};

/// Bytes on their way to the console, each passed on as it is. What is left goes out when the value is dropped.
///
/// The buffer lives no longer than one `print!`, so that it needs no lock, and a panic finds nothing held back.
#[derive(Debug)]
pub struct Console {
    bytes: [u8; 256],
    len_bytes: usize,
}

impl Console {
    /// Returns a console with nothing gathered.
    pub const fn new() -> Self {
        Self { bytes: [0; 256], len_bytes: 0 }
    }

    fn push(&mut self, byte: u8) {
        if self.len_bytes == self.bytes.len() {
            self.flush();
        }
        self.bytes[self.len_bytes] = byte;
        self.len_bytes += 1;
    }

    fn flush(&mut self) {
        // There is nobody to tell that the console is gone.
        let _ = zx::debug_write(&self.bytes[..self.len_bytes]);
        self.len_bytes = 0;
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Prints what [`crate::print!`] was given.
pub fn write_fmt(arguments: Arguments<'_>) {
    // Only the value that is printed can fail, and what it had to say until then is printed.
    let _ = Console::new().write_fmt(arguments);
}
