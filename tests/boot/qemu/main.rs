//! What only a booted machine can show, one boot a test.
//!
//! `scripts/test` builds what is booted and names its folder in `STAGECRAFT_IMAGES`. Without that there is one test here,
//! and it is skipped. A test on a CPU model that the installed QEMU lacks is skipped too.

mod boot;
mod c_guest;
mod conformance;
mod images;
mod linux_image;
mod machine;
mod refusals;
mod replay;
mod script;
mod tour;
mod trace;

use images::Images;
use libtest_mimic::{Arguments, Completion, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let trials = match Images::from_env() {
        Some(images) => all(&images),
        None => vec![not_built()],
    };
    libtest_mimic::run(&arguments, trials).exit();
}

fn all(images: &Images) -> Vec<Trial> {
    let families: [fn(&Images) -> Vec<Trial>; 9] = [
        tour::trials,
        conformance::trials,
        c_guest::trials,
        machine::trials,
        linux_image::trials,
        refusals::trials,
        replay::trials,
        script::trials,
        trace::trials,
    ];
    families.into_iter().flat_map(|trials| trials(images)).collect()
}

fn not_built() -> Trial {
    let reason = "nothing is built that could be booted: use scripts/test qemu/";
    Trial::ignorable_test("images", move || Ok(Completion::ignored_with(reason)))
}
