//! The archive from which Linux starts its first process: that, and two devices.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

/// The permissions of a program, and of a device that only root may use.
const PROGRAM: u32 = 0o755;
const DEVICE: u32 = 0o600;

/// Writes the archive with `init` as its first process to `path`.
///
/// # Errors
///
/// `init` cannot be read, or `path` not be written.
pub(super) fn create(init: &Path, path: &Path) -> Result<()> {
    let program = fs::read(init).with_context(|| format!("{} cannot be read", init.display()))?;
    let archive = File::create(path).and_then(|file| write(&program, file));
    archive.with_context(|| format!("{} cannot be written", path.display()))
}

fn write(program: &[u8], archive: impl Write) -> io::Result<()> {
    let archive = add(archive, Builder::new("dev").mode(PROGRAM).set_mode_file_type(ModeFileType::Directory), &[])?;
    let archive = add(archive, device("dev/console", 5, 1), &[])?;
    let archive = add(archive, device("dev/kvm", 10, 232), &[])?;
    let init = Builder::new("init").mode(PROGRAM).set_mode_file_type(ModeFileType::Regular);
    trailer(add(archive, init, program)?)?.flush()
}

/// Describes a device of characters, by the numbers that Linux knows it by.
fn device(name: &str, major: u32, minor: u32) -> Builder {
    Builder::new(name).mode(DEVICE).set_mode_file_type(ModeFileType::Char).rdev_major(major).rdev_minor(minor)
}

fn add<W: Write>(archive: W, entry: Builder, data: &[u8]) -> io::Result<W> {
    let len = u32::try_from(data.len()).map_err(|_| io::Error::other("the program is larger than 4 GiB"))?;
    let mut entry = entry.write(archive, len);
    entry.write_all(data)?;
    entry.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;
    use std::io::Read;

    #[test]
    fn linux_finds_the_program_and_the_devices_by_their_numbers() {
        let mut archive = Vec::new();
        write(b"a program", &mut archive).unwrap();
        let mut found = Vec::new();
        let mut rest = archive.as_slice();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut data = String::new();
            reader.read_to_string(&mut data).unwrap();
            let entry = reader.entry();
            found.push((entry.name().to_string(), entry.mode(), entry.rdev_major(), entry.rdev_minor(), data));
            rest = reader.finish().unwrap();
        }
        // The bits of S_IFDIR, S_IFCHR and S_IFREG are Linux's.
        let expected = [
            ("dev", 0o040_755, 0, 0, ""),
            ("dev/console", 0o020_600, 5, 1, ""),
            ("dev/kvm", 0o020_600, 10, 232, ""),
            ("init", 0o100_755, 0, 0, "a program"),
        ];
        let expected = expected.map(|(name, mode, major, minor, data)| (name.into(), mode, major, minor, data.into()));
        assert_eq!(found, expected);
    }
}
