//! The works that are measured at several sizes.

use abi::VENDOR_BASE;
use guest::probe;
use zx::{PAGE_SIZE, Result, Status, VmOptions, VmarOp, VmoOp, sys, yield_now};

use crate::field::{BLOCK_BYTES, Field, Shape};
use crate::meter::{Amount, Cost};
use crate::{Bench, Work};

/// Numbers of pages of 4 KiB.
const PAGES: &[u64] = &[1, 16, 512, 4096, 65536];
/// Numbers of blocks of 2 MiB.
const BLOCKS: &[u64] = &[1, 8, 128, 512];
const ONE: &[u64] = &[1];

/// What no call has.
const UNKNOWN: u32 = VENDOR_BASE + 0xffff;

/// A GiB in pages.
const GIB: &[u64] = &[1 << 18];

pub(crate) const ALL: &[Work] = &[
    // To the guest's first instruction.
    Work { name: "boot", sizes: ONE, run: |bench, _| Ok(Cost::plain(Amount::Instructions(bench.started))) },
    // A call that does nothing.
    Work { name: "null", sizes: ONE, run: |bench, _| bench.meter.measure(yield_now) },
    Work { name: "unknown", sizes: ONE, run: unknown },
    Work { name: "unmap", sizes: PAGES, run: |bench, n| unmap(bench, Shape::Pages, n * PAGE_SIZE) },
    Work { name: "unmap-block", sizes: BLOCKS, run: |bench, n| unmap(bench, Shape::Aligned, n * BLOCK_BYTES) },
    // One page in the middle of a block gets other permissions.
    Work { name: "split", sizes: ONE, run: split },
    Work { name: "commit", sizes: PAGES, run: |bench, n| commit(bench, Shape::Pages, n * PAGE_SIZE) },
    Work { name: "commit-block", sizes: BLOCKS, run: |bench, n| commit(bench, Shape::Aligned, n * BLOCK_BYTES) },
    // The guest stores to pages that are not there.
    Work { name: "touch", sizes: &[1, 16, 512], run: touch },
    // MAP_RANGE of pages that the VMO has.
    Work { name: "map", sizes: PAGES, run: map },
    Work { name: "protect", sizes: PAGES, run: protect },
    Work { name: "decommit", sizes: PAGES, run: decommit },
    // The frames that it takes to have a GiB, besides the GiB.
    Work { name: "memory-pages", sizes: GIB, run: |bench, n| memory(bench, Shape::Pages, n) },
    Work { name: "memory-blocks", sizes: GIB, run: |bench, n| memory(bench, Shape::Aligned, n) },
];

fn unknown(bench: &Bench, _: u64) -> Result<Cost> {
    bench.meter.measure(|| match sys::function(UNKNOWN, []).x0 {
        abi::smccc::NOT_SUPPORTED => Ok(()),
        _ => Err(Status::BAD_STATE),
    })
}

fn unmap(bench: &Bench, shape: Shape, len_bytes: u64) -> Result<Cost> {
    let field = Field::filled(bench, shape, len_bytes)?;
    let cost = bench.meter.measure(|| field.region.unmap(field.base, field.len_bytes))?;
    refuse_stores(&field)?;
    Ok(cost)
}

/// Checks that the field's pages cannot be written: some of them, the last too, for each takes a fault.
fn refuse_stores(field: &Field) -> Result<()> {
    let pages = field.len_bytes / PAGE_SIZE;
    let is_writable = |page| probe::store(field.base + page * PAGE_SIZE, 1).is_ok();
    match (0..pages).step_by(509).chain([pages - 1]).any(is_writable) {
        true => Err(Status::BAD_STATE),
        false => Ok(()),
    }
}

fn split(bench: &Bench, _: u64) -> Result<Cost> {
    let field = Field::filled(bench, Shape::Aligned, BLOCK_BYTES)?;
    let page = field.base + BLOCK_BYTES / 2;
    bench.meter.measure(|| field.region.protect(VmOptions::PERM_READ, page, PAGE_SIZE))
}

fn commit(bench: &Bench, shape: Shape, len_bytes: u64) -> Result<Cost> {
    let field = Field::new(bench, shape, len_bytes)?;
    bench.meter.measure(|| field.op_range(VmarOp::Commit))
}

fn touch(bench: &Bench, n: u64) -> Result<Cost> {
    let field = Field::new(bench, Shape::Aligned, n * PAGE_SIZE)?;
    let store = |page| probe::store(field.base + page * PAGE_SIZE, 1).map_err(|_| Status::BAD_STATE);
    bench.meter.measure(|| (0..n).try_for_each(store))
}

fn map(bench: &Bench, n: u64) -> Result<Cost> {
    let field = Field::new(bench, Shape::Pages, n * PAGE_SIZE)?;
    field.vmo.op_range(VmoOp::Commit, 0, field.len_bytes)?;
    // It was mapped while the pages were taken, and so was entered: it is to be seen by its own cost.
    field.region.unmap(field.base, field.len_bytes)?;
    let options = VmOptions::PERM_READ | VmOptions::PERM_WRITE | VmOptions::SPECIFIC;
    field.region.map(options, PAGE_SIZE, &field.vmo, 0, field.len_bytes)?;
    bench.meter.measure(|| field.op_range(VmarOp::MapRange))
}

fn protect(bench: &Bench, n: u64) -> Result<Cost> {
    let field = Field::filled(bench, Shape::Pages, n * PAGE_SIZE)?;
    let cost = bench.meter.measure(|| field.region.protect(VmOptions::PERM_READ, field.base, field.len_bytes))?;
    refuse_stores(&field)?;
    Ok(cost)
}

fn decommit(bench: &Bench, n: u64) -> Result<Cost> {
    let field = Field::filled(bench, Shape::Pages, n * PAGE_SIZE)?;
    bench.meter.measure(|| field.op_range(VmarOp::Decommit))
}

fn memory(bench: &Bench, shape: Shape, n: u64) -> Result<Cost> {
    let before = bench.meter.frames()?;
    let _field = Field::filled(bench, shape, n * PAGE_SIZE)?;
    Ok(Cost::plain(Amount::Frames(bench.meter.frames()? - before - n)))
}
