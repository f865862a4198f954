//! What is not about memory: the console, time.

use abi::Status;

use super::{Caller, Reply};
use crate::Machine;
use crate::user;

/// How many bytes are copied at a time.
const BATCH: usize = 256;

impl<M: Machine> Caller<'_, M> {
    /// debug_write(buf, len).
    pub(super) fn debug_write(&self) -> Result<Reply, Status> {
        let (buffer, len) = (self.arg(0), self.arg(1));
        let buffer = user::Reader::new(self.system, self.id, buffer, len)?;
        let mut bytes = [0; BATCH];
        let mut offset = 0;
        while offset < len {
            let part = &mut bytes[..(len - offset).min(BATCH as u64) as usize];
            buffer.read(offset, part)?;
            self.system.machine.console_write(part);
            offset += part.len() as u64;
        }
        Ok(Reply::DONE)
    }

    /// debug_read(buf, len): what waits now, which may be nothing.
    pub(super) fn debug_read(&self) -> Result<Reply, Status> {
        let (buffer, len) = (self.arg(0), self.arg(1));
        let most = len.min(BATCH as u64);
        let buffer = user::Writer::new(self.system, self.id, buffer, len, most)?;
        let mut bytes = [0; BATCH];
        let read = self.system.machine.console_read(&mut bytes[..most as usize]);
        buffer.write(0, &bytes[..read])?;
        Ok(Reply::one(read as u64))
    }

    /// clock_get_monotonic(): x1 nanoseconds.
    pub(super) fn clock_get_monotonic(&self) -> Result<Reply, Status> {
        Ok(Reply::one(self.system.machine.now_ns()))
    }

    /// nanosleep(deadline): a time that is past, or negative, is no wait.
    pub(super) fn nanosleep(&self) -> Result<Reply, Status> {
        let deadline = self.arg(0) as i64;
        while (self.system.machine.now_ns() as i64) < deadline {
            self.system.machine.relax();
        }
        Ok(Reply::DONE)
    }

    /// yield().
    pub(super) fn yield_now(&self) -> Result<Reply, Status> {
        self.system.machine.relax();
        Ok(Reply::DONE)
    }
}
