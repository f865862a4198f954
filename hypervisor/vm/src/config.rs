//! What a VM is made from.

use abi::PAGE_SIZE;
use vmsa::{BbmLevel, Hpa};

use crate::MemoryRange;

/// The places where the documents of `vmar_unmap` and `vmar_op_range` and Zircon's kernel differ: data, not conditions spread
/// through the code. Everything else is the same in both dialects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dialect {
    /// `vmar_unmap` rounds a length up to whole pages, instead of refusing it.
    pub unmap_rounds_length: bool,
    /// `vmar_unmap` of a range with nothing in it succeeds, instead of finding nothing.
    pub unmap_of_nothing_succeeds: bool,
    /// `vmar_unmap` destroys sub-regions only through a handle with OP_CHILDREN.
    pub unmap_needs_op_children: bool,
    /// `vmar_op_range` tests the handle for WRITE where the operation changes what is committed.
    pub op_range_tests_write: bool,
    /// `vmar_op_range` reaches mappings in sub-regions only through a handle with OP_CHILDREN, and never commits, decommits
    /// or prefetches them.
    pub op_range_guards_children: bool,
    /// `vmar_op_range` knows ZERO.
    pub op_range_zeroes: bool,
}

impl Dialect {
    /// What the published pages of the two calls promise.
    pub const DOCUMENTED: Self = Self {
        unmap_rounds_length: false,
        unmap_of_nothing_succeeds: false,
        unmap_needs_op_children: false,
        op_range_tests_write: true,
        op_range_guards_children: false,
        op_range_zeroes: true,
    };

    /// What Zircon's kernel does.
    pub const KERNEL: Self = Self {
        unmap_rounds_length: true,
        unmap_of_nothing_succeeds: true,
        unmap_needs_op_children: true,
        op_range_tests_write: false,
        op_range_guards_children: true,
        op_range_zeroes: false,
    };
}

/// What a VM is made from, as its boot arguments say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VmConfig {
    /// `dialect=`: which meaning the calls have.
    pub dialect: Dialect,
    /// `ram=`: bytes of RAM, a multiple of the page size.
    pub ram_bytes: u64,
    /// `ipa=`: the width of the guest-physical space, in bits.
    pub ipa_bits: u32,
    /// `inspect=`: whether the calls that look into the hypervisor answer.
    pub can_inspect: bool,
    /// `seed=`: what fixes where unplaced regions go.
    pub seed: u64,
    /// `quota=`: the most frames that the VM may hold.
    pub quota_frames: u64,
    /// `mmio=`: device memory that the VM may map, in whole pages.
    pub mmio: Option<MemoryRange>,
    /// `bbm=`: the most of FEAT_BBM that its tree makes use of; without it, all that the CPUs have.
    pub bbm: Option<BbmLevel>,
}

/// What is wrong with a boot argument. Displays as one line for the person who wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConfigError<'a> {
    argument: &'a str,
    wanted: &'static str,
}

impl core::fmt::Display for ConfigError<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "boot argument `{}`: expected {}", self.argument, self.wanted)
    }
}

impl core::error::Error for ConfigError<'_> {}

impl Default for VmConfig {
    fn default() -> Self {
        Self {
            dialect: Dialect::DOCUMENTED,
            ram_bytes: 64 << 20,
            ipa_bits: 39,
            can_inspect: false,
            seed: 0,
            quota_frames: u64::MAX,
            mmio: None,
            bbm: None,
        }
    }
}

