//! Links the EL2 program where its RAM is. On the host, which runs only the tests, nothing is asked of the linker.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        // From the workspace's folder, where the linker runs: so it is right after the workspace was moved, too.
        println!("cargo::rustc-link-arg-bins=-Tlinker.ld");
    }
    println!("cargo::rerun-if-changed=../linker.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
