//! dom0 of a Xen: it has Xen change stage-2 tables, its own and those of a domain that it makes, and counts instructions.
//!
//! dom0's memory is mapped one to one: what Xen takes away from it stays allocated, and what Xen gives back was never away. So
//! its own memory measures mapping and unmapping, and the other domain's measures what allocates and frees.
#![no_std]
#![no_main]

mod arena;
mod boot;
mod hypercall;

use core::array;
use core::fmt;

use dtoolkit::fdt::Fdt;
use peers::{Failure, check_counter, tell_figure, tell_step};

use arena::Arena;
use hypercall::Change::{Decrease, Populate};
use hypercall::Extent::{Block, Page};
use hypercall::{Change, Console, DomainId, MOST_MMIO_PAGES, Mapping};

/// Over how many pages a work is done.
const SIZES: [usize; 4] = [1, 512, 4096, 65_536];
/// The last of them.
const MOST: usize = SIZES[SIZES.len() - 1];
/// How often what is small is done; the least is told, as the first meets what nobody has touched.
const REPEATS: usize = 8;
/// 4 KiB pages in a 2 MiB block.
const BLOCK_PAGES: u64 = 512;

/// Where the other domain's memory begins, as a frame: any place will do that is aligned to 1 GiB.
const THEIR_FRAMES: u64 = 0x4_0000;
/// As many frames of dom0's as are used for the memory of others; nothing is there.
const FREE_FRAMES: u64 = 0x400_0000;
/// Where registers are that dom0 may have: the memory space of the `virt` machine's PCIe.
const REGISTERS: u64 = 0x1_0000;

fn run(tree: Fdt<'_>) -> Result<(), Failure> {
    check_counter()?;
    let ram = boot::largest_ram(tree).ok_or(Failure::new("the device tree names no RAM", 0))?;
    let mut arena = Arena::new(ram)?;
    measure_calls();
    measure_own_blocks(&mut arena)?;
    measure_own_pages(&mut arena)?;
    measure_registers()?;
    measure_other_domain(&mut arena)
}

/// Tells a figure; a console that does not take it makes it a figure that is missing, which the host notices.
fn tell(work: &str, n: u64, instructions: u64, how: &str) {
    let _ = tell_figure(&mut Console, work, n, instructions, how);
}

fn say(step: fmt::Arguments<'_>) {
    let _ = tell_step(&mut Console, step);
}

/// Does a small work [`REPEATS`] times and returns the least.
fn least(mut work: impl FnMut(u64) -> Result<u64, Failure>) -> Result<u64, Failure> {
    let all: [Result<u64, Failure>; REPEATS] = array::from_fn(|index| work(index as u64));
    all.into_iter().try_fold(u64::MAX, |least, instructions| Ok(least.min(instructions?)))
}

fn measure_calls() {
    let least = |call: fn() -> hypercall::Outcome| (0..REPEATS).map(|_| call().instructions).min().unwrap_or_default();
    tell("null", 1, least(hypercall::xen_version), "xen_version");
    tell("unknown", 1, least(hypercall::unknown), "a hypercall that there is not");
}

/// Each of these has a 2 MiB block for itself, as Xen mapped it when it made dom0.
fn measure_own_blocks(arena: &mut Arena) -> Result<(), Failure> {
    say(format_args!("splitting and unmapping blocks"));
    let split = least(|block| arena.change(Decrease, DomainId::OWN, Page, arena.block(block), 1))?;
    let page = least(|page| arena.change(Decrease, DomainId::OWN, Page, arena.block(0) + 1 + page, 1))?;
    tell(
        "split",
        1,
        split.saturating_sub(page),
        "XENMEM_decrease_reservation of a block's first page, beyond that of its next",
    );
    let unmapped = least(|block| arena.change(Decrease, DomainId::OWN, Block, arena.block(REPEATS as u64 + block), 1))?;
    tell("unmap-block", 1, unmapped, "XENMEM_decrease_reservation");
    Ok(())
}

