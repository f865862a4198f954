//! The machine, as its device tree describes it.

use core::fmt;

use dtoolkit::error::FdtParseError;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::{NodeStandard, Reg};
use dtoolkit::{Node, Property};
use vmsa::Hpa;

use crate::MAX_CPUS;
use crate::region::{Region, Regions};

/// What the hypervisor needs to know of the machine.
#[derive(Clone, Debug)]
pub struct Board<'a> {
    /// The RAM.
    pub memory: Regions,
    /// The CPUs that are used.
    pub cpus: Cpus,
    /// The hypervisor's boot arguments.
    pub arguments: &'a str,
    /// The guest's image and boot arguments.
    pub module: Option<Module<'a>>,
    /// A number that nobody could guess, where the machine gives one.
    pub random: u64,
}

/// The affinities of the CPUs, as PSCI takes them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cpus {
    affinities: [u64; MAX_CPUS],
    count: usize,
}

/// A file that lies in the RAM beside the hypervisor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Module<'a> {
    /// Where it lies.
    pub region: Region,
    /// What it is started with.
    pub arguments: &'a str,
}

/// What is wrong with a device tree. Displays as one line.
#[derive(Clone, Debug, PartialEq)]
pub enum BoardError {
    /// It is no device tree.
    Malformed(FdtParseError),
    /// A node that we need is missing, or does not say what it must.
    Unusable(&'static str),
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "device tree: {error}"),
            Self::Unusable(what) => write!(f, "device tree: {what}"),
        }
    }
}

impl core::error::Error for BoardError {}

impl From<FdtParseError> for BoardError {
    fn from(error: FdtParseError) -> Self {
        Self::Malformed(error)
    }
}

impl Cpus {
    /// Returns the affinities, one a CPU.
    pub fn affinities(&self) -> &[u64] {
        self.affinities.get(..self.count).unwrap_or_default()
    }
}

impl<'a> Board<'a> {
    /// Reads a device tree.
    ///
    /// # Errors
    ///
    /// There is no usable memory, or what is told of the memory, the CPUs or the module cannot be understood.
    pub fn read(tree: Fdt<'a>) -> Result<Self, BoardError> {
        let chosen = tree.find_node("/chosen");
        let modules = chosen.and_then(|node| node.children().find(|child| child.is_compatible("multiboot,module")));
        Ok(Self {
            memory: memory(tree)?,
            cpus: cpus(tree)?,
            arguments: string(chosen, "bootargs")?,
            module: modules.map(module).transpose()?,
            random: chosen
                .and_then(|node| node.property("rng-seed"))
                .and_then(|seed| word(seed.value(), 0))
                .unwrap_or(0),
        })
    }
}

/// Finds a device tree at the start of `memory`.
///
/// # Errors
///
/// There is none, or it is malformed.
pub fn find_tree(memory: &[u8]) -> Result<Fdt<'_>, BoardError> {
    const TOTAL_BYTES_AT: usize = 4;
    let header = memory.get(TOTAL_BYTES_AT..).and_then(|rest| rest.first_chunk());
    let total = header.map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize);
    Ok(Fdt::new(memory.get(..total).unwrap_or_default())?)
}

fn memory(tree: Fdt<'_>) -> Result<Regions, BoardError> {
    const UNUSABLE: BoardError = BoardError::Unusable("/memory does not tell where the RAM is");
    let mut memory = Regions::new();
    for node in tree.root().children().filter(|child| child.name_without_address() == "memory") {
        for reg in node.reg().ok().flatten().ok_or(UNUSABLE)? {
            let too_many = |_| BoardError::Unusable("more pieces of RAM than are kept");
            memory.push(region(reg).ok_or(UNUSABLE)?).map_err(too_many)?;
        }
    }
    if memory.as_slice().is_empty() { Err(UNUSABLE) } else { Ok(memory) }
}

