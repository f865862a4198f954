//! Links what the two peers load: a flat image that may lie anywhere for Xen, and an executable as Linux takes it for KVM.

/// A flat file; what holds an address is put right by the program itself, wherever that lies.
const FLAT: [&str; 4] = ["--oformat=binary", "-pie", "--no-dynamic-linker", "-znotext"];

fn main() {
    // From the workspace's folder, where the linker runs: so it is right after the workspace was moved, too.
    println!("cargo::rustc-link-arg-bin=peer-xen=-Tguest/peers/xen.ld");
    FLAT.iter().for_each(|argument| println!("cargo::rustc-link-arg-bin=peer-xen={argument}"));
    println!("cargo::rerun-if-changed=xen.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
