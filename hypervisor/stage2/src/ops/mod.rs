//! The operations on a range.

mod flags;
mod map;
mod protect;
mod unmap;

pub use flags::Touched;
pub use map::Run;
