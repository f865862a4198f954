//! A guest that does anything: calls with good, bad and mixed-up arguments, and accesses in between. Nothing may panic, no
//! rule may be broken, and when everything is closed nothing may be left.

use abi::Call;
use proptest::prelude::*;
use tests::Answer;
use vmsa::Access;

use crate::guest::{Guest, P};

/// Where most of it happens: few pages, so that things meet.
const BASE: u64 = 0x8000_0000;

const CALLS: &[Call] = &[
    Call::StartupHandle,
    Call::DebugWrite,
    Call::DebugRead,
    Call::HandleClose,
    Call::HandleCloseMany,
    Call::HandleDuplicate,
    Call::HandleReplace,
    Call::ObjectGetInfo,
    Call::VmarAllocate,
    Call::VmarMap,
    Call::VmarUnmap,
    Call::VmarProtect,
    Call::VmarDestroy,
    Call::VmarOpRange,
    Call::VmoCreate,
    Call::VmoRead,
    Call::VmoWrite,
    Call::VmoGetSize,
    Call::VmoSetSize,
    Call::VmoOpRange,
    Call::VmoCreateContiguous,
    Call::VmoReplaceAsExecutable,
    Call::Stage2Walk,
    Call::Stage2Stats,
];

/// An argument: a number, or one of the handles that earlier calls returned.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Number(u64),
    Handle(usize),
}

fn argument() -> impl Strategy<Value = Argument> {
    prop_oneof![
        5 => (0usize..12).prop_map(Argument::Handle),
        6 => (0u64..24).prop_map(|page| Argument::Number(BASE + page * P)),
        6 => (0u64..12).prop_map(|pages| Argument::Number(pages * P)),
        6 => (0u64..0x80).prop_map(Argument::Number),
        2 => (0u64..1 << 15).prop_map(Argument::Number),
        1 => any::<u64>().prop_map(Argument::Number),
        1 => (0u64..4096).prop_map(|below| Argument::Number(u64::MAX - below)),
        1 => (0u64..64).prop_map(|bit| Argument::Number(1 << bit)),
    ]
}

/// Arguments of which most are of the kind that the call wants.
fn likely(call: Call) -> BoxedStrategy<Vec<Argument>> {
    let handle = (0usize..12).prop_map(Argument::Handle);
    let address = (0u64..24).prop_map(|page| Argument::Number(BASE + page * P));
    // Few pages, or a chunk of them.
    let pages = prop_oneof![8 => 0u64..12, 1 => Just(512), 1 => 509u64..516];
    let pages = pages.prop_map(|pages| Argument::Number(pages * P));
    let small = (0u64..16).prop_map(Argument::Number);
    // Readable and writable, or less; placed at the offset that is given.
    let placed = (0u64..8).prop_map(|perms| Argument::Number(0x10 | perms));
    let region = (0u64..8).prop_map(|access| Argument::Number(0x50 | access << 7));
    match call {
        Call::VmarAllocate => (handle, region, address, pages).prop_map(|(a, b, c, d)| vec![a, b, c, d]).boxed(),
        Call::VmarMap => (handle.clone(), placed, address, handle, pages.clone(), pages)
            .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
            .boxed(),
        Call::VmarUnmap => (handle, address, pages).prop_map(|(a, b, c)| vec![a, b, c]).boxed(),
        Call::VmarProtect | Call::VmarOpRange => {
            (handle, small, address, pages).prop_map(|(a, b, c, d)| vec![a, b, c, d]).boxed()
        }
        Call::VmoOpRange => (handle, small, pages.clone(), pages).prop_map(|(a, b, c, d)| vec![a, b, c, d]).boxed(),
        Call::VmoCreate => (pages, Just(Argument::Number(2))).prop_map(|(a, b)| vec![a, b]).boxed(),
        _ => prop::collection::vec(argument(), 0..=6).boxed(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call(Call, Vec<Argument>),
    Touch(u64, Access),
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop::sample::select(CALLS);
    let access = prop::sample::select(&[Access::Read, Access::Write, Access::Execute][..]);
    prop_oneof![
        4 => call.clone().prop_flat_map(|call| likely(call).prop_map(move |arguments| Step::Call(call, arguments))),
        2 => (call, prop::collection::vec(argument(), 0..=8)).prop_map(|(call, arguments)| Step::Call(call, arguments)),
        2 => (0u64..24, access).prop_map(|(page, access)| Step::Touch(BASE + page * P, access)),
    ]
}

/// Carries a step out, and remembers the handles that it gave.
fn carry_out(guest: &Guest, handles: &mut Vec<u64>, step: &Step) {
    match step {
        Step::Touch(ipa, access) => drop(guest.touch(*ipa, *access)),
        Step::Call(call, arguments) => {
            let mut args = [0; 8];
            for (value, argument) in args.iter_mut().zip(arguments) {
                *value = match argument {
                    Argument::Number(number) => *number,
                    Argument::Handle(index) => handles[index % handles.len()],
                };
            }
            let Some(Answer { status, results, count }) = guest.hypercall(*call, &args) else {
                panic!("{call:?} ended the VM");
            };
            let gives = matches!(
                call,
                Call::StartupHandle
                    | Call::HandleDuplicate
                    | Call::HandleReplace
                    | Call::VmarAllocate
                    | Call::VmoCreate
                    | Call::VmoCreateContiguous
                    | Call::VmoReplaceAsExecutable
            );
            if status == abi::Status::OK && gives && count > 0 {
                handles.push(results[0]);
            }
        }
    }
}

fn run(arguments: &str, steps: &[Step]) {
    let guest = Guest::new(arguments);
    let root = guest.root();
    let mut handles = vec![root, guest.vmo(8)];
    for step in steps {
        carry_out(&guest, &mut handles, step);
    }
    for handle in handles {
        let _ = guest.call(Call::HandleClose, &[handle]);
    }
    let root = guest.root();
    let _ = guest.unmap(root, 0, 1 << 39);
    // What is left: the RAM, which has no mapping any more.
    assert_eq!(guest.system.object_counts(), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_nothing_is_left(is_kernel: bool, steps in prop::collection::vec(step(), 1..60)) {
        run(if is_kernel { "dialect=kernel inspect=on seed=3" } else { "inspect=on seed=3" }, &steps);
    }

    #[test]
    fn running_out_of_memory_is_survived(quota in prop_oneof![3 => 8u64..80, 1 => 530u64..620], steps in prop::collection::vec(step(), 1..60)) {
        run(&format!("inspect=on seed=3 ram=4M quota={}K", quota * 4), &steps);
    }
}
