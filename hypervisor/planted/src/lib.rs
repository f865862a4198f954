//! Planted bugs: each a line in the code that it spoils, which asks here whether it is the one that is chosen.
//!
//! Without the feature `armed` none ever is, and the compiler takes the lines out. With it one is chosen by its number, of which
//! `tests/mutants` has the table: what it spoils, who must notice it, and by which rule.
#![no_std]
#![forbid(unsafe_code)]

/// Whether bugs can be chosen in this build.
pub const ARMED: bool = cfg!(feature = "armed");

#[cfg(not(feature = "armed"))]
mod choice {
    /// Tells whether the bug of this number is the one that is chosen.
    #[inline(always)]
    pub const fn is(_number: u32) -> bool {
        false
    }

    /// Tells whether broken rules are to be passed over, so that a guest gets to see what comes of them.
    #[inline(always)]
    pub const fn is_unjudged() -> bool {
        false
    }
}

#[cfg(feature = "armed")]
mod choice {
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    static CHOSEN: AtomicU32 = AtomicU32::new(0);
    static UNJUDGED: AtomicBool = AtomicBool::new(false);

    /// Tells whether the bug of this number is the one that is chosen.
    pub fn is(number: u32) -> bool {
        CHOSEN.load(Relaxed) == number
    }

    /// Tells whether broken rules are to be passed over, so that a guest gets to see what comes of them.
    pub fn is_unjudged() -> bool {
        UNJUDGED.load(Relaxed)
    }

    /// Chooses a bug; 0 is none.
    pub fn choose(number: u32) {
        CHOSEN.store(number, Relaxed);
    }

    /// Has broken rules passed over from now on.
    pub fn pass_over_rules() {
        UNJUDGED.store(true, Relaxed);
    }
}

pub use choice::*;
