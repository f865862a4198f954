//! Events as the lines of a trace, and back. `TRACE.md` is the format's description.

mod names;
mod parse;
mod print;

pub use parse::{Line, Malformed, Policy, parse};
pub use print::Printed;
