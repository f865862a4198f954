//! The heap, for what is built at boot: the guest's device tree. Nothing that serves a guest allocates.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};

use buddy_system_allocator::Heap;
use spin::Mutex;

const BYTES: usize = 1 << 20;
/// One order for each power of two up to the whole.
const ORDERS: usize = BYTES.ilog2() as usize + 1;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u8; BYTES]>);

// SAFETY: the bytes are only reached through the heap, which is behind a lock.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; BYTES]));

struct BootHeap(Mutex<Option<Heap<ORDERS>>>);

#[global_allocator]
static HEAP: BootHeap = BootHeap(Mutex::new(None));

fn filled() -> Heap<ORDERS> {
    let mut heap = Heap::new();
    // SAFETY: the memory is a static that nothing else uses, and this runs once: the heap is kept ever after.
    unsafe { heap.init(MEMORY.0.get().expose_provenance(), BYTES) };
    heap
}

// SAFETY: blocks come from a heap that hands out each byte once, aligned as the layout asks, until it is given back.
unsafe impl GlobalAlloc for BootHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().get_or_insert_with(filled).alloc(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let (Some(heap), Some(block)) = (self.0.lock().as_mut(), NonNull::new(block)) {
            // SAFETY: the caller had the block from `alloc` with this layout, and gives it up.
            unsafe { heap.dealloc(block, layout) };
        }
    }
}
