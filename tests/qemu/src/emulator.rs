use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::Command;

use crate::Refused;

/// A version of QEMU: major and minor.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(pub u32, pub u32);

/// The oldest QEMU that the hypervisor is tested on.
pub const OLDEST: Version = Version(7, 2);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The QEMU that is installed. Nothing is known of it until one of the checks has asked it.
#[derive(Clone, Debug)]
pub struct Emulator {
    program: OsString,
}

impl Emulator {
    /// Takes what the environment's `QEMU` names, else `qemu-system-aarch64`.
    pub fn from_env() -> Self {
        let named = env::var_os("QEMU").filter(|name| !name.is_empty());
        Self { program: named.unwrap_or("qemu-system-aarch64".into()) }
    }

    /// Returns what to run.
    pub fn program(&self) -> &OsString {
        &self.program
    }

    /// Returns QEMU's version.
    ///
    /// # Errors
    ///
    /// There is no QEMU, or it does not run.
    pub fn version(&self) -> Result<Version, Refused> {
        let name = self.program.display();
        parse_version(&self.ask("--version")?)
            .ok_or_else(|| Refused::new(format!("{name} does not answer --version as QEMU does; is it QEMU?")))
    }

    /// Checks that there is a QEMU, and that it is not older than [`OLDEST`].
    ///
    /// # Errors
    ///
    /// Why it will not do.
    pub fn check_version(&self) -> Result<(), Refused> {
        let (name, version) = (self.program.display(), self.version()?);
        match version < OLDEST {
            true => Err(Refused::new(format!(
                "{name} is QEMU {version}, and {OLDEST} or newer is needed; scripts/setup --backports may find one"
            ))),
            false => Ok(()),
        }
    }

    /// Checks that QEMU has the CPU model; properties after a comma (`max,pauth=off`) are for QEMU itself to judge.
    ///
    /// # Errors
    ///
    /// It has no such model, or is not to be asked.
    pub fn check_cpu(&self, cpu: &str) -> Result<(), Refused> {
        let model = cpu.split(',').next().unwrap_or_default();
        if lists_model(&self.ask("-cpu help")?, model) {
            return Ok(());
        }
        let (name, version) = (self.program.display(), self.version()?);
        Err(Refused::new(format!("QEMU {version} has no CPU model {model:?}; {name} -cpu help lists what it has")))
    }

    fn ask(&self, question: &str) -> Result<String, Refused> {
        let name = self.program.display();
        match Command::new(&self.program).args(question.split(' ')).output() {
            Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Refused::new(format!("{name} is not installed; scripts/setup installs it")))
            }
            Err(error) => Err(Refused::new(format!("{name} cannot be run: {error}"))),
        }
    }
}

fn parse_version(said: &str) -> Option<Version> {
    let mut numbers = said.strip_prefix("QEMU emulator version ")?.split(|c: char| !c.is_ascii_digit());
    Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn lists_model(help: &str, model: &str) -> bool {
    help.lines().filter(|line| line.starts_with(' ')).any(|line| line.split_whitespace().next() == Some(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_qemu_says() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025 Fabrice Bellard\n";
        assert_eq!(parse_version(debian), Some(Version(10, 0)));
        assert_eq!(parse_version("QEMU emulator version 7.2.22\n"), Some(Version(7, 2)));
        assert_eq!(parse_version("bash: no such thing"), None);
        assert!(Version(6, 9) < OLDEST && Version(10, 0) > OLDEST);
    }

    #[test]
    fn models_are_found_by_their_whole_name() {
        let help = "Available CPUs:\n  cortex-a57\n  max\n  neoverse-n1   (deprecated)\n";
        for (model, expected) in [("cortex-a57", true), ("neoverse-n1", true), ("cortex-a5", false), ("", false)] {
            assert_eq!(lists_model(help, model), expected, "{model}");
        }
    }
}