fn region(reg: Reg<'_>) -> Option<Region> {
    Region::new(reg.address().ok()?, reg.size().ok()?)
}

/// Returns where the registers of a PL011 are: of the one that the machine calls its console, or else the first.
pub fn uart(tree: Fdt<'_>) -> Option<Hpa> {
    let path = tree.find_node("/chosen").and_then(|node| node.property("stdout-path")?.value_as::<&str>().ok());
    let named = path.and_then(|path| tree.find_node(path.split(':').next()?)).filter(is_pl011);
    let node = named.or_else(|| tree.root().children().find(is_pl011))?;
    Some(Hpa(node.reg().ok()??.next()?.address().ok()?))
}

/// Returns where the registers of virtio-mmio transports are, in the tree's order.
pub fn virtio_transports(tree: Fdt<'_>) -> impl Iterator<Item = Hpa> {
    let transports = tree.root().children().filter(|node| node.is_compatible("virtio,mmio"));
    transports.filter_map(|node| Some(Hpa(node.reg().ok()??.next()?.address().ok()?)))
}

/// Returns where the registers of interrupt controllers are.
fn interrupt_controllers(tree: Fdt<'_>) -> impl Iterator<Item = Region> {
    let controllers = tree.root().children().filter(|node| node.property("interrupt-controller").is_some());
    controllers.filter_map(|node| node.reg().ok().flatten()).flatten().filter_map(region)
}

/// Tells whether a guest may be given the registers in `region`, pages as a whole: there is no RAM, nothing of what this program
/// uses, and nothing that interrupts CPUs.
pub fn may_grant(tree: Fdt<'_>, memory: &Regions, region: Region) -> bool {
    let mut used = uart(tree).into_iter().chain(virtio_transports(tree));
    let is_used = used.any(|registers| region.start.0 <= registers.0 && registers.0 < region.end.0);
    !is_used
        && !interrupt_controllers(tree).any(|registers| registers.meets(region))
        && !memory.as_slice().iter().any(|ram| ram.meets(region))
}

fn is_pl011(node: &FdtNode<'_>) -> bool {
    node.is_compatible("arm,pl011")
}

fn cpus(tree: Fdt<'_>) -> Result<Cpus, BoardError> {
    const UNUSABLE: BoardError = BoardError::Unusable("/cpus does not tell what CPUs there are");
    let mut cpus = Cpus::default();
    let nodes = tree.find_node("/cpus").ok_or(UNUSABLE)?.children();
    for node in nodes.filter(|child| child.name_without_address() == "cpu").take(MAX_CPUS) {
        let mut reg = node.reg().ok().flatten().ok_or(UNUSABLE)?;
        let affinity = reg.next().and_then(|reg| reg.address().ok()).ok_or(UNUSABLE)?;
        *cpus.affinities.get_mut(cpus.count).ok_or(UNUSABLE)? = affinity;
        cpus.count += 1;
    }
    if cpus.count == 0 { Err(UNUSABLE) } else { Ok(cpus) }
}

