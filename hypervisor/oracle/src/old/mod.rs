#![allow(missing_docs, clippy::allow_attributes, reason = "on its way out")]
mod event;
mod fact;
mod note;
mod oracle;
mod rule;
pub use event::{Event, Place, Store};
pub use fact::{Fact, Stage, Wasted};
pub use note::FrameNote;
pub use oracle::{Oracle, Violation};
pub use rule::Rule;
