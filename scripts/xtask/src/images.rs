//! The images that boot: the hypervisor, as it is, without oracle or with planted bugs, and the guests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::{self, Executable, MACHINE_TARGET};

/// The guest that is booted where none is named: the tour.
pub(crate) const TOUR: &str = "hello";
const HYPERVISOR: &str = "hypervisor";

/// Builds the hypervisor and returns where it is.
pub(crate) fn build_hypervisor() -> Result<PathBuf> {
    named(build(&["--package", "hypervisor"])?, HYPERVISOR)
}

/// Builds the guests and returns where the tour is.
pub(crate) fn build_tour() -> Result<PathBuf> {
    named(build(&["--package", "guest", "--bins"])?, TOUR)
}

/// Builds the guests that measure other hypervisors, and returns where they are: Xen's and KVM's.
pub(crate) fn build_peers() -> Result<(PathBuf, PathBuf)> {
    let guests = build(&["--package", "peers", "--bins"])?;
    Ok((named(guests.clone(), "peer-xen")?, named(guests, "peer-kvm")?))
}

/// Builds every guest and the hypervisor, and returns where they are.
pub(crate) fn build_all() -> Result<Vec<PathBuf>> {
    let guests = build(&["--package", "guest", "--bins"])?.into_iter().map(|guest| guest.path);
    Ok(guests.chain([build_hypervisor()?]).collect())
}

/// Builds the guests for the tests, and copies them into a folder of its own, so that what is built while the tests run is
/// not what they boot. Those in C are built there.
pub(crate) fn build_guests_for_tests() -> Result<PathBuf> {
    let dir = build_guests()?;
    build_in_c("unmap", &dir.join("unmap-in-c"))?;
    Ok(dir)
}

fn build_guests() -> Result<PathBuf> {
    let guests = build(&["--package", "guest", "--bins"])?;
    let dir = guests.first().and_then(|guest| guest.path.parent()).context("there are no guests")?.join("images");
    guests.iter().try_for_each(|guest| copy_into(&dir, &guest.path))?;
    Ok(dir)
}

/// Builds a guest of `guest/c` by the script that anybody builds one by.
fn build_in_c(name: &str, image: &Path) -> Result<()> {
    let dir = cargo::workspace().join("guest/c");
    let source = dir.join(name).with_extension("c");
    let status = Command::new(dir.join("cc")).arg("-o").arg(image).arg(&source).status().context("guest/c/cc")?;
    ensure!(status.success(), "{} does not compile", source.display());
    Ok(())
}

/// Builds the hypervisor for the tests into the folder of the guests.
pub(crate) fn build_hypervisor_for_tests(images: &Path) -> Result<()> {
    copy_into(images, &build_hypervisor()?)
}

/// Builds the hypervisor with planted bugs into a folder of the guests' folder, and the sound one, which is thus the one that
/// cargo leaves in its place.
pub(crate) fn build_planted_hypervisor(images: &Path) -> Result<()> {
    let planted = named(build(&["--package", "hypervisor", "--features", "armed"])?, HYPERVISOR)?;
    copy_into(&images.join("planted"), &planted)?;
    build_hypervisor().map(drop)
}

/// Builds the hypervisor without oracle, which is what benchmarks are of, into a folder of the guests' folder, and the one with it,
/// which is thus the one that cargo leaves in its place. Returns where it is.
pub(crate) fn build_unwatched_hypervisor(images: &Path) -> Result<PathBuf> {
    let unwatched = named(build(&["--package", "hypervisor", "--features", "unwatched"])?, HYPERVISOR)?;
    copy_into(&images.join("unwatched"), &unwatched)?;
    build_hypervisor()?;
    Ok(unwatched_hypervisor(images))
}

/// Returns where the hypervisor without oracle is built into.
pub(crate) fn unwatched_hypervisor(images: &Path) -> PathBuf {
    images.join("unwatched").join(HYPERVISOR)
}

/// Returns where the hypervisor with the oracle is built into.
pub(crate) fn hypervisor(images: &Path) -> PathBuf {
    images.join(HYPERVISOR)
}

/// Returns where a guest is.
pub(crate) fn guest(images: &Path, name: &str) -> PathBuf {
    images.join(name)
}

/// Builds what benchmarks boot, and returns the folder.
pub(crate) fn build_for_bench() -> Result<PathBuf> {
    let images = build_guests()?;
    build_unwatched_hypervisor(&images)?;
    build_hypervisor_for_tests(&images)?;
    Ok(images)
}

fn build(arguments: &[&str]) -> Result<Vec<Executable>> {
    cargo::build(&[&["build", "--release", "--target", MACHINE_TARGET], arguments].concat())
}

fn named(executables: Vec<Executable>, name: &str) -> Result<PathBuf> {
    let found = executables.into_iter().find(|executable| executable.target == name);
    found.map(|executable| executable.path).with_context(|| format!("no package has a program {name}"))
}

fn copy_into(dir: &Path, image: &Path) -> Result<()> {
    let name = image.file_name().context("an image has no name")?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::copy(image, dir.join(name)).map(drop))
        .with_context(|| format!("{} cannot be copied to {}", image.display(), dir.display()))
}
