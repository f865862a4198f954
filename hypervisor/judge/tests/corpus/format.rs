//! The format: what is read, what is passed over, and what is an error that names its line.

use judge::{Summary, Unreadable, judge};
use oracle::text::{Line, Printed, parse};

use crate::scene::{Machine, Scene};

const MACHINE: &str = "machine cpus=0x2 vmid16=0x1 fwb=0x1 parange=0x30\n";

fn read(text: &[u8]) -> Result<Summary, Unreadable> {
    judge(text, |_| {})
}

/// Reads a machine and these lines after it.
fn lines(lines: &str) -> Result<Summary, Unreadable> {
    read(format!("{MACHINE}{lines}").as_bytes())
}

#[track_caller]
fn is_refused_at(line: u64, text: &[u8]) {
    let error = read(text).expect_err(&String::from_utf8_lossy(text));
    assert_eq!(error.line, line, "{}", error.why);
    assert!(!error.why.is_empty());
}

#[track_caller]
fn second_line_is_refused(line: &str) {
    is_refused_at(2, format!("{MACHINE}{line}\n").as_bytes());
}

#[test]
fn blank_lines_and_comments_are_passed_over() {
    let summary = lines("\n   \n# cpu=0x0 BOOM\n#\ncpu=0x0 ISB\n# 1 events\n").expect("it is a trace");
    assert_eq!((summary.events, summary.violations), (1, 0));
}

#[test]
fn fields_come_in_any_order_with_any_blanks() {
    let text = "cpu=0x1   LOCK  id=0x1\ncpu=0x0\tDSB type=st\tdom=ish\n  cpu=0x0 MSR val=0x0 reg=sctlr_el2  \n";
    assert_eq!(lines(text).expect("it is a trace").events, 3);
}

#[test]
fn unknown_keys_are_passed_over() {
    let text = "cpu=0x0 ISB why=because\ncpu=0x0 ALLOC pa=0x1000 pages=0x1 kind=guest node=0x3\n";
    assert_eq!(lines(text).expect("it is a trace").events, 2);
    read(b"machine cpus=0x1 sve=0x1 vs=0x1\n").expect("it is a trace");
}

#[test]
fn a_last_line_may_end_with_the_text() {
    assert_eq!(lines("cpu=0x0 ISB").expect("it is a trace").events, 1);
}

#[test]
fn every_event_is_read() {
    let text = "\
        VM vm=0x1 vttbr=0x1000040100000 bbm=0x0\n\
        cpu=0x0 MSR reg=vtcr_el2 val=0x800d3559\n\
        cpu=0x0 ISB\n\
        cpu=0x0 DSB dom=osh type=ld nxs=0x1\n\
        cpu=0x0 DMB dom=sy type=full\n\
        cpu=0x0 DC op=ivac pa=0x40200000 len=0x40\n\
        cpu=0x0 IC op=ivau pa=0x40200000\n\
        cpu=0x0 LOCK id=0xffffffffffffffff root=0x40100000\n\
        cpu=0x0 UNLOCK id=0xffffffffffffffff\n\
        cpu=0x0 ALLOC pa=0x40200000 pages=0x1 kind=table\n\
        cpu=0x0 ZERO pa=0x40200000 pages=0x1\n\
        cpu=0x0 OWNER pa=0x40200000 pages=0x1 vm=0x0 shared=0x0\n\
        cpu=0x0 FREE pa=0x40200000 pages=0x1\n\
        cpu=0x0 OP begin=age vm=0x9 ipa=0x0 pages=0x1\n\
        cpu=0x0 OP end=0x0\n";
    assert_eq!(lines(text).expect("it is a trace").events, 15);
}

#[test]
fn every_tlbi_has_a_name() {
    let stems = ["ipas2e1", "ipas2le1", "ripas2e1", "ripas2le1", "vae1", "vaae1", "vale1", "vaale1", "aside1", "rvae1"];
    let more = ["rvaae1", "rvale1", "rvaale1", "vae2", "vale2", "rvae2", "rvale2"];
    let plain = ["vmalle1", "vmalls12e1", "alle1", "alle2"];
    for (stem, xt) in stems.iter().chain(&more).map(|stem| (stem, " xt=0x0")).chain(plain.iter().map(|stem| (stem, "")))
    {
        for suffix in ["", "is", "os", "nxs", "isnxs", "osnxs"] {
            lines(&format!("cpu=0x0 TLBI op={stem}{suffix}{xt}\n")).unwrap_or_else(|error| panic!("{}", error.why));
        }
    }
}

