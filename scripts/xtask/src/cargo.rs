//! Calling cargo, and reading what it built from its messages.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The target of everything that runs in the machine.
pub(crate) const MACHINE_TARGET: &str = "aarch64-unknown-none-softfloat";

/// An executable that cargo built, or found to be up to date.
#[derive(Clone, Debug)]
pub(crate) struct Executable {
    /// The package that it belongs to.
    pub(crate) package: String,
    /// The folder of that package.
    pub(crate) package_dir: PathBuf,
    /// The name of the binary or of the test.
    pub(crate) target: String,
    /// Whether it is a test of its own, in a package's `tests/`.
    pub(crate) is_integration_test: bool,
    /// It is a program of tests, and not one that tests need.
    pub(crate) is_test: bool,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Returns the workspace's folder.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("xtask lies two folders deep")
}

/// Returns a cargo that works in the workspace, wherever the caller is.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Returns this very program, which cargo may have replaced meanwhile: `cargo xtask` and `cargo test` build it with features of its
/// dependencies that differ, and each puts its own in the one place.
pub(crate) fn this_program() -> Command {
    Command::new("/proc/self/exe")
}

/// Builds with the given arguments, says on the error stream what had to be compiled, and returns the executables.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Executable>> {
    let mut cargo = cargo();
    cargo.args(arguments).args(["--quiet", "--message-format=json-render-diagnostics"]);
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let (mut compiled, mut executables) = (BTreeSet::new(), Vec::new());
    for line in BufReader::new(messages).lines() {
        let Some(artifact) = read_artifact(&line?) else { continue };
        if !artifact.is_fresh && compiled.insert(artifact.package.clone()) {
            eprintln!("    Compiled {}", artifact.package);
        }
        executables.extend(artifact.executable);
    }
    ensure!(child.wait()?.success(), "cargo {} failed", arguments.join(" "));
    Ok(executables)
}

/// What cargo says of a library or a program that it compiled, or found to be up to date.
struct Artifact {
    package: String,
    is_fresh: bool,
    executable: Option<Executable>,
}

fn read_artifact(line: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["target"]["kind"][0] == "custom-build" {
        return None;
    }
    let package = package_name(message["package_id"].as_str()?);
    let executable = read_executable(&message, &package);
    Some(Artifact { package, is_fresh: message["fresh"] == true, executable })
}

fn read_executable(message: &Value, package: &str) -> Option<Executable> {
    Some(Executable {
        package: package.into(),
        package_dir: Path::new(message["manifest_path"].as_str()?).parent()?.into(),
        target: message["target"]["name"].as_str()?.into(),
        is_integration_test: message["target"]["kind"][0] == "test",
        is_test: message["profile"]["test"] == true,
        path: message["executable"].as_str()?.into(),
    })
}

/// A package's id ends in `#NAME@VERSION`, or in `/NAME#VERSION` where its folder has its name.
fn package_name(id: &str) -> String {
    let (place, version) = id.rsplit_once('#').unwrap_or((id, ""));
    let name = version.rsplit_once('@').map(|(name, _)| name);
    name.or(place.rsplit('/').next()).unwrap_or(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_whether_or_not_their_folder_is_named_alike() {
        assert_eq!(package_name("path+file:///src/tests/qemu#0.1.0"), "qemu");
        assert_eq!(package_name("path+file:///src/tests/boot#boot-tests@0.1.0"), "boot-tests");
        assert_eq!(package_name("registry+https://example.org/index#clap@4.6.7"), "clap");
    }

    #[test]
    fn executables_are_read_from_messages_and_other_messages_are_not() {
        let message = r#"{"reason":"compiler-artifact","package_id":"path+file:///src/tests/boot#boot-tests@0.1.0",
            "manifest_path":"/src/tests/boot/Cargo.toml","target":{"kind":["test"],"name":"qemu"},"fresh":true,
            "executable":"/target/debug/deps/qemu-1"}"#;
        let executable = read_artifact(message).unwrap().executable.unwrap();
        assert_eq!((executable.package.as_str(), executable.target.as_str()), ("boot-tests", "qemu"));
        assert_eq!(executable.package_dir, Path::new("/src/tests/boot"));
        assert!(executable.is_integration_test);
        let library = message.replace("\"/target/debug/deps/qemu-1\"", "null");
        assert!(read_artifact(&library).unwrap().executable.is_none());
        assert!(read_artifact(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(read_artifact("warning: not JSON").is_none());
    }
}
