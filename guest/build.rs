//! Links the guests where their RAM is.

fn main() {
    // From the workspace's folder, where the linker runs: so it is right after the workspace was moved, too.
    println!("cargo::rustc-link-arg-bins=-Tguest/guest.ld");
    println!("cargo::rerun-if-changed=guest.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
