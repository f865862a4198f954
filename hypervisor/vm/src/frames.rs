//! Physical memory: chunks of 2 MiB from a buddy allocator, frames of 4 KiB dealt from chunks in constant time, and a record
//! for every frame.
//!
//! Invariant: a frame that is handed out belongs to whoever holds its address, until it is given back. Its record may be read
//! by anybody; it is written by its holder, or here while the frame is free. Lock order: the allocator's lock is the last.

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use buddy_system_allocator::Heap;
use spin::Mutex;
use vmsa::{Hpa, PAGE_SHIFT, PAGE_SIZE};

use crate::caches::Caches;
use crate::frame_lists::FrameStack;
use crate::locks::lock;

/// The base-two logarithm of the frames in a chunk.
const CHUNK_SHIFT: u32 = 9;
/// How many frames a chunk has: what a level-2 block maps.
pub(crate) const CHUNK_FRAMES: u64 = 1 << CHUNK_SHIFT;
/// The bytes of a chunk.
pub(crate) const CHUNK_BYTES: u64 = CHUNK_FRAMES * PAGE_SIZE;
/// The buddy allocator's blocks reach up to 2^39 bytes.
const ORDERS: usize = 40;
/// No frame, in a link.
pub(crate) const NONE: u32 = u32::MAX;
/// No frame, in a link within a chunk.
const NONE_IN_CHUNK: u16 = u16::MAX;

/// A range of physical memory, in bytes: `start` belongs to it, `end` does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemoryRange {
    /// The first address.
    pub start: Hpa,
    /// The address past the last.
    pub end: Hpa,
}

impl MemoryRange {
    /// Returns the whole pages of the range.
    const fn pages(self) -> Self {
        let start = Hpa(self.start.0.next_multiple_of(PAGE_SIZE));
        Self { start, end: self.end.page_base() }
    }

    const fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

/// What a frame is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Use {
    /// Nothing.
    Free = 0,
    /// A guest's page.
    Page = 1,
    /// A stage-2 table.
    Table = 2,
    /// The hypervisor's bookkeeping.
    Node = 3,
}

/// What is known of a frame.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Record {
    /// The next frame in whatever list this one is in.
    link: AtomicU32,
    /// Live entries of a table, used words of a node, of a page how many other memories show it.
    count: AtomicU16,
    used_as: AtomicU8,
    // The rest speaks of a chunk whose frames are dealt one by one, in the record of its first frame.
    /// Those that were given back, in a list.
    free_head: AtomicU16,
    /// How many frames are free: those that were given back, and those behind the ones that were ever dealt.
    free_count: AtomicU16,
    /// How many were ever dealt, so that no list of them has to be made.
    dealt_count: AtomicU16,
    previous_chunk: AtomicU32,
    next_chunk: AtomicU32,
}

const _: () = assert!(size_of::<Record>() <= 32);

impl Record {
    /// Makes it that of a frame that is used for something from now on.
    fn begin(&self, used_as: Use) {
        self.used_as.store(used_as as u8, Relaxed);
        self.count.store(0, Relaxed);
    }

    /// Makes it that of a chunk of which the first `count` frames are dealt.
    fn deal(&self, count: u16) {
        self.free_head.store(NONE_IN_CHUNK, Relaxed);
        self.free_count.store(CHUNK_FRAMES as u16 - count, Relaxed);
        self.dealt_count.store(count, Relaxed);
    }

    /// Returns the count that the frame's holder keeps.
    pub(crate) fn count(&self) -> u16 {
        self.count.load(Relaxed)
    }

    /// Sets the count that the frame's holder keeps.
    pub(crate) fn set_count(&self, count: u16) {
        self.count.store(count, Relaxed);
    }

    pub(crate) fn is_used_as(&self, what: Use) -> bool {
        self.used_as.load(Relaxed) == what as u8
    }
}

