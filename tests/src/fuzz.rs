//! Bytes as a guest: calls with raw registers, accesses, and writes to memory. Nothing may panic, no rule may be broken, and when
//! everything is closed nothing may be left.

use std::cell::RefCell;

use abi::{Call, RAM_BASE, Startup, VENDOR_BASE, VmOptions, VmoOp};
use vmsa::{Access, PAGE_SIZE};

use crate::{Answer, Guest};

/// Where addresses are likely.
const FIELD: u64 = 0x8000_0000;
/// The bytes of the address space.
const SPACE: u64 = 1 << 39;
/// The bytes of the RAM.
const RAM: u64 = 4 << 20;
/// The most bytes that a call copies, so that a run ends soon; and the latest deadline, in ns of the simulated clock.
const MOST: u64 = 1 << 20;

thread_local! {
    /// A guest of each dialect. They are used again, for their machines are large.
    static GUESTS: RefCell<[Subject; 2]> = RefCell::new([Subject::new("documented"), Subject::new("kernel")]);
}

/// Runs the bytes as a guest.
///
/// # Panics
///
/// The hypervisor does something that it must not.
pub fn run(bytes: &[u8]) {
    GUESTS.with_borrow_mut(|guests| {
        let (dialect, program) = bytes.split_first().unwrap_or((&0, &[]));
        guests[usize::from(dialect & 1)].run(program);
    });
}

/// A guest, and how many frames it holds between runs.
struct Subject {
    guest: Guest,
    held: u64,
}

impl Subject {
    fn new(dialect: &str) -> Self {
        let arguments = format!("dialect={dialect} inspect=on ram=4M seed=3 mmio=0x9010000+8K quota=8M");
        let guest = Guest::new(&arguments, 16 << 20);
        let held = guest.system.frames_held(guest.id);
        Self { guest, held }
    }

    /// Runs a program. Where the VM holds more afterwards its arenas have grown, which they do not when it runs again.
    fn run(&mut self, program: &[u8]) {
        for _ in 0..4 {
            Run { guest: &self.guest, bytes: program, handles: Vec::new() }.run();
            let now = self.guest.system.frames_held(self.guest.id);
            if now <= self.held {
                self.held = now;
                return;
            }
            self.held = now;
        }
        panic!("every run leaves frames behind");
    }
}

/// A run: what is left of the bytes, and the handles so far.
struct Run<'a> {
    guest: &'a Guest,
    bytes: &'a [u8],
    handles: Vec<u64>,
}

impl Run<'_> {
    fn run(mut self) {
        self.startup(Startup::RootVmar);
        self.startup(Startup::RamVmo);
        self.startup(Startup::MmioResource);
        while !self.bytes.is_empty() {
            match self.byte() % 8 {
                0 => {
                    // No IPA is wider.
                    let (at, access) = (self.number() % (1 << 48), [Access::Read, Access::Write, Access::Execute]);
                    let access = access[usize::from(self.byte()) % 3];
                    let _ = self.guest.touch(at, access);
                }
                1 => {
                    let (at, value) = (self.number() % (1 << 48) / 8 * 8, self.number());
                    let _ = self.guest.store(at, value);
                }
                _ => self.any_call(),
            }
        }
        self.close_all();
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    /// Returns a number of 64 bits: one that is likely to mean something, or any.
    fn number(&mut self) -> u64 {
        let (kind, byte) = (self.byte(), u64::from(self.byte()));
        match kind % 10 {
            0 => 0,
            1 => byte,
            2 => FIELD + byte % 32 * PAGE_SIZE + byte / 32 * 8,
            3 => byte * PAGE_SIZE,
            4 => RAM_BASE + byte * PAGE_SIZE,
            5 | 6 => *self.handles.get(byte as usize % self.handles.len().max(1)).unwrap_or(&0),
            7 => byte << 8 | u64::from(self.byte()),
            8 => u64::MAX - byte * PAGE_SIZE,
            _ => (0..7).fold(byte, |so_far, _| so_far << 8 | u64::from(self.byte())),
        }
    }

    fn any_call(&mut self) {
        let Some(call) = Call::from_function_id(VENDOR_BASE + u32::from(self.byte())) else { return };
        let count = self.byte() % 9;
        let mut args = [0; 8];
        for value in &mut args[..usize::from(count)] {
            *value = self.number();
        }
        match call {
            // What they do lasts as long as they are told.
            Call::Exit | Call::Nanosleep => return,
            Call::ObjectWaitOne => args[2] = args[2].min(MOST),
            Call::HandleCloseMany | Call::DebugWrite | Call::DebugRead => args[1] = args[1].min(MOST),
            Call::VmoRead | Call::VmoWrite => args[3] = args[3].min(MOST),
            _ => {}
        }
        self.call(call, &args);
    }

    /// Makes a call, and remembers what may be a handle.
    fn call(&mut self, call: Call, args: &[u64; 8]) -> Option<u64> {
        let Answer { status, results, count } = self.guest.hypercall(call, args)?;
        let first = results[..count].first().copied();
        let is_done = status.ok().is_ok();
        self.handles.extend(first.filter(|value| is_done && value & 3 == 3 && value >> 32 == 0));
        first.filter(|_| is_done)
    }

    fn startup(&mut self, kind: Startup) -> u64 {
        self.call_with(Call::StartupHandle, &[u64::from(u32::from(kind))]).unwrap_or(0)
    }

    fn call_with(&mut self, call: Call, values: &[u64]) -> Option<u64> {
        let mut args = [0; 8];
        args[..values.len()].copy_from_slice(values);
        self.call(call, &args)
    }

    /// Closes everything, and has the RAM as it was in the beginning.
    fn close_all(&mut self) {
        for handle in std::mem::take(&mut self.handles) {
            self.call_with(Call::HandleClose, &[handle]);
        }
        let (root, ram) = (self.startup(Startup::RootVmar), self.startup(Startup::RamVmo));
        self.call_with(Call::VmarUnmap, &[root, 0, SPACE]);
        self.call_with(Call::VmoOpRange, &[ram, u64::from(u32::from(VmoOp::Decommit)), 0, RAM]);
        self.call_with(Call::VmoSetCachePolicy, &[ram, 0]);
        let all = u64::from((VmOptions::PERMS | VmOptions::SPECIFIC).bits());
        self.call_with(Call::VmarMap, &[root, all, RAM_BASE, ram, 0, RAM]);
        for handle in [root, ram] {
            self.call_with(Call::HandleClose, &[handle]);
        }
        assert_eq!(self.guest.system.object_counts(), (1, 1), "VMOs and mappings that are left");
        drop((self.guest.sim().take_tlbis(), self.guest.sim().take_console()));
    }
}
