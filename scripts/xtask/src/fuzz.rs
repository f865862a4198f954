//! `cargo xtask fuzz`: cargo-fuzz over the calls, for a while.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::cargo;

/// Where the fuzzer is, in the workspace.
const DIR: &str = "tests/fuzz";
/// The one thing that is fuzzed.
const TARGET: &str = "hypercalls";

/// Fuzzes the hypervisor's calls, from the seeds on
#[derive(Args)]
pub(crate) struct Options {
    /// For how long, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

/// Runs cargo-fuzz, and says what came of it as a test's executable does.
///
/// # Errors
///
/// It cannot be started.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if !is_installed() {
        println!(
            "test {TARGET} ... ignored, cargo-fuzz or a nightly toolchain is not installed: cargo install cargo-fuzz"
        );
        return Ok(ExitCode::SUCCESS);
    }
    let status = nightly()
        .args(["run", TARGET, "corpus/new", "corpus/seeds", "--"])
        // What the machines' memory is made of lives as long as the process.
        .args(["-detect_leaks=0", "-max_len=4096", &format!("-max_total_time={}", options.seconds)])
        .status()
        .context("cargo-fuzz cannot be started")?;
    println!("test result: {}", if status.success() { "ok. 1 passed" } else { "FAILED" });
    Ok(ExitCode::from(u8::from(!status.success())))
}

fn is_installed() -> bool {
    let asked = nightly().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Returns cargo-fuzz with the nightly toolchain. What this cargo was told by the one that started it is for another one.
fn nightly() -> Command {
    let dir = cargo::workspace().join(DIR);
    // libFuzzer wants the folder that it writes to.
    let _ = std::fs::create_dir_all(dir.join("corpus").join("new"));
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).current_dir(dir);
    for name in ["RUSTC", "RUSTDOC", "CARGO", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command
}
