//! The tables before and after an operation.

use serde_json::{Value, json};

use super::{failing_page, page_of, sample};

/// Returns the blocks of both sides, each as its lines, for the operation that begins at a line with these words.
fn sides(trace: &str, begin: &str) -> (Vec<String>, Vec<String>) {
    let number =
        (1..).zip(trace.lines()).find(|(_, line)| line.contains(begin)).expect("the trace has the operation").0;
    let question = "const texts = (side) => [...document.querySelectorAll(`#${side} .run`)]
            .map((run) => [...run.children].map((line) => line.textContent).join('; '));
        return ['before', 'after'].map(texts)";
    let answer = page_of(trace).ask(&format!("#line={number}"), question);
    serde_json::from_value(answer).expect("two lists of texts")
}

#[test]
fn a_page_that_is_replaced_is_marked_on_both_sides() {
    let (before, after) = sides(&sample::failing(), "begin=commit");
    let page = |frame, change| format!("2 pages; 0x80010000 to 0x80011fff; → {frame}; rw-, write-back; {change}");
    assert!(before.contains(&page("0x48010000", "will change")), "{before:#?}");
    assert!(after.contains(&page("0x48020000", "new")), "{after:#?}");
    let same = "3 pages; 0x80012000 to 0x80014fff; → 0x48012000; r--, write-back".to_owned();
    assert!(before.contains(&same) && after.contains(&same));
}

#[test]
fn a_contiguous_group_goes_as_one() {
    let (before, after) = sides(&sample::failing(), "begin=unmap");
    let group = "group of 16 pages; 0x80000000 to 0x8000ffff; → 0x48000000; rw-, write-back; will change";
    assert_eq!(before.iter().filter(|run| run.contains("will change")).collect::<Vec<_>>(), [group]);
    let gone = "16 invalid; 0x80000000 to 0x8000ffff; gone";
    assert_eq!(after.iter().filter(|run| run.contains("gone")).collect::<Vec<_>>(), [gone]);
}

#[test]
fn a_block_is_drawn_at_its_level_and_tables_of_the_tree_are_nested() {
    let (before, after) = sides(&sample::failing(), "pages=0x200");
    let block = "block of 2 MiB; 0x80200000; → 0x48200000; rw-, write-back; new".to_owned();
    assert!(!before.contains(&block) && after.contains(&block), "{after:#?}");
    let tables =
        "return [...document.querySelectorAll('#after .table .table > .table-head b')].map((b) => b.textContent)";
    let nested = failing_page().ask("", tables);
    assert_eq!(nested, json!(["Level 2 table at 0x40101000", "Level 3 table at 0x40102000"]));
}

#[test]
fn the_second_of_two_concatenated_roots_is_walked_too() {
    let trace = "\
        cpu=0x0 MSR reg=vtcr_el2 val=0x80023558\ncpu=0x0 MSR reg=vttbr_el2 val=0x1000040100000\n\
        cpu=0x0 OP begin=map vm=0x1 ipa=0x8000000000 pages=0x40000\n\
        cpu=0x0 W pa=0x40101000 val=0x480007fd order=plain\n\
        cpu=0x0 OP end=0x0\ncpu=0x0 ERET vm=0x1 vcpu=0x0\n";
    let (before, after) = sides(trace, "begin=map");
    assert_eq!(before, ["512 invalid", "1 invalid; 0x8000000000; will change", "511 invalid"]);
    let block = "block of 1 GiB; 0x8000000000; → 0x40000000; rwx, write-back; new";
    assert_eq!(after, ["512 invalid", block, "511 invalid"]);
}

#[test]
fn tables_that_lead_in_circles_are_drawn_once() {
    let trace = "\
        VM vm=0x1 vttbr=0x40100000\ncpu=0x0 MSR reg=vtcr_el2 val=0x80023559\n\
        cpu=0x0 OP begin=map vm=0x1 ipa=0x0 pages=0x40000\n\
        cpu=0x0 W pa=0x40100000 val=0x40100003 order=plain\n\
        cpu=0x0 OP end=0x0\n";
    let (_, after) = sides(trace, "begin=map");
    assert_eq!(after, ["table; 0x0; new", "511 invalid"]);
}

#[test]
fn zeros_empty_a_table_and_leave_those_beside_it() {
    let trace = "\
        VM vm=0x1 vttbr=0x40100000\ncpu=0x0 MSR reg=vtcr_el2 val=0x80023558\n\
        cpu=0x0 W pa=0x40100000 val=0x480007fd order=plain\ncpu=0x0 W pa=0x40101000 val=0x800007fd order=plain\n\
        cpu=0x0 OP begin=unmap vm=0x1 ipa=0x0 pages=0x40000\n\
        cpu=0x0 ZERO pa=0x40100000 pages=0x1\n\
        cpu=0x0 OP end=0x0\n";
    let (before, after) = sides(trace, "begin=unmap");
    assert_eq!(before[0], "block of 1 GiB; 0x0; → 0x40000000; rwx, write-back; will change");
    assert_eq!(
        after,
        [
            "1 invalid; 0x0; gone",
            "511 invalid",
            "block of 1 GiB; 0x8000000000; → 0x80000000; rwx, write-back",
            "511 invalid"
        ]
    );
}

#[test]
fn a_store_of_what_was_there_is_no_change() {
    let trace = "\
        VM vm=0x1 vttbr=0x40100000\ncpu=0x0 MSR reg=vtcr_el2 val=0x80023559\n\
        cpu=0x0 W pa=0x40100000 val=0x480007fd order=plain\n\
        cpu=0x0 OP begin=map vm=0x1 ipa=0x0 pages=0x40000\n\
        cpu=0x0 W pa=0x40100000 val=0x0 order=plain\ncpu=0x0 W pa=0x40100000 val=0x480007fd order=plain\n\
        cpu=0x0 OP end=0x0\n";
    let (before, after) = sides(trace, "begin=map");
    assert_eq!(before[0], "block of 1 GiB; 0x0; → 0x40000000; rwx, write-back");
    assert_eq!(before, after);
}

#[test]
fn a_table_is_opened_where_the_operation_has_to_do_with_it() {
    let trace = "\
        VM vm=0x1 vttbr=0x40100000\ncpu=0x0 MSR reg=vtcr_el2 val=0x80023559\n\
        cpu=0x0 W pa=0x40100000 val=0x40101003 order=plain\ncpu=0x0 W pa=0x40100008 val=0x40102003 order=plain\n\
        cpu=0x0 W pa=0x40100010 val=0x40103003 order=plain\n\
        cpu=0x0 OP begin=map vm=0x1 ipa=0x0 pages=0x200\n\
        cpu=0x0 W pa=0x40102000 val=0x400007fd order=plain\n\
        cpu=0x0 OP end=0x0\n";
    let (_, after) = sides(trace, "begin=map");
    let block = "block of 2 MiB; 0x40000000; → 0x40000000; rwx, write-back; new";
    let inside = "1 invalid; 0x0";
    let closed = "table; 0x80000000";
    assert_eq!(after, [inside, "511 invalid", block, "511 invalid", closed, "509 invalid"]);
}

#[test]
fn where_the_trace_names_no_tables_the_page_says_so() {
    let page = page_of("cpu=0x0 OP begin=map vm=0x1 ipa=0x0 pages=0x1\ncpu=0x0 OP end=0x0\n");
    let said: Value = page.ask("", "return byId('after').textContent");
    assert_eq!(said, "The trace does not say where this VM's tables are.");
}