#[test]
fn the_machine_comes_first() {
    is_refused_at(1, b"cpu=0x0 ISB\nmachine cpus=0x1\n");
    is_refused_at(2, b"machine cpus=0x1\npolicy bbm=0x0\n");
    is_refused_at(2, b"machine cpus=0x1\nmachine cpus=0x1\n");
    read(b"# hello\n\npolicy bbm=0x1\nmachine cpus=0x1\n").expect("it is a trace");
}

#[test]
fn a_trace_has_a_machine() {
    assert!(read(b"").is_err());
    assert!(read(b"# nothing\n").is_err());
    assert!(read(b"policy bbm=0x0\n").is_err());
}

#[test]
fn unknown_events_are_refused() {
    second_line_is_refused("cpu=0x0 BOOM");
    second_line_is_refused("cpu=0x0");
    second_line_is_refused("ISB");
    second_line_is_refused("cpu=0x0 isb");
}

#[test]
fn missing_fields_are_refused() {
    for line in [
        "W pa=0x1000 val=0x0",
        "W val=0x0 order=plain",
        "DSB dom=ish",
        "TLBI",
        "LOCK",
        "ERET vm=0x1",
        "OP",
        "MSR reg=x",
    ] {
        second_line_is_refused(&format!("cpu=0x0 {line}"));
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    for line in [
        "W pa=0x1001 val=0x0 order=plain",
        "W pa=0x1000 val=0x0 order=relaxed",
        "W pa=0x1000 val=0x10000000000000000 order=plain",
        "W pa=0x1000 val=zero order=plain",
        "W pa= val=0x0 order=plain",
        "DSB dom=all type=full",
        "DSB dom=ish type=stores",
        "TLBI op=vmalle9is",
        "ALLOC pa=0x1000 pages=0x1 kind=heap",
        "ALLOC pa=0x1800 pages=0x1 kind=guest",
        "ALLOC pa=0xfffffffffffff000 pages=0x2 kind=guest",
        "OP begin=dance vm=0x1 ipa=0x0 pages=0x1",
        "OP begin=map vm=0x1 ipa=0xfffffffffffff000 pages=0x2",
        "OP begin=protect vm=0x1 ipa=0x0 pages=0x1 perm=q",
    ] {
        second_line_is_refused(&format!("cpu=0x0 {line}"));
    }
}

#[test]
fn cpus_that_are_not_there_are_refused() {
    second_line_is_refused("cpu=0x2 ISB");
    second_line_is_refused("cpu=0xffffffffffffffff ISB");
    is_refused_at(1, b"machine cpus=0x0\n");
}

#[test]
fn what_is_no_text_is_refused() {
    is_refused_at(2, &[MACHINE.as_bytes(), &[0xff, 0xfe, 0x0a]].concat());
}

#[test]
fn what_was_told_before_an_error_stays_told() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.lock(1).w(page.slot, page.word_to(page.pa + 0x1000)).line("cpu=0x0 BOOM");
    let mut told = 0;
    let error = judge(s.text().as_bytes(), |_| told += 1).expect_err("the trace is not one");
    assert!(told > 0 && error.line as usize == s.text().lines().count());
}

#[test]
fn a_summary_counts() {
    let (mut s, page) = Scene::with_page(Machine::TWO);
    s.unmap(page);
    let summary = read(s.text().as_bytes()).expect("it is a trace");
    assert_eq!(summary.events as usize, s.text().lines().count() - 1);
    assert_eq!((summary.violations, summary.warnings, summary.most_tables), (0, 0, 3));
}

