//! The packages that the peers come in: fetched by apt with lists of its own, and unpacked, not installed.
//!
//! Nothing of the machine's apt changes. Where it has Debian from and who signs that is taken from its own sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Unavailable;
use super::child::follow;
use crate::cargo;

/// What is compared with has not changed for years; Debian has it in the suites of this release.
const RELEASE: &str = "bookworm";
const XEN: &str = "xen-hypervisor-4.17-arm64";
/// The package that depends on the newest kernel's.
const LINUX: &str = "linux-image-arm64";

/// How long a step may take: one fetches 100 MB.
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// What was unpacked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Packages {
    /// Xen's image.
    pub(super) xen: PathBuf,
    /// The version of its package.
    pub(super) xen_version: String,
    /// The kernel's image.
    pub(super) linux: PathBuf,
    /// The version of its package.
    pub(super) linux_version: String,
}

/// Returns the packages that lie unpacked in `dir`, and fetches them where they do not.
///
/// # Errors
///
/// What they lack, where, and what to do.
pub(super) fn obtain(dir: &Path) -> Result<Packages, Unavailable> {
    if let Some(packages) = find(dir) {
        return Ok(packages);
    }
    fetch(dir).map_err(|error| Unavailable::new(format!("{error:#}")))?;
    find(dir).ok_or_else(|| {
        Unavailable::new(format!(
            "the packages in {} hold no image of Xen and of Linux; remove it to try anew",
            dir.display()
        ))
    })
}

/// Each version lies in a folder named after it, which has its name once it is whole.
fn find(dir: &Path) -> Option<Packages> {
    let (xen_version, xen) = image(&dir.join("xen"), "xen-", "arm64")?;
    let (linux_version, linux) = image(&dir.join("linux"), "vmlinuz-", "arm64")?;
    Some(Packages { xen, xen_version, linux, linux_version })
}

/// Returns the version and the image whose name starts and ends like that.
fn image(dir: &Path, start: &str, end: &str) -> Option<(String, PathBuf)> {
    let version = names(dir).into_iter().find(|name| !name.starts_with('.'))?;
    let boot = dir.join(&version).join("boot");
    let name = names(&boot).into_iter().find(|name| name.starts_with(start) && name.ends_with(end))?;
    Some((version, boot.join(name)))
}

/// Returns the names of what is in a folder, in order; of one that there is not, none.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn fetch(dir: &Path) -> Result<()> {
    eprintln!("    Fetching {XEN} and {LINUX} for arm64, to be unpacked in {}", dir.display());
    let apt = Apt::new(dir.join("apt"))?;
    apt.update()?;
    let xen = Package { name: XEN.into(), version: first_version(&apt.ask("show", XEN)?).context(missing(XEN))? };
    let linux = needed_package(&apt.ask("show", LINUX)?).context(missing(LINUX))?;
    apt.unpack(&xen, &dir.join("xen"))?;
    apt.unpack(&linux, &dir.join("linux"))
}

fn missing(package: &str) -> String {
    format!("{RELEASE} of this machine's Debian mirror has no {package} for arm64")
}

/// A package in one version.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Package {
    name: String,
    version: String,
}

/// Returns the version in the first of the entries that `apt-cache show` prints, which is the newest.
fn first_version(shown: &str) -> Option<String> {
    shown.lines().find_map(|line| line.strip_prefix("Version: ")).map(Into::into)
}

/// Returns what the first entry depends on: the package of one kernel, in its version.
fn needed_package(shown: &str) -> Option<Package> {
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let (name, version) = depends.split(',').next()?.split_once(" (= ")?;
    Some(Package { name: name.into(), version: version.strip_suffix(')')?.into() })
}

/// apt for another architecture, with one source and all of its files in one folder.
struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn new(dir: PathBuf) -> Result<Self> {
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("{} cannot be made", dir.display()))?;
        }
        fs::write(dir.join("peers.sources"), sources()?)?;
        fs::write(dir.join("status"), "")?;
        Ok(Self { dir })
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.dir.display();
        let mut command = Command::new(program);
        for option in [
            "Dir::Etc::SourceList=/dev/null".into(),
            format!("Dir::Etc::SourceParts={dir}"),
            format!("Dir::State={dir}"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            "APT::Architecture=arm64".into(),
            "APT::Architectures=arm64".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=2".into(),
            "Acquire::http::Timeout=60".into(),
            "Acquire::https::Timeout=60".into(),
        ] {
            command.args(["-o", &option]);
        }
        command.current_dir(&self.dir).env("LC_ALL", "C");
        command
    }

    fn update(&self) -> Result<()> {
        let mut command = self.command("apt-get");
        // Without this a source that cannot be had is a warning.
        command.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]);
        run(command, "apt-get update").map(drop)
    }

    fn ask(&self, question: &str, package: &str) -> Result<String> {
        let mut command = self.command("apt-cache");
        command.args([question, package]);
        run(command, &format!("apt-cache {question} {package}"))
    }

    /// Unpacks the part of a package that boots into a folder that is named after its version.
    fn unpack(&self, package: &Package, dir: &Path) -> Result<()> {
        let Package { name, version } = package;
        let whole = dir.join(version);
        if whole.exists() {
            return Ok(());
        }
        eprintln!("    Fetching {name} {version}");
        let mut download = self.command("apt-get");
        download.args(["-q", "download", &format!("{name}={version}")]);
        run(download, &format!("apt-get download {name}"))?;
        let files = names(&self.dir);
        let is_it = |file: &&String| file.starts_with(&format!("{name}_")) && file.ends_with(".deb");
        let file = self.dir.join(files.iter().find(is_it).context("apt-get has downloaded nothing")?);
        let partial = dir.join(".partial");
        fs::create_dir_all(&partial)?;
        extract_boot(&file, &partial)?;
        fs::rename(&partial, whole)?;
        Ok(fs::remove_file(file)?)
    }
}

