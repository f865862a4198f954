//! The calling convention: what registers hold before and after `HVC #0`.

use crate::arena::{ANY, Arena, RW};
use crate::case::cases;
use crate::check::Check;
use abi::{Call, PAGE_SIZE, RawHandle, Startup, Status, smccc};
use zx::sys::{GeneralRegisters, hvc, hvc_with_all_registers, hypercall};
use zx::{InfoVmar, Object, Record, Rights, Topic, VmOptions, VmarOp, Vmo, VmoOp};

cases! {
    #[kernel]
    fn X01_calls_preserve_all_registers_but_their_results() {
        preserves(Call::Yield, &[], 0);
        preserves(Call::ClockGetMonotonic, &[], 1);
        preserves(Call::StartupHandle, &[u32::from(Startup::Vm).into()], 1);
        preserves(Call::VmoCreate, &[PAGE_SIZE, 0], 1);
        preserves(Call::HandleClose, &[0], 0);
    }

    #[kernel]
    fn X01_calls_on_tables_preserve_all_registers_but_their_results() {
        let arena = Arena::new(4);
        let (vmar, vmo) = (arena.vmar.register(), Vmo::create(4 * PAGE_SIZE).succeeds());
        let specific = u64::from((RW | VmOptions::SPECIFIC).bits());
        preserves(Call::VmarMap, &[vmar, specific, 0, vmo.register(), 0, 4 * PAGE_SIZE], 1);
        for op in [VmarOp::Commit, VmarOp::MapRange, VmarOp::Decommit] {
            preserves(Call::VmarOpRange, &[vmar, u32::from(op).into(), arena.page(0), 4 * PAGE_SIZE, 0, 0], 0);
        }
        preserves(Call::VmarProtect, &[vmar, VmOptions::PERM_READ.bits().into(), arena.page(0), PAGE_SIZE], 0);
        preserves(Call::VmarUnmap, &[vmar, arena.page(0), PAGE_SIZE], 0);
        preserves(Call::VmarAllocate, &[vmar, ANY.bits().into(), 0, PAGE_SIZE], 2);
        preserves(Call::VmarDestroy, &[vmar], 0);
    }

    #[kernel]
    fn X02_error_keeps_all_registers() {
        let none = RawHandle::INVALID.0.into();
        fails_and_preserves(Call::HandleDuplicate, &[none, 0], Status::BAD_HANDLE);
        fails_and_preserves(Call::StartupHandle, &[99], Status::INVALID_ARGS);
        fails_and_preserves(Call::VmoCreate, &[u64::MAX, 0], Status::OUT_OF_RANGE);
        fails_and_preserves(Call::VmoGetSize, &[none], Status::BAD_HANDLE);
        fails_and_preserves(Call::VmarMap, &[none, 0, 0, none, 0, PAGE_SIZE], Status::BAD_HANDLE);
        fails_and_preserves(Call::VmarAllocate, &[none, 0, 0, PAGE_SIZE], Status::BAD_HANDLE);
        fails_and_preserves(Call::DebugRead, &[Arena::BASE, 1], Status::INVALID_ARGS);
    }

    #[kernel]
    fn X02_inspection_that_is_not_allowed_keeps_all_registers() {
        let arena = Arena::new(1);
        let arguments = [arena.vmar.register(), arena.page(0)];
        fails_and_preserves(Call::Stage2Walk, &arguments, Status::ACCESS_DENIED);
        fails_and_preserves(Call::Stage2Stats, &[0, 0, 0], Status::ACCESS_DENIED);
    }

    #[kernel]
    fn X03_unknown_functions() {
        for function_id in
            [0xc600_0000, 0xc600_0008, 0xc600_00ff, 0xc600_0fff, 0x8600_0032, 0x4600_0032, 0, 0xffff_ffff]
        {
            let before = pattern(function_id, &[]);
            let after = call(before);
            assert!(after.x[0] == smccc::NOT_SUPPORTED, "{function_id:#x} returned {:#x}", after.x[0]);
            assert_kept(before, after, 0);
        }
    }

    #[kernel]
    fn X04_high_half_of_the_function_id_is_ignored() {
        let function_id = 0xdead_beef << 32 | u64::from(Call::HandleClose.function_id());
        let x = hvc([function_id, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(x[0], Status::OK.to_register());
    }

    #[kernel]
    fn X05_high_half_of_a_handle() {
        let arena = Arena::new(1);
        let vmo = arena.map(0, 1);
        let (vmar, vmo) = (HIGH | arena.vmar.register(), HIGH | vmo.register());
        refuses(Call::HandleClose, &[vmar], Status::BAD_HANDLE);
        refuses(Call::HandleDuplicate, &[vmar, Rights::SAME_RIGHTS.bits().into()], Status::BAD_HANDLE);
        refuses(Call::VmarUnmap, &[vmar, arena.page(0), PAGE_SIZE], Status::BAD_HANDLE);
        refuses(Call::VmarOpRange, &[vmar, VmarOp::Decommit as u64, arena.page(0), PAGE_SIZE], Status::BAD_HANDLE);
        refuses(Call::VmarDestroy, &[vmar], Status::BAD_HANDLE);
        refuses(Call::VmoGetSize, &[vmo], Status::BAD_HANDLE);
        refuses(Call::VmoOpRange, &[vmo, VmoOp::Decommit as u64, 0, PAGE_SIZE], Status::BAD_HANDLE);
        refuses(Call::ObjectGetInfo, &[vmar, Topic::Vmar as u64, 0, 0], Status::BAD_HANDLE);
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn X05_high_half_of_the_second_handle_of_map() {
        let arena = Arena::new(1);
        let vmo = Vmo::create(PAGE_SIZE).succeeds();
        let map = |vmo| [arena.vmar.register(), RW.bits().into(), 0, vmo, 0, PAGE_SIZE];
        refuses(Call::VmarMap, &map(HIGH | vmo.register()), Status::BAD_HANDLE);
    }

    #[kernel]
    fn X06_high_half_of_another_32_bit_argument() {
        let arena = Arena::new(2);
        let vmo = arena.map(0, 1);
        let (vmar, vmo, page) = (arena.vmar.register(), vmo.register(), arena.page(0));
        refuses(Call::StartupHandle, &[HIGH | Startup::Vm as u64], Status::INVALID_ARGS);
        refuses(Call::HandleDuplicate, &[vmar, HIGH | u64::from(Rights::SAME_RIGHTS.bits())], Status::INVALID_ARGS);
        refuses(Call::VmarAllocate, &[vmar, HIGH | u64::from(ANY.bits()), 0, PAGE_SIZE], Status::INVALID_ARGS);
        refuses(Call::VmarMap, &[vmar, HIGH | u64::from(RW.bits()), 0, vmo, 0, PAGE_SIZE], Status::INVALID_ARGS);
        refuses(Call::VmarProtect, &[vmar, HIGH | u64::from(RW.bits()), page, PAGE_SIZE], Status::INVALID_ARGS);
        refuses(Call::VmarOpRange, &[vmar, HIGH | VmarOp::Decommit as u64, page, PAGE_SIZE], Status::INVALID_ARGS);
        refuses(Call::VmoOpRange, &[vmo, HIGH | VmoOp::Decommit as u64, 0, PAGE_SIZE], Status::INVALID_ARGS);
        refuses(Call::VmoCreate, &[PAGE_SIZE, HIGH], Status::INVALID_ARGS);
        arena.shows_mark(0, 0);
    }

    #[kernel]
    fn X07_bad_handle_is_told_before_the_high_half_of_op() {
        let arguments = [0, HIGH | VmarOp::Decommit as u64, Arena::BASE, PAGE_SIZE];
        refuses(Call::VmarOpRange, &arguments, Status::BAD_HANDLE);
        refuses(Call::VmarMap, &[0, HIGH, 0, 0, 0, PAGE_SIZE], Status::BAD_HANDLE);
        refuses(Call::HandleDuplicate, &[0, HIGH], Status::BAD_HANDLE);
    }

    #[kernel]
    fn X08_arguments_that_a_call_does_not_take_are_ignored() {
        let arena = Arena::new(1);
        arena.map(0, 1);
        let arguments = [arena.vmar.register(), arena.page(0), PAGE_SIZE, 1, 2, 3, 4, 5];
        hypercall(Call::VmarUnmap, arguments).ok().succeeds();
        arena.shows("0");
    }

    #[kernel]
    fn X09_buffer_too_small_tells_actual_and_available() {
        let arena = Arena::new(1);
        let arguments = [arena.vmar.register(), InfoVmar::TOPIC as u64, 0, 0];
        let before = pattern(Call::ObjectGetInfo.function_id().into(), &arguments);
        let after = call(before);
        assert_eq!(after.x[..3], [Status::BUFFER_TOO_SMALL.to_register(), 0, 1]);
        assert_kept(before, after, 2);
    }

    #[kernel]
    fn X10_simd_registers_are_preserved() {
        let mut registers = core::array::from_fn(|index| 0x5a5a_0000_1234_0000_cafe << 40 | index as u128);
        let before = registers;
        guest::simd::enable();
        guest::simd::call_with(&mut registers, Call::Yield.function_id());
        assert_eq!(registers, before);
    }
}

/// A bit that no 32-bit argument has.
const HIGH: u64 = 1 << 32;

/// Returns registers that differ from each other, with a function id and its arguments among them.
fn pattern(function_id: u64, arguments: &[u64]) -> GeneralRegisters {
    let mut x = core::array::from_fn(|index| 0x0101_0101_0101_0101 * (index as u64 + 0x40));
    x[0] = function_id;
    x[1..=arguments.len()].copy_from_slice(arguments);
    GeneralRegisters { x, nzcv: 0b1010 << 28 }
}

fn call(mut registers: GeneralRegisters) -> GeneralRegisters {
    hvc_with_all_registers(&mut registers);
    registers
}

/// Asserts that a call succeeds, and changes nothing but `x0` and its results.
#[track_caller]
fn preserves(function: Call, arguments: &[u64], result_count: usize) {
    let before = pattern(function.function_id().into(), arguments);
    let after = call(before);
    assert!(after.x[0] == Status::OK.to_register(), "{function:?}: {:?}", Status::from_register(after.x[0]));
    assert_kept(before, after, result_count);
}

/// Asserts that a call fails, and changes nothing but `x0`.
#[track_caller]
fn fails_and_preserves(function: Call, arguments: &[u64], status: Status) {
    let before = pattern(function.function_id().into(), arguments);
    let after = call(before);
    let x0 = after.x[0];
    assert!(x0 == status.to_register(), "{function:?}: expected {status:?} in x0, got {x0:#x}");
    assert_kept(before, after, 0);
}

/// Asserts that a call fails with the given status, sign-extended.
#[track_caller]
fn refuses(function: Call, arguments: &[u64], status: Status) {
    let x0 = call(pattern_of_zeros(function, arguments)).x[0];
    assert!(x0 == status.to_register(), "{function:?}: expected {status:?} in x0, got {x0:#x}");
}

/// Returns registers that are 0 but for a call and its arguments.
fn pattern_of_zeros(function: Call, arguments: &[u64]) -> GeneralRegisters {
    let mut registers = GeneralRegisters { x: [0; 31], nzcv: 0 };
    registers.x[0] = function.function_id().into();
    registers.x[1..=arguments.len()].copy_from_slice(arguments);
    registers
}

#[track_caller]
fn assert_kept(before: GeneralRegisters, after: GeneralRegisters, result_count: usize) {
    for register in result_count + 1..31 {
        let (was, is) = (before.x[register], after.x[register]);
        assert!(was == is, "expected x{register} to keep {was:#x}, got {is:#x}");
    }
    assert_eq!(before.nzcv, after.nzcv, "flags");
}
