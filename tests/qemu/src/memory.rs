use std::fmt;
use std::str::FromStr;

use crate::Refused;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much RAM the machine has: a whole number of MiB, between [`Memory::LEAST`] and [`Memory::MOST`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Memory {
    bytes: u64,
}

impl Memory {
    /// The least that the hypervisor starts with.
    pub const LEAST: Self = Self { bytes: 256 * MIB };
    /// The most that the hypervisor manages.
    pub const MOST: Self = Self { bytes: 64 * GIB };

    /// Returns the amount in bytes.
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { bytes: GIB }
    }
}

impl FromStr for Memory {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let unit = match text.bytes().last() {
            Some(b'M' | b'm') => MIB,
            Some(b'G' | b'g') => GIB,
            _ => return Err(Refused::new("a memory size is a number and M or G, as in 256M or 4G")),
        };
        let digits = &text[..text.len() - 1];
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
        match bytes.map(|bytes| Self { bytes }) {
            _ if !is_number => Err(Refused::new("a memory size is a number and M or G, as in 256M or 4G")),
            Some(memory) if (Self::LEAST..=Self::MOST).contains(&memory) => Ok(memory),
            _ => Err(Refused::new(format!("the machine takes {} to {} of memory", Self::LEAST, Self::MOST))),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes % GIB {
            0 => write!(f, "{}G", self.bytes / GIB),
            _ => write!(f, "{}M", self.bytes / MIB),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_taken_in_mebibytes_and_gibibytes() {
        assert_eq!("256M".parse::<Memory>().unwrap().bytes(), 256 << 20);
        assert_eq!("1536m".parse::<Memory>().unwrap().to_string(), "1536M");
        assert_eq!("64G".parse::<Memory>().unwrap(), Memory::MOST);
        assert_eq!("1024M".parse::<Memory>().unwrap(), Memory::default());
    }

    #[test]
    fn sizes_out_of_bounds_are_refused_with_the_bounds() {
        for text in ["255M", "0G", "65G", "65537M", "99999999999999999999G", "18446744073709551615G"] {
            let refused = text.parse::<Memory>().unwrap_err().to_string();
            assert!(refused.contains("256M to 64G"), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_an_example() {
        for text in ["", "M", "1", "1024", "1T", "+1G", "-1G", "1.5G", "1 G", "0x10M", "eleven", "1é"] {
            let refused = text.parse::<Memory>().unwrap_err().to_string();
            assert!(refused.contains("as in 256M or 4G"), "{text}: {refused}");
        }
    }
}
