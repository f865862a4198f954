//! The conformance guest's cases, each booted on its own, and recorded: every event of it is judged live and in the trace.

use libtest_mimic::{Failed, Trial};
use qemu::{Case, Machine};

use crate::boot::{CPUS, succeeds_with};
use crate::images::Images;
use crate::trace::boot_recorded;

/// Returns a trial for each case and CPU model, or one that fails where the guest does not list its cases.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    match images.cases() {
        Ok(cases) => CPUS.iter().flat_map(|cpu| cases.iter().map(|case| trial(images, cpu, case))).collect(),
        Err(error) => vec![Trial::test("conformance", move || Err(Failed::from(format!("{error:#}"))))],
    }
}

fn trial(images: &Images, cpu: &str, case: &Case) -> Trial {
    let machine = Machine { cpu: cpu.into(), ..case.machine(&images.hypervisor(), &images.conformance()) };
    let passed = format!("PASS {}\n", case.name);
    let name = format!("conformance/{cpu}/{}", case.name);
    Trial::ignorable_test(name, move || boot_recorded(&machine, |said| succeeds_with(said, &[&passed])))
}
