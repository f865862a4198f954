//! Links the EL2 program where its RAM is. On the host, which runs only the tests, nothing is asked of the linker.

fn main() {
    let directory = env!("CARGO_MANIFEST_DIR");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/../linker.ld");
    }
    println!("cargo::rerun-if-changed=../linker.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
