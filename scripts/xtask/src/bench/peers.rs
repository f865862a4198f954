//! Other hypervisors that do the same work in the same QEMU: Debian's Xen, and KVM in Debian's Linux.
//!
//! [`measure`] fetches their packages into `target/peers` and boots each with a guest of `guest/peers`, which has it work and counts
//! instructions. Where the packages cannot be had that is [`Unavailable`].

mod child;
mod initramfs;
mod lines;
mod machine;
mod packages;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{cargo, images};
use lines::Line;
use machine::Boot;
use packages::Packages;

use super::peer_figure::PeerFigure;

/// Where the packages, the consoles' texts and what is booted are, in the workspace.
const DIR: &str = "target/peers";

/// The boot argument by which Linux keeps to EL1 and leaves EL2 to KVM.
const NVHE: &str = "kvm-arm.mode=nvhe";
/// What the kernel says where it keeps to EL1, by that argument or for want of FEAT_VHE.
const IS_NVHE: &str = "nVHE mode initialized successfully";

/// Another hypervisor.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Peer {
    /// Xen.
    Xen,
    /// KVM in a Linux that runs at EL2.
    KvmVhe,
    /// KVM in a Linux that runs at EL1.
    KvmNvhe,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Xen => "Xen",
            Self::KvmVhe => "KVM (VHE)",
            Self::KvmNvhe => "KVM (nVHE)",
        })
    }
}

/// What a work takes a peer.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Measurement {
    /// The peer.
    peer: Peer,
    /// The work, by its name in the table.
    work: &'static str,
    /// Over how many pages, or blocks where the work is one on blocks, or calls.
    n: u64,
    /// How many instructions all of them took.
    instructions: u64,
    /// The call by which it was done, and what is particular to it. There may be several of one work and size.
    how: String,
}

impl Measurement {
    /// Returns the instructions for each of `n`.
    fn each(&self) -> f64 {
        self.instructions as f64 / self.n as f64
    }
}

/// What was measured of all peers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Measured {
    /// The figures, in the order in which they were measured.
    figures: Vec<Measurement>,
    /// The version of Xen's package.
    xen_version: String,
    /// The version of Linux's package.
    linux_version: String,
    /// The length of Xen's image in bytes: its text and data.
    xen_image_bytes: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "The peers, measured now: Xen {}, Linux {}; instructions for each of n. Of several\n\
             ways to do a work the first took least. It stands in the table below, at its size; the largest size's at all beyond too.",
            self.xen_version, self.linux_version
        )?;
        writeln!(f, "  {:10} {:12} {:>6} {:>12}  by", "peer", "work", "n", "each")?;
        for measurement in self.sorted() {
            let Measurement { peer, work, n, how, .. } = measurement;
            writeln!(f, "  {peer:10} {work:12} {n:>6} {:>12.1}  {how}", measurement.each())?;
        }
        writeln!(f)
    }
}

impl Measured {
    /// Returns what was measured by peer, work and size, and of several ways the one that took least first.
    fn sorted(&self) -> Vec<&Measurement> {
        let mut sorted: Vec<_> = self.figures.iter().collect();
        sorted.sort_by_key(|figure| (figure.peer, figure.work, figure.n, figure.instructions));
        sorted
    }

    /// Returns what our own figures are compared with: of several ways to do a work the one that took least, at the size at which it
    /// was measured, and the largest size's at those beyond.
    pub(crate) fn to_compare(&self) -> Vec<PeerFigure> {
        let mut least = self.sorted();
        least.dedup_by_key(|figure| (figure.peer, figure.work, figure.n));
        let works = least.chunk_by(|one, next| (one.peer, one.work) == (next.peer, next.work));
        let mut all: Vec<_> = works.flat_map(compared).collect();
        all.push(PeerFigure {
            peer: Peer::Xen.to_string(),
            work: "image".into(),
            sizes: 1..=1,
            each: self.xen_image_bytes as f64,
            note: None,
        });
        all
    }
}

/// Why the peers cannot be had here: what is missing, where, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unavailable(String);

impl Unavailable {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peers cannot be had here: {}; with a mirror of Debian in reach of apt, try again", self.0)
    }
}

impl std::error::Error for Unavailable {}

