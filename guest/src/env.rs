//! What a guest is told when it starts.

use dtoolkit::fdt::Fdt;
use dtoolkit::{Node, Property};

/// What the hypervisor tells a guest by way of the device tree.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    arguments: &'static str,
    started: u64,
}

impl Env {
    /// Reads the device tree. One without boot arguments is a guest without arguments.
    pub(crate) fn new(device_tree: Fdt<'static>, started: u64) -> Self {
        let arguments = device_tree
            .find_node("/chosen")
            .and_then(|chosen| chosen.property("bootargs"))
            .and_then(|bootargs| bootargs.value_as::<&'static str>().ok());
        Self { arguments: arguments.unwrap_or_default(), started }
    }

    /// Returns the boot arguments, as they were given.
    pub const fn arguments(&self) -> &'static str {
        self.arguments
    }

    /// Returns what [`crate::counter::read`] would have said at the guest's first instruction.
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// Returns the value of the boot argument `name=value`. Of one that is given twice the last counts, as it does for
    /// the hypervisor.
    pub fn argument(&self, name: &str) -> Option<&'static str> {
        let mut arguments = self.arguments.split_ascii_whitespace().rev();
        arguments.find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))
    }
}
