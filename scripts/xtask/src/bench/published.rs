//! What peers need for the same work, as it was measured earlier under the same flags of QEMU: instructions, one CPU, `-cpu max`.

use std::ops::RangeInclusive;

use super::peer_figure::PeerFigure;

/// What the figures are to be marked with.
pub(crate) const PUBLISHED: &str = "The peers' figures are published ones, not measured here: Debian's Xen 4.17 and Linux 6.12 under \
    QEMU 10's -cpu max, -icount shift=0,sleep=off, one CPU, 4 KiB pages. --peers measures them.";

const XEN: &str = "Xen 4.17";
/// KVM, with VHE, of Linux 6.12.
const KVM: &str = "KVM 6.12";

/// Sizes at which a cost for each of many was measured.
const MANY: RangeInclusive<u64> = 512..=65536;
const BLOCKS: RangeInclusive<u64> = 1..=128;
const ONE: RangeInclusive<u64> = 1..=1;

/// A row: peer, work, sizes, instructions each, note.
type Row = (&'static str, &'static str, RangeInclusive<u64>, f64, Option<&'static str>);

const FAULT: Option<&str> = Some("a fault for each");

const ROWS: &[Row] = &[
    (XEN, "null", ONE, 422.0, None),
    (KVM, "null", ONE, 1290.0, None),
    (XEN, "unknown", ONE, 373.0, None),
    (XEN, "unmap", ONE, 2633.0, None),
    (KVM, "unmap", ONE, 1007.0, Some("KVM's part alone")),
    (XEN, "unmap", MANY, 1798.0, None),
    (KVM, "unmap", MANY, 151.0, Some("551 without range TLBIs")),
    (XEN, "unmap-block", BLOCKS, 751_759.0, None),
    (KVM, "unmap-block", BLOCKS, 200.0, None),
    (XEN, "split", ONE, 7400.0, Some("to 8,700")),
    (KVM, "split", ONE, 4238.0, Some("a fault")),
    (XEN, "commit", MANY, 1928.0, None),
    (KVM, "commit", MANY, 8680.0, FAULT),
    (XEN, "commit-block", BLOCKS, 214_408.0, None),
    (KVM, "touch", 1..=512, 8680.0, Some("4,622 with the page at hand")),
    (XEN, "map", MANY, 397.0, Some("947 for RAM")),
    (KVM, "protect", MANY, 73.0, None),
    (XEN, "decommit", MANY, 2308.0, None),
    (XEN, "image", ONE, 958_464.0, None),
];

/// Returns the figures.
pub(crate) fn published() -> Vec<PeerFigure> {
    let figure = |(peer, work, sizes, each, note): &Row| PeerFigure {
        peer: (*peer).into(),
        work: (*work).into(),
        sizes: sizes.clone(),
        each: *each,
        note: note.map(String::from),
    };
    ROWS.iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peer_figure::find;

    #[test]
    fn no_size_of_a_work_has_two_figures_of_a_peer() {
        let peers = published();
        for figure in &peers {
            for n in [*figure.sizes.start(), *figure.sizes.end()] {
                assert_eq!(find(&peers, &figure.peer, &figure.work, n), Some(figure));
            }
        }
    }
}
