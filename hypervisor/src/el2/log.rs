//! The log, over the serial line.

use hypervisor::wire::send_record;
use log::{LevelFilter, Log, Metadata, Record};

use crate::arch::with_port;

struct SerialLog;

impl Log for SerialLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        with_port(|port| send_record(port, record.level(), record.target(), *record.args()));
    }

    fn flush(&self) {}
}

/// Starts to log, as much as is asked for.
pub(super) fn start(level: LevelFilter) {
    // It fails only where it was done before.
    let _ = log::set_logger(&SerialLog);
    log::set_max_level(level);
}
