//! The device tree that a guest is given.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use abi::RAM_BASE;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

/// What the device tree tells.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// How long the RAM is.
    pub ram_bytes: u64,
    /// How many vCPUs there are; their MPIDRs count from 0.
    pub vcpus: usize,
    /// The guest's boot arguments, whole.
    pub arguments: &'a str,
}

impl Description<'_> {
    /// Returns the device tree as a guest reads it.
    pub fn to_blob(self) -> Vec<u8> {
        let mut tree = DeviceTree::new();
        let root = &mut tree.root;
        set(root, "#address-cells", 2u32);
        set(root, "#size-cells", 2u32);
        set(root, "compatible", "stagecraft,vm");
        root.add_child(self.chosen());
        root.add_child(self.memory());
        root.add_child(self.cpus());
        root.add_child(psci());
        tree.to_dtb()
    }

    fn chosen(self) -> DeviceTreeNode {
        let mut node = named("chosen");
        set(&mut node, "bootargs", self.arguments);
        node
    }

    fn memory(self) -> DeviceTreeNode {
        let mut node = named(at("memory", RAM_BASE));
        set(&mut node, "device_type", "memory");
        set(&mut node, "reg", [RAM_BASE.to_be_bytes(), self.ram_bytes.to_be_bytes()].concat());
        node
    }

    fn cpus(self) -> DeviceTreeNode {
        let mut cpus = named("cpus");
        set(&mut cpus, "#address-cells", 1u32);
        set(&mut cpus, "#size-cells", 0u32);
        for number in 0..self.vcpus as u32 {
            let mut cpu = named(at("cpu", u64::from(number)));
            set(&mut cpu, "device_type", "cpu");
            set(&mut cpu, "compatible", "arm,armv8");
            set(&mut cpu, "reg", number);
            set(&mut cpu, "enable-method", "psci");
            cpus.add_child(cpu);
        }
        cpus
    }
}

fn psci() -> DeviceTreeNode {
    let mut node = named("psci");
    set(&mut node, "compatible", b"arm,psci-1.0\0arm,psci-0.2\0".as_slice());
    set(&mut node, "method", "hvc");
    node
}

/// The names are ours and well-formed, so nothing is asked of them.
fn named(name: impl Into<String>) -> DeviceTreeNode {
    DeviceTreeNode::new_unchecked(name)
}

fn at(name: &str, address: u64) -> String {
    let mut full = String::from(name);
    let _ = write!(full, "@{address:x}");
    full
}

fn set(node: &mut DeviceTreeNode, name: &str, value: impl dtoolkit::ToPropertyValue) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

#[cfg(test)]
mod tests {
    use dtoolkit::fdt::Fdt;
    use dtoolkit::standard::NodeStandard;
    use dtoolkit::{Node, Property};

    use super::*;

    #[test]
    fn a_guest_finds_what_it_needs() {
        let blob = Description { ram_bytes: 64 << 20, vcpus: 3, arguments: "ram=64M case=a b" }.to_blob();
        let tree = Fdt::new(&blob).unwrap();
        assert!(tree.root().is_compatible("stagecraft,vm"));
        assert_eq!(tree.chosen().unwrap().bootargs(), Ok(Some("ram=64M case=a b")));
        let memory: Vec<_> = tree.find_node("/memory@40000000").unwrap().reg().unwrap().unwrap().collect();
        assert_eq!(memory.len(), 1);
        assert_eq!((memory[0].address::<u64>(), memory[0].size::<u64>()), (Ok(0x4000_0000), Ok(64 << 20)));
        let cpus = tree.cpus().unwrap();
        let ids: Vec<u64> = cpus.cpus().map(|cpu| cpu.ids().unwrap().next().unwrap()).map(cell).collect();
        assert_eq!(ids, [0, 1, 2]);
        let psci = tree.find_node("/psci").unwrap();
        assert!(psci.is_compatible("arm,psci-1.0"));
        assert_eq!(psci.property("method").unwrap().value(), b"hvc\0");
    }

    fn cell(cells: dtoolkit::Cells<'_>) -> u64 {
        dtoolkit::ToCellInt::to_int(cells).unwrap()
    }
}
