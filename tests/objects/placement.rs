//! Where regions go for which no place is asked.

use std::collections::{BTreeMap, BTreeSet};

use abi::{Call, Status, VmOptions};
use proptest::prelude::*;

use crate::guest::{CAN_ALL, Guest, P, PLACED, R, documented};

const LIMIT: VmOptions = VmOptions::OFFSET_IS_UPPER_LIMIT;

fn aligned(log2: u32) -> VmOptions {
    VmOptions::from_bits_retain(log2 << 24)
}

fn vmar(guest: &Guest, extra: VmOptions, size: u64) -> (u64, u64) {
    let options = u64::from((PLACED | CAN_ALL | extra).bits());
    let [vmar, base, _] = guest.call(Call::VmarAllocate, &[guest.root(), options, 1 << 33, size]).unwrap();
    (vmar, base)
}

/// Places pages in the VMAR and takes them away again, many times; returns how often they came to each page.
fn tally(guest: &Guest, vmar: u64, base: u64, options: VmOptions, offset: u64, pages: u64) -> BTreeMap<u64, u32> {
    let vmo = guest.vmo(1);
    let mut tally = BTreeMap::new();
    for _ in 0..2000 {
        let at = guest.try_map(vmar, R | options, offset, vmo, 0, pages * P).unwrap();
        guest.unmap(vmar, at, pages * P).unwrap();
        *tally.entry((at - base) / P).or_default() += 1;
    }
    tally
}

/// The expectation: all of `spots` and no others, each about equally often. Six deviations of a fair die's throws are allowed.
fn is_fair(tally: &BTreeMap<u64, u32>, spots: &[u64]) {
    let expected = 2000.0 / spots.len() as f64;
    let most = 6.0 * expected.sqrt();
    assert_eq!(tally.keys().copied().collect::<Vec<_>>(), spots);
    assert!(tally.values().all(|count| (f64::from(*count) - expected).abs() < most), "{tally:?}");
}

#[test]
fn every_place_that_fits_is_as_likely_as_any_other() {
    for compact in [VmOptions::empty(), VmOptions::COMPACT] {
        let guest = documented();
        let (vmar, base) = vmar(&guest, compact, 24 * P);
        let vmo = guest.vmo(4);
        // Gaps of 5, 1, 8 and 4 pages.
        for (at, pages) in [(5, 2), (8, 1), (17, 3)] {
            guest.map(vmar, at * P, vmo, pages);
        }
        let any = VmOptions::empty();
        is_fair(
            &tally(&guest, vmar, base, any, 0, 1),
            &[0, 1, 2, 3, 4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23],
        );
        is_fair(&tally(&guest, vmar, base, any, 0, 3), &[0, 1, 2, 9, 10, 11, 12, 13, 14, 20, 21]);
        is_fair(&tally(&guest, vmar, base, LIMIT, 15 * P, 3), &[0, 1, 2, 9, 10, 11, 12]);
        is_fair(&tally(&guest, vmar, base, aligned(13), 0, 3), &[0, 2, 10, 12, 14, 20]);
        is_fair(&tally(&guest, vmar, base, LIMIT | aligned(14), 22 * P, 2), &[0, 12, 20]);
    }
}

/// The only free pages are too few to be found by trying.
#[test]
fn the_last_places_are_found_and_as_likely() {
    let guest = documented();
    let (vmar, base) = vmar(&guest, VmOptions::empty(), 4096 * P);
    let vmo = guest.vmo(1);
    let free = [7, 1000, 1001, 4095];
    for (from, to) in [(0, 7), (8, 1000), (1002, 4095)] {
        guest.try_map(vmar, R | PLACED, from * P, vmo, 0, (to - from) * P).unwrap();
    }
    is_fair(&tally(&guest, vmar, base, VmOptions::empty(), 0, 1), &free);
    is_fair(&tally(&guest, vmar, base, VmOptions::empty(), 0, 2), &[1000]);
    assert_eq!(guest.try_map(vmar, R, 0, vmo, 0, 3 * P), Err(Status::NO_RESOURCES));
}

#[test]
fn a_compact_vmar_is_filled_from_its_low_end_and_another_all_over() {
    let guest = documented();
    let (compact, compact_base) = vmar(&guest, VmOptions::COMPACT, 1 << 30);
    let lowest = tally(&guest, compact, compact_base, VmOptions::empty(), 0, 4);
    assert_eq!(lowest.keys().max(), Some(&255));
    assert_eq!(lowest.len(), 256);
    guest.call(Call::VmarDestroy, &[compact]).unwrap();
    let (wide, wide_base) = vmar(&guest, VmOptions::empty(), 1 << 30);
    let all = tally(&guest, wide, wide_base, VmOptions::empty(), 0, 4);
    // 2000 of 2^18 places: hardly any comes twice, and every sixteenth of the range has its share.
    assert!(all.len() > 1900);
    let shares: BTreeSet<_> = all.keys().map(|page| page >> 14).collect();
    assert_eq!(shares.len(), 16);
}

