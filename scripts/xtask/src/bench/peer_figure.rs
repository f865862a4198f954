//! What a peer needs for a work: published, or measured.

use std::ops::RangeInclusive;

/// What a peer needs for a work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PeerFigure {
    /// The peer, as it is shown.
    pub(crate) peer: String,
    /// The work, by the name that it has here.
    pub(crate) work: String,
    /// The sizes that it is for.
    pub(crate) sizes: RangeInclusive<u64>,
    /// Instructions, or for an image bytes, for each page, block or call.
    pub(crate) each: f64,
    /// What stands in the way of comparing it as it is.
    pub(crate) note: Option<String>,
}

/// Returns what the peer needs for the work at that size, if that is known.
pub(crate) fn find<'p>(peers: &'p [PeerFigure], peer: &str, work: &str, n: u64) -> Option<&'p PeerFigure> {
    peers.iter().find(|figure| figure.peer == peer && figure.work == work && figure.sizes.contains(&n))
}

/// Returns the peers, each once, in the order of their first figures.
pub(crate) fn names(peers: &[PeerFigure]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for figure in peers {
        if !names.contains(&figure.peer.as_str()) {
            names.push(&figure.peer);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(peer: &str, sizes: RangeInclusive<u64>, each: f64) -> PeerFigure {
        PeerFigure { peer: peer.into(), work: "unmap".into(), sizes, each, note: None }
    }

    #[test]
    fn a_figure_is_found_by_peer_work_and_size() {
        let peers = [figure("Xen", 1..=1, 3.0), figure("Xen", 512..=4096, 2.0), figure("KVM", 1..=1, 1.0)];
        let each = |peer, work, n| find(&peers, peer, work, n).map(|figure| figure.each);
        assert_eq!([1, 512, 4096].map(|n| each("Xen", "unmap", n)), [Some(3.0), Some(2.0), Some(2.0)]);
        assert_eq!(each("KVM", "unmap", 1), Some(1.0));
        assert_eq!([each("Xen", "unmap", 16), each("Xen", "map", 1), each("Hafnium", "unmap", 1)], [None; 3]);
    }

    #[test]
    fn each_peer_is_named_once_in_the_order_of_the_first_figures() {
        let peers = [figure("Xen", 1..=1, 3.0), figure("KVM", 1..=1, 1.0), figure("Xen", 512..=4096, 2.0)];
        assert_eq!(names(&peers), ["Xen", "KVM"]);
    }
}
