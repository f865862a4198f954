//! Traces to draw: a small one in which two things are wrong, and one as long as is asked for.

use std::fmt::Write as _;

use super::super::data::Finding;

const ROOT: u64 = 0x4010_0000;
const LEVEL_2: u64 = 0x4010_1000;
const LEVEL_3: u64 = 0x4010_2000;
const IPA: u64 = 0x8000_0000;
const FRAMES: u64 = 0x4800_0000;
const WRITABLE: u64 = 0x0040_0000_0000_07db;
const READ_ONLY: u64 = 0x0040_0000_0000_075b;
const BLOCK: u64 = 0x0040_0000_0000_07d9;
const CONTIGUOUS: u64 = 1 << 52;
const ACCESS_FLAG: u64 = 1 << 10;

/// Returns the address of a frame by its number.
const fn frame(number: u64) -> u64 {
    FRAMES + number * 0x1000
}

/// A trace that is being written.
#[derive(Default)]
pub(super) struct Trace {
    text: String,
}

impl Trace {
    fn new(cpus: u64) -> Self {
        let text = format!("machine cpus={cpus:#x} tlbirange=0x1 ttl=0x1 fwb=0x1 vmid16=0x1 parange=0x30\n");
        let mut trace = Self { text };
        for table in [ROOT, LEVEL_2, LEVEL_3] {
            trace.add(0, format!("ALLOC pa={table:#x} pages=0x1 kind=table"));
            trace.add(0, format!("ZERO pa={table:#x} pages=0x1"));
        }
        trace.add(0, "DSB dom=ish type=st");
        for cpu in 0..cpus {
            trace.enter(cpu);
        }
        trace
    }

    fn add(&mut self, cpu: u64, event: impl AsRef<str>) {
        writeln!(self.text, "cpu={cpu:#x} {}", event.as_ref()).expect("a string takes all");
    }

    fn enter(&mut self, cpu: u64) {
        for (register, value) in [("vtcr", 0x800d_3559), ("vttbr", 1 << 48 | ROOT), ("hcr", 0x4000_8000_0603)] {
            self.add(cpu, format!("MSR reg={register}_el2 val={value:#x}"));
        }
        self.add(cpu, "ISB");
        self.add(cpu, format!("ERET vm=0x1 vcpu={cpu:#x}"));
    }

    /// The guest traps: by a call, or by a fault at an address.
    fn leave(&mut self, cpu: u64, fault: Option<u64>) {
        let (esr, far) = fault.map_or((0x5a00_0000_u64, 0), |ipa| (0x9300_0047, ipa));
        self.add(cpu, format!("EXC vm=0x1 vcpu={cpu:#x} esr={esr:#x} far={far:#x} hpfar={:#x}", far >> 8));
    }

    /// An operation, from begin to end, under the tables' lock.
    fn operate(&mut self, cpu: u64, begin: &str, page: u64, pages: u64, work: impl FnOnce(&mut Self)) {
        let (kind, more) = begin.split_once(' ').unwrap_or((begin, ""));
        let ipa = IPA + page * 0x1000;
        self.add(cpu, format!("OP begin={kind} vm=0x1 ipa={ipa:#x} pages={pages:#x} {more}").trim_end());
        self.add(cpu, "LOCK id=0x1");
        work(self);
        self.add(cpu, "UNLOCK id=0x1");
        self.add(cpu, "OP end=0x0");
    }

    fn take(&mut self, cpu: u64, page: u64, pages: u64) {
        let frames = frame(page);
        self.add(cpu, format!("ALLOC pa={frames:#x} pages={pages:#x} kind=guest"));
        self.add(cpu, format!("ZERO pa={frames:#x} pages={pages:#x}"));
        self.add(cpu, format!("OWNER pa={frames:#x} pages={pages:#x} vm=0x1"));
    }

    fn store(&mut self, cpu: u64, slot: u64, value: u64, order: &str) {
        self.add(cpu, format!("W pa={slot:#x} val={value:#x} order={order}"));
    }

    /// Stores descriptors of pages, each leading to the frame of its number.
    fn pages(&mut self, cpu: u64, pages: std::ops::Range<u64>, bits: u64) {
        for page in pages {
            let value = if bits == 0 { 0 } else { frame(page) | bits };
            self.store(cpu, LEVEL_3 + 8 * page, value, "plain");
        }
    }

    fn invalidate(&mut self, cpu: u64, tlbi: &str) {
        self.add(cpu, "DSB dom=ish type=st");
        for tlbi in [tlbi, "vmalle1is"] {
            self.add(cpu, format!("TLBI op={tlbi}"));
            self.add(cpu, "DSB dom=ish type=full");
        }
    }
}

