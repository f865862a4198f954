//! A program that is followed line by line, and ended at its time limit.

use std::io::{self, BufRead, BufReader, PipeReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a program with nothing on its input, and shows `listen` each line of its output and its errors as it comes.
///
/// # Errors
///
/// It cannot be started, or ran for `limit` and was ended, which the message says with its name.
pub(super) fn follow(mut command: Command, limit: Duration, mut listen: impl FnMut(&str)) -> Result<ExitStatus> {
    let name = command.get_program().display().to_string();
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
    // It holds the pipe's other end, which would never close.
    drop(command);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || read_lines(reader, &sender));
    let deadline = Instant::now() + limit;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => listen(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?),
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                bail!("{name} was ended: it had not finished after {} s", limit.as_secs());
            }
        }
    }
}

fn read_lines(reader: PipeReader, sender: &Sender<String>) {
    let lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
    // Nobody listens any more where this fails.
    let _ =
        lines.map(|line| String::from_utf8_lossy(&line).trim_end().to_string()).try_for_each(|line| sender.send(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Result<ExitStatus>, Vec<String>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let ended = follow(command, limit, |line| lines.push(line.into()));
        (ended, lines)
    }

    #[test]
    fn output_and_errors_come_line_by_line_with_the_exit_status() {
        let (ended, lines) = shell(r"printf 'one\r\ntwo\n'; echo three >&2; exit 3", Duration::from_secs(60));
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(ended.unwrap().code(), Some(3));
    }

    #[test]
    fn what_does_not_end_is_ended_and_named() {
        let (ended, lines) = shell("echo early; exec sleep 600", Duration::from_millis(300));
        assert_eq!(lines, ["early"]);
        assert!(ended.unwrap_err().to_string().starts_with("sh was ended"));
    }
}
