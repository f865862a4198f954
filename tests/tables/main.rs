//! `hypervisor/stage2` on the simulated machine, against a flat map from page to frame and permissions.

mod adversary;
mod bench;
mod costs;
mod flags;
mod flat;
mod memory;
mod operations;
mod planted;
mod random;
mod shapes;
mod sizes;
mod small_scope;
mod steps;
mod verdicts;
mod vmids;
mod world;
