//! The checks of `vmar_allocate`, `vmar_map`, `vmar_protect` and `vmar_destroy`, in their order: what is wrong with a call's
//! arguments in more than one way gets the status of what is looked at first.

use abi::{Call, Rights, Status, VmOptions, VmoOptions};

use crate::guest::{CAN_ALL, Guest, P, PLACED, R, RW, VMAR_RIGHTS, both};
use crate::maps::maps;

const A: u64 = 0x8000_0000;
const LIMIT: VmOptions = VmOptions::OFFSET_IS_UPPER_LIMIT;
const OVERWRITE: VmOptions = VmOptions::SPECIFIC_OVERWRITE;
const W: VmOptions = VmOptions::PERM_WRITE;

fn unknown() -> VmOptions {
    VmOptions::from_bits_retain(1 << 15)
}

fn bad_alignment() -> VmOptions {
    VmOptions::from_bits_retain(33 << 24)
}

/// A VMAR of 8 pages at A, and a dead one. `plain` is one of 8 pages in which no places can be named.
struct Scene<'a> {
    guest: &'a Guest,
    root: u64,
    vmar: u64,
    dead: u64,
    plain: u64,
    vmo: u64,
}

impl<'a> Scene<'a> {
    fn new(guest: &'a Guest) -> Self {
        let (root, vmo) = (guest.root(), guest.vmo(8));
        let (vmar, _) = guest.vmar(root, A, 8);
        let (dead, _) = guest.vmar(root, A + 16 * P, 8);
        guest.call(Call::VmarDestroy, &[dead]).unwrap();
        let options = u64::from((PLACED | VmOptions::CAN_MAP_ACCESS).bits());
        let [plain, ..] = guest.call(Call::VmarAllocate, &[root, options, A + 32 * P, 8 * P]).unwrap();
        Self { guest, root, vmar, dead, plain, vmo }
    }

    fn allocate(&self, vmar: u64, options: VmOptions, offset: u64, size: u64) -> Result<(), Status> {
        self.guest.call(Call::VmarAllocate, &[vmar, u64::from(options.bits()), offset, size]).map(drop)
    }

    fn map(&self, vmar: u64, options: VmOptions, offset: u64, vmo: (u64, u64), len: u64) -> Result<(), Status> {
        self.guest.try_map(vmar, options, offset, vmo.0, vmo.1, len).map(drop)
    }

    fn protect(&self, vmar: u64, options: VmOptions, base: u64, len: u64) -> Result<(), Status> {
        self.guest.call(Call::VmarProtect, &[vmar, u64::from(options.bits()), base, len]).map(drop)
    }
}

#[test]
fn allocate() {
    both(|guest| {
        let scene = Scene::new(guest);
        let Scene { vmar, dead, plain, vmo, .. } = scene;
        let weak = guest.without(vmar, VMAR_RIGHTS, Rights::WRITE);
        let allocate = |vmar, options, offset, size| scene.allocate(vmar, options, offset, size);
        assert_eq!(allocate(0, unknown(), 1, 1), Err(Status::BAD_HANDLE));
        assert_eq!(allocate(vmo, unknown(), 1, 1), Err(Status::WRONG_TYPE));
        assert_eq!(allocate(weak, CAN_ALL | unknown(), 1, 1), Err(Status::ACCESS_DENIED));
        let high = guest.call(Call::VmarAllocate, &[dead, 1 << 32, 0, P]);
        assert_eq!(high, Err(Status::INVALID_ARGS));
        for bad in [unknown(), bad_alignment(), R, OVERWRITE, VmOptions::MAP_RANGE, VmOptions::ALLOW_FAULTS] {
            assert_eq!(allocate(dead, CAN_ALL | bad, 0, P), Err(Status::INVALID_ARGS), "{bad:?}");
        }
        assert_eq!(allocate(dead, CAN_ALL, 0, P - 1), Err(Status::INVALID_ARGS));
        assert_eq!(allocate(dead, CAN_ALL | PLACED | LIMIT, 1, 0), Err(Status::BAD_STATE));
        assert_eq!(allocate(plain, CAN_ALL | PLACED, P, 0), Err(Status::INVALID_ARGS));
        assert_eq!(allocate(plain, CAN_ALL | PLACED | LIMIT, P, P), Err(Status::INVALID_ARGS));
        assert_eq!(allocate(plain, CAN_ALL, P, P), Err(Status::INVALID_ARGS));
        assert_eq!(allocate(plain, CAN_ALL | PLACED, 1, P), Err(Status::INVALID_ARGS));
        assert_eq!(allocate(plain, CAN_ALL | PLACED, 64 * P, P), Err(Status::ACCESS_DENIED));
        assert_eq!(allocate(plain, CAN_ALL | LIMIT, 64 * P, P), Err(Status::ACCESS_DENIED));
        for (options, offset, size) in
            [(PLACED, 8, 1), (PLACED, 7, 2), (PLACED, 0, 9), (LIMIT, 9, 1), (LIMIT, 2, 3), (LIMIT, 8, 9)]
        {
            let result = allocate(vmar, CAN_ALL | options, offset * P, size * P);
            assert_eq!(result, Err(Status::INVALID_ARGS), "{options:?} {offset} {size}");
        }
        // The whole of it is taken, so that what is misaligned overlaps too.
        assert_eq!(allocate(vmar, CAN_ALL | PLACED, 0, 8 * P), Ok(()));
        let aligned = VmOptions::from_bits_retain(13 << 24);
        assert_eq!(allocate(vmar, CAN_ALL | PLACED | aligned, P, P), Err(Status::INVALID_ARGS));
        assert_eq!(allocate(vmar, CAN_ALL | PLACED | aligned, 2 * P, P), Err(Status::ALREADY_EXISTS));
        assert_eq!(allocate(vmar, CAN_ALL, 0, P), Err(Status::NO_RESOURCES));
        assert_eq!(allocate(vmar, CAN_ALL, 0, 9 * P), Err(Status::INVALID_ARGS));
    });
}