/// How many frames somebody holds, and may hold.
#[derive(Debug)]
pub(crate) struct Account {
    held: AtomicU64,
    limit: u64,
}

impl Account {
    /// Returns an account that may hold `limit` frames.
    pub(crate) const fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), limit }
    }

    /// Returns how many frames are held.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    fn charge(&self, frames: u64) -> Option<()> {
        let charged = |held: u64| held.checked_add(frames).filter(|held| *held <= self.limit);
        self.held.fetch_update(Relaxed, Relaxed, charged).ok().map(drop)
    }

    fn discharge(&self, frames: u64) {
        self.held.fetch_sub(frames, Relaxed);
    }
}

/// All of the machine's free memory.
pub(crate) struct Frames {
    base: Hpa,
    records: NonNull<Record>,
    record_count: usize,
    caches: Caches,
    state: Mutex<State>,
}

// SAFETY: the pointer leads to records that live as long as this and are all atomics; the rest is `Send` by itself.
unsafe impl Send for Frames {}
// SAFETY: the same; the allocator's state is behind a lock.
unsafe impl Sync for Frames {}

struct State {
    heap: Heap<ORDERS>,
    /// Chunks that have free frames.
    partial: u32,
}

/// Frames from a chunk.
enum Dealt {
    /// One that was given back.
    Used(Hpa),
    /// So many adjacent ones that were never dealt.
    Unused(Hpa, u16),
}

impl Frames {
    /// Takes over the memory in `ranges`, keeping records in the largest of them: `clear` makes so many frames from one on read as
    /// zero. Returns `None` where there is no room.
    ///
    /// # Safety
    ///
    /// 1. The ranges do not overlap, and nobody else uses their memory from now on.
    /// 2. This program sees them, readable and writable, at addresses equal to the physical ones, for as long as this lives, and
    ///    the provenance of those addresses is exposed.
    pub(crate) unsafe fn new(ranges: &[MemoryRange], clear: impl FnOnce(Hpa, u64)) -> Option<Self> {
        let base = ranges.iter().map(|range| range.pages().start).min()?;
        let end = ranges.iter().map(|range| range.pages().end).max()?;
        let record_count = usize::try_from(end.0.checked_sub(base.0)? >> PAGE_SHIFT).ok()?;
        let record_bytes = (record_count * size_of::<Record>()) as u64;
        let largest = ranges.iter().map(|range| range.pages()).max_by_key(|range| range.len())?;
        if record_count > NONE as usize || largest.len() <= record_bytes {
            return None;
        }
        let mut heap = Heap::new();
        for range in ranges.iter().map(|range| range.pages()).filter(|range| range.len() > 0) {
            let start = if range == largest { range.start.0 + record_bytes } else { range.start.0 };
            let start = start.next_multiple_of(PAGE_SIZE) as usize;
            // SAFETY: by (1) the memory is nobody's, by (2) the heap can keep its lists in it; the records' part is left out.
            unsafe { heap.add_to_heap(start, range.end.0 as usize) };
        }
        clear(largest.start, record_bytes.div_ceil(PAGE_SIZE));
        let state = Mutex::new(State { heap, partial: NONE });
        let records = NonNull::new(core::ptr::with_exposed_provenance_mut(largest.start.0 as usize))?;
        Some(Self { base, records, record_count, caches: Caches::new(), state })
    }

    /// Returns how many records there are, and how many bytes they take.
    pub(crate) const fn bookkeeping(&self) -> (u64, u64) {
        (self.record_count as u64, (self.record_count * size_of::<Record>()) as u64)
    }

    /// Takes a frame, on the CPU of that number; what is in it is whatever was there before.
    pub(crate) fn allocate(&self, used_as: Use, account: &Account, cpu: usize) -> Option<Hpa> {
        account.charge(1)?;
        let frame = self.caches.take(self, cpu);
        match frame {
            Some(frame) => self.record(frame).begin(used_as),
            None => account.discharge(1),
        }
        frame
    }

