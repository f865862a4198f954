//! Other hypervisors that do the same work in the same QEMU: Debian's Xen, and KVM in Debian's Linux.
//!
//! [`measure`] fetches their packages into `target/peers` and boots each with a guest of `guest/peers`, which has it work and counts
//! instructions. Where the packages cannot be had that is [`Unavailable`].

mod child;
mod initramfs;
mod lines;
mod machine;
mod packages;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Bound::{Excluded, Included};
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
            "The peers, measured now: Xen {}, Linux {}; instructions for each of n",
            self.xen_version, self.linux_version
        )?;
        for Measurement { peer, work, n, instructions, how } in &self.figures {
            let each = *instructions as f64 / *n as f64;
            writeln!(f, "  {peer:10} {work:12} {n:>6} {each:>12.1}  {how}")?;
        }
        writeln!(f)
    }
}

impl Measured {
    /// Returns what our own figures are compared with: of several ways to do a work the one that took least, from the size at which
    /// it was measured up to the next.
    pub(crate) fn to_compare(&self) -> Vec<PeerFigure> {
        let mut least: BTreeMap<(Peer, &str, u64), &Measurement> = BTreeMap::new();
        for figure in &self.figures {
            let known = least.entry((figure.peer, figure.work, figure.n)).or_insert(figure);
            if figure.instructions < known.instructions {
                *known = figure;
            }
        }
        let next_size = |peer, work, n| {
            let mut larger = least.range((Excluded((peer, work, n)), Included((peer, work, u64::MAX))));
            larger.next().map_or(u64::MAX, |((_, _, larger), _)| larger - 1)
        };
        let compared = |(&(peer, work, n), figure): (&(Peer, &'static str, u64), &&Measurement)| PeerFigure {
            peer: peer.to_string(),
            work: work.into(),
            sizes: n..=next_size(peer, work, n),
            each: figure.instructions as f64 / n as f64,
            note: Some(format!("at {n}: {}", figure.how)),
        };
        let mut all: Vec<_> = least.iter().map(compared).collect();
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
    let (own_mode, of_kvm) = measure_kvm(&linux(""), cpu, &dir)?;
    figures.extend(of_kvm);
    if own_mode == Peer::KvmVhe {
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
    eprintln!("    Booting Linux");
    let lines = machine::measure(boot, cpu, &dir.join("linux.log"), |line| {
        if line.ends_with(IS_NVHE) {
            peer = Peer::KvmNvhe;
        }
    })?;
    Ok((peer, attribute(peer, lines)))
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

    #[test]
    fn the_cheapest_way_is_compared_up_to_the_next_size() {
        let figure =
            |peer, n, instructions, how: &str| Measurement { peer, work: "unmap", n, instructions, how: how.into() };
        let measured = Measured {
            figures: vec![
                figure(Peer::Xen, 512, 5120, "dear"),
                figure(Peer::Xen, 512, 1024, "cheap"),
                figure(Peer::Xen, 1, 7, "one"),
                figure(Peer::KvmVhe, 64, 64, "KVM's"),
            ],
            xen_version: String::new(),
            linux_version: String::new(),
            xen_image_bytes: 9,
        };
        let compared = measured.to_compare();
        let each = |peer: Peer, n| find(&compared, &peer.to_string(), "unmap", n).map(|found| found.each);
        assert_eq!([1, 511, 512, 4096].map(|n| each(Peer::Xen, n)), [Some(7.0), Some(7.0), Some(2.0), Some(2.0)]);
        assert_eq!([1, 64].map(|n| each(Peer::KvmVhe, n)), [None, Some(1.0)]);
        assert_eq!(compared.last().map(|image| (image.work.as_str(), image.each)), Some(("image", 9.0)));
    }
}
