//! Random programs of calls and accesses, on `hypervisor/vm` over the simulated machine and on the reference model: every
//! status, every result, what every page holds and allows in the end, and that nothing is left over.
//!
//! What fails is made small and printed as lines, which go into [`regressions`] as they are.

mod coverage;
mod finish;
mod regressions;
mod run;
mod search;

use abi::Call;
use coverage::Coverage;
use model::Dialect;
use run::{MACHINES, Setting};
use search::search;

/// The calls that the model has.
const CALLS: &[Call] = &[
    Call::StartupHandle,
    Call::HandleClose,
    Call::HandleCloseMany,
    Call::HandleDuplicate,
    Call::HandleReplace,
    Call::ObjectGetInfo,
    Call::ObjectGetProperty,
    Call::ObjectSetProperty,
    Call::ObjectWaitOne,
    Call::VmarAllocate,
    Call::VmarMap,
    Call::VmarUnmap,
    Call::VmarProtect,
    Call::VmarDestroy,
    Call::VmarOpRange,
    Call::VmoCreate,
    Call::VmoCreateChild,
    Call::VmoRead,
    Call::VmoWrite,
    Call::VmoGetSize,
    Call::VmoSetSize,
    Call::VmoOpRange,
    Call::VmoCreateContiguous,
    Call::VmoReplaceAsExecutable,
    Call::VmoSetCachePolicy,
    Call::VmoCreatePhysical,
    Call::BtiCreate,
    Call::BtiPin,
    Call::PmtUnpin,
];

/// How many calls a daily test compares.
const DAILY: u64 = 350_000;

/// Compares so many calls on each machine, and tells how often each call came to what.
fn compare(name: &str, dialect: Dialect, quotas: &[Option<u64>], seed: u64, calls: u64) {
    let mut coverage = Coverage::default();
    let settings = quotas.iter().flat_map(|quota| MACHINES.map(|machine| Setting { dialect, quota: *quota, machine }));
    let settings: Vec<Setting> = settings.collect();
    for (setting, seed) in settings.iter().zip(seed..) {
        search(*setting, seed, calls / settings.len() as u64, &mut coverage);
    }
    coverage.tell(name);
    coverage.insist_on(CALLS.iter().copied());
}

/// How many calls each long test compares: as many as `STAGECRAFT_CALLS` in the environment says.
fn long() -> u64 {
    std::env::var("STAGECRAFT_CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(25_000_000)
}

#[test]
#[ignore = "full: the better part of an hour"]
fn the_documented_dialect_is_the_models_for_long() {
    compare("documented, for long", Dialect::Documented, &[None], 1000, long());
}

#[test]
#[ignore = "full: the better part of an hour"]
fn the_documented_dialect_is_the_models_for_longer() {
    compare("documented, for longer", Dialect::Documented, &[None], 2000, long());
}

#[test]
#[ignore = "full: the better part of an hour"]
fn the_kernels_dialect_is_the_models_for_long() {
    compare("kernel, for long", Dialect::Kernel, &[None], 3000, long());
}

#[test]
#[ignore = "full: the better part of an hour"]
fn what_is_refused_for_want_of_memory_changes_nothing_for_long() {
    compare("with a quota, for long", Dialect::Documented, &[Some(60), Some(120), Some(700)], 4000, long());
}

#[test]
fn the_documented_dialect_is_the_models() {
    compare("documented", Dialect::Documented, &[None], 100, DAILY);
}

#[test]
fn the_kernels_dialect_is_the_models() {
    compare("kernel", Dialect::Kernel, &[None], 200, DAILY);
}

#[test]
fn what_is_refused_for_want_of_memory_changes_nothing() {
    compare("with a quota", Dialect::Documented, &[Some(60), Some(120), Some(700)], 300, DAILY);
}
