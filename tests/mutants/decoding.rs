//! What exceptions of a guest's say: syndromes and addresses, against what the architecture says that they mean.

use vmsa::{Access, Ipa, Syndrome, fault_ipa};

use crate::run::{Gate, Run, Seen};

const INSTRUCTION: u64 = 0x20;
const DATA: u64 = 0x24;
const WRITE: u64 = 1 << 6;
const WALK: u64 = 1 << 7;
const MAINTENANCE: u64 = 1 << 8;
const TRANSLATION: u64 = 0x07;
const PERMISSION: u64 = 0x0f;

/// Where the data lies, by FAR_EL2, and the page that HPFAR_EL2 names.
const FAR: u64 = 0xffff_0000_0000_0abc;
const HPFAR: u64 = 0x8000_1000 >> 12 << 4;

/// An abort's class and ISS, what it needs, and its address: `None` where HPFAR_EL2 may hold anything.
type Case = (u64, u64, Access, Option<u64>);

const CASES: [Case; 9] = [
    (DATA, TRANSLATION, Access::Read, Some(0x8000_1abc)),
    (DATA, TRANSLATION | WRITE, Access::Write, Some(0x8000_1abc)),
    (DATA, TRANSLATION | WRITE | MAINTENANCE, Access::Read, Some(0x8000_1abc)),
    (INSTRUCTION, TRANSLATION, Access::Execute, Some(0x8000_1abc)),
    (DATA, TRANSLATION | WALK | WRITE, Access::Read, Some(0x8000_1000)),
    (DATA, PERMISSION | WRITE, Access::Write, None),
    (DATA, PERMISSION | WALK, Access::Write, Some(0x8000_1000)),
    (INSTRUCTION, PERMISSION, Access::Execute, None),
    (DATA, 0x0b, Access::Read, Some(0x8000_1abc)),
];

/// Decodes each. The oracle has nothing to say of what is only read.
pub(crate) fn run(run: &mut Run) -> Result<(), Seen> {
    match run.gate {
        Gate::Model => CASES.iter().try_for_each(|case| run.after(faults_of(case))),
        Gate::Oracle => Ok(()),
    }
}

fn faults_of(&(class, iss, access, address): &Case) -> Vec<String> {
    let syndrome = Syndrome(class << 26 | Syndrome::INSTRUCTION_LENGTH | iss);
    let found = syndrome.is_hpfar_valid().then(|| fault_ipa(syndrome, FAR, HPFAR));
    let is_right = syndrome.access() == access && found == address.map(Ipa);
    let what = || format!("ESR_EL2 {:#x} is taken for {:?} at {found:?}", syndrome.0, syndrome.access());
    (!is_right).then(what).into_iter().collect()
}
