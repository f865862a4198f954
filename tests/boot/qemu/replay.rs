//! Random programs, made here with what the model says must come of them, on the hypervisor in a booted machine.

#[path = "../../../guest/src/bin/replay/format.rs"]
mod format;
mod image;
mod record;

use abi::Call;
use libtest_mimic::{Failed, Trial};
use model::{Config, Dialect};
use qemu::Machine;
use record::Recording;

use crate::boot::{CPUS, boot, succeeds_with};
use crate::images::Images;

/// The calls that are not made: what a device's registers hold is not the model's.
const WITHOUT: &[Call] = &[Call::VmoCreatePhysical];

/// Where programs work, and the step that makes the region.
const FIELD: u64 = 0x8000_0000;
const FIELD_BYTES: u64 = 4096 << 12;
const FIELD_STEP: u32 = 3;

/// How many calls a boot replays.
const CALLS: u64 = 30_000;

/// Returns a trial for each CPU model, the dialects by turns.
pub(crate) fn trials(images: &Images) -> Vec<Trial> {
    let dialects = [Dialect::Documented, Dialect::Kernel].into_iter().cycle();
    CPUS.iter().zip(dialects).zip(1..).map(|((cpu, dialect), seed)| trial(images, cpu, dialect, seed)).collect()
}

fn trial(images: &Images, cpu: &'static str, dialect: Dialect, seed: u64) -> Trial {
    let images = images.clone();
    let word = if dialect == Dialect::Kernel { "kernel" } else { "documented" };
    Trial::ignorable_test(format!("replay/{cpu}/{word}"), move || {
        let config = Config { dialect, ram_bytes: 64 << 20, space_bytes: 1 << 39, mmio: Some((0x901_0000, 4096)) };
        let recording = Recording::new(config, seed, CALLS);
        let guest = image::with_program(&images.replay(), format::PROGRAM, &recording.bytes())?;
        let bootargs = format!("dialect={word} ram=64M mmio=0x9010000+4K").into();
        let machine = Machine { cpu: cpu.into(), bootargs, ..Machine::new(images.hypervisor(), guest.path()) };
        let passed = format!("REPLAYED {} calls\n", recording.calls);
        let said = std::cell::RefCell::new(String::new());
        let verdict = boot(&machine, |transcript| {
            said.replace(transcript.console.clone());
            succeeds_with(transcript, &[&passed])
        });
        verdict.map_err(|failed| with_program_text(&failed, &said.borrow(), &recording))
    })
}

/// Adds the text of the program that went wrong.
fn with_program_text(failed: &Failed, console: &str, recording: &Recording) -> Failed {
    let number =
        console.lines().find_map(|line| line.strip_prefix("program ")?.split(' ').next()?.parse::<usize>().ok());
    let text = number.and_then(|number| recording.texts.get(number)).map_or("", String::as_str);
    format!("{}\n--- the program\n{text}", failed.message().unwrap_or_default()).into()
}
