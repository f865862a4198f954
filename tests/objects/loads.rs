//! Which VM a CPU has loaded, and VMIDs.

use vm::{VmConfig, VmId};

use crate::guest::{Guest, P, documented};

const A: u64 = 0x8000_0000;

fn second_vm(guest: &Guest) -> VmId {
    guest.system.create_vm(&VmConfig { ram_bytes: 4 << 20, ..VmConfig::default() }).unwrap()
}

fn vmid(vttbr: u64) -> u64 {
    vttbr >> 48
}

#[test]
fn a_vm_keeps_its_vmid_while_it_is_loaded() {
    let guest = documented();
    guest.map(guest.root(), A, guest.vmo(1), 1);
    assert!(guest.store(A, 5));
    let other = second_vm(&guest);
    let mine = guest.system.load(guest.id, 0);
    let mut used = [0; 256];
    // Three times as many as 8 bits can tell apart.
    for _ in 0..3 * 255 {
        let theirs = guest.system.load(other, 1);
        assert_ne!(vmid(theirs), vmid(mine));
        used[vmid(theirs) as usize] += 1;
        guest.system.unload(other, 1);
        guest.system.put_aside(other);
        assert_eq!(guest.system.load(guest.id, 0), mine);
    }
    assert!(used[0] == 0 && used.iter().skip(1).filter(|count| **count > 0).count() == 254);
    assert!(guest.store(A, 6));
    assert_eq!(guest.load(A), Some(6));
}

#[test]
fn what_is_loaded_on_another_cpu_is_not_put_aside() {
    let guest = documented();
    let loaded = [0, 1].map(|cpu| guest.system.load(guest.id, cpu));
    assert_eq!(loaded[0], loaded[1]);
    guest.system.unload(guest.id, 0);
    guest.system.put_aside(guest.id);
    assert_eq!(guest.system.load(guest.id, 0), loaded[0]);
    // Unloading what is not loaded there takes nothing away.
    guest.system.unload(second_vm(&guest), 1);
    guest.system.unload(guest.id, 0);
    guest.system.put_aside(guest.id);
    assert_eq!(guest.system.vttbr(guest.id), loaded[0]);
}

#[test]
fn a_vm_that_was_put_aside_finds_what_it_had() {
    let guest = documented();
    guest.map(guest.root(), A, guest.vmo(2), 2);
    assert!(guest.store(A, 5));
    let before = guest.system.vttbr(guest.id);
    guest.system.put_aside(guest.id);
    assert_ne!(guest.system.vttbr(guest.id), before);
    assert_eq!((guest.load(A), guest.load(A + P)), (Some(5), Some(0)));
}
