//! Calls that find no memory for what they need: each leaves everything as it was, wherever it stopped, and goes well later.

use abi::{Call, InfoMaps, Rights, Status, VmOptions, VmarOp, VmoOp};

use crate::guest::{CAN_ALL, Guest, P, PLACED, R, RW};
use crate::maps::{BUFFER, maps};

const A: u64 = 0x8000_0000;
/// Where mappings are made, of which each allows two things, to use up what room for them there is: another range, of which the
/// tables know nothing.
const FILLED: u64 = 0x9000_0000;
/// Enough of them for every kind of bookkeeping to need another frame at some number.
const MOST_FILLED: u64 = 140;
const OVERWRITE: VmOptions = VmOptions::SPECIFIC_OVERWRITE;

/// A VMAR of 64 pages at A. Its first 12 pages are mapped and written, and pages 4 to 7 can only be read; at page 16 it has a
/// child of 8 pages, of which the first two are mapped.
struct Scene {
    guest: Guest,
    root: u64,
    vmar: u64,
    child: u64,
    vmo: u64,
    ballast: u64,
}

/// What a guest can tell: all records, and what each page shows.
type Seen = (Vec<InfoMaps>, Vec<Option<u64>>, (u32, u32));

impl Scene {
    fn new(filled: u64) -> Self {
        let guest = Guest::with_memory("inspect=on seed=1 ram=4M quota=1M", 6 << 20);
        let root = guest.root();
        let (vmar, _) = guest.vmar(root, A, 64);
        let (child, _) = guest.vmar(vmar, 16 * P, 8);
        let (vmo, ballast) = (guest.vmo(32), guest.vmo(256));
        guest.map(vmar, 0, vmo, 12);
        guest.map(child, 0, vmo, 2);
        (0..12).for_each(|page| assert!(guest.store(A + page * P, 100 + page)));
        guest.call(Call::VmarProtect, &[vmar, u64::from(R.bits()), A + 4 * P, 4 * P]).unwrap();
        // The buffer of the records is there from the start, so that looking changes nothing.
        (0..8).for_each(|page| assert!(guest.store(BUFFER + page * P, 0)));
        for number in 0..filled {
            let base = FILLED + 4 * number * P;
            guest.map(root, base, vmo, 2);
            guest.call(Call::VmarProtect, &[root, u64::from(R.bits()), base + P, P]).unwrap();
        }
        Self { guest, root, vmar, child, vmo, ballast }
    }

    fn seen(&self) -> Seen {
        let words = (0..32).map(|page| self.guest.load(A + page * P)).collect();
        (maps(&self.guest, self.root), words, self.guest.system.object_counts())
    }

    /// Uses all memory up but for this many frames.
    fn leave(&self, frames: u64) {
        let commit = |page: &u64| self.guest.vmo_op(self.ballast, VmoOp::Commit, page * P, P).is_ok();
        let committed = (0..256).take_while(commit).count() as u64;
        assert!((frames..256).contains(&committed));
        self.guest.vmo_op(self.ballast, VmoOp::Decommit, 0, frames * P).unwrap();
    }

    fn free_all(&self) {
        self.guest.vmo_op(self.ballast, VmoOp::Decommit, 0, 256 * P).unwrap();
    }

    /// Takes everything away again; returns how many frames are held then.
    fn close(&self) -> u64 {
        self.free_all();
        let _ = self.guest.call(Call::VmarDestroy, &[self.vmar]);
        self.guest.unmap(self.root, A, 1 << 34).unwrap_or_default();
        for handle in [self.vmar, self.child, self.vmo, self.ballast] {
            self.guest.call(Call::HandleClose, &[handle]).unwrap();
        }
        assert_eq!(self.guest.system.object_counts(), (1, 1), "the RAM and its mapping");
        self.guest.system.frames_held(self.guest.id)
    }
}

