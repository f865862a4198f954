//! The Arm rules, judging what is done to stage-2 tables.
//!
//! The oracle does not follow one entry through one protocol. It keeps the set of [facts](Fact) that a TLB may still hold
//! although the tables say otherwise, and fails when software relies on one of them being gone: a valid store over it, the
//! frame that it leads to being given away, a return to the guest. So every order of steps that the architecture allows is
//! accepted, and no other.
//!
//! It is told of [`Event`]s, in the order in which they happen, and needs bounded memory: a word for each frame ([`FrameNote`]),
//! and room for a fixed number of facts. When that is short, facts that are equally far become one over all that lies between
//! them, which asks for more than is owed and never for less; when that does not help it says so ([`Rule::Memory`]).
#![no_std]
#![forbid(unsafe_code)]

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
