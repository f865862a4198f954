//! Links the guests where their RAM is.

fn main() {
    // The linker runs in the workspace's folder. A path from the root would be kept where the workspace is moved with what it has built.
    println!("cargo::rustc-link-arg-bins=-Tguest/guest.ld");
    println!("cargo::rerun-if-changed=guest.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
