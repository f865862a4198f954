//! Every planted bug under every gate: who notices it, by which rule, after how many operations.
//!
//! The gates are the model, the oracle on a simulated machine, the oracle in the hypervisor, and a guest in QEMU. `rows` is the
//! table of the bugs: what each spoils, which gates must notice it, and by which rules. A bug that a gate of its row does not
//! notice, or notices by another rule, fails. The first two gates do one programme of operations ([`trees`], [`objects`] and the
//! others) until they see something; the last two boot cases of the conformance guest (`boots`).

mod bench {
    //! Where the pages lie that nobody looks into.

    use vmsa::Hpa;

    pub(crate) const FRAMES: Hpa = Hpa(0x10_0000_0000);
}
mod boots;
mod children;
mod decoding;
#[path = "../tables/flat.rs"]
mod flat;
mod matrix;
mod objects;
mod overflow;
mod rows;
mod run;
mod shortage;
mod trees;
mod vmids;
#[expect(dead_code, reason = "other suites ask it for more")]
#[path = "../tables/world.rs"]
mod world;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use tests::Sim;

use boots::Images;
use children::Seen;
use matrix::Matrix;
use rows::{Row, rows};
use run::Outcome;

/// Plants one bug after the other, and prints who noticed it
#[derive(Parser)]
struct Options {
    /// The numbers of the bugs; without any, all
    rows: Vec<u32>,
    /// Boots nothing but a few bugs' machines
    #[arg(long)]
    few_boots: bool,
    /// Tells all that the gates said
    #[arg(long)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().collect();
    if let [_, first, number] = &arguments[..]
        && first == children::CHILD
    {
        children::serve(number.parse()?);
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse();
    let chosen = choose(&options.rows)?;
    check_sound()?;
    let images = Images::from_env()?;
    let mut matrix = Matrix::new(options.verbose);
    for row in &chosen {
        let boots = images.as_ref().filter(|_| !options.few_boots || row.is_booted_always());
        matrix.add(row, boots)?;
    }
    Ok(matrix.conclude(&chosen))
}

fn choose(numbers: &[u32]) -> Result<Vec<Row>> {
    let all = rows();
    let flaws = rows::flaws(&all);
    ensure!(flaws.is_empty(), "the table of planted bugs: {flaws:?}");
    if let Some(unknown) = numbers.iter().find(|number| all.iter().all(|row| row.number != **number)) {
        anyhow::bail!("there is no planted bug {unknown}");
    }
    Ok(all.into_iter().filter(|row| numbers.is_empty() || numbers.contains(&row.number)).collect())
}

/// Checks that the gates on the host say nothing when nothing is planted.
fn check_sound() -> Result<()> {
    let Seen { model, oracle } = children::look(0)?;
    let is_silent = |outcome: &Outcome| outcome.sighting.is_none() && outcome.panics.is_empty();
    ensure!(is_silent(&model) && is_silent(&oracle), "without any bug: the model {model:?}, the oracle {oracle:?}");
    println!(
        "{} operations for the model, {} for the oracle, and no complaint without a bug",
        model.operations, oracle.operations
    );
    Ok(())
}

/// Returns what the simulated machine itself objects to.
pub(crate) fn objections(sim: &Sim) -> Vec<String> {
    let verdicts = sim.verdicts();
    sim.violations().into_iter().filter(|violation| !verdicts.contains(violation)).collect()
}
