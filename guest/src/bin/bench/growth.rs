//! Works on one page, among more and more mappings in the same VMAR. Every other page is mapped, so that none fuse.

use guest::probe;
use zx::{PAGE_SIZE, Result, Status, VmOptions, Vmar, VmarOp, Vmo};

use crate::field::{BASE, region};
use crate::meter::Cost;
use crate::{Bench, Work};

/// Numbers of mappings.
const AMONG: &[u64] = &[1, 100, 10_000];

pub(crate) const ALL: &[Work] = &[
    Work {
        name: "unmap-among",
        sizes: AMONG,
        run: |bench, n| among(bench, n, |there, page| there.unmap(page, PAGE_SIZE)),
    },
    Work {
        name: "protect-among",
        sizes: AMONG,
        run: |bench, n| among(bench, n, |there, page| there.protect(VmOptions::PERM_READ, page, PAGE_SIZE)),
    },
    Work {
        name: "decommit-among",
        sizes: AMONG,
        run: |bench, n| among(bench, n, |there, page| there.op_range(VmarOp::Decommit, page, PAGE_SIZE)),
    },
    Work {
        name: "touch-among",
        sizes: AMONG,
        run: |bench, n| {
            let prepare = |there: &Vmar, page| there.op_range(VmarOp::Decommit, page, PAGE_SIZE);
            among_prepared(bench, n, prepare, |_, page| probe::store(page, 1).map_err(|_| Status::BAD_STATE))
        },
    },
];

fn among(bench: &Bench, n: u64, work: impl FnOnce(&Vmar, u64) -> Result<()>) -> Result<Cost> {
    among_prepared(bench, n, |_, _| Ok(()), work)
}

/// Makes `n` mappings of a page each, all of them in the tables, prepares the one in the middle, and measures work on it.
fn among_prepared(
    bench: &Bench,
    n: u64,
    prepare: impl FnOnce(&Vmar, u64) -> Result<()>,
    work: impl FnOnce(&Vmar, u64) -> Result<()>,
) -> Result<Cost> {
    let (there, vmo) = (region(bench)?, Vmo::create(n * PAGE_SIZE)?);
    let options = VmOptions::PERM_READ | VmOptions::PERM_WRITE | VmOptions::SPECIFIC;
    for page in 0..n {
        let address = there.map(options, 2 * page * PAGE_SIZE, &vmo, page * PAGE_SIZE, PAGE_SIZE)?;
        there.op_range(VmarOp::Commit, address, PAGE_SIZE)?;
    }
    let middle = BASE + n / 2 * 2 * PAGE_SIZE;
    prepare(&there, middle)?;
    let cost = bench.meter.measure(|| work(&there, middle));
    there.destroy()?;
    cost
}