/// The modules of a kernel are not needed, and ten times as large as all else.
fn extract_boot(package: &Path, dir: &Path) -> Result<()> {
    let mut archive = Command::new("dpkg-deb");
    archive.arg("--fsys-tarfile").arg(package).stdout(Stdio::piped());
    let mut archive = archive.spawn().context("dpkg-deb cannot be started")?;
    let pipe = archive.stdout.take().context("dpkg-deb has no output")?;
    let taken = Command::new("tar").args(["-x", "-C"]).arg(dir).arg("./boot").stdin(pipe).status();
    let given = archive.wait()?;
    let taken = taken.context("tar cannot be started")?;
    ensure!(
        taken.success() && given.success(),
        "{} cannot be unpacked: dpkg-deb ({given}), tar ({taken})",
        package.display()
    );
    Ok(())
}

/// Returns a source for apt: the suites of [`RELEASE`], from where this machine has its own.
fn sources() -> Result<String> {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = codename(&os_release).context("Debian's packages are had where Debian is; this machine is none")?;
    let mut awk = Command::new("awk");
    awk.arg("-v").arg(format!("suite={codename}")).arg("-f").arg(cargo::workspace().join("scripts/apt-source.awk"));
    awk.args(own_sources());
    let place = run(awk, "scripts/apt-source.awk")?;
    ensure!(
        !place.trim().is_empty(),
        "no source of this machine's apt has {codename} main; apt-cache policy lists them"
    );
    Ok(format!("Types: deb\nSuites: {RELEASE} {RELEASE}-backports\nComponents: main\n{place}"))
}

/// Debian's own usual files are asked first, as others may call their suites as it does.
fn own_sources() -> Vec<PathBuf> {
    let parts = Path::new("/etc/apt/sources.list.d");
    let usual = [parts.join("debian.sources"), "/etc/apt/sources.list".into()];
    let is_source = |name: &String| name.ends_with(".sources") || name.ends_with(".list");
    let others = names(parts).into_iter().filter(is_source).map(|name| parts.join(name));
    usual.into_iter().chain(others).filter(|file| file.exists()).collect()
}

/// Returns the release of Debian that `/etc/os-release` names.
fn codename(os_release: &str) -> Option<&str> {
    let value = |key| os_release.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'));
    value("ID=").filter(|id| *id == "debian").and_then(|_| value("VERSION_CODENAME="))
}

/// Runs a program and returns what it printed; where it fails that is what its last lines say.
fn run(command: Command, name: &str) -> Result<String> {
    let mut lines = Vec::new();
    let status = follow(command, TIME_LIMIT, |line| lines.push(line.to_string()))?;
    let end = lines.len().saturating_sub(3);
    ensure!(status.success(), "{name} failed: {}", lines[end..].join("; "));
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
Package: linux-image-arm64
Version: 6.12.95-1~bpo12+1
Depends: linux-image-6.12.95+deb12-arm64 (= 6.12.95-1~bpo12+1)
Description: Linux for 64-bit ARMv8 machines (meta-package)

Package: linux-image-arm64
Version: 6.1.176-1
Depends: linux-image-6.1.0-50-arm64 (= 6.1.176-1)
";

    #[test]
    fn the_newest_kernel_is_what_the_first_entry_depends_on() {
        let kernel = Package { name: "linux-image-6.12.95+deb12-arm64".into(), version: "6.12.95-1~bpo12+1".into() };
        assert_eq!(needed_package(SHOWN), Some(kernel));
        assert_eq!(first_version(SHOWN).as_deref(), Some("6.12.95-1~bpo12+1"));
    }

    #[test]
    fn what_names_no_package_gives_none() {
        assert_eq!(needed_package(""), None);
        assert_eq!(needed_package("Depends: linux-image-6.1.0-50-arm64\n"), None);
        assert_eq!(first_version("N: Unable to locate package\n"), None);
    }

    #[test]
    fn only_debian_has_a_codename_here() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"trixie\"\nID=\"debian\"\n"), Some("trixie"));
        assert_eq!(codename("ID=ubuntu\nVERSION_CODENAME=noble\nID_LIKE=debian\n"), None);
        assert_eq!(codename(""), None);
    }

    #[test]
    fn only_what_is_whole_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let add = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        add("xen/4.17.5-1/boot/xen-4.17-arm64");
        add("xen/4.17.5-1/boot/xen-4.17-arm64.config");
        add("linux/.partial/boot/vmlinuz-6.12-arm64");
        assert_eq!(find(dir.path()), None);
        add("linux/6.12.95-1/boot/vmlinuz-6.12-arm64");
        let found = find(dir.path()).unwrap();
        assert_eq!((found.xen_version.as_str(), found.linux_version.as_str()), ("4.17.5-1", "6.12.95-1"));
        assert!(found.xen.ends_with("xen/4.17.5-1/boot/xen-4.17-arm64"), "{}", found.xen.display());
        assert!(found.linux.ends_with("linux/6.12.95-1/boot/vmlinuz-6.12-arm64"), "{}", found.linux.display());
    }
}
