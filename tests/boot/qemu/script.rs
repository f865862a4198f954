//! `scripts/run` itself: what it refuses, and what it passes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::images::Images;
use crate::tour;

/// The exit code for what was asked for wrongly.
const REFUSED: i32 = 2;

/// Wrong options, and a part of the line that says so.
const WRONG_OPTIONS: &[(&str, &[&str], &str)] = &[
    ("unknown", &["--gust", "x"], "--gust"),
    ("without-value", &["--cpu"], "--cpu"),
    ("log", &["--log", "loud"], "error, warn, info, debug, trace"),
    ("smp", &["--smp", "9"], "1..=8"),
    ("memory-malformed", &["--memory", "lots"], "256M"),
    ("memory-too-small", &["--memory", "255M"], "256M to 64G"),
    ("memory-too-large", &["--memory", "65G"], "256M to 64G"),
    ("cpu", &["--cpu", "cortex-a1"], "no CPU model"),
    ("trace", &["--trace", "/nowhere/run.trace"], "/nowhere/run.trace cannot be written"),
    ("trace-no-file", &["--trace", "/dev/full"], "/dev/full is not a file"),
];

type Spoil = fn(Vec<u8>) -> Vec<u8>;

/// Guests that are none, made from one that is, and a part of the line that says so.
const WRONG_GUESTS: &[(&str, Spoil, &str)] = &[
    ("empty", |_| Vec::new(), "is empty"),
    ("text", |_| b"#!/bin/sh\nexit 0\n".to_vec(), "is neither an ELF64 executable for AArch64 nor a Linux arm64 Image"),
    ("cut-in-its-header", |elf| elf[..40].to_vec(), "is an ELF file that is cut short"),
    ("cut-short", |elf| elf[..elf.len() / 2].to_vec(), "is an ELF file that is cut short"),
    ("with-broken-headers", |elf| with_byte(elf, 54, 1), "is a broken ELF file"),
    ("of-another-machine", |elf| with_byte(elf, 18, 62), "not a 64-bit little-endian one for AArch64"),
    ("not-linked", |elf| with_byte(elf, 16, 1), "not an executable"),
];

/// Returns the trials.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let options = WRONG_OPTIONS.iter().map(|&(name, arguments, says)| {
        Trial::test(format!("script/refuses-option/{name}"), move || refuses(script().args(arguments), says))
    });
    let guests = WRONG_GUESTS.iter().map(|&(name, spoil, says)| {
        let tour = images.tour();
        Trial::test(format!("script/refuses-guest/{name}"), move || refuses_guest(&tour, spoil, says))
    });
    let others = [
        Trial::test("script/refuses-guest/missing", || {
            refuses(script().args(["--guest", "/nowhere/guest.elf"]), "/nowhere/guest.elf cannot be read")
        }),
        Trial::test("script/refuses-qemu/too-old", || {
            refuses_qemu("echo 'QEMU emulator version 6.2.0'", "is QEMU 6.2, and 7.2 or newer is needed")
        }),
        Trial::test("script/refuses-qemu/no-qemu", || {
            refuses_qemu("echo 'vi 9.1'", "does not answer --version as QEMU does")
        }),
        Trial::test("script/boots-the-tour-from-anywhere", boots_the_tour),
    ];
    options.chain(guests).chain(others).collect()
}

/// Returns `scripts/run`, called from a folder that is not the project's.
fn script() -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/run"));
    script.current_dir("/").stdin(Stdio::null());
    script
}

fn refuses(script: &mut Command, says: &str) -> Result<(), Failed> {
    let Output { status, stdout, stderr } = script.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let is_one_line = stderr.lines().count() == 1 && stderr.contains(says);
    match status.code() {
        Some(REFUSED) if is_one_line && stdout.is_empty() => Ok(()),
        _ => Err(format!("expected exit code 2 and one line with {says:?}, got {status}\n{stdout}{stderr}").into()),
    }
}

fn refuses_guest(tour: &Path, spoil: Spoil, says: &str) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let guest = dir.path().join("guest.elf");
    fs::write(&guest, spoil(fs::read(tour)?))?;
    refuses(script().arg("--guest").arg(&guest), says)
}

/// Has the script meet a QEMU that answers every question with what the shell command prints.
fn refuses_qemu(answer: &str, says: &str) -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let qemu = fake_program(dir.path(), answer)?;
    refuses(script().env("QEMU", qemu), says)
}

fn fake_program(dir: &Path, answer: &str) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let program = dir.join("qemu");
    fs::write(&program, format!("#!/bin/sh\n{answer}\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

fn boots_the_tour() -> Result<(), Failed> {
    let Output { status, stdout, stderr } = script().output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let is_told = !stdout.is_empty() && tour::FACTS.iter().all(|fact| stdout.contains(fact));
    match status.success() && is_told {
        true => Ok(()),
        false => Err(format!("the tour ended with {status}\n--- console\n{stdout}\n--- log\n{stderr}").into()),
    }
}

fn with_byte(mut image: Vec<u8>, offset: usize, byte: u8) -> Vec<u8> {
    image[offset] = byte;
    image
}
