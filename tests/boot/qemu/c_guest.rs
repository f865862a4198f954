//! The guest in C, on every CPU model and in both dialects, of which it expects the documented one.

use libtest_mimic::Trial;
use qemu::{Ended, Machine, Transcript};

use crate::boot::{CPUS, boot, succeeds_with};
use crate::images::Images;

/// What it prints: which pages it can load from after each step, and how much was not as it should be.
const FACTS: &[&str] = &[
    "zx_vmar_map, eight pages:\n11111111\n",
    "zx_vmar_unmap, pages 2 to 4:\n11000111\n",
    "zx_vmar_unmap, all:\n00000000\n",
    "what was not as it should be = 0x0\n",
];

/// Returns a trial for each CPU model, and one for the status of a guest that finds something wrong.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let trial = |cpu: &str| {
        let machine = Machine { cpu: cpu.into(), ..Machine::new(images.hypervisor(), images.unmap_in_c()) };
        Trial::ignorable_test(format!("c/{cpu}"), move || boot(&machine, |said| succeeds_with(said, FACTS)))
    };
    CPUS.into_iter().map(trial).chain([other_dialect(images)]).collect()
}

/// In the other dialect one of its checks is wrong: that nothing is found where nothing is mapped.
fn other_dialect(images: &Images) -> Trial {
    let machine =
        Machine { bootargs: "dialect=kernel".into(), ..Machine::new(images.hypervisor(), images.unmap_in_c()) };
    let is_told = |said: &Transcript| match said.ended {
        Ended::Exited(1) if said.console.contains("unmap of nothing\nZX_ERR_NOT_FOUND\nZX_OK\n") => Ok(()),
        ended => Err(format!("{ended}, expected status 1 and the check that is wrong")),
    };
    Trial::ignorable_test("c/other-dialect", move || boot(&machine, is_told))
}
