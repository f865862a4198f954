//! What is behind `scripts/run`, `scripts/test` and `scripts/bench`: building both sides of `HVC`, booting them, testing everything
//! and measuring what calls cost; and pages that show a trace.

mod bench;
mod cargo;
mod fuzz;
mod images;
mod judge;
mod report;
mod run;
mod survivors;
mod test;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use qemu::Refused;

/// The exit code for what was asked for wrongly; nothing has been started then.
const REFUSED: u8 = 2;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, boots and tests Stagecraft")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Run(run::Options),
    Test(test::Options),
    Bench(bench::Options),
    Judge(judge::Options),
    Report(report::Options),
    Survivors(survivors::Options),
    Fuzz(fuzz::Options),
    /// Builds the hypervisor and the guests, and prints where they are
    Build,
}

fn main() -> ExitCode {
    let name = caller_name(env::args().nth(1).as_deref());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer_usage(&name, &error),
    };
    match enter_callers_dir().and_then(|()| perform(cli.task)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::from(if error.is::<Refused>() { REFUSED } else { 1 })
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Run(options) => run::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Judge(options) => judge::run(&options),
        Task::Report(options) => report::run(&options),
        Task::Survivors(options) => survivors::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Build => images::build_all().map(|images| {
            images.iter().for_each(|image| println!("{}", image.display()));
            ExitCode::SUCCESS
        }),
    }
}

/// Returns what a person has called: some of the tasks have scripts of their own.
fn caller_name(task: Option<&str>) -> String {
    match task {
        Some(task @ ("run" | "test" | "bench")) => format!("scripts/{task}"),
        Some(task) if !task.starts_with('-') => format!("cargo xtask {task}"),
        _ => "cargo xtask".into(),
    }
}

/// Prints the help that was asked for, or one line on what is wrong with the command line.
fn answer_usage(name: &str, error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) {
        error.exit();
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
    let values = lines.next().filter(|line| line.starts_with("[possible values")).unwrap_or_default();
    eprintln!("{name}: {}; --help lists the options", format!("{what} {values}").trim_end());
    ExitCode::from(REFUSED)
}

/// The scripts enter the workspace, so that cargo finds its configuration; names of files are the caller's.
fn enter_callers_dir() -> Result<()> {
    let Some(dir) = env::var_os("STAGECRAFT_CALLER_DIR") else { return Ok(()) };
    env::set_current_dir(&dir).with_context(|| format!("{} cannot be entered", dir.display()))
}