fn measure_own_pages(arena: &mut Arena) -> Result<(), Failure> {
    say(format_args!("unmapping and mapping pages"));
    // The first time splits blocks; from then on the tables stay.
    let first = arena.pages();
    arena.change(Decrease, DomainId::OWN, Page, first, MOST)?;
    arena.change(Populate, DomainId::OWN, Page, first, MOST)?;
    for n in SIZES {
        let (unmapped, mapped) = turn(arena, Decrease, DomainId::OWN, first, n)?;
        tell("unmap", n as u64, unmapped, "XENMEM_decrease_reservation");
        tell("map", n as u64, mapped, "XENMEM_populate_physmap of pages that were kept");
    }
    Ok(())
}

/// Does a change to `n` pages and undoes it, and returns the instructions of both; a single page is changed more than once.
fn turn(arena: &mut Arena, change: Change, domain: DomainId, first: u64, n: usize) -> Result<(u64, u64), Failure> {
    let back = match change {
        Decrease => Populate,
        Populate => Decrease,
    };
    let times = if n == 1 { REPEATS } else { 1 };
    let mut least = (u64::MAX, u64::MAX);
    for _ in 0..times {
        least.0 = least.0.min(arena.change(change, domain, Page, first, n)?);
        least.1 = least.1.min(arena.change(back, domain, Page, first, n)?);
    }
    Ok(least)
}

/// Xen's one call for a range of pages.
fn measure_registers() -> Result<(), Failure> {
    for n in [1, MOST_MMIO_PAGES] {
        let mut least = (u64::MAX, u64::MAX);
        for _ in 0..REPEATS {
            least.0 = least.0.min(hypercall::map_registers(Mapping::Add, FREE_FRAMES, REGISTERS, n)?);
            least.1 = least.1.min(hypercall::map_registers(Mapping::Remove, FREE_FRAMES, REGISTERS, n)?);
        }
        tell("map", n, least.0, "XEN_DOMCTL_memory_mapping of registers");
        tell("unmap", n, least.1, "XEN_DOMCTL_memory_mapping of registers");
    }
    Ok(())
}

/// Fills in what another domain has not had, first pages that Xen has to zero, as it has not come to scrub the RAM, then pages that
/// this domain gave back, which Xen does not zero.
fn measure_other_domain(arena: &mut Arena) -> Result<(), Failure> {
    say(format_args!("giving memory to another domain and taking it away"));
    const FRESH: u64 = (SIZES.len() as u64 + 1) * MOST as u64;
    let domain = hypercall::create_domain(FRESH)?;
    let block = arena.change(Populate, domain, Block, THEIR_FRAMES + FRESH, 1)?;
    tell("commit-block", 1, block, "XENMEM_populate_physmap into another domain, zeroed");
    arena.change(Decrease, domain, Block, THEIR_FRAMES + FRESH, 1)?;
    let block = arena.change(Populate, domain, Block, THEIR_FRAMES + FRESH, 1)?;
    tell("commit-block", 1, block, "XENMEM_populate_physmap into another domain, not zeroed");
    let places = (0..).map(|index| THEIR_FRAMES + index * MOST as u64);
    for (n, first) in SIZES.into_iter().zip(places.clone()) {
        let committed = arena.change(Populate, domain, Page, first, n)?;
        tell("commit", n as u64, committed, "XENMEM_populate_physmap into another domain, zeroed");
    }
    for (n, first) in SIZES.into_iter().zip(places) {
        let (decommitted, committed) = turn(arena, Decrease, domain, first, n)?;
        tell("decommit", n as u64, decommitted, "XENMEM_decrease_reservation of another domain");
        tell("commit", n as u64, committed, "XENMEM_populate_physmap into another domain, not zeroed");
    }
    measure_foreign(arena, domain)
}

/// Maps memory that is there, as dom0 maps another domain's.
fn measure_foreign(arena: &mut Arena, domain: DomainId) -> Result<(), Failure> {
    let theirs = THEIR_FRAMES + (SIZES.len() as u64 - 1) * MOST as u64;
    for (index, n) in (1..).zip([1, 512]) {
        let mapped = arena.map_foreign(domain, theirs, FREE_FRAMES + index * MOST as u64, n)?;
        tell("map", n as u64, mapped, "XENMEM_add_to_physmap_batch of another domain's pages");
    }
    Ok(())
}
