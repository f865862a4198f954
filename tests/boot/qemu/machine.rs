//! Machines of other shapes, and how a machine ends.

use libtest_mimic::Trial;
use qemu::{Ended, Machine, Transcript};

use crate::boot::{boot, succeeds_with};
use crate::images::Images;
use crate::tour;

/// From the least RAM to the most, by way of some that is no power of two.
const MEMORY: [&str; 4] = ["256M", "1536M", "3G", "64G"];

/// Returns a trial for each shape.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let memory = MEMORY.into_iter().map(|size| {
        let memory = size.parse().expect("the sizes here are sizes");
        (format!("memory/{size}"), Machine { memory, ..tour::machine(images) })
    });
    let counted = ("icount".to_owned(), Machine { icount: true, ..tour::machine(images) });
    let many = ("smp/8".to_owned(), Machine { smp: 8, ..tour::machine(images) });
    let trial = |(name, machine): (String, Machine)| {
        let boots = move || boot(&machine, |said| succeeds_with(said, tour::FACTS));
        Trial::ignorable_test(format!("machine/{name}"), boots)
    };
    memory.chain([counted, many]).map(trial).chain([exit_status(images)]).collect()
}

/// The conformance guest ends with status 2 when no case is named.
fn exit_status(images: &Images) -> Trial {
    let machine = Machine::new(images.hypervisor(), images.conformance());
    let is_passed_on = |said: &Transcript| match said.ended {
        Ended::Exited(2) => Ok(()),
        ended => Err(format!("{ended}, expected status 2")),
    };
    Trial::ignorable_test("machine/exit-status", move || boot(&machine, is_passed_on))
}