#[test]
fn map() {
    both(|guest| {
        let scene = Scene::new(guest);
        let Scene { root, vmar, dead, plain, vmo, .. } = scene;
        let wrap = 0u64.wrapping_sub(P);
        let map = |vmar, options, offset, vmo, len| scene.map(vmar, options, offset, vmo, len);
        let no_map = guest.without(vmo, Rights::DEFAULT_VMO, Rights::MAP);
        let read_only = guest.without(vmo, Rights::DEFAULT_VMO, Rights::WRITE);
        assert_eq!(map(0, W | unknown(), 1, (0, 1), 0), Err(Status::BAD_HANDLE));
        assert_eq!(map(vmo, W | unknown(), 1, (0, 1), 0), Err(Status::WRONG_TYPE));
        assert_eq!(map(dead, W | unknown(), 1, (0, 1), 0), Err(Status::BAD_HANDLE));
        assert_eq!(map(dead, W | unknown(), 1, (root, 1), 0), Err(Status::WRONG_TYPE));
        assert_eq!(map(dead, W | unknown(), 1, (no_map, 1), 0), Err(Status::ACCESS_DENIED));
        let high = guest.call(Call::VmarMap, &[dead, 1 << 32, 0, read_only, 1, wrap + 1]);
        assert_eq!(high, Err(Status::INVALID_ARGS));
        for bad in [W, RW | OVERWRITE | VmOptions::MAP_RANGE, RW | VmOptions::CAN_MAP_WRITE] {
            assert_eq!(map(dead, bad, 1, (read_only, 1), 0), Err(Status::INVALID_ARGS), "{bad:?}");
        }
        let weak = guest.without(vmar, VMAR_RIGHTS, Rights::WRITE);
        assert_eq!(map(dead, RW | unknown(), 1, (read_only, 1), 0), Err(Status::ACCESS_DENIED));
        assert_eq!(map(weak, RW | unknown(), 1, (vmo, 1), 0), Err(Status::ACCESS_DENIED));
        assert_eq!(map(dead, RW | VmOptions::PERM_EXECUTE | unknown(), 1, (vmo, 1), 0), Err(Status::ACCESS_DENIED));
        let create = |options: VmoOptions| guest.call(Call::VmoCreate, &[P, u64::from(options.bits())]).unwrap()[0];
        let (resizable, discardable) = (create(VmoOptions::RESIZABLE), create(VmoOptions::DISCARDABLE));
        let fixed = RW | VmOptions::REQUIRE_NON_RESIZABLE;
        for bad in [unknown(), bad_alignment()] {
            assert_eq!(map(dead, fixed | bad, 1, (resizable, 1), 0), Err(Status::INVALID_ARGS), "{bad:?}");
        }
        assert_eq!(map(dead, fixed | VmOptions::COMPACT, 1, (resizable, 1), 0), Err(Status::NOT_SUPPORTED));
        assert_eq!(map(dead, RW | VmOptions::COMPACT, 1, (discardable, 1), 0), Err(Status::NOT_SUPPORTED));
        let faults = RW | VmOptions::ALLOW_FAULTS;
        assert_eq!(map(dead, faults | VmOptions::COMPACT, 1, (discardable, 0), wrap + 1), Err(Status::INVALID_ARGS));
        assert_eq!(map(dead, RW | VmOptions::CAN_MAP_SPECIFIC, 1, (vmo, 0), wrap + 1), Err(Status::INVALID_ARGS));
        assert_eq!(map(dead, RW, 1, (vmo, 1), wrap + 1), Err(Status::INVALID_ARGS));
        assert_eq!(map(dead, RW, 1, (vmo, P), wrap + 1), Err(Status::OUT_OF_RANGE));
        assert_eq!(map(dead, RW, 1, (vmo, wrap), P), Err(Status::OUT_OF_RANGE));
        assert_eq!(map(dead, RW | PLACED | LIMIT, 1, (vmo, 0), 0), Err(Status::BAD_STATE));
        assert_eq!(map(plain, RW | PLACED, P, (vmo, 0), 0), Err(Status::INVALID_ARGS));
        for bad in [PLACED | LIMIT, OVERWRITE | LIMIT, VmOptions::empty()] {
            assert_eq!(map(plain, RW | bad, P, (vmo, 0), P), Err(Status::INVALID_ARGS), "{bad:?}");
        }
        for placed in [PLACED, OVERWRITE, LIMIT] {
            assert_eq!(map(plain, RW | placed, P + 1, (vmo, 0), P), Err(Status::INVALID_ARGS), "{placed:?}");
            assert_eq!(map(plain, RW | placed, 64 * P, (vmo, 0), P), Err(Status::ACCESS_DENIED), "{placed:?}");
            assert_eq!(map(vmar, RW | placed, 64 * P, (vmo, 0), P), Err(Status::INVALID_ARGS), "{placed:?}");
        }
        assert_eq!(map(vmar, RW | PLACED, 0, (vmo, 0), 8 * P), Ok(()));
        let aligned = VmOptions::from_bits_retain(13 << 24);
        assert_eq!(map(vmar, RW | PLACED | aligned, P, (vmo, 0), P), Err(Status::INVALID_ARGS));
        assert_eq!(map(vmar, RW | OVERWRITE | aligned, P, (vmo, 0), P), Err(Status::INVALID_ARGS));
        assert_eq!(map(vmar, RW | PLACED | aligned, 2 * P, (vmo, 0), P), Err(Status::ALREADY_EXISTS));
        assert_eq!(map(vmar, RW, 0, (vmo, 0), P), Err(Status::NO_RESOURCES));
        assert_eq!(map(vmar, RW, 0, (vmo, 0), 9 * P), Err(Status::INVALID_ARGS));
    });
}

