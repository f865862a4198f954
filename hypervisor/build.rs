//! Links the EL2 program where its RAM is. On the host, which runs only the tests, nothing is asked of the linker.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        // The linker runs in the workspace's folder. A path from the root would be kept where the workspace is moved with what it has built.
        println!("cargo::rustc-link-arg-bins=-Tlinker.ld");
    }
    println!("cargo::rerun-if-changed=../linker.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
