//! The tour: a guest that changes its own physical memory, and shows after each step what its stage-2 tables look like
//! and what the step cost. It needs the boot argument `inspect=on`.
#![no_std]
#![no_main]

use abi::stats::Counter;
use core::fmt::{self, Write};
use guest::{Env, entry, image, println, probe};
use zx::inspect::{self, Stats, Walk};
use zx::{PAGE_SIZE, Result, Status, Vm, VmOptions, Vmar, VmarOp, Vmo};

/// Where the tour takes place: a round IPA, far from the RAM.
const BASE: u64 = 0x8000_0000;

/// The pages of the VMO. It is mapped twice, side by side.
const PAGES: u64 = 8;

/// The length of a mapping of it.
const LEN_BYTES: u64 = PAGES * PAGE_SIZE;

const READ: VmOptions = VmOptions::PERM_READ;
const READ_WRITE: VmOptions = READ.union(VmOptions::PERM_WRITE);

entry!(main);

fn main(_env: &Env) -> Result<()> {
    let mut tour = Tour::new()?;
    introduce();
    let (region, vmo) = (region()?, Vmo::create(LEN_BYTES)?);
    pages_come_at_first_touch(&mut tour, &region, &vmo)?;
    pages_come_ahead_of_it(&mut tour, &region, &vmo)?;
    pages_go(&mut tour, &region)?;
    errors_change_nothing_else(&mut tour, &region);
    tour.step("vmar_destroy: the region, with all that is in it", || region.destroy())?;
    println!("    Tables that became empty are given back too.");
    Ok(())
}

fn introduce() {
    println!("Stagecraft: EL2 keeps this VM's physical memory in stage-2 tables, and the VM gives the orders.");
    println!("Each step shows the entries of 16 pages at {BASE:#x}, before and after, a character a page:");
    println!("    .  none: an access traps to EL2    A  frame A, writable    a  frame A, read-only");
    println!("and its cost: descriptors stored, TLB invalidations (stage 2 + stage 1), barriers, tables in use.");
}

fn pages_come_at_first_touch(tour: &mut Tour, region: &Vmar, vmo: &Vmo) -> Result<()> {
    tour.step("vmar_map: the eight pages of a new VMO, to be read and written", || {
        region.map(READ_WRITE | VmOptions::SPECIFIC, 0, vmo, 0, LEN_BYTES)
    })?;
    println!("    A mapping is a promise. Nothing is in the tables: pages come at first touch.");

    let values = tour.step("load from pages 1 and 2", || [load(1), load(2)]);
    println!("    They read {values:?}. Each load trapped; EL2 entered its one frame of zeros, read-only.");
    tour.show_entry(1);

    tour.step("store 42 to page 2", || store(2, 42));
    println!("    A permission fault: the page gets a frame of its own. The old entry goes before the new comes.");
    tour.show_entry(2);
    Ok(())
}

fn pages_come_ahead_of_it(tour: &mut Tour, region: &Vmar, vmo: &Vmo) -> Result<()> {
    tour.step("vmar_op_range COMMIT: pages 4 to 7", || region.op_range(VmarOp::Commit, page(4), 4 * PAGE_SIZE))?;
    println!("    Four frames, zeroed and entered by one call: the first touch of these pages will not trap.");

    tour.step("vmar_map: the same VMO at page 8, read-only, and MAP_RANGE over it", || {
        region.map(READ | VmOptions::SPECIFIC, LEN_BYTES, vmo, 0, LEN_BYTES)?;
        region.op_range(VmarOp::MapRange, page(8), LEN_BYTES)
    })?;
    println!("    The frames that exist are entered ahead of any access. Page 10 reads {}.", load(10));
    Ok(())
}

fn pages_go(tour: &mut Tour, region: &Vmar) -> Result<()> {
    tour.step("vmar_unmap: a hole, pages 5 and 6", || region.unmap(page(5), 2 * PAGE_SIZE))?;
    println!("    One mapping became two. The frames stay in the VMO, and the other mapping shows them.");

    let abort = tour.step("load from the hole", || probe::load(page(5))).expect_err("the hole is not mapped");
    println!("    {abort}:");
    println!("    a synchronous external abort. The guest's own vectors caught it, and the guest goes on.");

    tour.step("vmar_op_range DECOMMIT: page 4", || region.op_range(VmarOp::Decommit, page(4), PAGE_SIZE))?;
    println!("    The frame is given back, so it leaves both mappings. Page 4 will read 0 again.");
    Ok(())
}

fn errors_change_nothing_else(tour: &mut Tour, region: &Vmar) {
    let refused = tour.step("vmar_unmap: one byte past the start of page 0", || region.unmap(page(0) + 1, PAGE_SIZE));
    explain(refused, "an address must be a page's. Arguments are tested before anything is touched.");

    let refused =
        tour.step("vmar_op_range COMMIT: pages 3 to 6", || region.op_range(VmarOp::Commit, page(3), 4 * PAGE_SIZE));
    explain(refused, "the range runs into the hole. Pages 3 and 4, before it, are done and stay done.");

    let refused = tour.step("vmar_protect: page 2, to be executed", || {
        region.protect(READ_WRITE | VmOptions::PERM_EXECUTE, page(2), PAGE_SIZE)
    });
    explain(refused, "the handle that the VMO was mapped by bounds this for good: it had no EXECUTE.");
}

