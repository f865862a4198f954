//! The device tree that a guest is given.

use alloc::format;
use alloc::vec::Vec;

use abi::RAM_BASE;
use vm_fdt::{Error, FdtWriter};

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
    ///
    /// # Errors
    ///
    /// [`Error::InvalidString`] if there is a NUL in the arguments.
    pub fn to_blob(self) -> Result<Vec<u8>, Error> {
        let mut tree = FdtWriter::new()?;
        let root = tree.begin_node("")?;
        tree.property_u32("#address-cells", 2)?;
        tree.property_u32("#size-cells", 2)?;
        tree.property_string("compatible", "stagecraft,vm")?;
        self.chosen(&mut tree)?;
        self.memory(&mut tree)?;
        self.cpus(&mut tree)?;
        psci(&mut tree)?;
        tree.end_node(root)?;
        tree.finish()
    }

    fn chosen(self, tree: &mut FdtWriter) -> Result<(), Error> {
        let node = tree.begin_node("chosen")?;
        tree.property_string("bootargs", self.arguments)?;
        tree.end_node(node)
    }

    fn memory(self, tree: &mut FdtWriter) -> Result<(), Error> {
        let node = tree.begin_node(&format!("memory@{RAM_BASE:x}"))?;
        tree.property_string("device_type", "memory")?;
        tree.property_array_u64("reg", &[RAM_BASE, self.ram_bytes])?;
        tree.end_node(node)
    }

    fn cpus(self, tree: &mut FdtWriter) -> Result<(), Error> {
        let cpus = tree.begin_node("cpus")?;
        tree.property_u32("#address-cells", 1)?;
        tree.property_u32("#size-cells", 0)?;
        for number in 0..self.vcpus as u32 {
            let cpu = tree.begin_node(&format!("cpu@{number:x}"))?;
            tree.property_string("device_type", "cpu")?;
            tree.property_string("compatible", "arm,armv8")?;
            tree.property_u32("reg", number)?;
            tree.property_string("enable-method", "psci")?;
            tree.end_node(cpu)?;
        }
        tree.end_node(cpus)
    }
}

fn psci(tree: &mut FdtWriter) -> Result<(), Error> {
    let node = tree.begin_node("psci")?;
    tree.property("compatible", b"arm,psci-1.0\0arm,psci-0.2\0")?;
    tree.property_string("method", "hvc")?;
    tree.end_node(node)
}

#[cfg(test)]
mod tests {
    use dtoolkit::fdt::Fdt;
    use dtoolkit::standard::NodeStandard;
    use dtoolkit::{Node, Property};

    use super::*;

    #[test]
    fn a_guest_finds_what_it_needs() {
        let blob = Description { ram_bytes: 64 << 20, vcpus: 3, arguments: "ram=64M case=a b" }.to_blob().unwrap();
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

    #[test]
    fn arguments_that_end_early_are_refused() {
        let description = Description { ram_bytes: 64 << 20, vcpus: 1, arguments: "case=a\0b" };
        assert_eq!(description.to_blob(), Err(Error::InvalidString));
    }

    fn cell(cells: dtoolkit::Cells<'_>) -> u64 {
        dtoolkit::ToCellInt::to_int(cells).unwrap()
    }
}