/// A call, and how often it is to be refused at least while memory is short.
type Try = (&'static str, u32, fn(&Scene) -> Result<u64, Status>);

const TRIES: &[Try] = &[
    ("unmap in the middle", 3, |scene| scene.guest.unmap(scene.vmar, A + 5 * P, P).map(|()| 0)),
    ("unmap of both ends and a child", 0, |scene| scene.guest.unmap(scene.vmar, A + 10 * P, 20 * P).map(|()| 0)),
    ("protect in the middle", 1, |scene| protect(scene, 1, 2)),
    ("protect from the middle on", 1, |scene| protect(scene, 9, 3)),
    ("protect all", 0, |scene| protect(scene, 0, 12)),
    ("map beside", 3, |scene| map(scene, RW | PLACED, 12, 4)),
    ("overwrite the middle", 3, |scene| map(scene, RW | OVERWRITE, 5, 1)),
    ("overwrite an end", 3, |scene| map(scene, RW | OVERWRITE, 10, 4)),
    ("map and enter", 10, |scene| {
        let options = RW | PLACED | VmOptions::MAP_RANGE;
        scene.guest.try_map(scene.root, options, 3 << 30, scene.vmo, 0, 12 * P)
    }),
    ("allocate", 1, |scene| {
        let options = u64::from((PLACED | CAN_ALL).bits());
        let made = scene.guest.call(Call::VmarAllocate, &[scene.vmar, options, 40 * P, P])?;
        scene.guest.call(Call::HandleClose, &[made[0]]).map(|_| made[1])
    }),
    ("duplicate", 0, |scene| {
        let rights = u64::from(Rights::SAME_RIGHTS.bits());
        let made = scene.guest.call(Call::HandleDuplicate, &[scene.vmar, rights])?;
        scene.guest.call(Call::HandleClose, &[made[0]]).map(|_| 0)
    }),
    ("destroy", 0, |scene| scene.guest.call(Call::VmarDestroy, &[scene.child]).map(|_| 0)),
    ("enter what is there", 0, |scene| scene.guest.op_range(scene.vmar, VmarOp::MapRange, A, 12 * P).map(|()| 0)),
];

fn protect(scene: &Scene, page: u64, pages: u64) -> Result<u64, Status> {
    scene.guest.call(Call::VmarProtect, &[scene.vmar, u64::from(R.bits()), A + page * P, pages * P]).map(|_| 0)
}

fn map(scene: &Scene, options: VmOptions, page: u64, pages: u64) -> Result<u64, Status> {
    scene.guest.try_map(scene.vmar, options, page * P, scene.vmo, page * P, pages * P)
}

/// Tries the call with more and more memory, until it goes well; returns how often it was refused.
fn refusals(filled: u64, call: fn(&Scene) -> Result<u64, Status>, expected: &(Result<u64, Status>, Seen, u64)) -> u32 {
    for frames in 0.. {
        let scene = Scene::new(filled);
        let before = scene.seen();
        scene.leave(frames);
        let first = call(&scene);
        scene.free_all();
        if first.is_err() {
            assert_eq!(first, Err(Status::NO_MEMORY));
            assert!(scene.seen() == before, "a call that was refused has changed something");
        }
        let last = first.or_else(|_| call(&scene));
        assert_eq!(last, expected.0);
        assert!(scene.seen() == expected.1, "what came of it depends on the memory that there was");
        assert_eq!(scene.close(), expected.2, "frames that are held when all is closed");
        if first.is_ok() {
            return frames as u32;
        }
    }
    unreachable!("there is memory enough at some time")
}

/// Returns the numbers of mappings behind which some kind of bookkeeping soon needs another frame, and some others.
fn numbers() -> Vec<u64> {
    let held = |filled| {
        let scene = Scene::new(filled);
        scene.guest.system.frames_held(scene.guest.id)
    };
    let held: Vec<_> = (0..MOST_FILLED + 3).map(held).collect();
    let grows_soon = |filled: &u64| filled.is_multiple_of(30) || held[*filled as usize] != held[*filled as usize + 3];
    (0..MOST_FILLED).filter(grows_soon).collect()
}

#[test]
fn a_call_that_finds_no_memory_has_done_nothing() {
    let numbers = numbers();
    for (name, at_least, call) in TRIES {
        let mut refused = 0;
        for filled in &numbers {
            let scene = Scene::new(*filled);
            let result = call(&scene);
            assert!(result.is_ok(), "{name}: {result:?}");
            let expected = (result, scene.seen(), scene.close());
            refused += refusals(*filled, *call, &expected);
        }
        assert!(refused >= *at_least, "{name}: refused {refused} times");
    }
}
