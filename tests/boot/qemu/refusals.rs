//! What the hypervisor itself refuses to start: told in one line of its log, before the guest runs.

use std::fs;

use libtest_mimic::Trial;
use qemu::{Ended, Machine, Transcript};

use crate::boot::{Verdict, boot};
use crate::images::Images;
use crate::tour;

/// Boot arguments that are wrong. The line says which, and what it should be.
const WRONG_ARGUMENTS: [(&str, &str); 7] = [
    ("bbm=9", "expected `0`, `1` or `2`"),
    ("dialect=klingon", "expected `documented` or `kernel`"),
    ("inspect=maybe", "expected `on` or `off`"),
    ("ipa=99", "expected a width"),
    ("ram=lots", "expected a size"),
    ("ram=1", "expected a size"),
    ("seed=zz", "expected a number"),
];

/// Fields of an ELF file that are overwritten, by their offsets, and what the line says then.
const WRONG_FIELDS: [(&str, usize, &str); 2] = [
    ("entry-without-code", 24, "it starts at 0x1000, where it has no code"),
    // The first program header follows the file header, and its p_paddr is its fourth field.
    ("segment-outside-the-ram", 64 + 24, "do not lie in the RAM"),
];

/// Returns a trial for each.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let arguments = WRONG_ARGUMENTS.into_iter().map(|(argument, says)| {
        let machine = Machine { bootargs: argument.into(), ..tour::machine(images) };
        let is_named = move |said: &Transcript| refuses(said, argument).and_then(|()| refuses(said, says));
        Trial::ignorable_test(format!("refuses/argument/{argument}"), move || boot(&machine, is_named))
    });
    let fields = WRONG_FIELDS.into_iter().map(|(name, offset, says)| {
        let images = images.clone();
        Trial::ignorable_test(format!("refuses/guest/{name}"), move || refuses_guest(&images, offset, says))
    });
    arguments.chain(fields).chain([planted_bugs(images)]).collect()
}

/// The hypervisor that everybody else boots has no planted bugs: it does not know the argument that chooses one.
fn planted_bugs(images: &Images) -> Trial {
    let machine = Machine { append: "planted=1".into(), ..tour::machine(images) };
    let is_named = |said: &Transcript| refuses(said, "hypervisor's boot argument `planted=1`");
    Trial::ignorable_test("refuses/planted-bugs", move || boot(&machine, is_named))
}

fn refuses_guest(images: &Images, offset: usize, says: &str) -> Verdict {
    let dir = tempfile::tempdir()?;
    let guest = dir.path().join("guest.elf");
    let mut image = fs::read(images.tour())?;
    image[offset..offset + 8].copy_from_slice(&0x1000_u64.to_le_bytes());
    fs::write(&guest, image)?;
    boot(&Machine { guest, ..tour::machine(images) }, |said| refuses(said, says))
}

fn refuses(said: &Transcript, says: &str) -> Result<(), String> {
    let is_one_line = said.log.lines().count() == 1 && said.console.is_empty();
    match said.ended {
        Ended::Exited(1..) if is_one_line && said.log.contains(says) => Ok(()),
        ended => Err(format!("{ended}, expected a failure that one line of the log explains, with {says:?}")),
    }
}
