//! What a range allows, page by page, whatever was mapped, protected, overwritten and unmapped in it.

use abi::{Call, VmOptions};
use proptest::prelude::*;

use crate::guest::{Guest, P, PLACED, R, RW, documented};
use crate::maps::mappings;

const A: u64 = 0x8000_0000;
const PAGES: usize = 48;

/// What a page shows: the VMO's page, and the permissions.
type Page = Option<(u64, u32)>;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Map,
    Overwrite,
    Unmap,
    Protect,
}

fn step() -> impl Strategy<Value = (Kind, usize, usize, u32, u64)> {
    let kind = prop::sample::select(&[Kind::Map, Kind::Overwrite, Kind::Unmap, Kind::Protect, Kind::Protect][..]);
    // Nothing, read, read and write; and how far what is shown lies from where it is shown.
    (kind, 0..PAGES, 1usize..20, prop::sample::select(&[0u32, 1, 3][..]), 0u64..2)
}

proptest! {
    #[test]
    fn a_range_allows_what_it_was_told_to(steps in prop::collection::vec(step(), 1..50)) {
        let guest = documented();
        let (vmar, _) = guest.vmar(guest.root(), A, PAGES as u64);
        let vmo = guest.vmo(PAGES as u64 + 2);
        let mut pages: [Page; PAGES] = [None; PAGES];
        for (kind, first, count, perms, shift) in steps {
            let end = (first + count).min(PAGES);
            let (at, len, perm_options) = (first as u64 * P, (end - first) as u64 * P, VmOptions::from_bits_retain(perms));
            let range = &mut pages[first..end];
            let show = |range: &mut [Page]| {
                range.iter_mut().zip(first as u64 + shift..).for_each(|(page, number)| *page = Some((number, perms)));
            };
            let map = |placing| guest.try_map(vmar, perm_options | placing, at, vmo, at + shift * P, len);
            match kind {
                Kind::Map if range.iter().all(Option::is_none) => {
                    prop_assert!(map(PLACED).is_ok());
                    show(range);
                }
                Kind::Map => prop_assert!(map(PLACED).is_err()),
                Kind::Overwrite => {
                    prop_assert!(map(VmOptions::SPECIFIC_OVERWRITE).is_ok());
                    show(range);
                }
                Kind::Unmap => {
                    prop_assert_eq!(guest.unmap(vmar, A + at, len).is_ok(), range.iter().any(Option::is_some));
                    range.fill(None);
                }
                Kind::Protect => {
                    let result = guest.call(Call::VmarProtect, &[vmar, u64::from(perms), A + at, len]);
                    prop_assert_eq!(result.is_ok(), range.iter().all(Option::is_some));
                    if result.is_ok() {
                        range.iter_mut().flatten().for_each(|page| page.1 = perms);
                    }
                }
            }
            let mut told: [Page; PAGES] = [None; PAGES];
            for (base, count, perms, number) in mappings(&guest, vmar, A) {
                let part = &mut told[base as usize..][..count as usize];
                part.iter_mut().zip(number..).for_each(|(page, number)| *page = Some((number, perms)));
            }
            prop_assert_eq!(told, pages);
        }
        for (page, at) in pages.into_iter().zip((A..).step_by(P as usize)) {
            prop_assert_eq!(guest.load(at).is_some(), page.is_some_and(|(_, perms)| perms & R.bits() != 0));
            prop_assert_eq!(guest.store(at, 1), page.is_some_and(|(_, perms)| perms == RW.bits()));
        }
    }
}

/// Neighbouring pages that come to allow the same are one part again.
#[test]
fn parts_that_allow_the_same_are_one() {
    let guest = documented();
    let (vmar, _) = guest.vmar(guest.root(), A, 64);
    guest.map(vmar, 0, guest.vmo(64), 64);
    let protect = |page: u64, pages: u64, perms| {
        guest.call(Call::VmarProtect, &[vmar, perms, A + page * P, pages * P]).unwrap();
    };
    (0..64).step_by(2).for_each(|page| protect(page, 1, 1));
    assert_eq!(mappings(&guest, vmar, A).len(), 64);
    (1..64).step_by(2).for_each(|page| protect(page, 1, 1));
    assert_eq!(mappings(&guest, vmar, A), [(0, 64, 1, 0)]);
    protect(10, 20, 3);
    protect(20, 20, 1);
    assert_eq!(mappings(&guest, vmar, A), [(0, 10, 1, 0), (10, 10, 3, 10), (20, 44, 1, 20)]);
    protect(0, 64, 3);
    assert_eq!(mappings(&guest, vmar, A), [(0, 64, 3, 0)]);
}

/// However many parts a mapping has, and in whatever order they were made, no way through them is long: EL2's stack is short.
#[test]
fn many_parts_fit_on_a_short_stack() {
    const COUNT: u64 = 8192;
    let work = || {
        let guest = Guest::new("seed=1 ipa=40");
        let (vmar, _) = guest.vmar(guest.root(), A, COUNT);
        guest.map(vmar, 0, guest.vmo(COUNT), COUNT);
        let protect = |page: u64| guest.call(Call::VmarProtect, &[vmar, 1, A + page * P, P]).unwrap();
        (0..COUNT / 2).step_by(2).for_each(|page| assert_eq!(protect(page), [0; 3]));
        (0..COUNT / 2).step_by(2).for_each(|page| assert_eq!(protect(COUNT - 2 - page), [0; 3]));
        guest.unmap(vmar, A + COUNT / 2 * P, P).unwrap();
        let parts = mappings(&guest, vmar, A);
        assert_eq!(parts.len() as u64, COUNT - 1);
        assert!(parts.iter().all(|(page, pages, perms, _)| *pages == 1 && *perms == if page % 2 == 0 { 1 } else { 3 }));
        guest.unmap(vmar, A, COUNT * P).unwrap();
    };
    let thread = std::thread::Builder::new().stack_size(192 << 10).spawn(work).expect("a thread");
    assert!(thread.join().is_ok());
}
