//! The tour, on every CPU model.

use libtest_mimic::Trial;
use qemu::Machine;

use crate::boot::{CPUS, boot, succeeds_with};
use crate::images::Images;

/// Returns a trial for each CPU model.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let trial = |cpu: &str| {
        let machine = Machine { cpu: cpu.into(), ..machine(images) };
        Trial::ignorable_test(format!("tour/{cpu}"), move || boot(&machine, |said| succeeds_with(said, FACTS)))
    };
    CPUS.into_iter().map(trial).collect()
}

/// Returns the machine that `scripts/run` boots when it is told nothing.
pub(crate) fn machine(images: &Images) -> Machine {
    Machine { bootargs: "inspect=on".into(), ..Machine::new(images.hypervisor(), images.tour()) }
}

/// What the tour shows, whatever the machine: the hole and the abort in it, what the operations cost, the three errors.
pub(crate) const FACTS: &[&str] = &[
    "vmar_map",
    "vmar_op_range COMMIT",
    "vmar_unmap: a hole",
    "0 stores  0+0 TLBI",
    "1+1 TLBI",
    "data abort on a load, ESR 0x96000010, FAR 0x80005000",
    "vmar_op_range DECOMMIT",
    "INVALID_ARGS",
    "BAD_STATE",
    "ACCESS_DENIED",
    "vmar_destroy",
];