/// Makes the region in which everything happens.
fn region() -> Result<Vmar> {
    let options = VmOptions::CAN_MAP_ACCESS | VmOptions::CAN_MAP_SPECIFIC | VmOptions::SPECIFIC;
    let (region, _) = Vmar::root()?.allocate(options, BASE, 2 * LEN_BYTES)?;
    Ok(region)
}

/// Prints which error a call was refused with, and why.
fn explain(result: Result<()>, why: &str) {
    println!("    {}: {why}", Status::from(result));
}

/// Returns the address of one of the pages that are shown.
const fn page(index: u64) -> u64 {
    BASE + index * PAGE_SIZE
}

fn load(index: u64) -> u64 {
    probe::load(page(index)).expect("the page is mapped")
}

fn store(index: u64, value: u64) {
    probe::store(page(index), value).expect("the page is mapped to be written");
}

/// What the tour is watched with.
struct Tour {
    root: Vmar,
    vm: Vm,
    /// The frames that were seen, named by their places: A, B, C…
    frames: [u64; 26],
    frame_count: usize,
    step_count: u32,
}

impl Tour {
    /// Gives the guest's own image all of its pages, so that nothing but what a step does costs anything.
    fn new() -> Result<Self> {
        let (root, vm, image) = (Vmar::root()?, Vm::current()?, image::range());
        root.op_range(VmarOp::Commit, image.start, image.end - image.start)?;
        inspect::stats(&vm).inspect_err(|_| {
            println!("The tour looks at its own stage-2 tables, which takes the boot argument inspect=on.");
        })?;
        Ok(Self { root, vm, frames: [0; 26], frame_count: 0, step_count: 0 })
    }

    /// Does a step, and prints the tables before and after it, and what it cost.
    fn step<T>(&mut self, title: &str, action: impl FnOnce() -> T) -> T {
        let before = self.look();
        let value = action();
        let after = self.look();
        self.step_count += 1;
        println!("\n{:2}. {title}", self.step_count);
        println!("    {before} -> {after}  {}", Cost { before: before.stats, after: after.stats });
        value
    }

    fn look(&mut self) -> Look {
        let stats = inspect::stats(&self.vm).expect("the tour may look at its tables");
        Look { pages: core::array::from_fn(|index| self.letter(page(index as u64))), stats }
    }

    fn walk(&self, address: u64) -> Walk {
        inspect::walk(&self.root, address).expect("the tour may look at its tables")
    }

    /// Returns the letter that stands for the entry of an address.
    fn letter(&mut self, address: u64) -> char {
        let entry = self.walk(address);
        if !entry.descriptor.is_valid() {
            return '.';
        }
        let name = self.name(entry.page_of(address));
        if entry.descriptor.is_writable() { name } else { name.to_ascii_lowercase() }
    }

    /// Returns the name of a frame, which it gets when it is first seen.
    fn name(&mut self, frame: u64) -> char {
        let known = self.frames[..self.frame_count].iter().position(|&known| known == frame);
        let index = known.unwrap_or_else(|| {
            self.frames[self.frame_count] = frame;
            self.frame_count += 1;
            self.frame_count - 1
        });
        char::from(b'A' + index as u8)
    }

    /// Prints what the descriptor of a page says.
    fn show_entry(&mut self, index: u64) {
        let address = page(index);
        let (Walk { descriptor, level, .. }, frame) = (self.walk(address), self.letter(address));
        let flag = |is_set, letter| if is_set { letter } else { '-' };
        println!(
            "    The entry of {address:#x}: level {level}, frame {frame}, {}{}{}, access flag {}.",
            flag(descriptor.is_readable(), 'r'),
            flag(descriptor.is_writable(), 'w'),
            flag(descriptor.is_executable(), 'x'),
            u8::from(descriptor.is_accessed()),
        );
    }
}

/// What can be seen at one time.
struct Look {
    /// A letter for each page.
    pages: [char; 2 * PAGES as usize],
    stats: Stats,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mapping in self.pages.chunks(PAGES as usize) {
            f.write_char('|')?;
            mapping.iter().try_for_each(|&page| f.write_char(page))?;
        }
        f.write_char('|')
    }
}

/// What a step cost.
struct Cost {
    before: Stats,
    after: Stats,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spent = self.after.since(&self.before);
        write!(
            f,
            "{:2} stores {:2}+{} TLBI {:2} DSB  {} -> {} tables",
            spent[Counter::Stores],
            spent.stage2_tlbis(),
            spent[Counter::TlbiStage1],
            spent[Counter::Dsb],
            self.before[Counter::Tables],
            self.after[Counter::Tables],
        )
    }
}