impl VmConfig {
    /// Returns what the boot arguments say, over these values. Arguments that are not the hypervisor's are the guest's own and
    /// are not looked at; of one that is given twice the last counts.
    ///
    /// # Errors
    ///
    /// An argument of ours has a value that it cannot have.
    pub fn with_arguments<'a>(mut self, arguments: &'a str) -> Result<Self, ConfigError<'a>> {
        for argument in arguments.split_ascii_whitespace() {
            if let Some((name, value)) = argument.split_once('=') {
                self.set(name, value).map_err(|wanted| ConfigError { argument, wanted })?;
            }
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "dialect" => self.dialect = dialect(value).ok_or("`documented` or `kernel`")?,
            "ram" => self.ram_bytes = ram(value).ok_or("a size of 4M or more, in whole pages, such as 64M")?,
            "ipa" => self.ipa_bits = ipa(value).ok_or("a width of 32 to 48 bits")?,
            "inspect" => self.can_inspect = on_or_off(value).ok_or("`on` or `off`")?,
            "seed" => self.seed = number(value).ok_or("a number")?,
            "quota" => self.quota_frames = size(value).ok_or("a size such as 512M")? / PAGE_SIZE,
            "mmio" => self.mmio = Some(mmio(value).ok_or("BASE+SIZE in whole pages, such as 0x9010000+4K")?),
            "bbm" => self.bbm = Some(bbm(value).ok_or("`0`, `1` or `2`")?),
            _ => {}
        }
        Ok(())
    }
}

fn dialect(value: &str) -> Option<Dialect> {
    match value {
        "documented" => Some(Dialect::DOCUMENTED),
        "kernel" => Some(Dialect::KERNEL),
        _ => None,
    }
}

fn on_or_off(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// The device tree takes the last 2 MiB, so a RAM of less than 4 MiB has no room for a guest.
fn ram(value: &str) -> Option<u64> {
    size(value).filter(|bytes| *bytes >= 4 << 20 && bytes.is_multiple_of(PAGE_SIZE))
}

fn mmio(value: &str) -> Option<MemoryRange> {
    let (base, bytes) = value.split_once('+')?;
    let (start, bytes) = (number(base)?, size(bytes)?);
    let is_whole = start.is_multiple_of(PAGE_SIZE) && bytes.is_multiple_of(PAGE_SIZE) && bytes > 0;
    let end = start.checked_add(bytes).filter(|_| is_whole)?;
    Some(MemoryRange { start: Hpa(start), end: Hpa(end) })
}

fn ipa(value: &str) -> Option<u32> {
    value.parse().ok().filter(|bits| (32..=48).contains(bits))
}

fn bbm(value: &str) -> Option<BbmLevel> {
    match value {
        "0" => Some(BbmLevel::BreakFirst),
        "1" => Some(BbmLevel::NoTranslationCaching),
        "2" => Some(BbmLevel::Direct),
        _ => None,
    }
}

fn number(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// A number with K, M or G for the powers of 1024.
fn size(value: &str) -> Option<u64> {
    let (digits, shift) = match value.as_bytes().last()? {
        b'K' | b'k' => (&value[..value.len() - 1], 10),
        b'M' | b'm' => (&value[..value.len() - 1], 20),
        b'G' | b'g' => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    fn read(arguments: &str) -> Result<VmConfig, ConfigError<'_>> {
        VmConfig::default().with_arguments(arguments)
    }

    #[test]
    fn arguments_override_the_defaults() {
        let config =
            read("case=x ram=16M dialect=kernel ipa=40 inspect=on seed=0x10 quota=1G mmio=0x9010000+4K bbm=1").unwrap();
        let expected = VmConfig {
            dialect: Dialect::KERNEL,
            ram_bytes: 16 << 20,
            ipa_bits: 40,
            can_inspect: true,
            seed: 16,
            quota_frames: 1 << 18,
            mmio: Some(MemoryRange { start: Hpa(0x901_0000), end: Hpa(0x901_1000) }),
            bbm: Some(BbmLevel::NoTranslationCaching),
        };
        assert_eq!(config, expected);
        assert_eq!(read("quiet other=1"), Ok(VmConfig::default()));
    }

    #[test]
    fn a_bad_value_is_named() {
        for bad in [
            "ram=1M",
            "ram=x",
            "mmio=0x9010000",
            "mmio=0x9010800+4K",
            "mmio=0x9010000+0",
            "mmio=0xfffffffffffff000+8K",
            "ram=",
            "ram=5000001",
            "ipa=31",
            "ipa=49",
            "dialect=posix",
            "inspect=1",
            "quota=9q",
            "bbm=3",
        ] {
            assert!(read(bad).is_err_and(|error| error.to_string().contains(bad)), "{bad}");
        }
    }
}