    /// Gives a frame back. Nobody can reach it any more: not the holder, not a guest, not a table walk.
    pub(crate) fn free(&self, frame: Hpa, account: &Account, cpu: usize) {
        self.end_use(frame);
        self.caches.give(self, cpu, [frame]);
        account.discharge(1);
    }

    /// Gives frames back as [`Frames::free`] does: `first`, and those that [`Frames::next`] names from there on, each after `tell` has
    /// heard of it. Returns how many they are.
    pub(crate) fn free_list(&self, first: Hpa, account: &Account, cpu: usize, tell: impl Fn(Hpa)) -> u64 {
        let (mut next, mut count) = (Some(first), 0);
        while next.is_some() {
            let list = core::iter::from_fn(|| {
                let frame = next?;
                // Before the frame is put among the free ones, which are linked by the same.
                next = self.next(frame);
                tell(frame);
                self.end_use(frame);
                Some(frame)
            });
            let given = self.caches.give(self, cpu, list);
            account.discharge(given);
            count += given;
        }
        count
    }

    fn end_use(&self, frame: Hpa) {
        let record = self.record(frame);
        assert!(!record.is_used_as(Use::Free), "{frame} is freed twice");
        record.used_as.store(Use::Free as u8, Relaxed);
    }

    /// Puts up to `count` free frames on the stack if it is empty, so that they come in their order. Adjacent ones that were never
    /// used need no links: that is 60 instructions a frame less.
    pub(crate) fn deal(&self, onto: &mut FrameStack, count: u16) {
        if onto.count() != 0 {
            return;
        }
        let mut state = lock(&self.state);
        let mut last = None;
        for taken in 0..count {
            match state.take_frames(self, count - taken) {
                Some(Dealt::Used(frame)) => onto.put_after(self, last.replace(frame), frame),
                Some(Dealt::Unused(first, count)) => return onto.put_unused(self, first, u32::from(count)),
                None => return,
            }
        }
    }

    /// Gives up to `count` frames of the stack back.
    pub(crate) fn give_back(&self, from: &mut FrameStack, count: u32) {
        let mut state = lock(&self.state);
        for _ in 0..count {
            let Some(frame) = from.pop(self) else { return };
            state.give_frame(self, frame);
        }
    }

    /// Takes `count` adjacent frames, the first aligned to 2^`align_log2` bytes and at least to a page.
    pub(crate) fn allocate_run(&self, count: u64, align_log2: u32, used_as: Use, account: &Account) -> Option<Hpa> {
        let bytes = count.checked_mul(PAGE_SIZE)?.checked_next_power_of_two()?;
        let align = 1u64.checked_shl(align_log2)?.max(PAGE_SIZE);
        let layout = Layout::from_size_align(bytes.max(align) as usize, align as usize).ok()?;
        account.charge(count)?;
        let take = || lock(&self.state).heap.alloc(layout).ok();
        let drain_and_take = || {
            self.caches.drain(self);
            take()
        };
        let Some(block) = take().or_else(drain_and_take) else {
            account.discharge(count);
            return None;
        };
        let first = Hpa(block.addr().get() as u64);
        self.records(first, count).iter().for_each(|record| record.begin(used_as));
        self.deal_whole_chunks(first, count);
        lock(&self.state).give_blocks(first.add(count * PAGE_SIZE), first.add(layout.size() as u64));
        Some(first)
    }

    /// Takes note that the chunks of a run have all been dealt: their frames may come back one by one.
    fn deal_whole_chunks(&self, first: Hpa, count: u64) {
        let (first, end) = (first.0.next_multiple_of(CHUNK_BYTES), first.0 + count * PAGE_SIZE);
        for chunk in (first..end).step_by(CHUNK_BYTES as usize) {
            self.record(Hpa(chunk)).deal(CHUNK_FRAMES as u16);
        }
    }