#[test]
fn protect() {
    both(|guest| {
        let scene = Scene::new(guest);
        let Scene { root, vmar, dead, vmo, .. } = scene;
        let read_only = guest.without(vmo, Rights::DEFAULT_VMO, Rights::WRITE);
        scene.map(vmar, R | PLACED, 0, (read_only, 0), 2 * P).unwrap();
        scene.map(vmar, R | PLACED, 4 * P, (vmo, 0), 2 * P).unwrap();
        let weak = guest.without(vmar, VMAR_RIGHTS, Rights::WRITE);
        let protect = |vmar, options, base, len| scene.protect(vmar, options, base, len);
        assert_eq!(protect(0, W | unknown(), 1, 0), Err(Status::BAD_HANDLE));
        assert_eq!(protect(vmo, W | unknown(), 1, 0), Err(Status::WRONG_TYPE));
        assert_eq!(protect(weak, W | unknown(), 1, 0), Err(Status::ACCESS_DENIED));
        let high = guest.call(Call::VmarProtect, &[dead, 1 << 32, A, P]);
        assert_eq!(high, Err(Status::INVALID_ARGS));
        let bits = [W, R | unknown(), R | bad_alignment(), R | VmOptions::from_bits_retain(12 << 24)];
        for bad in bits.into_iter().chain([R | PLACED, R | VmOptions::CAN_MAP_READ, R | VmOptions::MAP_RANGE]) {
            assert_eq!(protect(dead, bad, 0, P), Err(Status::INVALID_ARGS), "{bad:?}");
        }
        for (base, len) in [(1, P), (0, 0), (0, u64::MAX)] {
            assert_eq!(protect(dead, R, base, len), Err(Status::INVALID_ARGS), "{base:#x} {len:#x}");
        }
        assert_eq!(protect(dead, R, 0, P), Err(Status::BAD_STATE));
        assert_eq!(protect(vmar, RW, A - P, 2 * P), Err(Status::INVALID_ARGS));
        assert_eq!(protect(vmar, RW, A, 9 * P), Err(Status::INVALID_ARGS));
        // The lowest that is wrong counts: what the mapping may never allow, or the gap.
        assert_eq!(protect(vmar, RW, A, 6 * P), Err(Status::ACCESS_DENIED));
        assert_eq!(protect(vmar, RW, A + 2 * P, 4 * P), Err(Status::NOT_FOUND));
        assert_eq!(protect(vmar, RW, A + 4 * P, 3 * P), Err(Status::NOT_FOUND));
        let no_children = guest.without(root, VMAR_RIGHTS, Rights::OP_CHILDREN);
        assert_eq!(protect(no_children, RW, A, 2 * P), Err(Status::ACCESS_DENIED));
        assert_eq!(protect(no_children, RW, A + 4 * P, 2 * P), Err(Status::INVALID_ARGS));
        assert_eq!(protect(root, RW, A + 4 * P, 2 * P), Err(Status::ACCESS_DENIED));
        assert_eq!(protect(root, VmOptions::empty(), A + 4 * P, 2 * P), Ok(()));
        assert_eq!(protect(vmar, RW, A + 4 * P, 2 * P - 1), Ok(()));
    });
}