/// Returns a trace of seven operations on two CPUs. In the last but one a page is replaced although entries of both stages
/// combined may still be cached, and in the last one access flags are cleared and nothing is invalidated.
pub(super) fn failing() -> String {
    let mut trace = Trace::new(2);
    trace.leave(0, None);
    trace.operate(0, "map", 0, 21, |trace| {
        trace.take(0, 0, 21);
        trace.add(0, "DSB dom=ish type=st");
        trace.store(0, ROOT + 16, LEVEL_2 | 3, "release");
        trace.store(0, LEVEL_2, LEVEL_3 | 3, "release");
        trace.pages(0, 0..16, WRITABLE | CONTIGUOUS);
        trace.pages(0, 16..21, WRITABLE);
        trace.add(0, "DSB dom=ish type=st");
    });
    trace.add(0, "ERET vm=0x1 vcpu=0x0");
    trace.leave(1, None);
    trace.operate(1, "map", 0x200, 0x200, |trace| {
        trace.take(1, 0x200, 0x200);
        trace.add(1, "DSB dom=ish type=st");
        trace.store(1, LEVEL_2 + 8, frame(0x200) | BLOCK, "plain");
        trace.add(1, "DSB dom=ish type=st");
    });
    trace.add(1, "ERET vm=0x1 vcpu=0x1");
    trace.leave(0, Some(IPA + 0x18000));
    trace.operate(0, "fault", 24, 1, |trace| {
        trace.take(0, 24, 1);
        trace.store(0, LEVEL_3 + 8 * 24, frame(24) | WRITABLE, "release");
        trace.add(0, "DSB dom=ish type=st");
    });
    trace.leave(1, None);
    trace.operate(1, "protect perm=r", 18, 3, |trace| {
        trace.pages(1, 18..21, READ_ONLY);
        trace.invalidate(1, "ripas2le1is xt=0x40e000080012");
    });
    trace.add(0, "ERET vm=0x1 vcpu=0x0");
    trace.operate(1, "unmap", 0, 16, |trace| {
        trace.pages(1, 0..16, 0);
        trace.invalidate(1, "ripas2le1is xt=0x43e000080000");
        trace.add(1, "OWNER pa=0x48000000 pages=0x10 vm=0x0");
        trace.add(1, "FREE pa=0x48000000 pages=0x10");
    });
    trace.leave(0, None);
    trace.operate(0, "commit", 16, 2, |trace| {
        trace.take(0, 32, 2);
        // One by one from the end, so that they are two things that TLBs may hold.
        trace.store(0, LEVEL_3 + 8 * 17, 0, "plain");
        trace.store(0, LEVEL_3 + 8 * 16, 0, "plain");
        trace.add(0, "DSB dom=ish type=st");
        trace.add(0, "TLBI op=ripas2le1is xt=0x406000080010");
        trace.add(0, "DSB dom=ish type=full");
        for page in [16, 17] {
            trace.store(0, LEVEL_3 + 8 * page, frame(page + 16) | WRITABLE, "plain");
        }
        trace.add(0, "DSB dom=ish type=st");
    });
    trace.add(0, "ERET vm=0x1 vcpu=0x0");
    trace.operate(1, "age", 18, 3, |trace| {
        trace.pages(1, 18..21, READ_ONLY & !ACCESS_FLAG);
        trace.add(1, "DSB dom=ish type=st");
    });
    trace.add(1, "ERET vm=0x1 vcpu=0x1");
    trace.text
}

/// What the judge finds wrong in [`failing`]: two violations and a warning.
pub(super) fn findings(trace: &str) -> Vec<Finding> {
    super::super::judge("sample.trace", trace).expect("the sample is a trace")
}

/// Returns a trace of that many events: four CPUs map, protect and unmap pages in turn.
pub(super) fn long(events: usize) -> String {
    let mut trace = Trace::new(4);
    trace.store(0, ROOT + 16, LEVEL_2 | 3, "release");
    trace.store(0, LEVEL_2, LEVEL_3 | 3, "release");
    for turn in 0.. {
        let (cpu, page) = (turn % 4, turn * 7 % 500);
        trace.leave(cpu, (turn % 5 == 0).then_some(IPA + page * 0x1000));
        trace.operate(cpu, "map", page, 8, |trace| trace.pages(cpu, page..page + 8, WRITABLE));
        trace.operate(cpu, "protect perm=r", page, 8, |trace| {
            trace.pages(cpu, page..page + 8, READ_ONLY);
            trace.invalidate(cpu, "vmalls12e1is");
        });
        trace.operate(cpu, "unmap", page, 8, |trace| {
            trace.pages(cpu, page..page + 8, 0);
            trace.invalidate(cpu, "vmalls12e1is");
        });
        trace.add(cpu, format!("ERET vm=0x1 vcpu={cpu:#x}"));
        if trace.text.lines().nth(events).is_some() {
            break;
        }
    }
    trace.text.lines().take(events + 1).map(|line| format!("{line}\n")).collect()
}