    /// Gives back what [`Frames::allocate_run`] gave. The frames of an aligned chunk may be [given back](Frames::free) one by
    /// one instead.
    pub(crate) fn free_run(&self, first: Hpa, count: u64, account: &Account) {
        assert!(!self.record(first).is_used_as(Use::Free), "the run at {first} is freed twice");
        for record in self.records(first, count) {
            record.used_as.store(Use::Free as u8, Relaxed);
        }
        lock(&self.state).give_blocks(first, first.add(count * PAGE_SIZE));
        account.discharge(count);
    }

    /// Returns what is known of a frame that was handed out.
    pub(crate) fn record(&self, frame: Hpa) -> &Record {
        let pointer = self.record_pointer(frame, 1);
        // SAFETY: the pointer is in bounds (checked there); zeros are a record; it is made of atomics, and never borrowed mutably.
        unsafe { pointer.as_ref() }
    }

    /// Returns what is known of `count` adjacent frames that were handed out.
    fn records(&self, first: Hpa, count: u64) -> &[Record] {
        let pointer = NonNull::slice_from_raw_parts(self.record_pointer(first, count), count as usize);
        // SAFETY: as for one record, `count` times.
        unsafe { pointer.as_ref() }
    }

    /// Returns where the records of `count` adjacent frames are.
    #[inline]
    fn record_pointer(&self, first: Hpa, count: u64) -> NonNull<Record> {
        let index = (first.0.wrapping_sub(self.base.0) >> PAGE_SHIFT) as usize;
        let room = self.record_count.checked_sub(index);
        if room.is_none_or(|room| room < count as usize) {
            not_ours(first);
        }
        // SAFETY: the index is not above the number of records.
        unsafe { self.records.add(index) }
    }

    pub(crate) fn number(&self, frame: Hpa) -> u32 {
        ((frame.0 - self.base.0) >> PAGE_SHIFT) as u32
    }

    pub(crate) fn frame(&self, number: u32) -> Hpa {
        self.base.add(u64::from(number) << PAGE_SHIFT)
    }
}

/// Ends the program: a frame was named that there is no record of.
#[cold]
#[inline(never)]
fn not_ours(frame: Hpa) -> ! {
    unreachable!("the frames from {frame} on are not ours")
}

/// The first frame of the chunk that `frame` belongs to.
const fn chunk_of(frame: Hpa) -> Hpa {
    Hpa(frame.0 & !(CHUNK_BYTES - 1))
}

/// The frame of that number in a chunk.
const fn frame_of(chunk: Hpa, number: u16) -> Hpa {
    Hpa(chunk.0 + ((number as u64) << PAGE_SHIFT))
}

impl State {
    /// Takes free frames from one chunk, `most` at the most.
    fn take_frames(&mut self, frames: &Frames, most: u16) -> Option<Dealt> {
        if self.partial == NONE {
            self.open_chunk(frames)?;
        }
        let chunk = frames.frame(self.partial);
        let head = frames.record(chunk);
        let free_count = head.free_count.load(Relaxed);
        let (taken, count) = match head.free_head.load(Relaxed) {
            NONE_IN_CHUNK => {
                let (number, count) = (head.dealt_count.load(Relaxed), most.min(free_count));
                head.dealt_count.store(number + count, Relaxed);
                (Dealt::Unused(frame_of(chunk, number), count), count)
            }
            number => {
                let frame = frame_of(chunk, number);
                head.free_head.store(frames.record(frame).link.load(Relaxed) as u16, Relaxed);
                (Dealt::Used(frame), 1)
            }
        };
        head.free_count.store(free_count - count, Relaxed);
        if free_count == count {
            self.unlink(frames, chunk);
        }
        Some(taken)
    }

