//! The first and only process of a Linux: it has KVM change a VM's stage-2 tables, and counts instructions.
//!
//! KVM does nothing to them at a guest's word. It maps when a guest faults, unmaps when Linux takes memory from the process, and
//! write-protects when the process asks which pages are written. Of an unmapping KVM's part alone is told: what it takes beyond
//! the same of memory that no VM has.
#![no_std]
#![no_main]

mod area;
mod linux;
mod program;
mod vm;

use core::arch::naked_asm;
use core::fmt;
use core::panic::PanicInfo;

use peers::{Failure, check_counter, measure, tell_end, tell_figure, tell_step};

use area::{Area, PAGE_BYTES, Piece};
use linux::{Console, power_off};
use program::Program;
use vm::{Logging, MEMORY, Vm};

/// Over how many pages a work is done.
const SIZES: [usize; 4] = [1, 512, 4096, 65_536];
/// Over how many blocks.
const BLOCKS: [usize; 2] = [1, 32];
/// How often a call is made.
const CALLS: u64 = 64;
/// No fault takes fewer instructions.
const FEWEST_OF_A_FAULT: u64 = 100;
/// How long Linux gets to do what it has put off while it booted; nobody has to wait for it.
const SETTLE_SECONDS: u64 = 10;
/// How often what is small is done; the least is told, as the first meets what nobody has touched.
const REPEATS: usize = 8;

/// Linux starts its first process with the arguments on a stack.
///
/// # Safety
///
/// 1. Only Linux comes here, once.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("b {start}", start = sym start)
}

extern "C" fn start() -> ! {
    end(run())
}

fn end(result: Result<(), Failure>) -> ! {
    // There is nobody to tell that nothing can be told.
    let _ = tell_end(&mut Console, result);
    power_off()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, |location| location.line());
    end(Err(Failure::new("the program panicked, in line", line.into())))
}

fn run() -> Result<(), Failure> {
    check_counter()?;
    say(format_args!("waiting for Linux to come to rest"));
    linux::sleep(SETTLE_SECONDS)?;
    let vm = Vm::new()?;
    tell("null", 1, vm.run(Program::Call, [0, CALLS, 0])?, "a function that there is not");
    for n in SIZES {
        say(format_args!("touching, taking away and protecting pages, as many as {n}"));
        measure_touch(&vm, n)?;
        measure_unmap(&vm, n, Piece::Page)?;
        measure_protect(&vm, n)?;
    }
    for n in BLOCKS {
        say(format_args!("taking away blocks, as many as {n}"));
        measure_unmap(&vm, n, Piece::Block)?;
    }
    measure_split(&vm)
}

/// Tells a figure; a console that does not take it makes it a figure that is missing, which the host notices.
fn tell(work: &str, n: usize, instructions: u64, how: &str) {
    let _ = tell_figure(&mut Console, work, n as u64, instructions, how);
}

fn say(step: fmt::Arguments<'_>) {
    let _ = tell_step(&mut Console, step);
}

/// Does a work a number of times and returns the least.
fn least(times: usize, mut work: impl FnMut() -> Result<u64, Failure>) -> Result<u64, Failure> {
    (0..times).try_fold(u64::MAX, |least, _| Ok(least.min(work()?)))
}

/// How often a work on `n` pieces is done: the fewer there are, the more it is a matter of chance.
const fn times(n: usize, piece: Piece) -> usize {
    match (n, piece) {
        (1, _) | (_, Piece::Block) => REPEATS,
        _ => 2,
    }
}

/// Has the VM store to the first `n` pieces of an area that it has.
fn store(vm: &Vm, area: &Area, n: usize) -> Result<u64, Failure> {
    vm.run(Program::Store, [MEMORY, n as u64, area.stride() as u64])
}

fn measure_touch(vm: &Vm, n: usize) -> Result<(), Failure> {
    let touched = touch(vm, n, |_| {})?;
    tell("touch", n, touched, "faults of the guest");
    tell("commit", n, touched, "faults of the guest");
    tell("touch", n, touch(vm, n, Area::touch)?, "faults of the guest, on pages that the process has");
    Ok(())
}

/// Has the VM touch memory that it has never had, which `prepare` has seen before.
fn touch(vm: &Vm, n: usize, prepare: impl Fn(&Area)) -> Result<u64, Failure> {
    let area = Area::new(n, Piece::Page)?;
    least(times(n, Piece::Page), || {
        prepare(&area);
        vm.give(&area, Logging::Off)?;
        let touched = store(vm, &area, n);
        vm.take()?;
        area.take_away(n)?;
        touched
    })
}

/// Takes `n` pieces away. One page has others beside it, so that its table stays.
fn measure_unmap(vm: &Vm, n: usize, piece: Piece) -> Result<(), Failure> {
    const BESIDE: usize = 512;
    let area = Area::new(if piece == Piece::Page { n.max(BESIDE) } else { n }, piece)?;
    let alone = least(times(n, piece), || {
        area.touch();
        area.take_away(n)
    })?;
    vm.give(&area, Logging::Off)?;
    let touched = least(times(n, piece), || {
        area.touch();
        store(vm, &area, area.pieces())?;
        area.take_away(n)
    })?;
    vm.take()?;
    area.take_away(area.pieces())?;
    let work = if piece == Piece::Page { "unmap" } else { "unmap-block" };
    match touched.checked_sub(alone) {
        Some(part @ 1..) => tell(work, n, part, "madvise, beyond the same of memory that no VM has"),
        _ => say(format_args!("no figure for {work} of {n}: Linux's own part varies by more than KVM's is")),
    }
    if piece == Piece::Page {
        tell("decommit", n, touched, "madvise, Linux's part and KVM's");
    }
    Ok(())
}

/// Has KVM write-protect pages that are mapped, first all of a VM's memory, then what was written since.
fn measure_protect(vm: &Vm, n: usize) -> Result<(), Failure> {
    let area = Area::new(n, Piece::Page)?;
    let bitmap = Area::new(n.div_ceil(8 * PAGE_BYTES), Piece::Page)?;
    bitmap.touch();
    vm.give(&area, Logging::Off)?;
    store(vm, &area, n)?;
    let (protected, result) = measure(|| vm.give(&area, Logging::On));
    result?;
    tell("protect", n, protected, "KVM_SET_USER_MEMORY_REGION");
    store(vm, &area, n)?;
    let (protected, result) = measure(|| vm.read_log(&bitmap));
    result?;
    tell("protect", n, protected, "KVM_GET_DIRTY_LOG");
    vm.take()?;
    area.take_away(n).map(drop)
}

/// Has the guest fault on blocks: those that it has never had, and those that KVM logs the pages of.
fn measure_split(vm: &Vm) -> Result<(), Failure> {
    say(format_args!("touching and splitting blocks"));
    let area = Area::new(REPEATS, Piece::Block)?;
    let mut blocks = (MEMORY..).step_by(area.stride()).take(REPEATS).cycle();
    let mut fault = |offset| vm.run(Program::Store, [blocks.next().unwrap_or(MEMORY) + offset, 1, 0]);
    vm.give(&area, Logging::Off)?;
    let committed = least(REPEATS, || fault(0))?;
    tell("commit-block", 1, committed, "a fault of the guest");
    let again = least(REPEATS, || fault(PAGE_BYTES as u64))?;
    if again >= FEWEST_OF_A_FAULT {
        return Err(Failure::new("Linux gives no 2 MiB pages: another page of a block takes", again as i64));
    }
    vm.give(&area, Logging::On)?;
    tell("split", 1, least(REPEATS, || fault(0))?, "a write fault of the guest, where KVM logs");
    vm.take()
}
