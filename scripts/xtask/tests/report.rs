//! `cargo xtask report`, as it is called.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// One operation, in which nothing happens.
const TRACE: &str = "\
machine cpus=0x1
cpu=0x0 OP begin=unmap vm=0x1 ipa=0x80000000 pages=0x1
cpu=0x0 OP end=0x0
";

fn report(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(dir).env_remove("STAGECRAFT_CALLER_DIR").arg("report").args(arguments);
    command.output().expect("xtask is built")
}

/// Checks that the command ends with 2 and says so much in one line, and writes nothing.
fn refuses(dir: &Path, arguments: &[&str], says: &str) {
    let before = fs::read_dir(dir).expect("the folder is there").count();
    let output = report(dir, arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("cargo xtask report: {says}\n"));
    assert_eq!(fs::read_dir(dir).expect("the folder is there").count(), before);
}

#[test]
fn the_page_is_beside_the_trace_or_where_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.trace"), TRACE).unwrap();
    for (arguments, page) in [(&["a.trace"][..], "a.html"), (&["a.trace", "-o", "b.htm"], "b.htm")] {
        let output = report(dir.path(), arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{page}\n"));
        let page = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<title>a.trace"));
        assert!(page.contains("begin=unmap vm=0x1 ipa=0x80000000"));
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.trace"), format!("{TRACE}cpu=0x0 JUMP\n")).unwrap();
    fs::write(dir.path().join("a.html"), TRACE).unwrap();
    refuses(dir.path(), &["b.trace"], "b.trace cannot be read: No such file or directory (os error 2)");
    refuses(dir.path(), &["a.trace", "-o", "b.html"], "a.trace, line 4: there is no event `JUMP`");
    refuses(dir.path(), &["a.html"], "a.html would be overwritten; -o names another file");
}
