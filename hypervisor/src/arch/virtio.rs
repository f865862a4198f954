//! The virtio console that a trace goes to, on one of the machine's virtio-mmio transports. No guest has it mapped.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec;
use core::alloc::Layout;
use core::ptr::NonNull;

use checked::{Channel, ChannelFailed, Recorder};
use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use vmsa::Hpa;

use super::stage1::map_device;

/// How many bytes of registers a transport has on QEMU's `virt`.
const REGISTER_BYTES: usize = 0x200;

/// How much of a trace is gathered before it is sent.
const BUFFER_BYTES: usize = 64 << 10;

struct Console(VirtIOConsole<Identity, MmioTransport<'static>>);

impl Channel for Console {
    fn send(&mut self, bytes: &[u8]) -> Result<(), ChannelFailed> {
        self.0.send_bytes(bytes).map_err(|_| ChannelFailed)
    }
}

/// Returns a recorder that writes to the machine's virtio console, if it has one. The one caller has read where the transports
/// are in the machine's device tree, and calls once.
pub(crate) fn open_recorder(transports: impl Iterator<Item = Hpa>) -> Option<Recorder> {
    let console = find_console(transports)?;
    Some(Recorder::new(vec![0; BUFFER_BYTES].leak(), Box::leak(Box::new(console))))
}

fn find_console(transports: impl Iterator<Item = Hpa>) -> Option<Console> {
    let mut mapped = None;
    for registers in transports {
        // Several share a page, and follow each other.
        if mapped != Some(registers.page_base()) {
            map_device(registers).ok()?;
            mapped = Some(registers.page_base());
        }
        let Some(header) = NonNull::new(core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(registers.0 as usize))
        else {
            continue;
        };
        // SAFETY: the device tree says that a transport's registers are there, and they have just been mapped, for good.
        let transport = unsafe { MmioTransport::new(header, REGISTER_BYTES) };
        if let Some(transport) = transport.ok().filter(|found| found.device_type() == DeviceType::Console) {
            return VirtIOConsole::new(transport).ok().map(Console);
        }
    }
    None
}

/// Memory as devices see it: where EL2 does.
struct Identity;

const fn layout(pages: usize) -> Option<Layout> {
    match Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE) {
        Ok(layout) if layout.size() > 0 => Some(layout),
        _ => None,
    }
}

// SAFETY: blocks come from the heap, zeroed, aligned to pages, and nobody else's until they are given back; EL2 sees devices and
// memory at their physical addresses.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout has a size.
        let block = layout(pages).and_then(|layout| NonNull::new(unsafe { alloc_zeroed(layout) }));
        // Address 0 tells the driver that there is no memory.
        block.map_or((0, NonNull::dangling()), |block| (block.as_ptr().expose_provenance() as PhysAddr, block))
    }

    unsafe fn dma_dealloc(_: PhysAddr, block: NonNull<u8>, pages: usize) -> i32 {
        if let Some(layout) = layout(pages) {
            // SAFETY: the caller had the block from `dma_alloc`, with so many pages, and gives it up.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
