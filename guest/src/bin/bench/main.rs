//! What the calls cost, in instructions, invalidations and barriers: each work at several sizes, a line each.
//!
//! It needs the boot argument `inspect=on`, and a machine that counts instructions (`-icount shift=0,sleep=off`, and a counter of
//! 1 GHz). `work=NAME` leaves all other works out, `n=N` all other sizes, and `most=N` all larger ones. `scripts/bench`
//! boots it and reads what it says:
//!
//! ```text
//! work=unmap n=512 instructions=1234 stores=1 tlbi=1 stage1=1 dsb=3
//! ```
//!
//! `n` is what a cost is divided by: pages, blocks, or how much else there is. Instructions are those of EL1 and EL2 from before
//! the guest makes its call (or access) to after it. Works that measure memory say `frames=5` in their place.
#![no_std]
#![no_main]

mod field;
mod growth;
mod meter;
mod works;

use guest::{Env, entry, image, println};
use meter::{Cost, Meter};
use zx::{Result, Status, Vmar, VmarOp};

entry!(main);

/// Something to be measured.
struct Work {
    name: &'static str,
    sizes: &'static [u64],
    run: fn(&Bench, u64) -> Result<Cost>,
}

/// What every work needs.
struct Bench {
    root: Vmar,
    meter: Meter,
    started: u64,
}

fn main(env: &Env) -> Result<()> {
    let bench = Bench::new(env)?;
    let number = |name| env.argument(name).and_then(|n| n.parse::<u64>().ok());
    let (only_work, only_size, most) = (env.argument("work"), number("n"), number("most"));
    let wants_size = |n| only_size.is_none_or(|only| only == n) && most.is_none_or(|most| n <= most);
    let wanted = works::ALL.iter().chain(growth::ALL).filter(|work| only_work.is_none_or(|only| only == work.name));
    let mut count = 0;
    for work in wanted {
        for &n in work.sizes.iter().filter(|&&n| wants_size(n)) {
            let cost = (work.run)(&bench, n).inspect_err(|error| println!("{} of {n}: {error}", work.name))?;
            println!("work={} n={n} {cost}", work.name);
            count += 1;
        }
    }
    if count == 0 {
        println!("no work of that name and size; there are:");
        works::ALL.iter().chain(growth::ALL).for_each(|work| println!("  work={} n={:?}", work.name, work.sizes));
        return Err(Status::NOT_FOUND);
    }
    Ok(())
}

impl Bench {
    /// Gives the guest's own image all of its pages, so that nothing but what is measured costs anything.
    fn new(env: &Env) -> Result<Self> {
        let (root, image) = (Vmar::root()?, image::range());
        root.op_range(VmarOp::Commit, image.start, image.end - image.start)?;
        Ok(Self { root, meter: Meter::new()?, started: env.started() })
    }
}