/// Measures all peers on a CPU model, which takes minutes; what it does is told on the error stream.
///
/// A CPU without FEAT_VHE has no figures of [`Peer::KvmVhe`].
///
/// # Errors
///
/// [`Unavailable`] where the packages cannot be had, and otherwise what does not build, boot or come to its end.
pub(crate) fn measure(cpu: &str) -> Result<Measured> {
    let dir = cargo::workspace().join(DIR);
    let packages = packages::obtain(&dir)?;
    let (xen_guest, kvm_guest) = images::build_peers()?;
    let initramfs = dir.join("initramfs.cpio");
    initramfs::create(&kvm_guest, &initramfs)?;
    let xen = Boot::Xen { xen: packages.xen.clone(), guest: xen_guest };
    let linux = |append| Boot::Linux { kernel: packages.linux.clone(), initramfs: initramfs.clone(), append };
    let mut figures = measure_xen(&xen, cpu, &dir)?;
    eprintln!("    Booting Linux");
    let (own_mode, of_kvm) = measure_kvm(&linux(""), cpu, &dir)?;
    figures.extend(of_kvm);
    if own_mode == Peer::KvmVhe {
        eprintln!("    Booting Linux again, with {NVHE}");
        figures.extend(measure_kvm(&linux(NVHE), cpu, &dir)?.1);
    }
    let Packages { xen, xen_version, linux_version, .. } = packages;
    let xen_image_bytes = fs::metadata(&xen).with_context(|| format!("{} cannot be read", xen.display()))?.len();
    Ok(Measured { figures, xen_version, linux_version, xen_image_bytes })
}

fn measure_xen(boot: &Boot, cpu: &str, dir: &Path) -> Result<Vec<Measurement>> {
    eprintln!("    Booting Xen");
    Ok(attribute(Peer::Xen, machine::measure(boot, cpu, &dir.join("xen.log"), |_| {})?))
}

/// Measures KVM as Linux has set it up, and tells how that was.
fn measure_kvm(boot: &Boot, cpu: &str, dir: &Path) -> Result<(Peer, Vec<Measurement>)> {
    let mut peer = Peer::KvmVhe;
    let lines = machine::measure(boot, cpu, &dir.join("linux.log"), |line| {
        if line.ends_with(IS_NVHE) {
            peer = Peer::KvmNvhe;
        }
    })?;
    Ok((peer, attribute(peer, lines)))
}

/// Makes what ours are compared with from measurements of one peer and work, in the order of their sizes.
fn compared<'m>(sizes: &'m [&Measurement]) -> impl Iterator<Item = PeerFigure> + 'm {
    let largest = sizes.last().map(|figure| figure.n);
    sizes.iter().map(move |figure| {
        let last = if Some(figure.n) == largest { u64::MAX } else { figure.n };
        PeerFigure {
            peer: figure.peer.to_string(),
            work: figure.work.into(),
            sizes: figure.n..=last,
            each: figure.each(),
            // How it was done is printed with all that was measured.
            note: None,
        }
    })
}

/// Makes figures of a peer's from its guest's lines.
fn attribute(peer: Peer, lines: Vec<Line>) -> Vec<Measurement> {
    let figure = |line| match line {
        Line::Figure { work, n, instructions, how } => Some(Measurement { peer, work, n, instructions, how }),
        _ => None,
    };
    lines.into_iter().filter_map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peer_figure::find;

    fn measured() -> Measured {
        let figure =
            |peer, n, instructions, how: &str| Measurement { peer, work: "unmap", n, instructions, how: how.into() };
        Measured {
            figures: vec![
                figure(Peer::Xen, 512, 5120, "dear"),
                figure(Peer::Xen, 512, 1024, "cheap"),
                figure(Peer::Xen, 1, 7, "one"),
                figure(Peer::KvmVhe, 64, 64, "KVM's"),
            ],
            xen_version: String::new(),
            linux_version: String::new(),
            xen_image_bytes: 9,
        }
    }

    #[test]
    fn the_cheapest_way_is_compared_at_its_size_and_the_largest_beyond() {
        let compared = measured().to_compare();
        let each = |peer: Peer, n| find(&compared, &peer.to_string(), "unmap", n).map(|found| found.each);
        assert_eq!([1, 16, 512, 4096].map(|n| each(Peer::Xen, n)), [Some(7.0), None, Some(2.0), Some(2.0)]);
        assert_eq!([1, 64].map(|n| each(Peer::KvmVhe, n)), [None, Some(1.0)]);
        assert_eq!(compared.last().map(|image| (image.work.as_str(), image.each)), Some(("image", 9.0)));
    }

    #[test]
    fn all_ways_are_listed_by_size_with_the_cheapest_first() {
        let text = measured().to_string();
        let ways: Vec<_> = text.lines().skip(3).filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(ways, ["one", "cheap", "dear", "KVM's"]);
    }
}
