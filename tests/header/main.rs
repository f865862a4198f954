//! The C header, by what a compiler makes of it: functions of Zircon's types, and the numbers and layouts of the ABI crate. The
//! host's own compiler does for that.

mod layouts;
mod numbers;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn functions_have_zircons_types() {
    compile(&fs::read_to_string(prototypes()).unwrap()).unwrap();
}

#[test]
fn every_function_of_the_header_is_compared() {
    let declared = words(&header("syscalls.h"), |word, next| word.starts_with("zx_") && next == Some('('));
    let text = fs::read_to_string(prototypes()).unwrap();
    let missing: Vec<&String> = declared.iter().filter(|name| !text.contains(&format!("IS({name},"))).collect();
    assert!(declared.len() > 30 && missing.is_empty(), "{missing:?} of {}", declared.len());
}

#[test]
fn numbers_are_those_of_the_abi_crate() {
    let mut text = String::from("#include <zircon/syscalls.h>\n#include \"calls.h\"\n");
    for (name, value) in numbers::all() {
        text += &format!("_Static_assert((long long)({name}) == {value}, \"{name}\");\n");
    }
    compile(&text).unwrap();
}

#[test]
fn every_number_of_the_headers_is_compared_or_has_no_counterpart() {
    let compared: BTreeSet<String> = numbers::all().into_iter().map(|(name, _)| name).collect();
    for file in ["errors.h", "rights.h", "types.h", "syscalls/object.h", "syscalls.h"] {
        let text = header(file);
        let defines = text.lines().filter_map(|line| line.strip_prefix("#define "));
        let names =
            defines.filter_map(|define| define.split_whitespace().next()).filter(|name| name.starts_with("ZX_"));
        for name in names {
            let is_known = compared.contains(name) || numbers::WITHOUT_COUNTERPART.contains(&name);
            assert!(is_known, "{name} of {file} is not compared with anything");
        }
    }
}

#[test]
fn layouts_are_those_of_the_abi_crate() {
    let asserts: String = layouts::all()
        .iter()
        .map(|(what, value)| format!("_Static_assert({what} == {value}, \"{what} is {value}\");\n"))
        .collect();
    compile(&format!("#include <zircon/syscalls.h>\n{asserts}")).unwrap();
}

#[test]
fn a_wrong_type_and_a_wrong_number_are_noticed() {
    let text = fs::read_to_string(prototypes()).unwrap();
    let right = "IS(zx_vmar_unmap, int32_t(uint32_t, uintptr_t, uint64_t));";
    assert!(text.contains(right));
    let wrong = text.replace(right, "IS(zx_vmar_unmap, int32_t(uint32_t, uintptr_t, uint32_t));");
    assert!(compile(&wrong).unwrap_err().contains("zx_vmar_unmap"));
    let wrong = "#include <zircon/syscalls.h>\n_Static_assert(ZX_ERR_BAD_STATE == -21, \"number\");\n";
    assert!(compile(wrong).unwrap_err().contains("number"));
}

/// Compiles C, all the way to where code would be made, and returns what the compiler complains of.
fn compile(text: &str) -> Result<(), String> {
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-"]);
    cc.arg("-I").arg(guest("include")).arg("-I").arg(guest("c"));
    let mut child = cc.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("scripts/setup sees to a cc");
    let mut input = child.stdin.take().expect("its input is piped");
    input.write_all(text.as_bytes()).expect("the compiler reads");
    drop(input);
    let output = child.wait_with_output().expect("the compiler ends");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(complaint) }
}

fn guest(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest").join(folder)
}

fn header(name: &str) -> String {
    fs::read_to_string(guest("include/zircon").join(name)).unwrap()
}

fn prototypes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("header/prototypes.c")
}

/// Returns the identifiers outside of comments that `is_wanted`, which sees also what follows.
fn words(text: &str, is_wanted: impl Fn(&str, Option<char>) -> bool) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|l| [l, "\n"]).collect();
    let mut found = BTreeSet::new();
    let mut rest = code.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let word = &rest[start..];
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
        if is_wanted(&word[..end], word[end..].chars().next()) {
            found.insert(word[..end].into());
        }
        rest = &word[end..];
    }
    found
}