#[test]
fn the_seed_decides() {
    let places = |seed: u32| {
        let guest = Guest::new(&format!("seed={seed}"));
        let (root, vmo) = (guest.root(), guest.vmo(1));
        (0..32).map(|_| guest.try_map(root, R, 0, vmo, 0, P).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(places(5), places(5));
    let (one, other) = (places(5), places(6));
    assert!(one.iter().all(|place| !other.contains(place)));
    assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 32);
}

#[test]
fn every_alignment_is_kept_and_more_than_one_place_used() {
    let guest = documented();
    let (vmar, base) = vmar(&guest, VmOptions::empty(), 1 << 38);
    let vmo = guest.vmo(1);
    for log2 in 10..=32 {
        let places: Vec<_> = (0..16).map(|_| guest.try_map(vmar, R | aligned(log2), 0, vmo, 0, P).unwrap()).collect();
        assert!(places.iter().all(|place| place.is_multiple_of(1 << log2.max(12)) && *place >= base), "{log2}");
        assert!(places.iter().collect::<BTreeSet<_>>().len() == 16, "{log2}");
    }
}

/// Gaps that are large enough but lie badly hide none that fits.
#[test]
fn an_aligned_place_is_found_among_many_that_are_not() {
    let guest = documented();
    let (vmar, base) = vmar(&guest, VmOptions::empty(), 2048 * P);
    let vmo = guest.vmo(1);
    // Of each 8 pages the first and the last are taken, and of the 101st and the last the others.
    for group in 0..256 {
        match group {
            100 => guest.map(vmar, group * 8 * P + 4 * P, vmo, 4),
            255 => guest.map(vmar, group * 8 * P + P, vmo, 7),
            _ => {
                guest.map(vmar, group * 8 * P + 7 * P, vmo, 1);
                guest.map(vmar, group * 8 * P, vmo, 1)
            }
        };
    }
    let place = |pages: u64| guest.try_map(vmar, R | aligned(15), 0, vmo, 0, pages * P);
    assert_eq!(place(2), Ok(base + 800 * P));
    assert_eq!(place(2), Err(Status::NO_RESOURCES));
    assert_eq!(place(1), Ok(base + 255 * 8 * P));
    assert_eq!(place(1), Err(Status::NO_RESOURCES));
}

proptest! {
    /// A VMAR of 64 pages against a set of pages: NO_RESOURCES exactly where nothing fits.
    #[test]
    fn what_fits_is_found(
        is_compact: bool,
        steps in prop::collection::vec((0u64..64, 1u64..12, 12u32..17, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let guest = documented();
        let compact = if is_compact { VmOptions::COMPACT } else { VmOptions::empty() };
        let (vmar, base) = vmar(&guest, compact, 64 * P);
        let vmo = guest.vmo(1);
        let mut taken = [false; 64];
        for (at, pages, log2, is_limited, is_unmap) in steps {
            let (first, end) = (at as usize, (at + pages).min(64) as usize);
            if is_unmap {
                let _ = guest.unmap(vmar, base + at * P, (end - first) as u64 * P);
                taken[first..end].fill(false);
                continue;
            }
            let limit = if is_limited { at.max(pages) } else { 64 };
            let options = R | aligned(log2) | if is_limited { LIMIT } else { VmOptions::empty() };
            let placed = guest.try_map(vmar, options, if is_limited { limit * P } else { 0 }, vmo, 0, pages * P);
            // The VMAR begins at a multiple of every alignment.
            let fits = |from: &u64| {
                (from * P).is_multiple_of(1 << log2) && !taken[*from as usize..][..pages as usize].contains(&true)
            };
            let spots: Vec<_> = (0..=limit - pages).filter(fits).collect();
            match placed {
                Ok(address) => {
                    let from = (address - base) / P;
                    prop_assert!(spots.contains(&from), "{} of {:?}", from, spots);
                    taken[from as usize..][..pages as usize].fill(true);
                }
                Err(status) => {
                    prop_assert_eq!(status, Status::NO_RESOURCES);
                    prop_assert_eq!(&spots, &[]);
                }
            }
        }
    }
}