#[test]
fn destroy() {
    both(|guest| {
        let scene = Scene::new(guest);
        let Scene { root, vmar, dead, vmo, .. } = scene;
        let destroy = |vmar| guest.call(Call::VmarDestroy, &[vmar]).map(drop);
        let weak = |vmar| guest.without(vmar, VMAR_RIGHTS, Rights::OP_CHILDREN);
        assert_eq!(destroy(0), Err(Status::BAD_HANDLE));
        assert_eq!(destroy(vmo), Err(Status::WRONG_TYPE));
        assert_eq!(destroy(weak(root)), Err(Status::ACCESS_DENIED));
        assert_eq!(destroy(weak(dead)), Err(Status::ACCESS_DENIED));
        assert_eq!(destroy(root), Err(Status::NOT_SUPPORTED));
        assert_eq!(destroy(dead), Err(Status::BAD_STATE));
        assert_eq!(destroy(vmar), Ok(()));
        assert_eq!(destroy(vmar), Err(Status::BAD_STATE));
    });
}

/// A child may name places although its parent may not, and allow no more than its parent.
#[test]
fn a_child_has_what_it_was_made_with() {
    both(|guest| {
        let scene = Scene::new(guest);
        let make = |parent, options: VmOptions| {
            guest.call(Call::VmarAllocate, &[parent, u64::from(options.bits()), 0, 4 * P]).map(|results| results[0])
        };
        let readable = VmOptions::CAN_MAP_READ | VmOptions::CAN_MAP_SPECIFIC;
        let child = make(scene.plain, readable).unwrap();
        assert_eq!(scene.map(child, R | PLACED, P, (scene.vmo, 0), P), Ok(()));
        assert_eq!(scene.map(child, RW | PLACED, 2 * P, (scene.vmo, 0), P), Err(Status::ACCESS_DENIED));
        assert_eq!(scene.allocate(child, CAN_ALL, 0, P), Err(Status::ACCESS_DENIED));
        let given =
            guest.call(Call::HandleDuplicate, &[child, u64::from(Rights::DEFAULT_VMAR.union(Rights::READ).bits())]);
        assert!(given.is_ok());
        let more = Rights::DEFAULT_VMAR | Rights::WRITE;
        assert_eq!(guest.call(Call::HandleDuplicate, &[child, u64::from(more.bits())]), Err(Status::INVALID_ARGS));
    });
}

#[test]
fn a_vmar_without_handles_keeps_its_range_and_what_is_in_it() {
    both(|guest| {
        let scene = Scene::new(guest);
        guest.map(scene.vmar, 0, scene.vmo, 2);
        assert!(guest.store(A, 5));
        let before = maps(guest, scene.root);
        guest.call(Call::HandleClose, &[scene.vmar]).unwrap();
        assert_eq!((maps(guest, scene.root), guest.load(A)), (before, Some(5)));
        assert_eq!(scene.allocate(scene.root, CAN_ALL | PLACED, A + 4 * P, P), Err(Status::ALREADY_EXISTS));
        guest.unmap(scene.root, A, 8 * P).unwrap();
        assert_eq!(scene.allocate(scene.root, CAN_ALL | PLACED, A + 4 * P, P), Ok(()));
    });
}