    fn give_frame(&mut self, frames: &Frames, frame: Hpa) {
        let chunk = chunk_of(frame);
        let head = frames.record(chunk);
        frames.record(frame).link.store(u32::from(head.free_head.load(Relaxed)), Relaxed);
        head.free_head.store(((frame.0 - chunk.0) >> PAGE_SHIFT) as u16, Relaxed);
        let free_count = head.free_count.load(Relaxed) + 1;
        head.free_count.store(free_count, Relaxed);
        match u64::from(free_count) {
            1 => self.link(frames, chunk),
            CHUNK_FRAMES => {
                self.unlink(frames, chunk);
                self.give_blocks(chunk, chunk.add(CHUNK_BYTES));
            }
            _ => {}
        }
    }

    /// Takes a chunk from the buddy allocator, all of whose frames are to be dealt, in ascending order.
    fn open_chunk(&mut self, frames: &Frames) -> Option<()> {
        let layout = Layout::from_size_align(CHUNK_BYTES as usize, CHUNK_BYTES as usize).ok()?;
        let chunk = Hpa(self.heap.alloc(layout).ok()?.addr().get() as u64);
        frames.record(chunk).deal(0);
        self.link(frames, chunk);
        Some(())
    }

    fn link(&mut self, frames: &Frames, chunk: Hpa) {
        let head = frames.record(chunk);
        head.previous_chunk.store(NONE, Relaxed);
        head.next_chunk.store(self.partial, Relaxed);
        if self.partial != NONE {
            frames.record(frames.frame(self.partial)).previous_chunk.store(frames.number(chunk), Relaxed);
        }
        self.partial = frames.number(chunk);
    }

    fn unlink(&mut self, frames: &Frames, chunk: Hpa) {
        let (previous, next) =
            (frames.record(chunk).previous_chunk.load(Relaxed), frames.record(chunk).next_chunk.load(Relaxed));
        match previous {
            NONE => self.partial = next,
            _ => frames.record(frames.frame(previous)).next_chunk.store(next, Relaxed),
        }
        if next != NONE {
            frames.record(frames.frame(next)).previous_chunk.store(previous, Relaxed);
        }
    }

    /// Gives a page-aligned range back to the buddy allocator, in the largest blocks that their alignment allows.
    fn give_blocks(&mut self, start: Hpa, end: Hpa) {
        let mut at = start.0;
        while at < end.0 {
            let size = (1u64 << at.trailing_zeros()).min(1 << (end.0 - at).ilog2());
            if let (Ok(layout), Some(block)) = (
                Layout::from_size_align(size as usize, size as usize),
                NonNull::new(core::ptr::with_exposed_provenance_mut(at as usize)),
            ) {
                // SAFETY: the block came from this allocator, as a whole or as a part of a larger one, and is in use no more.
                unsafe { self.heap.dealloc(block, layout) };
            }
            at += size;
        }
    }
}

impl Frames {
    /// Tells whether several memories show the page.
    pub(crate) fn is_shared(&self, page: Hpa) -> bool {
        self.record(page).count() != 0
    }

    /// Returns how many memories show the page.
    pub(crate) fn sharers(&self, page: Hpa) -> u64 {
        u64::from(self.record(page).count()) + 1
    }

    /// Takes note that another memory shows the page, unless too many do.
    pub(crate) fn share(&self, page: Hpa) -> Option<()> {
        let record = self.record(page);
        record.set_count(record.count().checked_add(1)?);
        Some(())
    }

    /// Takes note that a memory does not show the page any more, and tells whether others do.
    pub(crate) fn unshare(&self, page: Hpa) -> bool {
        let record = self.record(page);
        let others = record.count();
        record.set_count(others.saturating_sub(1));
        others != 0
    }

    /// Returns the number in the frame's link, which is another frame's or [`NONE`].
    pub(crate) fn link(&self, frame: Hpa) -> u32 {
        self.record(frame).link.load(Relaxed)
    }

    pub(crate) fn set_link(&self, frame: Hpa, number: u32) {
        self.record(frame).link.store(number, Relaxed);
    }
}
