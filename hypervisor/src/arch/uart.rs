//! The PL011, which the log and the guest's console share.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arm_pl011_uart::{DataBits, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer};
use hypervisor::wire::Line;
use spin::Mutex;
use vmsa::Hpa;

use super::stage1::map_device;

/// Where QEMU's `virt` has its PL011: for what is to be said of a machine whose device tree cannot be read.
pub(super) const USUAL_PLACE: Hpa = Hpa(0x0900_0000);

static PORT: Mutex<Option<Port>> = Mutex::new(None);
static REGISTERS: AtomicUsize = AtomicUsize::new(0);

/// The UART as a line.
pub(crate) struct Port(Uart<'static>);

impl Port {
    /// Takes the UART at the address.
    ///
    /// # Safety
    ///
    /// 1. A PL011's registers are mapped there, as Device memory.
    /// 2. Nobody else uses them while this does.
    unsafe fn at(registers: NonNull<PL011Registers>) -> Self {
        // SAFETY: (1) and (2) are what it asks for.
        Self(Uart::new(unsafe { UniqueMmioPointer::new(registers) }))
    }

    /// Returns a byte that waits.
    pub(crate) fn receive(&mut self) -> Option<u8> {
        // An error is one byte that was lost, and the next may be good.
        self.0.read_word().ok().flatten()
    }
}

impl Line for Port {
    fn send(&mut self, byte: u8) {
        while self.0.is_tx_fifo_full() {}
        self.0.write_word(byte);
    }
}

/// Maps the UART and takes it into use. The one caller has read where it is in the machine's device tree, if that tells.
pub(crate) fn open_uart(registers: Option<Hpa>) {
    let registers = registers.unwrap_or(USUAL_PLACE);
    let Some(pointer) = NonNull::new(core::ptr::with_exposed_provenance_mut(registers.0 as usize)) else {
        return;
    };
    if map_device(registers).is_err() {
        return;
    }
    REGISTERS.store(registers.0 as usize, Relaxed);
    // SAFETY: (1) it has just been mapped, where the machine says that there is one; (2) the port lives behind the lock, and is
    // only stolen by who never gives it back.
    let mut port = unsafe { Port::at(pointer) };
    // QEMU ignores the line's speed; 24 MHz is the clock that its device tree tells of, and 115,200 baud what is usual.
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    let _ = port.0.enable(line, 115_200, 24_000_000);
    *PORT.lock() = Some(port);
}

/// Lets `use_it` have the line for itself; returns `None` where there is none.
pub(crate) fn with_port<R>(use_it: impl FnOnce(&mut Port) -> R) -> Option<R> {
    PORT.lock().as_mut().map(use_it)
}

/// Returns the line, whoever has it: for a panic, which may come at any time and after which nobody writes any more.
pub(crate) fn steal_port() -> Option<Port> {
    let registers = NonNull::new(core::ptr::with_exposed_provenance_mut(REGISTERS.load(Relaxed)))?;
    // SAFETY: (1) `open` stored the address of mapped registers; (2) another CPU's record may be cut in two, which is worth a
    // panic that is seen: the registers themselves stand any order of single accesses.
    Some(unsafe { Port::at(registers) })
}
