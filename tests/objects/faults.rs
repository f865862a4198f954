//! Faults: what is entered for one, and what each kind of them does to the CPU's TLB.

use abi::{Call, VmOptions, VmarOp, VmoOp};
use vm::Fault;
use vmsa::{Access, FaultKind, Ipa, Tlbi};

use crate::guest::{Guest, P, PLACED, RW, documented};

const A: u64 = 0x8000_0000;
const CHUNK: u64 = 512 * P;

fn fault(guest: &Guest, ipa: u64, access: Access, kind: FaultKind) -> (Fault, Vec<Tlbi>) {
    guest.sim().take_tlbis();
    let outcome = guest.system.fault(guest.id, Ipa(ipa), access, kind);
    guest.resume();
    (outcome, guest.sim().take_tlbis())
}

#[test]
fn only_a_permission_fault_on_what_is_allowed_drops_an_entry() {
    let guest = documented();
    guest.map(guest.root(), A, guest.vmo(1), 1);
    assert!(guest.store(A, 1));
    for kind in [FaultKind::Translation, FaultKind::AccessFlag] {
        assert_eq!(fault(&guest, A, Access::Write, kind), (Fault::Spurious, vec![]), "{kind:?}");
    }
    let (outcome, tlbis) = fault(&guest, A + 8, Access::Write, FaultKind::Permission);
    assert_eq!(
        (outcome, tlbis.first()),
        (Fault::Spurious, Some(&Tlbi::Ipa { ipa: Ipa(A), level: None, leaf_only: true }))
    );
}

#[test]
fn a_tlb_conflict_drops_all_of_the_vm_and_asks_nothing() {
    let guest = documented();
    let (outcome, tlbis) = fault(&guest, u64::MAX, Access::Read, FaultKind::TlbConflict);
    assert_eq!((outcome, tlbis.contains(&Tlbi::Vmid)), (Fault::Spurious, true));
}

/// Maps two chunks that are there already, from `offset` on at `at`, and touches a page in each.
fn touched(guest: &Guest, at: u64, offset: u64) -> [(u64, bool); 3] {
    let (root, vmo) = (guest.root(), guest.vmo(1024));
    guest.vmo_op(vmo, VmoOp::Commit, 0, 2 * CHUNK).unwrap();
    guest.try_map(root, RW | PLACED, at, vmo, offset, 2 * CHUNK - offset).unwrap();
    assert!(guest.store(at + 100 * P, 7));
    assert_eq!(guest.load(at + 100 * P), Some(7));
    [at, at + 100 * P, at + 101 * P].map(|ipa| guest.walk(ipa))
}

#[test]
fn a_fault_enters_the_block_that_is_there() {
    let guest = documented();
    assert_eq!(touched(&guest, A, 0), [(2, true); 3]);
    // Where the mapping begins in the chunk, what lies around in 64 KiB: pages 96 to 111.
    let found = touched(&guest, A + 8 * CHUNK + 16 * P, 16 * P);
    assert_eq!(found, [(3, false), (3, true), (3, true)]);
    assert_eq!(
        [95, 96, 111, 112].map(|page| guest.walk(A + 8 * CHUNK + (16 + page) * P).1),
        [false, true, true, false]
    );
}

#[test]
fn a_fault_at_an_odd_address_enters_one_page() {
    let guest = documented();
    assert_eq!(touched(&guest, A + P, 0), [(3, false), (3, true), (3, false)]);
}

#[test]
fn a_fault_enters_nothing_that_another_part_of_the_mapping_shows() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(512));
    guest.vmo_op(vmo, VmoOp::Commit, 0, CHUNK).unwrap();
    guest.map(root, A, vmo, 512);
    guest.call(Call::VmarProtect, &[root, u64::from(VmOptions::PERM_READ.bits()), A + 20 * P, P]).unwrap();
    assert!(guest.store(A, 1));
    assert_eq!([0, 15, 16].map(|page| guest.walk(A + page * P).1), [true, true, false]);
    assert!(guest.store(A + 19 * P, 1) && guest.store(A + 21 * P, 1) && !guest.store(A + 20 * P, 1));
    assert_eq!(guest.load(A + 20 * P), Some(0));
    assert_eq!(guest.walk(A + 22 * P), (3, false));
}

#[test]
fn a_fault_in_a_contiguous_vmo_enters_a_block() {
    let guest = documented();
    let (root, size) = (guest.root(), CHUNK + 32 * P);
    let vmo = guest.call(Call::VmoCreateContiguous, &[size, 21]).unwrap()[0];
    guest.try_map(root, RW | PLACED, A, vmo, 0, size).unwrap();
    assert!(guest.store(A + 5 * P, 1) && guest.store(A + CHUNK + 5 * P, 1));
    let found = [A, A + CHUNK - P, A + CHUNK, A + CHUNK + 15 * P, A + CHUNK + 16 * P].map(|ipa| guest.walk(ipa));
    assert_eq!(found, [(2, true), (2, true), (3, true), (3, true), (3, false)]);
}

#[test]
fn a_page_that_is_entered_already_stays_as_it_is() {
    let guest = documented();
    let (root, vmo) = (guest.root(), guest.vmo(512));
    guest.vmo_op(vmo, VmoOp::Commit, 0, CHUNK).unwrap();
    guest.map(root, A, vmo, 512);
    guest.op_range(root, VmarOp::MapRange, A + 3 * P, P).unwrap();
    assert!(guest.store(A + 3 * P, 3) && guest.store(A + 4 * P, 4));
    assert_eq!([3, 4, 5, 511].map(|page| guest.load(A + page * P)), [Some(3), Some(4), Some(0), Some(0)]);
}
