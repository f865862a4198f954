//! The conformance guest: one case a behaviour, chosen by the boot argument `case=NAME`.
//!
//! A case that holds prints `PASS NAME` and ends the VM with 0. One that does not panics: it prints what was expected
//! and what came, and ends the VM with 1. A name that is no case's, or a VM in another dialect than the case speaks of,
//! ends it with 2. Section `.cases` of the ELF lists the cases, a line each: the name, the dialect and, where it needs
//! them, more boot arguments, parted by tabs.
//!
//! With `count=on` one that holds also says what [`counter::read`] then gives: the instructions since reset, where QEMU counts them.
//!
//! Names begin with an id, and its letter says what they are about:
//!
//! | letter | subject |
//! | --- | --- |
//! | C | a behaviour that Zircon's own tests assert, in their order; [ROWS.md](ROWS.md) lists those that are none here |
//! | G | what the same tests assert beside those, by the numbers between them |
//! | N | children, pins, cache policies, names, signals and maps: what else there is to say of them |
//! | S2 | the stage-2 tables themselves: leaves of every size, and what the CPU makes of them |
//! | D, S | where Zircon's kernel differs from its published pages; every status that those pages list |
//! | U, O, E | `vmar_unmap` and `vmar_op_range`: the order of their checks; the effects of the latter |
//! | V, W | the rest of the calls on VMARs and on VMOs |
//! | A, P, T | aborts, demand paging, and what TLBs must have forgotten |
//! | B, H, I, X, M | buffers, handles, `object_get_info`, registers at a call, and the calls of other specifications |
#![no_std]
#![no_main]

mod arena;
mod case;
mod check;

mod aborts;
mod allocate;
mod aspace;
mod beside_protect;
mod beside_vmars;
mod beside_vmos;
mod buffers;
mod children;
mod clone_windows;
mod clones;
mod dialects;
mod handles;
mod info;
mod map;
mod maps;
mod names;
mod op_range;
mod op_range_effects;
mod op_range_order;
mod overwrite;
mod paging;
mod pins;
mod placement;
mod platform;
mod policies;
mod protect;
mod races;
mod registers;
mod seeds;
mod slices;
mod smp;
mod stage2_blocks;
mod stage2_smp;
mod stage2_walk;
mod tlb;
mod unmap;
mod unmap_order;
mod vmo;
mod vmo_op_range;

use case::{Case, Dialect};
use guest::{Env, ExitStatus, counter, entry, println};

/// The case was not run.
const NOT_RUN: ExitStatus = ExitStatus(2);

const CASES: &[&[&[Case]]] = &[
    aborts::CASES,
    allocate::CASES,
    aspace::CASES,
    beside_protect::CASES,
    beside_vmars::CASES,
    beside_vmos::CASES,
    buffers::CASES,
    children::CASES,
    clone_windows::CASES,
    clones::CASES,
    dialects::CASES,
    handles::CASES,
    info::CASES,
    map::CASES,
    maps::CASES,
    names::CASES,
    op_range::CASES,
    op_range_effects::CASES,
    op_range_order::CASES,
    overwrite::CASES,
    paging::CASES,
    pins::CASES,
    placement::CASES,
    platform::CASES,
    policies::CASES,
    protect::CASES,
    races::CASES,
    registers::CASES,
    seeds::CASES,
    slices::CASES,
    smp::CASES,
    stage2_blocks::CASES,
    stage2_smp::CASES,
    stage2_walk::CASES,
    tlb::CASES,
    unmap::CASES,
    unmap_order::CASES,
    vmo::CASES,
    vmo_op_range::CASES,
];

entry!(main);

fn main(env: &Env) -> ExitStatus {
    let name = env.argument("case").unwrap_or_default();
    let Some(case) = find(name) else {
        println!("no case has the name {name:?}; section .cases of the ELF lists them");
        return NOT_RUN;
    };
    let dialect = env.argument("dialect").unwrap_or(Dialect::Documented.name());
    if dialect != case.dialect.name() {
        println!("{name} speaks of dialect={}, and the VM has {dialect}", case.dialect.name());
        return NOT_RUN;
    }
    (case.run)();
    println!("PASS {name}");
    if env.argument("count") == Some("on") {
        println!("instructions={}", counter::read());
    }
    ExitStatus::SUCCESS
}

fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().copied().flatten().copied().flatten().find(|case| case.name == name)
}
