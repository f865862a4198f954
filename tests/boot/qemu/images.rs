//! What there is to boot.

use std::env;
use std::path::PathBuf;

use anyhow::Result;
use qemu::{Case, read_cases};

/// The folder of the images.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    dir: PathBuf,
}

impl Images {
    /// Finds the images where there are any.
    pub(crate) fn from_env() -> Option<Self> {
        env::var_os("STAGECRAFT_IMAGES").map(|dir| Self { dir: dir.into() })
    }

    /// Returns the hypervisor.
    pub(crate) fn hypervisor(&self) -> PathBuf {
        self.dir.join("hypervisor")
    }

    /// Returns the tour.
    pub(crate) fn tour(&self) -> PathBuf {
        self.dir.join("hello")
    }

    /// Returns the guest that tests one behaviour a boot.
    pub(crate) fn conformance(&self) -> PathBuf {
        self.dir.join("conformance")
    }

    /// Returns the guest in C.
    pub(crate) fn unmap_in_c(&self) -> PathBuf {
        self.dir.join("unmap-in-c")
    }

    /// Returns the guest that replays programs.
    pub(crate) fn replay(&self) -> PathBuf {
        self.dir.join("replay")
    }

    /// Reads the conformance guest's list of its cases, and puts them in order.
    pub(crate) fn cases(&self) -> Result<Vec<Case>> {
        read_cases(&self.conformance())
    }
}
