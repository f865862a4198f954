//! What is needed of Linux: its system calls, by their numbers on arm64.

use core::arch::asm;
use core::ffi::CStr;
use core::fmt;

use peers::Failure;

const IOCTL: usize = 29;
const OPENAT: usize = 56;
const WRITE: usize = 64;
const NANOSLEEP: usize = 101;
const REBOOT: usize = 142;
const MMAP: usize = 222;
const MADVISE: usize = 233;

/// Makes a system call.
///
/// # Safety
///
/// 1. The call leaves the memory alone that this program is in, but for what `arguments` say.
unsafe fn syscall<const N: usize>(number: usize, arguments: [usize; N]) -> isize {
    const { assert!(N <= 6, "arguments go in x0-x5") };
    let mut x = [0; 6];
    x[..N].copy_from_slice(&arguments);
    let [x0, x1, x2, x3, x4, x5] = x;
    let result;
    // SAFETY: Linux changes x0, and memory as the caller answers for (1).
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inout("x0") x0 as isize => result,
            in("x1") x1, in("x2") x2, in("x3") x3, in("x4") x4, in("x5") x5,
            options(nostack),
        );
    }
    result
}

fn check(what: &'static str, result: isize) -> Result<usize, Failure> {
    usize::try_from(result).map_err(|_| Failure::new(what, result as i64))
}

/// Powers the machine off. Only root's first process may.
pub(crate) fn power_off() -> ! {
    loop {
        // SAFETY: (1) it ends the program.
        unsafe { syscall(REBOOT, [0xfee1_dead, 0x2812_1969, 0x4321_fedc]) };
    }
}

/// Lets time pass, in which Linux does what it has put off.
pub(crate) fn sleep(seconds: u64) -> Result<(), Failure> {
    let time = [seconds, 0];
    // SAFETY: (1) it reads the time.
    let result = unsafe { syscall(NANOSLEEP, [time.as_ptr().addr(), 0]) };
    check("nanosleep", result).map(drop)
}

/// The console, which Linux has opened for its first process.
#[derive(Debug)]
pub(crate) struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: (1) it reads the text.
        let written = unsafe { syscall(WRITE, [1, text.as_ptr().addr(), text.len()]) };
        if written == text.len() as isize { Ok(()) } else { Err(fmt::Error) }
    }
}

/// An open file; it is never closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File(usize);

impl File {
    /// Opens a file to read and write it.
    pub(crate) fn open(what: &'static str, path: &CStr) -> Result<Self, Failure> {
        const AT_FDCWD: usize = -100_isize as usize;
        const READ_WRITE: usize = 2;
        // SAFETY: (1) it reads the path.
        let result = unsafe { syscall(OPENAT, [AT_FDCWD, path.as_ptr().addr(), READ_WRITE]) };
        check(what, result).map(Self)
    }

    /// Takes the file that a call has returned.
    pub(crate) const fn from_result(result: usize) -> Self {
        Self(result)
    }

    /// Makes a call whose argument is a number.
    pub(crate) fn control(self, what: &'static str, request: u32, argument: usize) -> Result<usize, Failure> {
        // SAFETY: (1) KVM's calls that take a number touch no memory of this program but a VM's and `Run`.
        let result = unsafe { syscall(IOCTL, [self.0, request as usize, argument]) };
        check(what, result)
    }

    /// Makes a call whose argument is a structure.
    pub(crate) fn control_with<T>(self, what: &'static str, request: u32, argument: &mut T) -> Result<usize, Failure> {
        let argument = core::ptr::from_mut(argument).expose_provenance();
        // SAFETY: (1) it reads and writes the structure, which is the request's own.
        let result = unsafe { syscall(IOCTL, [self.0, request as usize, argument]) };
        check(what, result)
    }

    /// Maps `len` bytes of the file, to be read and written, shared with the kernel.
    pub(crate) fn map(self, what: &'static str, len: usize) -> Result<usize, Failure> {
        const READ_WRITE: usize = 0b11;
        const SHARED: usize = 1;
        // SAFETY: (1) the mapping is new.
        let result = unsafe { syscall(MMAP, [0, len, READ_WRITE, SHARED, self.0, 0]) };
        check(what, result)
    }
}

/// Maps `len` bytes of memory that is not there until it is touched.
pub(crate) fn map_memory(len: usize) -> Result<usize, Failure> {
    const READ_WRITE: usize = 0b11;
    const PRIVATE_ANONYMOUS_NORESERVE: usize = 0x4022;
    // SAFETY: (1) the mapping is new.
    let result = unsafe { syscall(MMAP, [0, len, READ_WRITE, PRIVATE_ANONYMOUS_NORESERVE, usize::MAX, 0]) };
    check("mmap", result)
}

/// What Linux is told of memory.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Advice {
    /// It goes; the next touch finds zeros.
    DontNeed = 4,
    /// In 2 MiB pieces where they fit.
    HugePage = 14,
    /// In 4 KiB pieces.
    NoHugePage = 15,
}

/// Tells Linux of memory.
///
/// # Safety
///
/// 1. Nothing refers to what is in there.
pub(crate) unsafe fn advise(start: usize, len: usize, advice: Advice) -> Result<(), Failure> {
    // SAFETY: (1) is the caller's.
    let result = unsafe { syscall(MADVISE, [start, len, advice as usize]) };
    check("madvise", result).map(drop)
}
