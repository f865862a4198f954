//! Hypervisors with a bug that was planted, each of which a case of the conformance guest must find: what shows that the
//! cases can fail.

use libtest_mimic::{Failed, Trial};
use qemu::{Ended, Machine, Transcript};

use crate::boot::{Verdict, boot};
use crate::conformance;
use crate::images::Images;

/// A planted bug and the case that finds it.
#[derive(Clone, Copy, Debug)]
struct Plant {
    /// The feature of package `hypervisor` that plants it.
    feature: &'static str,
    /// The case that must fail, and passes without the bug.
    case: &'static str,
    /// What the guest says when it finds the bug, so that nothing else passes for it.
    says: &'static str,
}

const PLANTS: &[Plant] = &[
    Plant { feature: "plant-no-tlbi", case: "T01_unmapped_page_is_gone_at_once", says: ABORT_MISSED },
    Plant {
        feature: "plant-no-tlbi",
        case: "T03_protect_to_read_only_is_effective_at_once",
        says: "expected an abort of the store",
    },
    Plant { feature: "plant-no-tlbi", case: "T04_decommitted_page_reads_zero_at_once", says: "expected 0x0 at" },
    Plant { feature: "plant-no-stage1-tlbi", case: "T01_unmapped_page_is_gone_at_once", says: ABORT_MISSED },
    Plant {
        feature: "plant-no-stage1-tlbi",
        case: "T09_unmapped_page_is_gone_under_another_va_at_once",
        says: ABORT_MISSED,
    },
    Plant { feature: "plant-no-stage2-tlbi", case: "T02_stage1_tables_unmapped_under_the_guest", says: ABORT_MISSED },
    Plant { feature: "plant-local-tlbi", case: "T10_unmapped_page_is_gone_on_another_vcpu_at_once", says: CPU_MISSED },
    Plant {
        feature: "plant-local-tlbi",
        case: "T10_protect_to_read_only_is_effective_on_another_vcpu_at_once",
        says: CPU_MISSED,
    },
    Plant {
        feature: "plant-local-tlbi",
        case: "S2_21_unmapped_page_of_a_block_is_gone_on_another_vcpu_at_once",
        says: CPU_MISSED,
    },
    Plant {
        feature: "plant-no-tlbi",
        case: "S2_22_no_store_follows_the_protection_of_a_page_of_a_block",
        says: "a store was made after the call had returned",
    },
    Plant {
        feature: "plant-no-stage2-tlbi",
        case: "S2_30_stage_1_table_in_a_block_goes_alone_and_comes_back",
        says: ABORT_MISSED,
    },
];

const ABORT_MISSED: &str = "expected an abort of the load at";
const CPU_MISSED: &str = "accesses were made after the call had returned";

/// Returns a trial for each planted bug.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let trial = |plant: &Plant| {
        let (plant, images) = (*plant, images.clone());
        Trial::ignorable_test(format!("planted/{}/{}", plant.feature, plant.case), move || find_bug(plant, &images))
    };
    PLANTS.iter().map(trial).collect()
}

fn find_bug(plant: Plant, images: &Images) -> Verdict {
    let cases = images.cases()?;
    let Some(case) = cases.iter().find(|case| case.name == plant.case) else {
        return Err(Failed::from(format!("the conformance guest has no case {}", plant.case)));
    };
    let machine = Machine { hypervisor: images.planted(plant.feature), ..conformance::machine(images, case) };
    boot(&machine, |said| is_found(plant, said))
}

fn is_found(plant: Plant, said: &Transcript) -> Result<(), String> {
    match said.ended {
        Ended::Exited(0) => Err("the case passed, and the bug was not found".into()),
        Ended::Exited(_) if said.console.contains(plant.says) => Ok(()),
        ended => Err(format!("{ended}, and the console lacks {:?}", plant.says)),
    }
}