/// QEMU's `guest-loader` writes two cells of address and two of size, and leaves out that it does.
fn module(node: FdtNode<'_>) -> Result<Module<'_>, BoardError> {
    const UNUSABLE: BoardError = BoardError::Unusable("the guest's module does not tell where it lies");
    let reg = node.property("reg").ok_or(UNUSABLE)?;
    let (start, len) = (word(reg.value(), 0), word(reg.value(), 8));
    let region = start.zip(len).and_then(|(start, len)| Region::new(start, len));
    Ok(Module { region: region.ok_or(UNUSABLE)?, arguments: string(Some(node), "bootargs")? })
}

fn string<'a>(node: Option<FdtNode<'a>>, name: &str) -> Result<&'a str, BoardError> {
    match node.and_then(|node| node.property(name)) {
        Some(property) => property.value_as().map_err(|_| BoardError::Unusable("boot arguments that are not text")),
        None => Ok(""),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use dtoolkit::ToPropertyValue;
    use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

    use super::*;

    fn node<const N: usize>(name: &str, properties: [DeviceTreeProperty; N]) -> DeviceTreeNode {
        let mut node = DeviceTreeNode::new(name).unwrap();
        properties.into_iter().for_each(|property| node.add_property(property));
        node
    }

    fn property(name: &str, value: impl ToPropertyValue) -> DeviceTreeProperty {
        DeviceTreeProperty::new(name, value).unwrap()
    }

    fn pair(first: u64, second: u64) -> Vec<u8> {
        [first.to_be_bytes(), second.to_be_bytes()].concat()
    }

    /// A tree like the one that QEMU makes.
    fn machine() -> DeviceTree {
        let mut tree = DeviceTree::new();
        tree.root.add_property(property("#address-cells", 2u32));
        tree.root.add_property(property("#size-cells", 2u32));
        tree.root.add_child(node("memory@40000000", [property("reg", pair(0x4000_0000, 0x4000_0000))]));
        tree.root.add_child(node("memory@100000000", [property("reg", pair(1 << 32, 1 << 30))]));
        let pl011 = || property("compatible", b"arm,pl011\0arm,primecell\0".as_slice());
        tree.root.add_child(node("pl011@9040000", [pl011(), property("reg", pair(0x904_0000, 0x1000))]));
        tree.root.add_child(node("pl011@9000000", [pl011(), property("reg", pair(0x900_0000, 0x1000))]));
        let mut cpus = node("cpus", [property("#address-cells", 1u32), property("#size-cells", 0u32)]);
        cpus.add_child(node("cpu-map", []));
        cpus.add_child(node("cpu@0", [property("reg", 0u32)]));
        cpus.add_child(node("cpu@1", [property("reg", 0x100u32)]));
        tree.root.add_child(cpus);
        let (log, console) = (property("bootargs", "log=info"), property("stdout-path", "/pl011@9000000"));
        for address in [0xa00_0200, 0xa00_0000] {
            let place = property("reg", pair(address, 0x200));
            tree.root.add_child(node(
                &alloc::format!("virtio_mmio@{address:x}"),
                [property("compatible", "virtio,mmio"), place],
            ));
        }
        let mut chosen = node("chosen", [log, console, property("rng-seed", [0u8, 0, 0, 0, 0, 0, 0, 7, 9])]);
        let kind = property("compatible", b"multiboot,module\0multiboot,kernel\0".as_slice());
        let place = property("reg", pair(0x4800_0000, 0x1234));
        chosen.add_child(node("module@0x48000000", [kind, place, property("bootargs", "ram=64M")]));
        tree.root.add_child(chosen);
        tree
    }

    fn with<T>(tree: &DeviceTree, judge: impl FnOnce(Result<Board<'_>, BoardError>) -> T) -> T {
        let blob = tree.to_dtb();
        judge(Board::read(Fdt::new(&blob).unwrap()))
    }

    #[test]
    fn a_machine_is_read() {
        with(&machine(), |board| {
            let board = board.unwrap();
            let memory: Vec<_> = board.memory.as_slice().iter().map(|region| (region.start.0, region.len())).collect();
            assert_eq!(memory, [(0x4000_0000, 0x4000_0000), (1 << 32, 1 << 30)]);
            assert_eq!(board.cpus.affinities(), [0, 0x100]);
            assert_eq!((board.arguments, board.random), ("log=info", 7));
            let module = board.module.unwrap();
            assert_eq!(
                (module.region.start, module.region.len(), module.arguments),
                (Hpa(0x4800_0000), 0x1234, "ram=64M")
            );
        });
    }

    #[test]
    fn the_console_is_the_uart_that_is_called_so_or_else_the_first() {
        let uart_of = |tree: &DeviceTree| uart(Fdt::new(&tree.to_dtb()).unwrap());
        let mut tree = machine();
        assert_eq!(uart_of(&tree), Some(Hpa(0x900_0000)));
        let chosen = tree.find_node_mut("/chosen").unwrap();
        chosen.property_mut("stdout-path").unwrap().set_value("serial0:115200n8");
        assert_eq!(uart_of(&tree), Some(Hpa(0x904_0000)));
    }

    #[test]
    fn transports_are_found_in_the_trees_order() {
        let blob = machine().to_dtb();
        let transports: Vec<_> = virtio_transports(Fdt::new(&blob).unwrap()).map(|registers| registers.0).collect();
        assert_eq!(transports, [0xa00_0200, 0xa00_0000]);
    }

    #[test]
    fn guests_are_granted_what_nobody_uses() {
        let mut tree = machine();
        let gic = [pair(0x800_0000, 0x1_0000), pair(0x80a_0000, 0xf6_0000)].concat();
        tree.root
            .add_child(node("intc@8000000", [property("interrupt-controller", b"".as_slice()), property("reg", gic)]));
        let blob = tree.to_dtb();
        let tree = Fdt::new(&blob).unwrap();
        let board = Board::read(tree).unwrap();
        let may = |start: u64, end: u64| may_grant(tree, &board.memory, Region { start: Hpa(start), end: Hpa(end) });
        assert!(may(0x904_0000, 0x904_1000) && may(0x3fff_f000, 0x4000_0000) && may(0xa00_1000, 0xa00_2000));
        for (start, end) in [(0x8ff_f000, 0x900_1000), (0xa00_0000, 0xa00_1000), (0x3fff_f000, 0x4000_1000)] {
            assert!(!may(start, end), "{start:#x}");
        }
        assert!(!may(0x7fff_f000, 0x8000_0000));
        assert!(!may(0x800_0000, 0x800_1000) && !may(0x80b_0000, 0x80b_1000) && may(0x801_0000, 0x802_0000));
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_named() {
        let without = |spoil: fn(&mut DeviceTree)| {
            let mut tree = machine();
            spoil(&mut tree);
            with(&tree, |board| board.unwrap_err())
        };
        let names = |error: BoardError, word: &str| matches!(error, BoardError::Unusable(what) if what.contains(word));
        let no_memory = |tree: &mut DeviceTree| {
            tree.root.remove_child("memory@40000000");
            tree.root.remove_child("memory@100000000");
        };
        assert!(names(without(no_memory), "/memory"));
        assert!(names(without(|tree| _ = tree.root.remove_child("cpus")), "/cpus"));
        let endless = |tree: &mut DeviceTree| {
            let memory = tree.find_node_mut("/memory@100000000").unwrap();
            memory.property_mut("reg").unwrap().set_value(pair(u64::MAX, 2));
        };
        assert!(names(without(endless), "/memory"));
        let short = |tree: &mut DeviceTree| {
            let module = tree.find_node_mut("/chosen/module@0x48000000").unwrap();
            module.property_mut("reg").unwrap().set_value(1u32);
        };
        assert!(names(without(short), "module"));
        let noise = |tree: &mut DeviceTree| {
            tree.find_node_mut("/chosen").unwrap().property_mut("bootargs").unwrap().set_value([0xffu8, 0]);
        };
        assert!(names(without(noise), "text"));
    }

    #[test]
    fn a_machine_without_a_guest_has_none() {
        let mut tree = machine();
        tree.root.remove_child("chosen");
        with(&tree, |board| assert!(board.is_ok_and(|board| board.module.is_none() && board.arguments.is_empty())));
    }

    #[test]
    fn a_tree_is_found_by_the_length_that_it_tells() {
        let mut memory = machine().to_dtb();
        let len = memory.len();
        memory.resize(len + 1000, 0xaa);
        assert_eq!(find_tree(&memory).unwrap().data().len(), len);
        assert!(find_tree(&memory[..len - 1]).is_err());
        assert!(find_tree(&[]).is_err());
        assert!(find_tree(&[0; 64]).is_err());
    }
}