/// A line of each kind of event, as the oracle prints it.
const EVENTS: &str = "\
    cpu=0x1 MSR reg=vtcr_el2 val=0x800d3559\n\
    cpu=0x0 ISB\n\
    cpu=0x0 DSB dom=osh type=ld nxs=0x1\n\
    cpu=0x0 DSB dom=nsh type=st\n\
    cpu=0x0 DMB dom=sy type=full\n\
    cpu=0x0 TLBI op=ripas2le1osnxs xt=0x4000\n\
    cpu=0x0 TLBI op=alle1\n\
    cpu=0x0 W pa=0x40200000 val=0x3 order=release old=0x5\n\
    cpu=0x0 W pa=0x40200000 val=0x3 order=rmw\n\
    cpu=0x0 HWUPD pa=0x40200000 old=0x3 new=0x403\n\
    cpu=0x0 DC op=ivac pa=0x40200000 len=0x40\n\
    cpu=0x0 IC op=ialluis\n\
    cpu=0x0 IC op=iallu\n\
    cpu=0x0 LOCK id=0xffffffffffffffff root=0x40100000\n\
    cpu=0x0 LOCK id=0x1\n\
    cpu=0x0 UNLOCK id=0xffffffffffffffff\n\
    cpu=0x0 ALLOC pa=0x40200000 pages=0x2 kind=table\n\
    cpu=0x0 ALLOC pa=0x40200000 pages=0x2 kind=guest\n\
    cpu=0x0 ZERO pa=0x40200000 pages=0x1\n\
    cpu=0x0 OWNER pa=0x40200000 pages=0x1 vm=0x0\n\
    cpu=0x0 OWNER pa=0x40200000 pages=0x1 vm=0x3 shared=0x1\n\
    cpu=0x0 FREE pa=0x40200000 pages=0x1\n\
    cpu=0x0 OP begin=age vm=0x9 ipa=0x1000 pages=0x1\n\
    cpu=0x0 OP begin=protect vm=0x9 ipa=0x0 pages=0x5 perm=rwx\n\
    cpu=0x0 OP begin=protect vm=0x9 ipa=0x0 pages=0x5 perm=x\n\
    cpu=0x0 OP begin=protect vm=0x9 ipa=0x0 pages=0x5 perm=none\n\
    cpu=0x0 OP end=0x7\n\
    cpu=0x0 ERET vm=0x1 vcpu=0x2\n\
    cpu=0x0 EXC vm=0x1 vcpu=0x2 esr=0x5a000000 far=0x8 hpfar=0x10\n\
    VM vm=0x1 vttbr=0x1000040100000 bbm=0x1\n\
    VM vm=0x1 vttbr=0x1000040100000\n";

#[test]
fn what_is_printed_is_what_was_read() {
    for line in EVENTS.lines() {
        let Ok(Line::Event(cpu, event)) = parse(line) else { panic!("{line} is no event") };
        assert_eq!(Printed { cpu, event }.to_string(), line);
    }
    for machine in [Machine::TWO, Machine::ALL_TLBIS, Machine::DIRTY, Machine::OLD_CACHES] {
        let Ok(Line::Machine(read)) = parse(&machine.to_string()) else { panic!("{machine} is no machine") };
        assert_eq!(parse(&read.to_string()), Ok(Line::Machine(read)));
        let fields = machine.to_string();
        let printed = read.to_string();
        assert!(fields.split(' ').all(|field| printed.split(' ').any(|printed| printed == field)), "{printed}");
    }
}

#[test]
fn an_unused_right_is_not_printed() {
    let line = "cpu=0x0 OP begin=map vm=0x9 ipa=0x1000 pages=0x1 perm=rw";
    let Ok(Line::Event(cpu, event)) = parse(line) else { panic!("{line} is no event") };
    assert_eq!(Printed { cpu, event }.to_string(), line.trim_end_matches(" perm=rw"));
}

#[test]
fn a_vm_is_no_cpus_doing() {
    second_line_is_refused("cpu=0x0 VM vm=0x1 vttbr=0x1000040100000");
}

#[test]
fn a_right_may_be_spelt_twice() {
    const TWICE: &str = "cpu=0x0 OP begin=protect vm=0x9 ipa=0x0 pages=0x5 perm=rrwwxx";
    assert!(parse(TWICE).is_ok());
    assert_eq!(parse(TWICE), parse("cpu=0x0 OP begin=protect vm=0x9 ipa=0x0 pages=0x5 perm=rwx"));
}
