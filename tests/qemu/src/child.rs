//! A QEMU that runs: following what it says until it ends, and ending it when it must.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Demux;

/// How long QEMU may take to end when it is asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How a machine came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// QEMU exited with this code, which is the VM's where a VM ran.
    Exited(i32),
    /// A signal killed QEMU.
    Killed(i32),
    /// The machine ran for this long, which is all that it had.
    TimedOut(Duration),
}

impl Ended {
    /// Returns the exit code for a program whose whole work the machine was.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code).unwrap_or(1),
            Self::Killed(signal) => u8::try_from(signal).map_or(1, |signal| signal.saturating_add(128)),
            // As timeout(1) has it.
            Self::TimedOut(_) => 124,
        }
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "QEMU exited with {code}"),
            Self::Killed(signal) => write!(f, "signal {signal} killed QEMU"),
            Self::TimedOut(limit) => write!(f, "QEMU was ended at its time limit of {} s", limit.as_secs_f64()),
        }
    }
}

/// Passes on the child's serial line as it comes, until the child ends or its time does.
pub(crate) fn follow(
    child: &mut Child,
    time_limit: Option<Duration>,
    console: &mut (dyn Write + Send),
    log: &mut (dyn Write + Send),
) -> io::Result<Ended> {
    let serial = child.stdout.take().expect("QEMU is started with its output piped");
    thread::scope(|scope| {
        let (sender, silence) = mpsc::channel();
        scope.spawn(move || sender.send(demultiplex(serial, console, log)));
        let heard = match time_limit {
            Some(limit) => silence.recv_timeout(limit),
            None => silence.recv().map_err(RecvTimeoutError::from),
        };
        match (heard, time_limit) {
            (Ok(Ok(())), _) => child.wait().map(Ended::from),
            (Err(RecvTimeoutError::Timeout), Some(limit)) => end(child).map(|()| Ended::TimedOut(limit)),
            (Ok(Err(error)), _) => end(child).and(Err(error)),
            (Err(_), _) => end(child).and(Err(io::Error::other("the serial line's reader died"))),
        }
    })
}

fn demultiplex(mut serial: ChildStdout, console: &mut dyn Write, log: &mut dyn Write) -> io::Result<()> {
    let (mut demux, mut buffer) = (Demux::default(), [0; 4096]);
    loop {
        match serial.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => demux.feed(&buffer[..len], console, log)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Asks first: a QEMU that is killed leaves the terminal as it had set it for itself.
fn end(child: &mut Child) -> io::Result<()> {
    kill_process(Pid::from_child(child), Signal::TERM)?;
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn shell(script: &str, time_limit: Option<Duration>) -> (Ended, Vec<u8>, Vec<u8>) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let (mut console, mut log) = (Vec::new(), Vec::new());
        let ended = follow(&mut child, time_limit, &mut console, &mut log).unwrap();
        (ended, console, log)
    }

    #[test]
    fn output_and_status_are_the_childs() {
        let (ended, console, log) = shell(r"printf 'hello\036logged\nworld'; exit 7", None);
        assert_eq!((ended, ended.code()), (Ended::Exited(7), 7));
        assert_eq!((console.as_slice(), log.as_slice()), (b"helloworld".as_slice(), b"logged\n".as_slice()));
    }

    #[test]
    fn a_child_that_a_signal_killed_does_not_pass_for_success() {
        let (ended, ..) = shell("kill -KILL $$", None);
        assert_eq!((ended, ended.code()), (Ended::Killed(9), 137));
    }

    #[test]
    fn a_child_is_ended_at_its_time_limit_with_what_it_said() {
        let limit = Duration::from_millis(200);
        let (ended, console, _) = shell("printf early; exec sleep 60", Some(limit));
        assert_eq!((ended, console.as_slice()), (Ended::TimedOut(limit), b"early".as_slice()));
        assert_eq!(ended.code(), 124);
    }

    #[test]
    fn a_child_whose_listener_is_gone_is_ended() {
        let mut child =
            Command::new("sh").args(["-c", "echo x; exec sleep 60"]).stdout(Stdio::piped()).spawn().unwrap();
        let (reader, mut gone) = io::pipe().unwrap();
        drop(reader);
        let failed = follow(&mut child, None, &mut gone, &mut Vec::new()).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
        assert!(child.try_wait().unwrap().is_some());
    }
}
